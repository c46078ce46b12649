//! Canonical bytes: the one way a value of this crate is written down.
//!
//! Equal values have equal bytes and equal bytes decode to equal values, so a hash of the bytes
//! is a hash of the value, and two replicas compare states without sending them. General-purpose
//! formats allow several encodings of one value (field order, overlong integers); here a decoder
//! refuses every byte string that its encoder would not have written.
//!
//! Integers are LEB128 without overlong forms; byte strings are a length and the bytes; sorted
//! collections must come strictly ascending. A decoder allocates no more than the input's length
//! allows, whatever counts the input claims. Who stores or sends these bytes puts a version tag
//! in front (`storage format` in the docs).

use alloc::vec::Vec;

/// Why bytes were refused. Nothing was changed; the sender is broken, hostile or newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("truncated: the bytes end inside a value")]
    Truncated,
    /// Bytes are left over after the value.
    #[error("trailing bytes after the value")]
    Trailing,
    /// An integer or collection is not in its one canonical form.
    #[error("not canonical: {0}")]
    NotCanonical(&'static str),
    /// A tag that this version does not know.
    #[error("unknown {what} {tag}")]
    UnknownTag {
        /// Which tag.
        what: &'static str,
        /// Its value.
        tag: u8,
    },
    /// A value is outside its bounds.
    #[error("out of bounds: {0}")]
    Bounds(&'static str),
    /// The checksum does not match the bytes.
    #[error("checksum mismatch")]
    Checksum,
}

/// Appends `value` as LEB128.
pub fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value` zigzag-coded.
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads canonical bytes from front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not yet read.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Refuses left-over bytes.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        if n > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        let (head, rest) = self.rest.split_at(n);
        self.rest = rest;
        Ok(head)
    }

    /// The next byte, left unread; `None` at the end.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    /// Sixteen bytes: an id.
    pub fn id(&mut self) -> Result<[u8; 16], DecodeError> {
        let mut id = [0; 16];
        id.copy_from_slice(self.take(16)?);
        Ok(id)
    }

    /// A LEB128 integer in its shortest form.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Bounds("integer above 64 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(DecodeError::NotCanonical("overlong integer"));
                }
                return Ok(value);
            }
        }
        Err(DecodeError::Bounds("integer above 64 bits"))
    }

    /// A LEB128 integer of at most 32 bits.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.u64()?).map_err(|_| DecodeError::Bounds("integer above 32 bits"))
    }

    /// A zigzag-coded integer.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        let raw = self.u64()?;
        Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64))
    }

    /// A length and that many bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u64()?;
        let len = usize::try_from(len).map_err(|_| DecodeError::Truncated)?;
        self.take(len)
    }

    /// A count of items that take at least `item_bytes` each; refuses counts the input cannot hold.
    pub fn count(&mut self, item_bytes: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.u64()?).map_err(|_| DecodeError::Truncated)?;
        if count > self.remaining() / item_bytes.max(1) {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }
}
