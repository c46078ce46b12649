//! torn tail experiment
use orset::Origin;
use pannier_replica::store::conformance::Generator;
use pannier_replica::store::fjall::{FjallSettings, FjallStore};
use pannier_replica::store::*;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};

#[test]
fn torn() {
    for inc in [0usize, 1] {
        let dir = tempfile::tempdir().unwrap();
        let mut g = Generator::new(1);
        let store = FjallStore::open(dir.path(), &FjallSettings::default()).unwrap();
        let mut lens = vec![];
        for seq in 1..=3 {
            let bytes: std::sync::Arc<[u8]> =
                if inc == 0 { g.bytes(100_000).into() } else { vec![7u8; 100_000].into() };
            lens.push(bytes.len());
            store.append(&[LogRecord { origin: Origin::from_bytes([1; 16]), seq, bytes }]).unwrap();
        }
        drop(store);
        let mut jnl: Vec<_> = fs::read_dir(dir.path().join("log"))
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "jnl"))
            .collect();
        jnl.sort();
        let path = jnl.pop().unwrap();
        let mut f = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        println!("{path:?} {}", f.metadata().unwrap().len());
        let mut all = vec![];
        f.read_to_end(&mut all).unwrap();
        let used = all.iter().rposition(|b| *b != 0).unwrap() + 1;
        println!("used {used}");
        f.seek(SeekFrom::Start((used as u64 - 50_000) / 4096 * 4096)).unwrap();
        f.write_all(&[0; 4096]).unwrap();
        drop(f);
        match FjallStore::open(dir.path(), &FjallSettings::default()) {
            Ok(s) => println!("opened {:?}", s.log_extents()),
            Err(e) => println!("error {e}"),
        }
        // middle: corrupt a tag in batch 2: bit rot in the middle
    }
}
