//! I2 and I6 at the moment they could break: nothing unsynced is shown or told, and no answer
//! falls behind the session that asked.

use super::{Breach, Checks, Verdict};
use crate::history::{Asked, Attempt, History};
use crate::names::Names;
use orset::{Origin, VersionVector};
use pannier_replica::protocol::{Message, Reply};

impl Checks {
    fn rests_on_log(
        &self,
        place: usize,
        vector: &VersionVector,
        about: Vec<String>,
        what: impl FnOnce() -> String,
        names: &Names,
    ) -> Verdict {
        let durable = &self.shadows[place].durable;
        match durable.first_missing(&self.whole(vector)) {
            None => Ok(()),
            Some((origin, have, need)) => {
                let origin = names.origin_name(origin);
                let what = format!(
                    "{} up to {origin}:{need}, of which only {have} are synced at r{place}",
                    what()
                );
                Err(Breach::new("durability", about, what))
            }
        }
    }

    /// An answer: on disk, and not behind its session.
    pub(super) fn reply_rests_on_log(
        &self,
        place: usize,
        ticket: u64,
        reply: &Reply,
        attempt: &Attempt,
        history: &History,
        names: &Names,
    ) -> Verdict {
        let vector = reply.vector();
        let about = || vec![format!("@{ticket} "), format!("r{place}")];
        if let Asked::Trade(number) = attempt.asked {
            let trade = (&history.trades[number], &*attempt.after);
            return self.trade_rests_on_logs((place, ticket), reply, trade, names);
        }
        self.rests_on_log(place, vector, about(), || format!("answer @{ticket} speaks"), names)?;
        let number = |vector: &VersionVector| vector.get(Origin::MEMBERSHIP);
        let is_older = number(vector) < number(&attempt.after);
        if is_older || !self.whole(vector).covers(&self.whole(&attempt.after)) {
            let (vector, after) = (names.vector(vector), names.vector(&attempt.after));
            let what = format!("answer @{ticket} is at {vector}, its session was at {after}");
            return Err(Breach::new("sessions", about(), what));
        }
        let (written, Asked::Write(intent)) = (reply, &attempt.asked) else { return Ok(()) };
        let written = match written {
            Reply::Written(written) => written,
            Reply::Unreplicated(unreplicated) => &unreplicated.written,
            Reply::Shown(_)
            | Reply::Listed(_)
            | Reply::Stock(_)
            | Reply::StockUnreplicated { .. } => return Ok(()),
        };
        let op = history.intents[*intent].op;
        let committed = match written.dot {
            Some(dot) => self.whole(vector).contains(dot) && self.ledger.of_op(op).contains(&dot),
            None => self.ledger.is_known_at(op, &self.whole(vector)),
        };
        if committed {
            return Ok(());
        }
        let what = format!("{} is acknowledged and stands in no synced commit", names.op(op));
        Err(Breach::new("acknowledged writes", vec![names.op(op)], what))
    }

    /// A message to a peer: on disk, and what was committed.
    pub(super) fn message_rests_on_log(
        &mut self,
        place: usize,
        message: &Message,
        names: &Names,
    ) -> Verdict {
        let about = || vec![format!("r{place}")];
        match message {
            Message::Status { vector, total, .. } => {
                self.rests_on_log(place, vector, about(), || "a status speaks".into(), names)?;
                let whole = self.closed.whole(vector);
                self.totals.compare(place, &whole, *total)
            }
            Message::Standing { vector, .. } => {
                self.rests_on_log(place, vector, about(), || "a standing speaks".into(), names)
            }
            Message::Pull { .. }
            | Message::Pruned { .. }
            | Message::CatchUp { .. }
            | Message::Membership(_)
            | Message::Snapshot(_)
            | Message::Stock(_)
            | Message::Compare(_) => Ok(()),
            Message::Deltas { deltas } => {
                for (dot, bytes) in message.dots().into_iter().zip(deltas) {
                    self.ledger.same(dot, bytes, names)?;
                    if !self.shadows[place].durable.contains(dot) {
                        let dot = names.dot(dot);
                        let what = format!("r{place} sends {dot} before it is synced");
                        return Err(Breach::new("durability", vec![dot], what));
                    }
                }
                Ok(())
            }
        }
    }
}
