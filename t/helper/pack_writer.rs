//! Writes packs (gitformat-pack(5)) in memory, always the same for the same calls. For the tests and t/perf.

use std::io::Write;

use gix::ObjectId;
use gix::objs::Kind;

/// The kind of the names in these packs.
pub const HASH: gix::hash::Kind = gix::hash::Kind::Sha1;

/// A pack.
pub struct PackWriter {
    pack: Vec<u8>,
    /// How many entries it says that it has.
    pub entries: u32,
}

impl Default for PackWriter {
    fn default() -> Self {
        PackWriter { pack: b"PACK\0\0\0\x02\0\0\0\0".to_vec(), entries: 0 }
    }
}

impl PackWriter {
    /// Adds an object; returns its name, and where it is.
    pub fn object(&mut self, kind: Kind, data: &[u8]) -> (ObjectId, usize) {
        let code = match kind {
            Kind::Commit => 1,
            Kind::Tree => 2,
            Kind::Blob => 3,
            Kind::Tag => 4,
        };
        let offset = self.head(code, data.len());
        self.packed(data);
        (id(kind, data), offset)
    }

    /// Adds a delta on the entry at `base`; returns where it is.
    pub fn delta_at(&mut self, base: usize, delta: &[u8]) -> usize {
        let offset = self.head(6, delta.len());
        self.pack.extend(distance(offset - base));
        self.packed(delta);
        offset
    }

    /// Adds a delta on the object `base`; returns where it is.
    #[allow(dead_code)] // t/perf makes none
    pub fn delta_on(&mut self, base: &ObjectId, delta: &[u8]) -> usize {
        let offset = self.head(7, delta.len());
        self.pack.extend_from_slice(base.as_slice());
        self.packed(delta);
        offset
    }

    /// Adds bytes that are no entry.
    #[allow(dead_code)] // t/perf makes none
    pub fn noise(&mut self, bytes: &[u8]) {
        self.pack.extend_from_slice(bytes);
    }

    /// Returns the pack.
    pub fn finish(mut self) -> Vec<u8> {
        self.pack[8..12].copy_from_slice(&self.entries.to_be_bytes());
        let mut hasher = gix::hash::hasher(HASH);
        hasher.update(&self.pack);
        self.pack.extend_from_slice(hasher.try_finalize().expect("a hash").as_slice());
        self.pack
    }

    fn head(&mut self, code: u8, mut size: usize) -> usize {
        let offset = self.pack.len();
        let mut byte = code << 4 | (size & 15) as u8;
        size >>= 4;
        while size > 0 {
            self.pack.push(byte | 0x80);
            byte = (size & 0x7f) as u8;
            size >>= 7;
        }
        self.pack.push(byte);
        offset
    }

    fn packed(&mut self, data: &[u8]) {
        let mut zlib = flate2::write::ZlibEncoder::new(&mut self.pack, flate2::Compression::fast());
        zlib.write_all(data).and_then(|()| zlib.finish().map(drop)).expect("memory takes everything");
        self.entries += 1;
    }
}

/// Returns an object's name.
pub fn id(kind: Kind, data: &[u8]) -> ObjectId {
    gix::objs::compute_hash(HASH, kind, data).expect("a hash")
}

/// Encodes a size in a delta.
pub fn varint(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while n > 0x7f {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// Encodes the distance to an earlier entry ("offset encoding").
fn distance(mut n: usize) -> Vec<u8> {
    let mut out = vec![(n & 0x7f) as u8];
    while n > 0x7f {
        n = (n >> 7) - 1;
        out.push((n & 0x7f) as u8 | 0x80);
    }
    out.reverse();
    out
}
