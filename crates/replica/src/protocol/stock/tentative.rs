//! Tentative limits: anybody holds, and what is held is sold when the customer's keeper allows it.
//!
//! Question: with a limit every hold waits for the customer's keeper, and while that one is away a
//! customer can set nothing aside. May it not, and be held to its limit when it pays? Answer: a
//! member holds by what it sees, and asks before it *sells*.
//!
//! ```text
//! hold    ──> here: not over the limit by this view: held, tentatively
//! commit  ──> here ── Do(Allow) ──> keeper: one too many: refused; let go here, at once
//!                                     └── else a step of its own: this record may be sold
//!              ┌──────── Did ─────────┘   (synced, and where the terms ask for it on peers)
//!              └── that commit is applied here: sold
//! ```
//!
//! N1  who does not keep the customer sells a tentative hold only when the keeper's commit that
//!     allows *that record* is applied here: not by the answer, which may come from a commit that a
//!     crash has undone. So wherever the sale is known, the word that it rests on is, too.
//! N2  what the keeper allows it counts from that moment until it sees the record given back, and
//!     nobody but the record's owner, who was asked, moves it on. To allow the *op id* would not
//!     do: of two holds of it one lapses, the customer's place is given away, and the other is sold
//!     by the old word (`every_planted_bug_is_found`, `crates/orset/tests/stock_tentative.rs`).
//! N3  the mark is in the record, not in the terms: when a stock becomes strict, what is held
//!     tentatively still asks; when it becomes tentative, what its keepers have held is counted.
//! N4  the keeper's own holds count at once, if it has heard whom it must (`keeping.rs`); else it
//!     holds as anybody does.
//! N5  what waits for a keeper's word is bounded like all that is passed on, and ends at the same
//!     time: "unavailable", and the hold stands.
//!
//! An order with several such lines asks for one after the other.

use super::ask::Call;
use super::calls::Tried;
use super::passing::Passed;
use super::talk::Said;
use crate::protocol::Protocol;
use crate::protocol::canary::Canary;
use crate::protocol::command::{Refusal, Ticket};
use crate::protocol::rows::Base;
use crate::protocol::time::Now;
use crate::store::StoreError;
use orset::stock::{self, Customer, Outcome, RecordId, Refused, Step, Want};
use orset::{Member, ObjectKey, VersionVector};

/// A hold that a customer's keeper is asked about.
#[derive(Clone, Debug)]
pub(in crate::protocol) struct Allowing {
    pub stock: ObjectKey,
    pub id: RecordId,
    pub want: Want,
    pub keeper: Member,
}

/// Whether a tentative hold of this member's may be sold.
pub(in crate::protocol) enum May {
    /// This member keeps the customer, and lets it pass.
    Sell,
    /// The same, and does not.
    Not(Refused),
    /// It keeps the customer, and must hear these first.
    NotYet(Vec<Member>),
    /// Another keeps the customer.
    Ask(Allowing),
}

/// A keeper has said its word: what it is about, and the commit has yet to come.
#[derive(Clone, Debug)]
pub(super) struct Word {
    passed: Passed,
    keeper: Member,
    vector: VersionVector,
}

impl<B: Base> Protocol<B> {
    /// Whether this member keeps a customer, and may decide for it now (N4).
    pub(in crate::protocol) fn is_sure_of(
        &mut self,
        stock: &ObjectKey,
        customer: Option<&Customer>,
    ) -> bool {
        let own = self.member;
        let keeper = customer.and_then(|customer| self.keeper_for(stock, customer));
        keeper.is_none_or(|keeper| keeper == own) && self.keeps_not_yet().is_empty()
    }

    /// Whether a tentative hold of this member's may be sold, or whom to ask.
    pub(in crate::protocol) fn may_sell(
        &mut self,
        stock: &ObjectKey,
        id: RecordId,
        want: &Want,
    ) -> Result<May, StoreError> {
        if self.canary == Canary::SoldTentatively {
            return Ok(May::Sell);
        }
        let keeper = want.customer.as_ref().and_then(|it| self.keeper_for(stock, it));
        if let Some(keeper) = keeper.filter(|keeper| *keeper != self.member) {
            return Ok(May::Ask(Allowing { stock: stock.clone(), id, want: want.clone(), keeper }));
        }
        let unheard = self.keeps_not_yet();
        if !unheard.is_empty() {
            return Ok(May::NotYet(unheard));
        }
        let refused = stock::sold_over_limit(&mut self.stock(stock, id.op)?, id.op, want)?;
        Ok(refused.map_or(May::Sell, May::Not))
    }

    /// The keeper has been asked, and its answer is there.
    pub(super) fn keeper_said(
        &mut self,
        (passed, allowing): (Passed, Allowing),
        said: Said,
        vector: VersionVector,
        now: Now,
    ) -> Result<(), StoreError> {
        let Passed { ticket, call, .. } = &passed;
        let (ticket, op, keeper) = (*ticket, call.op, allowing.keeper);
        let refusal = match said {
            // An answer here rests on as many members as the terms ask for, the word with it.
            Said::Answer(Outcome::Done | Outcome::Committed | Outcome::Expired)
            | Said::Short(Outcome::Done | Outcome::Committed | Outcome::Expired, ..) => {
                if self.canary == Canary::AllowedUncounted && self.may_tend() {
                    self.make(&allowing.stock, op, vec![Step::Allow(allowing.id)])?;
                }
                let id = self.passing.fresh();
                self.passing.words.insert(id, Word { passed, keeper, vector });
                self.pull_now(now);
                return self.settle_words(now);
            }
            Said::Answer(Outcome::Unavailable { members }) => {
                self.answer_call(ticket, Outcome::Unavailable { members }, None);
                return Ok(());
            }
            Said::Answer(_) | Said::Short(..) | Said::Not => {
                self.keeper_away(ticket, keeper);
                return Ok(());
            }
            Said::Refused(refused) => Refusal::Stock(refused),
            Said::OpIdReused => Refusal::OpIdReused(op),
            Said::TooOld(born_ms, cut_ms) => Refusal::TooOld { op, born_ms, cut_ms },
        };
        if self.is_sold(call)? {
            // Whoever keeps the customer had not heard of it.
            return self.decide_again(ticket, passed.call, now);
        }
        if let Refusal::Stock(refused @ Refused::OverLimit { .. }) = refusal {
            return self.not_allowed(ticket, &allowing.stock, allowing.id, refused, now);
        }
        self.refuse(ticket, refusal);
        Ok(())
    }

    /// One too many: units that will never be sold come back at once.
    pub(in crate::protocol) fn not_allowed(
        &mut self,
        ticket: Ticket,
        stock: &ObjectKey,
        id: RecordId,
        refused: Refused,
        now: Now,
    ) -> Result<(), StoreError> {
        if self.is_round_full() {
            self.commit(now)?;
        }
        let own = self.member;
        let records = stock::StockRows::records(&mut self.stock(stock, id.op)?, id.op)?;
        let is_it = |it: &stock::Record| it.owner == own && it.is_held() && it.tentative;
        let stands = records.iter().any(|(dot, it)| *dot == id.dot && is_it(it));
        if stands && self.may_tend() {
            self.stats.holds_not_allowed += 1;
            self.let_go(stock, id, own)?;
        }
        self.refuse(ticket, Refusal::Stock(refused));
        Ok(())
    }

    /// The keeper was not heard: the hold stands.
    pub(super) fn keeper_away(&mut self, ticket: Ticket, keeper: Member) {
        self.stats.keepers_away += 1;
        self.answer_call(ticket, Outcome::Unavailable { members: vec![keeper] }, None);
    }

    /// Decides what has waited for a keeper's word, when the commit that says it is here (N1).
    pub(in crate::protocol) fn settle_words(&mut self, now: Now) -> Result<(), StoreError> {
        if self.passing.words.is_empty() {
            return Ok(());
        }
        let ids: Vec<u64> = self.passing.words.keys().copied().collect();
        for id in ids {
            let Some(word) = self.passing.words.remove(&id) else { continue };
            // What lay above where an origin was closed, nobody has any more.
            let is_gone = |dot: orset::Dot| {
                self.membership().final_of(dot.origin).is_some_and(|last| dot.seq > last)
            };
            let is_here = word.vector.iter().all(|dot| self.has(dot) || is_gone(dot));
            let Passed { ticket, until_us, .. } = word.passed;
            if is_here {
                self.stats.sold_by_word += 1;
                self.decide_again(ticket, word.passed.call, now)?;
            } else if now.mono_us >= until_us {
                self.keeper_away(ticket, word.keeper);
            } else {
                self.passing.words.insert(id, word);
            }
        }
        Ok(())
    }

    fn decide_again(&mut self, ticket: Ticket, call: Call, now: Now) -> Result<(), StoreError> {
        self.passing.serves = Some(ticket);
        let tried = self.decide_call(ticket, &call, now)?;
        self.passing.serves = None;
        match tried {
            Tried::Over => Ok(()),
            Tried::Short => self.wait_for_rights(ticket, call, now),
            Tried::Pass(member) => self.pass(ticket, call, member, now),
        }
    }
}
