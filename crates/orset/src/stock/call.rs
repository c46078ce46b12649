//! What may be asked of a stock, what it comes to, and what a stock shows: the words that a
//! replica, the wire and a client share.

use super::record::{Customer, Want};
use super::terms::{PEERS_MAX, Terms};
use crate::dot::{Dot, Member};
use crate::object::{ObjectKey, Product, QUANTITY_MAX};
use crate::op_id::OpId;
use crate::order::Goods;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Most sales that one account names: they are one commit.
pub const SALES_MAX: usize = 1_000;

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
    /// Whether a tentative hold may be sold: what its owner asks the customer's keeper, and no
    /// client asks anybody.
    Allow {
        /// As in the hold.
        want: Want,
        /// Which record of the op id.
        dot: Dot,
    },
    /// What a closed member left behind is accounted for, by its heir alone: these sales of it
    /// nobody else knew, and that is all there were. Its process must have stopped for good.
    Account {
        /// Who was closed.
        of: Member,
        /// Its heir.
        at: Member,
        /// Up to `SALES_MAX`, each op id once.
        sales: Vec<(OpId, Want)>,
    },
    /// Something of an order: the object is a cart then, and the op id the order's.
    Order(OrderAsk),
}

/// What is asked about an order of a cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderAsk {
    /// All lines are set aside, or none.
    Checkout {
        /// What is bought.
        goods: Goods,
        /// For how long, as of a hold.
        ttl_ms: u64,
    },
    /// All lines are sold, and leave the cart; what was not set aside is taken now.
    Confirm {
        /// As in the checkout.
        goods: Goods,
    },
    /// What is set aside is free again.
    Cancel,
    /// All lines are held longer; none is held shorter.
    Extend {
        /// From now.
        ttl_ms: u64,
    },
    /// The order is over: held, bought, or never heard of. Nothing is sold under its id any more.
    Return {
        /// As in the checkout.
        goods: Goods,
    },
    /// Where it stands.
    Show,
}

impl OrderAsk {
    /// What is bought, if it says.
    pub const fn goods(&self) -> Option<&Goods> {
        match self {
            Self::Checkout { goods, .. } | Self::Confirm { goods } | Self::Return { goods } => {
                Some(goods)
            }
            Self::Cancel | Self::Extend { .. } | Self::Show => None,
        }
    }
}

/// A line of an order that nobody can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortLine {
    /// Which product.
    pub product: Product,
    /// Units that are free, in all: fewer than were wanted.
    pub free: u64,
    /// Units that are set aside, and may come back.
    pub held: u64,
}

impl Ask {
    /// What is wanted, of a hold or a sale.
    pub const fn want(&self) -> Option<&Want> {
        match self {
            Self::Hold { want, .. } | Self::Commit { want } | Self::Allow { want, .. } => {
                Some(want)
            }
            _ => None,
        }
    }

    /// Which member alone may do it, if one is named.
    pub const fn at(&self) -> Option<Member> {
        match self {
            Self::Restock { at, .. } | Self::WriteOff { at, .. } | Self::Account { at, .. } => {
                Some(*at)
            }
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
            Self::Hold { ttl_ms, .. }
            | Self::Extend { ttl_ms }
            | Self::Order(OrderAsk::Checkout { ttl_ms, .. } | OrderAsk::Extend { ttl_ms })
                if !(1..=hold_max_ms).contains(ttl_ms) =>
            {
                Err("time of a hold")
            }
            Self::Agree(terms) if terms.peers > PEERS_MAX => Err("peers of a stock"),
            Self::Account { sales, .. } if sales.len() > SALES_MAX => Err("sales"),
            Self::Account { sales, .. }
                if sales.iter().map(|(op, _)| op).collect::<BTreeSet<_>>().len() < sales.len() =>
            {
                Err("sales of one op id")
            }
            Self::Account { sales, .. }
                if sales.iter().any(|(_, want)| !is_units(want.quantity.into())) =>
            {
                Err("quantity")
            }
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
    /// Minted, written off, or agreed; or, between members, allowed.
    Done,
    /// Nobody has as many units. Nothing was changed.
    SoldOut {
        /// Units that are free, in all: fewer than were wanted.
        free: u64,
        /// Units that are set aside, and may come back.
        held: u64,
    },
    /// Of an order: nobody has as many units of these lines. Nothing was changed.
    Short {
        /// Ascending by product.
        lines: Vec<ShortLine>,
    },
    /// Another order has bought what this one is over. Void the payment.
    Conflicted {
        /// Which.
        with: OpId,
    },
    /// These members may have units, or hold what is asked for, and were not heard in time. Nothing
    /// was changed, as far as is known: ask again, under the same op id.
    Unavailable {
        /// Who.
        members: Vec<Member>,
    },
}

/// How an answer came by its units, for whoever measures: what a purchase waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Served {
    /// By whoever was asked, from what was there.
    #[default]
    Locally,
    /// By whoever was asked, after it had waited for rights of others.
    Borrowed,
    /// By another: the owner of the hold, or the keeper of the customer's limit.
    Forwarded,
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
/// `minted = available + held + sold + written_off + frozen`, always.
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
    /// Units of members that were closed, and are not accounted for: nobody sells them.
    pub frozen: u64,
}

impl Sheet {
    /// Units that no term accounts for; 0, or there is a bug.
    pub fn imbalance(&self) -> i128 {
        let terms = [self.available, self.held, self.sold, self.written_off, self.frozen];
        i128::from(self.minted) - terms.into_iter().map(i128::from).sum::<i128>()
    }
}

/// Units that one op id has set aside at one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The purchase.
    pub op: OpId,
    /// How many, and for whom.
    pub want: Want,
    /// Who holds them, and alone lets them go.
    pub owner: Member,
    /// Until then, in milliseconds since 1970, by the owner's clock.
    pub until_ms: u64,
}

/// Which holds of a stock to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldsOf {
    /// Those for this customer alone; `None`: all.
    pub customer: Option<Customer>,
    /// Those behind this op id; `None`: from the first.
    pub after: Option<OpId>,
}

/// A page of holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Ascending by op id. One that is held at several members stands here for each.
    pub holds: Vec<Hold>,
    /// Behind which op id the next page begins, shown or not; `None`: there is none.
    pub next: Option<OpId>,
}

/// A page of what one customer has set aside, of all stocks of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomerHolds {
    /// Ascending by stock (its length first) and op id; each with its stock.
    pub holds: Vec<(ObjectKey, Hold)>,
    /// Behind which op id of which stock the next page begins; `None`: there is none.
    pub next: Option<(ObjectKey, OpId)>,
}
