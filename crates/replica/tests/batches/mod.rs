//! What crash tests write, and what must be found after the crash, on whatever engine.
//!
//! Every byte of the log and the state follows from the number of its batch, so that whoever looks
//! afterwards needs nothing from the one that wrote but how far it came. Then all of this must
//! hold (S1 to S4):
//!
//! K1  what was acknowledged is there;
//! K2  the log of each origin is 1..=last without a gap, with the bytes that were appended;
//! K3  a batch is there whole or not at all, over all of its origins;
//! K4  the state is that of one checkpoint, whole, and the log holds all that it stands for.

#![allow(dead_code, reason = "each test that shares this uses a part of it")]

use orset::Origin;
use pannier_replica::store::conformance::Generator;
use pannier_replica::store::{ENTRIES, LogRecord, OPS, StateBatch, Store};
use std::collections::BTreeMap;

const ORIGINS: u8 = 3;
/// Rows of each kind that checkpoints write over and over.
const ROWS: u64 = 500;

/// The records of batch `number`: each names its batch, so that half a batch shows.
pub fn batch(number: u64) -> Vec<LogRecord> {
    let mut generator = Generator::new(number);
    let length = match generator.below(20) {
        0 => 300_000,
        1..5 => 20_000,
        _ => 500,
    };
    (0..ORIGINS)
        // Batch n holds one record of each origin, the last origin only in even batches.
        .filter(|origin| *origin + 1 < ORIGINS || number.is_multiple_of(2))
        .map(|origin| {
            let seq = if origin + 1 < ORIGINS { number } else { number / 2 };
            let mut bytes = number.to_be_bytes().to_vec();
            bytes.extend(generator.bytes(generator.clone().below(length) as usize));
            LogRecord { origin: Origin::from_bytes([origin; 16]), seq, bytes: bytes.into() }
        })
        .collect()
}

/// The rows that batch `number` changes, deletions among them.
fn rows(number: u64) -> StateBatch {
    let mut generator = Generator::new(number ^ 0xffff_0000);
    let mut rows = BTreeMap::new();
    for kind in [ENTRIES, OPS, 0x03] {
        for _ in 0..10 {
            let mut key = vec![kind];
            key.extend(generator.below(ROWS).to_be_bytes());
            let value = (generator.below(4) > 0).then(|| generator.bytes(60));
            rows.insert(key, value);
        }
    }
    rows.into_iter().collect()
}

/// The row that names the batch up to which a checkpoint stands.
const UPTO: [u8; 2] = [0x00, b'v'];

/// The checkpoint of the batches from `from` to `upto`.
pub fn checkpoint(from: u64, upto: u64) -> StateBatch {
    let mut all = BTreeMap::new();
    for number in from..=upto {
        all.extend(rows(number));
    }
    all.insert(UPTO.to_vec(), Some(upto.to_be_bytes().to_vec()));
    all.into_iter().collect()
}

/// The batch up to which the state stands.
pub fn upto(store: &dyn Store) -> u64 {
    let row = store.get(&UPTO).unwrap();
    row.map_or(0, |value| u64::from_be_bytes(value.try_into().unwrap()))
}

/// The last batch in the log.
pub fn last_batch(store: &dyn Store) -> u64 {
    store.log_extents().unwrap().first().map_or(0, |extent| extent.last)
}

/// K1 to K4, the records from batch `from` on; gives the last batch in the log.
pub fn check(store: &dyn Store, acknowledged: u64, from: u64) -> Result<u64, String> {
    let said = |error: pannier_replica::store::StoreError| error.to_string();
    let last = last_batch(store);
    if last < acknowledged {
        return Err(format!("K1: batch {acknowledged} was acknowledged, the log has {last}"));
    }
    for number in from..=last {
        for wanted in batch(number) {
            let found = store.log(wanted.origin, wanted.seq, wanted.seq, usize::MAX);
            if found.map_err(said)? != [wanted.clone()] {
                return Err(format!("K2, K3: {}:{}", wanted.origin, wanted.seq));
            }
        }
    }
    // Every batch has a record of the first two origins, every second one of the third.
    let wanted: Vec<_> = [(0, last), (1, last), (2, last / 2)]
        .into_iter()
        .filter(|(_, last)| *last > 0)
        .map(|(origin, last)| (Origin::from_bytes([origin; 16]), 1, last))
        .collect();
    let extents = store.log_extents().map_err(said)?;
    let extents: Vec<_> = extents.iter().map(|e| (e.origin, e.first, e.last)).collect();
    if extents != wanted {
        return Err(format!("K3: the log ends within a batch: {extents:?}, not {wanted:?}"));
    }

    let upto = upto(store);
    if upto > last {
        return Err(format!("K4: the state stands for batch {upto}, the log ends at {last}"));
    }
    let mut state = BTreeMap::new();
    for number in 1..=upto {
        state.extend(rows(number));
    }
    state.retain(|_, value| value.is_some());
    for kind in [ENTRIES, OPS, 0x03] {
        let found = store.scan(&[kind], None, usize::MAX).map_err(said)?;
        let wanted = state.iter().filter(|(key, _)| key[0] == kind);
        if !found
            .iter()
            .map(|(key, value)| (key, Some(value)))
            .eq(wanted.map(|(key, value)| (key, value.as_ref())))
        {
            return Err(format!("K4: rows of kind {kind} are not those of batch {upto}"));
        }
    }
    Ok(last)
}
