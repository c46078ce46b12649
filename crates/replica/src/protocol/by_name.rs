//! Rows below a prefix in the bytewise order of the names in their keys.
//!
//! A name stands in a key behind its length, which makes keys prefix-free, and puts "zoo" before
//! "apple". Readers expect bytewise order. Sorting needs all rows; so here there is one walk for
//! each length that occurs, and the least head of all is the next row.
//!
//! Cost: two look-ups in the store for each length that occurs (names of a shop have one to a few;
//! 255 at most), then the rows met.

use super::rows::{Base, Rows};
use super::walk::{Walk, successor};
use crate::store::{Row, StoreError};
use orset::DecodeError;
use orset::codec::put_u64;

/// Rows asked for behind a skip: whoever skips once will mostly skip again soon.
const SKIPPED_TO: usize = 64;

/// How the length of a name is written: one byte, or two above 127, as `codec.rs` writes numbers.
#[derive(Clone, Copy)]
pub(super) enum Length {
    /// Of an object's id.
    Byte,
    /// Of a product.
    Number,
}

impl Length {
    fn bytes(self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2);
        match self {
            Self::Byte => bytes.push(len as u8),
            Self::Number => put_u64(&mut bytes, len as u64),
        }
        bytes
    }

    /// Where the name of a key lies, whose prefix has `front` bytes.
    pub fn name_in(self, key: &[u8], front: usize) -> Option<std::ops::Range<usize>> {
        let first = usize::from(*key.get(front)?);
        let (len, bytes) = match self {
            Self::Number if first >= 0x80 => {
                (first - 0x80 + (usize::from(*key.get(front + 1)?) << 7), 2)
            }
            Self::Number | Self::Byte => (first, 1),
        };
        let from = front + bytes;
        (key.len() >= from + len).then_some(from..from + len)
    }
}

/// The rows whose names have one length.
struct Class<'a, B> {
    walk: Walk<'a, B>,
    head: Option<Row>,
    /// Where the name lies in its keys.
    name: std::ops::Range<usize>,
}

/// See the file's head.
pub(super) struct ByName<'a, B> {
    rows: &'a Rows<B>,
    front: Vec<u8>,
    length: Length,
    classes: Vec<Class<'a, B>>,
}

impl<'a, B: Base> ByName<'a, B> {
    /// Begins behind the name `after`; `rows_wanted` is how many the caller means to take.
    pub fn new(
        rows: &'a Rows<B>,
        front: &[u8],
        length: Length,
        after: Option<&[u8]>,
        rows_wanted: usize,
    ) -> Result<Self, StoreError> {
        let mut this = Self { rows, front: front.to_vec(), length, classes: Vec::new() };
        let mut behind: Option<Vec<u8>> = None;
        loop {
            let mut look = Walk::new(rows, front, behind.as_deref(), 1);
            let Some((key, _)) = look.next()? else { break };
            let name = length.name_in(&key, front.len()).ok_or_else(malformed)?;
            let len = name.len();
            let prefix = this.prefix(len);
            let from = after.map(|after| match after.get(..len) {
                // All that begin with what both share stand before the name, or are it.
                Some(start) => [&prefix, start, &[0xff; 17]].concat(),
                None => [&prefix, after].concat(),
            });
            let mut walk = Walk::new(rows, &prefix, from.as_deref(), rows_wanted);
            let head = walk.next()?;
            this.classes.push(Class { walk, head, name });
            behind = successor(&prefix);
            if behind.is_none() {
                break;
            }
        }
        Ok(this)
    }

    fn prefix(&self, len: usize) -> Vec<u8> {
        [self.front.as_slice(), &self.length.bytes(len)].concat()
    }

    /// The next row, and where the name lies in its key.
    pub fn next(&mut self) -> Result<Option<(Row, std::ops::Range<usize>)>, StoreError> {
        let heads = self.classes.iter_mut().filter(|class| class.head.is_some());
        let least = heads.min_by(|one, other| one.head_name().cmp(other.head_name()));
        let Some(class) = least else { return Ok(None) };
        let next = class.walk.next()?;
        let row = std::mem::replace(&mut class.head, next);
        Ok(row.map(|row| (row, class.name.clone())))
    }

    /// Passes over all that is left of a name.
    pub fn skip(&mut self, name: &[u8]) -> Result<(), StoreError> {
        let prefix = self.prefix(name.len());
        let behind = [&prefix, name, &[0xff; 2]].concat();
        let rows = self.rows;
        let class = self.classes.iter_mut().find(|class| class.name.len() == name.len());
        if let Some(class) = class {
            class.walk = Walk::new(rows, &prefix, Some(&behind), SKIPPED_TO);
            class.head = class.walk.next()?;
        }
        Ok(())
    }
}

impl<B> Class<'_, B> {
    fn head_name(&self) -> &[u8] {
        self.head.as_ref().map_or(&[], |(key, _)| &key[self.name.clone()])
    }
}

fn malformed() -> StoreError {
    super::apply::corrupted("row key")(DecodeError::Truncated)
}
