//! Verification by hand: a replica on whose disk something changes, and a peer that may lie.
//!
//! How comparisons go on through writes is tried by chance in `simulations/tests/rot.rs`; here are
//! the single steps, and the answers that no honest peer gives.

use crate::rig::*;
use orset::{Request, VersionVector};
use pannier_replica::protocol::verify::{Compare, Fault, Report, Verify};
use pannier_replica::protocol::{Alarm, BUCKETS, Event, Message, object_hash, row_hash};
use pannier_replica::store::{Row, Store};

const DEEP: Verify = Verify { deep: true, repair: false, from: None };
const REPAIR: Verify = Verify { deep: true, repair: true, from: None };

fn bucket() -> u16 {
    (object_hash(&cart()) as usize % BUCKETS) as u16
}

/// A replica with some lamps, all of it in the store.
fn stocked() -> Rig {
    let mut rig = Rig::with(|settings| settings.checkpoint_rows = 1);
    rig.hears(delta(1, 1, 1).encode());
    for n in 2..6 {
        assert!(rig.write(id(n), Request::Add(lamp(1))).unwrap().is_ok());
    }
    rig
}

fn tick(rig: &mut Rig) {
    rig.now.mono_us += 1_000_000;
    rig.does(Event::Tick { chance: 0 });
}

/// Asks, and gives it time to come as far as it can by itself.
fn asks(rig: &mut Rig, asked: Verify) {
    rig.does(Event::Verify(asked));
    tick(rig);
    tick(rig);
}

fn report(rig: &Rig) -> Report {
    rig.protocol.verified().clone()
}

/// The question that was put to the peer last.
fn question(rig: &Rig) -> (u64, VersionVector, Vec<u16>) {
    let asked = rig.sent.iter().rev().find_map(|message| match message {
        Message::Compare(Compare::Ask { id, at, buckets, .. }) => {
            Some((*id, at.clone(), buckets.clone()))
        }
        _ => None,
    });
    asked.unwrap()
}

fn says(rig: &mut Rig, said: Compare) {
    rig.does(Event::Message { from: PEER, message: Message::Compare(said) });
}

fn entries(rig: &Rig) -> Vec<Row> {
    rig.store.scan(&[1], None, 1_000).unwrap()
}

fn sum(rows: &[Row]) -> u128 {
    rows.iter().fold(0, |sum, (key, value)| sum.wrapping_add(row_hash(key, value)))
}

/// The peer answers the last question with these rows, which it says add up to `sum`.
fn tells(rig: &mut Rig, rows: Vec<Row>, sum: u128) {
    let (id, vector, buckets) = question(rig);
    assert_eq!(buckets, [bucket()]);
    says(rig, Compare::Rows { id, vector, sums: vec![sum], rows, next: None });
}

#[test]
fn what_is_as_it_was_written_is_clean() {
    let mut rig = stocked();
    asks(&mut rig, DEEP);
    let report = report(&rig);
    let survey = report.survey.unwrap();
    assert!(survey.is_clean() && !report.running, "{survey:?}");
    assert_eq!((survey.rows, survey.memories, survey.records), (5, 5, 5));
    assert_eq!(rig.alarms, []);
}

/// Every way in which a stored row can be another one, found and told, and mended by the peer's.
#[test]
fn a_row_that_changed_is_found_named_and_mended() {
    let right = entries(&stocked());
    let (key, value) = right[2].clone();
    let mut beside = key.clone();
    *beside.last_mut().unwrap() ^= 1;
    let mut bent = value.clone();
    bent[0] ^= 0xff;
    let changes = [
        (key.clone(), Some(right[0].1.iter().chain(&[1]).copied().collect())),
        (key.clone(), Some(bent)),
        (key.clone(), Some(Vec::new())),
        (key, None),
        (beside, Some(value)),
        ([&b"\0sum/"[..], &bucket().to_be_bytes()].concat(), Some(vec![7; 16])),
    ];
    for change in changes {
        let mut rig = stocked();
        let total = rig.protocol.total();
        rig.store.write_state(&vec![change.clone()]).unwrap();
        asks(&mut rig, REPAIR);
        let found = report(&rig).survey.unwrap();
        assert_eq!(found.buckets, [bucket()], "{change:?}");
        assert!(
            matches!(&rig.alarms[..], [Alarm::Rotten { buckets, .. }] if *buckets == [bucket()])
        );
        tells(&mut rig, right.clone(), sum(&right));
        tick(&mut rig);
        let report = report(&rig);
        assert!(!report.running && report.survey.unwrap().is_clean(), "{change:?}");
        let [difference] = &report.differences[..] else { panic!("{change:?}") };
        assert!(difference.mended);
        if change.0[0] == 1 {
            assert_eq!((difference.fault, &difference.objects[..]), (Fault::Ours, &[cart()][..]));
        }
        assert_eq!(entries(&rig), right, "{change:?}");
        assert_eq!((rig.protocol.total(), rig.protocol.synced_total()), (total, total));
        assert_eq!(rig.lamps(), 5);
    }
}

#[test]
fn what_nothing_here_writes_goes_without_a_peer() {
    let mut rig = stocked();
    rig.store.write_state(&vec![(vec![1, 9, 9], Some(vec![7]))]).unwrap();
    asks(&mut rig, DEEP);
    assert_eq!(report(&rig).survey.unwrap().strays, 1);
    assert_eq!(entries(&rig).len(), 6);
    asks(&mut rig, REPAIR);
    assert_eq!((report(&rig).survey.unwrap().strays, report(&rig).rows_mended), (0, 1));
    assert_eq!(entries(&rig).len(), 5);
}

#[test]
fn op_memory_and_log_must_be_readable() {
    let mut rig = stocked();
    let (key, _) = rig.store.scan(&[2], None, 1).unwrap().remove(0);
    rig.store.write_state(&vec![(key, Some(vec![0xff]))]).unwrap();
    asks(&mut rig, DEEP);
    assert_eq!(report(&rig).survey.unwrap().unsound_memories, 1);
    assert!(matches!(rig.alarms[..], [Alarm::Rotten { memories: 1, .. }]));
}

/// A peer's rows that do not add up to its own sum are not taken, nor what is no answer.
#[test]
fn rows_that_do_not_add_up_are_not_taken() {
    let right = entries(&stocked());
    let mut rig = stocked();
    rig.store.write_state(&vec![(right[2].0.clone(), None)]).unwrap();
    let rotten = entries(&rig);
    asks(&mut rig, REPAIR);
    tells(&mut rig, right.clone(), sum(&right).wrapping_add(1));
    assert_eq!(report(&rig).differences[0].fault, Fault::Both);
    assert_eq!((entries(&rig), report(&rig).running), (rotten.clone(), false));

    let mut doubled = right.clone();
    doubled.push(right[0].clone());
    let mut strange = right.clone();
    strange[0].0 = vec![1, 2, 3];
    let mut unsound = right.clone();
    unsound[0].1 = Vec::new();
    for nonsense in [doubled, strange, unsound] {
        asks(&mut rig, REPAIR);
        tells(&mut rig, nonsense.clone(), sum(&nonsense));
        let report = report(&rig);
        assert!(report.differences.is_empty() && !report.problems.is_empty(), "{report:?}");
        assert_eq!(entries(&rig), rotten);
    }
}

/// What is on its way from an earlier question, or is of a vector that lacks something, is nothing.
#[test]
fn only_the_answer_to_the_question_counts() {
    let right = entries(&stocked());
    let mut rig = stocked();
    rig.store.write_state(&vec![(right[2].0.clone(), None)]).unwrap();
    asks(&mut rig, REPAIR);
    let (id, vector, _) = question(&rig);
    let sums = vec![sum(&right)];
    let answer = |id, vector| Compare::Rows {
        id,
        vector,
        sums: sums.clone(),
        rows: right.clone(),
        next: None,
    };
    says(&mut rig, answer(id ^ 1, vector.clone()));
    says(&mut rig, answer(id, VersionVector::new()));
    assert!(report(&rig).running);
    // An op comes in between: the question is put anew, and the answer to the old one is late.
    assert!(rig.write(id_of(9), Request::Add(lamp(1))).unwrap().is_ok());
    says(&mut rig, answer(id, vector));
    assert!(report(&rig).running && report(&rig).differences.is_empty());
    tick(&mut rig);
    let (again, vector, _) = question(&rig);
    assert_ne!(again, id);
    assert!(vector.covers(rig.protocol.synced()));
}

fn id_of(n: u64) -> orset::OpId {
    id(n)
}

/// Two that both add up and differ: told with every detail, and mended only by an operator's word.
#[test]
fn a_bug_is_named_and_not_mended_unless_a_side_is_taken() {
    let right = entries(&stocked());
    let theirs = right[1..].to_vec();
    let mut sums = vec![0; BUCKETS];
    sums[usize::from(bucket())] = sum(&theirs);
    let compares = |rig: &mut Rig| {
        let (id, vector, buckets) = question(rig);
        assert!(buckets.is_empty());
        says(rig, Compare::Sums { id, vector, sums: sums.clone() });
        tells(rig, theirs.clone(), sum(&theirs));
        tick(rig);
    };
    // The alarm looks by itself.
    let mut rig = stocked();
    let (vector, total) = ((**rig.protocol.synced()).clone(), sum(&theirs));
    let status =
        Message::Status { origin: THEIRS, number: 0, vector, total, reply: false, reads: 1 };
    rig.does(Event::Message { from: PEER, message: status });
    assert!(matches!(rig.alarms[..], [Alarm::Diverged { .. }]));
    compares(&mut rig);
    let [Alarm::Diverged { .. }, Alarm::Differs(told)] = &rig.alarms[..] else { panic!() };
    assert_eq!((told.fault, told.bucket, told.rows), (Fault::Neither, bucket(), 1));
    assert_eq!((&told.objects[..], told.mended), (&[cart()][..], false));

    let take = |repair, from| Verify { deep: false, repair, from };
    for asked in [take(false, None), take(true, None), take(false, Some(PEER))] {
        asks(&mut rig, asked);
        compares(&mut rig);
        assert!(!report(&rig).running && !report(&rig).differences[0].mended);
        assert_eq!(rig.lamps(), 5);
    }
    asks(&mut rig, take(true, Some(PEER)));
    compares(&mut rig);
    tick(&mut rig);
    assert!(report(&rig).differences[0].mended);
    assert_eq!((rig.lamps(), rig.protocol.total()), (4, sum(&theirs)));
    assert_eq!(entries(&rig), theirs, "and it is on disk");
    asks(&mut rig, DEEP);
    assert!(report(&rig).survey.unwrap().is_clean());
}

#[test]
fn who_asks_is_answered_of_what_is_synced_and_no_more_than_a_page() {
    let mut rig = Rig::with(|settings| settings.message_bytes = 200);
    for n in 1..40 {
        assert!(rig.write(id(n), Request::Add(lamp(1))).unwrap().is_ok());
    }
    let at = (**rig.protocol.synced()).clone();
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        rig.sent.clear();
        let (buckets, at) = (vec![bucket()], at.clone());
        says(&mut rig, Compare::Ask { id: 1, number: 0, at, buckets, after, upto: None });
        let Some(Message::Compare(Compare::Rows { rows: page, next, sums, .. })) = rig.sent.pop()
        else {
            panic!()
        };
        assert_eq!(sums, [rig.protocol.buckets()[usize::from(bucket())]]);
        assert!(page.len() <= 5);
        rows.extend(page);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((rows.len(), sum(&rows)), (39, rig.protocol.total()));
    // Of what it has not got, under other members, or of no bucket, nothing.
    rig.sent.clear();
    let mut ahead = at.clone();
    ahead.raise(THEIRS, 7);
    for (number, at, buckets) in
        [(0, ahead, vec![]), (1, at.clone(), vec![]), (0, at, vec![BUCKETS as u16])]
    {
        says(&mut rig, Compare::Ask { id: 1, number, at, buckets, after: None, upto: None });
    }
    assert_eq!(rig.sent, []);
}
