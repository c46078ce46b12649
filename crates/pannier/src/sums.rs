//! Where all units of a stock are, or of several, as every command that shows it prints it.

use orset::stock::Sheet;
use pannier_proto::v1;
use serde::Serialize;
use std::fmt;

/// Units, by where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    pub minted: u64,
    pub available: u64,
    pub held: u64,
    pub sold: u64,
    pub written_off: u64,
    /// Of members that were closed, and are not accounted for.
    pub frozen: u64,
    /// Units that nothing accounts for: 0, or there is a bug.
    pub imbalance: i128,
}

impl Sums {
    /// Of one stock.
    pub fn of(sheet: &Sheet) -> Self {
        Self {
            minted: sheet.minted,
            available: sheet.available,
            held: sheet.held,
            sold: sheet.sold,
            written_off: sheet.written_off,
            frozen: sheet.frozen,
            imbalance: sheet.imbalance(),
        }
    }

    /// Of one stock, as it crossed the wire.
    pub fn of_wire(shown: &v1::Stock) -> Self {
        Self::of(&Sheet {
            minted: shown.minted,
            available: shown.available,
            held: shown.held,
            sold: shown.sold,
            written_off: shown.written_off,
            frozen: shown.frozen,
            ..Sheet::default()
        })
    }

    /// And of another.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.minted, other.minted),
            (&mut self.available, other.available),
            (&mut self.held, other.held),
            (&mut self.sold, other.sold),
            (&mut self.written_off, other.written_off),
            (&mut self.frozen, other.frozen),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        // Of two that are wrong one must not make up for the other.
        self.imbalance += other.imbalance.abs();
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { minted, available, held, sold, written_off, frozen, imbalance } = self;
        write!(
            f,
            "minted {minted} = free {available} + held {held} + sold {sold} + written off \
             {written_off}"
        )?;
        if *frozen > 0 {
            write!(f, " + frozen {frozen}")?;
        }
        if *imbalance == 0 { Ok(()) } else { write!(f, "; {imbalance} NOWHERE") }
    }
}
