//! Reading bytes: exactly those asked for, or an error.

use blob_core::{BlobError, BlobId, ReadRange, ReadState, Result};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use rusoto_core::ByteStream;
use rusoto_s3::{GetObjectRequest, S3};

use crate::{
    errors::{About, Op, whole_size},
    storage::Inner,
    wire::{Answer, Exchange, Expect, net_error},
};

/// The most that is reserved on the word of a header alone.
const RESERVE_BYTES_MAX: u64 = 64 << 20;

impl Inner {
    pub(crate) async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        let about = About { range: Some(range), ..self.about(Op::Get, Some(id)) };
        let header = match range {
            ReadRange::Full => None,
            ReadRange::Bytes { length: 0, .. } | ReadRange::Suffix(0) => return Ok(Bytes::new()),
            // No object ends behind what a server can count; some call such a range malformed.
            ReadRange::Bytes { offset, length } => match offset.checked_add(length - 1) {
                Some(last) if i64::try_from(last).is_ok() => Some(format!("bytes={offset}-{last}")),
                _ => return Err(BlobError::InvalidRange { id: id.clone(), range, size: None }),
            },
            ReadRange::Suffix(length) => Some(format!("bytes=-{length}")),
        };
        let version = self.version(id).await?;
        let exchange = std::sync::Arc::new(Exchange::new(Expect::Object));
        let request = GetObjectRequest {
            bucket: self.bucket(),
            key: self.key(id),
            range: header,
            version_id: version,
            ..GetObjectRequest::default()
        };
        let output = match self.wire.client(&exchange).get_object(request).await {
            Ok(output) => output,
            Err(error) => return self.not_got(&about, &exchange, &error, id).await,
        };
        let answer = exchange.answer().unwrap_or_default();
        let length = output.content_length.and_then(|length| u64::try_from(length).ok());
        let body = match output.body {
            Some(body) => collect(body, length, &about).await?,
            None => Bytes::new(),
        };
        exactly(body, range, &answer, &about, id)
    }

    async fn not_got(
        &self,
        about: &About<'_>,
        exchange: &Exchange,
        rusoto: &(dyn std::fmt::Display + Sync),
        id: &BlobId,
    ) -> Result<Bytes> {
        let error = about.error(exchange, rusoto);
        match (error, about.range) {
            // S3 has no last bytes of an empty object; here they are none.
            (BlobError::InvalidRange { .. }, Some(ReadRange::Suffix(_))) => Ok(Bytes::new()),
            (BlobError::Archived { class, state, .. }, _) => {
                Err(self.archived(id, class, state).await)
            }
            // Some storages call a read of a cold object a lack of rights: a HEAD tells the two
            // apart. Without the right to that, it is what it seems.
            (error @ BlobError::AccessDenied { .. }, _) => {
                match self.head_once(id, Op::Get).await {
                    Ok(meta) => match meta.state {
                        Some(state) if !state.is_readable() => {
                            Err(BlobError::Archived { id: id.clone(), class: meta.class, state })
                        }
                        _ => Err(error),
                    },
                    Err(_) => Err(error),
                }
            }
            (error, _) => Err(error),
        }
    }

    /// The refusal tells the class at best; a HEAD also tells whether a thaw runs.
    async fn archived(
        &self,
        id: &BlobId,
        class: Option<blob_core::StorageClass>,
        state: ReadState,
    ) -> BlobError {
        match self.head_once(id, Op::Get).await {
            Ok(meta) => match meta.state.unwrap_or(state) {
                state if state.is_readable() => self
                    .about(Op::Get, Some(id))
                    .transient("it was archived, and became readable in this moment"),
                state => BlobError::Archived { id: id.clone(), class: meta.class, state },
            },
            Err(_) => BlobError::Archived { id: id.clone(), class, state },
        }
    }
}

/// All bytes of a body.
pub(crate) async fn collect(
    mut body: ByteStream,
    length: Option<u64>,
    about: &About<'_>,
) -> Result<Bytes> {
    let reserve = usize::try_from(length.unwrap_or(0).min(RESERVE_BYTES_MAX)).unwrap_or(0);
    let mut all = BytesMut::with_capacity(reserve);
    while let Some(part) = body.next().await {
        let part = part.map_err(|error| about.failed(net_error(error)))?;
        all.extend_from_slice(&part); // copied once, so that no part pins hyper's buffer
    }
    match length {
        Some(length) if length != all.len() as u64 => {
            Err(about.transient(format!("{length} bytes were announced and {} came", all.len())))
        }
        _ => Ok(all.freeze()),
    }
}

/// The bytes asked for out of those that came.
fn exactly(
    body: Bytes,
    range: ReadRange,
    answer: &Answer,
    about: &About<'_>,
    id: &BlobId,
) -> Result<Bytes> {
    let too_short = |size| Err(BlobError::InvalidRange { id: id.clone(), range, size });
    let got = body.len() as u64;
    let partial = answer.status == 206;
    match range {
        ReadRange::Full => Ok(body),
        // A server that knows no ranges sends all bytes, and says so by its status.
        ReadRange::Bytes { offset, length } if !partial => match offset.checked_add(length) {
            Some(end) if end <= got => Ok(body.slice(offset as usize..end as usize)),
            _ => too_short(Some(got)),
        },
        ReadRange::Bytes { offset, length } => {
            let start = format!("bytes {offset}-");
            match answer.header("content-range") {
                Some(header) if !header.starts_with(&start) => {
                    Err(about.transient(format!("the answer holds other bytes: {header}")))
                }
                _ if got < length => too_short(whole_size(answer)),
                _ if got > length => {
                    Err(about.transient(format!("{got} bytes came where {length} were asked for")))
                }
                _ => Ok(body),
            }
        }
        ReadRange::Suffix(length) if !partial => {
            Ok(body.slice(body.len() - length.min(got) as usize..))
        }
        ReadRange::Suffix(length) if got > length => {
            Err(about.transient(format!("{got} bytes came where {length} were asked for")))
        }
        ReadRange::Suffix(_) => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    use blob_core::Timestamp;

    use super::*;

    fn cut(status: u16, content_range: Option<&str>, range: ReadRange) -> Result<Bytes> {
        let id = BlobId::new("p1").unwrap();
        let mut answer = Answer::for_test(status, &[]);
        if let Some(header) = content_range {
            answer.headers.insert("content-range", header.parse().unwrap());
        }
        let now = Timestamp::from_secs(0);
        let about = About { op: Op::Get, id: Some(&id), range: None, storage: "s", now };
        exactly(Bytes::from_static(b"01234"), range, &answer, &about, &id)
    }

    #[test]
    fn a_server_without_ranges_still_gives_the_bytes_asked_for() {
        let bytes = |offset, length| ReadRange::Bytes { offset, length };
        assert_eq!(cut(200, None, bytes(1, 3)).unwrap(), &b"123"[..]);
        assert!(cut(200, None, bytes(3, 3)).is_err());
        assert_eq!(cut(200, None, ReadRange::Suffix(2)).unwrap(), &b"34"[..]);
        assert_eq!(cut(200, None, ReadRange::Suffix(9)).unwrap(), &b"01234"[..]);
    }

    #[test]
    fn bytes_that_were_not_asked_for_are_an_error() {
        let bytes = |offset, length| ReadRange::Bytes { offset, length };
        assert!(cut(206, Some("bytes 7-11/20"), bytes(7, 5)).is_ok());
        assert!(cut(206, Some("bytes 0-4/20"), bytes(7, 5)).is_err());
        assert!(cut(206, None, bytes(7, 4)).is_err());
        assert!(cut(206, None, ReadRange::Suffix(4)).is_err());
        let short = cut(206, Some("bytes 7-11/12"), bytes(7, 6)).unwrap_err();
        assert!(matches!(short, BlobError::InvalidRange { size: Some(12), .. }), "{short:?}");
    }
}
