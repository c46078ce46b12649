//! The protocol by hand: one replica, a peer that says what a peer should never say.
//!
//! The simulator finds what honest replicas do to each other on bad days; here are the lies, the
//! damage and the bounds that no honest run reaches.

use crate::rig::*;
use orset::cart::{CartEffect, Content};
use orset::{
    Dot, Effect as OpEffect, HybridTime, Member, Op, OpIdSession, Origin, Product, Request,
    VersionVector,
};
use pannier_replica::protocol::delta::{Birth, Delta};
use pannier_replica::protocol::{
    Alarm, Event, Message, Protocol, ProtocolSettings, Range, Refusal, Reply, Start, Value,
};
use pannier_replica::store::{MAX_RECORD_BYTES, Store};

/// Bytes that are whole (their checksum is right) and say nothing sensible.
fn malformed(seq: u64) -> Vec<u8> {
    let mut bytes = delta(seq, seq, 1).encode();
    let body = bytes.len() - 8;
    bytes.truncate(body - 1);
    bytes.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&bytes).to_be_bytes());
    bytes
}

fn quarantined(rig: &Rig) -> usize {
    rig.alarms.iter().filter(|alarm| matches!(alarm, Alarm::Quarantined { .. })).count()
}

#[test]
fn a_malformed_delta_shuts_its_origin_out_from_there_on_and_nothing_else() {
    let mut rig = Rig::new();
    rig.hears(delta(1, 1, 1).encode());
    // The story: six came before five; whoever had five built upon it, and must be followed.
    rig.hears(malformed(3));
    rig.hears(delta(2, 2, 1).encode());
    rig.hears(delta(3, 3, 1).encode());
    rig.hears(delta(4, 4, 1).encode());
    assert_eq!(quarantined(&rig), 1);
    assert_eq!(rig.lamps(), 2);
    assert!(rig.write(id(9), Request::Add(lamp(5))).unwrap().is_ok());
    assert_eq!(rig.lamps(), 7);
}

#[test]
fn a_damaged_delta_is_the_messengers_and_comes_again() {
    let mut rig = Rig::new();
    let mut bytes = delta(1, 1, 1).encode();
    bytes[20] ^= 1;
    rig.hears(bytes);
    assert_eq!(rig.alarms, [Alarm::Damaged { peer: PEER }]);
    rig.hears(delta(1, 1, 1).encode());
    assert_eq!(rig.lamps(), 1);
}

#[test]
fn deltas_nobody_may_write_are_refused() {
    let stranger = Birth { member: Member::from_bytes([9; 16]), previous: None };
    let of_a_stranger = Delta { birth: Some(stranger), ..delta(1, 1, 1) };
    let birth = Some(Birth { member: PEER, previous: None });
    let under_my_origin = Delta { dot: Dot::new(MINE, 1), birth, ..delta(1, 1, 1) };
    let after_my_future = Delta { deps: vec![Dot::new(MINE, 7)], ..delta(1, 1, 1) };
    let at_the_end_of_time = Delta { time: HybridTime::from_bits(u64::MAX), ..delta(1, 1, 1) };
    for bad in [of_a_stranger, under_my_origin, after_my_future, at_the_end_of_time] {
        let mut rig = Rig::new();
        rig.hears(bad.encode());
        assert_eq!(quarantined(&rig), 1, "{bad:?}");
        assert_eq!(rig.lamps(), 0);
        assert_eq!(rig.protocol.buffered(), 0);
        assert!(rig.write(id(9), Request::Add(lamp(5))).unwrap().is_ok());
    }
}

/// The story: a member lost its disk, started with the settings of today, and was sent what one who
/// has left had once written, before it had heard under which membership. It shut that origin out,
/// and could never catch up.
#[test]
fn what_a_stranger_wrote_is_no_alarm_before_its_messenger_has_said_who_belongs() {
    let stranger = Member::from_bytes([9; 16]);
    let birth = Some(Birth { member: stranger, previous: None });
    let dot = Dot::new(Origin::of(stranger, 1), 1);
    let bytes = Delta { dot, birth, ..delta(1, 1, 1) }.encode();
    let mut rig = Rig::new();
    rig.hears(bytes.clone());
    assert_eq!(rig.alarms, []);
    let (vector, total) = (VersionVector::new(), 0);
    rig.does(status(vector, total));
    rig.hears(bytes);
    assert_eq!(quarantined(&rig), 1);
    assert_eq!(rig.lamps(), 0);
}

#[test]
fn a_delta_too_large_for_the_log_does_not_end_its_receiver() {
    let mut rig = Rig::new();
    let mut huge = delta(1, 1, 1);
    let request = Request::Add(Content::added(Product::new(b"lamp").unwrap(), 1, &[7; 1_024]));
    let Request::Add(content) = request.clone() else { panic!() };
    let effect = OpEffect::Cart(CartEffect::Add(content));
    let ops = MAX_RECORD_BYTES as u64 / 1_000;
    huge.ops = (0..ops)
        .map(|n| Op { id: id(n), object: cart(), request: request.clone(), effect: effect.clone() })
        .collect();
    rig.hears(huge.encode());
    assert_eq!(quarantined(&rig), 1);
    assert_eq!(rig.lamps(), 0);
}

#[test]
fn a_flood_of_deltas_is_cut_into_rounds_of_bounded_size() {
    let mut rig = Rig::with(|settings| settings.round_bytes = 1_000);
    let deltas = (1..=100).map(|seq| delta(seq, seq, 1).encode().into()).collect();
    rig.does(Event::Message { from: PEER, message: Message::Deltas { deltas } });
    assert!(rig.protocol.stats().rounds >= 5, "{} rounds", rig.protocol.stats().rounds);
    assert_eq!(rig.lamps(), 100);
}

#[test]
fn an_op_id_with_two_contents_raises_an_alarm_and_the_larger_stands() {
    let mut rig = Rig::new();
    assert!(rig.write(id(1), Request::Add(lamp(2))).unwrap().is_ok());
    rig.hears(delta(1, 1, 5).encode());
    assert_eq!(rig.alarms, [Alarm::OpIdReused { op: id(1), origin: THEIRS }]);
    assert_eq!(rig.lamps(), 5);
}

/// Found by the simulator: an add was removed by a client that carried no token, where the add had
/// not come yet. When it came, nobody noted what it was, so its op id could name another add, of
/// another cart, too.
#[test]
fn an_op_id_that_was_ended_before_it_came_names_one_request() {
    let mut rig = Rig::new();
    let mut removes = delta(1, 1, 1);
    let effect = OpEffect::Cart(CartEffect::End([id(2)].into_iter().collect()));
    let request = Request::Remove(Product::new(b"lamp").unwrap());
    removes.ops = vec![Op { id: id(1), object: cart(), request, effect }];
    rig.hears(removes.encode());
    rig.hears(delta(2, 2, 1).encode());
    assert_eq!(rig.lamps(), 0);
    let reused = rig.write(id(2), Request::Add(lamp(9)));
    assert_eq!(reused, Some(Err(Refusal::OpIdReused(id(2)))));
    assert!(rig.write(id(2), Request::Add(lamp(1))).unwrap().is_ok(), "a retry");
    assert_eq!((rig.lamps(), rig.protocol.stats().duplicates), (0, 1));
}

fn status(vector: VersionVector, total: u128) -> Event {
    let message =
        Message::Status { origin: THEIRS, number: 0, vector, total, reply: false, reads: 1 };
    Event::Message { from: PEER, message }
}

#[test]
fn equal_vectors_with_different_totals_raise_one_alarm() {
    let mut rig = Rig::new();
    rig.hears(delta(1, 1, 1).encode());
    let (vector, total) = ((**rig.protocol.synced()).clone(), rig.protocol.synced_total());
    rig.does(status(vector.clone(), total));
    assert_eq!(rig.alarms, []);
    rig.does(status(vector.clone(), total + 1));
    rig.does(status(vector, total + 1));
    assert_eq!(rig.alarms, [Alarm::Diverged { peer: PEER, totals: (total, total + 1) }]);
}

#[test]
fn stamps_that_run_ahead_raise_an_alarm_at_the_origin() {
    let mut rig = Rig::new();
    let ahead = HybridTime::from_bits((rig.now.wall_ms + 86_400_000) << 16);
    rig.hears(Delta { time: ahead, ..delta(1, 1, 1) }.encode());
    assert_eq!(rig.alarms, []);
    assert!(rig.write(id(9), Request::Add(lamp(1))).unwrap().is_ok());
    assert!(matches!(rig.alarms[..], [Alarm::ClockSkew { ahead_ms }] if ahead_ms > 86_000_000));
}

#[test]
fn a_forged_token_from_far_ahead_is_behind_at_once() {
    let mut rig = Rig::new();
    let forged = |origin, seq| VersionVector::from_iter([Dot::new(origin, seq)]);
    for (origin, seq) in [(THEIRS, u64::MAX), (THEIRS, 1 << 40), (MINE, 1)] {
        let reply = rig.read_after(forged(origin, seq)).unwrap();
        assert_eq!(reply, Err(Refusal::Behind { origin, have: 0, need: seq }));
    }
    // What may be on its way is waited for, until the deadline.
    assert_eq!(rig.read_after(forged(THEIRS, 1)), None);
    rig.now.mono_us += 10_000;
    rig.does(Event::Tick { chance: 0 });
    assert_eq!(rig.replies, [Err(Refusal::Behind { origin: THEIRS, have: 0, need: 1 })]);
}

#[test]
fn a_session_is_served_as_soon_as_what_it_has_seen_arrives() {
    let mut rig = Rig::new();
    let token = VersionVector::from_iter([Dot::new(THEIRS, 1)]);
    assert_eq!(rig.read_after(token), None);
    assert!(rig.sent.iter().any(|message| matches!(message, Message::Status { reply: true, .. })));
    rig.hears(delta(1, 1, 3).encode());
    let Some(Ok(Reply::Shown(shown))) = rig.replies.pop() else { panic!("not served") };
    let Value::Cart(lines, _) = shown.value else { panic!() };
    assert_eq!(lines[0].quantity, 3);
}

#[test]
fn commands_that_wait_have_a_bound() {
    let mut rig = Rig::with(|settings| settings.waiting_max = 2);
    let token = || VersionVector::from_iter([Dot::new(THEIRS, 1)]);
    assert_eq!(rig.read_after(token()), None);
    assert_eq!(rig.read_after(token()), None);
    assert_eq!(rig.read_after(token()), Some(Err(Refusal::Overloaded)));
}

#[test]
fn decrements_of_one_entry_have_a_bound() {
    let mut rig = Rig::new();
    assert!(rig.write(id(1), Request::Add(lamp(5_000))).unwrap().is_ok());
    let decrement = || Request::Decrement(Product::new(b"lamp").unwrap(), 1);
    for n in 0..1_024 {
        assert!(rig.write(id(100 + n), decrement()).unwrap().is_ok());
    }
    let refusal = rig.write(id(9_999), decrement()).unwrap();
    assert_eq!(refusal, Err(Refusal::TooManyTakes { max: 1_024 }));
    assert_eq!(rig.lamps(), 5_000 - 1_024);
}

/// What every member has goes from the log once it is in a checkpoint on disk; the rest stays.
#[test]
fn the_log_is_dropped_where_all_have_it_and_its_end_stays() {
    let mut rig = Rig::with(|settings| {
        settings.log_tail = 2;
        settings.checkpoint_rows = 1;
    });
    let tick = |rig: &mut Rig| {
        rig.now.mono_us += 10_000_000;
        rig.does(Event::Tick { chance: 0 });
    };
    let first = |rig: &Rig, origin| {
        let extents = rig.store.log_extents().unwrap();
        extents.iter().find(|extent| extent.origin == origin).unwrap().first
    };
    rig.hears(delta(1, 1, 1).encode());
    for n in 2..12 {
        assert!(rig.write(id(n), Request::Add(lamp(1))).unwrap().is_ok());
    }
    tick(&mut rig);
    assert_eq!(first(&rig, MINE), 1, "nobody has told that he has it");
    let had = VersionVector::from_iter([Dot::new(MINE, 6)]);
    rig.does(status(had, 0));
    tick(&mut rig);
    assert_eq!((first(&rig, MINE), first(&rig, THEIRS)), (7, 1));
    let (vector, total) = ((**rig.protocol.synced()).clone(), rig.protocol.synced_total());
    rig.does(status(vector, total));
    tick(&mut rig);
    assert_eq!(first(&rig, MINE), 9, "the last two stay");

    rig.sent.clear();
    let range = |from| Range { origin: MINE, from, to: 10 };
    for (from, first) in [(8, Some(9)), (9, None)] {
        rig.does(Event::Message {
            from: PEER,
            message: Message::Pull { ranges: vec![range(from)] },
        });
        let answer = rig.sent.pop().unwrap();
        match first {
            Some(first) => assert_eq!(answer, Message::Pruned { origin: MINE, first }),
            None => assert_eq!(answer.dots().len(), 2),
        }
    }

    // It starts from that: what it shows, whose the origins are, and which start came before.
    let origin = Origin::from_bytes([13; 16]);
    let extents = rig.store.log_extents().unwrap();
    let start = Start { member: ME, origin, previous: None, extents, restored: false };
    let settings = ProtocolSettings::new(vec![ME, PEER]);
    rig.protocol = Protocol::new(start, settings, rig.store.clone(), |_| Ok(())).unwrap();
    assert_eq!(rig.lamps(), 11);
    assert!(rig.write(id(30), Request::Add(lamp(1))).unwrap().is_ok());
    let log = rig.store.log(origin, 1, 1, 1).unwrap();
    let birth = Delta::decode(&log[0].bytes).unwrap().birth.unwrap();
    assert_eq!(birth, Birth { member: ME, previous: Some(MINE) });
}

/// Who is told that it is gone asks no more, and says once that only a state can help.
#[test]
fn what_all_others_have_dropped_needs_a_snapshot() {
    let mut rig = Rig::new();
    let theirs = VersionVector::from_iter([Dot::new(THEIRS, 9)]);
    let pulls = |rig: &mut Rig| {
        rig.sent.clear();
        rig.does(status(theirs.clone(), 0));
        for _ in 0..2 {
            rig.now.mono_us += 10_000_000;
            rig.does(Event::Tick { chance: 0 });
        }
        rig.sent.iter().filter(|message| matches!(message, Message::Pull { .. })).count()
    };
    assert!(pulls(&mut rig) > 0);
    let gone =
        || Event::Message { from: PEER, message: Message::Pruned { origin: THEIRS, first: 5 } };
    rig.does(gone());
    rig.does(gone());
    assert_eq!(rig.alarms, [Alarm::NeedsSnapshot { origin: THEIRS, have: 0, first: 5 }]);
    assert_eq!(pulls(&mut rig), 0);
}

/// Who takes in another's state refuses what that one may have forgotten.
#[test]
fn what_another_has_forgotten_is_refused_with_its_state() {
    let mut theirs = Rig::with(|settings| {
        settings.members = vec![ME];
        (settings.window_ms, settings.checkpoint_rows) = (1_000, 1);
    });
    theirs.now.wall_ms += 60_000;
    for n in 0..20 {
        theirs.now.mono_us += 100_000;
        theirs.now.wall_ms += 100;
        let mut ids = OpIdSession::new(theirs.now.wall_ms / 1_000, n);
        theirs.write(ids.next_id().unwrap(), Request::Add(lamp(1))).unwrap().unwrap();
        theirs.does(Event::Tick { chance: 0 });
    }
    let born = id(1).born_ms();
    let row = theirs.store.get(b"\0cuts").unwrap().unwrap();
    assert!(theirs.protocol.forgotten().get(b"shop") > born);

    let mut mine = Rig::new();
    assert!(mine.write(id(2), Request::Add(lamp(1))).unwrap().is_ok());
    mine.protocol.take_in_cuts(&row).unwrap();
    let refused = mine.write(id(1), Request::Add(lamp(1))).unwrap();
    assert!(matches!(refused, Err(Refusal::TooOld { born_ms, .. }) if born_ms == born));
    assert!(mine.protocol.take_in_cuts(&row[1..]).is_err());
}
