//! What may be asked of a stock, what it comes to, and what a stock shows: the words that a
//! replica, the wire and a client share.

use super::record::Want;
use super::terms::{PEERS_MAX, Terms};
use crate::dot::Member;
use crate::object::QUANTITY_MAX;
use alloc::vec::Vec;

/// What is asked of a stock, under an op id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// New units, minted by this member and no other: never tried elsewhere.
    Restock {
        /// How many, 1 to `QUANTITY_MAX`.
        units: u64,
        /// Who mints.
        at: Member,
    },
    /// Units that are gone without a sale, written off by this member and no other: tried
    /// elsewhere, they would be gone twice.
    WriteOff {
        /// How many, 1 to `QUANTITY_MAX`.
        units: u64,
        /// Who writes them off.
        at: Member,
    },
    /// Units are set aside.
    Hold {
        /// How many, for whom.
        want: Want,
        /// For how long, in milliseconds, at least 1; a replica has an upper bound.
        ttl_ms: u64,
    },
    /// What is held is sold; when nothing is held, units are sold at once (a claim).
    Commit {
        /// As in the hold.
        want: Want,
    },
    /// What is held is free again.
    Release,
    /// What is held is held longer: so long from now, and never shorter than before.
    Extend {
        /// For how long, in milliseconds.
        ttl_ms: u64,
    },
    /// The op id is over: held, sold, or never heard of.
    Return,
    /// The terms of the stock.
    Agree(Terms),
}

impl Ask {
    /// What is wanted, of a hold or a sale.
    pub const fn want(&self) -> Option<&Want> {
        match self {
            Self::Hold { want, .. } | Self::Commit { want } => Some(want),
            _ => None,
        }
    }

    /// Which member alone may do it, if one is named.
    pub const fn at(&self) -> Option<Member> {
        match self {
            Self::Restock { at, .. } | Self::WriteOff { at, .. } => Some(*at),
            _ => None,
        }
    }

    /// Units that must be free for it.
    pub fn units(&self) -> u64 {
        match self {
            Self::Hold { want, .. } | Self::Commit { want } => want.quantity.into(),
            Self::WriteOff { units, .. } => *units,
            _ => 0,
        }
    }

    /// Which part of it is out of its bounds, if one is.
    pub fn check(&self, hold_max_ms: u64) -> Result<(), &'static str> {
        let is_units = |units: u64| (1..=u64::from(QUANTITY_MAX)).contains(&units);
        match self {
            Self::Restock { units, .. } | Self::WriteOff { units, .. } if !is_units(*units) => {
                Err("units")
            }
            Self::Hold { want, .. } | Self::Commit { want } if !is_units(want.quantity.into()) => {
                Err("quantity")
            }
            Self::Hold { ttl_ms, .. } | Self::Extend { ttl_ms }
                if !(1..=hold_max_ms).contains(ttl_ms) =>
            {
                Err("time of a hold")
            }
            Self::Agree(terms) if terms.peers > PEERS_MAX => Err("peers of a stock"),
            Self::Agree(terms) if terms.tentative => Err("tentative limits: not offered yet"),
            _ => Ok(()),
        }
    }
}

/// What an ask came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Units are set aside, until then by the owner's clock (milliseconds since 1970).
    Held {
        /// Until when.
        until_ms: u64,
    },
    /// Sold. Capture the payment.
    Committed,
    /// Not held any more, and not sold. Void the payment.
    Expired,
    /// The op id is over.
    Returned,
    /// Minted, written off, or agreed.
    Done,
    /// Nobody has as many units. Nothing was changed.
    SoldOut {
        /// Units that are free, in all: fewer than were wanted.
        free: u64,
        /// Units that are set aside, and may come back.
        held: u64,
    },
    /// These members may have units, or hold what is asked for, and were not heard in time. Nothing
    /// was changed, as far as is known: ask again, under the same op id.
    Unavailable {
        /// Who.
        members: Vec<Member>,
    },
}

/// What one member has of a stock; sums of units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// It may spend so many. Of a member that is behind, an older truth.
    pub available: u64,
    /// It created so many.
    pub minted: u64,
}

/// What a stock shows: where all its units are.
///
/// `minted = available + held + sold + written_off`, always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Its terms.
    pub terms: Terms,
    /// What each member has, ascending.
    pub accounts: Vec<(Member, Account)>,
    /// Units minted, in all.
    pub minted: u64,
    /// Units that may be sold.
    pub available: u64,
    /// Units set aside.
    pub held: u64,
    /// Units sold, and not returned.
    pub sold: u64,
    /// Units gone without a sale.
    pub written_off: u64,
}

impl Sheet {
    /// Units that no term accounts for; 0, or there is a bug.
    pub fn imbalance(&self) -> i128 {
        let terms = [self.available, self.held, self.sold, self.written_off];
        i128::from(self.minted) - terms.into_iter().map(i128::from).sum::<i128>()
    }
}
