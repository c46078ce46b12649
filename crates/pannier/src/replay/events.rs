//! A shopping log, read one event at a time, never trusted and never the end of the run.
//!
//! The log is a CSV file with the columns `event_time,event_type,product_id,price,user_id,
//! user_session`, in any order, among any others. Real logs are dirty: rows cut short, quotes left
//! open, bytes that are no text, times that never were. The obvious reader (deserialise each row,
//! stop at the first error) loses a day for one row, or, told to skip, hides how much it skipped.
//!
//! Laws:
//! - only the header and the input itself can stop the reading; a bad row is an item like any
//!   other, with its line and a reason, and the rows around it are read as if it were not there;
//! - an event's line is the line of the file on which its row begins, so it is unique, and an
//!   editor finds it; that makes it the seed of the op id;
//! - memory is bounded by one row ([`super::rows`]), whatever the file;
//! - a row of several lines with the wrong number of fields, or with a control character in an id,
//!   was most likely cut by a stray quote: it is not believed, its later lines are read again.
//!
//! What is not judged: `price` (nothing here depends on it) and an empty `user_session`, which
//! groups nothing but still belongs to a user. Times are parsed by hand: one fixed format in one
//! zone is thirty lines, which is less than a dependency costs.

use super::rows::{Cut, Rows};
use csv::ByteRecord;
use std::io::{self, BufRead, Cursor};

/// The longest id taken in, in bytes.
pub const ID_BYTES_MAX: usize = 255;

/// What a user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `view`: looked at a product.
    View,
    /// `cart`: put one unit into the cart.
    Cart,
    /// `remove_from_cart`: took the product out of the cart, however many there were.
    Remove,
    /// `purchase`: bought one unit.
    Purchase,
}

impl Kind {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 4] = [Self::View, Self::Cart, Self::Remove, Self::Purchase];

    /// The word of the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Cart => "cart",
            Self::Remove => "remove_from_cart",
            Self::Purchase => "purchase",
        }
    }
}

/// One well-formed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The line its row begins on; the header is line 1. Unique within a file.
    pub line: u64,
    /// When it happened, in milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// What was done.
    pub kind: Kind,
    /// To which product.
    pub product: Box<str>,
    /// By whom.
    pub user: Box<str>,
    /// During which visit; may be empty.
    pub session: Box<str>,
}

/// The file cannot be read as a log at all.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum HeaderError {
    #[error("cannot read the header")]
    Io(#[from] io::Error),
    #[error("the file is empty; a header with the columns {} is required", Column::NAMES.join(","))]
    Empty,
    #[error("line {line}, the header, cannot be read: {reason}")]
    Unreadable { line: u64, reason: Reason },
    #[error("the header has no column {missing}")]
    Missing { missing: String },
    #[error("the header has the column {column} more than once")]
    Repeated { column: &'static str },
}

/// An item that is no event.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The row is lost, those after it are not.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The input failed; nothing comes after this.
    #[error("cannot read on after line {line}")]
    Io {
        /// The last line that was read.
        line: u64,
        /// What the system said.
        source: io::Error,
    },
}

/// A row that is no event, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Malformed {
    /// The line the row begins on.
    pub line: u64,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What can be wrong with a row. What is quoted from the row is cut short and made printable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Reason {
    #[error("row of more than {} bytes", super::rows::ROW_BYTES_MAX)]
    TooLong,
    #[error("quote left open")]
    QuoteOpen,
    #[error("{have} fields where the header has {want}")]
    Width { have: usize, want: usize },
    #[error("not UTF-8")]
    NotUtf8,
    #[error("event_time \"{text}\" is not a time like 2022-10-01 00:00:00 UTC")]
    BadTime { text: String },
    #[error("unknown event_type \"{word}\"")]
    UnknownType { word: String },
    #[error("empty {column}")]
    EmptyId { column: &'static str },
    #[error("{column} of {bytes} bytes, more than {ID_BYTES_MAX}")]
    LongId { column: &'static str, bytes: usize },
    #[error("control character in {column}")]
    ControlInId { column: &'static str },
}

#[derive(Clone, Copy)]
enum Column {
    Time,
    Type,
    Product,
    #[allow(dead_code, reason = "a log must have the column; nobody reads what is in it")]
    Price,
    User,
    Session,
}

impl Column {
    const NAMES: [&'static str; 6] =
        ["event_time", "event_type", "product_id", "price", "user_id", "user_session"];

    fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Reads the events of a log; an iterator.
pub struct EventReader<R> {
    rows: Rows<R>,
    /// Sees one cut-out row at a time and never the end of its input, after which it would stop.
    fields: csv::Reader<Cursor<Vec<u8>>>,
    record: ByteRecord,
    /// Where each of the columns stands in a row.
    places: [usize; Column::NAMES.len()],
    width: usize,
    failed: bool,
}

impl<R: BufRead> EventReader<R> {
    /// Reads the header.
    pub fn new(input: R) -> Result<Self, HeaderError> {
        let fields = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(Cursor::new(Vec::new()));
        let mut reader = Self {
            rows: Rows::new(input),
            fields,
            record: ByteRecord::new(),
            places: [0; Column::NAMES.len()],
            width: 0,
            failed: false,
        };
        let cut = reader.rows.next_row()?.ok_or(HeaderError::Empty)?;
        let line = reader.rows.line();
        reader.split(cut).map_err(|reason| HeaderError::Unreadable { line, reason })?;
        reader.find_columns()?;
        Ok(reader)
    }

    fn find_columns(&mut self) -> Result<(), HeaderError> {
        let mut missing = Vec::new();
        for (place, column) in self.places.iter_mut().zip(Column::NAMES) {
            let mut found =
                (0..).zip(self.record.iter()).filter(|(_, name)| *name == column.as_bytes());
            match (found.next(), found.next()) {
                (Some((at, _)), None) => *place = at,
                (None, _) => missing.push(column),
                (Some(_), Some(_)) => return Err(HeaderError::Repeated { column }),
            }
        }
        self.width = self.record.len();
        if missing.is_empty() {
            return Ok(());
        }
        Err(HeaderError::Missing { missing: missing.join(", ") })
    }

    /// Splits the row that was just cut into `record`.
    fn split(&mut self, cut: Cut) -> Result<(), Reason> {
        match cut {
            Cut::TooLong => return Err(Reason::TooLong),
            Cut::Unclosed => return Err(Reason::QuoteOpen),
            Cut::Row => {}
        }
        let window = self.fields.get_mut();
        window.set_position(0);
        window.get_mut().clear();
        window.get_mut().extend_from_slice(self.rows.row());
        match self.fields.read_byte_record(&mut self.record) {
            Ok(true) => Ok(()),
            // Neither happens while both sides read quotes alike, which a test holds them to.
            Ok(false) | Err(_) => Err(Reason::QuoteOpen),
        }
    }

    fn event(&mut self, cut: Cut) -> Result<Event, Reason> {
        self.split(cut)?;
        if self.record.len() != self.width {
            return Err(Reason::Width { have: self.record.len(), want: self.width });
        }
        if std::str::from_utf8(self.record.as_slice()).is_err() {
            return Err(Reason::NotUtf8);
        }
        let time = self.text(Column::Time)?;
        let time_ms = parse_time(time).ok_or_else(|| Reason::BadTime { text: excerpt(time) })?;
        let word = self.text(Column::Type)?;
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| Reason::UnknownType { word: excerpt(word) })?;
        Ok(Event {
            line: self.rows.line(),
            time_ms,
            kind,
            product: self.id(Column::Product)?,
            user: self.id(Column::User)?,
            session: match self.text(Column::Session)? {
                "" => Box::default(),
                _ => self.id(Column::Session)?,
            },
        })
    }

    fn text(&self, column: Column) -> Result<&str, Reason> {
        let field = self.record.get(self.places[column as usize]).unwrap_or_default();
        // The row as a whole may be text while a field boundary splits a character.
        std::str::from_utf8(field).map_err(|_| Reason::NotUtf8)
    }

    fn id(&self, column: Column) -> Result<Box<str>, Reason> {
        let (text, column) = (self.text(column)?, column.name());
        match text.len() {
            0 => Err(Reason::EmptyId { column }),
            bytes if bytes > ID_BYTES_MAX => Err(Reason::LongId { column, bytes }),
            _ if text.chars().any(char::is_control) => Err(Reason::ControlInId { column }),
            _ => Ok(text.into()),
        }
    }
}

impl<R: BufRead> Iterator for EventReader<R> {
    type Item = Result<Event, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let cut = match self.rows.next_row() {
            Ok(cut) => cut?,
            Err(source) => {
                self.failed = true;
                return Some(Err(RowError::Io { line: self.rows.line(), source }));
            }
        };
        let line = self.rows.line();
        let event = self.event(cut);
        if let Err(Reason::Width { .. } | Reason::ControlInId { .. }) = event {
            self.rows.distrust();
        }
        Some(event.map_err(|reason| Malformed { line, reason }.into()))
    }
}

/// `YYYY-MM-DD HH:MM:SS UTC` as milliseconds since 1970. No leap seconds: the log's clock has none.
fn parse_time(text: &str) -> Option<i64> {
    const SHAPE: &[u8; 23] = b"0000-00-00 00:00:00 UTC";
    let bytes: &[u8; 23] = text.as_bytes().try_into().ok()?;
    let fits =
        |(have, want): (&u8, &u8)| if *want == b'0' { have.is_ascii_digit() } else { have == want };
    if !bytes.iter().zip(SHAPE).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=month_days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year (Hinnant 2013).
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

/// Enough of a bad field to recognise it by; safe to print.
fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
