//! A name is resolved once per call, and the connection is made to what was judged.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use baton_outbound::{Client, Error, Refused, Resolver, Target};

use crate::receiver::{Names, Receiver, allowed, call, client, config, post};

const NETWORKS: &str = "127.0.0.1/32";

#[tokio::test]
async fn a_name_that_changes_its_address_is_called_at_the_judged_one() {
    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n").await;
    // The second address leads to the same listener, and is not allowed.
    let names = Names::of(&[&["127.0.0.1"], &["::ffff:127.0.0.1"]]);
    let client = client(NETWORKS, &names);
    let url = format!("http://rebinding.example:{}/", receiver.port());

    assert_eq!(call(&client, &url).await.unwrap().status, 204);
    assert_eq!((names.asked(), receiver.connections()), (1, 1), "one resolution, one connection");

    for calls in 2..4 {
        let refused = call(&client, &url).await.unwrap_err();
        assert!(matches!(refused, Error::Refused(Refused::Name("IPv4-mapped Address"))), "{refused:?}");
        assert_eq!((names.asked(), receiver.connections()), (calls, 1), "no connection, also no kept one");
    }
}

#[tokio::test]
async fn another_address_is_tried_after_one_that_does_not_answer() {
    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    // Nothing listens on the port of ::1.
    let client = client("127.0.0.1/32,::1/128", &Names::of(&[&["::1", "127.0.0.1"]]));
    let url = format!("http://two.example:{}/", receiver.port());
    assert_eq!(call(&client, &url).await.unwrap().status, 204);
}

#[tokio::test]
async fn names_without_addresses_are_told_apart_from_failures() {
    let unresolved = call(&client("", &Names::default()), "https://nowhere.example/").await.unwrap_err();
    assert!(matches!(unresolved, Error::Unresolved(Some(_))), "{unresolved:?}");
    let empty = call(&client("", &Names::of(&[&[]])), "https://nowhere.example/").await.unwrap_err();
    assert!(matches!(empty, Error::Unresolved(None)), "{empty:?}");
    assert_eq!((unresolved.reason(), empty.reason()), ("no_public_address", "no_public_address"));
}

/// A name server that never answers.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl Resolver for Silent {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn resolution_is_part_of_the_calls_time() {
    let client = Client::builder(&config("")).resolver(Arc::new(Silent)).root(&super::tls::root()).build().unwrap();
    let target = Target::parse("https://silent.example/", &allowed("")).unwrap();
    let error = client.send(post(&target).timeout(Duration::from_millis(50))).await.unwrap_err();
    assert!(matches!(error, Error::Timeout), "{error:?}");
}
