//! Host names in requests (`Host`).

use std::net::IpAddr;

use http::uri::Authority;

/// Whether a `Host`, with or without a port, is this machine: `localhost`, a name below it (RFC 6761, section 6.3), or
/// a loopback address.
pub fn is_local(host: &str) -> bool {
    // A host has no userinfo.
    let Some(authority) = host.parse::<Authority>().ok().filter(|_| !host.contains('@')) else { return false };
    let name = authority.host().to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok_and(|address| address.is_loopback()) || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_local_by_name_or_address() {
        for host in
            ["localhost", "LOCALHOST:8080", "app.localhost", "127.0.0.1:8080", "127.8.9.1", "[::1]:8080", "[::1]"]
        {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "192.168.1.5:8080",
            "0.0.0.0",
            "[::]",
            "localhost@evil.example",
            "evil.example@localhost",
            "a b",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
