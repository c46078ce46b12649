//! Large values, cut into pieces, so that sled never makes a file for one.
//!
//! sled spills what is larger than a quarter of a segment into a file of its own, named by a
//! position in its log. It syncs neither that file nor its folder, takes a missing one for nothing
//! written when it recovers, and removes it while the page that replaces it may not be on disk. So
//! no page may grow that large. A leaf holds up to some twenty rows and a value up to 16 MiB: what
//! is longer than `PIECE_BYTES` is cut, the pieces go into a tree of their own, and the row says
//! how long the value is.
//!
//! ```text
//! row     key -> 0, the value            or: 1, its length (4)
//! piece   length of the key (2), key, number of the piece (4) -> its bytes
//! ```
//!
//! P1  A row is written after its pieces, and the pieces of a shorter value that it replaces go
//!     after it: in the order of writes, a row has its pieces at every moment but while its key is
//!     being written. Who reads meanwhile is kept away from such keys by the caller.
//! P2  A crash may leave pieces that no row names, never a row without its pieces. `remove_range`
//!     and `put_again` take them away; the caller knows from its marks where that can be.

use super::super::range::Range;
use super::database::{Failure, Run};
use sled::{Db, IVec, Tree};
use std::ops::Bound;

/// The longest value that stands in its row. Twenty rows of it, with the longest keys, are well
/// below a quarter of the smallest segment.
pub(super) const PIECE_BYTES: usize = 16 << 10;
const WHOLE: u8 = 0;
const CUT: u8 = 1;
/// Keys that `remove_range` looks up at once.
const STEP: usize = 1_024;

/// Rows, and the pieces of those whose values are large.
pub(super) struct Table {
    rows: Tree,
    pieces: Tree,
}

impl Table {
    pub(super) fn open(db: &Db, name: &str) -> Result<Self, Failure> {
        Ok(Self { rows: db.open_tree(name)?, pieces: db.open_tree(format!("{name} pieces"))? })
    }

    /// Sets the value of a key.
    pub(super) fn put(&self, run: &mut Run<'_>, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let old = self.write(run, key, value)?;
        let (from, upto) = (pieces_of(value.len()), old.as_deref().map_or(0, pieces_named));
        for number in from..upto {
            run.remove(&self.pieces, &piece_key(key, number))?;
        }
        Ok(())
    }

    /// As `put`, for a key whose last `put` or `remove` may have been cut by a crash.
    pub(super) fn put_again(
        &self,
        run: &mut Run<'_>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Failure> {
        self.write(run, key, value)?;
        let (from, upto) = (piece_key(key, pieces_of(value.len())), piece_key(key, u32::MAX));
        remove_keys(run, &self.pieces, &(Bound::Included(from), Bound::Included(upto)))
    }

    fn write(&self, run: &mut Run<'_>, key: &[u8], value: &[u8]) -> Result<Option<IVec>, Failure> {
        let mut row = Vec::with_capacity(1 + value.len().min(PIECE_BYTES));
        if pieces_of(value.len()) == 0 {
            row.push(WHOLE);
            row.extend_from_slice(value);
        } else {
            for (number, piece) in (0..).zip(value.chunks(PIECE_BYTES)) {
                run.insert(&self.pieces, &piece_key(key, number), piece)?;
            }
            row.push(CUT);
            // The contract's bounds are far below what four bytes hold.
            row.extend_from_slice(&(value.len() as u32).to_be_bytes());
        }
        run.insert(&self.rows, key, &row)
    }

    /// Removes a key, if it is there.
    pub(super) fn remove(&self, run: &mut Run<'_>, key: &[u8]) -> Result<(), Failure> {
        let old = run.remove(&self.rows, key)?;
        for number in 0..old.as_deref().map_or(0, pieces_named) {
            run.remove(&self.pieces, &piece_key(key, number))?;
        }
        Ok(())
    }

    /// As `remove`, for a key whose last `put` or `remove` may have been cut by a crash.
    pub(super) fn remove_again(&self, run: &mut Run<'_>, key: &[u8]) -> Result<(), Failure> {
        self.remove_range(run, key, key)
    }

    /// Removes the keys from `first` to `last`, both of one length and so are all between, with
    /// every piece that bears such a key.
    pub(super) fn remove_range(
        &self,
        run: &mut Run<'_>,
        first: &[u8],
        last: &[u8],
    ) -> Result<(), Failure> {
        let rows = (Bound::Included(first.to_vec()), Bound::Included(last.to_vec()));
        remove_keys(run, &self.rows, &rows)?;
        let pieces = (piece_key(first, 0), piece_key(last, u32::MAX));
        remove_keys(run, &self.pieces, &(Bound::Included(pieces.0), Bound::Included(pieces.1)))
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        match self.rows.get(key)? {
            None => Ok(None),
            Some(row) => self.value(key, &row).map(Some),
        }
    }

    /// The keys of `range`, ascending, with their values.
    pub(super) fn range(
        &self,
        range: Range,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), Failure>> + '_ {
        self.stored(range).map(|row| {
            let (key, row) = row?;
            let value = self.value(&key, &row)?;
            Ok((key, value))
        })
    }

    /// The keys of `range`, ascending, with what `value` makes their values of: for who skips some
    /// that are being written, and whose pieces are not to be looked at.
    pub(super) fn stored(
        &self,
        range: Range,
    ) -> impl Iterator<Item = Result<(Vec<u8>, IVec), Failure>> + '_ {
        self.rows.range::<Vec<u8>, _>(range).map(|row| {
            let (key, row) = row?;
            Ok((key.to_vec(), row))
        })
    }

    /// The keys of `range`, ascending, from both ends.
    pub(super) fn keys(
        &self,
        range: Range,
    ) -> impl DoubleEndedIterator<Item = Result<IVec, Failure>> + '_ {
        self.rows.range::<Vec<u8>, _>(range).keys().map(|key| Ok(key?))
    }

    /// The value of a key, given what is stored under it.
    pub(super) fn value(&self, key: &[u8], row: &[u8]) -> Result<Vec<u8>, Failure> {
        let damaged = |what: &str| Failure::Damaged(format!("row {key:02x?}: {what}"));
        match row.split_first() {
            Some((&WHOLE, value)) => Ok(value.to_vec()),
            Some((&CUT, length)) => {
                let length = <[u8; 4]>::try_from(length).map_err(|_| damaged("a bad length"))?;
                let length = u32::from_be_bytes(length) as usize;
                // Grows with what is there: a length that lies must not ask for memory.
                let mut value = Vec::new();
                for number in 0..pieces_of(length) {
                    let piece = self.pieces.get(piece_key(key, number))?;
                    let piece = piece.ok_or_else(|| damaged("a piece is missing"))?;
                    value.extend_from_slice(&piece);
                }
                if value.len() != length {
                    return Err(damaged("its pieces are not as long as it says"));
                }
                Ok(value)
            }
            _ => Err(damaged("it begins as no row does")),
        }
    }
}

/// How many pieces a value of that length is cut into; 0: it stands in its row.
fn pieces_of(length: usize) -> u32 {
    if length <= PIECE_BYTES { 0 } else { length.div_ceil(PIECE_BYTES) as u32 }
}

/// How many pieces a row says that it has.
fn pieces_named(row: &[u8]) -> u32 {
    match row.split_first() {
        Some((&CUT, length)) => {
            let length = <[u8; 4]>::try_from(length).map_or(0, u32::from_be_bytes);
            pieces_of(length as usize)
        }
        _ => 0,
    }
}

fn piece_key(key: &[u8], number: u32) -> Vec<u8> {
    // The length first: no key's pieces lie between those of another that begins alike.
    let mut piece = Vec::with_capacity(key.len() + 6);
    piece.extend_from_slice(&(key.len() as u16).to_be_bytes());
    piece.extend_from_slice(key);
    piece.extend_from_slice(&number.to_be_bytes());
    piece
}

fn remove_keys(run: &mut Run<'_>, tree: &Tree, range: &Range) -> Result<(), Failure> {
    loop {
        // What was removed is gone from the range, so that each look begins anew.
        let found: Vec<IVec> =
            tree.range::<Vec<u8>, _>(range.clone()).keys().take(STEP).collect::<Result<_, _>>()?;
        for key in &found {
            run.remove(tree, key)?;
        }
        if found.len() < STEP {
            return Ok(());
        }
    }
}
