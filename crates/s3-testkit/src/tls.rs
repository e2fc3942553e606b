//! TLS around the server, for clients that are tested with a CA of their own.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::options::TlsIdentity;

/// The CA that issued [`TlsIdentity::for_tests`], as PEM text: what a client has to trust.
pub const TEST_CA_PEM: &str = include_str!("../certs/ca.pem");

impl TlsIdentity {
    /// An identity for `localhost`, `s3.localhost` and names below, `test-bucket.localhost`,
    /// 127.0.0.1 and `::1`, issued by [`TEST_CA_PEM`].
    #[must_use]
    pub fn for_tests() -> Self {
        Self {
            cert_pem: include_str!("../certs/leaf.pem").into(),
            key_pem: include_str!("../certs/leaf-key.pem").into(),
        }
    }
}

/// Accepts TLS connections as this identity; an error says what is wrong with it.
pub(crate) fn acceptor(identity: &TlsIdentity) -> Result<TlsAcceptor, String> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(identity.cert_pem.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        .map_err(|error| format!("private key: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_identity_is_refused_with_its_reason() {
        let mut identity = TlsIdentity::for_tests();
        assert!(acceptor(&identity).is_ok());
        identity.key_pem = "no key".into();
        let reason = acceptor(&identity).err().unwrap();
        assert!(reason.starts_with("private key: "), "{reason}");
    }
}
