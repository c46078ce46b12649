//! What can be wrong with a backup. Each says where, and what to do; none has changed anything.

use super::header::Link;
use orset::{DecodeError, Dot, Member};

/// Why a backup is not one, or does not go on from another. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end before the end frame: it was cut short, or never finished.
    #[error("it ends at byte {at}, inside or between frames: it was cut short")]
    Truncated {
        /// How many bytes there are.
        at: u64,
    },
    /// It does not begin as a backup does.
    #[error("it is no backup: it does not begin as one")]
    Stranger,
    /// A newer version wrote it. Use that one.
    #[error("it has version {found}; this build reads up to {ours}. Use a newer one")]
    Version {
        /// The version that it says.
        found: u32,
        /// The newest that this build reads.
        ours: u32,
    },
    /// Bytes are not what was written, or a frame is missing, doubled or in another's place.
    #[error("damaged: the checksum of the frame at byte {at} is wrong")]
    Checksum {
        /// Where the frame begins.
        at: u64,
    },
    /// A frame is larger than any may be.
    #[error("damaged: the frame at byte {at} says that it has {length} bytes, more than any may")]
    TooLarge {
        /// Where the frame begins.
        at: u64,
        /// What it says.
        length: u64,
    },
    /// A frame is whole and does not say what one may say.
    #[error("malformed: the frame at byte {at}: {what}")]
    Malformed {
        /// Where the frame begins.
        at: u64,
        /// What is wrong with it.
        what: DecodeError,
    },
    /// Something follows the end.
    #[error("bytes follow its end, at byte {at}")]
    Trailing {
        /// Where.
        at: u64,
    },
    /// A delta, row or count is not the one that must come next.
    #[error("malformed: the frame at byte {at}: {what}")]
    Order {
        /// Where the frame begins.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A record of the log cannot be read, or is another's.
    #[error("the record {dot} is not what was written: {what}")]
    Record {
        /// Where it stands in the log.
        dot: Dot,
        /// What is wrong with it.
        what: DecodeError,
    },
    /// The log within it does not reach the vector that it is said to be of.
    #[error("the log of {} ends at {}, and it is to reach {need}", .have.origin, .have.seq)]
    Short {
        /// Where it ends.
        have: Dot,
        /// Where it is to end.
        need: u64,
    },
    /// The rows do not add up: the state had rotted when it was read. Mend the member
    /// (`pannier admin verify --deep --repair`), or back up another.
    #[error(
        "its rows do not add up in {buckets} of 1024 buckets (the first is {first}), and \
         {unsound} of them cannot be read: the state had rotted before it was backed up. Mend the \
         member (`pannier admin verify --deep --repair`), or back up another"
    )]
    Rotten {
        /// How many buckets.
        buckets: usize,
        /// The first of them.
        first: u16,
        /// Rows and op memory that cannot be read.
        unsound: u64,
    },
    /// A chain begins with a full backup, and this is none.
    #[error("it is increment {index}, and no full backup stands before it")]
    NoFull {
        /// Its place in its chain.
        index: u64,
    },
    /// One is missing between the two, or they are in the wrong order.
    #[error("it is increment {found} of its chain, and {wanted} must come next: one is missing")]
    Missing {
        /// Its place in its chain.
        found: u64,
        /// The place that comes next.
        wanted: u64,
    },
    /// It goes on from another backup than the one before it.
    #[error(
        "it goes on from the backup with seal {:016x}, and the one before it has {seal:016x}: it is \
         of another chain", .goes_on.previous
    )]
    OtherChain {
        /// What it says.
        goes_on: Link,
        /// The seal of the one before.
        seal: u64,
    },
    /// It is of another cluster than the one before it.
    #[error("it is of cluster {found:?}, and the one before it of {wanted:?}")]
    OtherCluster {
        /// What it says.
        found: String,
        /// What the one before said.
        wanted: String,
    },
    /// It is of another member than the one before it.
    #[error("it is of member {found}, and the one before it of {wanted}")]
    OtherMember {
        /// What it says.
        found: Member,
        /// What the one before said.
        wanted: Member,
    },
    /// It does not begin at the vector at which the one before it ends.
    #[error("it does not begin where the one before it ends")]
    Gap,
    /// The cut that is asked for is in front of the state that the chain begins with.
    #[error(
        "what is asked for lies before the state that this chain begins with, which no log can \
         take back: restore from an older full backup{hint}"
    )]
    TooEarly {
        /// Where it begins, in words.
        hint: String,
    },
    /// The cut that is asked for is behind the end of the chain.
    #[error("{0} is not in this chain of backups: it is later, or of another cluster")]
    Unknown(Dot),
    /// No membership that was backed up belongs to that cut.
    #[error(
        "no membership that was backed up is of that moment: origins were closed since. Ask for a \
         later one"
    )]
    NoMembership,
}
