//! Origin of a call: the client's address, its user agent, and the id of its request.
//!
//! The gateway sends it in `x-forwarded-for`, `x-forwarded-user-agent` and `x-request-id`. [`crate::server`] keeps it
//! during a call, and the call's events carry it ([`Origin::current`]). Throttling counts by it, the list of a user's
//! sessions shows it, and the activity log stores it. It is not authenticated, so it never decides access.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;

/// Bytes of a user agent that are kept, at most.
const MAX_USER_AGENT_LEN: usize = 256;
const MAX_REQUEST_ID_LEN: usize = 128;

tokio::task_local! {
    static CURRENT: Origin;
}

/// Origin of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address, if known.
    pub address: Option<IpAddr>,
    /// User agent of the client, in printable ASCII; empty if unknown.
    pub user_agent: String,
    /// Id of the request at the gateway; empty if the call did not pass through one.
    pub request_id: String,
}

impl Origin {
    /// Reads the headers of a call from `peer`. Only a peer in a local network (loopback, private, link-local, unique
    /// local) is trusted, and only the last forwarded address, which the peer itself added.
    pub fn of(headers: &HeaderMap, peer: Option<IpAddr>) -> Self {
        let peer = peer.map(|peer| peer.to_canonical());
        let near = peer.is_none_or(is_local_network);
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let forwarded = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
        let forwarded = forwarded.and_then(|list| list.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
        let agent = if near { text("x-forwarded-user-agent") } else { text("user-agent") };
        Self {
            address: forwarded.filter(|_| near).map(|address| address.to_canonical()).or(peer),
            user_agent: printable(agent, MAX_USER_AGENT_LEN),
            request_id: printable(text("x-request-id"), MAX_REQUEST_ID_LEN),
        }
    }

    /// The origin of the current call; empty outside of one.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Runs `work` as a part of a call with this origin.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// The network to count a client by: its IPv4 address, or the /64 that providers assign to one customer.
    pub fn network(&self) -> Option<IpAddr> {
        self.address.map(network)
    }
}

/// See [`Origin::network`].
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// Whether an address is in a local network.
fn is_local_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn printable(text: &str, max_len: usize) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(max_len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(forwarded: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        headers.insert("user-agent", "grpc-go".parse().unwrap());
        headers.insert("x-forwarded-user-agent", "Firefox".parse().unwrap());
        headers
    }

    #[test]
    fn local_gateway_is_trusted_for_the_last_address_only() {
        let origin = Origin::of(&headers(&["1.1.1.1, 2.2.2.2", "3.3.3.3, 203.0.113.7"]), "10.0.0.9".parse().ok());
        assert_eq!(origin.address, "203.0.113.7".parse().ok());
        assert_eq!(origin.user_agent, "Firefox");
    }

    #[test]
    fn headers_of_a_remote_peer_are_ignored() {
        let origin = Origin::of(&headers(&["203.0.113.7"]), "198.51.100.4".parse().ok());
        assert_eq!(origin.address, "198.51.100.4".parse().ok());
        assert_eq!(origin.user_agent, "grpc-go");
    }

    #[test]
    fn without_headers_the_peer_is_the_client() {
        let origin = Origin::of(&headers(&["nonsense"]), "::ffff:10.0.0.9".parse().ok());
        assert_eq!(origin.address, "10.0.0.9".parse().ok());
    }

    #[test]
    fn ipv6_clients_are_counted_by_their_64_prefix() {
        let of = |address: &str| Origin { address: address.parse().ok(), ..Origin::default() }.network();
        assert_eq!(of("2001:db8:1:2:aaaa::1"), of("2001:db8:1:2:bbbb::2"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1".parse().ok());
    }

    #[tokio::test]
    async fn origin_is_set_during_the_call_only() {
        let origin = Origin { request_id: "r1".to_owned(), ..Origin::default() };
        assert_eq!(origin.clone().scope(async { Origin::current() }).await, origin);
        assert_eq!(Origin::current(), Origin::default());
    }
}
