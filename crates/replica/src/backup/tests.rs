//! Backups of a replica in memory: every cut and every flipped bit, every wrong order, every wrong
//! chain; and that the checks find what they are there for.

use super::anew::as_new_cluster;
use super::frame::Writer;
use super::header::Header;
use super::reader::{END, HEADER, LOG, ROWS, put_rows};
use super::*;
use crate::Replica;
use crate::protocol::BookPage as Page;
use crate::protocol::membership::{Final, Record};
use crate::store::memory::{MemoryDisk, Rot};
use crate::store::{LogRecord, Store, StoreError};
use orset::{Dot, Member, Origin, VersionVector};
use std::sync::Arc;

/// A replica whose state lies a little behind its log, closed; and what was backed up of it last.
struct World {
    disk: MemoryDisk,
    member: Member,
    chain: Chain,
    writes: u32,
}

impl World {
    fn new() -> Self {
        let (disk, member) = (MemoryDisk::new(), Member::from_bytes([3; 16]));
        let mut it = Self { disk, member, chain: Chain::new(), writes: 0 };
        // A clean end writes a checkpoint.
        it.written(40).0.close().unwrap();
        it.write(5);
        it
    }

    /// So many adds, by a start that is killed: its rows are in the log alone.
    fn write(&mut self, adds: u32) -> Vec<Dot> {
        let (replica, dots) = self.written(adds);
        self.disk.crash(crate::store::memory::InDoubt::EVERYTHING);
        drop(replica);
        dots
    }

    fn written(&mut self, adds: u32) -> (Replica, Vec<Dot>) {
        let opened = Replica::builder().memory(&self.disk).member(self.member);
        let replica = opened.open().unwrap();
        let mut dots = Vec::new();
        for _ in 0..adds {
            self.writes += 1;
            let cart = replica.cart("shop", format!("{}", self.writes % 7)).unwrap();
            dots.extend(cart.add(format!("p{}", self.writes), 2).wait().unwrap().dot);
        }
        (replica, dots)
    }

    fn standing(&self, store: &dyn Store) -> Standing {
        let extents = store.log_extents().unwrap();
        let logs = extents.iter().filter(|extent| extent.origin != Origin::BOOK);
        Standing {
            member: self.member,
            start: Origin::of(self.member, 0),
            cluster: "shop".into(),
            engine: "memory".into(),
            taken_ms: 7,
            synced: logs.map(|extent| Dot::new(extent.origin, extent.last)).collect(),
            number: None,
            total: None,
            record: Arc::new(Record { members: [self.member].into(), ..Record::default() }),
        }
    }

    fn begin(&self, store: &dyn Store, wanted: &Wanted) -> Result<Taking, TakeError> {
        let view = store.view().unwrap();
        Taking::begin(store, Some(view), &self.standing(store), wanted)
    }

    /// The next backup of the chain.
    fn take(&mut self, full: bool) -> Vec<u8> {
        if full {
            self.chain = Chain::new();
        }
        let wanted = match self.chain.next() {
            None => Wanted::default(),
            Some((after, link)) => Wanted { after: Some(after), link },
        };
        let store = self.disk.open().unwrap();
        let mut taking = self.begin(&store, &wanted).unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = taking.piece(&store).unwrap() {
            bytes.extend_from_slice(&piece);
        }
        self.chain.add(&read(&bytes).unwrap().1);
        bytes
    }
}

fn read(bytes: &[u8]) -> Result<(Vec<Part>, Whole), Fault> {
    let (mut reader, mut parts, mut whole) = (Reader::new(), Vec::new(), None);
    for piece in bytes.chunks(1_000) {
        reader.push(piece);
        while let Some(part) = reader.part()? {
            if let Part::End(end) = &part {
                whole = Some(Whole::clone(end));
            }
            parts.push(part);
        }
    }
    reader.finish()?;
    Ok((parts, whole.ok_or(Fault::Truncated { at: 0 })?))
}

/// Frames of a backup, to be put together in another way; checksums are right again.
fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = super::frame::Frames::new();
    frames.push(bytes);
    std::iter::from_fn(|| frames.next().unwrap()).map(|it| (it.kind, it.payload)).collect()
}

fn written(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let (mut writer, mut out) = (Writer::new(), Vec::new());
    frames.iter().for_each(|(kind, payload)| writer.frame(*kind, payload, &mut out));
    out
}

#[test]
fn a_backup_is_rows_at_a_vector_and_the_log_behind_them() {
    let bytes = World::new().take(true);
    let (parts, whole) = read(&bytes).unwrap();
    assert!(whole.end.rows > 0 && whole.end.records > 0, "{:?}", whole.end);
    assert_eq!(whole.bytes, bytes.len() as u64);
    assert!(!whole.header.from.is_empty() && whole.header.to.covers(&whole.header.from));
    assert!(matches!(parts.first(), Some(Part::Header(header)) if **header == whole.header));
    let tail = bytes.last_chunk::<TAIL_BYTES>().unwrap();
    assert_eq!(seal_of(tail), Some(whole.seal));
    assert_eq!(seal_of(&[0; TAIL_BYTES]), None);
    assert_eq!(written(&frames(&bytes)), bytes);
}

#[test]
fn rows_of_many_frames_come_back_in_order_and_what_is_staged_stays_behind() {
    let disk = MemoryDisk::new();
    let world = World { disk, member: Member::from_bytes([3; 16]), chain: Chain::new(), writes: 0 };
    let store = world.disk.open().unwrap();
    // Of a kind that this build knows nothing of; some are larger than a piece.
    let key = |at: u32| [&[200], &at.to_be_bytes()[..]].concat();
    let value = |at: u32| vec![at as u8; if at.is_multiple_of(999) { 300 << 10 } else { 40 }];
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = vec![(b"\0vector".to_vec(), vec![0, 0])];
    rows.extend((0..10_000).map(|at| (key(at), value(at))));
    let staged = (vec![4, 1], Some(vec![1]));
    let batch = rows.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    let mut batch: Vec<_> = batch.collect();
    batch.insert(1, staged);
    store.write_state(&batch).unwrap();
    let mut taking = world.begin(&store, &Wanted::default()).unwrap();
    let (mut bytes, mut largest) = (Vec::new(), 0);
    while let Some(piece) = taking.piece(&store).unwrap() {
        largest = largest.max(piece.len());
        bytes.extend_from_slice(&piece);
    }
    let (parts, whole) = read(&bytes).unwrap();
    let frames = parts.iter().filter(|part| matches!(part, Part::Rows(_))).count();
    assert!(frames > 10 && largest < 3 * PIECE_BYTES, "{frames} {largest}");
    assert_eq!(whole.end.rows, 10_001);
    let found = parts.into_iter().filter_map(|part| match part {
        Part::Rows(rows) => Some(rows),
        _ => None,
    });
    assert_eq!(found.flatten().collect::<Vec<_>>(), rows);
}

#[test]
fn every_cut_and_every_flipped_bit_of_a_backup_is_found() {
    let bytes = World::new().take(true);
    for at in 0..bytes.len() {
        let cut = read(&bytes[..at]).unwrap_err();
        assert!(matches!(cut, Fault::Truncated { .. }), "{at}: {cut}");
        let mut bent = bytes.clone();
        bent[at] ^= 1 << (at % 8);
        assert!(read(&bent).is_err(), "{at}");
    }
    let more = [&bytes[..], b"more"].concat();
    assert!(matches!(read(&more), Err(Fault::Trailing { .. })));
}

/// With checksums that are right: what no frame by itself can tell.
#[test]
fn frames_that_are_right_and_say_what_no_backup_can_are_found() {
    let mut world = World::new();
    let full = frames(&world.take(true));
    let at = |kind: u8| full.iter().position(|frame| frame.0 == kind).unwrap();
    let without = |kind: u8| {
        let rest = full.iter().filter(|frame| frame.0 != kind).cloned();
        written(&rest.collect::<Vec<_>>())
    };
    assert!(matches!(read(&without(HEADER)), Err(Fault::Order { .. })));
    assert!(matches!(read(&without(LOG)), Err(Fault::Order { .. })), "fewer than were counted");
    assert!(matches!(read(&without(ROWS)), Err(Fault::Order { .. })));
    assert!(matches!(read(&without(END)), Err(Fault::Truncated { .. })));
    for (one, two) in [(LOG, ROWS), (HEADER, LOG)] {
        let mut swapped = full.clone();
        swapped.swap(at(one), at(two));
        assert!(matches!(read(&written(&swapped)), Err(Fault::Order { .. })), "{one} {two}");
    }
    for kind in [HEADER, LOG, ROWS] {
        let mut twice = full.clone();
        twice.insert(at(kind), full[at(kind)].clone());
        assert!(matches!(read(&written(&twice)), Err(Fault::Order { .. })), "{kind}");
    }
    // An end that agrees with a log that is not all of it.
    let (_, whole) = read(&written(&full)).unwrap();
    let mut short = full.clone();
    short.retain(|frame| frame.0 != LOG);
    short.last_mut().unwrap().1 = End { rows: whole.end.rows, records: 0 }.encode();
    assert!(matches!(read(&written(&short)), Err(Fault::Short { .. })));
    // A row of a byte more, under sums that know nothing of it; and a delta likewise.
    let (mut bent, mut rows) = (full.clone(), Vec::new());
    for part in read(&written(&full)).unwrap().0 {
        if let Part::Rows(some) = part {
            rows.extend(some);
        }
    }
    let entry = rows.iter_mut().find(|row| row.0[0] == 1).unwrap();
    *entry.1.last_mut().unwrap() ^= 1;
    bent[at(ROWS)].1.clear();
    put_rows(&rows, &mut bent[at(ROWS)].1);
    assert!(matches!(read(&written(&bent)), Err(Fault::Rotten { buckets: 1, .. })));
    let mut bent = full.clone();
    let (end, flipped) = (bent[at(LOG)].1.len() - 1, at(LOG));
    bent[flipped].1[end] ^= 1;
    assert!(matches!(read(&written(&bent)), Err(Fault::Record { .. })));
    // An increment that brings rows.
    world.write(3);
    let mut rows = frames(&world.take(false));
    rows.insert(1, full[at(ROWS)].clone());
    assert!(matches!(read(&written(&rows)), Err(Fault::Order { .. })));
    let strange = [full[0].clone(), (9, Vec::new())];
    assert!(matches!(read(&written(&strange)), Err(Fault::Order { .. })));
}

#[test]
fn a_state_that_had_rotted_is_no_backup() {
    let world = World::new();
    let store = world.disk.open().unwrap();
    let row = Store::scan(&store, &[1], None, 1).unwrap().remove(0);
    drop(store);
    assert!(world.disk.rot(&row.0, 3, Rot::Silent));
    let store = world.disk.open().unwrap();
    let mut taking = world.begin(&store, &Wanted::default()).unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = taking.piece(&store).unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert!(matches!(read(&bytes), Err(Fault::Rotten { buckets: 1, .. })));
}

#[test]
fn an_increment_goes_on_from_the_one_before_and_from_nothing_else() {
    let mut world = World::new();
    let full = read(&world.take(true)).unwrap().1;
    world.write(3);
    let first = read(&world.take(false)).unwrap().1;
    world.write(3);
    let second = read(&world.take(false)).unwrap().1;
    assert_eq!((first.end.rows, second.end.rows), (0, 0));
    assert_eq!((full.header.link.index, second.header.link.index), (0, 2));
    let chain = |wholes: &[&Whole]| {
        let mut chain = Chain::new();
        wholes.iter().try_for_each(|whole| chain.check(&whole.header).map(|()| chain.add(whole)))
    };
    assert_eq!(chain(&[&full, &first, &second]), Ok(()));
    assert!(matches!(chain(&[&first]), Err(Fault::NoFull { index: 1 })));
    assert!(matches!(chain(&[&full, &second]), Err(Fault::Missing { found: 2, wanted: 1 })));
    assert!(matches!(chain(&[&full, &first, &first]), Err(Fault::Missing { .. })));
    assert!(matches!(chain(&[&full, &full]), Err(Fault::Missing { .. })));
    let bent = |bend: fn(&mut Header)| {
        let mut it = first.clone();
        bend(&mut it.header);
        chain(&[&full, &it])
    };
    assert!(matches!(bent(|it| it.cluster = "other".into()), Err(Fault::OtherCluster { .. })));
    let other = |it: &mut Header| it.member = Member::from_bytes([4; 16]);
    assert!(matches!(bent(other), Err(Fault::OtherMember { .. })));
    assert!(matches!(bent(|it| it.link.previous ^= 1), Err(Fault::OtherChain { .. })));
    assert_eq!(bent(|it| it.from = VersionVector::new()), Err(Fault::Gap));
}

#[test]
fn an_increment_of_what_the_log_has_dropped_or_the_disk_has_lost_says_so() {
    let mut world = World::new();
    world.take(true);
    let (after, link) = world.chain.next().unwrap();
    let dots = world.write(5);
    let store = world.disk.open().unwrap();
    let last = dots.last().unwrap();
    store.prune_log(last.origin, 2).unwrap();
    let wanted = Wanted { after: Some(after.clone()), link };
    let gone = world.begin(&store, &wanted).err().unwrap();
    assert!(matches!(gone, TakeError::LogGone { first: 3, .. }), "{gone}");
    let mut ahead = after;
    ahead.raise(last.origin, last.seq + 1);
    let wanted = Wanted { after: Some(ahead), link };
    assert!(matches!(world.begin(&store, &wanted).err(), Some(TakeError::WentBack)));
    drop(store);
    // What goes while it is read ends it, and leaves no end frame.
    let world = World::new();
    let store = world.disk.open().unwrap();
    let mut taking = world.begin(&store, &Wanted::default()).unwrap();
    let header = taking.piece(&store).unwrap().unwrap();
    for extent in store.log_extents().unwrap() {
        store.prune_log(extent.origin, extent.last).unwrap();
    }
    assert!(matches!(taking.piece(&store), Err(TakeError::Overtaken(_))));
    assert!(matches!(read(&header), Err(Fault::Truncated { .. })));
}

#[test]
fn a_view_that_is_outrun_ends_the_backup_and_nothing_else() {
    let world = World::new();
    world.disk.set_view_bytes(1);
    let store = world.disk.open().unwrap();
    let mut taking = world.begin(&store, &Wanted::default()).unwrap();
    let batch: Vec<_> = (0..64_u8).map(|at| (vec![200, at], Some(vec![at; 64]))).collect();
    store.write_state(&batch).unwrap();
    store.write_state(&batch).unwrap();
    let ended = loop {
        match taking.piece(&store) {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let outrun = |error| matches!(error, TakeError::Store(StoreError::ViewTooOld { .. }));
    assert!(ended.is_some_and(outrun));
}

#[test]
fn any_bytes_as_a_header_or_an_end() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(header) = Header::decode(bytes, 0) {
            assert_eq!(header.encode(), bytes);
        }
        if let Ok(end) = End::decode(bytes, 0) {
            assert_eq!(end.encode(), bytes);
        }
        for kind in [HEADER, LOG, ROWS, END] {
            drop(read(&written(&[(kind, bytes.to_vec())])));
        }
    });
}

#[test]
fn a_header_is_read_as_it_was_written_and_not_when_it_contradicts_itself() {
    let mut world = World::new();
    world.take(true);
    let good = read(&world.take(true)).unwrap().1.header;
    assert_eq!(Header::decode(&good.encode(), 0), Ok(good.clone()));
    let refused = |bend: &dyn Fn(&mut Header)| {
        let mut header = good.clone();
        bend(&mut header);
        assert!(Header::decode(&header.encode(), 0).is_err(), "{header:?}");
    };
    refused(&|it| it.link.previous = 1);
    refused(&|it| it.link.index = 1);
    refused(&|it| it.cluster = "a\nb".into());
    refused(&|it| it.engine = "e".repeat(65));
    refused(&|it| it.to = VersionVector::new());
    refused(&|it| it.to.raise(Origin::MEMBERSHIP, 1));
    let closed = Final { seq: 9, number: 1 };
    refused(&|it| {
        it.page.record.number = 1;
        it.page.record.finals.insert(Origin::from_bytes([9; 16]), closed);
    });
}

#[test]
fn a_cut_is_closed_whatever_is_asked_for() {
    let mut world = World::new();
    let mut parts = read(&world.take(true)).unwrap().0;
    let dots = world.write(6);
    parts.extend(read(&world.take(false)).unwrap().0);
    let cut = |until: Until| {
        let mut cutting = Cutting::new(until);
        parts.iter().try_for_each(|part| cutting.part(part))?;
        cutting.done().map(|cut| cut.vector)
    };
    let all = cut(Until::End).unwrap();
    assert_eq!(cut(Until::Time(u64::MAX)).as_ref(), Ok(&all));
    assert!(all.contains(dots[5]));
    let asked: VersionVector = [dots[2]].into_iter().collect();
    let found = cut(Until::Dots(asked)).unwrap();
    // The start before had ended by then, and the first commit says so.
    assert_eq!(found.get(dots[2].origin), dots[2].seq);
    assert!(all.covers(&found) && found.len() == all.len());
    assert!(found.iter().all(|dot| dot.origin == dots[2].origin || all.get(dot.origin) == dot.seq));
    let unknown = Dot::new(dots[2].origin, 1_000);
    assert_eq!(cut(Until::Dots([unknown].into_iter().collect())), Err(Fault::Unknown(unknown)));
    assert!(matches!(cut(Until::Time(0)), Err(Fault::TooEarly { .. })));
    let Some(Part::Header(header)) = parts.first() else { unreachable!() };
    let base = header.from.iter().next().unwrap();
    let early = [Dot::new(base.origin, base.seq - 1)].into_iter().collect();
    assert!(matches!(cut(Until::Dots(early)), Err(Fault::TooEarly { .. })));
    // In the moment of a commit: it, and nothing behind it.
    let Some(Part::Records(records)) = parts.iter().rfind(|it| matches!(it, Part::Records(_)))
    else {
        unreachable!()
    };
    let time = |record: &LogRecord| {
        crate::protocol::delta::Delta::decode(&record.bytes).unwrap().time.millis()
    };
    let moment = time(&records[3]);
    let found = cut(Until::Time(moment)).unwrap();
    for record in records {
        let is_in = found.contains(Dot::new(record.origin, record.seq));
        assert_eq!(is_in, time(record) <= moment);
    }
}

#[test]
fn a_new_cluster_is_of_one_and_everybody_elses_origins_end_where_the_backup_has_them() {
    let [own, two, three, left] = [1, 2, 3, 4].map(|byte| Member::from_bytes([byte; 16]));
    let (mine, theirs, old) = (Origin::of(own, 1), Origin::of(two, 2), Origin::of(left, 3));
    let finals = [(old, Final { seq: 5, number: 2 })].into();
    let record = Record { number: 2, members: [own, two, three].into(), finals, ..<_>::default() };
    let decided = Some(Record { number: 3, ..record.clone() });
    let page = Page { record, decided, promise: None };
    let cut = [(mine, 9), (theirs, 4), (old, 5)];
    let cut: VersionVector = cut.into_iter().map(|(it, seq)| Dot::new(it, seq)).collect();
    let Page { record, decided, promise } = as_new_cluster(&page, &cut, own, 77);
    assert_eq!((decided, promise), (None, None));
    assert_eq!((record.number, record.change), (4, 77), "behind whatever was decided");
    assert_eq!(record.members, [own].into());
    assert_eq!(record.finals[&old], Final { seq: 5, number: 2 }, "a final never changes");
    assert_eq!(record.finals[&theirs], Final { seq: 4, number: 4 });
    assert_eq!(record.final_of(mine), None);
    // Of one that never wrote: its id is used up.
    assert!(record.finals.keys().any(|origin| origin.is_of(three)));
    assert_eq!(record.whole(&cut), cut);
    let page = Page { record, decided: None, promise: None };
    assert_eq!(Page::decode(&page.encode()).unwrap(), page);
}
