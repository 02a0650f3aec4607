//! Certificates are checked, against the name in the URL.

use std::sync::Arc;

use baton_outbound::{Client, Error};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::receiver::{Names, call, client, config};

const LOOPBACK: &str = "127.0.0.0/8";

fn certificate(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).unwrap()
}

/// The root that the tests trust.
pub(crate) fn root() -> Vec<u8> {
    certificate(include_bytes!("certificates/root.pem")).to_vec()
}

/// A receiver with the certificate of hooks.example. It answers with the name by which it was called (SNI) and the
/// protocol.
async fn receiver() -> u16 {
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("certificates/key.pem")).unwrap();
    let chain = vec![certificate(include_bytes!("certificates/server.pem"))];
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let session = stream.get_ref().1;
            let protocol = String::from_utf8_lossy(session.alpn_protocol().unwrap_or_default()).into_owned();
            let body = format!("{} {protocol}", session.server_name().unwrap_or("-"));
            let _ = stream.read(&mut [0; 4096]).await;
            let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(response.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_for_the_name_is_accepted() {
    let (port, client) = (receiver().await, client(LOOPBACK, &Names::of(&[&["127.0.0.1"]])));
    for (host, expected) in [
        ("hooks.example", "hooks.example http/1.1"),
        ("hooks.example.", "hooks.example http/1.1"),
        ("127.0.0.1", "- http/1.1"),
    ] {
        let response = call(&client, &format!("https://{host}:{port}/")).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&response.body), expected, "{host}");
    }
}

#[tokio::test]
async fn other_certificates_are_refused() {
    let (port, names) = (receiver().await, Names::of(&[&["127.0.0.1"]]));
    let error = call(&client(LOOPBACK, &names), &format!("https://other.example:{port}/")).await.unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "another name: {error:?}");
    assert_eq!(error.reason(), "tls_failed");

    // The client of production does not know the root of the tests.
    let client = Client::builder(&config(LOOPBACK)).resolver(Arc::new(names)).build().unwrap();
    let error = call(&client, &format!("https://hooks.example:{port}/")).await.unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "an unknown root: {error:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let client = client(LOOPBACK, &Names::default());
    for answer in [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), b""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer).await;
        });
        let error = call(&client, &format!("https://127.0.0.1:{port}/")).await.unwrap_err();
        assert!(matches!(error, Error::Tls(_)), "{error:?}");
    }
}
