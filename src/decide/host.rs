//! Which hosts are not on the public internet, by what is written: addresses in every spelling, and names that the
//! public DNS does not have. What a public name resolves to is looked up elsewhere, and comes back here as an address.
//!
//! Source: IANA's special-purpose address registries (RFC 6890), RFC 6761, 6762 and 8375 (names), `inet_aton` of the
//! C library (`127.1`, `0x7f.1`, `2130706433`).

// `core` and not `std`: an address is a plain value; sockets are elsewhere.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ends of names that are local by a standard, or that the root zone leaves to private use.
const LOCAL_NAMES: [&str; 10] =
    ["localhost", "local", "internal", "lan", "home.arpa", "localdomain", "intranet", "home", "corp", "private"];

/// Returns whether a host, as a URL names it, is private by its text: an address as [`is_private_address`] says, any
/// number that a resolver might take for an address (`127.1`), a local name (`localhost`, `x.local`), a name without a
/// dot (the public DNS has none), or nothing at all.
pub fn is_private_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    if let Ok(address) = host.parse() {
        return is_private_address(address);
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    let local = |name: &&str| host.strip_suffix(*name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    // An address with a zone (`fe80::1%eth0`), or no address at all.
    let odd = host.contains([':', '%']);
    odd || numeric || !host.contains('.') || LOCAL_NAMES.iter().any(local)
}

/// Returns whether an address is not one of the public internet: private, loopback, link-local, unique-local, shared
/// (100.64/10), unspecified, multicast, reserved, or an IPv6 form of such an IPv4 address.
pub fn is_private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        [0 | 10 | 127, ..] => true,
        [100, second, ..] => second & 0xc0 == 64,
        [169, 254, ..] | [192, 168, ..] | [192, 0, 0, _] => true,
        [172, second, ..] => second & 0xf0 == 16,
        [198, second, ..] => second & 0xfe == 18,
        // Multicast, reserved and broadcast.
        [first, ..] => first >= 224,
    }
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let inside = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_private_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // Unspecified and loopback are within: ::0.0.0.0 and ::0.0.0.1.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => inside(high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low] => inside(high, low),
        // NAT64, and its form for local use.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inside(high, low),
        [0x64, 0xff9b, 1, ..] => true,
        // 6to4, and Teredo, whose client's address is inverted.
        [0x2002, high, low, ..] => inside(high, low),
        [0x2001, 0, _, _, _, _, high, low] => inside(!high, !low),
        // Discard-only.
        [0x100, 0, 0, 0, ..] => true,
        // Unique-local, link-local, the former site-local, multicast.
        [first, ..] => first & 0xfe00 == 0xfc00 || first & 0xff80 == 0xfe80 || first & 0xff00 == 0xff00,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts() {
        let hosts = ". localhost LOCALHOST. x.localhost box box.local a.b.internal nas.lan nas.home.arpa home.arpa \
             git.corp 10.1.2.3 127.0.0.1 127.0.0.1. 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254 \
             100.64.0.1 100.127.255.255 0.0.0.0 0.1.2.3 224.0.0.1 239.1.1.1 255.255.255.255 240.0.0.1 \
             192.0.0.8 198.18.0.1 127.1 0x7f.1 0X7F000001 2130706433 017700000001 0177.0.0.1 127.0.0.01 \
             8.8.8.8.8 1.2.3.0x4 :: ::1 [::1] ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:a00:1 ::ffff:0:127.0.0.1 \
             fe80::1 febf::1 fec0::1 fc00::1 fdff::1 ff02::1 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1::1 \
             2001:0:1:2:3:4:80ff:fffe 100::1 fe80::1%eth0 1:2 a:b:c";
        for host in hosts.split_whitespace().chain([""]) {
            assert!(is_private_host(host), "{host:?}");
        }
    }

    #[test]
    fn public_hosts() {
        let hosts = "git.example git.example. a.localhost.example local.example notlocal.org xn--bcher-kva.example \
             8.8.8.8 100.63.0.1 100.128.0.1 172.15.0.1 172.32.0.1 192.167.0.1 192.0.1.1 198.17.0.1 \
             198.20.0.1 223.255.255.255 169.253.0.1 2001:db8::1 2a00:1450::1 ::ffff:8.8.8.8 64:ff9b::808:808 \
             2002:808:808::1 3com.example 1.2.3.x4 10.0.0.1.example";
        for host in hosts.split_whitespace() {
            assert!(!is_private_host(host), "{host:?}");
        }
    }
}
