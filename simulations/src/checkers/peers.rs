//! I2 of `peers(n)`: what is answered as standing on n peers would survive the loss of n disks.
//!
//! Looked at when it is answered, where it could break: the log of a member, as far as its disk
//! holds it for sure, covers the answer or does not, whatever anybody said of it. With n other such
//! logs, n losses leave one of the n + 1. The same for an answer that it stands on fewer: it must
//! not say more than there are.

use super::{Breach, Checks, Verdict};
use crate::coverage::{Coverage, Mark};
use crate::history::{Asked, Attempt, History};
use orset::VersionVector;
use pannier_replica::protocol::Reply;

impl Checks {
    /// An answer: on as many other disks as it says.
    pub(super) fn reply_rests_on_peers(
        &mut self,
        place: usize,
        ticket: u64,
        reply: &Reply,
        attempt: &Attempt,
        history: &History,
        coverage: &mut Coverage,
    ) -> Verdict {
        let Asked::Write(intent) = attempt.asked else { return Ok(()) };
        let (vector, said) = match reply {
            Reply::Written(written) => (&written.vector, attempt.peers),
            Reply::Unreplicated(it) if it.on < attempt.peers => (&it.written.vector, it.on),
            Reply::Unreplicated(_) => {
                let what = format!("answer @{ticket} says that it falls short, and does not");
                return Err(Breach::new("replication", vec![format!("@{ticket} ")], what));
            }
            Reply::Shown(_)
            | Reply::Listed(_)
            | Reply::Stock(_)
            | Reply::StockUnreplicated { .. } => return Ok(()),
        };
        let on = self.others_with(place, &self.whole(vector));
        if on < said {
            let about = vec![format!("@{ticket} "), format!("r{place}")];
            let what =
                format!("answer @{ticket} is said to be on {said} peers; {on} have it synced");
            return Err(Breach::new("replication", about, what));
        }
        if let (Reply::Written(written), 1..) = (reply, attempt.peers) {
            self.replicated.insert(history.intents[intent].op);
            coverage.hit(Mark::PeersReached);
            if written.dot.is_none() {
                coverage.hit(Mark::RetryOnPeers);
            }
        }
        Ok(())
    }

    /// How many others hold all of it, each on its own disk; or did, on one that has been lost
    /// since, of which whoever answers cannot know yet.
    fn others_with(&self, place: usize, vector: &VersionVector) -> u32 {
        let others = self.shadows.iter().enumerate().filter(|(at, _)| *at != place);
        others.filter(|(_, shadow)| shadow.has(vector, place)).count() as u32
    }
}
