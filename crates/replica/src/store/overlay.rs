//! Rows laid over other rows, a page at a time.
//!
//! Two things show rows that are not what the database holds: a checkpoint in progress, whose rows
//! are shown before they are in, and a view of the state, whose rows are shown after they have been
//! overwritten. Both are the same merge of two ascending lists, in which the upper one hides what
//! lies below it, and its edges (a hidden row, a deletion at the end of a page, a limit that is
//! reached exactly) are the same edges. So it stands here, once.
//!
//! What is hidden is never looked at: below a row that is laid over, the engine may be in the
//! middle of writing a value that is in pieces, and to read that is to read damage. The obvious
//! merge, of rows with their values, does look, since it has to read a row to learn its key.

use super::Row;

/// How much of a scan is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    /// Rows at most.
    pub rows: usize,
    /// It ends with the row that reaches this many bytes of keys and values.
    pub bytes: usize,
}

impl Page {
    /// So many rows, whatever their size.
    pub(super) fn of_rows(rows: usize) -> Self {
        Self { rows, bytes: usize::MAX }
    }
}

/// A page that is being filled.
pub(super) struct Filling {
    page: Page,
    bytes: usize,
    rows: Vec<Row>,
}

impl Filling {
    pub(super) fn new(page: Page) -> Self {
        Self { page, bytes: 0, rows: Vec::new() }
    }

    /// Whether nothing more goes in. A page takes a row of any size as its first.
    pub(super) fn is_full(&self) -> bool {
        let has_enough = !self.rows.is_empty() && self.bytes >= self.page.bytes;
        self.rows.len() >= self.page.rows || has_enough
    }

    /// Room for so many rows more, at most.
    pub(super) fn room(&self) -> usize {
        self.page.rows - self.rows.len()
    }

    pub(super) fn push(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes = self.bytes.saturating_add(key.len() + value.len());
        self.rows.push((key, value));
    }

    pub(super) fn done(self) -> Vec<Row> {
        self.rows
    }
}

/// `below`, ascending, with `laid`, ascending, over it: `None` hides a row. `value` reads what a
/// row of `below` has, and is asked for rows that are shown only.
pub(super) fn over<'a, B, E>(
    below: impl Iterator<Item = Result<(Vec<u8>, B), E>>,
    laid: impl Iterator<Item = (&'a [u8], Result<Option<&'a [u8]>, E>)>,
    page: Page,
    mut value: impl FnMut(&[u8], B) -> Result<Vec<u8>, E>,
) -> Result<Vec<Row>, E> {
    let mut filling = Filling::new(page);
    let (mut below, mut laid) = (below.peekable(), laid.peekable());
    while !filling.is_full() {
        let from_below = match (below.peek(), laid.peek()) {
            (None, None) => break,
            (Some(Err(_)), _) | (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(Ok((key, _))), Some((over, _))) => {
                if key.as_slice() == *over {
                    // What lies below is hidden.
                    below.next();
                    continue;
                }
                key.as_slice() < *over
            }
        };
        if from_below {
            if let Some((key, row)) = below.next().transpose()? {
                let value = value(&key, row)?;
                filling.push(key, value);
            }
        } else if let Some((key, shown)) = laid.next()
            && let Some(shown) = shown?
        {
            filling.push(key.to_vec(), shown.to_vec());
        }
    }
    Ok(filling.done())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: usize, bytes: usize) -> Vec<Row> {
        let below = [1u8, 2, 3, 5, 6].map(|key| Ok((vec![key], key)));
        let laid = [(&[2][..], Ok(None)), (&[3], Ok(Some(&[30, 30][..]))), (&[4], Ok(Some(&[])))];
        // The value of a hidden row cannot be read.
        let value =
            |key: &[u8], row: u8| if [2, 3].contains(&key[0]) { Err(row) } else { Ok(vec![row]) };
        over(below.into_iter(), laid.into_iter(), Page { rows, bytes }, value).unwrap()
    }

    #[test]
    fn a_page_ends_where_it_is_full_and_never_looks_at_what_is_hidden() {
        let all = [
            (vec![1], vec![1]),
            (vec![3], vec![30, 30]),
            (vec![4], vec![]),
            (vec![5], vec![5]),
            (vec![6], vec![6]),
        ];
        for rows in 0..=6 {
            assert_eq!(page(rows, usize::MAX), all[..rows.min(5)]);
        }
        for (bytes, rows) in [(0, 1), (1, 1), (2, 1), (3, 2), (5, 2), (6, 3), (8, 4), (99, 5)] {
            assert_eq!(page(9, bytes), all[..rows], "{bytes}");
        }
        assert_eq!(page(0, 99), []);
    }

    #[test]
    fn an_error_is_answered_where_it_stands_and_not_before() {
        let below = || [Ok((vec![1], 1)), Err("below"), Ok((vec![9], 9))].into_iter();
        let laid = || [(&[2u8][..], Err("laid")), (&[3], Ok(None))].into_iter();
        let value = |_: &[u8], row: u8| Ok(vec![row]);
        assert_eq!(over(below(), laid(), Page::of_rows(1), value), Ok(vec![(vec![1], vec![1])]));
        assert_eq!(over(below(), laid(), Page::of_rows(9), value), Err("below"));
        let below = || [Ok((vec![1], 1))].into_iter();
        assert_eq!(over(below(), laid(), Page::of_rows(9), value), Err("laid"));
    }
}
