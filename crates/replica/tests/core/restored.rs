//! A disk that went back: what a start takes in before it has caught up with a peer, and from when
//! on it counts as caught up.

use crate::rig::*;
use orset::{Dot, OpId, OpIdSession, Origin, Request, VersionVector};
use pannier_replica::protocol::delta::Delta;
use pannier_replica::protocol::{Alarm, Event, Message, Refusal};
use pannier_replica::store::Store;
use std::sync::Arc;

fn at(dots: &[(Origin, u64)]) -> VersionVector {
    dots.iter().map(|(origin, seq)| Dot::new(*origin, *seq)).collect()
}

fn says(rig: &mut Rig, message: Message) {
    rig.does(Event::Message { from: PEER, message });
}

fn stands(rig: &mut Rig, dots: &[(Origin, u64)]) {
    let (origin, vector) = (THEIRS, at(dots));
    says(rig, Message::Status { origin, number: 0, vector, total: 0, reply: false, reads: 1 });
}

/// The peer answers the question of this start.
fn answers(rig: &mut Rig, dots: &[(Origin, u64)]) {
    let start = rig.origin();
    says(rig, Message::Standing { start, vector: at(dots) });
}

fn tick(rig: &mut Rig) {
    rig.now.mono_us += 1_000_000;
    rig.does(Event::Tick { chance: 0 });
}

fn adds(rig: &mut Rig, n: u64) -> Result<(), Refusal> {
    rig.write(id(n), Request::Add(lamp(1))).unwrap().map(|_| ())
}

fn born(ms: u64, n: u64) -> OpId {
    OpIdSession::new(ms / 1_000, n).next_id().unwrap()
}

/// It had two of the peer's, and a backup was made between them.
fn put_back(marked: bool) -> Rig {
    let mut rig = Rig::new();
    rig.hears(delta(1, 1, 1).encode());
    let backup = rig.backup();
    rig.hears(delta(2, 2, 1).encode());
    rig.restore(backup, marked);
    rig
}

#[test]
fn a_marked_start_takes_nothing_in_before_it_has_synced_what_a_peer_had() {
    let mut rig = put_back(true);
    assert_eq!(adds(&mut rig, 9), Err(Refusal::CatchingUp));
    assert_eq!(rig.catching_up, [true]);
    assert_eq!(rig.lamps(), 1, "what it shows is right for who has seen no more");
    let refused = rig.read_after(at(&[(THEIRS, 2)]));
    assert_eq!(refused, None, "who has seen more waits, as everywhere");

    tick(&mut rig);
    let asked = Message::CatchUp { start: rig.origin() };
    assert!(rig.sent.contains(&asked), "{:?}", rig.sent);
    stands(&mut rig, &[(THEIRS, 1)]);
    says(&mut rig, Message::Standing { start: MINE, vector: at(&[(THEIRS, 1)]) });
    assert_eq!(
        adds(&mut rig, 9),
        Err(Refusal::CatchingUp),
        "that is of an earlier question, or none"
    );
    answers(&mut rig, &[(THEIRS, 2)]);
    answers(&mut rig, &[(THEIRS, 3)]);
    assert_eq!(adds(&mut rig, 9), Err(Refusal::CatchingUp), "it is not here yet");
    rig.hears(delta(2, 2, 1).encode());
    assert_eq!(rig.catching_up, [true, false]);
    assert_eq!(adds(&mut rig, 9), Ok(()));
    assert_eq!(rig.lamps(), 3);
    assert!(!rig.alarms.iter().any(|alarm| matches!(alarm, Alarm::WentBack { .. })));
    let log = rig.store.log(rig.origin(), 1, 1, 1).unwrap();
    let first = Delta::decode(&log[0].bytes).unwrap();
    assert!(first.ops.is_empty() && !first.cuts.is_empty(), "its cut came first");
}

/// Else two disks of one backup would vouch for each other.
#[test]
fn who_is_catching_up_vouches_for_nobody() {
    let mut rig = put_back(true);
    let asks = || Message::CatchUp { start: THEIRS };
    let vouches = |rig: &Rig| {
        rig.sent.iter().any(|message| matches!(message, Message::Standing { start: THEIRS, .. }))
    };
    says(&mut rig, asks());
    assert!(!vouches(&rig));
    answers(&mut rig, &[(THEIRS, 1)]);
    says(&mut rig, asks());
    assert!(vouches(&rig));
}

/// The mark comes off when the cut is on disk, not before: a start that ends in between begins
/// anew. And what it refuses by outlives it.
#[test]
fn the_cuts_that_it_found_hold_from_then_on() {
    let mut rig = Rig::new();
    let backup = rig.backup();
    rig.restore(backup, true);
    let cut_ms = rig.now.wall_ms + 500;
    let told = Delta { cuts: vec![(Box::default(), cut_ms)], ..delta(1, 1, 1) };
    answers(&mut rig, &[(THEIRS, 1)]);
    rig.hears(told.encode());
    for _ in 0..2 {
        let refused = adds(&mut rig, 9);
        assert!(matches!(refused, Err(Refusal::TooOld { .. })), "{refused:?}");
        rig.restart();
        stands(&mut rig, &[(THEIRS, 1)]);
    }
    let young = born(rig.now.wall_ms + 1_000, 9);
    assert!(rig.write(young, Request::Add(lamp(1))).unwrap().is_ok());
}

/// Whether what it asks for was done before, a disk that may have gone back cannot tell, and nobody
/// else has been heard. What was asked for since, it takes in.
#[test]
fn a_start_that_has_heard_no_peer_takes_in_no_op_id_from_before_it() {
    let mut rig = Rig::with(|settings| settings.skew_ms = 1_000);
    assert_eq!(adds(&mut rig, 1), Ok(()));
    rig.now.wall_ms += 60_000;
    rig.restart();
    assert_eq!(adds(&mut rig, 2), Err(Refusal::Unheard { op: id(2) }));
    assert_eq!(adds(&mut rig, 1), Ok(()), "what is known is answered");
    let young = born(rig.now.wall_ms, 3);
    assert!(rig.write(young, Request::Add(lamp(1))).unwrap().is_ok());
    stands(&mut rig, &[]);
    assert_eq!(adds(&mut rig, 2), Ok(()));

    let mut alone = Rig::with(|settings| settings.members = vec![ME]);
    alone.now.wall_ms += 600_000;
    alone.restart();
    assert_eq!(adds(&mut alone, 2), Ok(()), "where there is nobody else, nobody is waited for");
}

/// Nobody marked it, and the first peer knows better.
#[test]
fn a_disk_that_went_back_is_found_out_by_what_a_peer_has_of_it() {
    let mut rig = Rig::new();
    assert_eq!(adds(&mut rig, 1), Ok(()));
    let backup = rig.backup();
    assert_eq!(adds(&mut rig, 2), Ok(()));
    let second = rig.store.log(MINE, 2, 2, 1).unwrap()[0].bytes.to_vec();
    rig.restore(backup, false);
    assert_eq!(adds(&mut rig, 3), Ok(()), "it cannot know");
    stands(&mut rig, &[(MINE, 2)]);
    stands(&mut rig, &[(MINE, 2)]);
    let dot = Dot::new(MINE, 2);
    assert_eq!(rig.alarms, [Alarm::WentBack { peer: PEER, dot, have: 1 }]);
    assert_eq!(adds(&mut rig, 4), Err(Refusal::CatchingUp));
    answers(&mut rig, &[(MINE, 2)]);
    rig.hears(second);
    assert_eq!(adds(&mut rig, 4), Ok(()));
    // A copy of the directory that writes elsewhere is said, and waited for no more.
    let copy = Origin::of(ME, 77);
    stands(&mut rig, &[(copy, 1)]);
    assert_eq!((rig.alarms.len(), rig.catching_up.clone()), (2, vec![true, false]));
    assert_eq!(adds(&mut rig, 5), Ok(()));
}

/// A process that was taken back with its memory goes on under its name, and would give it twice.
#[test]
fn who_has_more_of_this_start_than_it_has_made_ends_it() {
    let mut rig = Rig::new();
    assert_eq!(adds(&mut rig, 1), Ok(()));
    stands(&mut rig, &[(MINE, 2)]);
    stands(&mut rig, &[(MINE, 2)]);
    let dot = Dot::new(MINE, 2);
    assert_eq!(rig.alarms, [Alarm::WentBack { peer: PEER, dot, have: 1 }]);
    assert_eq!(adds(&mut rig, 2), Err(Refusal::Over));
    assert_eq!(rig.read_after(VersionVector::new()), Some(Err(Refusal::Over)));
}

/// Also what is under way when it is found out: a command that waits for its session.
#[test]
fn what_waits_is_refused_too() {
    let mut rig = Rig::new();
    assert_eq!(adds(&mut rig, 1), Ok(()));
    let backup = rig.backup();
    assert_eq!(adds(&mut rig, 2), Ok(()));
    rig.restore(backup, false);
    let after = Arc::new(at(&[(THEIRS, 1)]));
    let write = pannier_replica::protocol::Write {
        op: id(3),
        object: cart(),
        request: Request::Add(lamp(1)),
        seen: None,
        after,
        deadline_us: u64::MAX,
        lane: pannier_replica::protocol::NO_LANE,
        durability: pannier_replica::protocol::Durability::Local,
    };
    assert_eq!(rig.asks(pannier_replica::protocol::Command::Write(write)), None);
    stands(&mut rig, &[(MINE, 2)]);
    rig.hears(delta(1, 1, 1).encode());
    assert_eq!(rig.replies.pop(), Some(Err(Refusal::CatchingUp)));
}

/// Its member may have been there before, and have promised what this disk knows nothing of.
#[test]
fn a_start_with_an_empty_disk_takes_nothing_in_before_a_peer_has_answered() {
    let mut rig = Rig::untold(|_| ());
    assert_eq!(rig.write(id(1), Request::Add(lamp(1))), None, "a moment of patience");
    assert_eq!(rig.lamps(), 0, "reads go on");
    stands(&mut rig, &[]);
    assert_eq!(rig.replies.pop(), None, "what is heard may be of long ago");
    tick(&mut rig);
    assert!(rig.sent.contains(&Message::CatchUp { start: MINE }), "{:?}", rig.sent);
    answers(&mut rig, &[]);
    assert!(matches!(rig.replies.pop(), Some(Ok(_))));
    assert_eq!(adds(&mut rig, 2), Ok(()));
    assert_eq!((rig.catching_up.len(), rig.alarms.len()), (0, 0), "nothing has gone back");
    rig.restart();
    assert_eq!(adds(&mut rig, 2), Ok(()), "a disk that holds what it wrote is trusted");

    let mut rig = Rig::untold(|_| ());
    answers(&mut rig, &[(THEIRS, 1)]);
    assert_eq!(rig.write(id(2), Request::Add(lamp(1))), None, "it has not caught up");
    rig.hears(delta(1, 1, 1).encode());
    assert!(matches!(rig.replies.pop(), Some(Ok(_))));
}

/// Who gives no deadline waits for ten intervals of gossip, or a second.
#[test]
fn what_waits_for_the_first_word_is_refused_in_time() {
    let mut rig = Rig::untold(|_| ());
    for refused in [false, true] {
        let asked = rig.write_until(id(1), Request::Add(lamp(1)), 0);
        let refusal = Some(Err(Refusal::CatchingUp));
        assert_eq!(asked, if refused { refusal.clone() } else { None });
        tick(&mut rig);
        assert_eq!(rig.replies.pop(), if refused { None } else { refusal });
    }
}

/// Or the first start of a cluster would wait for ever.
#[test]
fn those_whose_disks_are_empty_vouch_for_each_other_until_they_are_found_out() {
    let mut rig = Rig::untold(|_| ());
    let vouches = |rig: &mut Rig| {
        rig.sent.clear();
        says(rig, Message::CatchUp { start: THEIRS });
        rig.sent.iter().any(|message| matches!(message, Message::Standing { start: THEIRS, .. }))
    };
    assert!(vouches(&mut rig));
    stands(&mut rig, &[(Origin::of(ME, 77), 3)]);
    assert_eq!((rig.alarms.len(), rig.catching_up.clone()), (1, vec![true]));
    assert!(!vouches(&mut rig));
    assert_eq!(adds(&mut rig, 1), Err(Refusal::CatchingUp), "and nobody waits");
}
