//! The client: one call, one resolution, one connection.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response as HttpResponse, StatusCode, Version,
    header::{
        ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, REFERER, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{pin, select, time};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::{
    connection::{self, Stream, Tls},
    networks::{AllowedNetworks, Judged, OutboundConfig, Scheme},
    refused::Error,
    resolver::{Resolver, SystemResolver},
    target::{Destination, Target},
};

/// Time for a whole call, unless it states its own: resolution, connection, request and response.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the connection, with TLS; part of the call's time.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum length of a request's body, in bytes.
pub const MAX_REQUEST_LEN: usize = 256 * 1024;
/// Maximum length of a response's body, in bytes.
pub const MAX_RESPONSE_LEN: usize = 64 * 1024;
/// Maximum length of a response's status line and headers, in bytes.
const MAX_RESPONSE_HEAD_LEN: usize = 32 * 1024;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("Baton-Webhooks/", env!("CARGO_PKG_VERSION")));
/// Headers that the client sets itself, or that would change what the connection carries. A request does not bring
/// them.
const NOT_OF_REQUESTS: [HeaderName; 12] = [
    HOST,
    USER_AGENT,
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    TE,
    TRAILER,
    UPGRADE,
    EXPECT,
    ACCEPT_ENCODING,
    COOKIE,
    REFERER,
];

/// The guarded client. Clones share it.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    allowed: AllowedNetworks,
    resolver: Arc<dyn Resolver>,
    tls: Tls,
}

/// Builds a [`Client`] for tests: with their own resolver and certificates.
#[derive(Debug)]
pub struct Builder {
    allowed: AllowedNetworks,
    resolver: Arc<dyn Resolver>,
    roots: Option<Vec<CertificateDer<'static>>>,
}

/// A POST request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    target: &'a Target,
    headers: HeaderMap,
    body: Bytes,
    timeout: Duration,
}

/// A response of any status, also of a redirect, which is not followed.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers. The server's text: at most 100, and 32 KiB.
    pub headers: HeaderMap,
    /// The body, as it was sent: it may be compressed. At most [`MAX_RESPONSE_LEN`] bytes.
    pub body: Bytes,
}

impl<'a> Request<'a> {
    /// A request with a body of this media type.
    pub fn post(target: &'a Target, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
        Self { target, headers, body: body.into(), timeout: DEFAULT_TIMEOUT }
    }

    /// Adds headers, such as those of [`sign`](crate::signing::sign); each replaces others of its name. Those that the
    /// client sets itself, Cookie, Referer, and those about the connection are dropped.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Sets the time for the whole call, instead of [`DEFAULT_TIMEOUT`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn into_http(self) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::new(self.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.path.clone().into();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers;
        let headers = request.headers_mut();
        for name in NOT_OF_REQUESTS {
            headers.remove(name);
        }
        headers.insert(HOST, self.target.authority.clone());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        request
    }
}

impl Client {
    /// A client that resolves names as the system does, and trusts the certificates that the system trusts.
    ///
    /// # Errors
    /// If the system has no certificates.
    pub fn new(config: &OutboundConfig) -> anyhow::Result<Self> {
        Self::builder(config).build()
    }

    /// A builder, for tests.
    pub fn builder(config: &OutboundConfig) -> Builder {
        let resolver = Arc::new(SystemResolver::default());
        Builder { allowed: config.allowed_networks.clone(), resolver, roots: None }
    }

    /// The networks that may be called in addition, for [`Target::parse`].
    pub fn allowed_networks(&self) -> &AllowedNetworks {
        &self.0.allowed
    }

    /// Sends a request. Nothing is repeated: whether the server has acted on a failed call is not known.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn send(&self, request: Request<'_>) -> Result<Response, Error> {
        if request.body.len() > MAX_REQUEST_LEN {
            return Err(Error::RequestTooLarge);
        }
        // On the heap: the states of TLS and of HTTP are large.
        let call = Box::pin(self.call(&request));
        time::timeout(request.timeout, call).await.unwrap_or(Err(Error::Timeout))
    }

    async fn call(&self, request: &Request<'_>) -> Result<Response, Error> {
        let stream = self.stream(request.target).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_header_size(MAX_RESPONSE_HEAD_LEN)
            .max_buf_size(MAX_RESPONSE_HEAD_LEN)
            .handshake(TokioIo::new(stream))
            .await?;
        let exchange = async { read(sender.send_request(request.clone().into_http()).await?).await };
        pin!(connection, exchange);
        // Both here, and not in a task: the connection closes with the call, however it ends.
        select! {
            response = &mut exchange => response,
            // Then the rest of the response has been read, or there is none.
            _ = &mut connection => exchange.await,
        }
    }

    async fn stream(&self, target: &Target) -> Result<Box<dyn Stream>, Error> {
        let addresses = self.addresses(target).await?;
        let connected = async {
            let stream = connection::connect(&addresses, CONNECT_TIMEOUT).await?;
            let stream: Box<dyn Stream> = match target.scheme {
                Scheme::Http => Box::new(stream),
                Scheme::Https => self.0.tls.handshake(target.server_name.clone(), stream).await?,
            };
            Ok(stream)
        };
        time::timeout(CONNECT_TIMEOUT, connected).await.unwrap_or(Err(Error::Timeout))
    }

    /// The addresses of the target, all of them judged by this client's networks.
    async fn addresses(&self, target: &Target) -> Result<Vec<Judged>, Error> {
        let Inner { allowed, resolver, .. } = &*self.0;
        match &target.host {
            Destination::Address(address) => {
                Ok(vec![allowed.judge(target.scheme, SocketAddr::new(*address, target.port))?])
            }
            Destination::Name(name) => {
                let addresses = resolver.resolve(name).await.map_err(|error| Error::Unresolved(Some(error)))?;
                if addresses.is_empty() {
                    return Err(Error::Unresolved(None));
                }
                Ok(allowed.judge_name(target.scheme, &addresses, target.port)?)
            }
        }
    }
}

/// Reads a response. Its length is checked before it is kept.
async fn read(response: HttpResponse<Incoming>) -> Result<Response, Error> {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if body.len() + data.len() > MAX_RESPONSE_LEN {
            return Err(Error::ResponseTooLarge);
        }
        body.extend_from_slice(&data);
    }
    Ok(Response { status: head.status, headers: head.headers, body: body.into() })
}

impl Builder {
    /// Resolves names by `resolver`. For tests: in production, names are those of the system.
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Trusts only certificates by this root (DER), and by other roots that are added. For tests: in production, those
    /// that the system trusts.
    #[must_use]
    pub fn root(mut self, root: &[u8]) -> Self {
        self.roots.get_or_insert_default().push(CertificateDer::from(root.to_vec()));
        self
    }

    /// The client.
    ///
    /// # Errors
    /// If a root is not a certificate, or without roots, if the system has none.
    pub fn build(self) -> anyhow::Result<Client> {
        let tls = self.roots.map_or_else(Tls::of_system, Tls::of_roots)?;
        Ok(Client(Arc::new(Inner { allowed: self.allowed, resolver: self.resolver, tls })))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("allowed_networks", &self.0.allowed).finish_non_exhaustive()
    }
}
