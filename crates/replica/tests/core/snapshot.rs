//! Two replicas by hand, one of which was away for longer than the other kept its log: what is
//! joined is what replaying would have made, wherever the taker crashes meanwhile.

use crate::snapshot_world::{NAMES, Two, WALL_MS, WINDOW_MS, cart, counter};
use orset::OpIdSession;
use pannier_replica::protocol::snapshot::Parcel;
use pannier_replica::protocol::{Canary, Command, Event, Message, NO_LANE, Read, Refusal, Value};
use std::sync::Arc;

/// Both know of `kept`, `there` and `here`; then the second is away, each removes one, adds one and
/// counts.
fn story(two: &mut Two) {
    for product in ["kept", "there", "here"] {
        two.add(0, product);
    }
    two.count(0, 5);
    two.run(20, None);
    two.agree();
    two.cut = true;
    two.remove(0, "there");
    two.remove(1, "here");
    two.add(1, "unseen");
    two.count(0, 7);
    two.count(1, -2);
    two.much_happens();
    (two.cut, two.holds) = (false, true);
}

fn ends_well(two: &mut Two) {
    two.agree();
    let taken: u64 = two.ones.iter().map(|one| one.protocol.stats().snapshots_taken).sum();
    assert!(taken <= 2, "{taken}");
    for place in 0..2 {
        let products = two.products(place);
        for (product, is_there) in
            [("kept", true), ("unseen", true), ("p23", true), ("there", false), ("here", false)]
        {
            assert_eq!(products.iter().any(|it| it == product), is_there, "{product}");
        }
        assert_eq!(two.read(place, &counter()), Value::Counter(10));
    }
}

#[test]
fn what_nobody_has_seen_survives_and_what_was_missed_comes() {
    let mut two = Two::new();
    story(&mut two);
    two.run(120, None);
    ends_well(&mut two);
    assert_eq!(two.ones[1].protocol.stats().snapshots_taken, 1);
    assert_eq!(two.ones[0].protocol.stats().snapshots_given, 1);
    // Its log goes on behind the snapshot, and survives a restart.
    two.add(0, "later");
    two.run(20, None);
    two.crash(1);
    two.run(40, None);
    two.agree();
    assert!(two.products(1).iter().any(|it| it == "later"));
}

#[test]
fn a_crash_after_any_event_goes_on_or_begins_anew() {
    let mut points = 0;
    for crash in 1.. {
        let mut two = Two::new();
        story(&mut two);
        two.run(300, Some(crash));
        ends_well(&mut two);
        if two.ones[1].starts == 1 {
            break;
        }
        points = crash;
    }
    assert!(points > 10, "{points} places to crash at");
}

#[test]
fn a_taker_that_replaces_its_state_loses_what_nobody_has_seen() {
    let mut two = Two::with(Canary::SnapshotReplaces);
    story(&mut two);
    two.run(120, None);
    assert!(!two.products(1).iter().any(|it| it == "unseen"), "the planted bug shows");
}

/// A giver that starts anew has lost its view: the taker begins again with another.
#[test]
fn a_giver_that_starts_anew_is_asked_anew() {
    let mut two = Two::new();
    story(&mut two);
    for _ in 0..200 {
        two.run(1, None);
        if two.ones[1].protocol.stats().snapshot_rows > 0 {
            break;
        }
    }
    two.crash(0);
    two.run(200, None);
    ends_well(&mut two);
    let stats = two.ones[1].protocol.stats();
    assert_eq!((stats.snapshots_given_up, stats.snapshots_taken), (1, 1));
}

/// One that may spend a tenth of its time on it takes several times as long, and ends as well.
#[test]
fn a_snapshot_is_taken_in_for_its_share_of_the_time() {
    let took = [1_000, 100].map(|share| {
        let mut two = Two::with_share(Canary::None, share);
        story(&mut two);
        let stats = |two: &Two| *two.ones[1].protocol.stats();
        let steps = (0..2_000).take_while(|_| {
            two.run(1, None);
            stats(&two).snapshots_taken == 0
        });
        let steps = steps.count();
        two.run(20, None);
        ends_well(&mut two);
        assert_eq!(stats(&two).snapshots_given_up, 0);
        assert_eq!(stats(&two).snapshot_rests > 0, share < 1_000);
        steps
    });
    assert!(took[1] > 4 * took[0] && took[1] < 40 * took[0], "{took:?}");
}

/// While rows are joined nothing is answered; before and after that, everything.
#[test]
fn doors_are_closed_while_rows_are_joined() {
    let mut two = Two::new();
    story(&mut two);
    let (mut open, mut shut) = (0, 0);
    for _ in 0..200 {
        two.run(1, None);
        let is_installing = two.ones[1].protocol.is_installing();
        let (object, after, lane) = (cart(), Arc::default(), NO_LANE);
        let read = Read { allow_stale: true, lane, ..Read::new(object, after, 0) };
        match two.ask(1, Command::Read(read)) {
            Err(Refusal::CatchingUp) if is_installing => shut += 1,
            Ok(_) if !is_installing => open += 1,
            other => panic!("installing: {is_installing}, {other:?}"),
        }
    }
    ends_well(&mut two);
    assert!(open > 0 && shut > 2, "{open} {shut}");
}

/// Time passes in great steps, and both write: so each tells cuts, and forgets by those it hears.
fn a_while(two: &mut Two, steps: u64) {
    for step in 0..steps {
        two.now.wall_ms += WINDOW_MS / 20;
        two.ids = OpIdSession::new(two.now.wall_ms / 1_000, 100 + step);
        for place in 0..2 {
            two.count(place, 1);
        }
        two.run(30, None);
    }
}

/// Each side is the base once: the one that has forgotten further, and the other.
#[test]
fn a_counter_is_the_same_whichever_side_has_forgotten_further() {
    for is_deaf in [true, false] {
        let mut two = Two::new();
        two.count(0, 500);
        two.count(1, 30);
        a_while(&mut two, 10);
        two.agree();
        // The second goes on telling its cuts, and hears none of the first's.
        two.deaf = is_deaf;
        a_while(&mut two, 30);
        two.deaf = false;
        two.cut = true;
        let forgotten = [0, 1].map(|place| two.ones[place].protocol.forgotten().greatest());
        assert_eq!(forgotten[0] > forgotten[1], is_deaf, "{forgotten:?}");
        let counts = two.ones[0].protocol.stats().counts_forgotten;
        assert!(forgotten[0] > WALL_MS && counts > 10, "{counts}");
        two.count(0, 7);
        two.count(1, -2);
        two.much_happens();
        (two.cut, two.holds) = (false, true);
        two.run(200, None);
        two.agree();
        assert_eq!(two.ones[1].protocol.stats().snapshots_taken, 1);
        assert_eq!(two.read(1, &counter()), Value::Counter(500 + 30 + 80 + 7 - 2));
    }
}

/// What the giver's state of long ago has, and the taker has removed and forgotten since, ends.
#[test]
fn what_was_removed_and_forgotten_here_does_not_come_back() {
    let mut two = Two::new();
    story(&mut two);
    two.run(200, None);
    ends_well(&mut two);
    // A state in which the entry lives, on its way for long.
    let ask = Parcel::Ask { name: None, after: Some(Vec::new()), credit: 16 };
    two.feed(0, Event::Message { from: NAMES[1], message: Message::Snapshot(ask) });
    let mut pages = Vec::new();
    for step in 0..16 {
        two.now.mono_us += 1_000;
        two.feed(0, Event::Tick { chance: step });
        let said = std::mem::take(&mut two.ones[0].said);
        pages.extend(said.into_iter().filter(|message| matches!(message, Message::Snapshot(_))));
    }
    assert!(pages.len() > 2);
    let taken = two.ones[1].protocol.stats().snapshots_taken;
    two.remove(1, "kept");
    a_while(&mut two, 60);
    let idle = two.ones[1].protocol.remembered(two.now.wall_ms - 2 * WINDOW_MS).unwrap().1;
    assert_eq!(idle, 0, "what has ended is forgotten");
    two.cut = true;
    two.much_happens();
    two.cut = false;
    let mut looked = 0;
    for step in 0..400 {
        two.now.mono_us += 60_000;
        for (place, from) in NAMES.into_iter().enumerate() {
            two.feed(place, Event::Tick { chance: step });
            for event in std::mem::take(&mut two.ones[place].due) {
                two.feed(place, event);
            }
            for message in std::mem::take(&mut two.ones[place].said) {
                let is_first = two.ones[1].protocol.stats().snapshots_taken == taken;
                match message {
                    Message::Snapshot(Parcel::Ask { .. }) if place == 1 && is_first => {
                        for page in std::mem::take(&mut pages) {
                            two.feed(1, Event::Message { from: NAMES[0], message: page });
                        }
                    }
                    Message::Snapshot(_) if place == 0 && is_first => {}
                    message => two.feed(1 - place, Event::Message { from, message }),
                }
            }
        }
        // A younger state would mend what the old one had brought back.
        let one = &two.ones[1].protocol;
        if one.stats().snapshots_taken > taken && !one.is_installing() {
            assert!(!two.products(1).iter().any(|it| it == "kept"), "it is back");
            looked += u64::from(two.ones[1].protocol.stats().snapshots_taken == taken + 1);
        }
    }
    two.agree();
    let taken = two.ones[1].protocol.stats().snapshots_taken - taken;
    assert!(taken > 1 && looked > 0, "the old one, and one that helps: {taken}, {looked}");
}

/// Each has dropped what the other lacks (counterexample 6, E2): only the join of their states can
/// bring them together, and each takes one.
#[test]
fn two_that_have_both_dropped_what_the_other_lacks_come_together() {
    let mut two = Two::new();
    two.add(0, "kept");
    two.run(20, None);
    two.cut = true;
    for n in 0..24 {
        two.add(0, &format!("there{n:02}"));
        two.add(1, &format!("here{n:02}"));
        two.count(n % 2, 1);
        two.run(1, None);
    }
    two.cut = false;
    two.run(300, None);
    two.agree();
    assert_eq!(two.products(0).len(), 49);
    assert_eq!(two.read(0, &counter()), Value::Counter(24));
    assert!(two.ones.iter().all(|one| one.protocol.stats().snapshots_taken > 0));
}
