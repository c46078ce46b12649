//! What steps have moved, in units: for counting what a member does, and for nothing that decides.

/// Units that steps have moved, each kind of step for itself: what an operator counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Created.
    pub minted: u64,
    /// Set aside.
    pub held: u64,
    /// Sold, held before or not.
    pub sold: u64,
    /// Given back: released, lapsed, returned, or a double.
    pub given_back: u64,
    /// Lent to other members.
    pub lent: u64,
    /// Gone without a sale.
    pub written_off: u64,
}

impl Moved {
    /// These, too.
    pub fn join(&mut self, more: Self) {
        let Self { minted, held, sold, given_back, lent, written_off } = more;
        for (sum, units) in [
            (&mut self.minted, minted),
            (&mut self.held, held),
            (&mut self.sold, sold),
            (&mut self.given_back, given_back),
            (&mut self.lent, lent),
            (&mut self.written_off, written_off),
        ] {
            count(sum, units);
        }
    }
}

/// A delta may be anybody's: its units need not fit.
pub(super) const fn count(sum: &mut u64, units: u64) {
    *sum = sum.saturating_add(units);
}
