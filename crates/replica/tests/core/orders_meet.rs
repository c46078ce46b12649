//! Orders that meet: one confirmed at two members, two over one entry, and what becomes of those
//! that lose.

use crate::orders::{held, shop};
use crate::rig::cluster::Cluster;
use orset::OpIdSession;
use orset::stock::{OrderAsk, Outcome, Refused};
use pannier_replica::protocol::{Command, Durability, Event, Refusal, Write};

impl Cluster {
    /// Rights of its own for what the shop sells.
    fn stocks(&mut self, at: usize) {
        ["x", "y"].into_iter().for_each(|name| self.has(at, name, 5));
    }
}

/// S13.
#[test]
fn an_order_confirmed_at_two_is_one_order_and_uses_its_units_once() {
    for is_cut in [false, true] {
        let mut it = shop(2);
        let (id, goods) = (it.op(), it.goods(0, None));
        assert!(held(&it.checks_out(0, id, &goods)));
        // The other has rights of its own, and has heard of the hold.
        it.stocks(1);
        it.rests();
        if is_cut {
            it.cut.insert(0);
            assert_eq!(it.confirms(1, id, &goods), Ok(Outcome::Committed), "from its own rights");
        }
        assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Committed));
        it.cut.clear();
        if !is_cut {
            assert_eq!(it.confirms(1, id, &goods), Ok(Outcome::Committed), "its owner says so");
        }
        it.rests();
        it.run(3_000);
        for at in 0..2 {
            assert_eq!((it.sums(at, "x"), it.sums(at, "y")), ((13, 0, 2), (14, 0, 1)));
            assert_eq!((it.units(at, "x"), it.units(at, "y")), (0, 0));
            assert_eq!(it.orders(at, id, OrderAsk::Show), Ok(Outcome::Committed));
        }
    }
}

/// Where the owner of the holds is cut off and the order is confirmed elsewhere, its holds are let
/// go when it hears of that.
#[test]
fn what_was_held_is_freed_when_the_order_was_confirmed_elsewhere() {
    let mut it = shop(2);
    let (id, goods) = (it.op(), it.goods(0, None));
    assert!(held(&it.checks_out(0, id, &goods)));
    it.stocks(1);
    it.rests();
    it.cut.insert(0);
    assert_eq!(it.confirms(1, id, &goods), Ok(Outcome::Committed));
    it.cut.clear();
    it.rests();
    it.run(3_000);
    for at in 0..2 {
        assert_eq!((it.sums(at, "x"), it.sums(at, "y")), ((13, 0, 2), (14, 0, 1)));
    }
}

/// S13b.
#[test]
fn of_two_orders_over_one_entry_one_stands_and_the_other_gives_its_units_back() {
    for lower_first in [false, true] {
        let mut it = shop(2);
        it.stocks(1);
        it.rests();
        let (low, high, goods) = (it.op(), it.op(), it.goods(0, None));
        assert!(low < high);
        it.cut.insert(1);
        let (here, there) = if lower_first { (low, high) } else { (high, low) };
        assert_eq!(it.confirms(0, here, &goods), Ok(Outcome::Committed));
        assert_eq!(it.confirms(1, there, &goods), Ok(Outcome::Committed));
        it.cut.clear();
        it.rests();
        it.run(3_000);
        for at in 0..2 {
            assert_eq!(it.orders(at, low, OrderAsk::Show), Ok(Outcome::Committed));
            let lost = Ok(Outcome::Conflicted { with: low });
            assert_eq!(it.orders(at, high, OrderAsk::Show), lost, "the payment is void");
            assert_eq!(it.confirms(at, high, &goods), lost);
            assert_eq!((it.sums(at, "x"), it.sums(at, "y")), ((13, 0, 2), (14, 0, 1)));
            assert_eq!((it.units(at, "x"), it.units(at, "y")), (0, 0));
        }
        let returned: u64 = it.nodes.iter().map(|it| it.protocol.stats().orders_returned).sum();
        assert!(returned > 0);
    }
}

/// Two are at the till with one cart: who pays second is told, and nothing stays held.
#[test]
fn an_open_order_falls_when_another_has_bought_its_entries() {
    let mut it = shop(2);
    let (low, high, goods) = (it.op(), it.op(), it.goods(0, None));
    assert!(held(&it.checks_out(0, low, &goods)));
    it.rests();
    assert!(held(&it.checks_out(1, high, &goods)));
    it.rests();
    assert_eq!(it.sums(0, "x"), (6, 4, 0));
    assert_eq!(it.confirms(1, high, &goods), Ok(Outcome::Committed), "the higher, but the first");
    it.rests();
    it.run(3_000);
    let lost = Ok(Outcome::Conflicted { with: high });
    assert_eq!(it.confirms(0, low, &goods), lost);
    assert_eq!(it.orders(1, low, OrderAsk::Show), lost);
    for at in 0..2 {
        assert_eq!((it.sums(at, "x"), it.sums(at, "y")), ((8, 0, 2), (9, 0, 1)));
    }
    let third = it.op();
    assert_eq!(it.checks_out(0, third, &goods), lost);
}

/// C2. Who holds units for an order lets them go when it hears that another has bought the entries;
/// a third has confirmed it meanwhile, it is the lower one, and it stands.
#[test]
fn what_is_let_go_for_another_order_may_still_be_confirmed_elsewhere() {
    let mut it = shop(3);
    it.stocks(1);
    it.stocks(2);
    it.rests();
    let (low, high, goods) = (it.op(), it.op(), it.goods(0, None));
    assert!(held(&it.checks_out(0, low, &goods)));
    it.rests();
    it.cut.insert(2);
    assert_eq!(it.confirms(1, high, &goods), Ok(Outcome::Committed));
    it.run(2_000);
    assert_eq!(it.orders(0, low, OrderAsk::Show), Ok(Outcome::Conflicted { with: high }));
    assert_eq!(it.confirms(2, low, &goods), Ok(Outcome::Committed), "from its own rights");
    it.cut.clear();
    it.rests();
    it.run(3_000);
    for at in 0..3 {
        assert_eq!(it.orders(at, low, OrderAsk::Show), Ok(Outcome::Committed));
        assert_eq!(it.orders(at, high, OrderAsk::Show), Ok(Outcome::Conflicted { with: low }));
        assert_eq!((it.sums(at, "x"), it.sums(at, "y")), ((18, 0, 2), (19, 0, 1)));
    }
}

/// C3. While an order is there that another has beaten, the other is not forgotten: it would stand.
#[test]
fn an_order_is_not_forgotten_before_those_that_it_beats() {
    let mut it = shop(2);
    it.stocks(1);
    it.rests();
    let window_ms = it.nodes[0].settings.window_ms;
    let low = it.op();
    it.now.wall_ms += window_ms / 2;
    let later = orset::OpIdSession::new(it.now.wall_ms / 1_000, 9).next_id().unwrap();
    let goods = it.goods(0, None);
    it.cut.insert(1);
    assert_eq!(it.confirms(0, low, &goods), Ok(Outcome::Committed));
    assert_eq!(it.confirms(1, later, &goods), Ok(Outcome::Committed));
    it.cut.clear();
    it.rests();
    let lost = Ok(Outcome::Conflicted { with: low });
    let mut past = 0;
    for _ in 0..60 {
        it.now.wall_ms += window_ms / 32;
        it.now.mono_us += window_ms / 32 * 1_000;
        it.run(1_000);
        let stands = it.orders(0, later, OrderAsk::Show);
        let is_past = matches!(stands, Err(Refusal::TooOld { .. }));
        assert!(is_past || stands == lost, "{stands:?}");
        past += u64::from(is_past);
    }
    assert!(past > 0);
    let folded: u64 = it.nodes.iter().map(|it| it.protocol.stats().orders_folded).sum();
    assert_eq!(folded, 2);
}

/// A customer's return of the whole order; or the fence of a client that was told to void its
/// payment by one who may not have heard of the sale.
#[test]
fn a_returned_order_gives_everything_back_wherever_it_is_confirmed() {
    let mut it = shop(2);
    it.stocks(1);
    it.rests();
    let (id, goods) = (it.op(), it.goods(0, None));
    it.cut.insert(1);
    assert_eq!(it.confirms(1, id, &goods), Ok(Outcome::Committed));
    let back = OrderAsk::Return { goods: goods.clone() };
    assert_eq!(it.orders(0, id, back.clone()), Ok(Outcome::Returned), "never heard of here");
    assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Returned));
    it.cut.clear();
    it.rests();
    it.run(3_000);
    for at in 0..2 {
        assert_eq!(it.orders(at, id, OrderAsk::Show), Ok(Outcome::Returned));
        assert_eq!((it.sums(at, "x"), it.sums(at, "y")), ((15, 0, 0), (15, 0, 0)));
    }
    assert_eq!(it.orders(1, id, back), Ok(Outcome::Returned), "a retry");
}

/// Found by the simulator: an order was returned at one member and folded at another at that
/// moment. Where the fold came first the return made it anew, and rows differed at one vector.
#[test]
fn an_order_that_may_be_folded_elsewhere_is_not_returned() {
    let mut it = shop(2);
    let (id, goods) = (it.op(), it.goods(0, None));
    assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Committed));
    it.rests();
    // Nobody folds while one is away.
    it.cut.insert(1);
    let window_ms = it.nodes[0].settings.window_ms;
    for _ in 0..20 {
        it.now.wall_ms += window_ms / 8;
        it.now.mono_us += window_ms / 8 * 1_000;
        it.run(1_000);
    }
    assert_eq!(it.orders(0, id, OrderAsk::Show), Ok(Outcome::Committed), "it is known");
    let back = it.orders(0, id, OrderAsk::Return { goods });
    assert!(matches!(back, Err(Refusal::TooOld { .. })), "{back:?}");
}

/// A snapshot is joined with an order that one side has folded, and the other has not heard of
/// that: it stays folded, on whichever side it was.
#[test]
fn an_order_that_one_side_of_a_snapshot_has_folded_stays_folded() {
    for away in [2, 0] {
        let mut it = Cluster::new(3);
        for at in 0..3 {
            let settings = &mut it.nodes[at].settings;
            (settings.log_tail, settings.log_most, settings.checkpoint_rows) = (1, 6, 6);
            it.crash(at);
            it.start(at);
        }
        it.run(3_000);
        it.has(0, "x", 10);
        it.puts(0, "x", 1);
        it.rests();
        let (id, goods) = (it.op(), it.goods(0, None));
        assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Committed));
        it.rests();
        // What is folded now goes out a step later.
        it.is_lazy = true;
        let window_ms = it.nodes[0].settings.window_ms;
        let has_folded = |it: &Cluster| it.nodes[0].protocol.stats().orders_folded > 0;
        for turn in 0.. {
            assert!(turn < 20_000, "it is never folded");
            if turn % 100 == 0 {
                it.now.wall_ms += window_ms / 16;
                it.now.mono_us += window_ms / 16 * 1_000;
            }
            it.step();
            if has_folded(&it) {
                break;
            }
        }
        it.cut.insert(away);
        it.is_lazy = false;
        it.run(100);
        let others: Vec<usize> = (0..3).filter(|at| *at != away).collect();
        for turn in 0..40 {
            let write = it.write(Durability::Local);
            let op = OpIdSession::new(it.now.wall_ms / 1_000, turn).next_id().unwrap();
            let write = Command::Write(Write { op, ..write });
            it.does(others[0], Event::Command(2, write));
            it.run(200);
        }
        it.agree(&others);
        it.cut.clear();
        it.run(10_000);
        it.agree(&[0, 1, 2]);
        let taken = it.nodes[away].protocol.stats().snapshots_taken;
        assert!(taken > 0, "r{away} came back by its log");
    }
}

/// All lines or none, at whichever member it is asked, and never shorter.
#[test]
fn an_order_is_held_longer_as_a_whole() {
    let mut it = shop(2);
    let (id, goods) = (it.op(), it.goods(0, None));
    let extends = |ttl_ms| OrderAsk::Extend { ttl_ms };
    let unknown = Err(Refusal::Stock(Refused::Unknown));
    assert_eq!(it.orders(0, id, extends(1)), unknown);
    let Ok(Outcome::Held { until_ms: first }) = it.checks_out(0, id, &goods) else { panic!() };
    it.rests();
    let Ok(Outcome::Held { until_ms }) = it.orders(1, id, extends(600_000)) else { panic!() };
    assert!(until_ms > first + 500_000, "by the member that holds it");
    assert_eq!(it.orders(0, id, extends(1)), Ok(Outcome::Held { until_ms }), "never shorter");
    assert_eq!(it.orders(0, id, OrderAsk::Show), Ok(Outcome::Held { until_ms }));
    assert!(matches!(it.orders(0, id, extends(0)), Err(Refusal::OutOfBounds(_))));
    it.now.wall_ms = first + 1;
    it.run(500);
    assert_eq!((it.sums(0, "x"), it.sums(0, "y")), ((8, 2, 0), (9, 1, 0)), "nothing lapses");
    it.now.wall_ms = until_ms + 1;
    it.run(500);
    assert_eq!((it.sums(0, "x"), it.sums(0, "y")), ((10, 0, 0), (10, 0, 0)), "all of it does");
    assert_eq!(it.orders(0, id, extends(60_000)), Ok(Outcome::Expired));
    let bought = it.op();
    assert_eq!(it.confirms(0, bought, &goods), Ok(Outcome::Committed));
    it.rests();
    assert_eq!(it.orders(1, bought, extends(60_000)), Ok(Outcome::Committed));
}
