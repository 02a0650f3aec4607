//! The table against lists of the blocks of IANA's registries. The lists were compared with independent copies of the
//! registries: IPv4 as of 2025-10-09, IPv6 with the entry of RFC 9780.

use std::net::IpAddr;

use baton_outbound::{SPECIAL, purpose};
use ipnet::IpNet;

/// <https://www.iana.org/assignments/iana-ipv4-special-registry>, column "Address Block".
const IPV4: &str = "\
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29 \
    192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 \
    192.52.193.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 \
    203.0.113.0/24 240.0.0.0/4 255.255.255.255/32";
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>, column "Address Block".
const IPV6: &str = "\
    ::1/128 ::/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 \
    2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 \
    2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10";
/// Public addresses: resolvers, sites, and neighbours of special networks.
const PUBLIC: &str = "\
    1.1.1.1 8.8.8.8 9.9.9.9 93.184.216.34 140.82.112.3 223.255.255.255 1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 \
    100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 \
    192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 203.0.112.255 203.0.114.0 \
    168.63.129.15 2606:4700::1111 2606:4700:4700::1111 2001:4860:4860::8888 2620:fe::fe 2a00:1450:4001:81b::200e \
    2001:200:: 2001:db9:: 2001:db7:ffff:: 2003:: 2000:: 3ffe:ffff:: 3fff:1000:: 2620:4f:8001:: \
    2606:4700::300:5efe:a00:1 2606:4700::1:5efe:a00:1";

#[test]
fn every_entry_of_the_registries_is_in_the_table() {
    for block in IPV4.split_whitespace().chain(IPV6.split_whitespace()) {
        let block: IpNet = block.parse().unwrap();
        assert!(SPECIAL.iter().any(|special| special.network == block), "{block}");
        assert!(purpose(block.network()).is_some() && purpose(block.broadcast()).is_some(), "{block}");
    }
}

#[test]
fn public_addresses_are_public() {
    for address in PUBLIC.split_whitespace() {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(purpose(address), None, "{address}");
    }
}
