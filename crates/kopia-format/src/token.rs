//! The repository token: a whole connection in one word, for `connect from-config --token`.
//!
//! It holds every secret of the storage, and the password if that was asked for.
//! Format: `docs/format/02-format-blob.md`, section 14.

use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{FormatError, Result, fields::Fields, json, local_config::StorageConnection};

const WHAT: &str = "repository token";
const VERSION: &str = "1";

/// URL-safe, without padding; like Go's, the decoder does not mind stray bits at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// A connection in one word.
#[derive(Clone, PartialEq)]
pub struct RepositoryToken {
    /// Where the repository lies.
    pub storage: StorageConnection,
    /// Its password, if the token holds it. Replaces any other.
    pub password: Option<Zeroizing<String>>,
}

#[derive(Serialize)]
struct Stored<'a> {
    version: &'static str,
    storage: &'a StorageConnection,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
}

impl RepositoryToken {
    /// Reads a token. Line ends in it are passed over, blanks are not.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when it is no token; [`FormatError::Unsupported`] for another
    /// version or a kind of storage that Kopia doesn't know.
    pub fn decode(token: &str) -> Result<Self> {
        let malformed = || FormatError::malformed(WHAT, "not URL-safe base64 without padding");
        let text = Zeroizing::new(token.replace(['\r', '\n'], ""));
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| malformed())?;
        let mut fields = Fields::parse(WHAT, &Zeroizing::new(bytes))?;
        let version: String = fields.or_zero("version")?;
        if version != VERSION {
            return Err(FormatError::Unsupported { what: "token version", name: version });
        }
        let storage =
            StorageConnection::from_value(fields.take_raw("storage").unwrap_or(Value::Null))?;
        let password = Zeroizing::new(fields.or_zero::<String>("password")?);
        Ok(Self { storage, password: Some(password).filter(|password| !password.is_empty()) })
    }

    /// The token as Kopia makes it.
    pub fn encode(&self) -> Zeroizing<String> {
        let password = self.password.as_ref().map(|password| password.as_str());
        let stored = Stored { version: VERSION, storage: &self.storage, password };
        Zeroizing::new(BASE64.encode(Zeroizing::new(json::to_vec(&stored))))
    }
}

/// Shows the storage and whether there is a password.
impl fmt::Debug for RepositoryToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepositoryToken")
            .field("storage", &self.storage)
            .field("has_password", &self.password.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use kopia_fixtures::vectors;

    #[test]
    fn tokens_are_made_as_kopia_does_and_read_back() {
        let file = vectors("tokens.json");
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let text = case["token"].as_str().unwrap();
            let token = RepositoryToken::decode(text).unwrap();
            assert_eq!(serde_json::to_value(&token.storage).unwrap(), case["decodedStorage"]);
            let password = token.password.as_ref().map_or("", |password| password.as_str());
            assert_eq!(case["decodedPassword"], password);
            assert_eq!(*token.encode(), text, "{}", case["name"]);
            let json = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
            assert_eq!(case["json"], String::from_utf8(json).unwrap());
        }
    }

    #[test]
    fn what_kopia_refuses_is_refused() {
        let file = vectors("tokens.json");
        let cases = file["decode"].as_array().unwrap();
        assert_eq!(cases.len(), 8);
        for case in cases {
            let decoded = RepositoryToken::decode(case["token"].as_str().unwrap());
            if let Some(error) = case["error"].as_str() {
                let version = error == "unsupported token version";
                let e = decoded.unwrap_err();
                let named = matches!(e, FormatError::Unsupported { what: "token version", .. });
                assert_eq!(named, version, "{case}: {e}");
                continue;
            }
            // Kopia shows its settings' defaults too and drops what it doesn't know.
            let token = decoded.unwrap();
            assert_eq!(case["storage"]["type"], token.storage.kind);
            assert_eq!(case["storage"]["config"]["path"], token.storage.config["path"]);
            assert_eq!((case["password"].as_str(), token.password), (Some(""), None));
        }
    }

    #[test]
    fn line_ends_are_passed_over_and_other_foreign_characters_are_not() {
        let file = vectors("tokens.json");
        let text = file["cases"][1]["token"].as_str().unwrap();
        let wrapped = format!("{}\r\n{}\n", &text[..50], &text[50..]);
        assert_eq!(RepositoryToken::decode(&wrapped), RepositoryToken::decode(text));
        for foreign in [" ", "\t", "=", "+", "/"] {
            let text = format!("{text}{foreign}");
            assert!(RepositoryToken::decode(&text).is_err(), "{foreign:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let file = vectors("tokens.json");
        let token = RepositoryToken::decode(file["cases"][2]["token"].as_str().unwrap()).unwrap();
        let shown = format!("{token:?}");
        assert!(!shown.contains("SECRETEXAMPLE") && !shown.contains("ssword\""), "{shown}");
        assert!(shown.contains("has_password: true"), "{shown}");
    }
}
