//! Steps of a stock as a member commits them: of what somebody asked for, there, and as it was
//! asked.
//!
//! What a member does of itself (it lends, settles doubles, lets lapsed holds go, folds) moves
//! units about and makes none; what makes, sells or ends must have been asked for under that very
//! op id.

use super::{Breach, Checks, Verdict};
use crate::history::{History, Trade};
use crate::names::Names;
use orset::order::OrderStep;
use orset::stock::{Ask, Outcome, Step};
use orset::{Dot, Effect, Member, Op, VersionVector};
use pannier_replica::protocol::Reply;
use pannier_replica::protocol::stock::StockReply;

impl Checks {
    /// One op of a commit of `member`, at `place`.
    pub(super) fn steps_are_meant(
        &self,
        (place, member): (usize, Option<Member>),
        op: &Op,
        steps: &[Step],
        history: &History,
        names: &Names,
    ) -> Verdict {
        for step in steps {
            let is_asked = |ask: &Ask| match (step, ask) {
                (Step::Mint(made), Ask::Restock { units, at }) => {
                    made == units && member == Some(*at)
                }
                (Step::WriteOff(gone), Ask::WriteOff { units, at }) => {
                    gone == units && member == Some(*at)
                }
                (Step::Hold(want, _) | Step::Tentative(want, _), Ask::Hold { want: asked, .. }) => {
                    want == asked
                }
                (Step::Sell(want), Ask::Commit { want: asked }) => want == asked,
                (Step::Extend(..), Ask::Extend { .. }) => true,
                (Step::Return, Ask::Return) => true,
                (Step::Agree(stamped), Ask::Agree(terms)) => stamped.terms == *terms,
                _ => false,
            };
            if let (Step::Lend(to, answered), Some(lender)) = (step, member)
                && !self.was_asked_for(lender, *to, &op.object, answered.number)
            {
                let what = format!("r{place} does {step:?}, and nobody made that request");
                return Err(Breach::new("stock", vec![format!("r{place}")], what));
            }
            let own = matches!(
                step,
                Step::Commit(_)
                    | Step::Release(_)
                    | Step::GiveBack(_)
                    | Step::Lend(..)
                    | Step::Fold(_)
                    | Step::Allow(_)
            );
            let by_order = || Self::is_asked_by_order(op, step, history);
            if !own && !history.trades_of(op.id, &op.object).any(is_asked) && !by_order() {
                let name = names.op(op.id);
                let what = format!("r{place} does {step:?} as {name}, and nobody asked for that");
                return Err(Breach::new("stock", vec![name], what));
            }
        }
        Ok(())
    }

    /// An answer to a trade: what was done under its op id, as far as it speaks of that, is on disk
    /// at one member (another may have decided), and at as many more as the terms ask.
    pub(super) fn trade_rests_on_logs(
        &self,
        (place, ticket): (usize, u64),
        reply: &Reply,
        (trade, after): (&Trade, &VersionVector),
        names: &Names,
    ) -> Verdict {
        let vector = self.whole(reply.vector());
        let asked = match reply {
            Reply::Stock(_) => self.peers_of_trade(trade, after),
            _ => 0,
        };
        if let Reply::Stock(StockReply { outcome, .. }) = reply
            && matches!(
                outcome,
                Outcome::SoldOut { .. }
                    | Outcome::Unavailable { .. }
                    | Outcome::Short { .. }
                    | Outcome::Conflicted { .. }
            )
        {
            return Ok(());
        }
        let spoken_of = self.ledger.of_op(trade.op).iter().filter(|dot| vector.contains(**dot));
        let rests = |dot: &&Dot| self.does(**dot, trade, outcome_of(reply));
        let spoken_of: Vec<Dot> = spoken_of.filter(rests).copied().collect();
        let on = |dot: &Dot| {
            let alone: VersionVector = std::iter::once(*dot).collect();
            self.shadows.iter().filter(|it| it.has(&alone, place)).count()
        };
        // Of two sales under one op id one is enough.
        let most = spoken_of.iter().map(on).max();
        if most.is_some_and(|most| most < 1 + asked as usize) {
            let op = names.op(trade.op);
            let dots: Vec<String> = spoken_of.iter().map(|dot| names.dot(*dot)).collect();
            let (dots, must) = (dots.join(" "), 1 + asked);
            let what = format!(
                "answer @{ticket} of r{place} speaks of {op}, which is done in {dots}; that is not \
                 synced at {must}"
            );
            return Err(Breach::new("durability", vec![op], what));
        }
        let Reply::Stock(reply) = reply else { return Ok(()) };
        let is_done = reply.dot.is_none_or(|dot| self.ledger.of_op(trade.op).contains(&dot));
        if is_done {
            return Ok(());
        }
        let op = names.op(trade.op);
        let what = format!("{op} is answered, and stands in no synced commit");
        Err(Breach::new("acknowledged writes", vec![op], what))
    }
    /// Whether a commit did for a trade what is told of it.
    fn does(&self, dot: Dot, trade: &Trade, outcome: Option<&Outcome>) -> bool {
        let ops = self.ledger.get(dot).into_iter().flat_map(|it| &it.delta.ops);
        let ops = ops.filter(|op| op.id == trade.op && op.object == trade.stock);
        let does_order = |step: &OrderStep| match outcome {
            Some(Outcome::Committed) => matches!(step, OrderStep::Confirm(_)),
            Some(Outcome::Held { .. }) => matches!(step, OrderStep::Open(_)),
            Some(Outcome::Expired) => matches!(step, OrderStep::Release),
            Some(Outcome::Returned) => matches!(step, OrderStep::Return(_)),
            _ => false,
        };
        let mut orders = ops.clone().filter_map(|op| match &op.effect {
            Effect::Order(step) => Some(step),
            _ => None,
        });
        if orders.any(does_order) {
            return true;
        }
        let steps = ops.filter_map(|op| match &op.effect {
            Effect::Stock(steps) => Some(steps),
            _ => None,
        });
        steps.flatten().any(|step| match outcome {
            Some(Outcome::Committed) => matches!(step, Step::Sell(_) | Step::Commit(_)),
            Some(Outcome::Held { .. }) => step.is_hold() || matches!(step, Step::Extend(..)),
            Some(Outcome::Expired) => matches!(step, Step::Release(_) | Step::GiveBack(_)),
            Some(Outcome::Returned) => matches!(step, Step::Return),
            _ => true,
        })
    }
}

const fn outcome_of(reply: &Reply) -> Option<&Outcome> {
    match reply {
        Reply::Stock(reply) | Reply::StockUnreplicated { reply, .. } => Some(&reply.outcome),
        _ => None,
    }
}
