//! One connection, to addresses that were judged.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName},
    },
};

use crate::{networks::Judged, refused::Error};

/// Maximum number of addresses of a name to which a connection is tried.
const MAX_ADDRESSES: usize = 4;

/// A stream to the server: TCP, or TLS over TCP.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Connects to the first address that accepts. Each of several gets its part of the time.
pub(crate) async fn connect(addresses: &[Judged], timeout: Duration) -> Result<TcpStream, Error> {
    let tried = &addresses[..addresses.len().min(MAX_ADDRESSES)];
    let share = timeout / u32::try_from(tried.len().max(1)).unwrap_or(1);
    let mut failure = Error::Unresolved(None);
    for address in tried {
        failure = match time::timeout(share, TcpStream::connect(address.socket())).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Error::Connection(error),
            Err(_) => Error::Timeout,
        };
    }
    Err(failure)
}

/// Makes TLS connections: 1.2 and 1.3, HTTP/1.1 only.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl Tls {
    /// Trusts the certificates that the system trusts.
    pub(crate) fn of_system() -> anyhow::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(&provider))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            // The name is rustls's: any verifier but the built-in one. This one checks as the system does.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        Ok(Self::of(config.with_no_client_auth()))
    }

    /// Trusts these certificates only.
    pub(crate) fn of_roots(roots: Vec<CertificateDer<'static>>) -> anyhow::Result<Self> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store);
        Ok(Self::of(config.with_no_client_auth()))
    }

    fn of(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// The handshake. The certificate must be valid for `name`.
    pub(crate) async fn handshake(
        &self,
        name: ServerName<'static>,
        stream: TcpStream,
    ) -> Result<Box<dyn Stream>, Error> {
        match self.0.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            // A server that closes the connection in the middle does not speak TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Error::Tls(error)),
            Err(error) => Err(Error::from_handshake(error)),
        }
    }
}
