//! Own writes that are kept to be sent again.
//!
//! An acknowledged write is on one disk; that it is everywhere is told to no client. If its replica
//! is lost before it has passed the write on, the client holds the only trace. So a session keeps
//! its last writes, bounded by number, bytes and age, and all sessions together by bytes.
//!
//! The bound is a promise with an edge. Inside it: a write that a replica lacks is sent there
//! again, under its op id, and the session goes on at once with nothing missing. Beyond it: a write
//! counts as something read; a session in mode `causal` then waits for it (BEHIND), one in
//! `own_writes` goes on without it and is told so.
//!
//! Q1  a session's kept writes are in the order in which they were made.
//! Q2  what is let go raises the session's floor, unless a new try of it is under way.
//! Q3  the oldest go first; of all sessions, when it is the total that is exceeded.

use super::body::{Body, Class};
use super::known::{Known, Place};
use super::settings::{CoreSettings, KEPT_COST};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// One write.
#[derive(Clone, Debug)]
pub struct KeptOp {
    /// Whose.
    pub session: u32,
    /// When it was made, among all calls.
    pub order: u64,
    /// What is sent again.
    pub bytes: Bytes,
    /// What may be under way beside it.
    pub class: Class,
    /// Where it stands.
    pub place: Place,
    /// Whether it is being sent again.
    pub again: bool,
    at_us: u64,
}

impl KeptOp {
    fn cost(&self) -> usize {
        let place = match &self.place {
            Place::At(_) => 0,
            Place::Below(token) => token.len(),
        };
        self.bytes.len() + place + KEPT_COST
    }

    /// As a command, for the wire.
    pub fn body(&self) -> Body {
        Body { bytes: self.bytes.clone(), class: self.class, shows: false, blind: false }
    }
}

/// The numbers of one session's kept writes, in order.
#[derive(Clone, Debug, Default)]
pub struct KeptOf {
    numbers: VecDeque<u64>,
    bytes: usize,
}

impl KeptOf {
    /// In the order in which they were made.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.numbers.iter().copied()
    }
}

/// Those of all sessions, by number, ascending in age.
#[derive(Debug, Default)]
pub struct Kept {
    ops: BTreeMap<u64, KeptOp>,
    next: u64,
    bytes: usize,
}

impl Kept {
    /// One.
    pub fn get(&self, number: u64) -> Option<&KeptOp> {
        self.ops.get(&number)
    }

    /// One, to change what does not count against the bounds.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut KeptOp> {
        self.ops.get_mut(&number)
    }

    /// Bytes held.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Keeps a write that was answered.
    pub fn keep(&mut self, of: &mut KeptOf, mut op: KeptOp, now_us: u64) {
        op.at_us = now_us;
        let (number, cost) = (self.next, op.cost());
        self.next += 1;
        // Answers overtake each other, but not by far: look from the end.
        let before =
            |number: &u64| self.ops.get(number).is_some_and(|other| other.order > op.order);
        let late = of.numbers.iter().rev().take_while(|number| before(number)).count();
        of.numbers.insert(of.numbers.len() - late, number);
        of.bytes += cost;
        self.bytes += cost;
        self.ops.insert(number, op);
    }

    /// A write stands somewhere new: it was sent again and answered.
    pub fn moved(&mut self, of: &mut KeptOf, number: u64, place: Place) {
        let Some(op) = self.ops.get_mut(&number) else { return };
        let before = op.cost();
        op.place = place;
        op.again = false;
        let after = op.cost();
        of.bytes = of.bytes - before + after;
        self.bytes = self.bytes - before + after;
    }

    /// Lets go of what is beyond one session's bounds.
    pub fn trim(&mut self, of: &mut KeptOf, known: &mut Known, bounds: &CoreSettings, now_us: u64) {
        while let Some(&oldest) = of.numbers.front() {
            let age = self.ops.get(&oldest).map_or(0, |op| now_us.saturating_sub(op.at_us));
            let full = of.numbers.len() > bounds.kept_ops || of.bytes > bounds.kept_bytes;
            if !full && age <= bounds.kept_age_us {
                break;
            }
            self.drop_one(of, known, oldest);
        }
    }

    /// The one to let go when all together are too many: its session and its number.
    pub fn excess(&self, bounds: &CoreSettings, now_us: u64) -> Option<(u32, u64)> {
        let (number, op) = self.ops.first_key_value()?;
        let old = now_us.saturating_sub(op.at_us) > bounds.kept_age_us;
        (old || self.bytes > bounds.kept_total_bytes).then_some((op.session, *number))
    }

    /// Lets go of one (Q2).
    pub fn drop_one(&mut self, of: &mut KeptOf, known: &mut Known, number: u64) {
        let Some(op) = self.ops.remove(&number) else { return };
        if let Some(at) = of.numbers.iter().position(|other| *other == number) {
            of.numbers.remove(at);
        }
        of.bytes -= op.cost();
        self.bytes -= op.cost();
        if !op.again {
            known.forget(&op.place);
        }
    }

    /// Lets go of all of a session that is over.
    pub fn drop_all(&mut self, of: &mut KeptOf) {
        for number in of.numbers.drain(..) {
            if let Some(op) = self.ops.remove(&number) {
                self.bytes -= op.cost();
            }
        }
        of.bytes = 0;
    }
}

impl KeptOp {
    /// A write that was answered just now.
    pub fn new(session: u32, order: u64, bytes: Bytes, class: Class, place: Place) -> Self {
        Self { session, order, bytes, class, place, again: false, at_us: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orset::{Dot, Origin};
    use proptest::prelude::*;

    const A: Origin = Origin::from_bytes([1; 16]);

    fn op(session: u32, order: u64, len: usize) -> KeptOp {
        let place = Place::At(Dot::new(A, order + 1));
        KeptOp::new(session, order, vec![0; len].into(), Class::Add, place)
    }

    fn bounds() -> CoreSettings {
        let bound = CoreSettings::new(1);
        CoreSettings { kept_ops: 4, kept_bytes: 2_000, kept_age_us: 100, ..bound }
    }

    fn orders(kept: &Kept, of: &KeptOf) -> Vec<u64> {
        of.numbers().map(|number| kept.get(number).unwrap().order).collect()
    }

    #[test]
    fn they_stand_in_the_order_in_which_they_were_made() {
        let (mut kept, mut of) = (Kept::default(), KeptOf::default());
        for order in [1, 3, 0, 2] {
            kept.keep(&mut of, op(0, order, 10), 0);
        }
        assert_eq!(orders(&kept, &of), [0, 1, 2, 3]);
    }

    #[test]
    fn what_is_let_go_counts_as_read() {
        let (mut kept, mut of, mut known) = (Kept::default(), KeptOf::default(), Known::default());
        for order in 0..6 {
            kept.keep(&mut of, op(0, order, 10), 0);
        }
        kept.trim(&mut of, &mut known, &bounds(), 0);
        assert_eq!(orders(&kept, &of), [2, 3, 4, 5], "by number");
        assert_eq!(known.floor().get(A), 2);
        kept.keep(&mut of, op(0, 6, 1_700), 50);
        kept.trim(&mut of, &mut known, &bounds(), 50);
        assert_eq!(orders(&kept, &of), [6], "by bytes");
        assert_eq!(known.floor().get(A), 6);
        kept.trim(&mut of, &mut known, &bounds(), 151);
        assert_eq!((of.numbers.len(), of.bytes, kept.len(), kept.bytes()), (0, 0, 0, 0), "by age");
        assert_eq!(known.floor().get(A), 7);
    }

    #[test]
    fn what_is_being_sent_again_does_not_count_as_read_where_it_stood() {
        let (mut kept, mut of, mut known) = (Kept::default(), KeptOf::default(), Known::default());
        kept.keep(&mut of, op(0, 0, 10), 0);
        let number = of.numbers().next().unwrap();
        kept.get_mut(number).unwrap().again = true;
        kept.trim(&mut of, &mut known, &bounds(), 500);
        assert_eq!(kept.len(), 0);
        assert!(known.floor().is_empty());
    }

    proptest! {
        #[test]
        fn the_total_is_bounded_and_the_oldest_goes_first(
            lens in proptest::collection::vec((0..3_u32, 0..400_usize), 1..100),
        ) {
            let bounds = CoreSettings { kept_total_bytes: 3_000, kept_ops: 1_000, ..bounds() };
            let mut kept = Kept::default();
            let mut of: [(KeptOf, Known); 3] = Default::default();
            for (order, (session, len)) in lens.into_iter().enumerate() {
                kept.keep(&mut of[session as usize].0, op(session, order as u64, len), 0);
                let mut last = None;
                while let Some((session, number)) = kept.excess(&bounds, 0) {
                    prop_assert!(last < Some(number));
                    last = Some(number);
                    let (of, known) = &mut of[session as usize];
                    kept.drop_one(of, known, number);
                }
                prop_assert!(kept.bytes() <= 3_000);
                prop_assert_eq!(kept.bytes(), of.iter().map(|(of, _)| of.bytes).sum::<usize>());
                prop_assert_eq!(kept.len(), of.iter().map(|(of, _)| of.numbers.len()).sum::<usize>());
            }
        }
    }
}
