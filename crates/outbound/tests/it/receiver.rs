//! Listeners for the client to call, or not to call, and names for it.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use baton_outbound::{AllowedNetworks, Client, Error, OutboundConfig, Request, Resolver, Response, Target};
use http::HeaderValue;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A listener on 127.0.0.1 that nothing may connect to.
pub(crate) struct Untouched(TcpListener);

impl Untouched {
    pub(crate) async fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Fails if there was a connection. Connections are accepted in their order, so the first one must be our own.
    pub(crate) async fn assert(&self, what: &str) {
        let own = TcpStream::connect(self.0.local_addr().unwrap()).await.unwrap();
        let (_, first) = self.0.accept().await.unwrap();
        assert_eq!(first, own.local_addr().unwrap(), "a connection was opened: {what}");
    }
}

/// A receiver on 127.0.0.1 that sends the same bytes to everyone, and notes what it gets. It keeps a connection only if
/// it says so (`keep-alive`).
pub(crate) struct Receiver {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Receiver {
    pub(crate) async fn answering(response: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let (counted, noted) = (Arc::clone(&connections), Arc::clone(&requests));
        let response: Arc<[u8]> = response.into().into();
        let keeps = String::from_utf8_lossy(&response).contains("keep-alive");
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let (noted, response) = (Arc::clone(&noted), Arc::clone(&response));
                tokio::spawn(async move {
                    loop {
                        let request = read_request(&mut stream).await;
                        if request.is_empty() {
                            break;
                        }
                        noted.lock().unwrap().push(request);
                        // The client may be satisfied, or refuse the rest, and close.
                        if stream.write_all(&response).await.is_err() || !keeps {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, connections, requests }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The connections that it got.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The requests that it got.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| String::from_utf8(request.clone()).unwrap()).collect()
    }
}

/// Reads a request with a Content-Length.
pub(crate) async fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if request.len() >= head.len() + 4 + length {
                return request;
            }
        }
        if stream.read_buf(&mut request).await.unwrap_or_default() == 0 {
            return request;
        }
    }
}

/// Names with answers that are given one after the other, the last one again and again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    answers: Arc<Mutex<VecDeque<Vec<IpAddr>>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    pub(crate) fn of(answers: &[&[&str]]) -> Self {
        let addresses = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Self { answers: Arc::new(Mutex::new(answers.iter().map(addresses).collect())), asked: Arc::default() }
    }

    /// How often a name was resolved.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        next.ok_or_else(|| io::Error::other("no such name"))
    }
}

pub(crate) fn allowed(networks: &str) -> AllowedNetworks {
    AllowedNetworks::parse(networks).unwrap()
}

pub(crate) fn config(networks: &str) -> OutboundConfig {
    OutboundConfig { allowed_networks: allowed(networks) }
}

/// A client that may call these networks too, and resolves names so.
pub(crate) fn client(networks: &str, names: &Names) -> Client {
    Client::builder(&config(networks)).resolver(Arc::new(names.clone())).root(&super::tls::root()).build().unwrap()
}

/// Calls a URL as a service does: parses it by the client's networks, and sends.
pub(crate) async fn call(client: &Client, url: &str) -> Result<Response, Error> {
    let target = Target::parse(url, client.allowed_networks())?;
    client.send(post(&target)).await
}

pub(crate) fn post(target: &Target) -> Request<'_> {
    Request::post(target, HeaderValue::from_static("application/json"), r#"{"a":1}"#)
}
