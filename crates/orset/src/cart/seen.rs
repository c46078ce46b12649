//! What a reader was shown: the context that a remove, set, decrement or clear must carry.
//!
//! "Remove the lamp" means the lamps on *my* screen. A read therefore returns, per line and per
//! cart, the op ids behind what it shows, and the op that follows gives them back. To the client
//! they are opaque bytes; never its whole version vector, which would also remove what it has
//! received but not been shown.
//!
//! Form    version 1, lines ascending by product (each with its op ids), then 4 bytes checksum.
//! I1      no line is empty.
//! I2      at most `IDS_MAX` ids in all: a run of op ids costs a few bytes and names up to 2^32 of
//!         them, so the size of the bytes bounds nothing.

use crate::codec::{DecodeError, Reader, put_u64};
use crate::lattice::Lattice;
use crate::object::Product;
use crate::op_id_set::OpIdSet;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use xxhash_rust::xxh3::xxh3_64;

const VERSION: u8 = 1;

/// Largest encoded context, in bytes.
pub const SEEN_MAX: usize = 4 << 20;

/// Most op ids that one context, or one op, may name.
pub const IDS_MAX: u64 = 1 << 16;

/// Op ids by product. See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    lines: BTreeMap<Product, OpIdSet>,
}

impl Seen {
    /// Nothing was shown.
    pub const fn new() -> Self {
        Self { lines: BTreeMap::new() }
    }

    /// Adds the op ids of one line.
    pub fn add_line(&mut self, product: Product, ids: OpIdSet) {
        if !ids.is_empty() {
            self.lines.entry(product).or_default().join(&ids);
        }
    }

    /// What was shown of `product`.
    pub fn line(&self, product: &Product) -> Option<&OpIdSet> {
        self.lines.get(product)
    }

    /// The lines that were shown, ascending by product.
    pub fn iter(&self) -> impl Iterator<Item = (&Product, &OpIdSet)> {
        self.lines.iter()
    }

    /// Everything that was shown.
    pub fn all(&self) -> OpIdSet {
        let mut all = OpIdSet::new();
        self.lines.values().for_each(|ids| all.join(ids));
        all
    }

    /// The opaque bytes a client keeps.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::from([VERSION]);
        put_u64(&mut out, self.lines.len() as u64);
        for (product, ids) in &self.lines {
            product.encode(&mut out);
            ids.encode(&mut out);
        }
        let sum = xxh3_64(&out) as u32;
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    /// From the bytes a client gave back.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > SEEN_MAX {
            return Err(DecodeError::Bounds("context above 4 MiB"));
        }
        let Some((body, sum)) = bytes.split_last_chunk::<4>() else {
            return Err(DecodeError::Truncated);
        };
        if xxh3_64(body) as u32 != u32::from_be_bytes(*sum) {
            return Err(DecodeError::Checksum);
        }
        let mut from = Reader::new(body);
        match from.u8()? {
            VERSION => {}
            tag => return Err(DecodeError::UnknownTag { what: "context version", tag }),
        }
        let mut lines = BTreeMap::new();
        let mut named = 0_u64;
        for _ in 0..from.count(2)? {
            let product = Product::decode(&mut from)?;
            if lines.last_key_value().is_some_and(|(last, _)| *last >= product) {
                return Err(DecodeError::NotCanonical("lines out of order"));
            }
            let ids = OpIdSet::decode(&mut from)?;
            if ids.is_empty() {
                return Err(DecodeError::NotCanonical("line without op ids"));
            }
            named = named.saturating_add(ids.len());
            if named > IDS_MAX {
                return Err(DecodeError::Bounds("op ids of a context"));
            }
            lines.insert(product, ids);
        }
        from.finish()?;
        Ok(Self { lines })
    }
}
