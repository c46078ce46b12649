//! Who has units of a stock set aside, page by page.

use crate::rig::cluster::{Cluster, member};
use crate::stock::{phone, want, wanted_by};
use orset::stock::{Ask, Customer, Hold, Holds, HoldsOf, Outcome, Want};
use orset::{OpId, VersionVector};
use pannier_replica::protocol::{Command, HoldsPage, Read, Refusal, Reply, Value};
use std::sync::Arc;

const LONG: u64 = 3_600_000;

impl Cluster {
    fn holds(&mut self, at: usize, of: HoldsOf, holds: usize) -> Holds {
        let page = HoldsPage { of, holds, bytes: usize::MAX };
        let read = Read { holds: Some(page), ..Read::new(phone(), Arc::default(), 0) };
        let Ok(Reply::Shown(shown)) = self.ask(at, Command::Read(read)) else { panic!() };
        let Value::Holds(holds) = shown.value else { panic!() };
        holds
    }

    /// All of them, from pages of so many; and how many pages that took.
    fn held_by(&mut self, at: usize, customer: Option<&[u8]>, size: usize) -> (Vec<Hold>, usize) {
        let customer = customer.map(|name| Customer::new(name).unwrap());
        let mut of = HoldsOf { customer, after: None };
        let (mut all, mut pages) = (Vec::new(), 0);
        loop {
            let Holds { holds, next } = self.holds(at, of.clone(), size);
            all.extend(holds);
            pages += 1;
            if next.is_none() {
                return (all, pages);
            }
            assert!(next > of.after, "a page leads on");
            of.after = next;
        }
    }

    fn sets_aside(&mut self, at: usize, want: Want, ttl_ms: u64) -> OpId {
        let op = self.op();
        let held = self.asks(at, op, Ask::Hold { want, ttl_ms });
        assert!(matches!(held, Ok(Outcome::Held { .. })), "{held:?}");
        op
    }
}

fn ops(holds: &[Hold]) -> Vec<OpId> {
    holds.iter().map(|hold| hold.op).collect()
}

#[test]
fn holds_are_paged_by_op_id_at_whatever_member_they_are() {
    let mut it = Cluster::new(2);
    it.restock(0, 50);
    it.restock(1, 50);
    let mut held = Vec::new();
    for n in 0..10 {
        let customer: &[u8] = if n % 3 == 0 { b"ada" } else { b"bob" };
        held.push(it.sets_aside(n % 2, wanted_by(customer), LONG));
    }
    // What is sold, let go, or was never held, is not held.
    it.asks(0, held[0], Ask::Commit { want: wanted_by(b"ada") }).unwrap();
    it.asks(1, held[1], Ask::Release).unwrap();
    it.asks(0, held[2], Ask::Return).unwrap();
    it.buys(0, 1).unwrap();
    it.run(2_000);
    held.drain(..3);
    for at in [0, 1] {
        for (size, pages) in [(1, 7), (3, 3), (7, 1), (100, 1)] {
            let (all, took) = it.held_by(at, None, size);
            assert_eq!((ops(&all), took), (held.clone(), pages), "{size} a page");
        }
        let (adas, _) = it.held_by(at, Some(b"ada"), 2);
        assert_eq!(ops(&adas), [held[0], held[3], held[6]]);
        assert!(adas.iter().all(|hold| hold.want == wanted_by(b"ada")));
        assert_eq!(adas[0].owner, member(1), "the fourth was held there");
        assert_eq!(it.held_by(at, Some(b"eve"), 2), (Vec::new(), 1));
    }
    // Behind an op id that nobody holds, too.
    let of = HoldsOf { after: Some(held[5]), ..HoldsOf::default() };
    it.asks(0, held[5], Ask::Return).unwrap();
    it.run(2_000);
    assert_eq!(ops(&it.holds(0, of, 10).holds), [held[6]]);
}

/// What several members hold for one op id is of one page: else a page could not say where the
/// next one begins.
#[test]
fn an_op_id_is_never_split() {
    let mut it = Cluster::new(2);
    it.restock(0, 9);
    it.restock(1, 9);
    it.run(1_000);
    // Both are asked before either has heard of the other's.
    let op = it.op();
    for at in [0, 1] {
        let call = it.call(op, Ask::Hold { want: want(2), ttl_ms: LONG });
        it.does(at, pannier_replica::protocol::Event::Command(7, Command::Stock(call)));
    }
    it.run(2_000);
    let last = it.sets_aside(0, want(1), LONG);
    it.run(2_000);
    let first = it.holds(1, HoldsOf::default(), 1);
    let owners: Vec<_> = first.holds.iter().map(|hold| (hold.op, hold.owner)).collect();
    let mut both = vec![(op, member(0)), (op, member(1))];
    both.sort_unstable();
    let mut sorted = owners.clone();
    sorted.sort_unstable();
    assert_eq!((sorted, first.next), (both, Some(op)));
    let of = HoldsOf { after: first.next, ..HoldsOf::default() };
    let second = it.holds(1, of, 1);
    assert_eq!((ops(&second.holds), second.next), (vec![last], None));
}

/// A customer with one hold behind a thousand of others: pages come back empty, and lead on.
#[test]
fn a_page_looks_at_so_many_holds_and_no_more() {
    let mut it = Cluster::new(1);
    it.restock(0, 5_000);
    for _ in 0..1_100 {
        it.sets_aside(0, wanted_by(b"bob"), LONG);
    }
    let adas = it.sets_aside(0, wanted_by(b"ada"), LONG);
    let customer = Some(Customer::new(b"ada").unwrap());
    let first = it.holds(0, HoldsOf { customer, after: None }, 1_000);
    assert!(first.holds.is_empty() && first.next.is_some_and(|next| next < adas));
    let (all, pages) = it.held_by(0, Some(b"ada"), 1_000);
    assert_eq!((ops(&all), pages), (vec![adas], 2));
    let (all, pages) = it.held_by(0, None, 1_000);
    assert_eq!((all.len(), pages), (1_101, 2));
    // Bytes end a page as well.
    let page = HoldsPage { of: HoldsOf::default(), holds: 1_000, bytes: 1_000 };
    let read = Read { holds: Some(page), ..Read::new(phone(), Arc::default(), 0) };
    let Ok(Reply::Shown(shown)) = it.ask(0, Command::Read(read)) else { panic!() };
    let Value::Holds(some) = shown.value else { panic!() };
    assert!((2..50).contains(&some.holds.len()) && some.next.is_some());
}

#[test]
fn a_page_covers_its_session_or_says_that_it_does_not() {
    let mut it = Cluster::new(2);
    it.restock(0, 5);
    let ada = it.sets_aside(0, wanted_by(b"ada"), LONG);
    let mut after = VersionVector::new();
    after.raise(orset::Origin::from_bytes([0xee; 16]), 3);
    let page = HoldsPage { of: HoldsOf::default(), holds: 10, bytes: usize::MAX };
    let read = Read { holds: Some(page), ..Read::new(phone(), Arc::new(after), 0) };
    let behind = it.ask(0, Command::Read(read.clone()));
    assert!(matches!(behind, Err(Refusal::Behind { .. })), "{behind:?}");
    let Ok(Reply::Shown(shown)) = it.ask(0, Command::Read(Read { allow_stale: true, ..read }))
    else {
        panic!()
    };
    let Value::Holds(holds) = shown.value else { panic!() };
    assert_eq!((shown.stale, ops(&holds.holds)), (true, vec![ada]));
}

/// The notes of what is held are kept over crashes, checkpoints and lapses: whatever happened, the
/// pages add up to what the sheet says is held.
#[test]
fn pages_add_up_to_what_is_held() {
    for seed in 0..8 {
        let mut it = Cluster::new(3);
        it.restock(0, 200);
        let mut open: Vec<(OpId, u32)> = Vec::new();
        for round in 0..60 {
            let (at, what) = (it.drawn(3) as usize, it.drawn(12) + seed % 2);
            match what {
                0..=5 => {
                    let (op, units) = (it.op(), 1 + it.drawn(3) as u32);
                    let ttl_ms = if it.drawn(3) == 0 { 500 } else { LONG };
                    drop(it.asks(at, op, Ask::Hold { want: want(units), ttl_ms }));
                    open.push((op, units));
                }
                6 => {
                    it.crash(at);
                    it.start(at);
                }
                _ if open.is_empty() => {}
                _ => {
                    let (op, units) = open[it.drawn(open.len() as u64) as usize];
                    let ask = match what {
                        7 => Ask::Release,
                        8 | 9 => Ask::Commit { want: want(units) },
                        10 => Ask::Return,
                        _ => Ask::Extend { ttl_ms: LONG },
                    };
                    drop(it.asks(at, op, ask));
                }
            }
            if round % 20 == 19 {
                it.run(5_000);
                for at in 0..3 {
                    let (all, _) = it.held_by(at, None, 4);
                    let units: u64 = all.iter().map(|hold| u64::from(hold.want.quantity)).sum();
                    assert_eq!(units, it.sheet(at).held, "seed {seed}, round {round}: {all:?}");
                    assert!(all.is_sorted_by_key(|hold| hold.op));
                }
            }
        }
    }
}

/// Who is caught up by a snapshot makes the notes anew: also of what it had noted, and was let go
/// meanwhile where it did not hear of it.
#[test]
fn a_snapshot_brings_what_is_held_and_ends_what_is_not() {
    let mut it = Cluster::new(2);
    it.is_slow = true;
    for at in 0..2 {
        let settings = &mut it.nodes[at].settings;
        (settings.log_tail, settings.log_most, settings.checkpoint_rows) = (1, 6, 6);
        it.crash(at);
        it.start(at);
    }
    it.restock(0, 100);
    let (kept, let_go) = (it.sets_aside(0, want(2), LONG), it.sets_aside(0, want(3), LONG));
    it.agree(&[0, 1]);
    assert_eq!(ops(&it.held_by(1, None, 1).0), [kept, let_go]);
    it.undelivered.insert((0, 1));
    it.asks(0, let_go, Ask::Release).unwrap();
    let fresh = it.sets_aside(0, wanted_by(b"ada"), LONG);
    for _ in 0..20 {
        assert_eq!(it.buys(0, 1), Ok(Outcome::Committed));
    }
    it.until("a snapshot is joined", |it| it.nodes[1].protocol.stats().snapshots_taken > 0);
    it.undelivered.clear();
    it.agree(&[0, 1]);
    for at in [0, 1] {
        assert_eq!(ops(&it.held_by(at, None, 1).0), [kept, fresh], "at {at}");
        assert_eq!(it.sheet(at).held, 3);
    }
}
