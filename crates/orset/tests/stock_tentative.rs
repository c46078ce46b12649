//! Tentative limits under everything that can happen to them, beside a ledger that only counts.
//!
//! Three members hold for two customers without asking anybody; deltas come late, in any causal
//! order; clients hold one purchase at several members, let go, come again. The keeper of both is
//! the first member; its word is asked for from there at any time and may be acted upon much later,
//! but never before its commit is there. After each step no customer has more purchases that stand
//! than it may, counted over *all* that anybody ever did; and every view counts what a naive look
//! at its records counts, so that equal commits make equal tallies.
//!
//! The same world with a bug planted must fail, or it would prove nothing.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod net;

use net::{MEMBERS, Net, member, op};
use orset::stock::{
    Customer, Heirs, Stamped, Step, StockRows, Terms, Verdict, Want, allow, apply, commit, hold,
    over_limit, release, return_op, settle, sold_over_limit,
};
use orset::{HybridTime, Lattice, OpId, Stock, laws};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::collections::{BTreeMap, BTreeSet};

const KEEPER: usize = 0;
const OPS: u8 = 8;

fn want(n: u8) -> Want {
    let customer = Customer::new(&[b'a' + n % 2]).unwrap();
    Want { quantity: 1, customer: Some(customer) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// A tentative hold is sold, and nobody asked.
    Unasked,
    /// The keeper says yes, and its commit does not.
    Uncounted,
    /// What the keeper allows of an op id holds for every record of it.
    AllowedByName,
}

struct World {
    net: Net,
    /// All that was ever done, at once.
    all: Stock,
    returned: BTreeSet<OpId>,
    limit: u64,
    bug: Bug,
    /// Words of the keeper, sales by them, refusals.
    counts: [usize; 3],
}

impl World {
    fn new(limit: u64, bug: Bug) -> Self {
        let mut world = Self {
            net: Net::new(),
            all: Stock::new(),
            returned: BTreeSet::new(),
            limit,
            bug,
            counts: [0; 3],
        };
        for at in 0..MEMBERS {
            let terms = Terms { limit, tentative: true, peers: 0 };
            let agree = Step::Agree(Stamped { stamp: HybridTime::from_bits(9), terms });
            world.does(at, op(OPS + at as u8), vec![Step::Mint(100), agree]).unwrap();
        }
        world
    }

    fn does(&mut self, at: usize, op: OpId, steps: Vec<Step>) -> Result<(), String> {
        let Some(dot) = self.net.does(at, op, &steps)? else { return Ok(()) };
        let Ok(_) = apply(&mut self.all, &Heirs::new(), member(at), op, &steps, dot);
        self.check()
    }

    /// The ledger: op ids of a customer with a record that is sold, and not asked back.
    fn check(&self) -> Result<(), String> {
        let mut bought: BTreeMap<Customer, BTreeSet<OpId>> = BTreeMap::new();
        for (id, record) in self.all.all().filter(|(_, it)| it.is_sold()) {
            if !self.returned.contains(&id.op) {
                bought.entry(record.want.customer.clone().unwrap()).or_default().insert(id.op);
            }
        }
        let most = bought.values().map(BTreeSet::len).max().unwrap_or(0);
        if most as u64 > self.limit { Err(format!("{most} of {}", self.limit)) } else { Ok(()) }
    }

    /// The keeper is asked for its word on the `pick`-th hold of an op id that it sees.
    fn asks_keeper(&mut self, n: u8, pick: u8) -> Result<(), String> {
        let keeper = &mut self.net.views[KEEPER];
        let Ok(records) = keeper.records(op(n));
        let Some((dot, _)) = records.get(usize::from(pick) % records.len().max(1)) else {
            return Ok(());
        };
        let Ok(verdict) = allow(keeper, op(n), &want(n), *dot);
        match verdict {
            Verdict::Do { steps, .. } => {
                self.counts[0] += usize::from(!steps.is_empty());
                // Whoever asked writes the mark, when it hears the word.
                let at =
                    if self.bug == Bug::Uncounted { usize::from(pick) % 2 + 1 } else { KEEPER };
                let knows = self.net.knows(at, *dot);
                if knows { self.does(at, op(n), steps) } else { Ok(()) }
            }
            _ => {
                self.counts[2] += 1;
                Ok(())
            }
        }
    }

    fn act(&mut self, [what, at, n, by]: [u8; 4]) -> Result<(), String> {
        let (at, to) = (usize::from(at) % MEMBERS, usize::from(by) % MEMBERS);
        let (me, n, heirs) = (member(at), n % OPS, Heirs::new());
        let view = &mut self.net.views[at];
        match what % 16 {
            0..=3 => {
                // The keeper's own holds count at once, and so do half of those of the others that
                // came to it: it held for them.
                let tentative = at != KEEPER || by % 2 == 0;
                let Ok(over) = over_limit(view, op(n), &want(n));
                if over.is_none() {
                    let until = (u64::from(by), tentative);
                    let Ok(verdict) = hold(view, &heirs, me, op(n), &want(n), until);
                    if let Verdict::Do { steps, .. } = verdict {
                        self.does(at, op(n), steps)?;
                    }
                }
            }
            4..=6 => self.asks_keeper(n, by)?,
            7..=9 => {
                let Ok(verdict) = commit(view, &heirs, me, op(n), &want(n));
                match verdict {
                    // A claim is the keeper's alone.
                    Verdict::Do { steps, .. }
                        if at == KEEPER || !steps.iter().any(|it| matches!(it, Step::Sell(_))) =>
                    {
                        let sells = steps.iter().any(|it| matches!(it, Step::Sell(_)));
                        if sells && sold_over_limit(view, op(n), &want(n)).unwrap().is_some() {
                            return Ok(());
                        }
                        self.counts[1] +=
                            usize::from(steps.iter().any(|it| matches!(it, Step::Commit(_))));
                        self.does(at, op(n), steps)?;
                    }
                    Verdict::Unallowed(id) => {
                        let Ok(records) = view.records(op(n));
                        let by_name = self.bug == Bug::AllowedByName
                            && records.iter().any(|(_, it)| !it.tentative);
                        if self.bug == Bug::Unasked || by_name {
                            self.does(at, op(n), vec![Step::Commit(id)])?;
                        }
                    }
                    _ => {}
                }
            }
            10 => {
                let Ok(verdict) = release(view, &heirs, me, op(n));
                if let Verdict::Do { steps, .. } = verdict {
                    self.does(at, op(n), steps)?;
                }
            }
            11 if by % 4 == 0 => {
                let Ok(verdict) = return_op(view, &heirs, me, op(n));
                self.returned.insert(op(n));
                if let Verdict::Do { steps, .. } = verdict {
                    self.does(at, op(n), steps)?;
                }
            }
            12 => {
                for n in 0..OPS {
                    let Ok(steps) = settle(&mut self.net.views[at], &heirs, me, op(n));
                    self.does(at, op(n), steps)?;
                }
            }
            _ => drop(self.net.hears(at, to)?),
        }
        Ok(())
    }
}

fn play(limit: u64, script: &[[u8; 4]], bug: Bug) -> Result<World, String> {
    let mut world = World::new(limit, bug);
    script.iter().try_for_each(|act| world.act(*act))?;
    Ok(world)
}

fn scripts() -> impl Strategy<Value = (u64, Vec<[u8; 4]>)> {
    (1..3_u64, proptest::collection::vec(any::<[u8; 4]>(), 0..200))
}

fn runner(cases: u32) -> TestRunner {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn no_customer_has_more_than_its_keeper_has_counted() {
    let sums = std::cell::RefCell::new([0; 3]);
    runner(2_000)
        .run(&scripts(), |(limit, script)| {
            let world = play(limit, &script, Bug::None).map_err(TestCaseError::fail)?;
            let mut sums = sums.borrow_mut();
            sums.iter_mut().zip(world.counts).for_each(|(sum, more)| *sum += more);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let [allowed, sold, refused] = sums.into_inner();
    assert!(allowed > 1_000 && sold > 600 && refused > 1_000, "{allowed} {sold} {refused}");
}

#[test]
fn every_planted_bug_is_found() {
    for bug in [Bug::Unasked, Bug::Uncounted, Bug::AllowedByName] {
        let found = runner(4_000).run(&scripts(), |(limit, script)| {
            play(limit, &script, bug).map(drop).map_err(TestCaseError::fail)
        });
        assert!(matches!(found, Err(TestError::Fail(..))), "{bug:?} is planted, and not noticed");
    }
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    /// The keeper's mark and what the owner does meanwhile come in either order; also by a join.
    #[test]
    fn equal_commits_make_equal_tallies_whatever_their_order((limit, script) in scripts()) {
        let mut world = play(limit, &script, Bug::None).map_err(TestCaseError::fail)?;
        let views = world.net.views.clone();
        laws::commutative(&views[0], &views[1]);
        laws::associative(&views[0], &views[1], &views[2]);
        laws::idempotent(&views[1], &views[2]);
        let joined = views[0].clone().joined(&views[1]).joined(&views[2]);
        for at in 0..MEMBERS {
            while (0..MEMBERS).any(|of| world.net.hears(at, of).unwrap()) {}
            prop_assert_eq!(&world.net.views[at], &joined);
        }
        prop_assert_eq!(&joined, &world.all, "as it was done, in the order of its doing");
    }
}
