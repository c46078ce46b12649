//! Orders: what is bought of a cart, exactly once, whoever confirms it and however often.
//!
//! Question: two people look at one cart and both pay. Which entries are bought, and by whom?
//! Answer: an order names the entries that its buyer was shown, and what it takes is these and no
//! others. Of two confirmed orders over one entry the one with the lower id has it; the other is in
//! *conflict*, as a whole, and its payment is void. Nobody need ask anybody, and all see the same.
//!
//! ```text
//! State   order id -> (goods, stage, returned); goods never change: the id names them
//!         Open ──> Released (cancelled, lapsed)
//!           └────────┴────> Confirmed            and any of them, or none: returned
//! Join    by order id the later stage, and whether it is returned
//! O1      an entry names the orders over it that are not released (its *claims*): derived
//! O2      of the confirmed orders over an entry the lowest is the only one that may stand
//! O3      an order that does not stand never will, but for a lower one whose confirm was made
//!         before it was known that another had been confirmed
//! ```
//!
//! What it costs is rows: the order's, and one for each entry that it names.
//!
//! Units are not in here: they are records of the order's id in one stock a line (`stock/`), held
//! and sold in the commit that opens or confirms the order. An order in conflict is *returned* in
//! each of its stocks, by whoever owns a record of it.
//!
//! *Conflict is by confirmed orders, not by those that stand.* Three orders, the middle one over an
//! entry of each of the others: the lowest stands, the middle one is in conflict with it, and so is
//! the highest with the middle one, though that does not stand. To let it stand again when its
//! rival falls looks kinder. But whether the rival falls is known only when every lower order is,
//! so that a caller would be told "void" and then "sold". Here a conflict, once it is one, stays
//! one.
//!
//! The obvious way, to let the cart's entries decide (who confirms finds them, or finds them gone),
//! sells them twice: two replicas each find them.

mod goods;
mod shown;
mod steps;

pub use goods::{ENTRIES_MAX, Goods, LINES_MAX, OrderLine, Unfit};
pub use shown::{HeldOrder, ShownOrder, ShownOrders};
pub use steps::{OrderStep, apply, take_in};

use crate::codec::{DecodeError, Reader, put_u64};
use crate::dot::Dot;
use crate::lattice::Lattice;
use crate::op_id::OpId;
use crate::op_id_set::OpIdSet;
use crate::stock::{decode_dot, encode_dot};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::convert::Infallible;

/// How far an order has come, by what was done to it; whether it stands is `standing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Its units are set aside.
    Open,
    /// Cancelled or lapsed: they are free again.
    Released,
    /// It is paid for.
    Confirmed,
}

/// One order. Goods that differ under one id are a broken client's; of two any fixed choice
/// converges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What is bought, and of which entries.
    pub goods: Goods,
    /// How far it is.
    pub stage: Stage,
    /// It is over, bought or not: nothing is sold under its id any more.
    pub returned: bool,
    /// The lowest of the commits that opened, confirmed or returned it. Whoever has applied that
    /// one and has no such order has folded it.
    pub made: Dot,
}

impl Order {
    /// Whether it is named at its entries: who has let go stands in nobody's way, and is no rival
    /// until somebody confirms it.
    pub const fn has_claims(&self) -> bool {
        !matches!(self.stage, Stage::Released)
    }

    /// Whether this order, over an entry of the other, has it (O2).
    pub fn beats(&self, id: OpId, other: &Self, other_id: OpId) -> bool {
        self.stage == Stage::Confirmed && (other.stage != Stage::Confirmed || id < other_id)
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let stage = match self.stage {
            Stage::Open => 0,
            Stage::Released => 1,
            Stage::Confirmed => 2,
        };
        out.push(stage | if self.returned { 4 } else { 0 });
        encode_dot(self.made, out);
        self.goods.encode(out);
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = from.u8()?;
        let returned = tag & 4 > 0;
        let stage = match tag & !4 {
            0 => Stage::Open,
            1 => Stage::Released,
            2 => Stage::Confirmed,
            _ => return Err(DecodeError::UnknownTag { what: "stage of an order", tag }),
        };
        let made = decode_dot(from)?;
        Ok(Self { goods: Goods::decode(from)?, stage, returned, made })
    }
}

impl Lattice for Order {
    fn join(&mut self, other: &Self) {
        self.stage = self.stage.max(other.stage);
        self.made = self.made.min(other.made);
        self.returned |= other.returned;
        if other.goods.stays_before(&self.goods) {
            self.goods.clone_from(&other.goods);
        }
    }
}

/// Where an order stands, by what is known of it and of those over the same entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its units are set aside, and nobody else has bought what it is over.
    Open,
    /// It is cancelled, or has lapsed.
    Released,
    /// It is bought, as far as is known here.
    Confirmed,
    /// It is over, and nothing of it is sold.
    Returned,
    /// Another order has bought what this one is over. Void the payment.
    Conflicted {
        /// Which; of several the lowest.
        with: OpId,
    },
}

/// The orders of one cart, as rows. Reads see this commit's earlier writes.
pub trait OrderRows {
    /// Why rows could not be read.
    type Error;

    /// An order.
    fn order(&mut self, id: OpId) -> Result<Option<Order>, Self::Error>;
    /// Writes it.
    fn set_order(&mut self, id: OpId, order: Order) -> Result<(), Self::Error>;
    /// Forgets it.
    fn drop_order(&mut self, id: OpId) -> Result<(), Self::Error>;
    /// The orders over an entry (O1).
    fn claims(&mut self, entry: OpId) -> Result<OpIdSet, Self::Error>;
    /// Whether an order is among them, from now on.
    fn set_claim(&mut self, entry: OpId, id: OpId, is_over: bool) -> Result<(), Self::Error>;
}

/// Where an order stands; `None`: nothing is known of it. One look for each order over one of its
/// entries.
pub fn standing<R: OrderRows>(rows: &mut R, id: OpId) -> Result<Option<Standing>, R::Error> {
    let Some(order) = rows.order(id)? else { return Ok(None) };
    if order.returned {
        return Ok(Some(Standing::Returned));
    }
    let mut with: Option<OpId> = None;
    // Ascending: the first is the lowest.
    for other in rivals(rows, id, &order.goods)?.iter() {
        if rows.order(other)?.is_some_and(|it| it.beats(other, &order, id)) {
            with = Some(other);
            break;
        }
    }
    Ok(Some(match (with, order.stage) {
        (Some(with), _) => Standing::Conflicted { with },
        (None, Stage::Open) => Standing::Open,
        (None, Stage::Released) => Standing::Released,
        (None, Stage::Confirmed) => Standing::Confirmed,
    }))
}

/// The other orders over an entry of these goods that are not released.
pub fn rivals<R: OrderRows>(rows: &mut R, id: OpId, goods: &Goods) -> Result<OpIdSet, R::Error> {
    let mut all = OpIdSet::new();
    for line in goods.lines() {
        for entry in line.entries.iter() {
            let others = rows.claims(entry)?;
            for other in others.iter().filter(|other| *other != id) {
                all.insert(other);
            }
        }
    }
    Ok(all)
}

/// The orders of one cart in memory. See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    orders: BTreeMap<OpId, Order>,
    claims: BTreeMap<OpId, OpIdSet>,
}

impl Orders {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// All of them, ascending by id.
    pub fn all(&self) -> impl Iterator<Item = (OpId, &Order)> {
        self.orders.iter().map(|(id, order)| (*id, order))
    }

    /// Appends canonical bytes: equal orders, equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.orders.len() as u64);
        for (id, order) in &self.orders {
            out.extend_from_slice(id.as_bytes());
            order.encode(out);
        }
    }

    /// O1.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        if self.claims == self.derived() { Ok(()) } else { Err("O1: claims are not the orders'") }
    }

    fn derived(&self) -> BTreeMap<OpId, OpIdSet> {
        let mut claims: BTreeMap<OpId, OpIdSet> = BTreeMap::new();
        for (id, order) in self.orders.iter().filter(|(_, order)| order.has_claims()) {
            for entry in order.goods.entries() {
                claims.entry(entry).or_default().insert(*id);
            }
        }
        claims
    }
}

impl Lattice for Orders {
    fn join(&mut self, other: &Self) {
        for (id, order) in &other.orders {
            let mine = self.orders.entry(*id).and_modify(|mine| mine.join(order));
            mine.or_insert_with(|| order.clone());
        }
        self.claims = self.derived();
    }
}

impl OrderRows for Orders {
    type Error = Infallible;

    fn order(&mut self, id: OpId) -> Result<Option<Order>, Infallible> {
        Ok(self.orders.get(&id).cloned())
    }

    fn set_order(&mut self, id: OpId, order: Order) -> Result<(), Infallible> {
        self.orders.insert(id, order);
        Ok(())
    }

    fn drop_order(&mut self, id: OpId) -> Result<(), Infallible> {
        self.orders.remove(&id);
        Ok(())
    }

    fn claims(&mut self, entry: OpId) -> Result<OpIdSet, Infallible> {
        Ok(self.claims.get(&entry).cloned().unwrap_or_default())
    }

    fn set_claim(&mut self, entry: OpId, id: OpId, is_over: bool) -> Result<(), Infallible> {
        let claims = self.claims.entry(entry).or_default();
        if is_over {
            claims.insert(id);
        } else {
            *claims = claims.iter().filter(|other| *other != id).collect();
        }
        if claims.is_empty() {
            self.claims.remove(&entry);
        }
        Ok(())
    }
}
