//! A peer that comes back after long, seen from both sides: what it pulls is not pushed to it as
//! well, and it asks for nothing twice because it is busy itself.

use crate::rig::*;
use orset::{Origin, Request, VersionVector};
use pannier_replica::protocol::delta::dot_of;
use pannier_replica::protocol::{Event, Message, Range};

/// The peer's second start.
const AGAIN: Origin = Origin::of(PEER, 2);

fn vector(origin: Origin, seq: u64) -> VersionVector {
    let mut vector = VersionVector::new();
    vector.raise(origin, seq);
    vector
}

fn status(origin: Origin, vector: VersionVector) -> Event {
    let message = Message::Status { origin, number: 0, vector, total: 0, reply: false, reads: 1 };
    Event::Message { from: PEER, message }
}

fn pull(from: u64, to: u64) -> Event {
    let ranges = vec![Range { origin: MINE, from, to }];
    Event::Message { from: PEER, message: Message::Pull { ranges } }
}

/// The own commits that were sent since this was asked last.
fn sent(rig: &mut Rig) -> Vec<u64> {
    let deltas = rig.sent.drain(..).filter_map(|message| match message {
        Message::Deltas { deltas } => Some(deltas),
        _ => None,
    });
    deltas.flatten().map(|bytes| dot_of(&bytes).unwrap().seq).collect()
}

/// Ten commits, of which a message holds one; the peer was there, and went.
fn left() -> Rig {
    let mut rig = Rig::with(|settings| settings.message_bytes = 1);
    for n in 1..=10 {
        rig.write(id(n), Request::Add(lamp(1))).unwrap().unwrap();
    }
    rig.sent.clear();
    rig
}

#[test]
fn what_a_peer_pulls_is_not_pushed_to_it_as_well() {
    let mut rig = left();
    rig.does(status(AGAIN, VersionVector::new()));
    let mut all = sent(&mut rig);
    assert_eq!(all, [1], "as much as a message holds, at once");
    for from in 2..=10 {
        rig.does(pull(from, 10));
        // What it says of itself is behind what is on its way.
        rig.does(status(AGAIN, vector(MINE, from - 2)));
        all.extend(sent(&mut rig));
    }
    assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    rig.write(id(11), Request::Add(lamp(1))).unwrap().unwrap();
    assert_eq!(sent(&mut rig), [11], "and what is new is pushed again, without a gap");
}

#[test]
fn a_peer_that_does_not_pull_on_is_pushed_to() {
    let mut rig = left();
    rig.does(status(AGAIN, VersionVector::new()));
    rig.does(pull(2, 10));
    rig.does(status(AGAIN, vector(MINE, 2)));
    assert_eq!(sent(&mut rig), [1, 2]);
    // Its next pull was lost, or asks another.
    rig.now.mono_us += 300_000;
    rig.does(status(AGAIN, vector(MINE, 2)));
    assert_eq!(sent(&mut rig), [3]);
}

#[test]
fn what_cannot_be_taken_in_is_not_asked_for_again() {
    let mut rig = Rig::with(|settings| settings.checkpoint_rows = 1);
    rig.holds_checkpoints = true;
    for n in 1..=20 {
        rig.hears(delta(n, n, 1).encode());
    }
    assert!(rig.protocol.must_wait_for_checkpoint());
    rig.does(status(THEIRS, vector(THEIRS, 40)));
    let asked = |rig: &mut Rig| {
        rig.now.mono_us += 400_000;
        rig.does(Event::Tick { chance: 0 });
        let pulls = rig.sent.drain(..).filter(|message| matches!(message, Message::Pull { .. }));
        pulls.count()
    };
    assert_eq!((asked(&mut rig), asked(&mut rig)), (0, 0), "answers would only pile up");
    rig.holds_checkpoints = false;
    rig.does(Event::Checkpointed { durable: true });
    assert_eq!(asked(&mut rig), 1);
    rig.hears(delta(21, 21, 1).encode());
    assert_eq!(rig.lamps(), 21);
}
