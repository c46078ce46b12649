//! What a customer has set aside of all stocks, and the notes that say so: kept, made anew for a
//! directory of an older build, and mended with the rows that they are of.

use crate::rig::cluster::{Cluster, member};
use crate::rig::{ME, PEER, Rig, id};
use crate::stock::wanted_by;
use orset::stock::{Ask, Customer, CustomerHolds, Hold, HoldsOf, Outcome};
use orset::{Kind, ObjectKey, OpId, VersionVector};
use pannier_replica::protocol::stock::Call;
use pannier_replica::protocol::verify::{Compare, Verify};
use pannier_replica::protocol::{
    Command, Event, HeldBy, HoldsPage, Message, NO_LANE, Read, Refusal, Reply, Value, row_hash,
};
use pannier_replica::store::{Row, Store};
use std::sync::Arc;

const LONG: u64 = 3_600_000;
const STOCKS: [&[u8]; 3] = [b"a", b"lamp", b"phone"];

fn stock(name: &[u8]) -> ObjectKey {
    ObjectKey::new(Kind::Stock, b"shop", name).unwrap()
}

fn ada() -> Customer {
    Customer::new(b"ada").unwrap()
}

fn held_by(behind: Option<(ObjectKey, OpId)>, holds: usize) -> HeldBy {
    HeldBy {
        namespace: (*b"shop").into(),
        customer: ada(),
        behind,
        holds,
        bytes: usize::MAX,
        after: Arc::default(),
        deadline_us: 0,
        lane: NO_LANE,
    }
}

impl Cluster {
    fn asks_of(&mut self, at: usize, name: &[u8], op: OpId, ask: Ask) -> Result<Outcome, Refusal> {
        let call = Call { object: stock(name), ..self.call(op, ask) };
        self.answer_to(at, call).map(|reply| reply.outcome)
    }

    fn stocked(count: usize) -> Self {
        let mut it = Self::new(count);
        for name in STOCKS {
            let op = it.op();
            let ask = Ask::Restock { units: 500, at: member(0) };
            assert_eq!(it.asks_of(0, name, op, ask), Ok(Outcome::Done));
        }
        it
    }

    /// All that ada has, from pages of so many.
    fn adas(&mut self, at: usize, size: usize) -> Vec<(ObjectKey, Hold)> {
        let (mut all, mut behind) = (Vec::new(), None);
        loop {
            let ask = Command::HeldBy(held_by(behind.clone(), size));
            let Ok(Reply::Shown(shown)) = self.ask(at, ask) else { panic!() };
            let Value::HeldBy(CustomerHolds { holds, next }) = shown.value else { panic!() };
            all.extend(holds);
            if next.is_none() {
                return all;
            }
            behind = next;
        }
    }

    /// The same, from the pages of each stock.
    fn adas_by_stock(&mut self, at: usize) -> Vec<(ObjectKey, Hold)> {
        let mut all = Vec::new();
        for name in STOCKS {
            let of = HoldsOf { customer: Some(ada()), after: None };
            let page = HoldsPage { of, holds: 1_000, bytes: usize::MAX };
            let read = Read { holds: Some(page), ..Read::new(stock(name), Arc::default(), 0) };
            let Ok(Reply::Shown(shown)) = self.ask(at, Command::Read(read)) else { panic!() };
            let Value::Holds(holds) = shown.value else { panic!() };
            assert_eq!(holds.next, None);
            all.extend(holds.holds.into_iter().map(|hold| (stock(name), hold)));
        }
        all
    }
}

/// Whatever is held, sold, let go or lapses, and whoever crashes: both kinds of pages agree, at
/// every member, whatever the size of a page.
#[test]
fn what_a_customer_holds_of_all_stocks_is_what_each_stock_says() {
    for seed in 0..6 {
        let mut it = Cluster::stocked(2);
        let mut open = Vec::new();
        for round in 0..60 {
            let (at, name) = (it.drawn(2) as usize, STOCKS[it.drawn(3) as usize]);
            let customer: &[u8] = if it.drawn(3) == 0 { b"bob" } else { b"ada" };
            let want = wanted_by(customer);
            match it.drawn(8) + seed % 2 {
                0..=3 => {
                    let op = it.op();
                    let ttl_ms = if it.drawn(4) == 0 { 500 } else { LONG };
                    drop(it.asks_of(at, name, op, Ask::Hold { want: want.clone(), ttl_ms }));
                    open.push((name, op, want));
                }
                4 => {
                    it.crash(at);
                    it.start(at);
                }
                _ if open.is_empty() => {}
                what => {
                    let (name, op, want) = open[it.drawn(open.len() as u64) as usize].clone();
                    let ask = match what {
                        5 => Ask::Release,
                        6 => Ask::Commit { want },
                        7 => Ask::Return,
                        _ => Ask::Extend { ttl_ms: LONG },
                    };
                    drop(it.asks_of(at, name, op, ask));
                }
            }
            if round % 20 == 19 {
                it.run(5_000);
                for at in 0..2 {
                    let all = it.adas_by_stock(at);
                    for size in [1, 2, 1_000] {
                        assert_eq!(it.adas(at, size), all, "seed {seed}, round {round}");
                    }
                }
            }
        }
        assert!(!it.adas(0, 9).is_empty());
    }
}

/// A page that covers no less than its session, and looks at no more than it may.
#[test]
fn a_page_of_a_customers_holds_has_bounds_and_covers_its_session() {
    let mut it = Cluster::stocked(1);
    for name in STOCKS {
        for _ in 0..3 {
            let op = it.op();
            let held = it.asks_of(0, name, op, Ask::Hold { want: wanted_by(b"ada"), ttl_ms: LONG });
            assert!(matches!(held, Ok(Outcome::Held { .. })));
        }
    }
    let small = HeldBy { bytes: 1, ..held_by(None, 9) };
    let Ok(Reply::Shown(shown)) = it.ask(0, Command::HeldBy(small)) else { panic!() };
    let Value::HeldBy(page) = shown.value else { panic!() };
    let (first, hold) = page.holds[0].clone();
    assert_eq!((page.holds.len(), page.next), (1, Some((first, hold.op))));
    let mut after = VersionVector::new();
    after.raise(orset::Origin::from_bytes([0xee; 16]), 3);
    let ahead = HeldBy { after: Arc::new(after), ..held_by(None, 9) };
    let behind = it.ask(0, Command::HeldBy(ahead));
    assert!(matches!(behind, Err(Refusal::Behind { .. })), "{behind:?}");
}

/// N2: as a build without notes leaves a directory, and as one that knows only those by stock does
/// that has written on in a directory of this one.
#[test]
fn a_directory_of_an_older_build_gets_its_notes_when_it_is_opened() {
    for knows_stocks in [false, true] {
        let mut it = Cluster::stocked(1);
        it.nodes[0].settings.checkpoint_rows = 4;
        it.crash(0);
        it.start(0);
        let mut ops = Vec::new();
        for n in 0..40_u32 {
            let (op, name) = (it.op(), STOCKS[n as usize % 3]);
            let ask = Ask::Hold { want: wanted_by(b"ada"), ttl_ms: LONG };
            drop(it.asks_of(0, name, op, ask));
            ops.push((name, op));
        }
        it.run(1_000);
        let all = it.adas(0, 1_000);
        assert_eq!(all.len(), 40);
        let store = it.nodes[0].store.clone();
        let kinds: &[u8] = if knows_stocks { &[11] } else { &[10, 11] };
        let notes = kinds.iter().flat_map(|kind| store.scan(&[*kind], None, 1_000).unwrap());
        let mut gone: Vec<_> = notes.map(|(key, _)| (key, None)).collect();
        gone.push((b"\0notes".to_vec(), None));
        if knows_stocks {
            // A note of something that was let go by the older build.
            let mut stale = store.scan(&[11], None, 1).unwrap().remove(0).0;
            *stale.last_mut().unwrap() ^= 1;
            gone.push((stale, Some(Vec::new())));
        }
        gone.sort();
        store.write_state(&gone).unwrap();
        store.sync_state().unwrap();
        drop(store);
        it.crash(0);
        it.start(0);
        assert_eq!(it.adas(0, 7), all);
        assert_eq!(it.adas_by_stock(0), all);
        // And once more, from what is on disk: nothing is made twice, or half.
        for (name, op) in &ops[..20] {
            it.asks_of(0, name, *op, Ask::Release).unwrap();
        }
        it.run(1_000);
        it.crash(0);
        it.start(0);
        assert_eq!(it.adas(0, 7).len(), 20);
        assert_eq!(it.adas(0, 7), it.adas_by_stock(0));
    }
}

fn rows(rig: &Rig, kind: u8) -> Vec<Row> {
    rig.store.scan(&[kind], None, 1_000).unwrap()
}

fn call(n: u64, ask: Ask) -> Command {
    let (object, after, op) = (stock(b"phone"), Arc::default(), id(n));
    let (deadline_us, lane, peers, by_us) = (u64::MAX, NO_LANE, 0, u64::MAX);
    Command::Stock(Call { op, object, ask, after, deadline_us, lane, peers, by_us })
}

/// Asks the peer about the stocks, which has these rows, and takes them.
fn mend(rig: &mut Rig, right: &[Row]) {
    rig.does(Event::Verify(Verify { deep: true, repair: true, from: None }));
    let tick = |rig: &mut Rig| {
        rig.now.mono_us += 1_000_000;
        rig.does(Event::Tick { chance: 0 });
    };
    (0..2).for_each(|_| tick(rig));
    let asked = rig.sent.iter().rev().find_map(|message| match message {
        Message::Compare(Compare::Ask { id, at, .. }) => Some((*id, at.clone())),
        _ => None,
    });
    let (id, vector) = asked.unwrap();
    let sum = |sum: u128, (key, value): &Row| sum.wrapping_add(row_hash(key, value));
    let sums = vec![right.iter().fold(0, sum)];
    let said = Compare::Rows { id, vector, sums, rows: right.to_vec(), next: None };
    rig.does(Event::Message { from: PEER, message: Message::Compare(said) });
    tick(rig);
}

/// Rows of a record that are lost, with its notes, or that say another customer: a peer's rows mend
/// them, and the notes with them.
#[test]
fn notes_are_mended_with_their_records() {
    for is_lost in [true, false] {
        let mut rig = Rig::with(|settings| settings.checkpoint_rows = 1);
        assert!(rig.asks(call(1, Ask::Restock { units: 9, at: ME })).unwrap().is_ok());
        for n in 2..5 {
            let ask = Ask::Hold { want: wanted_by(b"ada"), ttl_ms: LONG };
            assert!(rig.asks(call(n, ask)).unwrap().is_ok());
        }
        let right = rows(&rig, 5);
        let notes = [rows(&rig, 10), rows(&rig, 11)];
        assert_eq!(notes.each_ref().map(Vec::len), [3, 3]);
        let (key, value) = right[right.len() - 1].clone();
        let mut planted = vec![];
        if is_lost {
            planted.push((key, None));
            planted.push((notes[0][2].0.clone(), None));
            planted.push((notes[1][2].0.clone(), None));
        } else {
            let at = value.windows(3).position(|some| some == b"ada").unwrap();
            let mut bent = value;
            bent[at..at + 3].copy_from_slice(b"eve");
            planted.push((key, Some(bent)));
            let mut note = notes[1][2].0.clone();
            let at = note.windows(3).position(|some| some == b"ada").unwrap();
            note[at..at + 3].copy_from_slice(b"eve");
            planted.push((notes[0][2].0.clone(), Some(b"eve".to_vec())));
            planted.push((notes[1][2].0.clone(), None));
            planted.push((note, Some(Vec::new())));
        }
        planted.sort();
        rig.store.write_state(&planted).unwrap();
        mend(&mut rig, &right);
        assert_eq!(rows(&rig, 5), right, "lost: {is_lost}");
        assert_eq!([rows(&rig, 10), rows(&rig, 11)], notes, "lost: {is_lost}");
    }
}

/// The head of a stock is kept decoded between two looks at it. When it has been mended meanwhile,
/// what is done next must not rest on what was there before.
#[test]
fn what_is_done_to_a_stock_that_was_mended_rests_on_what_it_is_now() {
    let heads = [false, true].map(|rots| {
        let mut rig = Rig::with(|settings| settings.checkpoint_rows = 1);
        assert!(rig.asks(call(1, Ask::Restock { units: 9, at: ME })).unwrap().is_ok());
        let right = rows(&rig, 5);
        let (key, mut head) = right[0].clone();
        if rots {
            // Another number of units.
            let at = head.iter().position(|byte| *byte == 9).unwrap();
            head[at] = 7;
            rig.store.write_state(&[(key, Some(head))].into()).unwrap();
        }
        // A look at another, and then at this.
        for name in [&b"lamp"[..], b"phone"] {
            let Command::Stock(look) = call(2, Ask::Release) else { unreachable!() };
            let look = Command::Stock(Call { object: stock(name), ..look });
            assert!(rig.asks(look).unwrap().is_err(), "nothing is held");
        }
        if rots {
            mend(&mut rig, &right);
        }
        assert_eq!(rows(&rig, 5), right);
        let ask = Ask::Hold { want: wanted_by(b"ada"), ttl_ms: LONG };
        assert!(rig.asks(call(3, ask)).unwrap().is_ok());
        rows(&rig, 5)[0].clone()
    });
    assert_eq!(heads[0], heads[1]);
}
