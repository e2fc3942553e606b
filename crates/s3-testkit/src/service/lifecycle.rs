//! The bucket's lifecycle document, kept byte for byte.
//!
//! Typed clients lose the elements they do not know when they write a document back; a test can
//! only see that if the server loses none. So these requests pass by s3s's types. The rules are
//! never run: a test moves objects with [`Objects::set_class`](crate::Objects::set_class).

use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, StatusCode, Uri};
use s3s::dto::StreamingBlob;
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};

use super::retain::require_protection;
use super::{Service, custom_error};
use crate::access::access_denied;
use crate::request::{Query, Target};
use crate::server::Shared;

/// Serves `?lifecycle`.
pub(crate) struct Lifecycle(pub Arc<Shared>);

#[async_trait::async_trait]
impl S3Route for Lifecycle {
    fn is_match(&self, _: &Method, uri: &Uri, _: &HeaderMap, extensions: &mut Extensions) -> bool {
        let target: Option<&Target> = extensions.get();
        let is_bucket = target.is_some_and(|t| t.key.is_empty() && !t.bucket.is_empty());
        is_bucket && Query::new(uri.query().unwrap_or("")).get("lifecycle").is_some()
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        let is_open = self.0.options.credentials.is_empty();
        if request.credentials.is_some() || is_open { Ok(()) } else { Err(access_denied()) }
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let bucket = request.extensions.get().map(|t: &Target| t.bucket.clone());
        let bucket = bucket.unwrap_or_default();
        let service = Service(self.0.clone());
        match request.method {
            Method::GET => service.lifecycle(&bucket),
            Method::PUT => {
                require_protection(&request.headers)?;
                let body = Some(StreamingBlob::from(request.input));
                let received = service.receive(body, &request.headers, || None).await?;
                service.set_lifecycle(&bucket, Some(received.bytes), StatusCode::OK)
            }
            Method::DELETE => service.set_lifecycle(&bucket, None, StatusCode::NO_CONTENT),
            _ => Err(s3_error!(MethodNotAllowed)),
        }
    }
}

impl Service {
    fn lifecycle(&self, bucket: &str) -> S3Result<S3Response<Body>> {
        let document = self.with_bucket(bucket, |bucket, _| Ok(bucket.lifecycle.clone()))?;
        let document = document.ok_or_else(|| {
            custom_error(
                StatusCode::NOT_FOUND,
                "NoSuchLifecycleConfiguration",
                "The lifecycle configuration does not exist".into(),
            )
        })?;
        let mut response = S3Response::new(Body::from(document));
        let xml = http::HeaderValue::from_static("application/xml");
        response.headers.insert(http::header::CONTENT_TYPE, xml);
        Ok(response)
    }

    fn set_lifecycle(
        &self,
        bucket: &str,
        document: Option<bytes::Bytes>,
        status: StatusCode,
    ) -> S3Result<S3Response<Body>> {
        self.with_bucket(bucket, |bucket, _| {
            bucket.lifecycle = document;
            Ok(())
        })?;
        Ok(S3Response::with_status(Body::empty(), status))
    }
}
