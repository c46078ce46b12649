//! A cluster that is upgraded one member after the other, and goes back as long as it may.
//!
//! A member of before is played by one that says that it reads no more, and shuts out what it does
//! not read (`ProtocolSettings::format_most`).
use crate::rig::cluster::{Cluster, join, leave, member};
use orset::Origin;
use pannier_replica::protocol::membership::format::{COMPACT, FIRST, FORMAT_MAX};
use pannier_replica::protocol::membership::{Place, Standing, Unfit, Wish};
use pannier_replica::protocol::{Canary, Protocol, ProtocolSettings, Start};
use pannier_replica::store::{Store, StoreError};

const NEWEST: Wish = Wish {
    add: std::collections::BTreeMap::new(),
    remove: std::collections::BTreeSet::new(),
    format: COMPACT,
    dead: std::collections::BTreeMap::new(),
};

/// Stops a member, and starts it as a build that reads so much.
fn restart(it: &mut Cluster, at: usize, reads: u32) {
    it.crash(at);
    it.nodes[at].settings.format_most = reads;
    it.start(at);
}

/// The version of the last delta that a member has made, in its own log.
fn last_version(it: &Cluster, at: usize) -> u8 {
    let node = &it.nodes[at];
    let origin = node.protocol.origin();
    let seq = node.protocol.synced().get(origin);
    node.store.log(origin, seq, seq, 1).unwrap()[0].bytes[0]
}

/// The version of the last page of its book.
fn page_version(it: &Cluster, at: usize) -> u8 {
    let extents = it.nodes[at].store.log_extents().unwrap();
    let book = extents.iter().find(|extent| extent.origin == Origin::BOOK).unwrap();
    let page = it.nodes[at].store.log(Origin::BOOK, book.last, book.last, 1).unwrap();
    page[0].bytes[0]
}

fn of_before(count: usize, canary: Canary) -> Cluster {
    let mut it = Cluster::with(count, canary);
    for at in 0..count {
        it.add(at).unwrap();
        it.run(200);
        restart(&mut it, at, FIRST);
    }
    it.until("closed", |it| (0..count).all(|at| it.number(at) >= 1));
    it
}

#[test]
fn it_is_raised_when_the_last_member_reads_it_and_not_before() {
    let mut it = of_before(3, Canary::None);
    for at in 0..3 {
        it.add(at).unwrap();
        restart(&mut it, at, COMPACT);
        it.add(at).unwrap();
        assert!(last_version(&it, at) < 4 && page_version(&it, at) == 2, "nobody has agreed");
        it.run(2_000);
        if at < 2 {
            let older = (at + 1..3).map(member).collect();
            assert_eq!(it.ends(at, &NEWEST), Standing::Refused(Unfit::TooOld(older)));
        }
    }
    assert_eq!(it.ends(1, &NEWEST), Standing::Done);
    it.until("all know", |it| (0..3).all(|at| it.nodes[at].protocol.format() == COMPACT));
    for at in 0..3 {
        it.add(at).unwrap();
        assert_eq!(last_version(&it, at), 4);
    }
    it.agree(&[0, 1, 2]);
    assert_eq!((it.lamps(0), it.lamps(2)), (12, 12));
    assert_eq!(it.wishes(2, &NEWEST), Standing::Done, "whoever asks again, wherever");
    // What lies on its disk is read again, and goes on.
    restart(&mut it, 0, COMPACT);
    it.add(0).unwrap();
    it.agree(&[0, 1, 2]);
    assert_eq!((it.lamps(1), last_version(&it, 0), page_version(&it, 0)), (13, 4, 3));
}

#[test]
fn until_it_is_raised_any_member_goes_back_to_the_build_of_before() {
    let mut it = of_before(3, Canary::None);
    for at in 0..3 {
        restart(&mut it, at, COMPACT);
        it.add(at).unwrap();
    }
    // One of the three is silent, so the others promise, and give it up.
    it.run(2_000);
    it.cut.insert(2);
    let standing = it.ends(0, &NEWEST);
    assert!(matches!(standing, Standing::Refused(_)), "{standing:?}");
    it.cut.clear();
    it.run(3_000);
    for at in 0..3 {
        restart(&mut it, at, FIRST);
        it.add(at).unwrap();
    }
    it.agree(&[0, 1, 2]);
    assert_eq!(it.lamps(1), 9);
}

#[test]
fn where_more_is_written_than_a_build_reads_it_opens_nothing_and_joins_nobody() {
    let mut it = Cluster::new(2);
    assert_eq!(it.ends(0, &NEWEST), Standing::Done);
    it.add(0).unwrap();
    it.until("all know", |it| it.nodes[1].protocol.format() == COMPACT);
    it.crash(1);
    let older = ProtocolSettings { format_most: FIRST, ..it.nodes[1].settings.clone() };
    let store = std::sync::Arc::new(it.nodes[1].disk.open().unwrap());
    let extents = store.log_extents().unwrap();
    let origin = Origin::of(member(1), 9);
    let start = Start { member: member(1), origin, previous: None, extents, restored: false };
    let opened = Protocol::new(start, older, store.clone(), |batch| store.write_state(batch));
    assert!(matches!(opened.err(), Some(StoreError::Format { .. })));
    drop(store);
    it.start(1);
    // It comes with its own build's settings; a newcomer of an older one is taken in, and waits.
    it.open(&[member(0), member(1)]);
    restart(&mut it, 2, FIRST);
    it.allowed_alarms = true;
    assert_eq!(it.ends(0, &join(2)), Standing::Done);
    it.run(3_000);
    assert_eq!(it.place(2), Place::Outside);
    restart(&mut it, 2, COMPACT);
    it.until("it serves", |it| it.place(2) == Place::Member);
    it.run(2_000);
    it.add(2).unwrap();
    assert_eq!(last_version(&it, 2), 4);
    it.agree(&[0, 1, 2]);
}

#[test]
fn a_format_is_asked_for_by_itself_and_must_be_one_that_there_is() {
    let mut it = Cluster::new(2);
    for bad in
        [Wish { format: FORMAT_MAX + 1, ..Wish::default() }, Wish { format: COMPACT, ..leave(1) }]
    {
        let standing = it.ends(0, &bad);
        assert_eq!(standing, Standing::Refused(Unfit::Format(bad.format)));
    }
    assert_eq!(it.nodes[0].protocol.format(), FIRST);
}

/// What a start reads is known with its first word. It was known with the second: whoever asked
/// right after a restart was told that the build there was too old.
#[test]
fn what_a_new_start_reads_is_known_when_it_is_heard() {
    let mut it = Cluster::new(2);
    it.crash(1);
    it.start(1);
    let start = it.nodes[1].protocol.origin();
    it.until("heard", |it| {
        let mut heard = it.nodes[0].protocol.heard_starts();
        heard.any(|(_, known)| known == Some(start))
    });
    let standing = it.wishes(0, &NEWEST);
    assert!(!matches!(standing, Standing::Refused(_)), "{standing:?}");
}

/// Found by nothing but this: one that writes what nobody has agreed on is shut out by the first
/// member that does not read it.
#[test]
#[should_panic(expected = "a format that is not read here")]
fn canary_a_new_build_writes_its_format_at_once() {
    let mut it = of_before(2, Canary::FormatUnagreed);
    restart(&mut it, 0, COMPACT);
    it.add(0).unwrap();
    it.add(0).unwrap();
    it.run(2_000);
}
