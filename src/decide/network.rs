//! A network of IP addresses: `192.0.2.0/24`, `2001:db8::/32`.

// `core` and not `std`: these are the plain values; sockets are elsewhere.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: all addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `<address>/<bits>`, or one address.
    ///
    /// # Errors
    /// What is wrong with it, in a few words: not of that form, too many bits, an address that is not the first of its
    /// network, or an IPv4 network written as IPv6.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let Ok(first) = address.parse::<IpAddr>() else {
            return Err("expected a network like 192.0.2.0/24 or 2001:db8::/32".into());
        };
        let most = if first.is_ipv4() { 32 } else { 128 };
        let plain = |bits: &&str| bits.bytes().all(|b| b.is_ascii_digit());
        let bits = match bits {
            None => most,
            Some(bits) => match Some(bits).filter(plain).and_then(|bits| bits.parse().ok()) {
                Some(bits) if bits <= most => bits,
                _ => return Err(format!("expected a number from 0 to {most} after the '/'")),
            },
        };
        if first != first.to_canonical() {
            return Err(format!("an IPv4 network is written as such: {}/{}", first.to_canonical(), bits.max(96) - 96));
        }
        let network = Network { first: masked(first, bits), bits };
        if network.first != first {
            return Err(format!("{text} does not begin at its first address: {}/{bits} does", network.first));
        }
        Ok(network)
    }

    /// Returns how many bits its addresses share: 0 to 32, or to 128.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Returns whether `address` is in it. An IPv4 address mapped into IPv6 counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == self.first
    }
}

/// Returns `address` with all but its first `bits` zero.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_what_it_should() {
        for (network, address, inside) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.7", true),
            ("192.0.2.0/24", "2001:db8::1", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "::ffff:192.0.2.7", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.0", false),
            ("2001:db8::/32", "2001:db8:ffff::", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("2001:db8::1", "2001:db8::1", true),
        ] {
            let found = Network::parse(network).expect("a network").contains(address.parse().expect("an address"));
            assert_eq!(found, inside, "{network} {address}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for (text, why) in [
            ("", "expected a network"),
            ("192.0.2/24", "expected a network"),
            ("example.org", "expected a network"),
            ("192.0.2.0/33", "0 to 32"),
            ("192.0.2.0/", "0 to 32"),
            ("192.0.2.0/+8", "0 to 32"),
            ("::/129", "0 to 128"),
            ("192.0.2.1/24", "192.0.2.0/24"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ] {
            let found = Network::parse(text).expect_err("no network");
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
