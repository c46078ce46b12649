//! A second protocol that goes on from where this one stands, and a digest of where that is.
//!
//! For a model checker, which tries everything that can happen next and must know when it has been
//! there before. Production calls neither: a protocol that is copied while it runs would write two
//! different deltas under one dot.
//!
//! The digest is exact where it can be: two protocols with equal digests (and equal stores) do the
//! same on equal events. A field that it left out would hide behaviours, so each struct is taken
//! apart by name here, and a new field does not compile before somebody has decided.

use super::round::{Open, Parked, Touched, Unsynced};
use super::rows::Base;
use super::{Protocol, Stats};
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};

impl<B: Base> Protocol<B> {
    /// A copy over another store, which must hold what this one's holds. Call it between an event
    /// and the next, when all effects have been polled.
    pub fn fork<C: Base>(&self, base: C) -> Protocol<C> {
        Protocol {
            member: self.member,
            origin: self.origin,
            previous: self.previous,
            settings: self.settings.clone(),
            canary: self.canary,
            rows: self.rows.fork(base),
            hybrid: self.hybrid,
            applied: self.applied.clone(),
            synced: self.synced.clone(),
            synced_total: self.synced_total,
            depended: self.depended.clone(),
            open: self.open.clone(),
            unsynced: self.unsynced.clone(),
            last_round: self.last_round,
            freeze_after: self.freeze_after.clone(),
            inbox: self.inbox.clone(),
            peers: self.peers.clone(),
            pulls: self.pulls.clone(),
            membership: self.membership.clone(),
            waiting: self.waiting.clone(),
            durable: self.durable.clone(),
            watched: self.watched.clone(),
            cuts: self.cuts.clone(),
            eras: self.eras.clone(),
            sweep: self.sweep.clone(),
            pruning: self.pruning.clone(),
            giving: self.giving.clone(),
            taking: self.taking.clone(),
            verifying: self.verifying.clone(),
            restoring: self.restoring.clone(),
            lending: self.lending.clone(),
            evening: self.evening.clone(),
            passing: self.passing.clone(),
            keeping: self.keeping.clone(),
            ordering: self.ordering.clone(),
            tend_us: self.tend_us,
            skew_alarmed: self.skew_alarmed,
            effects: VecDeque::new(),
            stats: self.stats,
        }
    }

    /// Everything that decides what this protocol does next, but for its store.
    ///
    /// Left out: settings and planted bug, which do not change; counts, which nothing reads; the
    /// numbers of rounds, which only name them (their order and content are in); and comparisons
    /// with peers, which an alarm or an operator begins: no world that is exhausted outlives the
    /// one or has the other.
    pub fn digest(&self, into: &mut impl Hasher) {
        let Self {
            member,
            origin,
            previous,
            settings: _,
            canary: _,
            rows,
            hybrid,
            applied,
            synced,
            synced_total,
            depended,
            open,
            unsynced,
            last_round,
            freeze_after,
            inbox,
            peers,
            pulls,
            membership,
            waiting,
            durable,
            watched,
            cuts,
            eras,
            sweep,
            pruning,
            giving,
            taking,
            verifying: _,
            restoring,
            lending,
            evening,
            passing,
            keeping,
            ordering,
            tend_us,
            skew_alarmed,
            effects,
            stats: Stats { .. },
        } = self;
        (member, origin, previous, hybrid.last(), applied, synced, synced_total).hash(into);
        rows.digest(into);
        (depended, inbox, peers, pulls, membership, watched, skew_alarmed, effects.len())
            .hash(into);
        (cuts, eras, sweep, pruning, giving, taking, restoring, tend_us).hash(into);
        digest_text(lending, into);
        digest_text(evening, into);
        digest_text(passing, into);
        digest_text(keeping, into);
        digest_text(ordering, into);
        freeze_after.as_ref().map(|(round, batch)| (last_round - round, batch)).hash(into);
        digest_open(open, into);
        into.write_usize(unsynced.len());
        unsynced.iter().for_each(|round| digest_unsynced(round, into));
        digest_text(waiting, into);
        digest_text(durable, into);
    }
}

fn digest_open(open: &Open, into: &mut impl Hasher) {
    let Open { ops, cut, stock, own, foreign, foreign_bytes, sources, touched, replies } = open;
    (ops, cut, stock, own, foreign_bytes, sources).hash(into);
    for record in foreign {
        (record.origin, record.seq, &record.bytes).hash(into);
    }
    digest_round(touched, replies, into);
}

fn digest_unsynced(round: &Unsynced, into: &mut impl Hasher) {
    let Unsynced { number: _, clock: _, vector, total, own, page, sources, touched, replies } =
        round;
    (vector, total, own, page, sources).hash(into);
    digest_round(touched, replies, into);
}

fn digest_round(touched: &Touched, replies: &Vec<Parked>, into: &mut impl Hasher) {
    // A set without an order: a sum does not mind.
    touched.iter().fold(0_u64, |sum, hash| sum.wrapping_add(*hash)).hash(into);
    into.write_usize(touched.len());
    digest_text(replies, into);
}

/// By what `Debug` says: derived, so it names every field.
fn digest_text(value: &impl fmt::Debug, into: &mut impl Hasher) {
    struct Text<'a, H>(&'a mut H);
    impl<H: Hasher> Write for Text<'_, H> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    // Writing into a hasher cannot fail.
    let _ = write!(Text(into), "{value:?};");
}
