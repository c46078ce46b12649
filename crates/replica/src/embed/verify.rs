//! Asking a replica whether all is as it was written, and what came of it.
//!
//! A verification takes seconds to hours, so nobody waits for it here: it is begun, and its report
//! is looked at until nothing more is to come. The replica serves meanwhile.

use super::{Error, Replica};
use crate::driver::{Core, Notice};
use crate::protocol::verify::{Report, Verify};
use std::sync::atomic::Ordering::Relaxed;

/// A verification, as it stands.
#[derive(Clone, Debug)]
pub struct Verification {
    /// What was asked, and what was found so far.
    pub report: Report,
    /// Rows and records of the log that were read so far, by the last survey.
    pub read: (u64, u64),
}

impl Replica {
    /// Begins a verification, unless one is under way that somebody asked for: then nothing
    /// changes, and its number is told. Look with `verified` until it is no longer `running`.
    pub fn verify(&self, asked: Verify) -> Result<u64, Error> {
        if !self.inner.mailbox.notice(Notice::Verify(asked)) {
            return Err(Error::Closed);
        }
        self.inspect(|core| core.verified().number)
    }

    /// What came of the last verification: somebody's, or that of an alarm.
    pub fn verified(&self) -> Result<Verification, Error> {
        self.inspect(self.verified_of())
    }

    pub(super) fn verified_of(
        &self,
    ) -> impl FnOnce(&Core) -> Verification + Send + 'static + use<> {
        let (rows, records) = &self.inner.watchers.surveyed;
        let read = (rows.load(Relaxed), records.load(Relaxed));
        move |core| Verification { report: core.verified().clone(), read }
    }
}
