//! The networks that may be called in addition, and the judgement of addresses.

use std::net::{IpAddr, SocketAddr};

use baton_runtime::config::FromVariable;
use ipnet::IpNet;

use crate::{refused::Refused, special};

baton_runtime::config! {
    /// Settings of calls to URLs that customers name.
    pub struct OutboundConfig {
        /// Networks that webhooks may call in addition to public addresses, also over plain http: CIDR such as
        /// `127.0.0.0/8`, separated by commas. For development and for receivers in the operator's own network;
        /// everyone who may name a URL reaches all of them.
        pub allowed_networks: AllowedNetworks = "BATON_OUTBOUND_ALLOWED_NETWORKS", default "";
    }
}

/// Networks that may be called in addition to public addresses.
///
/// An address is compared as it is: `127.0.0.0/8` does not allow `::ffff:127.0.0.1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedNetworks(Vec<IpNet>);

/// The scheme of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// A socket address that [`AllowedNetworks::judge`] has let pass. Connections are made to these only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged(SocketAddr);

impl Judged {
    pub(crate) fn socket(self) -> SocketAddr {
        self.0
    }
}

impl AllowedNetworks {
    /// Parses networks separated by commas; `None` if one is not in CIDR form, or has bits set after its prefix
    /// (`10.0.0.1/8`), which would be a mistake.
    pub fn parse(list: &str) -> Option<Self> {
        let networks = list.split(',').map(str::trim).filter(|network| !network.is_empty());
        let networks =
            networks.map(|network| network.parse().ok().filter(|network: &IpNet| *network == network.trunc()));
        networks.collect::<Option<_>>().map(Self)
    }

    /// Whether there are none, as in production.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The one judgement of addresses: of literals, and of what names resolve to.
    pub(crate) fn judge(&self, scheme: Scheme, address: SocketAddr) -> Result<Judged, Refused> {
        if self.contains(address.ip()) {
            return Ok(Judged(address));
        }
        match (special::purpose(address.ip()), scheme) {
            (Some(purpose), _) => Err(Refused::Address(purpose)),
            (None, Scheme::Http) => Err(Refused::NotHttps),
            (None, Scheme::Https) => Ok(Judged(address)),
        }
    }

    /// Judges all addresses of a name. One that is refused refuses the name: no public receiver has a private address,
    /// so it is a mistake or an attack.
    pub(crate) fn judge_name(&self, scheme: Scheme, addresses: &[IpAddr], port: u16) -> Result<Vec<Judged>, Refused> {
        let (mut judged, mut not_https) = (Vec::with_capacity(addresses.len()), false);
        for address in addresses {
            match self.judge(scheme, SocketAddr::new(*address, port)) {
                Ok(address) => judged.push(address),
                Err(Refused::Address(purpose)) => return Err(Refused::Name(purpose)),
                Err(_) => not_https = true,
            }
        }
        if not_https { Err(Refused::NotHttps) } else { Ok(judged) }
    }
}

impl FromVariable for AllowedNetworks {
    const EXPECTS: &'static str = "a list of networks such as 127.0.0.0/8, separated by commas";

    fn from_variable(value: Option<&str>) -> Option<Self> {
        Self::parse(value.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(allowed: &str, scheme: Scheme, addresses: &[&str]) -> Result<usize, Refused> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        AllowedNetworks::parse(allowed).unwrap().judge_name(scheme, &addresses, 443).map(|judged| judged.len())
    }

    #[test]
    fn settings_take_networks_in_cidr_form() {
        let config =
            |value: &str| OutboundConfig::from_env(&[("BATON_OUTBOUND_ALLOWED_NETWORKS", value)].into_iter().collect());
        assert!(config("").unwrap().allowed_networks.is_empty());
        let networks = config("127.0.0.0/8, ::1/128,").unwrap().allowed_networks;
        assert!(networks.contains("127.9.9.9".parse().unwrap()) && networks.contains("::1".parse().unwrap()));
        assert!(!networks.contains("128.0.0.1".parse().unwrap()));
        for wrong in ["127.0.0.1", "127.0.0.1/8", "localhost", "10.0.0.0/33", "127.0.0.0/8;::1/128"] {
            assert!(config(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_refused_address_refuses_the_name() {
        let name = Err(Refused::Name("Private-Use"));
        assert_eq!(judge("", Scheme::Https, &["1.1.1.1", "2606:4700::1111"]), Ok(2));
        assert_eq!(judge("", Scheme::Https, &["1.1.1.1", "10.0.0.1"]), name);
        assert_eq!(judge("", Scheme::Https, &["10.0.0.1", "1.1.1.1"]), name);
        // Also where another reason would be found first: the reason must not tell what a name resolves to.
        assert_eq!(judge("127.0.0.0/8", Scheme::Http, &["1.1.1.1", "10.0.0.1"]), name);
    }

    #[test]
    fn plain_http_is_for_allowed_networks() {
        assert_eq!(judge("127.0.0.0/8", Scheme::Http, &["127.0.0.1"]), Ok(1));
        assert_eq!(judge("127.0.0.0/8", Scheme::Http, &["1.1.1.1"]), Err(Refused::NotHttps));
        assert_eq!(judge("127.0.0.0/8", Scheme::Http, &["127.0.0.1", "1.1.1.1"]), Err(Refused::NotHttps));
        assert_eq!(judge("127.0.0.0/8", Scheme::Https, &["127.0.0.1", "1.1.1.1"]), Ok(2));
        assert_eq!(judge("", Scheme::Http, &["1.1.1.1"]), Err(Refused::NotHttps));
    }

    #[test]
    fn an_allowed_network_does_not_allow_other_forms_of_its_addresses() {
        for form in ["::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"] {
            assert!(matches!(judge("127.0.0.0/8", Scheme::Https, &[form]), Err(Refused::Name(_))), "{form}");
        }
    }
}
