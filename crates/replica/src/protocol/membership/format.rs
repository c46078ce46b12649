//! Which format the members write: what each has read for long, until all have agreed on more.
//!
//! A build reads every format that ever was. What it *writes* is another matter: a delta is stored
//! and relayed as it was made, so one that a single member cannot read shuts out its origin there,
//! and a directory that holds one cannot be opened by the build of before. So the format stands in
//! the membership record, and is raised by a numbered change like those of members: every member,
//! each in its present start, has said on disk that it reads it. The number is an entry of every
//! vector, so a delta of the new format is applied by nobody who has not that record.
//!
//! F1  nothing is written in a format above that of the record in force, the pages of the book
//!     included: until the format is raised every member may go back to the build of before.
//! F2  who does not read a format never accepts it; a build of before cannot even read the
//!     proposal. Whoever says what it reads, and reads less, is not asked (`Unfit::TooOld`).
//! F3  the format never falls: what was written in it stays.
//! F4  who is taken in where more is written than it reads takes no part, and says so; and no
//!     directory is opened that may hold what cannot be read.
//!
//! The obvious way, to write the new format from the first start of a new build on, makes an
//! upgrade of one member after the other an outage, and no way leads back.

use super::{Membership, Wish};
use crate::protocol::Protocol;
use crate::protocol::canary::Canary;
use crate::protocol::peers::Heard;
use crate::protocol::rows::Base;
use crate::store::StoreError;
use orset::Member;

/// That of the builds before formats were numbered.
pub const FIRST: u32 = 0;

/// Deltas name an object once for all its ops in a row (`delta.rs`, version 4).
pub const COMPACT: u32 = 1;

/// Records say who was closed and who inherits (`dead.rs`), and stocks what became of it.
pub const SEALED: u32 = 2;

/// The newest that this build reads, and writes once it is agreed on.
pub const FORMAT_MAX: u32 = SEALED;

impl Membership {
    /// Whether all is read that may have been written under what the book says.
    pub fn check_format(&self, reads: u32) -> Result<(), StoreError> {
        let promised = self.promise.as_ref().map_or(FIRST, |promise| promise.proposal.format);
        let most = self.known().format.max(promised);
        if most <= reads {
            return Ok(());
        }
        Err(StoreError::Format {
            path: "the log".into(),
            problem: format!(
                "its cluster writes format {most}, or is about to, and this replica reads up to \
                 {reads}: start a newer build"
            ),
        })
    }
}

impl<B: Base> Protocol<B> {
    /// The format that this member writes: that of the membership in force.
    pub fn format(&self) -> u32 {
        self.membership().format
    }

    /// The newest that it reads.
    pub fn reads(&self) -> u32 {
        self.settings.format_most
    }

    pub(in crate::protocol) fn writes_compact(&self) -> bool {
        let writes = if self.canary == Canary::FormatUnagreed {
            self.settings.format_most
        } else {
            self.format()
        };
        writes >= COMPACT
    }

    /// Members that do not read what is written once `wish` is fulfilled, as far as was heard.
    pub(super) fn too_old_for(&self, wish: &Wish) -> Vec<Member> {
        let format = wish.writes(self.membership());
        let reads_less = |heard: &Heard<'_>| {
            let stays = !wish.dead.contains_key(&heard.member);
            stays && heard.origin.is_some() && heard.reads < format
        };
        let others = self.peers.heard().filter(reads_less).map(|heard| heard.member);
        let own = (self.settings.format_most < format).then_some(self.member);
        others.chain(own).collect()
    }
}
