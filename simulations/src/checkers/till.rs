//! Orders, as a naive function of the commits there are, and beside what people at the till are
//! told.
//!
//! ```text
//! over(k)      the entries that the goods of k name, as in any commit of it
//! lost(k)      k is confirmed, and so is a lower one over an entry of k
//! stands(k)    k is confirmed, not lost, and not returned
//! ```
//!
//! C1  who was told COMMITTED has what the order names: units that were minted, in every stock
//! C2  who is told CONFLICTED is told so with an order that is confirmed, over an entry alike
//! C3  in the end each stock has sold what the orders that stand name, beside its purchases

use super::market::Market;
use super::spec::View;
use super::{Breach, Checks, Verdict, spec};
use crate::history::{History, Trade};
use crate::names::Names;
use orset::cart::Line;
use orset::order::{Goods, OrderStep};
use orset::stock::{Ask, OrderAsk, Outcome, Refused, Step};
use orset::{Dot, Effect, Kind, ObjectKey, Op, OpId, VersionVector};
use pannier_replica::protocol::{Refusal, Reply, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One order, by the commits there are.
#[derive(Clone, Debug)]
struct Known {
    goods: Goods,
    confirmed: bool,
    returned: bool,
}

pub(super) fn stock_of(cart: &ObjectKey, line: &orset::order::OrderLine) -> Option<ObjectKey> {
    ObjectKey::new(Kind::Stock, cart.namespace(), line.product.as_bytes()).ok()
}

impl Checks {
    /// What a cart shows to one who has these commits.
    pub fn lines(&self, cart: &ObjectKey, vector: &VersionVector) -> Vec<Line> {
        match spec::value(&self.ledger, cart, &View { vector, foreign: &[], own: None }) {
            Value::Cart(lines, _) => lines,
            _ => Vec::new(),
        }
    }

    /// The orders of a cart, by those commits.
    fn orders(&self, cart: &ObjectKey, has: impl Fn(Dot) -> bool) -> BTreeMap<OpId, Known> {
        let mut orders: BTreeMap<OpId, Known> = BTreeMap::new();
        for (dot, _, op) in self.ledger.of_object(cart) {
            let Effect::Order(step) = &op.effect else { continue };
            let Some(goods) = step.goods().filter(|_| has(dot)) else { continue };
            let fresh = Known { goods: goods.clone(), confirmed: false, returned: false };
            let it = orders.entry(op.id).or_insert(fresh);
            it.confirmed |= matches!(step, OrderStep::Confirm(_));
            it.returned |= matches!(step, OrderStep::Return(_));
        }
        orders
    }

    /// Those of them that are confirmed, and lost to a lower one.
    fn lost(orders: &BTreeMap<OpId, Known>) -> BTreeSet<OpId> {
        let confirmed = || orders.iter().filter(|(_, it)| it.confirmed);
        let mut lowest: BTreeMap<OpId, OpId> = BTreeMap::new();
        for (id, it) in confirmed() {
            for entry in it.goods.entries() {
                lowest.entry(entry).or_insert(*id);
            }
        }
        let is_lost = |(id, it): &(&OpId, &Known)| {
            it.goods.entries().any(|entry| lowest.get(&entry).is_some_and(|low| low < *id))
        };
        confirmed().filter(is_lost).map(|(id, _)| *id).collect()
    }

    /// Units of a stock that orders which stand have bought, to one who has these commits.
    pub fn bought(&self, stock: &ObjectKey, vector: &VersionVector) -> u64 {
        let mut units = 0;
        for cart in &self.market.carts {
            let orders = self.orders(cart, |dot| vector.contains(dot));
            let lost = Self::lost(&orders);
            for (id, it) in orders.iter().filter(|(_, it)| it.confirmed && !it.returned) {
                let lines = it.goods.lines().iter().filter(|_| !lost.contains(id));
                let of_stock = lines.filter(|line| stock_of(cart, line).as_ref() == Some(stock));
                units += of_stock.map(|line| u64::from(line.quantity)).sum::<u64>();
            }
        }
        units
    }

    /// Orders of a cart that have lost, by what some disk has.
    fn lost_somewhere(&self, cart: &ObjectKey) -> BTreeSet<OpId> {
        let has = |dot| self.shadows.iter().any(|shadow| shadow.durable.contains(dot));
        Self::lost(&self.orders(cart, has))
    }

    /// Somebody is told that something is sold: orders that have lost by then count no more.
    pub(super) fn note_lost(&mut self, said: &Result<Reply, Refusal>) {
        let Ok(Reply::Stock(reply) | Reply::StockUnreplicated { reply, .. }) = said else { return };
        if reply.outcome == Outcome::Committed {
            let carts = self.market.carts.iter();
            let lost: Vec<OpId> = carts.flat_map(|cart| self.lost_somewhere(cart)).collect();
            self.market.lost.extend(lost);
        }
    }

    /// An own commit about an order: somebody asked for that.
    pub(super) fn order_is_meant(
        &self,
        place: usize,
        op: &Op,
        step: &OrderStep,
        history: &History,
        names: &Names,
    ) -> Verdict {
        let is_asked = |ask: &Ask| match (step, ask) {
            (OrderStep::Open(made), Ask::Order(OrderAsk::Checkout { goods, .. }))
            | (OrderStep::Confirm(made), Ask::Order(OrderAsk::Confirm { goods }))
            | (OrderStep::Return(made), Ask::Order(OrderAsk::Return { goods })) => made == goods,
            // A member's own doing, of an order that was asked for.
            (OrderStep::Release | OrderStep::Fold, Ask::Order(_)) => true,
            _ => false,
        };
        if history.trades_of(op.id, &op.object).any(is_asked) {
            return Ok(());
        }
        let name = names.op(op.id);
        let what = format!("r{place} does {step:?} as {name}, and nobody asked for that");
        Err(Breach::new("orders", vec![name], what))
    }

    /// Whether somebody asked for this step of a stock by asking for an order.
    pub(super) fn is_asked_by_order(op: &Op, step: &Step, history: &History) -> bool {
        let of_line = |cart: &ObjectKey, goods: &Goods, want: &orset::stock::Want| {
            let line =
                goods.lines().iter().find(|line| stock_of(cart, line).as_ref() == Some(&op.object));
            line.is_some_and(|line| goods.want(line) == *want)
        };
        history.orders_of(op.id).any(|(cart, ask)| match (step, ask) {
            (Step::Hold(want, _), OrderAsk::Checkout { goods, .. })
            | (Step::Sell(want), OrderAsk::Confirm { goods }) => of_line(cart, goods, want),
            // Asked for, or lost to another.
            (Step::Return, _) => true,
            _ => false,
        })
    }

    /// Somebody at the till is answered.
    pub(super) fn order_told(
        &mut self,
        place: usize,
        (came, number): (Option<(VersionVector, Option<VersionVector>)>, usize),
        said: &Result<Reply, Refusal>,
        history: &History,
        names: &Names,
    ) -> Verdict {
        let Trade { op, stock: cart, ask } = &history.trades[number];
        let breach = |what: String| {
            let (op, cart) = (names.op(*op), names.object(cart));
            let what = format!("r{place}, asked {ask:?} of {cart} as {op}: {what}");
            Err(Breach::new("orders", vec![op], what))
        };
        let reply = match said {
            Ok(Reply::Stock(reply) | Reply::StockUnreplicated { reply, .. }) => reply,
            Ok(other) => return breach(format!("answers {other:?}")),
            Err(Refusal::Stock(Refused::Differs) | Refusal::OpIdReused(_)) => {
                return breach("was never asked otherwise".into());
            }
            Err(_) => return Ok(()),
        };
        let (here, all) = came.unwrap_or_default();
        let is_back = self.market.asked_back.contains(op);
        let orders = self.orders(cart, |dot| here.contains(dot));
        let was_confirmed = orders.get(op).is_some_and(|it| it.confirmed);
        let covers = |all: &VersionVector| self.whole(&reply.vector).covers(&self.whole(all));
        match &reply.outcome {
            Outcome::Committed => {
                let goods = history.orders_of(*op).find_map(|(_, ask)| match ask {
                    OrderAsk::Confirm { goods } => Some(goods.clone()),
                    _ => None,
                });
                let Some(goods) = goods else {
                    return breach("is told COMMITTED, and nobody asked for that".into());
                };
                self.note_lost(said);
                if let Some(what) = self.market.ordered(cart, *op, &goods) {
                    return breach(what);
                }
                Ok(())
            }
            // Whoever has not heard of its confirm may say so.
            Outcome::Expired if was_confirmed && !is_back => {
                breach("it is confirmed there, and told EXPIRED".into())
            }
            Outcome::Returned if !is_back => {
                breach("is told that it is over, and nobody asked for that".into())
            }
            Outcome::Conflicted { with } => {
                let any = self.orders(cart, |_| true);
                let is_over = |it: &Known| {
                    let mine: BTreeSet<OpId> = history
                        .orders_of(*op)
                        .filter_map(|(_, ask)| ask.goods())
                        .flat_map(Goods::entries)
                        .collect();
                    it.goods.entries().any(|entry| mine.contains(&entry))
                };
                if any.get(with).is_some_and(|it| it.confirmed && is_over(it)) {
                    Ok(())
                } else {
                    breach(format!("lost to {}, which has bought nothing of it", names.op(*with)))
                }
            }
            Outcome::Short { .. } if all.as_ref().is_some_and(|all| !covers(all)) => {
                breach("says SHORT by an older view than members had".into())
            }
            Outcome::SoldOut { .. } | Outcome::Done => breach(format!("{:?}", reply.outcome)),
            _ => Ok(()),
        }
    }
}

impl Market {
    /// An order is told to be bought; what is wrong with that, if something is.
    fn ordered(&mut self, cart: &ObjectKey, op: OpId, goods: &Goods) -> Option<String> {
        let back: BTreeSet<OpId> = self.asked_back.union(&self.lost).copied().collect();
        for line in goods.lines() {
            let told = self.stocks.entry(stock_of(cart, line)?).or_default();
            told.sold.insert(op, (line.quantity.into(), goods.customer().cloned()));
            if let Some(wrong) = told.too_much(goods.customer(), &back) {
                return Some(wrong);
            }
        }
        None
    }
}
