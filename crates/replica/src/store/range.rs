//! Keys of the log, and the arithmetic of key ranges, for every engine that orders its keys.
//!
//! A log key is the origin's 16 bytes and the seq as 8 bytes, big-endian, so that the order of the
//! bytes is the order of `(origin, seq)` and one origin's deltas are one range. Little-endian would
//! sort 256 before 1, and recovery would read a log with holes.
//!
//! `of_prefix` and `intersect` are apart from the engine because their edges (a prefix of all
//! 0xff, an `after` outside the prefix, an empty range, which the engine answers with a panic) are
//! what a scan gets wrong, and they can be tested without a disk.

use super::StoreError;
use orset::Origin;
use std::ops::Bound;

pub(super) const LOG_KEY_BYTES: usize = 24;

/// Lower and upper end of a range of keys; never empty where a function here returns one.
pub(super) type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

pub(super) fn log_key(origin: Origin, seq: u64) -> [u8; LOG_KEY_BYTES] {
    let mut key = [0; LOG_KEY_BYTES];
    key[..16].copy_from_slice(origin.as_bytes());
    key[16..].copy_from_slice(&seq.to_be_bytes());
    key
}

pub(super) fn parse_log_key(key: &[u8]) -> Result<(Origin, u64), StoreError> {
    match (key.first_chunk::<16>(), key.last_chunk::<8>()) {
        (Some(origin), Some(seq)) if key.len() == LOG_KEY_BYTES => {
            Ok((Origin::from_bytes(*origin), u64::from_be_bytes(*seq)))
        }
        _ => Err(StoreError::Corrupted(format!("a log key of {} bytes", key.len()))),
    }
}

/// The keys that start with `prefix` and are greater than `after`.
pub(super) fn of_prefix(prefix: &[u8], after: Option<&[u8]>) -> Range {
    let low = match after {
        Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
        _ => Bound::Included(prefix.to_vec()),
    };
    // The first key beyond the prefix: its last byte that can grow, grown. All 0xff: no end.
    let mut end = prefix.to_vec();
    while end.pop_if(|last| *last == u8::MAX).is_some() {}
    let high = match end.last_mut() {
        None => Bound::Unbounded,
        Some(last) => {
            *last += 1;
            Bound::Excluded(end)
        }
    };
    (low, high)
}

/// What `range` and the range from `low` to `high` have in common; `None` when nothing.
pub(super) fn intersect(range: &Range, low: Bound<Vec<u8>>, high: Bound<Vec<u8>>) -> Option<Range> {
    let low = match (&range.0, low) {
        (Bound::Unbounded, bound) => bound,
        (bound, Bound::Unbounded) => bound.clone(),
        (ours @ (Bound::Included(a) | Bound::Excluded(a)), theirs) => match &theirs {
            Bound::Excluded(b) if b >= a => theirs,
            Bound::Included(b) if b > a => theirs,
            _ => ours.clone(),
        },
    };
    let high = match (&range.1, high) {
        (Bound::Unbounded, bound) => bound,
        (bound, Bound::Unbounded) => bound.clone(),
        (ours @ (Bound::Included(a) | Bound::Excluded(a)), theirs) => match &theirs {
            Bound::Excluded(b) if b <= a => theirs,
            Bound::Included(b) if b < a => theirs,
            _ => ours.clone(),
        },
    };
    let some = match (&low, &high) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Included(a), Bound::Included(b)) => a <= b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a < b,
    };
    some.then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::RangeBounds;

    #[test]
    fn log_keys_sort_as_dots_do_and_come_back() {
        let seqs = [0, 1, 255, 256, 65_535, 65_536, u64::MAX];
        let origins = [[0; 16], [1; 16], [255; 16]].map(Origin::from_bytes);
        let mut last = None;
        for origin in origins {
            for seq in seqs {
                let key = log_key(origin, seq);
                assert!(last < Some(key), "{origin}:{seq}");
                assert_eq!(parse_log_key(&key).unwrap(), (origin, seq));
                last = Some(key);
            }
        }
        assert!(parse_log_key(&[0; 23]).is_err());
        assert!(parse_log_key(&[0; 25]).is_err());
    }

    /// Every prefix, `after` and segment over a three-letter alphabet, against the definition.
    #[test]
    fn ranges_hold_exactly_the_keys_they_should() {
        let letters = [0x00, 0x7f, 0xff];
        let mut keys: Vec<Vec<u8>> = vec![vec![]];
        for length in 1..=3 {
            for shorter in keys.clone().iter().filter(|key| key.len() == length - 1) {
                keys.extend(letters.map(|letter| [shorter.as_slice(), &[letter]].concat()));
            }
        }
        let short: Vec<_> = keys.iter().filter(|key| key.len() <= 2).cloned().collect();
        let mut lows = vec![Bound::Unbounded];
        lows.extend(letters.iter().map(|letter| Bound::Included(vec![*letter])));
        let mut highs = vec![Bound::Unbounded];
        highs.extend(letters.iter().map(|letter| Bound::Excluded(vec![*letter])));
        for prefix in &short {
            for after in [None].into_iter().chain(short.iter().map(|key| Some(key.as_slice()))) {
                for low in &lows {
                    for high in &highs {
                        let range = intersect(&of_prefix(prefix, after), low.clone(), high.clone());
                        for key in &keys {
                            let wanted = key.starts_with(prefix)
                                && after.is_none_or(|after| key.as_slice() > after)
                                && (low.clone(), high.clone()).contains(key);
                            let got = range.as_ref().is_some_and(|range| range.contains(key));
                            assert_eq!(
                                got, wanted,
                                "{prefix:?} {after:?} {low:?} {high:?} {key:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}
