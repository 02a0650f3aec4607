//! The addresses that are never called: one table, with the document that gives each network its purpose.
//!
//! It has every entry of the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190, and the later
//! ones up to RFC 9780), also those that are globally reachable: they are anycast and protocol addresses, where no
//! customer has a server. Added are multicast, the networks whose IPv6 addresses contain an IPv4 address, the IPv6
//! space outside of global unicast, and one address of a cloud.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A network that is never called.
#[derive(Debug, Clone, Copy)]
pub struct Special {
    /// The network.
    pub network: IpNet,
    /// Its purpose, in the words of the registry.
    pub name: &'static str,
    /// The document that gives it this purpose.
    pub source: &'static str,
}

const fn v4(address: [u8; 4], prefix: u8, name: &'static str, source: &'static str) -> Special {
    let [a, b, c, d] = address;
    Special { network: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)), name, source }
}

/// `leading`: the first groups of the address; the others are zero.
const fn v6(leading: &[u16], prefix: u8, name: &'static str, source: &'static str) -> Special {
    let mut groups = [0; 8];
    let mut index = 0;
    while index < leading.len() {
        groups[index] = leading[index];
        index += 1;
    }
    let [a, b, c, d, e, f, g, h] = groups;
    Special { network: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)), name, source }
}

/// The networks that are never called. Where one is part of another, the smaller one comes first.
pub const SPECIAL: &[Special] = &[
    // IANA IPv4 Special-Purpose Address Registry.
    v4([0, 0, 0, 0], 32, "This host on this network", "RFC 1122, section 3.2.1.3"),
    v4([0, 0, 0, 0], 8, "This network", "RFC 791, section 3.2"),
    v4([10, 0, 0, 0], 8, "Private-Use", "RFC 1918"),
    v4([100, 64, 0, 0], 10, "Shared Address Space", "RFC 6598"),
    v4([127, 0, 0, 0], 8, "Loopback", "RFC 1122, section 3.2.1.3"),
    v4([169, 254, 0, 0], 16, "Link Local", "RFC 3927"),
    v4([172, 16, 0, 0], 12, "Private-Use", "RFC 1918"),
    v4([192, 0, 0, 0], 29, "IPv4 Service Continuity Prefix", "RFC 7335"),
    v4([192, 0, 0, 8], 32, "IPv4 dummy address", "RFC 7600"),
    v4([192, 0, 0, 9], 32, "Port Control Protocol Anycast", "RFC 7723"),
    v4([192, 0, 0, 10], 32, "Traversal Using Relays around NAT Anycast", "RFC 8155"),
    v4([192, 0, 0, 170], 32, "NAT64/DNS64 Discovery", "RFC 8880; RFC 7050, section 2.2"),
    v4([192, 0, 0, 171], 32, "NAT64/DNS64 Discovery", "RFC 8880; RFC 7050, section 2.2"),
    v4([192, 0, 0, 0], 24, "IETF Protocol Assignments", "RFC 6890, section 2.1"),
    v4([192, 0, 2, 0], 24, "Documentation (TEST-NET-1)", "RFC 5737"),
    v4([192, 31, 196, 0], 24, "AS112-v4", "RFC 7535"),
    v4([192, 52, 193, 0], 24, "AMT", "RFC 7450"),
    v4([192, 88, 99, 2], 32, "6a44-relay anycast address", "RFC 6751"),
    v4([192, 88, 99, 0], 24, "Deprecated (6to4 Relay Anycast)", "RFC 7526"),
    v4([192, 168, 0, 0], 16, "Private-Use", "RFC 1918"),
    v4([192, 175, 48, 0], 24, "Direct Delegation AS112 Service", "RFC 7534"),
    v4([198, 18, 0, 0], 15, "Benchmarking", "RFC 2544"),
    v4([198, 51, 100, 0], 24, "Documentation (TEST-NET-2)", "RFC 5737"),
    v4([203, 0, 113, 0], 24, "Documentation (TEST-NET-3)", "RFC 5737"),
    v4([255, 255, 255, 255], 32, "Limited Broadcast", "RFC 8190; RFC 919, section 7"),
    v4([240, 0, 0, 0], 4, "Reserved", "RFC 1112, section 4"),
    // Other IPv4.
    v4([224, 0, 0, 0], 4, "Multicast", "RFC 5771"),
    // A public address, which is inside of every virtual machine of Azure: it serves credentials.
    v4([168, 63, 129, 16], 32, "Azure platform address", "Microsoft Azure, IP address 168.63.129.16"),
    // IANA IPv6 Special-Purpose Address Registry.
    v6(&[0, 0, 0, 0, 0, 0, 0, 1], 128, "Loopback Address", "RFC 4291, section 2.5.3"),
    v6(&[], 128, "Unspecified Address", "RFC 4291, section 2.5.2"),
    v6(&[0, 0, 0, 0, 0, 0xffff], 96, "IPv4-mapped Address", "RFC 4291, section 2.5.5.2"),
    v6(&[0x64, 0xff9b], 96, "IPv4-IPv6 Translation (NAT64)", "RFC 6052, section 2.1"),
    v6(&[0x64, 0xff9b, 1], 48, "IPv4-IPv6 Translation (NAT64)", "RFC 8215"),
    v6(&[0x100], 64, "Discard-Only Address Block", "RFC 6666"),
    v6(&[0x100, 0, 0, 1], 64, "Dummy IPv6 Prefix", "RFC 9780"),
    v6(&[0x2001], 32, "TEREDO", "RFC 4380; RFC 8190"),
    v6(&[0x2001, 1, 0, 0, 0, 0, 0, 1], 128, "Port Control Protocol Anycast", "RFC 7723"),
    v6(&[0x2001, 1, 0, 0, 0, 0, 0, 2], 128, "Traversal Using Relays around NAT Anycast", "RFC 8155"),
    v6(&[0x2001, 1, 0, 0, 0, 0, 0, 3], 128, "DNS-SD Service Registration Protocol Anycast", "RFC 9665"),
    v6(&[0x2001, 2], 48, "Benchmarking", "RFC 5180"),
    v6(&[0x2001, 3], 32, "AMT", "RFC 7450"),
    v6(&[0x2001, 4, 0x112], 48, "AS112-v6", "RFC 7535"),
    v6(&[0x2001, 0x10], 28, "Deprecated (ORCHID)", "RFC 4843"),
    v6(&[0x2001, 0x20], 28, "ORCHIDv2", "RFC 7343"),
    v6(&[0x2001, 0x30], 28, "Drone Remote ID Protocol Entity Tags", "RFC 9374"),
    v6(&[0x2001], 23, "IETF Protocol Assignments", "RFC 2928"),
    v6(&[0x2001, 0xdb8], 32, "Documentation", "RFC 3849"),
    v6(&[0x2002], 16, "6to4", "RFC 3056"),
    v6(&[0x2620, 0x4f, 0x8000], 48, "Direct Delegation AS112 Service", "RFC 7534"),
    v6(&[0x3fff], 20, "Documentation", "RFC 9637"),
    v6(&[0x5f00], 16, "Segment Routing (SRv6) SIDs", "RFC 9602"),
    v6(&[0xfc00], 7, "Unique-Local", "RFC 4193; RFC 8190"),
    v6(&[0xfe80], 10, "Link-Local Unicast", "RFC 4291, section 2.5.6"),
    // Other IPv6.
    v6(&[], 96, "IPv4-compatible Address", "RFC 4291, section 2.5.5.1"),
    v6(&[0, 0, 0, 0, 0xffff], 96, "IPv4-translated Address", "RFC 2765, section 2.1"),
    v6(&[0xfec0], 10, "Deprecated (Site-Local Unicast)", "RFC 3879"),
    v6(&[0xff00], 8, "Multicast", "RFC 4291, section 2.7"),
    // What is not 2000::/3, the only global unicast space that IANA gives networks from.
    v6(&[], 3, "Not Global Unicast", "RFC 4291, section 2.4; RFC 3587"),
    v6(&[0x4000], 2, "Not Global Unicast", "RFC 4291, section 2.4; RFC 3587"),
    v6(&[0x8000], 1, "Not Global Unicast", "RFC 4291, section 2.4; RFC 3587"),
];

/// ISATAP: an interface identifier, below any prefix, that contains an IPv4 address (RFC 5214, section 6.1).
const ISATAP: &str = "ISATAP Address";
const ISATAP_MARKS: [[u8; 4]; 2] = [[0, 0, 0x5e, 0xfe], [2, 0, 0x5e, 0xfe]];

/// The purpose of an address that is never called; `None` if it is a public one.
///
/// All forms that contain an IPv4 address are special, whatever address they contain: a translator or a tunnel would
/// call it, and which one that is may not be seen here.
pub fn purpose(address: IpAddr) -> Option<&'static str> {
    if let Some(special) = SPECIAL.iter().find(|special| special.network.contains(&address)) {
        return Some(special.name);
    }
    match address {
        IpAddr::V6(address) if ISATAP_MARKS.iter().any(|mark| address.octets()[8..12] == *mark) => Some(ISATAP),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_no_host_bits_and_the_smaller_one_comes_first() {
        for (index, special) in SPECIAL.iter().enumerate() {
            assert_eq!(special.network, special.network.trunc(), "{}", special.network);
            assert!(!special.name.is_empty() && !special.source.is_empty());
            let hidden_by = SPECIAL[..index].iter().find(|earlier| earlier.network.contains(&special.network));
            assert!(hidden_by.is_none(), "{} is behind {hidden_by:?}", special.network);
        }
    }

    #[test]
    fn purposes_are_those_of_the_smallest_network() {
        let purposes = [
            ("127.0.0.1", "Loopback"),
            ("192.0.0.9", "Port Control Protocol Anycast"),
            ("192.0.0.192", "IETF Protocol Assignments"),
            ("168.63.129.16", "Azure platform address"),
            ("::ffff:8.8.8.8", "IPv4-mapped Address"),
            ("::8.8.8.8", "IPv4-compatible Address"),
            ("64:ff9b::808:808", "IPv4-IPv6 Translation (NAT64)"),
            ("2002:808:808::1", "6to4"),
            ("2606:4700::200:5efe:a00:1", "ISATAP Address"),
            ("2606:4700::5efe:a00:1", "ISATAP Address"),
            ("4000::1", "Not Global Unicast"),
        ];
        for (address, expected) in purposes {
            assert_eq!(purpose(address.parse().unwrap()), Some(expected), "{address}");
        }
    }
}
