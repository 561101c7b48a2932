//! A server that ends TLS and hands the bytes on, as a real application server's TLS does.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::certificate::Certificate;

/// A running terminator; it ends, with its connections, when this is dropped.
pub(crate) struct Terminator {
    pub(crate) address: SocketAddr,
    names: Arc<Mutex<Vec<Option<String>>>>,
    _open: oneshot::Sender<()>,
}

impl Terminator {
    /// Shows `certificate`, speaks `protocol`, and hands on to `behind`; with `clients`, whoever
    /// connects has to show that certificate.
    pub(crate) fn start(
        certificate: &Certificate,
        protocol: &str,
        clients: Option<&Certificate>,
        behind: SocketAddr,
    ) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config(certificate, protocol, clients)));
        let (open, closed) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let names = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&names);
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(acceptor.clone(), stream, behind, Arc::clone(&seen)));
                    }
                });
                drop(closed.await);
            });
        });
        Self { address: told.recv().unwrap(), names, _open: open }
    }

    /// The server names that were asked for, in completed handshakes.
    pub(crate) fn names(&self) -> Vec<Option<String>> {
        self.names.lock().clone()
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    behind: SocketAddr,
    names: Arc<Mutex<Vec<Option<String>>>>,
) {
    stream.set_nodelay(true).unwrap();
    let Ok(mut near) = acceptor.accept(stream).await else { return };
    names.lock().push(near.get_ref().1.server_name().map(str::to_owned));
    let mut far = TcpStream::connect(behind).await.unwrap();
    far.set_nodelay(true).unwrap();
    drop(copy_bidirectional(&mut near, &mut far).await);
}

/// Shows `certificate` and speaks `protocol`; `clients` as in [`Terminator::start`].
pub(crate) fn config(
    certificate: &Certificate,
    protocol: &str,
    clients: Option<&Certificate>,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(known) => {
            let roots = Arc::new(known.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_file(&certificate.cert).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config
}
