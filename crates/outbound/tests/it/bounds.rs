//! Slow, silent, endless and broken receivers.

use std::{
    io,
    time::{Duration, Instant},
};

use baton_outbound::{Error, MAX_RESPONSE_LEN, Response, Target};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{interval, timeout},
};

use crate::receiver::{Names, Receiver, allowed, call, client, post, read_request};

const LOOPBACK: &str = "127.0.0.0/8";
const SHORT: Duration = Duration::from_millis(300);
/// Well above [`SHORT`], and below what a call takes by default.
const BOUND: Duration = Duration::from_secs(5);

/// What a receiver does with its connection. It ends when the client has closed it.
enum Behaviour {
    /// Says nothing.
    Silent,
    /// Sends this once, then a byte every few milliseconds.
    Slow(&'static str),
    /// Sends this once, then the other again and again.
    Endless(&'static str, Vec<u8>),
}

async fn serve(mut stream: TcpStream, behaviour: Behaviour) -> io::Result<()> {
    match behaviour {
        Behaviour::Silent => while stream.read(&mut [0; 1024]).await? > 0 {},
        Behaviour::Slow(start) => {
            read_request(&mut stream).await;
            stream.write_all(start.as_bytes()).await?;
            let mut pace = interval(Duration::from_millis(20));
            loop {
                pace.tick().await;
                stream.write_all(b"x").await?;
            }
        }
        Behaviour::Endless(start, part) => {
            read_request(&mut stream).await;
            stream.write_all(start.as_bytes()).await?;
            loop {
                stream.write_all(&part).await?;
            }
        }
    }
    Ok(())
}

/// A receiver of one connection, and its end.
async fn behaving(behaviour: Behaviour) -> (u16, JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        serve(stream, behaviour).await
    });
    (port, served)
}

/// Calls the receiver, and waits until it has noticed that the client has closed the connection.
async fn call_and_close(scheme: &str, behaviour: Behaviour, time: Duration) -> Result<Response, Error> {
    let (port, served) = behaving(behaviour).await;
    let target = Target::parse(&format!("{scheme}://127.0.0.1:{port}/"), &allowed(LOOPBACK)).unwrap();
    let began = Instant::now();
    let result = client(LOOPBACK, &Names::default()).send(post(&target).timeout(time)).await;
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    let _ = timeout(BOUND, served).await.expect("the client closes the connection").unwrap();
    result
}

#[tokio::test]
async fn slow_receivers_get_the_calls_time() {
    for (scheme, behaviour) in [
        ("http", Behaviour::Silent),
        // In the handshake of TLS.
        ("https", Behaviour::Silent),
        ("http", Behaviour::Slow("HTTP/1.1 200 OK\r\nX-Slow: ")),
        ("http", Behaviour::Slow("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")),
        ("http", Behaviour::Slow("HTTP/1.1 200 OK\r\n\r\n")),
    ] {
        let error = call_and_close(scheme, behaviour, SHORT).await.unwrap_err();
        assert!(matches!(error, Error::Timeout), "{error:?}");
    }
}

#[tokio::test]
async fn interim_responses_do_not_extend_the_time() {
    let endless = Behaviour::Endless("", b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec());
    let error = call_and_close("http", endless, SHORT).await.unwrap_err();
    assert!(matches!(error, Error::Timeout), "{error:?}");
}

#[tokio::test]
async fn endless_bodies_are_not_read_to_their_end() {
    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
    for (start, part) in [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk),
        ("HTTP/1.1 200 OK\r\n\r\n", vec![b'x'; 0x1000]),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", vec![b'x'; 0x1000]),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", vec![b'x'; 0x1000]),
    ] {
        let error = call_and_close("http", Behaviour::Endless(start, part), BOUND).await.unwrap_err();
        assert!(matches!(error, Error::ResponseTooLarge), "{start}: {error:?}");
    }
}

#[tokio::test]
async fn endless_headers_are_not_read_to_their_end() {
    for (start, part) in [
        ("HTTP/1.1 200 OK\r\n", b"X-More: x\r\n".to_vec()),
        ("HTTP/1.1 200 OK\r\nX-Long: ", vec![b'x'; 0x1000]),
        ("HTTP/1.1 200 ", vec![b'x'; 0x1000]),
    ] {
        let error = call_and_close("http", Behaviour::Endless(start, part), BOUND).await.unwrap_err();
        assert!(matches!(error, Error::InvalidResponse(_)), "{start}: {error:?}");
    }
}

async fn answer(response: impl Into<Vec<u8>>) -> Result<Response, Error> {
    let receiver = Receiver::answering(response).await;
    call(&client(LOOPBACK, &Names::default()), &format!("http://127.0.0.1:{}/", receiver.port())).await
}

#[tokio::test]
async fn bodies_of_the_maximum_length_are_read() {
    let of_length = |len: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{}", "x".repeat(len));
    assert_eq!(answer(of_length(MAX_RESPONSE_LEN)).await.unwrap().body.len(), MAX_RESPONSE_LEN);
    let error = answer(of_length(MAX_RESPONSE_LEN + 1)).await.unwrap_err();
    assert_eq!(error.reason(), "response_too_large", "{error:?}");
    // Without a length, the body ends with the connection.
    let until_close = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_RESPONSE_LEN));
    assert_eq!(answer(until_close).await.unwrap().body.len(), MAX_RESPONSE_LEN);
}

#[tokio::test]
async fn headers_have_at_most_32_kib() {
    let of_length = |len: usize| format!("HTTP/1.1 204 No Content\r\nX-Long: {}\r\n\r\n", "x".repeat(len));
    assert_eq!(answer(of_length(16 * 1024)).await.unwrap().headers["x-long"].len(), 16 * 1024);
    let error = answer(of_length(33 * 1024)).await.unwrap_err();
    assert_eq!(error.reason(), "response_invalid", "{error:?}");
}

#[tokio::test]
async fn broken_responses_are_errors() {
    for (response, reason) in [
        ("", "connection_failed"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "connection_failed"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "connection_failed"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "response_invalid"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "response_invalid"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "response_invalid"),
    ] {
        let error = answer(response).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{response:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_an_error_without_its_address() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = call(&client(LOOPBACK, &Names::default()), &format!("http://127.0.0.1:{port}/")).await.unwrap_err();
    assert!(matches!(error, Error::Connection(_)), "{error:?}");
    assert_eq!((error.reason(), error.to_string().as_str()), ("connection_failed", "the connection failed"));
}
