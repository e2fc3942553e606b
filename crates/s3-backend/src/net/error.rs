//! Why a request got no answer, or not all of it.

use std::{error::Error, io, time::Duration};

/// Why bytes did not get through.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NetError {
    /// The two sides can't agree on TLS, or the certificate is not trusted. Trying again won't
    /// help.
    #[error("TLS with {host}: {reason}")]
    Tls { host: String, reason: String },
    /// No connection.
    #[error("no connection to {host}: {reason}")]
    Connect { host: String, reason: String },
    /// Nothing moved for too long.
    #[error("{host} {what} for {} s", after.as_secs())]
    Silent { host: String, what: &'static str, after: Duration },
    /// The connection broke.
    #[error("the connection to {host} broke: {reason}")]
    Broken { host: String, reason: String },
    /// The answer's body broke off.
    #[error("the answer broke off: {reason}")]
    Cut { reason: String },
}

impl NetError {
    /// What hyper says when there is no answer.
    pub fn of_client(host: String, error: &hyper_util::client::legacy::Error) -> Self {
        let reason = chain_of(error);
        if error.is_connect() {
            match find::<rustls::Error>(error) {
                Some(tls) => Self::Tls { host, reason: tls.to_string() },
                None => Self::Connect { host, reason },
            }
        } else {
            Self::Broken { host, reason }
        }
    }

    /// Nothing moved for `after`.
    pub fn silent(host: String, after: Duration, all_sent: bool) -> Self {
        let what = if all_sent { "did not answer" } else { "took no byte" };
        Self::Silent { host, what, after }
    }

    /// Did the other side never answer?
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }

    /// Would it be the same again?
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }
}

/// The error and its causes in one line; hyper says little in the outermost.
pub fn chain_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    text
}

/// Looks for a `T` among the causes, also inside of I/O errors, whose `source` skips what they
/// hold.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_error_is_found_inside_of_an_io_error() {
        let inner = rustls::Error::General("no".into());
        let wrapped = io::Error::other(io::Error::other(inner));
        assert!(find::<rustls::Error>(&wrapped).is_some());
        assert!(find::<rustls::Error>(&io::Error::other("no")).is_none());
    }
}
