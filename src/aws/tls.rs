//! Whom to trust: the system's certificates, and those of `ca_file`. rustls with ring.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::outcome::{Failure, Verdict};

/// The settings of TLS. It reads files.
pub(super) fn settings(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (system_count, _) = roots.add_parsable_certificates(native.certs);
    let mut file_count = 0;
    if let Some(path) = ca_file {
        file_count = add(&mut roots, path).map_err(|reason| Failure {
            verdict: Verdict::Pause,
            code: Failure::CA_FILE.to_owned(),
            message: format!("cannot use the certificates of {}: {reason}", path.display()),
        })?;
        tracing::info!(count = file_count, path = %path.display(), "certificates of ca_file are trusted, too");
    }
    if system_count + file_count == 0 {
        let reasons: Vec<String> = native.errors.iter().map(ToString::to_string).collect();
        tracing::warn!(
            reasons = reasons.join(", "),
            "the system has no certificates of authorities: no https address can be trusted; install them (ca-certificates) or \
             set ca_file in [aws]"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let settings = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let settings =
        settings.map_err(|error| Failure { verdict: Verdict::Pause, code: "Client".to_owned(), message: error.to_string() })?;
    let mut settings = settings.with_root_certificates(roots).with_no_client_auth();
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(settings))
}

/// Adds the certificates of the file `path`; returns how many there are, at least one.
fn add(roots: &mut RootCertStore, path: &Path) -> Result<usize, String> {
    let bytes = std::fs::read(path).map_err(|error: io::Error| error.to_string())?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| format!("it is not a PEM file: {error}"))?;
        roots.add(certificate).map_err(|error| format!("certificate {} cannot be used: {error}", count + 1))?;
        count += 1;
    }
    if count == 0 { Err("there is no certificate in it".to_owned()) } else { Ok(count) }
}
