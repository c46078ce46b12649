//! Rows of a CSV file, one at a time, in bounded memory, with the line each begins on.
//!
//! A CSV parser alone fails twice here. It slurps a row of any length, so one missing newline costs
//! the machine its memory. And one stray quote opens a field that swallows every row up to the next
//! quote: thousands of rows gone, one reported. So the rows are cut out here first, by the same
//! quote rules as the parser's, and the parser is shown only what was cut.
//!
//! Laws:
//! - a row takes at most [`ROW_BYTES_MAX`] bytes, and so does what is kept for reading again;
//! - a row of several lines is believed only while nothing speaks against it. If its quote never
//!   closes, if it grows too long, or if the reader above finds that it cannot be a row
//!   ([`Rows::distrust`]), then only its first line is lost: the others are read again;
//! - when lines are read again, each stands alone. Without this rule a file of stray quotes would
//!   be scanned once per line, each time to the limit; with it every byte is looked at twice at
//!   most.

use std::io::{self, BufRead, Read};

/// What one row may take, its line end included.
pub const ROW_BYTES_MAX: usize = 64 * 1024;

/// What was cut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A whole row: see [`Rows::row`].
    Row,
    /// A line longer than a row may be; it was skipped to its end.
    TooLong,
    /// A line with a quote that does not close; the lines after it come next.
    Unclosed,
}

/// Where the scan stands between two bytes: the states of RFC 4180, as the `csv` crate reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    FieldStart,
    Plain,
    Open,
    /// After a quote inside a quoted field: the end of the field, or the first half of `""`.
    Maybe,
}

/// Cuts an input into rows.
#[derive(Debug)]
pub struct Rows<R> {
    input: R,
    /// Lines given back, to be read before the input.
    again: Vec<u8>,
    again_at: usize,
    row: Vec<u8>,
    first_line_len: usize,
    /// The line that the current row begins on, and the one it ends on; counted from 1.
    line: u64,
    line_last: u64,
}

impl<R: BufRead> Rows<R> {
    /// Rows of this input.
    pub fn new(input: R) -> Self {
        Self {
            input,
            again: Vec::new(),
            again_at: 0,
            row: Vec::new(),
            first_line_len: 0,
            line: 0,
            line_last: 0,
        }
    }

    /// The bytes of the current row. They end with `\n`, whatever the file has there.
    pub fn row(&self) -> &[u8] {
        &self.row
    }

    /// The line the current row begins on.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Cuts the next row; `None` at the end. Blank lines are skipped, as everywhere in CSV.
    pub fn next_row(&mut self) -> io::Result<Option<Cut>> {
        loop {
            self.row.clear();
            let alone = self.again_at < self.again.len();
            if !self.read_line()? {
                return Ok(None);
            }
            self.line = self.line_last + 1;
            self.line_last = self.line;
            if self.line == 1 && self.row.starts_with(b"\xEF\xBB\xBF") {
                self.row.drain(..3);
            }
            if self.row.len() > ROW_BYTES_MAX {
                self.skip_line()?;
                return Ok(Some(Cut::TooLong));
            }
            if !matches!(self.row.as_slice(), b"" | b"\n" | b"\r" | b"\r\n") {
                return self.finish_row(alone).map(Some);
            }
        }
    }

    /// Gives back all lines of the current row but its first. It was no row after all.
    pub fn distrust(&mut self) {
        if self.line_last > self.line {
            // A row has several lines only if nothing was waiting to be read again.
            self.again.clear();
            self.again.extend_from_slice(&self.row[self.first_line_len..]);
            self.again_at = 0;
            self.line_last = self.line;
        }
    }

    fn finish_row(&mut self, alone: bool) -> io::Result<Cut> {
        self.first_line_len = self.row.len();
        let mut quote = scan(Quote::FieldStart, &self.row);
        while quote == Quote::Open {
            if alone {
                return Ok(Cut::Unclosed);
            }
            let before = self.row.len();
            let more = self.read_line()?;
            if more {
                self.line_last += 1;
            }
            if !more || self.row.len() > ROW_BYTES_MAX {
                self.distrust();
                return Ok(Cut::Unclosed);
            }
            quote = scan(quote, &self.row[before..]);
        }
        for end in [b'\n', b'\r'] {
            if self.row.last() == Some(&end) {
                self.row.pop();
            }
        }
        self.row.push(b'\n');
        Ok(Cut::Row)
    }

    /// Appends one line, or as much of it as shows that the row is too long; false at the end.
    fn read_line(&mut self) -> io::Result<bool> {
        let before = self.row.len();
        let room = (ROW_BYTES_MAX + 1).saturating_sub(before) as u64;
        let mut waiting = &self.again[self.again_at..];
        self.again_at += waiting.by_ref().take(room).read_until(b'\n', &mut self.row)?;
        if self.row.len() == before || self.row.last() != Some(&b'\n') {
            let room = (ROW_BYTES_MAX + 1).saturating_sub(self.row.len()) as u64;
            self.input.by_ref().take(room).read_until(b'\n', &mut self.row)?;
        }
        Ok(self.row.len() > before)
    }

    /// Drops what is left of a line that was too long to keep.
    fn skip_line(&mut self) -> io::Result<()> {
        while self.row.last() != Some(&b'\n') {
            self.row.clear();
            if !self.read_line()? {
                break;
            }
        }
        Ok(())
    }
}

fn scan(from: Quote, bytes: &[u8]) -> Quote {
    if from == Quote::FieldStart && !bytes.contains(&b'"') {
        return Quote::Plain;
    }
    bytes.iter().fold(from, |quote, byte| match (quote, byte) {
        (Quote::Open, b'"') => Quote::Maybe,
        (Quote::Open, _) => Quote::Open,
        (Quote::FieldStart | Quote::Maybe, b'"') => Quote::Open,
        (_, b',') => Quote::FieldStart,
        // A quote in the middle of a plain field is a byte like any other.
        (Quote::FieldStart | Quote::Plain | Quote::Maybe, _) => Quote::Plain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(input: &[u8]) -> Vec<(u64, Cut, Vec<u8>)> {
        let mut rows = Rows::new(input);
        let mut out = Vec::new();
        while let Some(cut) = rows.next_row().unwrap() {
            let bytes = if cut == Cut::Row { rows.row().to_vec() } else { Vec::new() };
            assert!(rows.row().len() <= ROW_BYTES_MAX + 1);
            out.push((rows.line(), cut, bytes));
        }
        out
    }

    #[test]
    fn lines_blank_lines_and_their_ends() {
        let got = cuts(b"\xEF\xBB\xBFa,b\r\n\r\n\nc,\"d\ne\"\r\nf,g");
        let want = [(1, "a,b\n"), (4, "c,\"d\ne\"\n"), (6, "f,g\n")];
        let want: Vec<_> =
            want.iter().map(|(line, row)| (*line, Cut::Row, row.as_bytes().to_vec())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_quote_inside_a_plain_field_opens_nothing() {
        assert_eq!(cuts(b"a,5\" disk\nb,c\n").len(), 2);
        assert_eq!(cuts(b"a,\"x\"\"y\"\nb,\"c\"d\n").len(), 2);
    }

    #[test]
    fn a_stray_quote_costs_one_line() {
        let got = cuts(b"a,\"b\nc,d\ne,f");
        assert_eq!(got[0], (1, Cut::Unclosed, Vec::new()));
        assert_eq!(got[1], (2, Cut::Row, b"c,d\n".to_vec()));
        assert_eq!(got[2], (3, Cut::Row, b"e,f\n".to_vec()));
        assert_eq!(got.len(), 3);
    }

    #[test]
    fn a_stray_quote_far_from_the_end_costs_one_line() {
        let mut input = b"a,\"b\n".to_vec();
        for _ in 0..50_000 {
            input.extend_from_slice(b"c,d\n");
        }
        let got = cuts(&input);
        assert_eq!(got.len(), 50_001);
        assert_eq!(got[0].1, Cut::Unclosed);
        assert!(got[1..].iter().all(|(_, cut, row)| *cut == Cut::Row && row == b"c,d\n"));
        assert_eq!(got.last().map(|last| last.0), Some(50_001));
    }

    #[test]
    fn the_limit_is_exact_and_the_next_row_is_safe() {
        for (over, want) in [(0, Cut::Row), (1, Cut::TooLong), (300_000, Cut::TooLong)] {
            let mut input = vec![b'x'; ROW_BYTES_MAX - 1 + over];
            input.extend_from_slice(b"\na,b\n");
            let got = cuts(&input);
            assert_eq!(got[0].1, want, "{over} over");
            assert_eq!(got[1], (2, Cut::Row, b"a,b\n".to_vec()));
            assert_eq!(got.len(), 2);
        }
    }

    #[test]
    fn a_row_that_was_no_row_gives_its_lines_back() {
        let mut rows = Rows::new(&b"a,\"b\nc,d\ne,\"f\n"[..]);
        assert_eq!(rows.next_row().unwrap(), Some(Cut::Row));
        assert_eq!(rows.row(), b"a,\"b\nc,d\ne,\"f\n");
        rows.distrust();
        assert_eq!(rows.next_row().unwrap(), Some(Cut::Row));
        assert_eq!((rows.line(), rows.row()), (2, &b"c,d\n"[..]));
        assert_eq!(rows.next_row().unwrap(), Some(Cut::Unclosed));
        assert_eq!(rows.line(), 3);
        assert_eq!(rows.next_row().unwrap(), None);
    }

    #[test]
    fn lines_read_again_stand_alone() {
        let mut rows = Rows::new(&b"a,\"b\nc\",\"d\ne\"\n"[..]);
        assert_eq!(rows.next_row().unwrap(), Some(Cut::Row));
        rows.distrust();
        assert_eq!((rows.next_row().unwrap(), rows.line()), (Some(Cut::Unclosed), 2));
        assert_eq!((rows.next_row().unwrap(), rows.line()), (Some(Cut::Row), 3));
        assert_eq!(rows.next_row().unwrap(), None);
    }

    /// Every line leaves its quote open whichever way the one before it ended, so each would begin
    /// a row that runs to the limit: 64 KiB of work for each 8 bytes, if lines read again could
    /// join.
    #[test]
    fn a_file_of_stray_quotes_is_read_in_one_go() {
        let lines = 300_000;
        let got = cuts(&b"a\",\",\"\"\n".repeat(lines));
        assert_eq!(got.len(), lines);
        assert!(got.iter().all(|(_, cut, _)| *cut == Cut::Unclosed));
    }
}
