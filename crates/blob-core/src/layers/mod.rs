//! Behaviours that any storage can be wrapped in, one file each.
//!
//! A layer is a value that configures; [`Layer::wrap`](crate::Layer::wrap) puts its behaviour
//! around a storage. The trait has no default bodies, so each layer says of each method what it
//! does: it writes the method out, or names it in [`forward!`](crate::forward). A layer whose
//! behaviour concerns a capability wraps it too: `ReadOnly` stops a thaw, `Retry` repeats one.

mod hide;
mod limit;
mod metrics;
mod policy;
mod prefix;
mod read_only;
mod retry;
mod throttle;

pub use hide::Hide;
pub use limit::Limit;
pub use metrics::{Count, Metrics, MetricsSnapshot, Operation, kind};
pub use policy::WithPolicy;
pub use prefix::Prefix;
pub use read_only::ReadOnly;
pub use retry::Retry;
pub use throttle::{Throttle, ThrottleLimits};

/// What the macros of this crate need at the place where they are used.
#[doc(hidden)]
pub mod private {
    pub use bytes::Bytes;
    pub use futures::{future::BoxFuture, stream::BoxStream};
}

/// Writes methods of [`BlobStorage`](crate::BlobStorage) that a layer leaves as they are: each
/// named one calls the same method of the field.
///
/// A capability named here is handed out as the inner storage's own, so calls to it do not pass the
/// layer. A layer that must see them writes the method out and gives itself.
///
/// ```
/// use blob_core::{BlobId, BlobStorage, DynStorage, Payload, PutOptions, PutReceipt};
/// use blob_core::{Result, forward};
///
/// /// Tells of every put.
/// #[derive(Debug)]
/// struct Chatty {
///     inner: DynStorage,
/// }
///
/// #[async_trait::async_trait]
/// impl BlobStorage for Chatty {
///     async fn put(
///         &self,
///         id: &BlobId,
///         data: Payload,
///         options: &PutOptions,
///     ) -> Result<PutReceipt> {
///         println!("put {id}: {} bytes", data.len());
///         self.inner.put(id, data, options).await
///     }
///     forward!(inner: info, get, head, list, delete, close; archive, retain, volume);
/// }
/// ```
#[macro_export]
macro_rules! forward {
    ($field:ident: $($method:ident),* ; $($capability:ident),*) => {
        $($crate::forward!(@ $field $method);)*
        $($crate::forward!(@ $field $capability);)*
    };
    ($field:ident: $($method:ident),*) => { $($crate::forward!(@ $field $method);)* };
    // The bodies are the desugared form of `async fn` in an `async_trait`: the inner storage's
    // future is passed on as it is, without one more box.
    (@ $field:ident info) => {
        fn info(&self) -> &$crate::StorageInfo {
            self.$field.info()
        }
    };
    (@ $field:ident get) => {
        fn get<'life0, 'life1, 'async_trait>(
            &'life0 self,
            id: &'life1 $crate::BlobId,
            range: $crate::ReadRange,
        ) -> $crate::layers::private::BoxFuture<
            'async_trait,
            $crate::Result<$crate::layers::private::Bytes>,
        >
        where
            'life0: 'async_trait,
            'life1: 'async_trait,
            Self: 'async_trait,
        {
            self.$field.get(id, range)
        }
    };
    (@ $field:ident head) => {
        fn head<'life0, 'life1, 'async_trait>(
            &'life0 self,
            id: &'life1 $crate::BlobId,
        ) -> $crate::layers::private::BoxFuture<'async_trait, $crate::Result<$crate::BlobMeta>>
        where
            'life0: 'async_trait,
            'life1: 'async_trait,
            Self: 'async_trait,
        {
            self.$field.head(id)
        }
    };
    (@ $field:ident list) => {
        fn list<'a>(
            &'a self,
            prefix: &'a str,
        ) -> $crate::layers::private::BoxStream<'a, $crate::Result<$crate::BlobMeta>> {
            self.$field.list(prefix)
        }
    };
    (@ $field:ident put) => {
        fn put<'life0, 'life1, 'life2, 'async_trait>(
            &'life0 self,
            id: &'life1 $crate::BlobId,
            data: $crate::Payload,
            options: &'life2 $crate::PutOptions,
        ) -> $crate::layers::private::BoxFuture<'async_trait, $crate::Result<$crate::PutReceipt>>
        where
            'life0: 'async_trait,
            'life1: 'async_trait,
            'life2: 'async_trait,
            Self: 'async_trait,
        {
            self.$field.put(id, data, options)
        }
    };
    (@ $field:ident delete) => {
        fn delete<'life0, 'life1, 'async_trait>(
            &'life0 self,
            id: &'life1 $crate::BlobId,
        ) -> $crate::layers::private::BoxFuture<'async_trait, $crate::Result<()>>
        where
            'life0: 'async_trait,
            'life1: 'async_trait,
            Self: 'async_trait,
        {
            self.$field.delete(id)
        }
    };
    (@ $field:ident close) => {
        fn close<'life0, 'async_trait>(
            &'life0 self,
        ) -> $crate::layers::private::BoxFuture<'async_trait, $crate::Result<()>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            self.$field.close()
        }
    };
    (@ $field:ident archive) => {
        fn archive(&self) -> Option<&dyn $crate::Archive> {
            self.$field.archive()
        }
    };
    (@ $field:ident retain) => {
        fn retain(&self) -> Option<&dyn $crate::Retain> {
            self.$field.retain()
        }
    };
    (@ $field:ident volume) => {
        fn volume(&self) -> Option<&dyn $crate::Volume> {
            self.$field.volume()
        }
    };
}

/// The inner storage's archive, for a layer that gave itself as one because the inner had it.
fn archive_of(inner: &crate::DynStorage) -> crate::Result<&dyn crate::Archive> {
    inner.archive().ok_or_else(|| crate::BlobError::Unsupported {
        op: "thaw",
        storage: inner.info().name.clone(),
    })
}

/// The same of its locks.
fn retain_of(inner: &crate::DynStorage) -> crate::Result<&dyn crate::Retain> {
    inner.retain().ok_or_else(|| crate::BlobError::Unsupported {
        op: Operation::ExtendRetention.as_str(),
        storage: inner.info().name.clone(),
    })
}
