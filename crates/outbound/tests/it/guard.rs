//! Addresses that are not public get no connection: in any notation, and behind any name.

use baton_outbound::{Client, Error, Refused, Target};

use crate::receiver::{Names, Receiver, Untouched, allowed, call, client, config, post};

/// Notations of 127.0.0.1, and addresses that lead to it where there is a translator or a tunnel.
const LOOPBACK_HOSTS: [&str; 19] = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::80ff:fffe]",
    "[2606:4700::5efe:7f00:1]",
];
/// The notations that reach a listener on 127.0.0.1 without any translator.
const REACHING: [&str; 7] =
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"];
/// Addresses of a network that only this machine, its link or its site reaches.
const ADDRESSES: [&str; 22] = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.0.1",
    "192.0.0.192",
    "168.63.129.16",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2606:4700::200:5efe:7f00:1",
];

#[tokio::test]
async fn literal_addresses_get_no_connection() {
    let listener = Untouched::listen().await;
    let client = client("", &Names::default());
    for host in LOOPBACK_HOSTS {
        for scheme in ["https", "http"] {
            let url = format!("{scheme}://{host}:{}/", listener.port());
            let refused = call(&client, &url).await.unwrap_err();
            assert!(matches!(refused, Error::Refused(_)), "{url}: {refused:?}");
            assert!(!refused.to_string().contains("127"), "{refused}");
        }
    }
    listener.assert("by its address").await;
}

/// A target that was parsed by other rules than the client's is judged again.
#[tokio::test]
async fn literal_addresses_are_judged_at_the_call_too() {
    let listener = Untouched::listen().await;
    let client = client("", &Names::default());
    for host in LOOPBACK_HOSTS {
        for scheme in ["https", "http"] {
            let url = format!("{scheme}://{host}:{}/", listener.port());
            let target = Target::parse(&url, &allowed("0.0.0.0/0,::/0")).unwrap();
            let refused = client.send(post(&target)).await.unwrap_err();
            assert!(matches!(refused, Error::Refused(Refused::Address(_))), "{url}: {refused:?}");
        }
    }
    listener.assert("by its address").await;
}

#[tokio::test]
async fn names_with_such_addresses_get_no_connection() {
    let listener = Untouched::listen().await;
    for address in ADDRESSES {
        let only: &[&str] = &[address];
        // 1.1.1.1 is refused with it, or the test would call the internet.
        for answer in [only, &["1.1.1.1", address], &[address, "1.1.1.1"]] {
            let names = Names::of(&[answer]);
            let url = format!("https://internal.example:{}/", listener.port());
            let refused = call(&client("", &names), &url).await.unwrap_err();
            assert!(matches!(refused, Error::Refused(Refused::Name(_))), "{answer:?}: {refused:?}");
            assert_eq!((refused.reason(), names.asked()), ("no_public_address", 1));
        }
    }
    listener.assert("by a name").await;
}

#[tokio::test]
async fn names_of_the_system_get_no_connection() {
    let listener = Untouched::listen().await;
    let client = Client::builder(&config("")).root(&super::tls::root()).build().unwrap();
    for name in ["localhost", "LOCALHOST", "localhost."] {
        let refused = call(&client, &format!("https://{name}:{}/", listener.port())).await.unwrap_err();
        // Some systems do not resolve it with the dot.
        assert_eq!(refused.reason(), "no_public_address", "{name}: {refused:?}");
    }
    listener.assert("by localhost").await;
}

/// Otherwise the tests above would show nothing: these are connections that the client could open.
#[tokio::test]
async fn in_allowed_networks_the_same_addresses_are_called() {
    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let networks = "0.0.0.0/32,127.0.0.0/8,::ffff:127.0.0.0/104";
    for host in REACHING {
        let url = format!("http://{host}:{}/", receiver.port());
        assert_eq!(call(&client(networks, &Names::default()), &url).await.unwrap().status, 204, "{url}");
    }
    let names = Names::of(&[&["127.0.0.1"]]);
    let url = format!("http://internal.example:{}/", receiver.port());
    assert_eq!(call(&client(networks, &names), &url).await.unwrap().status, 204);
    assert_eq!(receiver.requests().len(), REACHING.len() + 1);
}

#[tokio::test]
async fn plain_http_reaches_allowed_networks_only() {
    let client = client("127.0.0.0/8", &Names::of(&[&["1.1.1.1"]]));
    let refused = call(&client, "http://public.example/").await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refused::NotHttps)), "{refused:?}");
}
