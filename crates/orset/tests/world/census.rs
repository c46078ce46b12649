//! What was really generated: a property that rarely meets its case proves little.
//!
//! Cases are counted from the specification's point of view, so that a broken crate cannot talk
//! its way past them. `differential.rs` prints the census and demands every line of it.

use super::kit::Kit;
use super::steps::{GUEST, USER, VIEWS};
use super::{Change, World};
use crate::spec::{Commits, Did, Event, Ids, Seen, left, line};
use orset::OpId;
use orset::cart::CartEffect;
use std::collections::{BTreeMap, BTreeSet};

/// Case -> in how many places it was met.
#[derive(Clone, Debug, Default)]
pub struct Census(pub BTreeMap<&'static str, u64>);

impl Census {
    pub fn note(&mut self, case: &'static str) {
        *self.0.entry(case).or_default() += 1;
    }

    fn note_if(&mut self, met: bool, case: &'static str) {
        self.0.entry(case).or_default();
        if met {
            self.note(case);
        }
    }

    pub fn add(&mut self, other: &Self) {
        for (case, count) in &other.0 {
            *self.0.entry(case).or_default() += count;
        }
    }
}

pub fn retry<K: Kit>(world: &mut World<K>, at: usize, op: OpId) {
    let known = &world.replicas[at].known;
    let knows_op = |e: &&Event| e.op == op && known.contains(&e.commit);
    let object = world.history.events.iter().find(|e| e.op == op).map_or(VIEWS, |e| e.object);
    let gone = object != VIEWS
        && world.history.rows(known, object).get(&op).is_some_and(|row| row.is_none())
        && world.history.events.iter().any(|e| e.op == op && matches!(e.did, Did::Insert(_)));
    let known_here = world.history.events.iter().any(|e| knows_op(&e));
    world.census.note_if(!known_here, "retry at a replica that has not seen the op");
    world.census.note_if(gone, "retry of an add after its removal");
}

pub fn reuse<K: Kit>(world: &mut World<K>, _: u16) {
    world.census.note("op id used again for something else");
}

pub fn join<K: Kit>(world: &mut World<K>, to: usize, stale: &Commits) {
    let known = world.replicas[to].known.clone();
    world.census.note_if(stale.is_subset(&known) && !stale.is_empty(), "stale state joined");
    let both_new = !stale.is_subset(&known) && !known.is_subset(stale);
    world.census.note_if(both_new, "state joined that both lacks and brings");
}

pub fn context<K: Kit>(world: &mut World<K>, at: usize, seen: &Seen, object: usize) {
    let rows = world.history.rows(&world.replicas[at].known, object);
    let ids: Ids = seen.values().flatten().copied().collect();
    let unarrived = ids.iter().any(|op| !rows.contains_key(op));
    world.census.note_if(unarrived, "context names entries that have not arrived");
    let unseen = rows.iter().any(|(op, row)| row.is_some() && !ids.contains(op));
    world.census.note_if(unseen, "context lacks entries that are here");
}

/// What can only be told from the whole history.
pub fn at_the_end<K: Kit>(world: &mut World<K>) {
    let all: Commits = (0..world.commits.len()).collect();
    let events = &world.history.events;
    let census = &mut world.census;
    let concurrent = |a: &Event, b: &Event| {
        a.commit != b.commit && !a.past.contains(&b.commit) && !b.past.contains(&a.commit)
    };
    for object in [USER, GUEST] {
        let rows = world.history.rows(&all, object);
        let here = || events.iter().filter(|event| event.object == object);
        for (op, row) in &rows {
            let inserts: Vec<_> = here().filter_map(|e| Some((e, e.inserts(*op)?.0))).collect();
            let contents: BTreeSet<_> =
                inserts.iter().map(|(_, item)| (&item.product, item.quantity)).collect();
            let stamps: BTreeSet<_> =
                inserts.iter().filter(|(_, i)| i.assigned).map(|(_, i)| i.stamp).collect();
            let absorbed = inserts.iter().filter(|(e, _)| matches!(e.did, Did::Absorb(_))).count();
            let live = row.is_some();
            census.note_if(live && contents.len() > 1, "entry with conflicting contents");
            census.note_if(live && stamps.len() > 1, "set retried with another stamp");
            census.note_if(live && absorbed > 1, "entry absorbed twice");
            census.note_if(inserts.len() > 1 && live, "entry with several dots");
            let ended = here().any(|e| e.op == *op && e.ends(*op));
            census.note_if(ended && !inserts.is_empty(), "op id of an add and of something else");
            let landed: Vec<_> = here()
                .filter_map(|e| if let Did::Take(t) = &e.did { Some((e.op, t)) } else { None })
                .filter(|(d, takes)| d == op && !takes.is_empty())
                .collect();
            let entries: BTreeSet<_> = landed.iter().flat_map(|(_, takes)| takes.keys()).collect();
            let differ = landed.iter().any(|(_, takes)| takes.len() < entries.len());
            census.note_if(differ, "retried decrement landed on different entries");
        }
        for product in super::PRODUCTS {
            let line = line(&rows, product);
            let assigned = line.iter().filter(|(_, row)| row.item.assigned).count();
            census.note_if(assigned > 1, "set masked by a later one");
            let left = left(&line);
            census.note_if(left.values().any(|units| *units == 0), "entry used up and still there");
            let here = |(op, row): &(OpId, &crate::spec::Row)| {
                let taken: u64 = row.takes.values().map(|take| u64::from(take.0)).sum();
                let left = left.get(op).copied().unwrap_or(0);
                u64::from(row.item.quantity).saturating_sub(taken) < left
            };
            census.note_if(line.iter().any(here), "takes cut by a decrement's budget");
        }
        for end in here() {
            let Did::End(ids) = &end.did else { continue };
            let ended = |e: &Event| ids.contains(&e.op) && matches!(e.did, Did::Insert(_));
            let Some(gone) = here().find(|e| ended(e)) else { continue };
            let survivor = here().any(|e| {
                let same = |a: &Did, b: &Did| match (a, b) {
                    (Did::Insert(a), Did::Insert(b)) => a.product == b.product,
                    _ => false,
                };
                concurrent(e, end)
                    && same(&e.did, &gone.did)
                    && rows.get(&e.op).is_some_and(Option::is_some)
            });
            census.note_if(survivor, "removal that ended an entry beside a concurrent add");
        }
    }
    for a in events.iter().filter(|event| event.object == VIEWS) {
        let again = events.iter().filter(|b| b.op == a.op && b.object == VIEWS && b.dot > a.dot);
        for b in again {
            census.note_if(a.did == b.did, "count retried");
            census.note_if(a.did != b.did, "count with conflicting amounts");
        }
    }
    for commit in &world.commits {
        for (_, _, change) in &commit.ops {
            match change {
                Change::Cart(CartEffect::Assign(_, None)) => census.note("set to zero"),
                Change::Cart(CartEffect::Take(takes)) if takes.len() > 1 => {
                    census.note("decrement over several entries");
                }
                Change::Cart(CartEffect::Absorb(moved)) if !moved.is_empty() => {
                    let taken = moved.iter().any(|entry| !entry.takes.is_empty());
                    census.note_if(taken, "merge of an entry that had been taken from");
                }
                _ => {}
            }
        }
    }
}
