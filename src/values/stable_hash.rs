//! A hash that is the same in every build and on every machine: for what is kept in files, or has to agree between
//! processes. Not for secrets, nor where somebody may look for collisions.
//!
//! Source: FNV-1a (64 bits), and the finalizer of SplitMix64, as FNV alone hardly spreads the last bytes.

/// Returns the hash of `parts`; where one ends counts.
pub fn stable_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in (part.len() as u64).to_le_bytes().iter().chain(part) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_changes() {
        assert_eq!(stable_hash([b"a".as_slice(), b"bc"]), EXPECTED);
        assert_ne!(stable_hash([b"ab".as_slice(), b"c"]), EXPECTED);
        assert_ne!(stable_hash([]), stable_hash([b"".as_slice()]));
    }

    /// As computed by another program from the same two sources.
    const EXPECTED: u64 = 0x461d_2521_4179_d9fb;
}
