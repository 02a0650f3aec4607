//! The client's address, behind load balancers.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};

use crate::headers::X_FORWARDED_FOR;

/// Networks whose `X-Forwarded-For` is trusted.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedProxies(Vec<Network>);

#[derive(Debug, Clone, Copy)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl TrustedProxies {
    /// Parses networks (`10.0.0.0/8`, `fd00::/8`) and addresses.
    pub(crate) fn parse(list: &[String]) -> Result<Self> {
        let network = |text: &String| {
            Network::parse(text)
                .with_context(|| format!("BATON_GATEWAY_TRUSTED_PROXIES: {text:?} must be an address or a network"))
        };
        list.iter().map(network).collect::<Result<_>>().map(Self)
    }

    /// Returns the client's address: the connection's peer, or if that is a trusted proxy, the last address in
    /// `X-Forwarded-For` that is not a trusted proxy. Earlier entries are the client's own claims and are ignored.
    pub(crate) fn client_ip(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        let mut client = peer.ip().to_canonical();
        let lists = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let mut claimed = lists.flat_map(|list| list.to_str().unwrap_or("?").rsplit(',').map(str::trim));
        while self.trusts(client) {
            let Some(Ok(next)) = claimed.next().map(str::parse::<IpAddr>) else { break };
            client = next.to_canonical();
        }
        Some(client)
    }

    /// Whether this is the address of a trusted proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let address: IpAddr = address;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        (bits <= all).then_some(Self { address, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let differ = match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        differ >= self.bits.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted_proxies =
            TrustedProxies::parse(&trusted.iter().map(|&text| text.to_owned()).collect::<Vec<_>>()).unwrap();
        let mut headers = HeaderMap::new();
        for list in forwarded {
            headers.append(X_FORWARDED_FOR, list.parse().unwrap());
        }
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        trusted_proxies.client_ip(&headers, &extensions).unwrap().to_string()
    }

    #[test]
    fn forwarded_for_of_an_untrusted_peer_is_ignored() {
        assert_eq!(client(&[], "10.0.0.1", &["203.0.113.7"]), "10.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "198.51.100.4", &["203.0.113.7"]), "198.51.100.4");
    }

    #[test]
    fn only_the_last_untrusted_address_of_forwarded_for_is_used() {
        let ours = &["10.0.0.0/8", "fd00::/8"];
        assert_eq!(client(ours, "10.0.0.1", &["1.1.1.1, 203.0.113.7"]), "203.0.113.7");
        assert_eq!(client(ours, "10.0.0.1", &["1.1.1.1", "203.0.113.7, 10.9.9.9"]), "203.0.113.7");
        assert_eq!(client(ours, "fd00::1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(client(ours, "::ffff:10.0.0.1", &["::ffff:203.0.113.7"]), "203.0.113.7");
    }

    #[test]
    fn invalid_forwarded_for_stops_at_the_last_known_address() {
        for forwarded in [&[][..], &[""], &["1.1.1.1, unknown"], &["1.1.1.1, "], &["1.1.1.1:80"]] {
            assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", forwarded), "10.0.0.1", "{forwarded:?}");
        }
    }

    #[test]
    fn networks_match_by_prefix_length() {
        assert_eq!(client(&["10.0.0.0/31"], "10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(client(&["10.0.0.0/31"], "10.0.0.2", &["1.1.1.1"]), "10.0.0.2");
        assert_eq!(client(&["0.0.0.0/0"], "9.9.9.9", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(client(&["9.9.9.9"], "9.9.9.9", &["1.1.1.1"]), "1.1.1.1");
        for wrong in ["10.0.0.0/33", "10.0.0/8", "::/129", "x", "10.0.0.0/-1", ""] {
            assert!(TrustedProxies::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
