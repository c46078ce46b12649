//! I3, I4 and I5 from the buyers' side: what they are told, beside what was ever minted.
//!
//! Judged when a replica says it. A purchase counts from the first COMMITTED that anybody is told
//! until its return is asked for, whether anybody is told of that or not; units count as minted
//! from when somebody asks for it. So whatever is lost on its way, too much is too much:
//!
//! ```text
//! I3  units of purchases that count <= units minted
//! I5  purchases that count, of a customer <= the limit
//! I4  who was told COMMITTED is told nothing else by anybody who knows of it, unless the return
//!     was asked for
//! K3  SOLD OUT is said by a view of all that any member had when the purchase came
//! ```
//!
//! At the end, with all members there, the stock says the same as its buyers: what it has sold are
//! the purchases that stand, each once, and what was minted is what was asked for and done.

use super::spec::View;
use super::{Breach, Checks, Verdict, sheets};
use crate::history::{History, Trade};
use crate::names::Names;
use crate::world::Node;
use orset::stock::{Ask, Customer, OrderAsk, Outcome, Refused, Sheet, Step};
use orset::{Dot, Effect, ObjectKey, Op, OpId, VersionVector};
use orset::{Lattice, Member};
use pannier_replica::protocol::stock::Talk;
use pannier_replica::protocol::{Refusal, Reply};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of one stock.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Units that somebody asked for to be minted, by op id; and those that were, as far as told.
    asked: BTreeMap<OpId, u64>,
    minted: BTreeMap<OpId, u64>,
    /// The same, of what is gone without a sale.
    gone_asked: BTreeMap<OpId, u64>,
    gone: BTreeMap<OpId, u64>,
    pub(super) sold: BTreeMap<OpId, (u64, Option<Customer>)>,
    limit: u64,
    peers: u8,
    /// Whoever has seen this knows these terms.
    agreed: Option<VersionVector>,
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Market {
    pub(super) stocks: BTreeMap<ObjectKey, Told>,
    pub(super) asked_back: BTreeSet<OpId>,
    /// Carts of which something was ordered; and orders that another has beaten.
    pub(super) carts: BTreeSet<ObjectKey>,
    pub(super) lost: BTreeSet<OpId>,
    /// Members come and go: it is not said here who they are, and who leaves lends unasked.
    changes: bool,
    /// What its replica had on disk when a call came, by its ticket; and what all members had.
    came: BTreeMap<u64, (VersionVector, Option<VersionVector>)>,
    /// Requests for units that were made: by whom, of whom, which.
    requests: BTreeSet<(Member, Member, ObjectKey, u64)>,
}

impl Market {
    /// Nothing was sold yet. `changes`: members come and go.
    pub fn new(changes: bool) -> Self {
        Self { changes, ..Self::default() }
    }
}

impl Told {
    fn kept<'a>(
        &'a self,
        back: &'a BTreeSet<OpId>,
    ) -> impl Iterator<Item = &'a (u64, Option<Customer>)> {
        self.sold.iter().filter(|(op, _)| !back.contains(*op)).map(|(_, sold)| sold)
    }

    fn units(&self, back: &BTreeSet<OpId>) -> u64 {
        self.kept(back).map(|(units, _)| units).sum::<u64>() + self.gone.values().sum::<u64>()
    }

    fn of(&self, customer: &Customer, back: &BTreeSet<OpId>) -> u64 {
        self.kept(back).filter(|(_, other)| other.as_ref() == Some(customer)).count() as u64
    }

    /// What is wrong with all that was told to be sold, if something is; and to that customer.
    pub(super) fn too_much(
        &self,
        customer: Option<&Customer>,
        back: &BTreeSet<OpId>,
    ) -> Option<String> {
        let (sold, minted) = (self.units(back), self.asked.values().sum::<u64>());
        if sold > minted {
            return Some(format!("{sold} units are sold of {minted}"));
        }
        let customer = customer.filter(|_| self.limit > 0)?;
        let has = self.of(customer, back);
        (has > self.limit).then(|| format!("{customer:?} has {has} of {}", self.limit))
    }
}

fn sells(op: &Op) -> bool {
    let Effect::Stock(steps) = &op.effect else { return false };
    steps.iter().any(|step| matches!(step, Step::Sell(_) | Step::Commit(_)))
}

impl Checks {
    /// Whether some purchase was told COMMITTED, and nobody asked for its return.
    pub fn was_sold(&self, op: OpId) -> bool {
        let told = self.market.stocks.values().any(|told| told.sold.contains_key(&op));
        told && !self.is_asked_back(op)
    }

    /// Units of a stock that are held, to one who has these commits.
    pub fn held(&self, stock: &ObjectKey, vector: &VersionVector) -> u64 {
        sheets::sheet(&self.ledger, stock, &View { vector, foreign: &[], own: None }).held
    }

    /// A call has come. Who says SOLD OUT to it must know what every member has now (K3 of the
    /// protocol).
    pub(super) fn trade_arrives(&mut self, place: usize, ticket: u64, nodes: &[Node]) {
        let is_whole = !self.market.changes && nodes.iter().all(|node| !node.dead);
        let all = is_whole.then(|| {
            let mut all = VersionVector::new();
            self.shadows.iter().for_each(|shadow| all.join(&shadow.durable));
            all
        });
        self.market.came.insert(ticket, (self.shadows[place].durable.clone(), all));
    }

    /// A member asks another for units.
    pub(super) fn asks_for_units(&mut self, from: Member, to: Member, talk: &Talk) {
        if let Talk::Borrow { object, number, .. } = talk {
            self.market.requests.insert((from, to, object.clone(), *number));
        }
    }

    /// Whether units are lent because somebody asked for them, by that request.
    pub(super) fn was_asked_for(&self, lender: Member, to: Member, of: &ObjectKey, n: u64) -> bool {
        self.market.changes || self.market.requests.contains(&(to, lender, of.clone(), n))
    }

    /// Somebody is about to ask.
    pub fn asks_for(&mut self, trade: &Trade) {
        if let Ask::Order(ask) = &trade.ask {
            self.market.carts.insert(trade.stock.clone());
            if let OrderAsk::Return { .. } = ask {
                self.market.asked_back.insert(trade.op);
            }
            return;
        }
        let told = self.market.stocks.entry(trade.stock.clone()).or_default();
        match &trade.ask {
            Ask::Restock { units, .. } => drop(told.asked.insert(trade.op, *units)),
            Ask::WriteOff { units, .. } => drop(told.gone_asked.insert(trade.op, *units)),
            Ask::Return => drop(self.market.asked_back.insert(trade.op)),
            _ => {}
        }
    }

    /// Whether somebody asked for that purchase to be over.
    pub fn is_asked_back(&self, op: OpId) -> bool {
        self.market.asked_back.contains(&op)
    }

    /// On how many others an answer of that stock must be to one who had seen `after`, by the terms
    /// as they were told.
    pub(super) fn peers_of_stock(&self, stock: &ObjectKey, after: &VersionVector) -> u32 {
        let Some(told) = self.market.stocks.get(stock) else { return 0 };
        let knows = |agreed: &VersionVector| self.whole(after).covers(&self.whole(agreed));
        if told.agreed.as_ref().is_some_and(knows) { told.peers.into() } else { 0 }
    }

    /// The same, of all stocks that a trade is about.
    pub(super) fn peers_of_trade(&self, trade: &Trade, after: &VersionVector) -> u32 {
        let Ask::Order(ask) = &trade.ask else { return self.peers_of_stock(&trade.stock, after) };
        let lines = ask.goods().into_iter().flat_map(|goods| goods.lines());
        let stocks = lines.filter_map(|line| super::till::stock_of(&trade.stock, line));
        stocks.map(|stock| self.peers_of_stock(&stock, after)).max().unwrap_or(0)
    }

    /// A replica answers a trade.
    pub(super) fn told(
        &mut self,
        place: usize,
        (ticket, number): (u64, usize),
        said: &Result<Reply, Refusal>,
        history: &History,
        names: &Names,
    ) -> Verdict {
        let Trade { op, stock, ask } = &history.trades[number];
        let came = self.market.came.remove(&ticket);
        if let Ask::Order(_) = ask {
            return self.order_told(place, (came, number), said, history, names);
        }
        self.note_lost(said);
        let market = &mut self.market;
        let is_back = market.asked_back.contains(op);
        let told = market.stocks.entry(stock.clone()).or_default();
        let breach = |what: String| {
            let (op, stock) = (names.op(*op), names.object(stock));
            let what = format!("r{place}, asked {ask:?} of {stock} as {op}: {what}");
            Err(Breach::new("stock", vec![op], what))
        };
        let is_sale = |dot: &Dot| {
            let ops = self.ledger.get(*dot).into_iter().flat_map(|it| &it.delta.ops);
            ops.filter(|it| it.id == *op).any(sells)
        };
        let sales = || self.ledger.of_op(*op).iter().filter(|dot| is_sale(dot));
        // What came into its round while it was decided, a replica may not have looked at.
        let (here, all) = came.unwrap_or_default();
        let knows_of_it = sales().any(|dot| here.contains(*dot));
        let stands = told.sold.contains_key(op) && !is_back;
        let reply = match said {
            Ok(Reply::Stock(reply) | Reply::StockUnreplicated { reply, .. }) => reply,
            Ok(other) => return breach(format!("answers {other:?}")),
            Err(Refusal::Stock(Refused::Returned)) if !is_back => {
                return breach("says that it is over, and nobody asked for that".into());
            }
            Err(Refusal::Stock(Refused::OverLimit { .. })) if stands && knows_of_it => {
                return breach("was told COMMITTED, and now that it is over the limit".into());
            }
            Err(Refusal::Stock(Refused::Differs) | Refusal::OpIdReused(_)) => {
                return breach("was never asked otherwise".into());
            }
            Err(_) => return Ok(()),
        };
        let is_asked = |came: &VersionVector| {
            self.closed.whole(&reply.vector).covers(&self.closed.whole(came))
        };
        match (&reply.outcome, ask) {
            (Outcome::SoldOut { .. }, _) if all.as_ref().is_some_and(|all| !is_asked(all)) => {
                return breach("says SOLD OUT by an older view than members had".into());
            }
            (Outcome::Committed, _) => {
                // Whoever lets go, or holds on to, what is sold is told so.
                let Some(want) = history.trades_of(*op, stock).find_map(Ask::want) else {
                    return breach("is told COMMITTED, and nobody asked for that".into());
                };
                told.sold.insert(*op, (want.quantity.into(), want.customer.clone()));
                let back = market.asked_back.union(&market.lost).copied().collect();
                if let Some(wrong) = told.too_much(want.customer.as_ref(), &back) {
                    return breach(wrong);
                }
            }
            // Whoever has not heard of the sale may say so (counterexample F3b).
            (Outcome::Expired | Outcome::SoldOut { .. }, Ask::Commit { .. })
                if stands && knows_of_it =>
            {
                return breach(format!("was told COMMITTED, and now {:?}", reply.outcome));
            }
            (Outcome::Returned, _) if !is_back => {
                return breach("is told that it is over, and nobody asked for that".into());
            }
            (Outcome::Done, Ask::Restock { units, .. }) => {
                told.minted.insert(*op, *units);
            }
            (Outcome::Done, Ask::WriteOff { units, .. }) => {
                told.gone.insert(*op, *units);
            }
            (Outcome::Done, Ask::Agree(terms)) => {
                (told.limit, told.peers) = (terms.limit, terms.peers);
                told.agreed.get_or_insert_with(|| VersionVector::clone(&reply.vector));
            }
            _ => {}
        }
        Ok(())
    }

    /// All is sold, and everybody is there: does the stock say what its buyers say? `sold`: units
    /// that were sold at the end; `stands`: of purchases that stand, if they were asked.
    pub fn market_is_balanced(
        &self,
        stock: &ObjectKey,
        sheet: &Sheet,
        ((sold, stands), may_be_left): ((u64, Option<u64>), bool),
        names: &Names,
    ) -> Verdict {
        let Some(told) = self.market.stocks.get(stock) else { return Ok(()) };
        let sum = |of: &BTreeMap<OpId, u64>| of.values().sum::<u64>();
        let breach = |what: String| {
            let stock = names.object(stock);
            let what = format!("{stock}: {what}; it shows {sheet:?}");
            Err(Breach::new("stock", vec![stock], what))
        };
        if sheet.imbalance() != 0 {
            return breach("its units do not add up".into());
        }
        let minted = sum(&told.minted)..=sum(&told.asked);
        if !minted.contains(&sheet.minted) {
            return breach(format!("{minted:?} units were minted"));
        }
        let gone = sum(&told.gone)..=sum(&told.gone_asked);
        if !gone.contains(&sheet.written_off) {
            return breach(format!("{gone:?} units are gone without a sale"));
        }
        // A hold that lapses late, by a clock that jumped, frees units while others are sold.
        if sheet.available > 0 && !may_be_left {
            return breach("everybody refused, and there are units".into());
        }
        let back = self.market.asked_back.union(&self.market.lost).copied().collect();
        let kept: u64 = told.kept(&back).map(|(units, _)| units).sum();
        if sheet.sold < kept {
            return breach(format!("{kept} units were told COMMITTED"));
        }
        match stands {
            Some(stands) if sheet.sold != sold + stands => {
                breach(format!("{sold} were sold at the end, and purchases of {stands} stand"))
            }
            _ => Ok(()),
        }
    }
}
