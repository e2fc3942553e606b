//! A good status is not yet a good answer.
//!
//! S3 and proxies before it send `200 OK` with an `<Error>` or a page in the body, and rusoto takes
//! that for success; a body that breaks off makes rusoto's deserialisers loop for ever. So the body
//! of every answer that is not an object's bytes is read and looked at here, before rusoto sees it;
//! a document in the place of an object shows itself by its headers.
//! (Listings are looked at by `list`, in the pass that parses them.)

use super::{Answer, Failure, answer::Reply, xml};

/// Is it a document that somebody sent in the place of an object? Objects have an `ETag`, and ours
/// are of another type.
pub(super) fn is_no_object(headers: &http::HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_document = ["application/xml", "text/xml", "text/html"]
        .iter()
        .any(|it| kind.get(..it.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(it)));
    is_document && !headers.contains_key("etag")
}

/// Passes an answer on, or makes a refusal of it.
pub(super) fn check(reply: Reply) -> Result<Reply, Failure> {
    let body = reply.whole();
    if !body.trim_ascii_start().starts_with(b"<") {
        return Ok(reply); // no body, or a word that nobody reads
    }
    match xml::root(body) {
        Ok(root) if root == "Error" => {
            let fields = xml::error_fields(body).unwrap_or_default();
            let headers = reply.answer().headers.clone();
            Ok(Reply::refusal(Answer { status: 500, headers, fields }))
        }
        Ok(root) => Err(Failure::Garbled(format!("<{root}> where S3 says nothing"))),
        Err(reason) => Err(Failure::Garbled(reason)),
    }
}
