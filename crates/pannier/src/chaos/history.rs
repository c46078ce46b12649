//! What clients asked, and what they were answered.
//!
//! An *intent* is one op id: what was asked under it, and how it ended. *Done* is an
//! acknowledgement. *Refused* is a promise that nothing changed and nothing will. Everything else
//! is *unknown*: it may have happened, it may happen yet; whoever judges takes it for either, and
//! never for "no". An intent is noted before it is sent: whatever it can cause comes after.
//!
//! Carts and sets are judged by what is in them: entries, each named by the op id that put it
//! there. So are removals: they carry what their client was shown, and end just that. (Removals
//! that carry nothing end what their replica has, which no client knows; they are left to the
//! simulator.)

use orset::{Kind, OpId, OpIdSet, Product};
use std::collections::BTreeMap;

/// The number of an object.
pub type ObjectAt = usize;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Puts an entry in.
    Add {
        /// Of what.
        product: Product,
        /// How many.
        quantity: u64,
    },
    /// Puts an entry in, if there is a quantity, in place of these.
    Set {
        /// Of what.
        product: Product,
        /// How many; 0 only takes out.
        quantity: u64,
        /// What its client was shown.
        ends: OpIdSet,
    },
    /// Takes these out.
    End(OpIdSet),
    /// Takes units off these.
    Take {
        /// Of what.
        product: Product,
        /// How many.
        quantity: u64,
        /// What its client was shown.
        of: OpIdSet,
    },
    /// Moves everything of a guest's object here.
    Merge(ObjectAt),
    /// Adds to a counter.
    Count(i64),
}

/// How an intent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody knows: not answered, or not yet.
    Unknown,
    /// Acknowledged.
    Done,
    /// Nothing changed, and never will.
    Refused,
}

/// One op id.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The op id.
    pub op: OpId,
    /// Whose.
    pub session: usize,
    /// On what; of a merge, the user's.
    pub object: ObjectAt,
    /// What.
    pub asked: Asked,
    /// How it stands.
    pub outcome: Outcome,
}

/// Everything asked so far.
#[derive(Debug, Default)]
pub struct History {
    /// In order of asking.
    pub intents: Vec<Intent>,
    /// In order of first use.
    pub objects: Vec<(Kind, String)>,
    by_name: BTreeMap<String, ObjectAt>,
    by_op: BTreeMap<OpId, usize>,
    enders: BTreeMap<(ObjectAt, OpId), Vec<usize>>,
    merges: BTreeMap<ObjectAt, Vec<usize>>,
    /// Entries that a merge found in its guest's object when its session asked for it.
    moved: BTreeMap<OpId, Vec<usize>>,
}

impl History {
    /// The number of an object; names are of one kind each.
    pub fn object(&mut self, kind: Kind, name: &str) -> ObjectAt {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        self.objects.push((kind, name.to_owned()));
        self.by_name.insert(name.to_owned(), self.objects.len() - 1);
        self.objects.len() - 1
    }

    /// An object's name.
    pub fn name(&self, object: ObjectAt) -> &str {
        &self.objects[object].1
    }

    /// A session is about to ask.
    pub fn intend(&mut self, session: usize, object: ObjectAt, op: OpId, asked: Asked) -> usize {
        let at = self.intents.len();
        match &asked {
            Asked::Set { ends, .. } | Asked::End(ends) => {
                for id in ends.iter() {
                    self.enders.entry((object, id)).or_default().push(at);
                }
            }
            Asked::Merge(guest) => self.merges.entry(*guest).or_default().push(at),
            Asked::Add { .. } | Asked::Take { .. } | Asked::Count(_) => {}
        }
        self.by_op.insert(op, at);
        self.intents.push(Intent { op, session, object, asked, outcome: Outcome::Unknown });
        at
    }

    /// It was answered.
    pub fn ended(&mut self, intent: usize, outcome: Outcome) {
        self.intents[intent].outcome = outcome;
    }

    /// A merge was acknowledged whose session knew these to be in its guest's object.
    pub fn has_moved(&mut self, merge: usize, entries: impl Iterator<Item = OpId>) {
        for op in entries {
            self.moved.entry(op).or_default().push(merge);
        }
    }

    /// What was asked under an op id.
    pub fn of_op(&self, op: OpId) -> Option<&Intent> {
        self.by_op.get(&op).map(|at| &self.intents[*at])
    }

    /// Intents that name this entry of this object as one to end, and were not refused.
    pub fn enders(&self, object: ObjectAt, op: OpId) -> impl Iterator<Item = &Intent> {
        let all = self.enders.get(&(object, op)).into_iter().flatten();
        all.map(|at| &self.intents[*at]).filter(|it| it.outcome != Outcome::Refused)
    }

    /// Merges of this guest's object that were not refused.
    pub fn merges(&self, guest: ObjectAt) -> impl Iterator<Item = &Intent> {
        let all = self.merges.get(&guest).into_iter().flatten();
        all.map(|at| &self.intents[*at]).filter(|it| it.outcome != Outcome::Refused)
    }

    /// Whether an acknowledged merge has taken this entry out of the guest's object.
    pub fn was_moved(&self, guest: ObjectAt, op: OpId) -> bool {
        let merges = self.moved.get(&op).into_iter().flatten();
        merges
            .map(|at| &self.intents[*at])
            .any(|it| matches!(it.asked, Asked::Merge(from) if from == guest))
    }

    /// Whether an entry that was in the object may have left it.
    pub fn may_have_left(&self, object: ObjectAt, op: OpId) -> bool {
        self.enders(object, op).next().is_some() || self.merges(object).next().is_some()
    }

    /// An intent in words, for whoever reads what went wrong.
    pub fn told(&self, op: OpId) -> String {
        let Some(Intent { session, object, asked, outcome, .. }) = self.of_op(op) else {
            return format!("{op:?}, which nobody asked for,");
        };
        let name = self.name(*object);
        let what = match asked {
            Asked::Add { product, quantity } => format!("add {quantity} {}", text(product)),
            Asked::Set { product, quantity, .. } => format!("set {} to {quantity}", text(product)),
            Asked::End(ends) => format!("remove {} entries", ends.len()),
            Asked::Take { product, quantity, .. } => format!("take {quantity} {}", text(product)),
            Asked::Merge(guest) => format!("merge {}", self.name(*guest)),
            Asked::Count(amount) => format!("count {amount}"),
        };
        let how = match outcome {
            Outcome::Unknown => "unknown",
            Outcome::Done => "acknowledged",
            Outcome::Refused => "refused",
        };
        format!("{op:?} (session {session}: {what} in {name}, {how})")
    }

    /// How many ended so.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.intents.iter().filter(|it| it.outcome == outcome).count() as u64
    }
}

fn text(product: &Product) -> String {
    String::from_utf8_lossy(product.as_bytes()).into_owned()
}
