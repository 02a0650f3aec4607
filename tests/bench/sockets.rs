//! WebSocket clients that cost little themselves.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// The loopback address from which a process connects.
pub(crate) const SOURCE: &str = "BATON_BENCH_SOURCE";

/// When a message arrived, by the number of the change in it.
pub(crate) type Received = (u64, Instant);

/// A WebSocket that counts messages, and keeps nothing of them but their arrival.
pub(crate) struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are not parsed.
    filled: usize,
}

impl Socket {
    pub(crate) async fn open(address: SocketAddr, path: &str, protocol: Option<&str>) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        if let Ok(source) = std::env::var(SOURCE) {
            socket.bind(SocketAddr::new(source.parse().expect("an address"), 0))?;
        }
        let mut stream = socket.connect(address).await?;
        let protocol = protocol.map(|it| format!("sec-websocket-protocol: {it}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut socket = Self { stream, buffer: vec![0; 4096], filled: 0 };
        loop {
            socket.fill().await?;
            let head = &socket.buffer[..socket.filled];
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(head));
                socket.buffer.copy_within(end + 4..socket.filled, 0);
                socket.filled -= end + 4;
                return Ok(socket);
            }
        }
    }

    async fn fill(&mut self) -> std::io::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += read;
        Ok(())
    }

    /// Sends a text of less than 64 KiB, masked with zeros.
    pub(crate) async fn send(&mut self, text: &str) -> std::io::Result<()> {
        let mut frame = vec![0x81];
        match text.len() {
            length @ ..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).await
    }

    /// Passes the next texts to `take`, at least one.
    pub(crate) async fn receive(&mut self, mut take: impl FnMut(&[u8])) -> std::io::Result<()> {
        loop {
            let (mut parsed, mut texts) = (0, 0);
            while let Some((header, length)) = frame(&self.buffer[parsed..self.filled]) {
                let Some(payload) = self.buffer[..self.filled].get(parsed + header..parsed + header + length) else {
                    break;
                };
                if self.buffer[parsed] & 0x0f == 1 {
                    take(payload);
                    texts += 1;
                }
                parsed += header + length;
            }
            self.buffer.copy_within(parsed..self.filled, 0);
            self.filled -= parsed;
            if texts > 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Waits for a text that contains `part`.
    pub(crate) async fn wait_for(&mut self, part: &str) -> std::io::Result<()> {
        let mut found = false;
        while !found {
            self.receive(|text| found |= contains(text, part.as_bytes())).await?;
        }
        Ok(())
    }
}

/// Length of the header and of the payload of the frame that the bytes begin with.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        126 => Some((4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)))),
        127 => Some((10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?)),
        length => Some((2, usize::from(length))),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The number after `"version":`.
fn version(text: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"version\":";
    let start = text.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// The number of a change that has its version within a tag.
pub(crate) fn tagged(tag: u64, version: u64) -> u64 {
    tag << 32 | version
}

/// Sockets that note what they receive.
pub(crate) struct Fleet {
    pub(crate) sockets: Vec<JoinHandle<Vec<Received>>>,
    pub(crate) received: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self { sockets: Vec::new(), received: Arc::default(), stop: watch::channel(false).0 }
    }

    /// Adds a socket. `tag` distinguishes the changes that it is told from others with the same number.
    pub(crate) fn add(&mut self, mut socket: Socket, tag: u64, is_socket_io: bool) {
        let (received, mut stop) = (Arc::clone(&self.received), self.stop.subscribe());
        self.sockets.push(tokio::spawn(async move {
            let mut all = Vec::new();
            loop {
                let (mut now, mut pinged) = (Vec::new(), false);
                let result = tokio::select! {
                    _ = stop.changed() => return all,
                    result = socket.receive(|text| {
                        now.extend(version(text).map(|version| (tagged(tag, version), Instant::now())));
                        pinged |= is_socket_io && text == b"2";
                    }) => result,
                };
                received.fetch_add(now.len(), Ordering::Relaxed);
                all.append(&mut now);
                if result.is_err() || pinged && socket.send("3").await.is_err() {
                    return all;
                }
            }
        }));
    }

    /// Waits until this many messages have arrived, or none arrive any more.
    pub(crate) async fn wait_for(&self, count: usize) {
        let mut last = (0, Instant::now());
        loop {
            let received = self.received.load(Ordering::Relaxed);
            if received >= count || received == last.0 && last.1.elapsed() > Duration::from_secs(5) {
                return;
            }
            if received != last.0 {
                last = (received, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn finish(self) -> Vec<Received> {
        self.stop.send(true).unwrap();
        let mut all = Vec::new();
        for socket in self.sockets {
            all.extend(socket.await.unwrap());
        }
        all
    }
}
