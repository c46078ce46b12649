//! Members that are gone for good, and are closed by those who stay (counterexamples F10, F11).

use crate::rig::cluster::{Cluster, bury, join, leave, member};
use orset::Origin;
use pannier_replica::protocol::membership::format::SEALED;
use pannier_replica::protocol::membership::{Place, Standing, Unfit, Wish};
use pannier_replica::protocol::{Canary, Message};

/// Runs until nobody would take it for alive.
fn falls_silent(it: &mut Cluster, at: usize) {
    it.cut.insert(at);
    it.run(6_000);
}

/// What only one of those who stay has of the dead, everybody has then.
fn an_end_that_one_member_has(canary: Canary) -> Cluster {
    let mut it = Cluster::with(4, canary);
    (0..4).for_each(|at| drop(it.add(at)));
    it.agree(&[0, 1, 2, 3]);
    // Only the second hears the last of it, and tells nobody yet.
    it.undelivered.extend([(3, 0), (3, 2), (1, 0), (1, 2)]);
    it.add(3).unwrap();
    it.until("heard", |it| it.nodes[1].protocol.synced().get(Origin::of(member(3), 1)) > 1);
    it.crash(3);
    it.run(6_000);
    it.undelivered.clear();
    it.lost = |message| matches!(message, Message::Deltas { .. });
    it.wishes(0, &bury(3, 2));
    it.run(300);
    it.lost = |_| false;
    it.until("closed", |it| (0..3).all(|at| !it.nodes[at].protocol.membership().closed.is_empty()));
    it
}

#[test]
fn where_it_ends_says_whoever_has_most_of_it() {
    let mut it = an_end_that_one_member_has(Canary::None);
    assert_eq!(it.stands(0, &bury(3, 2)), Standing::Done);
    it.agree(&[0, 1, 2]);
    assert_eq!((it.lamps(0), it.lamps(1), it.lamps(2)), (5, 5, 5));
    let record = it.nodes[0].protocol.membership().clone();
    let closing = record.closed[&member(3)];
    assert_eq!((closing.heir, closing.number, record.format), (member(2), record.number, SEALED));
    assert!(!record.members.contains(&member(3)));
    // It is written down, and nobody waits for it any more.
    for at in 0..3 {
        it.crash(at);
        it.start(at);
    }
    it.add(1).unwrap();
    it.agree(&[0, 1, 2]);
    it.until("the starts before are closed", |it| it.number(2) > record.number);
    assert_eq!(it.lamps(0), 6);
    assert_eq!(it.wishes(1, &bury(3, 2)), Standing::Done, "whoever asks again, wherever");
}

#[test]
#[should_panic(expected = "BeyondFinal")]
fn canary_it_ends_where_the_proposer_stands() {
    an_end_that_one_member_has(Canary::EndAsOneSees);
}

/// Whoever decides before all have it may be the only one that knows, when another disk is lost.
#[test]
fn all_have_what_is_closed_when_it_is_decided() {
    assert!(decided_when_only_one_has_it(Canary::None).is_none());
}

#[test]
fn canary_it_is_closed_while_somebody_lacks_its_end() {
    assert!(decided_when_only_one_has_it(Canary::ClosedTooSoon).is_some());
}

/// Who knows the decision, when nobody but one member had what is closed.
fn decided_when_only_one_has_it(canary: Canary) -> Option<usize> {
    let mut it = Cluster::with(4, canary);
    it.agree(&[0, 1, 2, 3]);
    it.undelivered.extend([(3, 0), (3, 2), (1, 0), (1, 2)]);
    it.add(3).unwrap();
    it.until("heard", |it| it.nodes[1].protocol.synced().get(Origin::of(member(3), 1)) > 0);
    it.crash(3);
    it.run(6_000);
    it.wishes(0, &bury(3, 2));
    for _ in 0..200 {
        it.step();
        let knows = |at: &usize| it.nodes[*at].protocol.report(&bury(3, 2)).standing;
        let decided = |at: &usize| matches!(knows(at), Standing::Decided | Standing::Done);
        if let Some(at) = [0, 2].into_iter().find(decided) {
            return Some(at);
        }
    }
    None
}

/// One that was taken for dead, and has gone on writing where nobody heard it.
fn one_that_returns(canary: Canary) -> Cluster {
    let mut it = Cluster::with(3, canary);
    (0..3).for_each(|at| drop(it.add(at)));
    it.agree(&[0, 1, 2]);
    it.undelivered.extend([(2, 0), (1, 0)]);
    it.add(2).unwrap();
    it.run(200);
    falls_silent(&mut it, 2);
    it.add(2).unwrap();
    // All have promised, and the first still lacks something, when its last words arrive there.
    it.wishes(0, &bury(2, 1));
    it.run(300);
    assert!(it.nodes[0].protocol.membership().closed.is_empty());
    it.undelivered.remove(&(2, 0));
    it.silent.extend([(1, 2), (2, 1)]);
    it.cut.clear();
    it.allowed_alarms = true;
    it
}

#[test]
fn from_the_promise_on_nothing_of_it_is_taken_and_when_it_returns_it_is_told() {
    let mut it = one_that_returns(Canary::None);
    let unseen = it.nodes[2].protocol.synced().get(it.nodes[2].protocol.origin());
    it.run(1_000);
    assert!(it.nodes[0].protocol.synced().get(it.nodes[2].protocol.origin()) < unseen);
    it.undelivered.clear();
    it.until("closed", |it| (0..2).all(|at| !it.nodes[at].protocol.membership().closed.is_empty()));
    it.agree(&[0, 1]);
    assert_eq!((it.lamps(0), it.lamps(1)), (4, 4), "what nobody heard is not among them");
    it.silent.clear();
    it.until("told", |it| it.place(2) == Place::Left);
    assert!(it.add(2).is_err());
    it.crash(2);
    it.start(2);
    it.run(2_000);
    assert_eq!(it.place(2), Place::Left);
    assert_eq!((it.lamps(0), it.lamps(1)), (4, 4));
}

#[test]
#[should_panic(expected = "not within a minute")]
fn canary_who_has_promised_takes_in_what_comes() {
    let mut it = one_that_returns(Canary::SealedTaken);
    it.run(1_000);
    it.undelivered.clear();
    it.until("closed", |it| (0..2).all(|at| !it.nodes[at].protocol.membership().closed.is_empty()));
}

/// Counterexample 8: it starts alone, under an origin that nobody has sealed, and writes.
#[test]
fn what_it_writes_in_a_start_that_nobody_knew_is_not_taken() {
    let mut it = Cluster::new(3);
    (0..3).for_each(|at| drop(it.add(at)));
    it.agree(&[0, 1, 2]);
    falls_silent(&mut it, 2);
    assert_eq!(it.ends(0, &bury(2, 1)), Standing::Done);
    it.crash(2);
    it.start(2);
    it.add(2).unwrap();
    it.allowed_alarms = true;
    // Its words reach the others, and for a while no answer reaches it.
    it.silent.extend([(0, 2), (1, 2)]);
    it.cut.clear();
    it.run(3_000);
    it.agree(&[0, 1]);
    assert_eq!((it.lamps(0), it.lamps(1)), (3, 3));
    it.silent.clear();
    it.until("told", |it| it.place(2) == Place::Left);
}

/// Counterexamples 9 and 10: two are gone together, and what waits in a buffer of one by the other
/// is had by nobody.
#[test]
fn what_waits_for_another_dead_one_is_no_part_of_its_end() {
    let mut it = Cluster::new(4);
    it.agree(&[0, 1, 2, 3]);
    it.undelivered.extend([(3, 0), (3, 1)]);
    it.add(3).unwrap();
    it.until("heard", |it| it.nodes[2].protocol.synced().get(Origin::of(member(3), 1)) > 0);
    it.crash(3);
    it.lost = |message| matches!(message, Message::Pull { .. });
    it.undelivered.insert((2, 1));
    it.add(2).unwrap();
    it.until("it waits", |it| it.nodes[0].protocol.buffered() > 0);
    it.crash(2);
    it.lost = |_| false;
    it.run(6_000);
    let dead = [(member(2), member(0)), (member(3), member(0))].into();
    let both = Wish { dead, ..Wish::default() };
    assert_eq!(it.ends(1, &both), Standing::Done);
    it.agree(&[0, 1]);
    assert_eq!((it.nodes[0].protocol.buffered(), it.lamps(0), it.lamps(1)), (0, 0, 0));
}

#[test]
fn whoever_was_heard_lately_is_not_dead() {
    let mut it = Cluster::new(3);
    let standing = it.ends(0, &bury(2, 1));
    assert_eq!(standing, Standing::Refused(Unfit::Alive(vec![member(2)])));
    // Only the second hears it.
    it.silent.extend([(2, 0), (0, 2)]);
    it.run(6_000);
    let standing = it.ends(0, &bury(2, 1));
    assert!(matches!(standing, Standing::Refused(Unfit::Refused { by, .. }) if by == member(1)));
    it.cut.insert(2);
    it.run(6_000);
    // And nothing without everybody who stays.
    it.cut.insert(1);
    it.run(6_000);
    let standing = it.ends(0, &bury(2, 1));
    assert_eq!(standing, Standing::Refused(Unfit::Unreachable(vec![member(1)])));
    it.cut.remove(&1);
    it.run(6_000);
    assert_eq!(it.ends(0, &bury(2, 1)), Standing::Done);
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let mut it = Cluster::new(3);
    falls_silent(&mut it, 2);
    let both = Wish { dead: bury(2, 1).dead, ..leave(1) };
    let table = [
        (bury(0, 1), Unfit::Itself),
        (bury(2, 2), Unfit::Heir(member(2))),
        (bury(2, 7), Unfit::Heir(member(7))),
        (bury(7, 1), Unfit::Stranger(member(7))),
        (both, Unfit::Apart),
    ];
    for (wish, unfit) in table {
        assert_eq!(it.ends(0, &wish), Standing::Refused(unfit));
    }
    assert_eq!(it.number(0), 0);
}

#[test]
fn several_at_once_and_an_heir_later() {
    let mut it = Cluster::new(5);
    (0..5).for_each(|at| drop(it.add(at)));
    it.agree(&[0, 1, 2, 3, 4]);
    [3, 4].into_iter().for_each(|at| it.crash(at));
    it.run(6_000);
    let dead = [(member(3), member(2)), (member(4), member(1))].into();
    let two = Wish { dead, ..Wish::default() };
    assert_eq!(it.ends(0, &two), Standing::Done);
    it.agree(&[0, 1, 2]);
    it.crash(2);
    it.run(6_000);
    assert_eq!(it.ends(1, &bury(2, 0)), Standing::Done);
    it.agree(&[0, 1]);
    let record = it.nodes[0].protocol.membership().clone();
    assert_eq!((record.members.len(), record.closed.len()), (2, 3));
    assert_eq!(it.lamps(1), 5);
    // One that comes in its stead.
    it.open(&[member(0), member(1)]);
    assert_eq!(it.ends(0, &join(5)), Standing::Done);
    it.until("it serves", |it| it.place(5) == Place::Member);
    it.agree(&[0, 1, 5]);
    assert_eq!(it.lamps(5), 5);
}

/// Whoever proposes something dies in the middle of it, at every step there is: those who stay go
/// by its decision, or by theirs, and never by both (S3).
#[test]
fn whoever_proposes_dies_in_the_middle_of_it() {
    let (mut taken_in, mut given_up) = (0, 0);
    for steps in 0..40 {
        for heard_by in 0..2 {
            let mut it = Cluster::new(3);
            it.add(2).unwrap();
            it.agree(&[0, 1, 2]);
            it.open(&[member(0), member(1), member(2)]);
            it.wishes(2, &join(3));
            (0..steps).for_each(|_| it.step());
            it.silent.insert((2, heard_by));
            it.run(20);
            it.cut.insert(2);
            it.run(6_000);
            let wish = bury(2, 1);
            it.until("it is asked for", |it| !matches!(it.stands(0, &wish), Standing::Asks(_)));
            let mut standing = it.ends(0, &wish);
            for _ in 0..5 {
                if standing == Standing::Done {
                    break;
                }
                it.run(2_000);
                standing = it.ends(0, &wish);
            }
            assert_eq!(standing, Standing::Done, "after {steps} steps");
            it.agree(&[0, 1]);
            let record = it.nodes[0].protocol.membership().clone();
            if record.members.contains(&member(3)) {
                taken_in += 1
            } else {
                given_up += 1
            }
            // It comes back, with what it had decided.
            it.allowed_alarms = true;
            it.silent.clear();
            it.cut.clear();
            it.until("told", |it| it.place(2) == Place::Left);
            it.add(0).unwrap();
            it.agree(&[0, 1]);
        }
    }
    assert!(taken_in > 3 && given_up > 0, "{taken_in} {given_up}");
}

/// A disk is lost of one that has accepted: what only that one had of the dead is lost with it, and
/// the change is tried anew.
#[test]
fn a_disk_is_lost_in_the_middle() {
    let mut closed = 0;
    for steps in 0..40 {
        let mut it = Cluster::new(4);
        (0..4).for_each(|at| drop(it.add(at)));
        it.agree(&[0, 1, 2, 3]);
        it.undelivered.extend([(3, 0), (3, 2), (1, 0), (1, 2)]);
        it.add(3).unwrap();
        it.run(100);
        it.crash(3);
        it.run(6_000);
        it.undelivered.clear();
        it.wishes(0, &bury(3, 2));
        (0..steps).for_each(|_| it.step());
        it.lose_disk(1);
        for _ in 0..10 {
            if it.ends(0, &bury(3, 2)) == Standing::Done {
                break;
            }
            it.run(2_000);
        }
        it.until("closed", |it| {
            (0..3).all(|at| !it.nodes[at].protocol.membership().closed.is_empty())
        });
        it.agree(&[0, 1, 2]);
        let lamps = it.lamps(0);
        assert!(lamps == 4 || lamps == 5, "{lamps}");
        closed += usize::from(lamps == 5);
    }
    assert!((1..40).contains(&closed), "{closed}");
}
