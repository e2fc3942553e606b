//! Where each step is noted, so that every deletion can be explained afterwards.

use serde_json::Value;

/// Takes notes. What it does with them must not fail: maintenance does not stop for its log.
pub trait Log: Send + Sync {
    /// Notes what was done, and with what.
    fn note(&self, message: &str, fields: Value);
}

impl<F: Fn(&str, Value) + Send + Sync> Log for F {
    fn note(&self, message: &str, fields: Value) {
        self(message, fields);
    }
}
