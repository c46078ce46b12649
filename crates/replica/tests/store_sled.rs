//! What only the second engine can suffer, but for power cuts (`store_sled_cut.rs`): lost and
//! damaged files, creations that were cut, large values, a disk that is full, the wrong engine.

#![cfg(feature = "sled")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot set up, it failed")]

mod batches;
mod sled_disk;

use batches::{batch, check, checkpoint, last_batch};
use orset::Origin;
use pannier_replica::store::conformance::Generator;
use pannier_replica::store::sled::{SledSettings, SledStore};
use pannier_replica::store::{
    ENTRIES, EngineKind, LogRecord, MAX_KEY_BYTES, MAX_RECORD_BYTES, MAX_VALUE_BYTES, Store,
    StoreError,
};
use pannier_replica::{OpenError, Replica, Settings};
use sled_disk::{Disk, no_piece_is_left_over};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const ORIGIN: Origin = Origin::from_bytes([7; 16]);
const CHILD: &str = "PANNIER_SLED_FULL_CHILD";

fn open(path: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(path, &SledSettings::tiny_for_tests())
}

fn record(seq: u64, length: usize) -> LogRecord {
    LogRecord { origin: ORIGIN, seq, bytes: Generator::new(seq).bytes(length).into() }
}

/// A store with batches in its log and a checkpoint of the first half of them.
fn some_batches(path: &Path, last: u64) {
    let store = open(path).unwrap();
    for number in 1..=last {
        store.append(&batch(number)).unwrap();
    }
    store.write_state(&checkpoint(1, last / 2)).unwrap();
}

#[test]
fn sled_makes_no_file_for_the_largest_values() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let key = |n: u8| vec![n; MAX_KEY_BYTES];
    for n in 1..=3 {
        store.append(&[record(n.into(), MAX_RECORD_BYTES)]).unwrap();
        store.write_state(&vec![(key(n), Some(vec![n; MAX_VALUE_BYTES]))]).unwrap();
    }
    // Many rows of the largest size that is not cut, with the longest keys.
    for round in 0..3 {
        let row = |n: u8| {
            let key = [vec![ENTRIES; MAX_KEY_BYTES - 1], vec![n]].concat();
            (key, Some(vec![round; 16 << 10]))
        };
        store.write_state(&(0..=255).map(row).collect()).unwrap();
    }
    assert_eq!(store.get(&key(2)).unwrap(), Some(vec![2; MAX_VALUE_BYTES]));
    // Long, longer than that, short, gone.
    store.write_state(&vec![(key(1), None), (key(2), Some(vec![])), (key(3), None)]).unwrap();
    store.prune_log(ORIGIN, 2).unwrap();
    drop(store);
    no_piece_is_left_over(dir.path());
    let store = open(dir.path()).unwrap();
    assert_eq!(store.get(&key(2)).unwrap(), Some(vec![]));
    assert_eq!(store.log(ORIGIN, 1, 9, 1).unwrap(), [record(3, MAX_RECORD_BYTES)]);
}

#[test]
fn a_store_that_is_closed_is_free_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for seq in 1..=20 {
        let store = open(dir.path()).unwrap();
        assert!(matches!(open(dir.path()).map(drop), Err(StoreError::InUse(_))));
        store.append(&[record(seq, 100_000)]).unwrap();
        store.write_state(&checkpoint(seq, seq)).unwrap();
    }
    assert_eq!(last_batch(&open(dir.path()).unwrap()), 20);
}

#[test]
fn segments_stay_as_they_were_made() {
    let dir = tempfile::tempdir().unwrap();
    some_batches(dir.path(), 40);
    let larger = SledSettings { segment_bytes: 16 << 20, ..SledSettings::default() };
    let store = SledStore::open(dir.path(), &larger).unwrap();
    assert_eq!(check(&store, 40, 1), Ok(40));
    drop(store);
    // And what is no size of a segment counts as one.
    for segment_bytes in [0, 3 << 20, usize::MAX] {
        let dir = tempfile::tempdir().unwrap();
        let odd = SledSettings { segment_bytes, cache_bytes: 0, view_bytes: 0 };
        let store = SledStore::open(dir.path(), &odd).unwrap();
        store.append(&batch(1)).unwrap();
        drop(store);
        assert_eq!(check(&SledStore::open(dir.path(), &odd).unwrap(), 1, 1), Ok(1));
    }
}

#[test]
fn a_creation_that_was_cut_begins_again() {
    for left in [vec!["new"], vec!["new/log/blobs"], vec!["new/log", "new/state"]] {
        let dir = tempfile::tempdir().unwrap();
        for folder in &left {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("db"), [7; 5_000]).unwrap();
        }
        let store = open(dir.path()).unwrap_or_else(|error| panic!("{left:?}: {error}"));
        store.append(&[record(1, 10)]).unwrap();
        drop(store);
        assert!(!dir.path().join("new").exists());
        assert_eq!(last_batch(&open(dir.path()).unwrap()), 1);
    }
}

/// sled makes what it does not find, and would begin anew beside the half that is left.
#[test]
fn a_file_that_was_lost_is_answered_and_not_made_anew() {
    for lost in ["log/db", "state/db", "log/conf", "state/conf", "redo", "log", "state"] {
        let dir = tempfile::tempdir().unwrap();
        some_batches(dir.path(), 10);
        let lost = dir.path().join("sled").join(lost);
        if lost.is_dir() {
            fs::remove_dir_all(&lost).unwrap();
        } else {
            fs::remove_file(&lost).unwrap();
        }
        let answer = open(dir.path()).map(drop);
        assert!(matches!(answer, Err(StoreError::Format { .. })), "{lost:?}: {answer:?}");
        assert!(!lost.exists(), "{lost:?}");
    }
    // What power cuts do to sled as it comes: the file is there, and nothing in it.
    for (half, length) in [("log", 0), ("state", 0), ("log", 100), ("state", 5_000)] {
        let dir = tempfile::tempdir().unwrap();
        some_batches(dir.path(), 10);
        let folder = dir.path().join("sled").join(half);
        fs::File::options().write(true).open(folder.join("db")).unwrap().set_len(length).unwrap();
        let answer = open(dir.path()).map(drop);
        assert!(matches!(answer, Err(StoreError::Corrupted(_))), "{half} {length}: {answer:?}");
    }
}

#[test]
fn damage_is_never_a_panic_and_never_wrong_bytes() {
    let dir = tempfile::tempdir().unwrap();
    some_batches(dir.path(), 60);
    let mut generator = Generator::new(3);
    let (mut refused, mut served) = (0, 0);
    for case in 0..60 {
        let damaged = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path());
        disk.image(&mut Generator::new(0), damaged.path());
        let half = ["log", "state"][case % 2];
        let folder = damaged.path().join("sled").join(half);
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
        files.sort();
        let file = &files[generator.below(files.len() as u64) as usize];
        let mut bytes = fs::read(file).unwrap();
        for _ in 0..1 + generator.below(3) {
            let at = generator.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << generator.below(8);
        }
        fs::write(file, bytes).unwrap();
        let Ok(store) = open(damaged.path()) else {
            refused += 1;
            continue;
        };
        served += 1;
        // What comes is what was written, or an error; what is behind the damage may be missing.
        for number in 1..=60 {
            for wanted in batch(number) {
                let found = store.log(wanted.origin, wanted.seq, wanted.seq, 1);
                if let Ok(found) = found {
                    assert!(found.iter().all(|found| *found == wanted), "case {case}: {number}");
                }
            }
        }
        let rows = store.scan(&[], None, usize::MAX);
        if let Err(error) = rows {
            assert!(matches!(error, StoreError::Corrupted(_) | StoreError::Poisoned(_)), "{error}");
        }
    }
    assert!(refused > 5 && served > 5, "{refused} refused, {served} served");
}

#[test]
fn a_checkpoint_whose_file_was_damaged_while_it_went_in_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    some_batches(dir.path(), 30);
    let disk = Arc::new(Disk::new(dir.path()));
    let cut = tempfile::tempdir().unwrap();
    let to = cut.path().to_owned();
    let mut syncs = 0;
    let settings = SledSettings::tiny_for_tests();
    let store = SledStore::open_with(dir.path(), &settings, disk.clone()).unwrap();
    disk.watch(move |disk, _, name| {
        syncs += (name == "sled/state/db") as u32;
        // The first rows are on disk, and the second ones are about to be.
        if syncs == 2 {
            disk.image(&mut Generator::new(1), &to);
        }
    });
    store.write_state(&checkpoint(16, 30)).unwrap();
    drop(store);
    let redo = cut.path().join("sled/redo");
    let whole = fs::read(&redo).unwrap();
    for bytes in [vec![], whole[..whole.len() - 1].to_vec(), vec![7; 100]] {
        fs::write(&redo, bytes).unwrap();
        let answer = open(cut.path()).map(drop);
        assert!(matches!(answer, Err(StoreError::Corrupted(_))), "{answer:?}");
    }
    fs::write(&redo, whole).unwrap();
    assert_eq!(check(&open(cut.path()).unwrap(), 30, 1), Ok(30));
}

/// The child of the test below: writes until it cannot.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&path)).unwrap();
    let refused = (last_batch(&store) + 1..).find_map(|number| {
        let appended = store.append(&batch(number));
        let written = appended.and_then(|()| store.write_state(&checkpoint(number, number)));
        written.err().map(|error| (number, error))
    });
    let (number, error) = refused.unwrap();
    assert!(matches!(error, StoreError::Poisoned(_)), "{error:?}");
    for answer in [store.append(&batch(number)), store.sync_state(), store.get(&[1]).map(drop)] {
        assert!(matches!(answer, Err(StoreError::Poisoned(_))), "{answer:?}");
    }
    // Dropping it must end too.
    drop(store);
    println!("refused {number} for {error}");
}

/// A file that may not grow is a disk that is full. sled does not tell those who wait for a write
/// of every way in which it fails.
#[test]
fn a_full_disk_shuts_the_store_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let mut last = 0;
    // In blocks of 512 bytes or of 1,024, as the shell has it.
    for blocks in [8_000, 12_000, 20_000] {
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" child --exact --nocapture"))
            .arg(std::env::current_exe().unwrap())
            .env(CHILD, dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let number = said.lines().find_map(|line| line.strip_prefix("refused "));
        let number = number.and_then(|line| line.split(' ').next()?.parse::<u64>().ok());
        let Some(number) = number else {
            panic!("{said}\n{}", String::from_utf8_lossy(&output.stderr));
        };
        let store = open(dir.path()).unwrap();
        // The last one may or may not be there, and its checkpoint with it.
        last = check(&store, (number - 1).max(last), 1).unwrap();
        assert!(last <= number, "{last} of {number}");
    }
    assert!(last > 20, "only {last} batches fit");
}

#[test]
fn a_replica_opens_what_its_directory_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let open = |engine: Option<EngineKind>| {
        let settings = Settings { engine, ..Settings::default() };
        Replica::builder().directory(dir.path()).settings(settings).open()
    };
    let replica = open(Some(EngineKind::Sled)).unwrap();
    replica.cart("shop", "ada").unwrap().add("lamp", 1).wait().unwrap();
    replica.close().unwrap();
    let answer = open(Some(EngineKind::Fjall)).map(drop);
    let Err(OpenError::Store(StoreError::OtherEngine { kept_by, asked, .. })) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!((kept_by, asked), (EngineKind::Sled, EngineKind::Fjall));
    for engine in [None, Some(EngineKind::Sled)] {
        let replica = open(engine).unwrap();
        let view = replica.cart("shop", "ada").unwrap().read().wait().unwrap();
        assert_eq!(view.quantity(b"lamp"), 1);
        replica.close().unwrap();
    }
    assert!(!dir.path().join("log").exists(), "another engine was here");
}
