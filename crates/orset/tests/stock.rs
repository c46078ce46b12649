//! Stock under everything that can happen to it, beside a ledger that only counts.
//!
//! Three members each decide from their own view; deltas come late, in any causal order; clients
//! ask again elsewhere, and never hear some answers. After each step every view must keep its
//! invariants, and the ledger, which knows nothing of rows, records or rights but sees all that was
//! ever said to anybody, must agree that nothing was promised twice. In the end all that is left is
//! settled, and every unit is accounted for.
//!
//! The same world with a bug planted must fail, or it would prove nothing.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod net;

use net::{MEMBERS, Net, member, op};
use orset::stock::{
    Answer, Closed, Customer, Heirs, Row, Stamped, Step, StockRows, Terms, Verdict, Want, apply,
    available, commit, commit_here, extend, fold, hold, lend, mint, over_limit, release, return_op,
    settle, write_off,
};
use orset::{Dot, HybridTime, Lattice, OpId, Origin, Stock, laws};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::collections::{BTreeMap, BTreeSet};

const OPS: u8 = 12;

/// One op id names one want, whoever asks. Two customers share all of them.
fn want(n: u8) -> Want {
    let customer = Customer::new(&[b'a' + n % 2]).unwrap();
    Want { quantity: u32::from(n % 3) + 1, customer: Some(customer) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// Whoever sees another committed record refunds its own.
    SymmetricRefund,
    /// A request for rights that comes again is granted again.
    GrantedAgain,
    /// A sale is made without looking what there is.
    SoldUnseen,
    /// A restock whose answer was lost is made again elsewhere.
    MintedElsewhere,
    /// A hold is not released when its op id was sold elsewhere.
    HeldForEver,
}

/// What clients were told, and what an honest shop keeps in its books: nothing of how it is done.
#[derive(Default)]
struct Ledger {
    minted: BTreeMap<OpId, u64>,
    sold: BTreeMap<OpId, u64>,
    returned: BTreeSet<OpId>,
    written_off: BTreeMap<OpId, u64>,
}

impl Ledger {
    fn units(of: &BTreeMap<OpId, u64>) -> u64 {
        of.values().sum()
    }

    fn check(&self) -> Result<(), String> {
        let kept = self.sold.iter().filter(|(op, _)| !self.returned.contains(op));
        let out = kept.map(|(_, units)| units).sum::<u64>() + Self::units(&self.written_off);
        let minted = Self::units(&self.minted);
        if out > minted { Err(format!("sold {out} of {minted}")) } else { Ok(()) }
    }
}

struct World {
    net: Net,
    ledger: Ledger,
    bug: Bug,
    doubles: usize,
}

impl World {
    fn new(bug: Bug) -> Self {
        Self { net: Net::new(), ledger: Ledger::default(), bug, doubles: 0 }
    }

    fn does(&mut self, at: usize, op: OpId, steps: Vec<Step>) -> Result<(), String> {
        self.net.does(at, op, &steps).map(drop)
    }

    fn verdict(&mut self, at: usize, n: u8, verdict: Verdict) -> Result<Option<Answer>, String> {
        let Verdict::Do { steps, answer, rests } = verdict else { return Ok(None) };
        if !rests.iter().all(|dot| self.net.knows(at, *dot)) {
            return Err("an answer rests on what is not here".into());
        }
        self.does(at, op(n), steps)?;
        Ok(Some(answer))
    }

    fn settles(&mut self, at: usize) -> Result<bool, String> {
        let mut moved = false;
        for n in 0..OPS {
            let mut steps = {
                let Ok(steps) = settle(&mut self.net.views[at], &self.net.heirs, member(at), op(n));
                steps
            };
            let Ok(records) = self.net.views[at].records(op(n));
            let committed = records.iter().filter(|(_, it)| it.was_committed()).count();
            self.doubles += usize::from(committed > 1);
            if self.bug == Bug::SymmetricRefund && committed > 1 {
                let own = records.iter().filter(|(_, it)| it.owner == member(at) && it.is_sold());
                let id = |dot: &Dot| orset::stock::RecordId { dot: *dot, op: op(n) };
                steps = own.map(|(dot, _)| Step::GiveBack(id(dot))).collect();
            }
            if self.bug == Bug::HeldForEver {
                steps.retain(|step| !matches!(step, Step::Release(_)));
            }
            moved |= !steps.is_empty();
            self.does(at, op(n), steps)?;
        }
        Ok(moved)
    }

    fn act(&mut self, [what, at, n, by]: [u8; 4]) -> Result<(), String> {
        let (at, to) = (usize::from(at) % MEMBERS, usize::from(by) % MEMBERS);
        let (me, n) = (member(at), n % OPS);
        let (op_id, want) = (op(n), want(n));
        let heirs = self.net.heirs.clone();
        let view = &mut self.net.views[at];
        match what % 16 {
            0 => {
                // Restocks have op ids of their own, and one member each.
                let (n, units) = (OPS + at as u8, u64::from(by % 6) + 1);
                let at = if self.bug == Bug::MintedElsewhere { to } else { at };
                let units = self.ledger.minted.get(&op(n)).copied().unwrap_or(units);
                let Ok(verdict) = mint(&mut self.net.views[at], member(at), op(n), units);
                if self.verdict(at, n, verdict)?.is_some() {
                    self.ledger.minted.insert(op(n), units);
                }
            }
            1 => {
                let n = OPS + MEMBERS as u8 + at as u8;
                let Ok(verdict) = write_off(view, &heirs, me, op(n), 1);
                if self.verdict(at, n, verdict)?.is_some() {
                    self.ledger.written_off.insert(op(n), 1);
                }
            }
            2..=4 => {
                let Ok(over) = over_limit(view, op_id, &want);
                if over.is_none() {
                    let until = (u64::from(by), false);
                    let Ok(verdict) = hold(view, &heirs, me, op_id, &want, until);
                    self.verdict(at, n, verdict)?;
                }
            }
            5..=7 => {
                let Ok(mut verdict) = commit(view, &heirs, me, op_id, &want);
                if matches!(verdict, Verdict::Ask(_)) && by % 2 == 0 {
                    // Its owner cannot be reached.
                    let Ok(here) = commit_here(view, &heirs, me, &want);
                    verdict = here;
                }
                if self.bug == Bug::SoldUnseen && matches!(verdict, Verdict::Short { .. }) {
                    self.does(at, op_id, vec![Step::Sell(want.clone())])?;
                    self.ledger.sold.insert(op_id, want.quantity.into());
                } else if self.verdict(at, n, verdict)? == Some(Answer::Committed) {
                    self.ledger.sold.insert(op_id, want.quantity.into());
                }
            }
            8 => {
                let Ok(verdict) = release(view, &heirs, me, op_id);
                self.verdict(at, n, verdict)?;
            }
            9 => {
                let Ok(verdict) = extend(view, &heirs, me, op_id, u64::from(by));
                self.verdict(at, n, verdict)?;
            }
            10 if by % 4 == 0 => {
                let Ok(verdict) = return_op(view, &heirs, me, op_id);
                self.verdict(at, n, verdict)?;
                self.ledger.returned.insert(op_id);
            }
            10..=11 => {
                // A request for rights as the borrower numbers it, from what it sees; it may be old
                // when it arrives, and comes again.
                let Ok(row) = self.net.views[to].row(me);
                let next = row.answered.get(&member(to)).map_or(0, |it| it.number) + 1;
                let Ok(verdict) =
                    lend(&mut self.net.views[at], &heirs, me, (member(to), next), by.into(), 0);
                self.verdict(at, OPS + 9, verdict)?;
                if self.bug == Bug::GrantedAgain && to != at {
                    let Ok(mut again) = self.net.views[at].row(me);
                    let Some(answered) = again.answered.get(&member(to)).copied() else {
                        return Ok(());
                    };
                    let next = orset::stock::Answered { number: answered.number + 1, ..answered };
                    again.answered.clear();
                    self.does(at, op(OPS + 9), vec![Step::Lend(member(to), next)])?;
                }
            }
            12 => drop(self.settles(at)?),
            13 if by % 8 == 0 => {
                let terms = Terms { limit: u64::from(n % 4), tentative: false, peers: 0 };
                let stamp = HybridTime::from_bits(n.into());
                self.does(at, op_id, vec![Step::Agree(Stamped { stamp, terms })])?;
            }
            _ => drop(self.net.hears(at, to)?),
        }
        self.ledger.check()
    }

    /// Everything comes to everybody, and every owner does what is left to do.
    fn comes_to_rest(&mut self) -> Result<(), String> {
        loop {
            let mut moved = false;
            for at in 0..MEMBERS {
                for of in 0..MEMBERS {
                    while self.net.hears(at, of)? {
                        moved = true;
                    }
                }
                moved |= self.settles(at)?;
            }
            if !moved {
                break;
            }
        }
        let bytes = |stock: &Stock| {
            let mut out = Vec::new();
            stock.encode(&mut out);
            out
        };
        if self.net.views.iter().any(|view| bytes(view) != bytes(&self.net.views[0])) {
            return Err("equal logs, other stocks".into());
        }
        self.is_accounted_for()
    }

    fn is_accounted_for(&mut self) -> Result<(), String> {
        let heirs = self.net.heirs.clone();
        let view = &mut self.net.views[0];
        let mut left: i128 = 0;
        for at in 0..MEMBERS {
            let Ok(here) = available(view, &heirs, member(at));
            left += here;
        }
        let (mut held, mut sold) = (0, 0);
        for n in 0..OPS {
            let Ok(records) = view.records(op(n));
            let Ok(is_over) = view.is_returned(op(n));
            let standing = records.iter().filter(|(_, it)| it.is_sold()).count();
            let was_sold = records.iter().any(|(_, it)| it.was_committed());
            if standing != usize::from(was_sold && !is_over) {
                return Err(format!("{standing} records of {n} stand"));
            }
            if was_sold && records.iter().any(|(_, it)| it.is_held()) {
                return Err(format!("{n} is sold, and held as well"));
            }
            if self.ledger.sold.contains_key(&op(n)) && !was_sold {
                return Err(format!("{n} was told that it is sold, and is not"));
            }
            let units = |is_it: fn(&orset::stock::Record) -> bool| -> i128 {
                let these = records.iter().filter(|(_, it)| is_it(it));
                these.map(|(_, it)| i128::from(it.want.quantity)).sum()
            };
            held += units(orset::stock::Record::is_held);
            sold += units(orset::stock::Record::is_sold);
        }
        let gone = Ledger::units(&self.ledger.written_off);
        let minted = i128::from(Ledger::units(&self.ledger.minted));
        let all = left + held + sold + i128::from(gone);
        if all == minted { Ok(()) } else { Err(format!("{all} of {minted} are there")) }
    }
}

fn play(script: &[[u8; 4]], bug: Bug) -> Result<World, String> {
    let mut world = World::new(bug);
    script.iter().try_for_each(|act| world.act(*act))?;
    world.comes_to_rest()?;
    Ok(world)
}

fn scripts() -> impl Strategy<Value = Vec<[u8; 4]>> {
    proptest::collection::vec(any::<[u8; 4]>(), 0..160)
}

#[test]
fn nothing_is_sold_twice_and_every_unit_is_accounted_for() {
    let (mut doubles, mut lent, mut sold) = (0, 0, 0);
    let config = Config { cases: 1_500, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let (doubles, lent, sold) = {
        let counts = std::cell::RefCell::new((&mut doubles, &mut lent, &mut sold));
        runner
            .run(&scripts(), |script| {
                let mut world = play(&script, Bug::None).map_err(TestCaseError::fail)?;
                let mut counts = counts.borrow_mut();
                *counts.0 += usize::from(world.doubles > 0);
                let mut has_lent = false;
                let Ok(()) = world.net.views[0].each_row(&mut |_, row| {
                    has_lent |= row.lent.values().any(|units| *units > 0);
                });
                *counts.1 += usize::from(has_lent);
                *counts.2 += world.ledger.sold.len();
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{error}"));
        (doubles, lent, sold)
    };
    // The interesting cases were reached.
    assert!(doubles > 100 && lent > 500 && sold > 1_000, "{doubles} {lent} {sold}");
}

#[test]
fn every_planted_bug_is_found() {
    let bugs = [
        Bug::SymmetricRefund,
        Bug::GrantedAgain,
        Bug::SoldUnseen,
        Bug::MintedElsewhere,
        Bug::HeldForEver,
    ];
    for bug in bugs {
        let config = Config {
            cases: 1_500,
            failure_persistence: None,
            max_shrink_iters: 0,
            ..Config::default()
        };
        let rng = proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        );
        let found = TestRunner::new_with_rng(config, rng)
            .run(&scripts(), |script| play(&script, bug).map(drop).map_err(TestCaseError::fail));
        assert!(
            matches!(found, Err(TestError::Fail(..))),
            "{bug:?} is planted, and nobody notices"
        );
    }
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn views_on_their_way_are_a_lattice(script in scripts()) {
        let mut world = World::new(Bug::None);
        for act in &script {
            world.act(*act).map_err(TestCaseError::fail)?;
        }
        let views = world.net.views.clone();
        laws::commutative(&views[0], &views[1]);
        laws::associative(&views[0], &views[1], &views[2]);
        laws::idempotent(&views[1], &views[2]);
        let joined = views[0].clone().joined(&views[1]).joined(&views[2]);
        // Without a step of settling: what all have is what a join of all has.
        for at in 0..MEMBERS {
            while (0..MEMBERS).any(|of| world.net.hears(at, of).unwrap()) {}
            prop_assert_eq!(&world.net.views[at], &joined);
        }
    }

    #[test]
    fn what_is_folded_moves_no_sum(script in scripts()) {
        let Ok(mut world) = play(&script, Bug::None) else { unreachable!() };
        let heirs = world.net.heirs.clone();
        let bought = |stock: &mut Stock| -> Vec<u64> {
            let customers = (0..2).map(|n| want(n).customer.unwrap());
            customers.map(|it| stock.tally(&it).unwrap().count()).collect()
        };
        let counted = bought(&mut world.net.views[0]);
        let before: Vec<Row> =
            (0..MEMBERS).map(|at| world.net.views[0].row(member(at)).unwrap()).collect();
        for at in 0..MEMBERS {
            for n in 0..OPS {
                let Ok(steps) = fold(&mut world.net.views[0], &heirs, member(at), op(n));
                let dot = Dot::new(Origin::of(member(at), 7), 1_000);
                let Ok(_) = apply(&mut world.net.views[0], &heirs, member(at), op(n), &steps, dot);
            }
        }
        let after: Vec<Row> =
            (0..MEMBERS).map(|at| world.net.views[0].row(member(at)).unwrap()).collect();
        prop_assert_eq!(before, after);
        prop_assert_eq!(bought(&mut world.net.views[0]), counted, "what is forgotten was bought");
        // What is held, and only that, is remembered.
        let is_held = |op| {
            let Ok(records) = world.net.views[0].clone().records(op);
            records.iter().any(|(_, it)| it.is_held())
        };
        let mut left = world.net.views[0].all();
        prop_assert!(left.all(|(id, _)| is_held(id.op)));
    }
}

#[test]
fn an_heir_owns_what_it_inherits_and_nobody_what_is_frozen() {
    let mut heirs = Heirs::new();
    let closed = |heir: usize, frozen| Closed { heir: member(heir), frozen };
    assert!(heirs.close(member(0), closed(1, false)));
    assert!(heirs.close(member(1), closed(2, false)));
    assert!(!heirs.close(member(2), closed(0, false)), "a ring of heirs");
    let mut stock = Stock::new();
    let dot = |at: usize| Dot::new(Origin::of(member(at), 7), 1);
    for at in 0..MEMBERS {
        let Ok(_) =
            apply(&mut stock, &Heirs::new(), member(at), op(at as u8), &[Step::Mint(10)], dot(at));
    }
    assert_eq!(available(&mut stock, &heirs, member(2)), Ok(30));
    let mut frozen = Heirs::new();
    assert!(frozen.close(member(0), closed(1, true)));
    assert_eq!(available(&mut stock, &frozen, member(1)), Ok(10));
    assert_eq!(available(&mut stock, &frozen, member(2)), Ok(10));
}
