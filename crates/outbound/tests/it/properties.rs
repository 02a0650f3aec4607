//! Every address of every special network is refused, in every form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use baton_outbound::{AllowedNetworks, Refused, SPECIAL, Target, purpose};
use ipnet::IpNet;
use proptest::{prelude::*, sample::select};

/// An address of the network, with these bits after its prefix.
fn address(network: IpNet, bits: u128) -> IpAddr {
    match network {
        IpNet::V4(network) => {
            let host = u32::try_from(bits >> 96).unwrap() & u32::from(network.hostmask());
            Ipv4Addr::from(u32::from(network.network()) | host).into()
        }
        IpNet::V6(network) => {
            Ipv6Addr::from(u128::from(network.network()) | bits & u128::from(network.hostmask())).into()
        }
    }
}

fn special() -> impl Strategy<Value = (IpNet, IpAddr)> {
    let network = select(SPECIAL).prop_map(|special| special.network);
    // The first, the last, and any.
    let bits = prop_oneof![Just(0), Just(u128::MAX), any::<u128>()];
    (network, bits).prop_map(|(network, bits)| (network, address(network, bits)))
}

/// All IPv6 addresses that contain an IPv4 address: as the last or the first bits of a network's hosts, or both.
fn forms(address: Ipv4Addr, prefix: u64) -> Vec<Ipv6Addr> {
    let v4 = u128::from(u32::from(address));
    let network = |text: &str| u128::from(text.parse::<Ipv6Addr>().unwrap());
    let mut forms: Vec<u128> =
        ["::ffff:0:0", "::", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "64:ff9b:1:ffff:ffff::"]
            .into_iter()
            .map(|text| network(text) | v4)
            .collect();
    // RFC 6052, section 2.2: below a /48, the address is around bits 64 to 71.
    forms.push(network("64:ff9b:1::") | (v4 >> 16) << 64 | (v4 & 0xffff) << 40);
    forms.push(network("2002::") | v4 << 80 | u128::from(prefix));
    // Teredo: the server's address, and the client's, inverted.
    forms.push(network("2001::") | v4 << 64 | u128::from(prefix));
    forms.push(network("2001::") | u128::from(prefix) << 32 | (v4 ^ 0xffff_ffff));
    let global = u128::from(prefix >> 3 | 1 << 61) << 64;
    forms.push(global | 0x5efe << 32 | v4);
    forms.push(global | 0x0200_5efe << 32 | v4);
    forms.into_iter().map(Ipv6Addr::from).collect()
}

fn url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("https://{address}/"),
        IpAddr::V6(address) => format!("https://[{address}]/"),
    }
}

fn assert_refused(address: IpAddr) -> Result<(), TestCaseError> {
    prop_assert!(purpose(address).is_some(), "{address}");
    let refused = Target::parse(&url(address), &AllowedNetworks::default());
    prop_assert!(matches!(refused, Err(Refused::Address(_))), "{address}: {refused:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn addresses_of_special_networks_are_refused((network, address) in special(), prefix: u64) {
        prop_assert!(network.contains(&address));
        assert_refused(address)?;
        if let IpAddr::V4(address) = address {
            for form in forms(address, prefix) {
                assert_refused(form.into())?;
            }
        }
    }

    #[test]
    fn public_addresses_are_refused_where_an_ipv6_address_contains_them(bits: u32, prefix: u64) {
        for form in forms(bits.into(), prefix) {
            assert_refused(form.into())?;
        }
    }

    #[test]
    fn notations_of_an_ipv4_address_are_judged_as_the_address(bits: u32) {
        let address = Ipv4Addr::from(bits);
        let [a, b, c, d] = address.octets();
        let judge = |host: String| {
            let target = Target::parse(&format!("https://{host}/"), &AllowedNetworks::default());
            target.map(|target| target.as_str().to_owned())
        };
        let judged = judge(address.to_string());
        prop_assert_eq!(judged.is_err(), purpose(address.into()).is_some());
        for host in [
            format!("{bits}"),
            format!("0x{bits:x}"),
            format!("0{bits:o}"),
            format!("{a:#x}.{b:#X}.0{c:o}.{d}").replace("0X", "0x"),
            format!("{a}.{}", bits & 0xff_ffff),
            format!("{a}.{b}.{}.", bits & 0xffff),
        ] {
            prop_assert_eq!(&judge(host.clone()), &judged, "{}", host);
        }
    }
}
