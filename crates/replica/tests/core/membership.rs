//! Origins are closed: what a member promises, what it takes in, and what it says who has more.
//!
//! The simulator plays the whole of it among honest members; here are the single steps, and what a
//! member says whose disk knows better, or less, than it should.

use crate::rig::*;
use orset::cart::{CartEffect, Take};
use orset::{Dot, Effect, Member, Origin, Product, Request, VersionVector};
use pannier_replica::protocol::delta::{Birth, Delta};
use pannier_replica::protocol::membership::{Final, Proposal, Record, Talk, Why};
use pannier_replica::protocol::{Alarm, Event, Message, Refusal, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The peer's next start. Its id is below that of `OLD`, so a log names it first.
const NEXT: Origin = Origin::of(PEER, 0);
const OLD: Origin = THEIRS;

fn says(rig: &mut Rig, talk: Talk) -> Vec<Talk> {
    rig.sent.clear();
    rig.does(Event::Message { from: PEER, message: Message::Membership(talk) });
    let sent = rig.sent.drain(..).filter_map(|message| match message {
        Message::Membership(talk) => Some(talk),
        _ => None,
    });
    sent.collect()
}

/// The peer has started anew, and stands at a number.
fn started_anew(rig: &mut Rig, origin: Origin, number: u64) {
    let (vector, total) = (VersionVector::new(), 0);
    let message = Message::Status { origin, number, vector, total, reply: false, reads: 1 };
    rig.does(Event::Message { from: PEER, message });
}

fn closes(change: u64, last: u64) -> Talk {
    let close = [(OLD, last)].into_iter().collect();
    Talk::Propose(Proposal {
        number: 1,
        change,
        by: PEER,
        start: NEXT,
        close,
        add: BTreeMap::new(),
        remove: BTreeSet::new(),
        format: 0,
        dead: BTreeMap::new(),
    })
}

fn refused(change: u64, why: Why) -> Talk {
    Talk::Refuse { change, why }
}

fn accepted(change: u64) -> Talk {
    Talk::Accept { change, start: MINE, vector: VersionVector::new() }
}

fn closed(change: u64, last: u64) -> Talk {
    let finals = [(OLD, Final { seq: last, number: 1 })].into_iter().collect();
    let members = [ME, PEER].into_iter().collect();
    Talk::Record(Arc::new(Record { number: 1, change, members, finals, ..Record::default() }))
}

fn seen(seq: u64) -> VersionVector {
    [Dot::new(OLD, seq)].into_iter().collect()
}

/// With the first two deltas of the origin that is to be closed.
fn with_two() -> Rig {
    let mut rig = Rig::new();
    rig.hears(delta(1, 1, 1).encode());
    rig.hears(delta(2, 2, 1).encode());
    started_anew(&mut rig, NEXT, 0);
    rig
}

#[test]
fn an_end_is_promised_only_where_it_is_and_nothing_behind_it_is_taken() {
    let mut rig = with_two();
    assert_eq!(says(&mut rig, closes(7, 1)), [refused(7, Why::Differs)]);
    assert_eq!(says(&mut rig, closes(8, 3)), [refused(8, Why::Differs)]);
    assert_eq!(says(&mut rig, closes(9, 2)), [accepted(9)]);
    assert_eq!(says(&mut rig, closes(10, 2)), [accepted(9)], "one at a time");
    rig.hears(delta(3, 3, 1).encode());
    assert_eq!(rig.lamps(), 2, "what comes late is not taken");
    rig.restart();
    rig.hears(delta(3, 3, 1).encode());
    assert_eq!(rig.lamps(), 2, "nor after a restart");
    says(&mut rig, Talk::Abandon { change: 9 });
    rig.hears(delta(3, 3, 1).encode());
    assert_eq!(rig.lamps(), 3, "until the change is given up");
}

#[test]
fn what_a_member_still_writes_under_is_not_closed() {
    let mut rig = Rig::new();
    rig.hears(delta(1, 1, 1).encode());
    started_anew(&mut rig, OLD, 0);
    assert_eq!(says(&mut rig, closes(7, 1)), [refused(7, Why::Differs)]);
    let close = [(MINE, 0)].into_iter().collect();
    let Talk::Propose(theirs) = closes(8, 0) else { panic!() };
    let mine = Proposal { close, ..theirs };
    assert_eq!(says(&mut rig, Talk::Propose(mine)), [refused(8, Why::Differs)]);
}

/// Another start of the proposer may be one before it, whose word comes late: so it is asked.
#[test]
fn a_promise_ends_when_its_proposer_has_given_the_change_up_and_says_so() {
    let mut rig = with_two();
    says(&mut rig, closes(7, 2));
    started_anew(&mut rig, Origin::of(PEER, 77), 0);
    rig.hears(delta(3, 3, 1).encode());
    assert_eq!(rig.lamps(), 2, "it may have been decided");
    assert_eq!(says(&mut rig, closes(8, 2)), [accepted(7)], "and whoever asks is asked");
    says(&mut rig, Talk::Abandon { change: 7 });
    rig.hears(delta(3, 3, 1).encode());
    assert_eq!(rig.lamps(), 3, "that start had decided nothing");
}

/// Found by the simulator: who had heard neither of the start that wrote nor of its writes promised
/// to take none of them, and its proposer was gone for good. All others had them, and so none could
/// ever promise it; and it kept them, and all that rests on them, from this replica for ever.
#[test]
fn a_promise_ends_when_another_has_what_it_keeps_out() {
    let mut rig = with_two();
    assert_eq!(says(&mut rig, closes(7, 2)), [accepted(7)]);
    assert_eq!(says(&mut rig, closes(7, 2)), [accepted(7)], "it stands");
    let message = Message::Status {
        origin: NEXT,
        number: 0,
        vector: seen(3),
        total: 0,
        reply: false,
        reads: 1,
    };
    rig.does(Event::Message { from: PEER, message });
    rig.sent.clear();
    let is_refused = |rig: &mut Rig| {
        rig.now.mono_us += 1_000;
        rig.does(Event::Tick { chance: 1 });
        let refused = Message::Membership(refused(7, Why::Differs));
        rig.sent.contains(&refused)
    };
    let mut ticks = 0;
    while !is_refused(&mut rig) {
        ticks += 1;
        assert!(ticks < 10_000, "it is never given up");
    }
    rig.hears(delta(3, 3, 1).encode());
    assert_eq!(rig.lamps(), 3);
    assert_eq!(says(&mut rig, closes(8, 2)), [refused(8, Why::Differs)]);
}

#[test]
fn under_one_number_only_the_promised_record_is_taken() {
    let mut rig = with_two();
    says(&mut rig, closes(7, 2));
    says(&mut rig, closed(8, 2));
    assert_eq!(rig.protocol.number(), 0);
    says(&mut rig, closed(7, 2));
    assert_eq!(rig.protocol.number(), 1);
    assert_eq!(says(&mut rig, closes(9, 2)), [closed(7, 2)], "who is behind is told");
}

#[test]
fn a_membership_is_in_force_with_all_that_it_closes_and_not_before() {
    let mut rig = Rig::new();
    rig.hears(delta(1, 1, 1).encode());
    says(&mut rig, closed(7, 2));
    assert_eq!(rig.protocol.number(), 0);
    rig.now.mono_us += 1_000_000;
    rig.does(Event::Tick { chance: 0 });
    let pulls =
        |message: &Message| matches!(message, Message::Pull { ranges } if ranges[0].origin == OLD);
    assert!(rig.sent.iter().any(pulls), "what is missing is asked for");
    rig.hears(delta(2, 2, 1).encode());
    for _ in 0..2 {
        assert_eq!(rig.protocol.number(), 1);
        assert_eq!(rig.protocol.synced().get(OLD), 0, "it is left out");
        rig.hears(delta(2, 2, 1).encode());
        assert_eq!(rig.lamps(), 2, "and its late deltas are duplicates");
        assert!(rig.read_after(seen(2)).unwrap().is_ok(), "a session that has seen it is served");
        rig.restart();
    }
}

/// Found by the profile `restored` of the simulator, seed 997: what the second membership closed
/// was made under the first, which was never in force here. A member with an empty disk waited for
/// the delta to come into force, and for the membership to apply the delta.
#[test]
fn who_begins_with_nothing_comes_to_a_membership_over_those_before_it() {
    let mut rig = Rig::new();
    let finals = [(OLD, Final { seq: 1, number: 1 }), (NEXT, Final { seq: 1, number: 2 })];
    let (members, finals) = ([ME, PEER].into_iter().collect(), finals.into_iter().collect());
    says(
        &mut rig,
        Talk::Record(Arc::new(Record {
            number: 2,
            change: 7,
            members,
            finals,
            ..Record::default()
        })),
    );
    let birth = Some(Birth { member: PEER, previous: Some(OLD) });
    let deps = vec![Dot::new(Origin::MEMBERSHIP, 1)];
    let under_the_first = Delta { dot: Dot::new(NEXT, 1), deps, birth, ..delta(1, 2, 1) };
    rig.hears(under_the_first.encode());
    assert_eq!((rig.lamps(), rig.protocol.number()), (0, 0), "not before what that one closed");
    rig.hears(delta(1, 1, 1).encode());
    assert_eq!((rig.lamps(), rig.protocol.number()), (2, 2));
    rig.restart();
    assert_eq!((rig.lamps(), rig.protocol.number()), (2, 2));
}

#[test]
fn a_session_that_has_seen_what_is_gone_is_told_and_given_what_is_left() {
    let mut rig = with_two();
    says(&mut rig, closed(7, 2));
    let mut after = seen(5);
    after.raise(NEXT, 9);
    let Some(Err(Refusal::Lost { origin, last, need, left })) = rig.read_after(after) else {
        panic!("{:?}", rig.replies);
    };
    assert_eq!((origin, last, need), (OLD, 2, 5));
    assert_eq!((left.get(OLD), left.get(NEXT)), (2, 9));
}

#[test]
fn who_has_more_than_the_agreed_end_says_so_once_and_answers_nothing() {
    let mut rig = with_two();
    says(&mut rig, closed(7, 1));
    says(&mut rig, closed(7, 1));
    assert_eq!(rig.alarms, [Alarm::BeyondFinal { last: Dot::new(OLD, 1) }]);
    assert_eq!(rig.read_after(VersionVector::new()), Some(Err(Refusal::Over)));
    assert_eq!(rig.protocol.number(), 0);
}

/// Found by CI's fresh seeds, 981504280027
/// (`simulations/corpus/replayed-before-what-was-closed.toml`): a membership was in force, and the
/// last page of the book still called it decided. The next start went by the membership before,
/// and replayed a decrement before the add that it takes of.
#[test]
fn what_was_made_under_a_membership_is_replayed_after_what_it_closed() {
    let mut rig = Rig::new();
    rig.hears(delta(1, 1, 5).encode());
    says(&mut rig, closed(7, 1));
    assert_eq!(rig.protocol.number(), 1);
    let take = CartEffect::Take(vec![(id(1), Take { here: 2, total: 2 })]);
    let request = Request::Decrement(Product::new(b"lamp").unwrap(), 2);
    let mut taking = delta(1, 2, 1);
    taking.ops[0] = orset::Op { request, effect: Effect::Cart(take), ..taking.ops[0].clone() };
    let deps = vec![Dot::new(Origin::MEMBERSHIP, 1)];
    let birth = Some(Birth { member: PEER, previous: Some(OLD) });
    let taking = Delta { dot: Dot::new(NEXT, 1), deps, birth, ..taking };
    rig.hears(taking.encode());
    let (total, shown) = (rig.protocol.synced_total(), rig.lamps());
    assert_eq!(shown, 3);
    rig.restart();
    assert_eq!((rig.protocol.synced_total(), rig.lamps()), (total, shown));
    assert_eq!(rig.protocol.number(), 1, "and nothing is said under the number before");
    let Some(Ok(Reply::Shown(shown))) = rig.read_after(VersionVector::new()) else { panic!() };
    assert_eq!(shown.vector.get(Origin::MEMBERSHIP), 1);
}

/// Found by fresh seeds, 337739114443: a replica was told that what it had asked for is dropped
/// from a log, when the origin had been closed meanwhile. It took all of it for missing, and began
/// a snapshot.
/// Found by the simulator: what a peer had once said to have dropped was had of another, and
/// closed. Then the vector had it no more, and a snapshot of everything was asked for.
#[test]
fn what_was_said_early_of_a_closed_origin_begins_no_snapshot() {
    let third = Member::from_bytes([3; 16]);
    let mut rig = Rig::with(|settings| settings.members.push(third));
    let status = |from, vector| {
        let (origin, total) = (Origin::of(from, 5), 0);
        let message = Message::Status { origin, number: 0, vector, total, reply: false, reads: 1 };
        Event::Message { from, message }
    };
    rig.does(status(PEER, VersionVector::new()));
    rig.does(status(third, seen(1)));
    let message = Message::Pruned { origin: OLD, first: 2 };
    rig.does(Event::Message { from: PEER, message });
    rig.hears(delta(1, 1, 5).encode());
    let Talk::Record(record) = closed(7, 1) else { panic!() };
    let members = [ME, PEER, third].into_iter().collect();
    says(&mut rig, Talk::Record(Arc::new(Record { members, ..Record::clone(&record) })));
    assert_eq!(rig.protocol.number(), 1);
    for _ in 0..1_000 {
        rig.now.mono_us += 1_000;
        rig.does(Event::Tick { chance: 1 });
    }
    assert_eq!((rig.alarms.len(), rig.protocol.stats().snapshots_asked), (0, 0));
}

#[test]
fn what_is_said_late_of_a_closed_origin_begins_no_snapshot() {
    let mut rig = Rig::new();
    rig.hears(delta(1, 1, 5).encode());
    says(&mut rig, closed(7, 1));
    assert_eq!(rig.protocol.number(), 1);
    let message = Message::Pruned { origin: OLD, first: 2 };
    rig.does(Event::Message { from: PEER, message });
    assert_eq!((rig.alarms.len(), rig.protocol.stats().snapshots_asked), (0, 0));
}
