//! The data directory: whose it is, that only one has it, and that refusals change nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot set up, it failed")]

use orset::Member;
use pannier_replica::store::directory::Directory;
use pannier_replica::store::{EngineKind, StoreError};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const ALICE: Member = Member::from_bytes([0xa1; 16]);
const BOB: Member = Member::from_bytes([0xb0; 16]);

fn open(path: &Path) -> Result<Directory, StoreError> {
    Directory::open(path, None, ALICE, None)
}

/// Every file below `path` and what is in it.
fn contents(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(path) else { return BTreeMap::new() };
    entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn a_new_directory_takes_the_member_named_or_the_fresh_one() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a/b/c"), dir.path().join("d"));
    assert_eq!(open(&first).unwrap().member(), ALICE);
    // Now it is known; a fresh one is not looked at, a named one must match.
    assert_eq!(Directory::open(&first, None, BOB, None).unwrap().member(), ALICE);
    assert_eq!(Directory::open(&first, Some(ALICE), BOB, None).unwrap().member(), ALICE);
    assert_eq!(Directory::open(&second, Some(BOB), ALICE, None).unwrap().member(), BOB);
}

#[test]
fn an_operator_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let text = fs::read_to_string(dir.path().join("pannier")).unwrap();
    let golden = "pannier data directory\nformat 1\nmember a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1\n\
                  engine fjall\nplace machine ";
    assert!(text.starts_with(golden), "{text}");
}

#[test]
fn it_is_opened_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::InUse(_))));
    drop(held);
    open(dir.path()).unwrap();
}

#[test]
fn another_member_or_engine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let before = contents(dir.path());
    let bob = Directory::open(dir.path(), Some(BOB), BOB, None);
    assert!(matches!(bob, Err(StoreError::Format { .. })), "{bob:?}");
    let sled = Directory::open(dir.path(), None, ALICE, Some(EngineKind::Sled));
    match sled {
        Err(StoreError::OtherEngine { kept_by, asked, .. }) if EngineKind::Sled.is_built() => {
            assert_eq!((kept_by, asked), (EngineKind::Fjall, EngineKind::Sled));
        }
        Err(StoreError::EngineNotBuilt(EngineKind::Sled)) if !EngineKind::Sled.is_built() => {}
        answer => panic!("{answer:?}"),
    }
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn it_remembers_its_engine() {
    for engine in EngineKind::ALL.into_iter().filter(|engine| engine.is_built()) {
        let dir = tempfile::tempdir().unwrap();
        let made = Directory::open(dir.path(), None, ALICE, Some(engine)).unwrap();
        assert_eq!(made.engine(), engine);
        drop(made);
        for asked in [None, Some(engine)] {
            let found = Directory::open(dir.path(), None, ALICE, asked).unwrap();
            assert_eq!(found.engine(), engine);
        }
        let identity = fs::read_to_string(dir.path().join("pannier")).unwrap();
        assert!(identity.contains(&format!("\nengine {engine}\n")), "{identity}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(open(dir.path()).unwrap().engine(), EngineKind::Fjall);
}

#[test]
fn an_engine_of_another_build_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let identity = dir.path().join("pannier");
    let text = fs::read_to_string(&identity).unwrap();
    let (text, _) = text.split_once("check ").unwrap();
    let text = text.replace("engine fjall", "engine granite");
    let sum = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    fs::write(&identity, format!("{text}check {sum:016x}\n")).unwrap();
    let answer = open(dir.path());
    let Err(StoreError::Format { problem, .. }) = answer else { panic!("{answer:?}") };
    assert!(problem.contains("granite"), "{problem}");
}

#[test]
fn it_takes_on_a_cluster_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = open(dir.path()).unwrap();
    assert_eq!(first.cluster(), None);
    first.join("shop eu-1").unwrap();
    first.join("shop eu-1").unwrap();
    drop(first);
    let text = fs::read_to_string(dir.path().join("pannier")).unwrap();
    assert!(text.contains("\nengine fjall\ncluster shop eu-1\nplace machine "), "{text}");
    let before = contents(dir.path());
    let mut again = open(dir.path()).unwrap();
    assert_eq!(again.cluster(), Some("shop eu-1"));
    let other = again.join("shop us-1").unwrap_err();
    assert!(matches!(other, StoreError::OtherCluster { .. }), "{other}");
    for bad in ["", "two\nlines", "\u{7f}", &"x".repeat(65)] {
        assert!(matches!(again.join(bad), Err(StoreError::Refused(_))), "{bad:?}");
    }
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn a_directory_of_someone_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let before = contents(dir.path());
    assert!(matches!(open(dir.path()), Err(StoreError::Format { .. })));
    assert_eq!(contents(dir.path()), before);
    // A file where the directory should be.
    assert!(matches!(open(&dir.path().join("letter.txt")), Err(StoreError::Io { .. })));
}

#[test]
fn a_newer_format_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pannier"), "pannier data directory\nformat 2\nshape unknown\n")
        .unwrap();
    let answer = open(dir.path());
    let Err(StoreError::Format { problem, .. }) = answer else { panic!("{answer:?}") };
    assert!(problem.contains("format 2"), "{problem}");
    let kept = fs::read_to_string(dir.path().join("pannier")).unwrap();
    assert_eq!(kept, "pannier data directory\nformat 2\nshape unknown\n");
}

#[test]
fn every_torn_or_garbled_identity_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().join("shop").unwrap();
    let identity = dir.path().join("pannier");
    let whole = fs::read(&identity).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 7);
        damaged.push(flipped);
    }
    damaged.push([whole.as_slice(), b"more\n"].concat());
    damaged.push([whole.as_slice(), b"\n"].concat());
    damaged.push(vec![0xff; 100]);
    damaged.push(vec![b'x'; 10_000]);
    for bytes in damaged {
        fs::write(&identity, &bytes).unwrap();
        let answer = open(dir.path());
        let named = matches!(&answer, Err(StoreError::Corrupted(_) | StoreError::Format { .. }));
        assert!(named, "{:?}: {answer:?}", String::from_utf8_lossy(&bytes));
        assert_eq!(fs::read(&identity).unwrap(), bytes);
    }
    fs::write(&identity, &whole).unwrap();
    assert_eq!(open(dir.path()).unwrap().member(), ALICE);
}

#[test]
fn a_creation_that_was_cut_is_finished() {
    for torn in ["", "pannier data dir"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lock"), "").unwrap();
        fs::write(dir.path().join("pannier.new"), torn).unwrap();
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        assert_eq!(open(dir.path()).unwrap().member(), ALICE);
        assert_eq!(open(dir.path()).unwrap().member(), ALICE);
    }
}

/// A file as builds before the place and the mark wrote it.
fn write_old(path: &Path) {
    let member = "a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1";
    let text =
        format!("pannier data directory\nformat 1\nmember {member}\nengine fjall\ncluster shop\n");
    let sum = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    fs::write(path.join("pannier"), format!("{text}check {sum:016x}\n")).unwrap();
}

#[test]
fn an_identity_from_before_places_and_marks_opens() {
    let dir = tempfile::tempdir().unwrap();
    write_old(dir.path());
    let opened = open(dir.path()).unwrap();
    assert_eq!((opened.member(), opened.cluster()), (ALICE, Some("shop")));
    assert!(!opened.is_restored() && opened.moved().is_none());
    drop(opened);
    // Now it has a place; a mark goes on it all the same.
    assert_eq!(Directory::mark_restored(dir.path()).unwrap(), ALICE);
    let text = fs::read_to_string(dir.path().join("pannier")).unwrap();
    assert!(text.contains("\ncluster shop\nrestored yes\nplace machine "), "{text}");
    write_old(dir.path());
    Directory::mark_restored(dir.path()).unwrap();
    assert!(open(dir.path()).unwrap().is_restored());
}

#[test]
fn a_mark_stays_until_it_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = Directory::mark_restored(dir.path());
    assert!(matches!(nothing, Err(StoreError::Format { .. })), "{nothing:?}");
    assert!(contents(dir.path()).is_empty());
    let mut held = open(dir.path()).unwrap();
    let in_use = Directory::mark_restored(dir.path());
    assert!(matches!(in_use, Err(StoreError::InUse(_))), "{in_use:?}");
    assert!(!held.is_restored());
    held.join("shop").unwrap();
    drop(held);
    for _ in 0..2 {
        assert_eq!(Directory::mark_restored(dir.path()).unwrap(), ALICE);
    }
    for _ in 0..2 {
        let opened = open(dir.path()).unwrap();
        assert!(opened.is_restored());
        assert_eq!(opened.cluster(), Some("shop"));
    }
    let mut opened = open(dir.path()).unwrap();
    opened.clear_restored().unwrap();
    opened.clear_restored().unwrap();
    assert!(!opened.is_restored());
    drop(opened);
    let opened = open(dir.path()).unwrap();
    assert!(!opened.is_restored());
    assert_eq!(opened.cluster(), Some("shop"));
}

#[test]
fn a_directory_that_was_moved_or_copied_says_so_once() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second, copy) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
    open(&first).unwrap().join("shop").unwrap();
    assert!(open(&first).unwrap().moved().is_none());
    fs::rename(&first, &second).unwrap();
    let opened = open(&second).unwrap();
    let moved = opened.moved().unwrap();
    assert!(moved.from.ends_with("/a") && moved.to.ends_with("/b"), "{moved:?}");
    assert_eq!((opened.member(), opened.cluster()), (ALICE, Some("shop")));
    drop(opened);
    assert!(open(&second).unwrap().moved().is_none());
    // A copy knows; the original, where it was, cannot.
    fs::create_dir(&copy).unwrap();
    fs::copy(second.join("pannier"), copy.join("pannier")).unwrap();
    assert!(open(&copy).unwrap().moved().is_some());
    assert!(open(&second).unwrap().moved().is_none());
}

#[test]
fn a_copy_becomes_another_members_and_keeps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = open(dir.path()).unwrap();
    held.join("shop").unwrap();
    fs::create_dir(dir.path().join("state")).unwrap();
    fs::write(dir.path().join("state/rows"), "theirs").unwrap();
    fs::write(dir.path().join("log"), "theirs").unwrap();
    assert!(matches!(Directory::reidentify(dir.path(), BOB), Err(StoreError::InUse(_))));
    assert!(dir.path().join("log").exists(), "who is open keeps what it has");
    drop(held);
    assert_eq!(Directory::owner(dir.path()).unwrap(), ALICE);
    Directory::mark_restored(dir.path()).unwrap();
    for was in [ALICE, BOB] {
        assert_eq!(Directory::reidentify(dir.path(), BOB).unwrap(), was, "again is no harm");
        let left: Vec<String> = contents(dir.path()).into_keys().collect();
        assert_eq!(left, ["lock", "pannier"]);
        assert!(!dir.path().join("state").exists());
    }
    let held = open(dir.path()).unwrap();
    assert_eq!((held.member(), held.cluster(), held.is_restored()), (BOB, Some("shop"), false));
    let nowhere = dir.path().join("nowhere");
    for refused in [Directory::reidentify(&nowhere, BOB), Directory::owner(&nowhere)] {
        assert!(matches!(refused, Err(StoreError::Format { .. })));
    }
}
