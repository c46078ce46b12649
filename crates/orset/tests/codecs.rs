//! Bytes from outside: no decoder panics, and none accepts two spellings of one value.
//!
//! For each decoder: a bolero target that feeds arbitrary bytes (an ordinary test here, a fuzz
//! target under `cargo bolero test <name>`), and random values there and back, whole and damaged.
//! Either way the law is the same: what a decoder accepts, its encoder writes back, byte for byte.
//! Without it equal states could have unequal hashes.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod common;
mod values;

use orset::cart::{Content, Entry, Seen};
use orset::codec::Reader;
use orset::counter::Change;
use orset::order::{Goods, Order, OrderStep};
use orset::stock::{Record, RecordId, Row, Stamped, Step, Tally, Want};
use orset::{DecodeError, ObjectKey, Op, OpIdSet, Product, VersionVector};
use proptest::prelude::*;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A type with canonical bytes.
trait Coded: Sized + PartialEq + Debug {
    fn write(&self, out: &mut Vec<u8>);
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

macro_rules! coded {
    ($($type:ty),*) => {$(
        impl Coded for $type {
            fn write(&self, out: &mut Vec<u8>) {
                self.encode(out);
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Self::decode(from)
            }
        }
    )*};
}

coded!(
    OpIdSet,
    VersionVector,
    Product,
    Content,
    Change,
    Op,
    Want,
    RecordId,
    Record,
    Row,
    Stamped,
    Step,
    Tally,
    Goods,
    Order,
    OrderStep
);

impl Coded for ObjectKey {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(from)
    }
}

/// A row of a cart: the product stands in its key.
impl Coded for Entry {
    fn write(&self, out: &mut Vec<u8>) {
        self.content.product.encode(out);
        self.encode_row(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let product = Product::decode(from)?;
        Self::decode_row(product, from)
    }
}

fn encoded<T: Coded>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.write(&mut bytes);
    bytes
}

/// What is accepted is canonical: writing it gives the bytes that were read. Says whether it was.
fn accepted_is_canonical<T: Coded>(bytes: &[u8]) -> bool {
    let mut from = Reader::new(bytes);
    let Ok(value) = T::read(&mut from) else { return false };
    let read = bytes.len() - from.remaining();
    assert_eq!(encoded(&value), &bytes[..read], "{value:?} has two spellings");
    true
}

fn seen_is_canonical(bytes: &[u8]) -> bool {
    let Ok(seen) = Seen::from_bytes(bytes) else { return false };
    assert_eq!(seen.to_bytes(), bytes, "{seen:?} has two spellings");
    true
}

/// Random bytes never have the right checksum, so it is put right.
fn with_checksum(body: &[u8]) -> Vec<u8> {
    let sum = xxhash_rust::xxh3::xxh3_64(body) as u32;
    [body, &sum.to_be_bytes()].concat()
}

/// Damage: a byte changed, dropped, doubled or cut off.
#[derive(Clone, Debug)]
enum Damage {
    Change(prop::sample::Index, u8),
    Drop(prop::sample::Index),
    Double(prop::sample::Index),
    Cut(prop::sample::Index),
}

impl Damage {
    fn to(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Change(at, to) => *at.get_mut(bytes) = *to,
            Self::Drop(at) => drop(bytes.remove(at.index(bytes.len()))),
            Self::Double(at) => {
                let at = at.index(bytes.len());
                bytes.insert(at, bytes[at]);
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    // Small numbers make lengths, counts and tags that are wrong and nearly right.
    let byte = prop_oneof![0..5_u8, any::<u8>()];
    prop_oneof![
        4 => (at(), byte).prop_map(|(at, to)| Damage::Change(at, to)),
        1 => at().prop_map(Damage::Drop),
        1 => at().prop_map(Damage::Double),
        1 => at().prop_map(Damage::Cut),
    ]
}

/// There and back, whole and damaged; damage must be refused often and survive sometimes, or the
/// test looks at nothing.
fn there_and_back<T: Coded>(values: impl Strategy<Value = T>) {
    let (accepted, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let all = (values, prop::collection::vec(damage(), 1..3));
    let ran = common::runner(1_000).run(&all, |(value, damages)| {
        let mut bytes = encoded(&value);
        let mut from = Reader::new(&bytes);
        prop_assert_eq!(T::read(&mut from), Ok(value));
        prop_assert_eq!(from.finish(), Ok(()));
        damages.iter().for_each(|damage| damage.to(&mut bytes));
        let count = if accepted_is_canonical::<T>(&bytes) { &accepted } else { &refused };
        count.set(count.get() + 1);
        Ok(())
    });
    if let Err(failed) = ran {
        panic!("{failed}");
    }
    assert!(accepted.get() > 50 && refused.get() > 50, "{accepted:?} {refused:?}");
}

macro_rules! targets {
    ($($name:ident: $type:ty, $values:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn arbitrary_bytes() {
                let fed = AtomicU32::new(0);
                bolero::check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
                    fed.fetch_add(1, Relaxed);
                    accepted_is_canonical::<$type>(bytes);
                });
                assert!(fed.into_inner() >= 1_000, "the target was hardly run");
            }

            #[test]
            fn values_there_and_back() {
                there_and_back::<$type>($values);
            }
        }
    )*};
}

targets! {
    op_id_set: OpIdSet, values::op_id_set();
    version_vector: VersionVector, values::version_vector();
    object_key: ObjectKey, values::object_key(orset::Kind::Cart);
    product: Product, values::product();
    content: Content, values::content();
    entry_row: Entry, values::entry();
    change: Change, values::change();
    op: Op, values::op();
    want: Want, values::want();
    record_id: RecordId, values::record_id();
    record: Record, values::record();
    stock_row: Row, values::stock_row();
    step: Step, values::step();
    terms: Stamped, values::stamped();
    tally: Tally, values::tally();
    order: Order, values::order();
    order_step: OrderStep, values::order_step();
}

mod seen {
    use super::*;

    #[test]
    fn arbitrary_bytes() {
        bolero::check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
            seen_is_canonical(bytes);
            seen_is_canonical(&with_checksum(bytes));
            seen_is_canonical(&with_checksum(&[&[1], bytes].concat()));
        });
    }

    #[test]
    fn values_there_and_back() {
        let all = (values::seen(), prop::collection::vec(damage(), 1..3));
        let ran = common::runner(1_000).run(&all, |(seen, damages)| {
            let mut bytes = seen.to_bytes();
            prop_assert_eq!(Seen::from_bytes(&bytes), Ok(seen));
            bytes.truncate(bytes.len() - 4);
            damages.iter().for_each(|damage| damage.to(&mut bytes));
            seen_is_canonical(&with_checksum(&bytes));
            Ok(())
        });
        if let Err(failed) = ran {
            panic!("{failed}");
        }
    }
}

#[test]
fn every_truncation_and_every_trailing_byte_is_refused() {
    let ran = common::runner(100).run(&values::op(), |op| {
        let bytes = encoded(&op);
        for len in 0..bytes.len() {
            prop_assert!(Op::decode(&mut Reader::new(&bytes[..len])).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        let mut from = Reader::new(&longer);
        prop_assert_eq!(Op::decode(&mut from), Ok(op));
        prop_assert_eq!(from.finish(), Err(DecodeError::Trailing));
        Ok(())
    });
    if let Err(failed) = ran {
        panic!("{failed}");
    }
}
