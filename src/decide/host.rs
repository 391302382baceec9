//! Which hosts are not on the public internet, by what is written: addresses in every spelling, and names that the
//! public DNS does not have. What a public name resolves to is looked up elsewhere, and comes back here as an address.
//!
//! Source: IANA's special-purpose address registries (RFC 6890), RFC 6761, 6762 and 8375 (names), `inet_aton` of the
//! C library (`127.1`, `0x7f.1`, `2130706433`), RFC 6052 (NAT64), 3056 (6to4), 4380 (Teredo), 5214 (ISATAP), and the
//! manuals of cloud providers for the addresses of their metadata services.

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

/// Returns the address that a host is, as a URL names it, in any spelling that `inet_aton` takes; nothing for a name.
pub fn address_of(host: &str) -> Option<IpAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let host = host.split('%').next().unwrap_or_default(); // a zone
    host.parse().ok().or_else(|| inet_aton(host).map(IpAddr::V4))
}

/// Reads one to four numbers, decimal, octal or hexadecimal; the last one fills what is left of the four bytes.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => u32::from_str_radix(&part[2..], 16).ok(),
        [b'0', _, ..] => u32::from_str_radix(&part[1..], 8).ok(),
        _ => part.parse().ok(),
    };
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') {
        return None;
    }
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last().filter(|(_, first)| first.len() < 4)?;
    let left = 8 * (4 - first.len() as u32);
    if u64::from(*last) >= 1 << left || first.iter().any(|part| *part > 255) {
        return None;
    }
    let high = first.iter().fold(0, |all, part| all << 8 | part);
    Some(Ipv4Addr::from(high.checked_shl(left).unwrap_or(0) | last))
}

/// Returns whether an address is one that no server may send a client to, be it in the same network: link-local, where
/// clouds tell a machine its secrets, what stands elsewhere for the same, or an IPv6 form of such an IPv4 address.
pub fn is_forbidden_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => {
            let segments = address.segments();
            // Link-local; the metadata services of Amazon (a range) and Google.
            let own = segments[0] & 0xffc0 == 0xfe80
                || segments[..2] == [0xfd00, 0xec2]
                || segments == [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254];
            own || inside(address).into_iter().flatten().any(is_forbidden_v4)
        }
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        [169, 254, ..] => true,
        // The metadata services of Alibaba, of Oracle and of Azure.
        [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => true,
        _ => false,
    }
}

/// Returns whether an address is not one of the public internet: private, loopback, link-local, unique-local, shared
/// (100.64/10), unspecified, multicast, reserved, or an IPv6 form of such an IPv4 address; or a forbidden one.
pub fn is_private_address(address: IpAddr) -> bool {
    let private = match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    };
    private || is_forbidden_address(address)
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
    let own = match address.segments() {
        // The form of NAT64 for local use.
        [0x64, 0xff9b, 1, ..] => true,
        // Discard-only.
        [0x100, 0, 0, 0, ..] => true,
        // Unique-local, link-local, the former site-local, multicast.
        [first, ..] => first & 0xfe00 == 0xfc00 || first & 0xff80 == 0xfe80 || first & 0xff00 == 0xff00,
    };
    own || inside(address).into_iter().flatten().any(is_private_v4)
}

/// Returns the IPv4 addresses that an IPv6 address may lead to.
fn inside(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let of = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    let segments = address.segments();
    let first = match segments {
        // Unspecified and loopback are within: ::0.0.0.0 and ::0.0.0.1.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => of(high, low),
        // NAT64, and its form for local use with the prefix that it has there: 48 bits, or 96.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        [0x64, 0xff9b, 1, high, low, ..] if low < 0x100 => of(high, low << 8 | segments[5] >> 8),
        // 6to4, and Teredo, whose client's address is inverted.
        [0x2002, high, low, ..] => of(high, low),
        [0x2001, 0, _, _, _, _, high, low] => of(!high, !low),
        _ => None,
    };
    let second = match segments {
        [0x64, 0xff9b, 1, .., high, low] => of(high, low),
        // ISATAP.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => of(high, low),
        _ => None,
    };
    [first, second]
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

    #[test]
    fn forbidden_addresses() {
        let hosts = "169.254.169.254 169.254.0.1 100.100.100.200 192.0.0.192 168.63.129.16 fe80::1 febf::1 fe80::1%eth0 \
             fd00:ec2::254 fd20:ce::254 ::ffff:169.254.169.254 ::169.254.1.1 64:ff9b::a9fe:a9fe 64:ff9b:1::a9fe:a9fe \
             64:ff9b:1:a9fe:a9:fe00:: 2002:a9fe:a9fe::1 2001:0:1:2:3:4:5601:5601 2a00::5efe:169.254.169.254 \
             2a00::200:5efe:a9fe:1 ::ffff:0:169.254.1.1 2852039166 0xa9fea9fe 0251.0376.169.254 169.16689662 169.254.43518 \
             [fe80::1] 169.254.169.254.";
        for host in hosts.split_whitespace() {
            assert!(address_of(host).is_some_and(is_forbidden_address), "{host:?}");
            assert!(is_private_host(host), "{host:?}");
        }
        let hosts = "127.0.0.1 10.0.0.1 ::1 fd00:ec3::254 fd20:ce::255 169.253.255.255 100.100.100.201 8.8.8.8 \
             64:ff9b::808:808 2a00::1 192.0.0.193 fec0::1";
        for host in hosts.split_whitespace() {
            assert!(!address_of(host).is_some_and(is_forbidden_address), "{host:?}");
        }
    }

    #[test]
    fn reads_addresses_as_inet_aton() {
        for (host, want) in [
            ("127.1", Some("127.0.0.1")),
            ("2130706433", Some("127.0.0.1")),
            ("0177.0.0.1", Some("127.0.0.1")),
            ("0x7f.1", Some("127.0.0.1")),
            ("1.2.65535", Some("1.2.255.255")),
            ("0", Some("0.0.0.0")),
            ("4294967295", Some("255.255.255.255")),
            ("[::1]", Some("::1")),
            ("4294967296", None),
            ("1.2.3.256", None),
            ("1.2.3.4.5", None),
            ("256.1", None),
            ("0x", None),
            ("08.1", None),
            ("+1", None),
            ("", None),
            ("1..2", None),
            ("a.example", None),
        ] {
            assert_eq!(address_of(host), want.map(|want| want.parse().expect("an address")), "{host:?}");
        }
    }
}
