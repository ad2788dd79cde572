//! What stands in front of a service: TLS by a private authority.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Takes TLS off and passes bytes on; on a port and on a thread of its own.
pub(crate) struct TlsFront {
    addr: SocketAddr,
    authority: String,
    _server: Runtime,
}

impl TlsFront {
    /// A front of the service at `service`, a URL without a path, with a certificate for the IP addresses `names`.
    pub(crate) fn start(service: &str, names: &[&str]) -> Self {
        let (settings, authority) = settings(names);
        let service = service.strip_prefix("http://").unwrap().to_owned();
        let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = server.block_on(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        server.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, service) = (TlsAcceptor::from(settings.clone()), service.clone());
                tokio::spawn(async move {
                    // Those who do not trust it go away.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut behind = TcpStream::connect(service).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut behind).await;
                });
            }
        });
        Self { addr, authority, _server: server }
    }

    /// Where it is, by the name `host`.
    pub(crate) fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.addr.port())
    }

    /// The certificate of the authority, as PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

fn settings(names: &[&str]) -> (Arc<rustls::ServerConfig>, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut settings = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .unwrap();
    // A client that would speak HTTP/2 would be answered so.
    settings.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (Arc::new(settings), authority_pem)
}
