//! The bucket's lifecycle document, kept byte for byte.
//!
//! Typed clients lose the elements they do not know when they write a document back; a test can
//! only see that if the server loses none. So these requests pass by s3s's types. The header that
//! says which objects are too small to be moved is part of it, and falls back to its default with
//! every PUT that lacks it (API reference of PutBucketLifecycleConfiguration). The rules are never
//! run: a test moves objects with [`Objects::set_class`](crate::Objects::set_class).

use http::{Method, StatusCode};
use s3s::dto::StreamingBlob;
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};

use super::retain::require_protection;
use super::untyped::document;
use super::{Service, custom_error};

/// Which objects the rules do not move.
const MINIMUM: &str = "x-amz-transition-default-minimum-object-size";
/// What it is unless said otherwise.
const MINIMUM_DEFAULT: &str = "all_storage_classes_128K";

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
                let minimum = request.headers.get(MINIMUM).and_then(|value| value.to_str().ok());
                let minimum = minimum.map(str::to_owned);
                let body = Some(StreamingBlob::from(request.input));
                let received = self.receive(body, &request.headers, || None).await?;
                self.set_lifecycle(bucket, Some(received.bytes), minimum, StatusCode::OK)
            }
            Method::DELETE => self.set_lifecycle(bucket, None, None, StatusCode::NO_CONTENT),
            _ => Err(s3_error!(MethodNotAllowed)),
        }
    }

    fn lifecycle(&self, bucket: &str) -> S3Result<S3Response<Body>> {
        let (stored, minimum) = self.with_bucket(bucket, |bucket, _| {
            Ok((bucket.lifecycle.clone(), bucket.lifecycle_minimum.clone()))
        })?;
        let stored = stored.ok_or_else(|| {
            custom_error(
                StatusCode::NOT_FOUND,
                "NoSuchLifecycleConfiguration",
                "The lifecycle configuration does not exist".into(),
            )
        })?;
        let mut answer = document(stored);
        let minimum = minimum.as_deref().unwrap_or(MINIMUM_DEFAULT);
        let minimum = minimum.parse().map_err(|_| s3_error!(InvalidArgument))?;
        answer.headers.insert(MINIMUM, minimum);
        Ok(answer)
    }

    fn set_lifecycle(
        &self,
        bucket: &str,
        document: Option<bytes::Bytes>,
        minimum: Option<String>,
        status: StatusCode,
    ) -> S3Result<S3Response<Body>> {
        self.with_bucket(bucket, |bucket, _| {
            (bucket.lifecycle, bucket.lifecycle_minimum) = (document, minimum);
            Ok(())
        })?;
        Ok(S3Response::with_status(Body::empty(), status))
    }
}
