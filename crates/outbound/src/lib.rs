//! Calls to URLs that customers name: webhooks.
//!
//! Whoever names a URL must not reach what only this machine reaches: services of the cluster, the cloud's metadata,
//! the machine itself (server-side request forgery). So this client calls public addresses only.
//!
//! | step | rule |
//! |---|---|
//! | URL | https, no credentials, no fragment, at most [`MAX_URL_LEN`] bytes: [`Target::parse`] |
//! | name | resolved once per call; one address that is not public refuses the call |
//! | address | not in [`SPECIAL`], and not ISATAP; or in a network of [`OutboundConfig`], and then also over http |
//! | port | any |
//! | connection | to one of the judged addresses; one per call; no proxy |
//! | TLS | 1.2 or 1.3; the certificate must be valid for the name in the URL |
//! | request | POST, at most [`MAX_REQUEST_LEN`] bytes; no cookies, no Referer |
//! | response | at most [`MAX_RESPONSE_LEN`] bytes; redirects are responses, and are not followed |
//! | time | [`CONNECT_TIMEOUT`] for the connection, [`DEFAULT_TIMEOUT`] or the request's own for the call |
//!
//! Why not reqwest: there the judgement would be a resolver, which is not asked for addresses in the URL, and the list
//! of what must be switched off (proxies of the environment, redirects, Referer, repetition) follows its releases. Here
//! that code does not exist. There is one function that connects, and it takes addresses of a type that only the
//! judgement makes. A second resolution, which could give another address than the judged one (DNS rebinding), has no
//! place. hyper also bounds the headers of a response, for which reqwest has no setting.
//!
//! What it cannot know: an internal network with public addresses, and the prefix of a NAT64 that is not a well-known
//! one. There the network must have a rule that keeps the process out.
//!
//! ```
//! use baton_outbound::{AllowedNetworks, Refused, Target};
//!
//! let allowed = AllowedNetworks::default();
//! let target = Target::parse("https://hooks.example.com/baton", &allowed)?;
//! assert_eq!(target.as_str(), "https://hooks.example.com/baton");
//! let refused = Target::parse("https://2130706433/", &allowed).unwrap_err();
//! assert_eq!((refused, refused.reason()), (Refused::Address("Loopback"), "address_not_public"));
//! # Ok::<(), Refused>(())
//! ```
//!
//! Messages are signed by Standard Webhooks: [`signing`].
//!
//! ```no_run
//! # async fn deliver(client: baton_outbound::Client, stored_url: &str, secret: baton_outbound::signing::SigningSecret)
//! # -> anyhow::Result<()> {
//! use baton_outbound::{Request, Target, signing};
//! use http::HeaderValue;
//!
//! let target = Target::parse(stored_url, client.allowed_networks())?;
//! let body = br#"{"type":"task.completed"}"#.as_slice();
//! let headers = signing::sign(&[secret], "018f0c1e-7e8a-7000-8000-000000000000", 1_700_000_000, body)?;
//! let request = Request::post(&target, HeaderValue::from_static("application/json"), body).headers(headers);
//! let delivered = client.send(request).await?.status.is_success();
//! # Ok(())
//! # }
//! ```

mod client;
mod connection;
mod networks;
mod refused;
mod resolver;
pub mod signing;
mod special;
mod target;

pub use client::{
    Builder, CONNECT_TIMEOUT, Client, DEFAULT_TIMEOUT, MAX_REQUEST_LEN, MAX_RESPONSE_LEN, Request, Response,
};
pub use networks::{AllowedNetworks, OutboundConfig};
pub use refused::{Error, Refused};
pub use resolver::{Resolver, SystemResolver};
pub use special::{SPECIAL, Special, purpose};
pub use target::{MAX_URL_LEN, Target};
