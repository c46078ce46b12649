//! I6 and I7 by value: what is shown is the state at the vector it is shown with.
//!
//! A read that waits for a sync has its value as of the moment it was asked, when its round was
//! still being filled, and leaves with the vector of the whole round. So where the value is not
//! the state at the vector, it must be the state at some point *within* that round: all of what
//! came before, a prefix of the deltas of others in it, and a prefix of its own ops, with
//! everything that the session had seen among them.

use super::spec::{View, plain, value};
use super::{Breach, Checks, Verdict, sheets};
use crate::coverage::{Coverage, Mark};
use crate::history::Attempt;
use crate::names::Names;
use crate::trace::tell_value;
use orset::ObjectKey;
use pannier_replica::protocol::{Shown, Value};

impl Checks {
    /// What is to be shown of an object, of what was shown.
    fn right(&self, object: &ObjectKey, view: &View<'_>, shown: &Shown) -> Value {
        match &shown.value {
            Value::Stock(_) => {
                let closed = self.closed_under(shown.vector.get(orset::Origin::MEMBERSHIP));
                Value::Stock(sheets::under(&self.ledger, object, view, &closed))
            }
            Value::Holds(_) => Value::Holds(sheets::holds(&self.ledger, object, view)),
            _ => value(&self.ledger, object, view),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a read, and all that judges it")]
    pub(super) fn read_is_right(
        &self,
        place: usize,
        ticket: u64,
        object: &ObjectKey,
        shown: &Shown,
        attempt: &Attempt,
        names: &Names,
        coverage: &mut Coverage,
    ) -> Verdict {
        let (vector, after) = (self.whole(&shown.vector), self.whole(&attempt.after));
        let whole = View { vector: &vector, foreign: &[], own: None };
        let right = self.right(object, &whole, shown);
        let is = plain(&shown.value);
        let has_holds = matches!(&is, Value::Holds(page) if !page.holds.is_empty());
        coverage.add(Mark::HoldsShown, has_holds.into());
        if right == is {
            return Ok(());
        }
        if let Some(round) = self.shadows[place].round_at(&vector) {
            for foreign in 0..=round.foreign.len() {
                let (here, later) = round.foreign.split_at(foreign);
                if later.iter().any(|dot| after.contains(*dot)) {
                    continue;
                }
                for ops in 0..=round.own.map_or(0, |(_, ops)| ops) {
                    let own = round.own.map(|(dot, _)| (dot, ops));
                    let view = View { vector: &round.before, foreign: here, own };
                    if self.right(object, &view, shown) == is {
                        coverage.hit(Mark::ReadMidRound);
                        return Ok(());
                    }
                }
            }
        }
        let (object, is) = (names.object(object), tell_value(&shown.value, names));
        let what = format!(
            "@{ticket}: r{place} shows {object} as {is}, at {} it is {}",
            names.vector(&shown.vector),
            tell_value(&right, names)
        );
        Err(Breach::new("reads", vec![object], what))
    }
}
