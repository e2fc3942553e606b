//! Text that nobody is to see: not in a log, not in an error, not in memory that was given back.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::ZeroizeOnDrop;

/// A secret text. It has no `Display`, its `Debug` says `(hidden)`, and its memory is overwritten
/// when it goes; [`Secret::expose`] is the one way to read it. In JSON it is a string.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Is there no text?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "(empty)" } else { "(hidden)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_string_in_json_and_hidden_elsewhere() {
        let secret: Secret = serde_json::from_str(r#""hunter2""#).unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#""hunter2""#);
        assert_eq!(format!("{secret:?} {:?}", Secret::default()), "(hidden) (empty)");
    }

    /// Memory that was given back can't be looked at; that it is overwritten before is a promise of
    /// the type, and without it this does not compile.
    const _: fn() = || {
        fn is_overwritten<T: ZeroizeOnDrop>() {}
        is_overwritten::<Secret>();
    };
}
