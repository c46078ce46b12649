//! Readable names: `r2` for a member, `r2.1:14` for a dot, `s3#7` for an op id, `cart-1`.
//!
//! All ids of a run are drawn from its seed, in an order that has nothing to do with numbers (so
//! that no tie is always broken in favour of the first replica). Stories are told in names.

use crate::chance::{Dice, Purpose};
use orset::{Dot, Member, ObjectKey, OpId, OpIdSession, Origin, Product, VersionVector};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Wall time at the beginning of every run, in milliseconds since 1970.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// Makes ids, and remembers what they were called.
#[derive(Debug, Default)]
pub struct Names {
    origins: BTreeMap<Origin, String>,
    sessions: BTreeMap<orset::SessionPrefix, String>,
}

fn sixteen(dice: &mut Dice) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&dice.roll().to_be_bytes());
    bytes[8..].copy_from_slice(&dice.roll().to_be_bytes());
    bytes
}

impl Names {
    /// The member at a place.
    pub fn member(seed: u64, place: usize) -> Member {
        let mut dice = Dice::keyed(seed, Purpose::Identity, 1, place as u64);
        Member::from_bytes(sixteen(&mut dice))
    }

    /// The origin of one start of the member at a place.
    pub fn origin(&mut self, seed: u64, place: usize, start: u64) -> Origin {
        let key = (place as u64) << 32 | start;
        let mut dice = Dice::keyed(seed, Purpose::Identity, 2, key);
        let origin = Origin::of(Self::member(seed, place), dice.roll());
        self.origins.insert(origin, format!("r{place}.{start}"));
        origin
    }

    /// The op ids of a session begun at `second`.
    pub fn session(&mut self, seed: u64, session: usize, second: u64) -> OpIdSession {
        let mut dice = Dice::keyed(seed, Purpose::Identity, 3, session as u64);
        let ids = OpIdSession::new(second, dice.roll());
        if let Some(first) = ids.clone().next_id() {
            self.sessions.insert(first.split().0, format!("s{session}"));
        }
        ids
    }

    /// The op ids that a session takes when those it had are old; `turn` counts them.
    pub fn later_session(
        &mut self,
        seed: u64,
        session: usize,
        turn: u64,
        second: u64,
    ) -> OpIdSession {
        let key = session as u64 | turn << 32;
        let mut dice = Dice::keyed(seed, Purpose::Identity, 3, key);
        let ids = OpIdSession::new(second, dice.roll());
        if let Some(first) = ids.clone().next_id() {
            self.sessions.insert(first.split().0, format!("s{session}.{turn}"));
        }
        ids
    }

    /// An op id for a purchase, or for a trade that is about none, born at `second`.
    pub fn purchase(&mut self, seed: u64, number: u64, second: u64) -> Option<OpId> {
        let mut dice = Dice::keyed(seed, Purpose::Identity, 5, number);
        let op = OpIdSession::new(second, dice.roll()).next_id()?;
        self.sessions.insert(op.split().0, format!("p{number}"));
        Some(op)
    }

    /// A dot by name.
    pub fn dot(&self, dot: Dot) -> String {
        format!("{}:{}", self.origin_name(dot.origin), dot.seq)
    }

    /// An origin by name.
    pub fn origin_name(&self, origin: Origin) -> String {
        if origin == Origin::MEMBERSHIP {
            return "membership".into();
        }
        self.origins.get(&origin).cloned().unwrap_or_else(|| origin.to_string())
    }

    /// An op id by name.
    pub fn op(&self, op: OpId) -> String {
        let (session, counter) = op.split();
        match self.sessions.get(&session) {
            Some(name) => format!("{name}#{counter}"),
            None => op.to_string(),
        }
    }

    /// An object by name.
    pub fn object(&self, object: &ObjectKey) -> String {
        object.id().escape_ascii().to_string()
    }

    /// A product by name.
    pub fn product(&self, product: &Product) -> String {
        product.to_string()
    }

    /// Several op ids.
    pub fn ops(&self, ops: impl Iterator<Item = OpId>) -> String {
        let names: Vec<String> = ops.map(|op| self.op(op)).collect();
        format!("{{{}}}", names.join(" "))
    }

    /// A vector by name.
    pub fn vector(&self, vector: &VersionVector) -> String {
        let mut entries: Vec<String> = vector.iter().map(|dot| self.dot(dot)).collect();
        entries.sort();
        let mut out = String::from("[");
        for (at, entry) in entries.iter().enumerate() {
            let _ = write!(out, "{}{entry}", if at > 0 { " " } else { "" });
        }
        out.push(']');
        out
    }
}
