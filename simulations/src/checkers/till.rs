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
//! C4  what a commit does to one line of an order it does to all of them, and to the order
//! C5  whoever knows that an order has lost does not tell that it is bought
//! C6  what an order is over is asked of the cart once: whoever knows the order does not refuse it
//!     for what the cart shows by then
//! C7  what was let go, by its owner's clock or by somebody's word, is held no more: nobody who
//!     knows that extends it, or says that it is held
//!
//! C4 is looked for in the commits. From outside a line that is let go without the others cannot be
//! told from one that lapses a little later.

use super::market::Market;
use super::spec::View;
use super::{Breach, Checks, Verdict, spec};
use crate::coverage::{Coverage, Mark};
use crate::history::{History, Trade};
use crate::names::Names;
use orset::cart;
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

/// What a commit does to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Held,
    Sold,
    LetGo,
    /// What need not be done to all.
    Other,
}

impl Line {
    const fn of(step: &Step) -> Self {
        match step {
            Step::Hold(..) | Step::Tentative(..) => Self::Held,
            Step::Sell(_) | Step::Commit(_) => Self::Sold,
            Step::Release(_) => Self::LetGo,
            _ => Self::Other,
        }
    }
}

pub(super) fn stock_of(cart: &ObjectKey, line: &orset::order::OrderLine) -> Option<ObjectKey> {
    ObjectKey::new(Kind::Stock, cart.namespace(), line.product.as_bytes()).ok()
}

impl Checks {
    /// What a cart shows to one who has these commits.
    pub fn lines(&self, cart: &ObjectKey, vector: &VersionVector) -> Vec<cart::Line> {
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

    /// What an own commit of a member met.
    pub(super) fn note_order(&self, dot: Dot, op: &Op, coverage: &mut Coverage) {
        let Effect::Order(step) = &op.effect else { return };
        let does = |dot: &Dot, is: fn(&OrderStep) -> bool| {
            let ops = self.ledger.get(*dot).into_iter().flat_map(|it| &it.delta.ops);
            let steps = ops.filter(|it| it.id == op.id).map(|it| &it.effect);
            steps.into_iter().any(|it| matches!(it, Effect::Order(step) if is(step)))
        };
        let by = |dot: &Dot| self.ledger.get(*dot).and_then(|it| it.delta.member);
        let others = self.ledger.of_op(op.id).iter().filter(|other| by(other) != by(&dot));
        match step {
            OrderStep::Release => coverage.hit(Mark::OrderLapsed),
            OrderStep::Confirm(_) => {
                for other in others {
                    let is_twice = does(other, |step| matches!(step, OrderStep::Confirm(_)));
                    coverage.add(Mark::OrderTwice, is_twice.into());
                    let was_open = does(other, |step| matches!(step, OrderStep::Open(_)));
                    coverage.add(Mark::OrderElsewhere, was_open.into());
                }
            }
            OrderStep::Open(_) | OrderStep::Return(_) | OrderStep::Fold => {}
        }
    }

    /// An own commit of a member: what it does to the lines of the orders in it (C4).
    pub(super) fn lines_move_together(
        &self,
        place: usize,
        dot: Dot,
        history: &History,
        names: &Names,
    ) -> Verdict {
        let Some(committed) = self.ledger.get(dot) else { return Ok(()) };
        let ops = &committed.delta.ops;
        let ids: BTreeSet<OpId> = ops.iter().map(|op| op.id).collect();
        for id in ids {
            let mut asked = history.orders_of(id);
            let Some((cart, goods)) = asked.find_map(|(cart, ask)| Some((cart, ask.goods()?)))
            else {
                continue;
            };
            let steps_of = |stock: &ObjectKey| {
                let of_stock = ops.iter().filter(move |op| op.id == id && op.object == *stock);
                let steps = of_stock.filter_map(|op| match &op.effect {
                    Effect::Stock(steps) => Some(steps),
                    _ => None,
                });
                steps.flatten().map(Line::of).collect::<BTreeSet<Line>>()
            };
            let lines = goods.lines().iter().filter_map(|line| stock_of(cart, line));
            let lines: Vec<BTreeSet<Line>> = lines.map(|stock| steps_of(&stock)).collect();
            let of_order = ops.iter().filter(|op| op.id == id && op.object == *cart);
            let mut of_order = of_order.filter_map(|op| match &op.effect {
                Effect::Order(step) => Some(step),
                _ => None,
            });
            let is_alike = |what: Line| {
                let does = |line: &BTreeSet<Line>| line.contains(&what);
                lines.iter().all(does) || !lines.iter().any(does)
            };
            let all_sold = lines.iter().all(|line| line.contains(&Line::Sold));
            let is_sold = of_order.any(|step| matches!(step, OrderStep::Confirm(_)));
            let together = [Line::Held, Line::Sold, Line::LetGo].into_iter().all(is_alike);
            if together && is_sold == all_sold {
                continue;
            }
            let (name, dot) = (names.op(id), names.dot(dot));
            let what = format!("r{place} does {lines:?} to the lines of {name} in {dot}");
            return Err(Breach::new("orders", vec![name], what));
        }
        Ok(())
    }

    /// Whether somebody asked for this step of a stock by asking for an order.
    pub(super) fn is_asked_by_order(op: &Op, step: &Step, history: &History) -> bool {
        let of_line = |cart: &ObjectKey, goods: &Goods, want: &orset::stock::Want| {
            let line =
                goods.lines().iter().find(|line| stock_of(cart, line).as_ref() == Some(&op.object));
            line.is_some_and(|line| goods.want(line) == *want)
        };
        history.orders_of(op.id).any(|(cart, ask)| match (step, ask) {
            (Step::Hold(want, _) | Step::Tentative(want, _), OrderAsk::Checkout { goods, .. })
            | (Step::Sell(want), OrderAsk::Confirm { goods }) => of_line(cart, goods, want),
            (Step::Extend(..), OrderAsk::Extend { .. }) => true,
            // Asked for, or lost to another.
            (Step::Return, _) => true,
            _ => false,
        })
    }

    /// Whether an order is let go, by these commits (C7).
    fn is_let_go(&self, id: OpId, here: &VersionVector) -> bool {
        let dots = self.ledger.of_op(id).iter().filter(|dot| here.contains(**dot));
        let ops = dots.filter_map(|dot| self.ledger.get(*dot)).flat_map(|it| &it.delta.ops);
        let mut steps = ops.filter(|op| op.id == id).map(|op| &op.effect);
        steps.any(|it| matches!(it, Effect::Order(OrderStep::Release)))
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
        let (here, all) = came.unwrap_or_default();
        let orders = self.orders(cart, |dot| here.contains(dot));
        let reply = match said {
            Ok(Reply::Stock(reply) | Reply::StockUnreplicated { reply, .. }) => reply,
            Ok(other) => return breach(format!("answers {other:?}")),
            Err(Refusal::Stock(Refused::Differs) | Refusal::OpIdReused(_)) => {
                return breach("was never asked otherwise".into());
            }
            Err(Refusal::Stock(Refused::CartChanged)) if orders.contains_key(op) => {
                return breach("it is known there, and the cart was asked again".into());
            }
            Err(_) => return Ok(()),
        };
        let is_back = self.market.asked_back.contains(op);
        let was_confirmed = orders.get(op).is_some_and(|it| it.confirmed);
        let covers = |all: &VersionVector| self.whole(&reply.vector).covers(&self.whole(all));
        match &reply.outcome {
            Outcome::Committed if Self::lost(&orders).contains(op) => {
                breach("it is known there to have lost, and told COMMITTED".into())
            }
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
            // Whoever let it go tells its own; of another's commit it may hear while it decides.
            Outcome::Held { .. } if self.is_let_go(*op, &here) => {
                breach("it is known there to be let go, and told HELD".into())
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
