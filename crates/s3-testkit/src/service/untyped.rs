//! Requests about a bucket that pass by s3s's types, because those would change the document:
//! `?lifecycle` and `?versions`; and requests of S3 Control, which s3s has no types for.

use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Uri};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};

use super::Service;
use crate::access::access_denied;
use crate::request::{Kind, Query, Target};
use crate::server::Shared;

/// Serves them.
pub(crate) struct Untyped(pub Arc<Shared>);

#[async_trait::async_trait]
impl S3Route for Untyped {
    fn is_match(
        &self,
        method: &Method,
        uri: &Uri,
        _: &HeaderMap,
        extensions: &mut Extensions,
    ) -> bool {
        let target: Option<&Target> = extensions.get();
        if target.is_some_and(|target| target.kind == Kind::Batch) {
            return true;
        }
        let is_bucket = target.is_some_and(|t| t.is_of_bucket() && !t.bucket.is_empty());
        let query = Query::new(uri.query().unwrap_or(""));
        let is_versions = method == Method::GET && query.get("versions").is_some();
        is_bucket && (is_versions || query.get("lifecycle").is_some())
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        let is_open = self.0.options.credentials.is_empty();
        if request.credentials.is_some() || is_open { Ok(()) } else { Err(access_denied()) }
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let target: Option<Target> = request.extensions.get().cloned();
        let service = Service(self.0.clone());
        let bucket = match target {
            Some(Target { kind: Kind::Batch, key, .. }) => {
                return service.batch_request(&key, request).await;
            }
            Some(target) => target.bucket,
            None => String::new(),
        };
        let query = Query::new(request.uri.query().unwrap_or(""));
        match query.get("versions") {
            Some(_) if request.method == Method::GET => service.list_versions(&bucket, &query),
            _ => service.lifecycle_request(&bucket, request).await,
        }
    }
}

/// An answer of XML.
pub(super) fn document(text: impl Into<bytes::Bytes>) -> S3Response<Body> {
    let mut response = S3Response::new(Body::from(text.into()));
    let xml = http::HeaderValue::from_static("application/xml");
    response.headers.insert(http::header::CONTENT_TYPE, xml);
    response
}
