//! A disk whose power can be cut, from user space: what sled's files hold after losing any part of
//! what was not synced.
//!
//! A power cut keeps what was synced and, of the pages written since, whichever happened to get
//! there. So this remembers each file as it was when it was last synced, and makes an *image*: of
//! each page that differs now, one side or the other by chance, and a length in between. What was
//! synced is what our own code asked to be synced, through `FileSync`: a sync that is left out is
//! a page that may be missing, without a disk that really fails.
//!
//! Not played: sectors torn within a page, a page that was written twice between two syncs and is
//! found as it was in between, folders (only files that are there from the beginning are used
//! after it; all of them are synced then), and a disk that lies about its own cache.

#![allow(dead_code, reason = "each test that shares this uses a part of it")]

use pannier_replica::store::conformance::Generator;
use pannier_replica::store::sled::FileSync;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const PAGE: usize = 4_096;

/// What is to happen at a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// What was written is durable.
    Done,
    /// It fails.
    Fails,
    /// It says that it is done, and is not: as if nobody had called it.
    LeftOut,
}

/// Decides the fate of each sync, by its number from 0 and the file's name below the store.
type Decide = Box<dyn FnMut(u64, &str) -> Fate + Send>;
/// Is told of each sync before it happens, by the same.
type Watch = Box<dyn FnMut(&Disk, u64, &str) + Send>;

struct Inner {
    synced: BTreeMap<String, Vec<u8>>,
    syncs: u64,
    decide: Decide,
}

/// The disk below one store.
pub struct Disk {
    root: PathBuf,
    inner: Mutex<Inner>,
    /// Held while it is told, so that of two syncs at once neither goes unseen: a power cut that
    /// was asked for at the second of them never came.
    watch: Mutex<Watch>,
}

impl Disk {
    /// Below `root`, where all is synced that is there.
    pub fn new(root: &Path) -> Self {
        let inner = Inner { synced: files(root), syncs: 0, decide: Box::new(|_, _| Fate::Done) };
        let watch: Watch = Box::new(|_, _, _| {});
        Self { root: root.to_owned(), inner: Mutex::new(inner), watch: Mutex::new(watch) }
    }

    pub fn decide(&self, decide: impl FnMut(u64, &str) -> Fate + Send + 'static) {
        self.lock().decide = Box::new(decide);
    }

    pub fn watch(&self, watch: impl FnMut(&Disk, u64, &str) + Send + 'static) {
        *self.watch.lock().unwrap() = Box::new(watch);
    }

    /// How much of that file is not on disk yet, in whole pages.
    pub fn unsynced(&self, name: &str) -> u64 {
        let inner = self.lock();
        let now = fs::read(self.root.join(name)).unwrap_or_default();
        let then = inner.synced.get(name).map_or(&[][..], Vec::as_slice);
        let same = now.chunks(PAGE).zip(then.chunks(PAGE)).filter(|(now, then)| now == then);
        ((now.len().div_ceil(PAGE) - same.count()) * PAGE) as u64
    }

    /// What a power cut now leaves, into the folder `to`.
    pub fn image(&self, generator: &mut Generator, to: &Path) {
        // Held to the end: no sync is done meanwhile.
        let inner = self.lock();
        // Few pages, most of them, or any.
        let odds = [0, 1, 8, 15, 16][generator.below(5) as usize];
        let mut files = files(&self.root);
        // sled writes a snapshot when it opens, syncs it, renames it, and removes the one before;
        // of the last two steps any may be undone.
        let kept: Vec<_> = inner.synced.iter().filter(|(name, _)| is_snapshot(name)).collect();
        match generator.below(3) {
            0 => files.extend(kept.into_iter().map(|(name, bytes)| (name.clone(), bytes.clone()))),
            1 if !kept.is_empty() => {
                files.retain(|name, _| !is_snapshot(name));
                files.extend(kept.into_iter().map(|(name, bytes)| (name.clone(), bytes.clone())));
            }
            _ => {}
        }
        for (name, now) in files {
            let then = match inner.synced.get(&name) {
                _ if is_snapshot(&name) => now.clone(),
                then => then.cloned().unwrap_or_default(),
            };
            let (least, most) = (then.len().min(now.len()), then.len().max(now.len()));
            let length = match generator.below(3) {
                0 => now.len(),
                1 => then.len(),
                _ => least + generator.below((most - least) as u64 + 1) as usize,
            };
            let mut left = vec![0; length];
            for at in (0..length).step_by(PAGE) {
                let side = if generator.below(16) < odds { &now } else { &then };
                let end = (at + PAGE).min(length);
                if let Some(page) = side.get(at..end.min(side.len())) {
                    left[at..at + page.len()].copy_from_slice(page);
                }
            }
            let path = to.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, left).unwrap();
        }
        fs::create_dir_all(to.join("sled/log/blobs")).unwrap();
        fs::create_dir_all(to.join("sled/state/blobs")).unwrap();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the store sees itself: the folder in which it is made counts as the one it ends in.
    fn name(&self, path: &Path) -> String {
        let name = path.strip_prefix(&self.root).unwrap().to_str().unwrap();
        name.strip_prefix("new/").map_or(name.to_owned(), |rest| format!("sled/{rest}"))
    }
}

impl FileSync for Disk {
    fn sync(&self, path: &Path, _: &File) -> io::Result<()> {
        let name = self.name(path);
        let number = {
            let mut watch = self.watch.lock().unwrap();
            let number = {
                let mut inner = self.lock();
                inner.syncs += 1;
                inner.syncs - 1
            };
            watch(self, number, &name);
            number
        };
        let mut inner = self.lock();
        match (inner.decide)(number, &name) {
            Fate::Fails => return Err(io::Error::other("the disk is gone")),
            Fate::LeftOut => {}
            Fate::Done => {
                // Into the memory that is there: this is most of the time that such tests take.
                let bytes = inner.synced.entry(name).or_default();
                bytes.clear();
                File::open(path)?.read_to_end(bytes)?;
            }
        }
        Ok(())
    }
}

fn is_snapshot(name: &str) -> bool {
    name.contains("/snap.") && !name.ends_with(".generating")
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().into(), bytes);
            }
        }
    }
    found
}

/// Looks into the databases of a store that is closed: sled made no file of its own for a value,
/// and every piece belongs to a row that has that many.
pub fn no_piece_is_left_over(path: &Path) {
    for (half, rows) in [("log", "records"), ("state", "rows")] {
        let folder = path.join("sled").join(half);
        assert_eq!(fs::read_dir(folder.join("blobs")).unwrap().count(), 0, "sled made a file");
        {
            let db = sled::Config::default().path(&folder).segment_size(2 << 20);
            let db = db.flush_every_ms(None).open().unwrap();
            let pieces = db.open_tree(format!("{rows} pieces")).unwrap();
            let rows = db.open_tree(rows).unwrap();
            for key in pieces.iter().keys() {
                let key = key.unwrap();
                let number = u32::from_be_bytes(key[key.len() - 4..].try_into().unwrap());
                let row = rows.get(&key[2..key.len() - 4]).unwrap().expect("its row");
                assert_eq!(row[0], 1, "the row has no pieces");
                let length = u32::from_be_bytes(row[1..].try_into().unwrap());
                assert!(number < length.div_ceil(16 << 10), "piece {number} of {length} bytes");
            }
        }
        // sled's threads let go of the file when they please.
        let file = fs::File::open(folder.join("db")).unwrap();
        file.lock().unwrap();
    }
}
