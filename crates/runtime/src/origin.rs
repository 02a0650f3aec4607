//! Where a call comes from: the client's address, its program, and the id of its request.
//!
//! The gateway says it in `x-forwarded-for`, `x-forwarded-user-agent` and `x-request-id`; [`crate::server`] keeps
//! it for the time of a call, and whatever the call publishes carries it ([`Origin::current`]). It is what
//! throttling counts by, what a person's list of sessions shows, and what the activity log keeps. It proves
//! nothing: it decides no access.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;

/// Longest user agent that is kept, in bytes.
const LONGEST_USER_AGENT: usize = 256;
const LONGEST_REQUEST_ID: usize = 128;

tokio::task_local! {
    static CURRENT: Origin;
}

/// Where a call comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address, when it is known.
    pub address: Option<IpAddr>,
    /// What the client calls itself; empty when it does not say. Printable ASCII.
    pub user_agent: String,
    /// Id of the request at the gateway; empty when it did not come through one.
    pub request_id: String,
}

impl Origin {
    /// Reads the headers of a call that came from `peer`. Only a peer of the own network (loopback, private,
    /// link-local, unique local) is believed: the last address that it forwards is its own word.
    pub fn of(headers: &HeaderMap, peer: Option<IpAddr>) -> Self {
        let peer = peer.map(|peer| peer.to_canonical());
        let near = peer.is_none_or(is_near);
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let forwarded = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
        let forwarded = forwarded.and_then(|list| list.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
        let agent = if near { text("x-forwarded-user-agent") } else { text("user-agent") };
        Self {
            address: forwarded.filter(|_| near).map(|address| address.to_canonical()).or(peer),
            user_agent: printable(agent, LONGEST_USER_AGENT),
            request_id: printable(text("x-request-id"), LONGEST_REQUEST_ID),
        }
    }

    /// Of the call that is being answered; empty outside of one.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Runs `work` as a part of a call from here.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// What one client is counted by: its IPv4 address, or the /64 that a provider hands to one customer.
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

/// Whether an address belongs to the network that the platform runs in.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn printable(text: &str, longest: usize) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(longest).collect()
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
    fn a_gateway_nearby_is_believed_for_its_own_word_only() {
        let origin = Origin::of(&headers(&["1.1.1.1, 2.2.2.2", "3.3.3.3, 203.0.113.7"]), "10.0.0.9".parse().ok());
        assert_eq!(origin.address, "203.0.113.7".parse().ok());
        assert_eq!(origin.user_agent, "Firefox");
    }

    #[test]
    fn a_stranger_is_who_the_connection_says() {
        let origin = Origin::of(&headers(&["203.0.113.7"]), "198.51.100.4".parse().ok());
        assert_eq!(origin.address, "198.51.100.4".parse().ok());
        assert_eq!(origin.user_agent, "grpc-go");
    }

    #[test]
    fn without_a_word_it_is_the_peer() {
        let origin = Origin::of(&headers(&["nonsense"]), "::ffff:10.0.0.9".parse().ok());
        assert_eq!(origin.address, "10.0.0.9".parse().ok());
    }

    #[test]
    fn one_customer_of_ipv6_is_one() {
        let of = |address: &str| Origin { address: address.parse().ok(), ..Origin::default() }.network();
        assert_eq!(of("2001:db8:1:2:aaaa::1"), of("2001:db8:1:2:bbbb::2"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1".parse().ok());
    }

    #[tokio::test]
    async fn it_lasts_as_long_as_the_call() {
        let origin = Origin { request_id: "r1".to_owned(), ..Origin::default() };
        assert_eq!(origin.clone().scope(async { Origin::current() }).await, origin);
        assert_eq!(Origin::current(), Origin::default());
    }
}
