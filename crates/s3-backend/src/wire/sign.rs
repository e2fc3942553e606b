//! A request is addressed and signed at the moment it is sent, anew for each attempt.
//!
//! The body is signed by its SHA-256 over plain HTTP and left unsigned under TLS, as Kopia does
//! (docs/format/01-blob-storage.md §4.4): there the connection protects it, and the checksum
//! header, which is signed, says what must arrive.

use std::collections::BTreeMap;

use blob_core::Payload;
use futures::stream;
use http::{HeaderName, HeaderValue, Method, Request};
use rusoto_core::{
    ByteStream, Region,
    credential::AwsCredentials,
    param::Params,
    signature::{SignedRequest, SignedRequestPayload},
};

use super::{Exchange, Failure, Place, place::Target};
use crate::{credentials::Credentials, net::UploadBody};

const AGENT: &str = concat!("s3-backend/", env!("CARGO_PKG_VERSION"));

/// A request before it has an address or a signature.
#[derive(Debug)]
pub(super) struct Template {
    method: Method,
    /// After the bucket: `/key`, or empty for the bucket itself. To S3 Control the whole path.
    path: String,
    /// The account, of a request to S3 Control.
    pub(super) control: Option<String>,
    params: Params,
    headers: BTreeMap<String, Vec<Vec<u8>>>,
    body: Payload,
    /// Sign the body's hash even under TLS.
    always_hash: bool,
}

impl Template {
    /// Takes rusoto's request apart and adds what rusoto doesn't know.
    pub fn new(
        mut request: SignedRequest,
        place: &Place,
        exchange: &Exchange,
    ) -> Result<Self, Failure> {
        let (body, always_hash) = match (&exchange.body, request.payload.take()) {
            (Some(body), _) => (body.clone(), false),
            (None, Some(SignedRequestPayload::Buffer(xml))) => (Payload::from(xml), true),
            (None, None) => (Payload::new(), true),
            (None, Some(SignedRequestPayload::Stream(_))) => {
                return Err(unsendable("body", "a stream can't be signed again"));
            }
        };
        for computed in ["host", "content-length"] {
            request.remove_header(computed);
        }
        for (name, value) in &exchange.headers {
            request.remove_header(name);
            request.add_header(name, value);
        }
        for values in request.headers.values_mut() {
            values.iter_mut().for_each(|value| *value = fold(value));
        }
        let bucket = format!("/{}", place.bucket());
        let path = match &exchange.control {
            Some(_) => Some(request.path.as_str()),
            None => request.path.strip_prefix(&bucket),
        };
        let path = path.ok_or_else(|| unsendable("path", "it is outside of the bucket"))?;
        let (path, control) = (path.to_owned(), exchange.control.clone());
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|error| unsendable("method", error))?;
        let (params, headers) = (request.params, request.headers);
        Ok(Self { method, path, control, params, headers, body, always_hash })
    }

    /// The request for one attempt.
    pub fn sign(
        &self,
        target: &Target,
        region: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Request<UploadBody>, Failure> {
        let endpoint = format!("{}://{}", target.scheme, target.host);
        let region = Region::Custom { name: region.to_owned(), endpoint };
        let path = format!("{}{}", target.path, self.path);
        let path = if path.is_empty() { "/" } else { &path };
        let mut request = SignedRequest::new(self.method.as_str(), "s3", &region, path);
        request.headers = self.headers.clone();
        request.params = self.params.clone();
        request.scheme = Some(target.scheme.to_owned());
        request.hostname = Some(target.host.clone());
        request.payload = self.payload(target.scheme == "https")?;
        match credentials {
            None => request.complement(),
            Some(keys) => request.sign(&AwsCredentials::new(
                keys.access_key_id.as_str(),
                keys.secret_access_key.expose(),
                keys.session_token.as_ref().map(|token| token.expose().to_owned()),
                None,
            )),
        }
        self.http_request(&request)
    }

    /// What rusoto has to know of the body: its bytes, or only its length.
    fn payload(&self, under_tls: bool) -> Result<Option<SignedRequestPayload>, Failure> {
        if self.body.is_empty() {
            return Ok(None);
        }
        if under_tls && !self.always_hash {
            let length = usize::try_from(self.body.len())
                .map_err(|_| unsendable("body", "too long for this machine"))?;
            let nothing = ByteStream::new_with_size(stream::empty(), length);
            return Ok(Some(SignedRequestPayload::Stream(nothing)));
        }
        // Rusoto hashes one buffer only. Plain HTTP is for servers on one's own network; the copy
        // costs less than the hash and is gone before the first byte is sent.
        let bytes = self.body.to_bytes().map_err(|error| unsendable("body", error))?;
        Ok(Some(SignedRequestPayload::Buffer(bytes)))
    }

    fn http_request(&self, signed: &SignedRequest) -> Result<Request<UploadBody>, Failure> {
        let query = signed.canonical_query_string();
        let mark = if query.is_empty() { "" } else { "?" };
        let address = format!(
            "{}://{}{}{mark}{query}",
            signed.scheme(),
            signed.hostname(),
            signed.canonical_uri()
        );
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(address)
            .body(UploadBody::new(&self.body))
            .map_err(|error| unsendable("address", error))?;
        let headers = request.headers_mut();
        for (name, values) in signed.headers() {
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|error| unsendable(name.as_str(), error))?;
            for value in values {
                let value = HeaderValue::from_bytes(value)
                    .map_err(|error| unsendable(name.as_str(), error))?;
                headers.append(&header, value);
            }
        }
        headers.insert(http::header::USER_AGENT, HeaderValue::from_static(AGENT));
        // S3 asks for a length where a body could be, even for none; elsewhere it has no meaning.
        headers.remove(http::header::CONTENT_LENGTH);
        if self.method == Method::PUT || self.method == Method::POST {
            headers.insert(http::header::CONTENT_LENGTH, self.body.len().into());
        }
        Ok(request)
    }
}

/// One space for many and none at the ends: the form that both sides sign. Rusoto folds pairs only.
fn fold(value: &[u8]) -> Vec<u8> {
    let words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

fn unsendable(what: impl Into<String>, reason: impl ToString) -> Failure {
    Failure::Unsendable { what: what.into(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_folded_to_the_form_that_is_signed() {
        assert_eq!(fold(b"  a   b  c "), b"a b c");
        assert_eq!(fold(b""), b"");
        assert_eq!(fold(b"\"x    y\""), b"\"x y\"");
    }
}
