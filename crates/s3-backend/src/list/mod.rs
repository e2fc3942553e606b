//! All blobs under a prefix, page by page, with class and read state.
//!
//! The request is ours, because rusoto's lacks `x-amz-optional-object-attributes: RestoreStatus`,
//! and so is the parser ([`page`]): one pass that also guards against answers that break off. An
//! answer must say whether it is the last one; an empty body is never an empty listing.

mod page;
mod tiering;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use blob_core::{BlobError, BlobId, BlobMeta, ReadState, Result, StorageClass};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
pub(crate) use page::{Entry, Token, VersionsPage};
use page::{Page, Unreadable};
use rusoto_core::signature::SignedRequest;

use crate::{
    errors::{About, Op},
    storage::Inner,
    wire::{Answer, Exchange, Expect},
};

/// What the endpoint has taught.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// It refuses to be asked for the restore status.
    no_restore_status: AtomicBool,
    /// It has told the restore status of some object.
    tells_restore_status: AtomicBool,
    /// Whether blobs may sink into archive tiers.
    sinking: tiering::Sinking,
}

/// Why there is no document: what the storage answered, if it did, and what that means.
pub(crate) type Refused = (Option<Arc<Answer>>, BlobError);

/// Where a listing is.
enum Next {
    First,
    After(String),
    End,
}

impl Inner {
    pub(crate) fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        if let Some(past) = &self.past {
            return self.list_past(past, prefix);
        }
        stream::try_unfold(Next::First, move |next| async move {
            let token = match next {
                Next::First => None,
                Next::After(token) => Some(token),
                Next::End => return Ok(None),
            };
            let page = self.page(prefix, token.as_deref()).await?;
            let next = match page.next {
                None => Next::End,
                Some(next) if token.as_deref() == Some(&*next) => {
                    let reason = "the listing goes in a circle: a page names itself as the next";
                    return Err(self.about(Op::List, None).other(reason));
                }
                Some(next) => Next::After(next),
            };
            let may_sink = |entry: &Entry| entry.class.as_deref().is_some_and(sinks);
            if page.entries.iter().any(may_sink) {
                self.learn_sinking().await;
            }
            let metas = self.metas(page.entries)?;
            Ok(Some((stream::iter(metas).map(Ok), next)))
        })
        .try_flatten()
        .boxed()
    }

    /// A folder below the prefix, where keys lie that are no blobs of this storage.
    pub(crate) async fn folder(&self) -> Result<Option<String>> {
        let mut token = None;
        loop {
            let page = self.page("", token.as_deref()).await?;
            if !page.folders.is_empty() || page.next.is_none() || page.next == token {
                return Ok(page.folders.into_iter().next());
            }
            token = page.next;
        }
    }

    /// One page of what begins so.
    pub(crate) async fn page(&self, prefix: &str, token: Option<&str>) -> Result<Page> {
        let token = token.map(|token| ("continuation-token", token));
        let asked = [("list-type", "2")].into_iter().chain(token).collect();
        self.read_page(prefix, asked, page::parse).await
    }

    /// A page of all versions of the keys under a prefix.
    pub(crate) async fn page_of_versions(
        &self,
        prefix: &str,
        next: Option<&Token>,
    ) -> Result<VersionsPage> {
        let next =
            next.map(|next| [("key-marker", &*next.key), ("version-id-marker", &*next.version)]);
        let next = next.into_iter().flatten().filter(|(_, marker)| !marker.is_empty());
        let asked = [("versions", "")].into_iter().chain(next).collect();
        self.read_page(prefix, asked, page::parse_versions).await
    }

    async fn read_page<T>(
        &self,
        prefix: &str,
        asked: Vec<(&str, &str)>,
        parse: impl Fn(&[u8]) -> std::result::Result<T, Unreadable>,
    ) -> Result<T> {
        let status = !self.list_learned.no_restore_status.load(Ordering::Relaxed);
        let body = match self.page_once(prefix, &asked, status).await {
            Err((Some(answer), _)) if status && matches!(answer.status, 400 | 501) => {
                let body = self.page_once(prefix, &asked, false).await.map_err(|(_, e)| e)?;
                tracing::info!(storage = self.info.name, "does not tell the restore status");
                self.list_learned.no_restore_status.store(true, Ordering::Relaxed);
                body
            }
            body => body.map_err(|(_, error)| error)?,
        };
        let about = self.about(Op::List, None);
        parse(&body).map_err(|unreadable| match unreadable {
            Unreadable::Refused(fields) => {
                about.refused(&Answer { status: 500, fields, ..Answer::default() })
            }
            Unreadable::Malformed(reason) => {
                about.transient(format!("the listing can't be read: {reason}"))
            }
        })
    }

    async fn page_once(
        &self,
        prefix: &str,
        asked: &[(&str, &str)],
        restore_status: bool,
    ) -> std::result::Result<Bytes, Refused> {
        let mut exchange = Exchange::new(Expect::Listing);
        if restore_status {
            let name = "x-amz-optional-object-attributes";
            exchange = exchange.header(name, "RestoreStatus".into());
        }
        let region = self.wire.rusoto_region();
        let mut request = SignedRequest::new("GET", "s3", &region, &format!("/{}", self.bucket()));
        request.add_param("delimiter", "/");
        request.add_param("encoding-type", "url");
        request.add_param("prefix", &format!("{}{prefix}", self.prefix));
        for (name, value) in asked {
            request.add_param(*name, *value);
        }
        self.whole_body(&Arc::new(exchange), request, self.about(Op::List, None)).await
    }

    /// Sends a request about no single blob; gives the document that it is answered with.
    pub(crate) async fn whole_body(
        &self,
        exchange: &Arc<Exchange>,
        request: SignedRequest,
        about: About<'_>,
    ) -> std::result::Result<Bytes, Refused> {
        let sent = self.wire.raw(exchange).sign_and_dispatch(request).await;
        let failed =
            |error: &dyn std::fmt::Display| (exchange.answer(), about.error(exchange, error));
        let mut response = sent.map_err(|error| failed(&format!("{error:?}")))?;
        if !response.status.is_success() {
            return Err(failed(&response.status));
        }
        Ok(response.buffer().await.map_err(|error| failed(&error))?.body)
    }

    /// The blobs of a page. Keys that can't be blobs are left out: folder markers, deeper folders.
    pub(crate) fn metas(&self, entries: Vec<Entry>) -> Result<Vec<BlobMeta>> {
        if entries.iter().any(|entry| entry.restore.is_some()) {
            self.list_learned.tells_restore_status.store(true, Ordering::Relaxed);
        }
        // Only where the endpoint is known to tell the status does silence mean "cold".
        let tells = self.wire.place().is_aws()
            && !self.list_learned.no_restore_status.load(Ordering::Relaxed)
            || self.list_learned.tells_restore_status.load(Ordering::Relaxed);
        let mut metas = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(id) = entry.key.strip_prefix(&self.prefix) else {
                let reason =
                    format!("the listing holds a key that was not asked for: {:?}", entry.key);
                return Err(self.about(Op::List, None).other(reason));
            };
            let Ok(id) = BlobId::new(id) else { continue };
            let class = entry.class.filter(|class| !class.is_empty()).map(StorageClass::new);
            let may_sink = self.list_learned.sinking.may_be();
            let state = state(class.as_ref(), entry.restore, tells, may_sink);
            let (size, modified) = (entry.size, entry.modified);
            let has_checksum = entry.has_checksum.then_some(true);
            metas.push(BlobMeta { id, size, modified, class, state, has_checksum });
        }
        Ok(metas)
    }
}

fn sinks(class: &str) -> bool {
    StorageClass::new(class).may_sink()
}

/// What a listing tells of a blob's readability; `None` where only a HEAD does.
fn state(
    class: Option<&StorageClass>,
    restore: Option<ReadState>,
    tells: bool,
    may_sink: bool,
) -> Option<ReadState> {
    let class = class?;
    match restore {
        Some(state) => Some(state),
        None if class.is_archive() => tells.then_some(ReadState::Cold),
        // May be cold in its archive tiers; a class of tomorrow may be anything.
        None if class.may_sink() && may_sink || !class.is_known() => None,
        None => Some(ReadState::Ready),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_only_where_it_is_known() {
        let of = |class: &StorageClass, restore, tells| state(Some(class), restore, tells, true);
        let glacier = &StorageClass::GLACIER;
        assert_eq!(of(glacier, None, true), Some(ReadState::Cold));
        assert_eq!(of(glacier, None, false), None);
        assert_eq!(of(glacier, Some(ReadState::Thawing), false), Some(ReadState::Thawing));
        assert_eq!(of(&StorageClass::STANDARD, None, false), Some(ReadState::Ready));
        assert_eq!(of(&StorageClass::INTELLIGENT_TIERING, None, true), None);
        assert_eq!(of(&StorageClass::new("OF_TOMORROW"), None, true), None);
        assert_eq!(state(None, None, true, true), None);
        let tiering = Some(&StorageClass::INTELLIGENT_TIERING);
        assert_eq!(state(tiering, None, true, false), Some(ReadState::Ready), "none sinks here");
    }
}
