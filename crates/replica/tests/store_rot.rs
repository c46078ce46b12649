//! Bit rot: one bit of one file flipped while the store is closed, and what the engine says of it.
//!
//! What is asserted is what a verification rests on: a store never answers other bytes than were
//! written, without an error. The counts are printed (`--nocapture`) and stand in
//! `docs/operations.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot set up, it failed")]

use orset::Origin;
use pannier_replica::store::conformance::Generator;
use pannier_replica::store::fjall::{FjallSettings, FjallStore};
use pannier_replica::store::memory::MemoryDisk;
#[cfg(feature = "sled")]
use pannier_replica::store::sled::{SledSettings, SledStore};
use pannier_replica::store::{EngineKind, LogRecord, Row, StateBatch, Store, StoreError};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CHILD: &str = "PANNIER_STORE_ROT_CHILD";
const ORIGIN: Origin = Origin::from_bytes([7; 16]);

/// What came of one flipped bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// The store did not open, and said why.
    NotOpened,
    /// It opened, and a read answered an error.
    NotRead,
    /// The engine panicked, or ended the process.
    Panicked,
    /// All was there: the bit meant nothing, or what it meant is kept elsewhere too.
    Harmless,
    /// Something is missing that was synced, without a word.
    Missing,
    /// Other bytes than were written, without a word.
    Altered,
}

type Everything = (Vec<Row>, Vec<LogRecord>);

fn everything(store: &dyn Store) -> Result<Everything, StoreError> {
    let rows = store.scan(&[], None, usize::MAX)?;
    Ok((rows, store.log(ORIGIN, 0, u64::MAX, usize::MAX)?))
}

fn fill(store: &dyn Store) {
    let mut generator = Generator::new(1);
    for round in 0..40u64 {
        let mut batch = StateBatch::new();
        for kind in 0..4u8 {
            for n in 0..9 {
                let key = [vec![kind], (round * 9 + n).to_be_bytes().to_vec()].concat();
                batch.push((key, Some(generator.bytes(300))));
            }
        }
        store.write_state(&batch).unwrap();
        let length = if round % 2 == 0 { 9_000 } else { 200 };
        let bytes = generator.bytes(length).into();
        store.append(&[LogRecord { origin: ORIGIN, seq: round + 1, bytes }]).unwrap();
    }
    store.sync_state().unwrap();
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_dir() {
            found.extend(files(&entry));
        } else {
            found.push(entry);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (entry, target) = (entry.path(), to.join(entry.file_name()));
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}

fn open(engine: EngineKind, path: &Path) -> Result<Box<dyn Store>, StoreError> {
    match engine {
        EngineKind::Fjall => {
            Ok(Box::new(FjallStore::open(path, &FjallSettings::tiny_for_tests())?))
        }
        #[cfg(feature = "sled")]
        EngineKind::Sled => Ok(Box::new(SledStore::open(path, &SledSettings::tiny_for_tests())?)),
        #[cfg(not(feature = "sled"))]
        EngineKind::Sled => panic!("not built"),
    }
}

/// What must be there: the same calls on a store that cannot rot.
fn wanted() -> Everything {
    let store = MemoryDisk::new().open().unwrap();
    fill(&store);
    everything(&store).unwrap()
}

/// Not a test: what the child runs. An engine may end the whole process, so each case has its own.
#[test]
fn child() {
    let Ok(said) = std::env::var(CHILD) else { return };
    let (engine, path) = said.split_once('|').unwrap();
    let found = match open(engine.parse().unwrap(), Path::new(path)) {
        Err(_) => Fate::NotOpened,
        Ok(store) => match everything(&*store) {
            Err(_) => Fate::NotRead,
            Ok(found) if found == wanted() => Fate::Harmless,
            Ok((rows, log)) => {
                let wanted = wanted();
                let whole = rows.iter().all(|row| wanted.0.contains(row))
                    && log.iter().all(|record| wanted.1.contains(record));
                if whole { Fate::Missing } else { Fate::Altered }
            }
        },
    };
    println!("fate={found:?}.");
}

fn fate(engine: EngineKind, path: &Path) -> Fate {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(CHILD, format!("{engine}|{}", path.display()))
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = [Fate::NotOpened, Fate::NotRead, Fate::Harmless, Fate::Missing, Fate::Altered];
    let said = all.into_iter().find(|fate| said.contains(&format!("fate={fate:?}.")));
    said.filter(|_| output.status.success()).unwrap_or(Fate::Panicked)
}

fn rot(engine: EngineKind) -> BTreeMap<(String, Fate), u64> {
    let made = tempfile::tempdir().unwrap();
    let store = open(engine, made.path()).unwrap();
    fill(&*store);
    drop(store);
    let control = tempfile::tempdir().unwrap();
    copy(made.path(), control.path());
    assert_eq!(fate(engine, control.path()), Fate::Harmless, "a copy that is whole");
    let mut fates = BTreeMap::new();
    let mut generator = Generator::new(2);
    for file in files(made.path()) {
        let name = file.strip_prefix(made.path()).unwrap();
        let bytes = fs::read(&file).unwrap();
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        if used.is_empty() {
            continue;
        }
        for _ in 0..6 {
            let at = used[generator.below(used.len() as u64) as usize];
            let left = tempfile::tempdir().unwrap();
            copy(made.path(), left.path());
            let mut rotten = bytes.clone();
            rotten[at] ^= 1 << generator.below(8);
            fs::write(left.path().join(name), rotten).unwrap();
            // Files of one sort are one line.
            let sort = name.display().to_string().replace(|c: char| c.is_ascii_digit(), "");
            let fate = fate(engine, left.path());
            *fates.entry((sort, fate)).or_insert(0) += 1;
        }
    }
    for ((file, fate), count) in &fates {
        println!("{file}: {fate:?} {count}");
    }
    fates
}

/// Never other bytes; and without a word missing only where it is known.
fn check(fates: &BTreeMap<(String, Fate), u64>, may_miss: &[&str]) {
    for (file, fate) in fates.keys() {
        assert!(*fate != Fate::Altered, "{file} answered other bytes than were written");
        let known = *fate != Fate::Missing || may_miss.contains(&file.as_str());
        assert!(known, "{file} lost what was synced without a word");
    }
}

/// What is missing is a tail of the checkpoints (J3): the log has it, or recovery says that it does
/// not.
#[test]
fn fjall_answers_no_rotten_byte_as_if_it_were_whole() {
    check(&rot(EngineKind::Fjall), &["state/.jnl"]);
}

/// sled takes a bad record in its log for the end of it, and cuts what comes behind.
#[cfg(feature = "sled")]
#[test]
fn sled_answers_no_rotten_byte_as_if_it_were_whole() {
    check(&rot(EngineKind::Sled), &["sled/log/db", "sled/state/db"]);
}
