//! The bucket's lifecycle document, kept byte for byte.
//!
//! Typed clients lose the elements they do not know when they write a document back; a test can
//! only see that if the server loses none. So these requests pass by s3s's types. The rules are
//! never run: a test moves objects with [`Objects::set_class`](crate::Objects::set_class).

use http::{Method, StatusCode};
use s3s::dto::StreamingBlob;
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};

use super::retain::require_protection;
use super::untyped::document;
use super::{Service, custom_error};

impl Service {
    /// Answers `?lifecycle`.
    pub(super) async fn lifecycle_request(
        &self,
        bucket: &str,
        request: S3Request<Body>,
    ) -> S3Result<S3Response<Body>> {
        match request.method {
            Method::GET => self.lifecycle(bucket),
            Method::PUT => {
                require_protection(&request.headers)?;
                let body = Some(StreamingBlob::from(request.input));
                let received = self.receive(body, &request.headers, || None).await?;
                self.set_lifecycle(bucket, Some(received.bytes), StatusCode::OK)
            }
            Method::DELETE => self.set_lifecycle(bucket, None, StatusCode::NO_CONTENT),
            _ => Err(s3_error!(MethodNotAllowed)),
        }
    }

    fn lifecycle(&self, bucket: &str) -> S3Result<S3Response<Body>> {
        let stored = self.with_bucket(bucket, |bucket, _| Ok(bucket.lifecycle.clone()))?;
        let stored = stored.ok_or_else(|| {
            custom_error(
                StatusCode::NOT_FOUND,
                "NoSuchLifecycleConfiguration",
                "The lifecycle configuration does not exist".into(),
            )
        })?;
        Ok(document(stored))
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
