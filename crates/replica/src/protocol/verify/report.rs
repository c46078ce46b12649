//! What is asked of a verification, and what comes of it, in values.

use super::survey::Survey;
use orset::{Member, ObjectKey};

/// What an operator asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verify {
    /// Read everything that is stored here. Else the sums are compared with the peers'.
    pub deep: bool,
    /// Mend what is found wrong here.
    pub repair: bool,
    /// Compare with this member only; and, with `repair`, take its rows also where neither side
    /// has rotted.
    pub from: Option<Member>,
}

/// Whose rows do not add up to the sums kept of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody's, and the two agree; what is stored here was wrong.
    None,
    /// Ours: something has rotted here.
    Ours,
    /// The peer's.
    Theirs,
    /// Both.
    Both,
    /// Nobody's, and the two differ: a bug.
    Neither,
}

/// A bucket in which this replica differs from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Who.
    pub peer: Member,
    /// Where.
    pub bucket: u16,
    /// Who is wrong.
    pub fault: Fault,
    /// Rows that differ.
    pub rows: u64,
    /// The first few objects that they are of.
    pub objects: Vec<ObjectKey>,
    /// The peer's rows were taken.
    pub mended: bool,
}

/// What came of the last question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Ascending with each question; 0: none yet.
    pub number: u64,
    /// What was asked.
    pub asked: Verify,
    /// More is to come.
    pub running: bool,
    /// What was found in what is stored, when it was last read.
    pub survey: Option<Survey>,
    /// Peers whose sums were compared.
    pub compared: Vec<Member>,
    /// Where this replica differs, or did.
    pub differences: Vec<Difference>,
    /// Rows replaced, added and dropped.
    pub rows_mended: u64,
    /// What could not be done, and why.
    pub problems: Vec<String>,
}
