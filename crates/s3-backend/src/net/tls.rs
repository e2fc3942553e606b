//! Which certificates are believed.
//!
//! The provider is named explicitly, so this works beside any other TLS stack in the same program.
//! As with Kopia, own certificate authorities stand *instead of* the system's, and switching the
//! verification off makes both meaningless (docs/format/01-blob-storage.md §4.1).

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// TLS is not used.
    Plain,
    /// The system's certificate authorities.
    System,
    /// These, in PEM form.
    Own(Vec<u8>),
    /// Whoever answers.
    Anybody,
}

/// The TLS configuration for it.
///
/// # Errors
/// What is wrong with the certificates.
pub(super) fn config(trust: &Trust) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let roots = match trust {
        Trust::Plain => RootCertStore::empty(),
        Trust::System => system()?,
        Trust::Own(pem) => own(pem)?,
        Trust::Anybody => {
            let nobody_checks = Arc::new(Unverified(provider));
            return Ok(builder
                .dangerous()
                .with_custom_certificate_verifier(nobody_checks)
                .with_no_client_auth());
        }
    };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    let reasons =
        if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) };
    Err(format!(
        "this system has no certificate authorities (install ca-certificates, or give your \
         own){reasons}"
    ))
}

fn own(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("rootCA is not PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("rootCA holds a certificate that can't be used: {error}"))?;
    }
    if roots.is_empty() { Err("rootCA holds no certificate".into()) } else { Ok(roots) }
}

/// Takes any certificate. The handshake's signature is still checked, which costs nothing.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_authority_that_is_none_is_refused_before_any_request() {
        assert!(config(&Trust::Own(b"nonsense".to_vec())).unwrap_err().contains("no certificate"));
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(config(&Trust::Own(broken.to_vec())).unwrap_err().contains("can't be used"));
        assert!(config(&Trust::Anybody).is_ok() && config(&Trust::Plain).is_ok());
    }
}
