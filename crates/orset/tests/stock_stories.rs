//! Stock, one story each: what broke earlier drafts of the protocol, and what a shop would ask.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

use orset::stock::{
    Answer, Answered, Closed, Customer, Heirs, Refused, Stamped, Step, StockRows, Terms, Verdict,
    Want, apply, available, commit, commit_here, extend, fold, hold, lend, mint, over_limit,
    release, return_op, settle,
};
use orset::{Dot, HybridTime, Member, OpId, OpIdSession, Origin, Stock};

const A: Member = Member::from_bytes([1; 16]);
const B: Member = Member::from_bytes([2; 16]);

fn op(n: u64) -> OpId {
    OpIdSession::new(1_700_000_000, n).next_id().unwrap()
}

fn dot(of: Member, seq: u64) -> Dot {
    // The origins of A are below those of B.
    let origin = if of == A { [1; 16] } else { [2; 16] };
    Dot::new(Origin::from_bytes(origin), seq)
}

fn want(quantity: u32) -> Want {
    Want { quantity, customer: Some(Customer::new(b"ada").unwrap()) }
}

fn agreed(at: u64, limit: u64) -> Step {
    let terms = Terms { limit, ..Terms::default() };
    Step::Agree(Stamped { stamp: HybridTime::from_bits(at), terms })
}

/// One view, and what its members commit into it.
#[derive(Clone, Default)]
struct View {
    stock: Stock,
    heirs: Heirs,
    seq: u64,
}

impl View {
    fn with(units: &[(Member, u64)]) -> Self {
        let mut it = Self::default();
        for (member, units) in units {
            it.takes(*member, op(1_000), &[Step::Mint(*units)]);
        }
        it
    }

    fn takes(&mut self, by: Member, op: OpId, steps: &[Step]) -> Dot {
        self.seq += 1;
        let dot = dot(by, self.seq);
        let Ok(applied) = apply(&mut self.stock, &self.heirs, by, op, steps, dot);
        assert!(!applied.is_short && !applied.is_odd, "{steps:?}");
        dot
    }

    /// Does what was decided, and says the answer.
    fn does(&mut self, by: Member, op: OpId, verdict: Verdict) -> (Answer, Vec<Dot>) {
        let Verdict::Do { steps, answer, mut rests } = verdict else { panic!("{verdict:?}") };
        if !steps.is_empty() {
            rests.push(self.takes(by, op, &steps));
        }
        (answer, rests)
    }

    fn holds(&mut self, by: Member, op: OpId, units: u32) -> Verdict {
        let Ok(verdict) = hold(&mut self.stock, &self.heirs, by, op, &want(units), (100, false));
        verdict
    }

    fn commits(&mut self, by: Member, op: OpId, units: u32) -> Verdict {
        let Ok(verdict) = commit(&mut self.stock, &self.heirs, by, op, &want(units));
        verdict
    }

    fn settles(&mut self, by: Member, op: OpId) -> Vec<Step> {
        let Ok(steps) = settle(&mut self.stock, &self.heirs, by, op);
        if !steps.is_empty() {
            self.takes(by, op, &steps);
        }
        steps
    }

    fn has(&mut self, member: Member) -> i128 {
        let Ok(has) = available(&mut self.stock, &self.heirs, member);
        has
    }
}

#[test]
fn a_hold_is_sold_and_each_retry_says_so_and_rests_on_it() {
    let mut it = View::with(&[(A, 5)]);
    let verdict = it.holds(A, op(1), 2);
    let (held, _) = it.does(A, op(1), verdict);
    assert_eq!((held, it.has(A)), (Answer::Held { until_ms: 100 }, 3));
    let verdict = it.holds(A, op(1), 2);
    assert_eq!(it.does(A, op(1), verdict).0, held, "a retry holds nothing more");
    let verdict = it.commits(A, op(1), 2);
    let (_, rests) = it.does(A, op(1), verdict);
    // F1: an answer that makes no step rests on what it reports, wherever it is asked for.
    for member in [A, B] {
        let verdict = it.commits(member, op(1), 2);
        assert_eq!(it.does(member, op(1), verdict), (Answer::Committed, rests.clone()));
    }
    assert_eq!(it.has(A), 3);
}

#[test]
fn a_second_hold_is_asked_of_the_owner_of_the_first() {
    let mut it = View::with(&[(A, 5), (B, 5)]);
    let verdict = it.holds(A, op(1), 2);
    it.does(A, op(1), verdict);
    assert_eq!(it.holds(B, op(1), 2), Verdict::Ask(A));
    assert_eq!(it.commits(B, op(1), 2), Verdict::Ask(A));
    assert_eq!(it.holds(B, op(1), 3), Verdict::Refused(Refused::Differs));
}

/// F3: the owner had let the hold go because the op id was sold elsewhere, and told the client that
/// it had expired: the payment of a sold order was voided.
#[test]
fn a_hold_that_was_let_go_for_a_sale_elsewhere_is_not_expired() {
    let mut it = View::with(&[(A, 5), (B, 5)]);
    let verdict = it.holds(A, op(1), 2);
    it.does(A, op(1), verdict);
    let Ok(elsewhere) = commit_here(&mut it.stock, &it.heirs, B, &want(2));
    let (_, rests) = it.does(B, op(1), elsewhere);
    assert!(matches!(it.settles(A, op(1))[..], [Step::Release(_)]));
    let verdict = it.commits(A, op(1), 2);
    assert_eq!(it.does(A, op(1), verdict), (Answer::Committed, rests));
    assert_eq!((it.has(A), it.has(B)), (5, 3));
}

/// D1: of two that were sold the lower stays, whoever looks first; to refund one's own because
/// there is another would refund both.
#[test]
fn of_two_sales_of_one_op_id_the_lower_stays() {
    for first in [A, B] {
        let mut it = View::with(&[(A, 5), (B, 5)]);
        for member in [A, B] {
            it.takes(member, op(1), &[Step::Sell(want(2))]);
        }
        let second = if first == A { B } else { A };
        for member in [first, second, first] {
            it.settles(member, op(1));
        }
        assert_eq!((it.has(A), it.has(B)), (3, 5), "{first} looks first");
    }
}

#[test]
fn what_is_returned_is_over_for_whoever_comes_later() {
    let mut it = View::with(&[(A, 5), (B, 5)]);
    let verdict = it.holds(A, op(1), 2);
    it.does(A, op(1), verdict);
    // At any member, the owner's hold is the owner's to give back.
    let Ok(returned) = return_op(&mut it.stock, &it.heirs, B, op(1));
    it.does(B, op(1), returned);
    assert_eq!(it.commits(A, op(1), 2), Verdict::Refused(Refused::Returned));
    assert_eq!(it.holds(B, op(1), 2), Verdict::Refused(Refused::Returned));
    // D3: so is what was sold before the mark came.
    it.takes(A, op(1), &[Step::Sell(want(2))]);
    assert_eq!(it.settles(A, op(1)).len(), 2);
    assert_eq!((it.has(A), it.has(B)), (5, 5));
    let Ok(again) = return_op(&mut it.stock, &it.heirs, A, op(1));
    assert_eq!(it.does(A, op(1), again), (Answer::Returned, vec![]));
}

#[test]
fn a_hold_may_be_longer_never_shorter_and_once_over_stays_over() {
    let mut it = View::with(&[(A, 5)]);
    let Ok(unknown) = extend(&mut it.stock, &it.heirs, A, op(1), 200);
    assert_eq!(unknown, Verdict::Refused(Refused::Unknown));
    let verdict = it.holds(A, op(1), 2);
    it.does(A, op(1), verdict);
    for (asked, until_ms) in [(200, 200), (150, 200)] {
        let Ok(verdict) = extend(&mut it.stock, &it.heirs, A, op(1), asked);
        assert_eq!(it.does(A, op(1), verdict).0, Answer::Held { until_ms });
    }
    let Ok(lapsed) = release(&mut it.stock, &it.heirs, A, op(1));
    assert_eq!(it.does(A, op(1), lapsed).0, Answer::Expired);
    for verdict in [it.commits(A, op(1), 2), it.holds(A, op(1), 2)] {
        assert_eq!(it.does(A, op(1), verdict).0, Answer::Expired);
    }
    assert_eq!(it.has(A), 5);
}

#[test]
fn a_request_for_rights_that_comes_again_is_answered_and_not_granted_again() {
    let mut it = View::with(&[(A, 10)]);
    let asked = |it: &mut View, number, want, keep| {
        let Ok(verdict) = lend(&mut it.stock, &it.heirs, A, (B, number), want, keep);
        it.does(A, op(7), verdict).0
    };
    // Half of what there is, or what is wanted, whichever is more; not what is kept.
    let first = Answer::Lent(Answered { number: 1, granted: 5 });
    assert_eq!(asked(&mut it, 1, 2, 0), first);
    assert_eq!(asked(&mut it, 1, 2, 0), first);
    assert_eq!(asked(&mut it, 2, 5, 2), Answer::Lent(Answered { number: 2, granted: 3 }));
    assert_eq!(asked(&mut it, 3, 5, 2), Answer::Lent(Answered { number: 3, granted: 0 }));
    assert_eq!((it.has(A), it.has(B)), (2, 8));
    assert_eq!(it.commits(A, op(1), 3), Verdict::Short { available: 2 });
}

#[test]
fn a_limit_counts_purchases_and_not_records_units_or_what_came_back() {
    let mut it = View::with(&[(A, 9), (B, 9)]);
    let over = |it: &mut View, n| {
        let Ok(over) = over_limit(&mut it.stock, op(n), &want(3));
        over
    };
    it.takes(A, op(1_001), &[agreed(2, 1)]);
    assert_eq!(over(&mut it, 1), None);
    for member in [A, B] {
        it.takes(member, op(1), &[Step::Sell(want(3))]);
    }
    assert_eq!(over(&mut it, 1), None, "a retry is no second purchase");
    assert_eq!(over(&mut it, 2), Some(Refused::OverLimit { has: 1, limit: 1 }));
    it.settles(B, op(1));
    assert_eq!(over(&mut it, 2), Some(Refused::OverLimit { has: 1, limit: 1 }));
    // Forgotten is not returned.
    for member in [A, B] {
        let Ok(steps) = fold(&mut it.stock, &it.heirs, member, op(1));
        it.takes(member, op(1), &steps);
    }
    assert_eq!(it.stock.all().count(), 0);
    assert_eq!(over(&mut it, 2), Some(Refused::OverLimit { has: 1, limit: 1 }));
    let nobody = Want { customer: None, ..want(1) };
    let Ok(unnamed) = over_limit(&mut it.stock, op(3), &nobody);
    assert_eq!(unnamed, Some(Refused::NoCustomer));
}

/// F4: folded before its double was given back, a sale would take its units twice.
#[test]
fn nothing_is_forgotten_while_something_is_held_or_sold_twice() {
    let mut it = View::with(&[(A, 9), (B, 9)]);
    it.takes(A, op(1), &[Step::Hold(want(2), 100)]);
    let folds = |it: &mut View| {
        let Ok(steps) = fold(&mut it.stock, &it.heirs, A, op(1));
        steps.len()
    };
    assert_eq!(folds(&mut it), 0);
    let verdict = it.commits(A, op(1), 2);
    it.does(A, op(1), verdict);
    it.takes(B, op(1), &[Step::Sell(want(2))]);
    assert_eq!(folds(&mut it), 0);
    it.settles(B, op(1));
    assert_eq!(folds(&mut it), 1);
}

/// F12: an heir sells what was held by the dead one in one commit, from what is now its own.
#[test]
fn an_heir_sells_what_the_dead_one_held_and_nobody_what_is_frozen() {
    let mut it = View::with(&[(A, 5), (B, 1)]);
    it.takes(A, op(1), &[Step::Hold(want(4), 100)]);
    let mut frozen = it.clone();
    assert!(it.heirs.close(A, Closed { heir: B, frozen: false }));
    assert_eq!(it.has(B), 2);
    let verdict = it.commits(B, op(1), 4);
    assert_eq!(it.does(B, op(1), verdict).0, Answer::Committed);
    assert_eq!(it.has(B), 2);
    let sold = it.stock.all().filter(|(_, record)| record.is_sold()).count();
    assert_eq!(sold, 1);
    // What the dead one had let go is not sold by its heir: its client may have been told.
    let mut lapsed = frozen.clone();
    let Ok(verdict) = release(&mut lapsed.stock, &lapsed.heirs, A, op(1));
    lapsed.does(A, op(1), verdict);
    assert!(lapsed.heirs.close(A, Closed { heir: B, frozen: false }));
    let verdict = lapsed.commits(B, op(1), 4);
    assert_eq!(lapsed.does(B, op(1), verdict).0, Answer::Expired);
    assert!(frozen.heirs.close(A, Closed { heir: B, frozen: true }));
    assert_eq!(frozen.commits(B, op(1), 4), Verdict::Short { available: 1 });
    assert_eq!(frozen.settles(B, op(1)), []);
}

/// F9, as far as a lattice can help: tried at another member it would count again.
#[test]
fn a_restock_counts_once_at_its_member() {
    let mut it = View::default();
    for _ in 0..2 {
        let Ok(verdict) = mint(&mut it.stock, A, op(1), 5);
        assert_eq!(it.does(A, op(1), verdict).0, Answer::Done);
    }
    assert_eq!(it.has(A), 5);
    let Ok(row) = it.stock.row(A);
    assert_eq!(row.minted, 5);
    let Ok(verdict) = mint(&mut it.stock, A, op(2), u64::MAX);
    assert_eq!(verdict, Verdict::Refused(Refused::TooMany));
}

#[test]
fn of_terms_that_were_set_apart_the_later_stand() {
    for order in [[agreed(2, 7), agreed(1, 9)], [agreed(1, 9), agreed(2, 7)]] {
        let mut it = View::with(&[(A, 5)]);
        assert_eq!(it.stock.terms().unwrap().terms, Terms::default());
        it.takes(A, op(1), &order[..1]);
        it.takes(B, op(2), &order[1..]);
        assert_eq!(it.stock.terms().unwrap().terms.limit, 7);
    }
}
