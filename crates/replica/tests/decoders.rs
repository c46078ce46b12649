//! Every decoder of outside bytes in this crate: any bytes at all, never a panic, and what is
//! accepted is written back the same.

#![allow(clippy::unwrap_used, reason = "what a test cannot set up, it failed")]

use orset::cart::{CartEffect, Content};
use orset::{Dot, Effect, HybridTime, Kind, Member, ObjectKey, Op, OpIdSession, Origin};
use orset::{Product, Request};
use pannier_replica::protocol::delta::{Birth, Delta, dot_of};

fn delta(seq: u64) -> Delta {
    let id = OpIdSession::new(1, 1).next_id().unwrap();
    let content = Content::added(Product::new(b"lamp").unwrap(), 2, b"red");
    let add = Op {
        id,
        object: ObjectKey::new(Kind::Cart, b"shop", b"ada").unwrap(),
        request: Request::Add(content.clone()),
        effect: Effect::Cart(CartEffect::Add(content)),
    };
    let count = Op {
        id,
        object: ObjectKey::new(Kind::Counter, b"shop", b"views").unwrap(),
        request: Request::Count(-3),
        effect: Effect::Count,
    };
    let member = Member::from_bytes([9; 16]);
    let previous = Some(Origin::from_bytes([8; 16]));
    Delta {
        dot: Dot::new(Origin::from_bytes([1; 16]), seq),
        deps: vec![Dot::new(Origin::from_bytes([2; 16]), 7)],
        time: HybridTime::from_bits(12_345),
        birth: (seq == 1).then_some(Birth { member, previous }),
        member: None,
        cuts: Vec::new(),
        ops: vec![add, count],
        is_compact: false,
    }
}

#[test]
fn a_delta_is_read_back_as_it_was_written() {
    for seq in [1, 2, 300] {
        let bytes = delta(seq).encode();
        assert_eq!(Delta::decode(&bytes), Ok(delta(seq)));
        assert_eq!(dot_of(&bytes), Ok(delta(seq).dot));
    }
}

#[test]
fn the_bytes_of_a_delta_do_not_change_unnoticed() {
    let hex: String = delta(1).encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden/delta_v1.hex").trim());
}

/// With cuts it is of another version, which an older build does not take for one without.
#[test]
fn a_delta_with_cuts_is_read_back_as_it_was_written() {
    let cut = |namespace: &[u8], ms| (Box::from(namespace), ms);
    let cuts = vec![cut(b"", 1_700_000_000_000), cut(b"views", 1_700_000_600_000)];
    let with = |cuts| Delta { cuts, ops: Vec::new(), ..delta(2) };
    let bytes = with(cuts.clone()).encode();
    assert_eq!((bytes[0], delta(2).encode()[0]), (2, 1));
    assert_eq!(Delta::decode(&bytes), Ok(with(cuts.clone())));
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden/delta_v2.hex").trim());
    let long = vec![cut(&[b'x'; 65], 1)];
    let late = vec![cut(b"", (1 << 47) + 1)];
    for bad in [vec![cuts[1].clone(), cuts[0].clone()], vec![cuts[0].clone(); 2], long, late] {
        assert!(Delta::decode(&with(bad.clone()).encode()).is_err(), "{bad:?}");
    }
}

/// A compact one names the object of the first op, and of any that follows one of another object.
#[test]
fn a_compact_delta_is_read_back_as_it_was_written() {
    let mut compact = Delta { is_compact: true, ..delta(2) };
    let again = compact.ops[0].clone();
    compact.ops.insert(1, again);
    let (bytes, plain) = (compact.encode(), Delta { is_compact: false, ..compact.clone() });
    assert_eq!((bytes[0], Delta::decode(&bytes)), (4, Ok(compact.clone())));
    let saved = compact.ops[0].object.as_bytes().len() - 1;
    assert_eq!(bytes.len() + saved, plain.encode().len() + 1, "and a byte of flags");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden/delta_v4.hex").trim());
    for at in 0..bytes.len() {
        assert!(Delta::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
    let told = Delta { cuts: vec![(Box::from(&b"views"[..]), 9)], ..compact };
    assert_eq!(Delta::decode(&told.encode()), Ok(told));
}

#[test]
fn a_delta_with_one_bit_wrong_or_cut_short_is_refused() {
    let bytes = delta(1).encode();
    for at in 0..bytes.len() {
        assert!(Delta::decode(&bytes[..at]).is_err());
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(Delta::decode(&damaged).is_err(), "bit {bit} of byte {at}");
        }
    }
}

/// The checksum keeps chance out, not malice: here it is made right, so the rest is reached.
fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut whole = bytes.to_vec();
    whole.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(bytes).to_be_bytes());
    whole
}

#[test]
fn any_bytes_as_a_delta() {
    bolero::check!().for_each(|bytes: &[u8]| {
        drop(Delta::decode(bytes));
        let whole = with_checksum(bytes);
        if let Ok(delta) = Delta::decode(&whole) {
            assert_eq!(delta.encode(), whole);
        }
    });
}

#[test]
fn a_bent_delta_behind_a_right_checksum() {
    let original = delta(1).encode();
    let body = original[..original.len() - 8].to_vec();
    bolero::check!().with_type::<(u16, u8, u8)>().for_each(|&(at, xor, cut)| {
        let mut bent = body.clone();
        let at = usize::from(at) % bent.len();
        bent[at] ^= xor;
        bent.truncate(bent.len() - usize::from(cut) % 32);
        let whole = with_checksum(&bent);
        if let Ok(delta) = Delta::decode(&whole) {
            assert_eq!(delta.encode(), whole);
        }
    });
}
