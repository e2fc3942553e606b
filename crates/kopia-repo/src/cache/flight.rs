//! One fetch for all who want the same blob at the same time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::Bytes;
use tokio::sync::OnceCell;

/// A fetch under way, shared; its bytes live as long as somebody holds it.
pub(crate) type Flight = Arc<OnceCell<Bytes>>;

/// All fetches under way, by blob.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<String, Weak<OnceCell<Bytes>>>>);

impl Flights {
    /// The fetch of `name`: the one under way, or a new one.
    pub(crate) fn join(&self, name: &str) -> Flight {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = all.get(name).and_then(Weak::upgrade) {
            return flight;
        }
        all.retain(|_, flight| flight.strong_count() > 0);
        let flight = Flight::default();
        all.insert(name.to_owned(), Arc::downgrade(&flight));
        flight
    }
}
