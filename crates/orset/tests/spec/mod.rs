//! The specification: a naive function from history to value.
//!
//! A second program that says the same thing, written from the rules alone. It shares nothing
//! with the crate but ids (op ids, dots, product bytes); it keeps every event for ever, knows no
//! rows, no contexts and no joins, and answers each question by looking through all events. It is
//! quadratic and meant to be obvious:
//!
//! ```text
//! taken in(t)   some event is of op t or names t
//! live(t)       some event inserts t, and no event ends t
//! item(t)       the greatest of what was inserted under t
//! takes(t)      per decrement, the most any event took of t under its id
//! ```
//!
//! Order and causality are absent: that is the point. What an op *meant* was decided from what
//! its origin knew (`decide.rs`, the same questions asked of the causal past); after that a
//! history is a set.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub mod decide;

use orset::{Dot, OpId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

pub type Ids = BTreeSet<OpId>;
pub type Commits = BTreeSet<usize>;
/// Decrement -> (units here, units in all).
pub type Takes = BTreeMap<OpId, (u32, u32)>;
/// What a reader was shown: product -> op ids.
pub type Seen = BTreeMap<Vec<u8>, Ids>;

/// What one insert puts in. The order of the fields is the order in which contents compete.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    pub product: Vec<u8>,
    pub quantity: u32,
    pub assigned: bool,
    pub attributes: Vec<u8>,
    /// The lower stamp is the greater; 0 for what was added.
    pub stamp: Reverse<u64>,
}

/// What an event does, with everything decided that depended on its origin's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    Insert(Item),
    End(Ids),
    Replace(Ids, Option<Item>),
    Take(Takes),
    Absorb(BTreeMap<OpId, (Item, Takes)>),
    Count(i64),
}

/// One op on one object.
#[derive(Clone, Debug)]
pub struct Event {
    pub commit: usize,
    pub dot: Dot,
    /// Commits its origin had applied when it made this one.
    pub past: Commits,
    pub object: usize,
    pub op: OpId,
    pub did: Did,
}

impl Event {
    /// What it inserts under op id `t`, with the takes that came along.
    pub fn inserts(&self, t: OpId) -> Option<(&Item, Takes)> {
        match &self.did {
            Did::Insert(item) | Did::Replace(_, Some(item)) if self.op == t => {
                Some((item, Takes::new()))
            }
            Did::Absorb(moved) => moved.get(&t).map(|(item, takes)| (item, takes.clone())),
            _ => None,
        }
    }

    /// Whether it ends op id `t`: an id that stands for something other than an insert has no
    /// entry, now or later.
    pub fn ends(&self, t: OpId) -> bool {
        match &self.did {
            Did::Insert(_) | Did::Count(_) => false,
            Did::Replace(ids, Some(_)) => self.op != t && ids.contains(&t),
            Did::End(ids) | Did::Replace(ids, None) => self.op == t || ids.contains(&t),
            Did::Take(_) | Did::Absorb(_) => self.op == t,
        }
    }

    /// Every op id it speaks of.
    pub fn names(&self) -> Ids {
        let mut ids = match &self.did {
            Did::Insert(_) | Did::Count(_) => Ids::new(),
            Did::End(ids) | Did::Replace(ids, _) => ids.clone(),
            Did::Take(takes) => takes.keys().copied().collect(),
            Did::Absorb(moved) => moved.keys().copied().collect(),
        };
        ids.insert(self.op);
        ids
    }
}

/// An entry, as far as a history says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub item: Item,
    pub dots: BTreeSet<Dot>,
    pub takes: Takes,
}

/// A cart, as far as a history says: op id -> its entry, `None` for taken in and gone.
pub type Rows = BTreeMap<OpId, Option<Row>>;

/// Everything that ever happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub events: Vec<Event>,
}

impl History {
    fn of<'a>(&'a self, commits: &'a Commits, object: usize) -> impl Iterator<Item = &'a Event> {
        let events = self.events.iter();
        events.filter(move |e| e.object == object && commits.contains(&e.commit))
    }

    /// The cart `object` of whoever knows exactly `commits` (closed under causality).
    pub fn rows(&self, commits: &Commits, object: usize) -> Rows {
        let taken_in: Ids = self.of(commits, object).flat_map(Event::names).collect();
        taken_in.into_iter().map(|t| (t, self.row(commits, object, t))).collect()
    }

    fn row(&self, commits: &Commits, object: usize, t: OpId) -> Option<Row> {
        if self.of(commits, object).any(|event| event.ends(t)) {
            return None;
        }
        let inserts = || self.of(commits, object).filter_map(|e| Some((e, e.inserts(t)?)));
        let item = inserts().map(|(_, (item, _))| item.clone()).max()?;
        let dots = inserts().map(|(event, _)| event.dot).collect();
        let mut takes = Takes::new();
        for event in self.of(commits, object) {
            if let Did::Take(taken) = &event.did
                && let Some(&take) = taken.get(&t)
            {
                most(&mut takes, event.op, take);
            }
            for (decrement, take) in event.inserts(t).map(|(_, takes)| takes).unwrap_or_default() {
                most(&mut takes, decrement, take);
            }
        }
        Some(Row { item, dots, takes })
    }

    /// The cart of one who got the deltas of exactly `commits`, whatever they depend on. A delta
    /// says of each op id it names how that one stood at its origin, and gone is for ever.
    pub fn rows_of_deltas(&self, commits: &Commits, object: usize) -> Rows {
        let mut rows = Rows::new();
        for event in self.of(commits, object) {
            let mut known = event.past.clone();
            known.insert(event.commit);
            for t in event.names() {
                let told = self.row(&known, object, t);
                let joined = match (rows.remove(&t), told) {
                    (None, told) => told,
                    (Some(mine), told) => mine.zip(told).map(|(mine, told)| both(mine, told)),
                };
                rows.insert(t, joined);
            }
        }
        rows
    }

    /// The counter `object` of whoever knows `commits`: each op id once, at its lowest dot.
    pub fn count(&self, commits: &Commits, object: usize) -> i128 {
        let amount = |e: &Event| if let Did::Count(amount) = e.did { amount } else { 0 };
        let ops: Ids = self.of(commits, object).map(|event| event.op).collect();
        let lowest =
            |op| self.of(commits, object).filter(move |e| e.op == op).min_by_key(|e| e.dot);
        ops.into_iter().filter_map(lowest).map(|event| i128::from(amount(event))).sum()
    }
}

fn most(takes: &mut Takes, decrement: OpId, (here, total): (u32, u32)) {
    let mine = takes.entry(decrement).or_insert((0, 0));
    *mine = (mine.0.max(here), mine.1.max(total));
}

fn both(mut mine: Row, told: Row) -> Row {
    mine.item = mine.item.max(told.item);
    mine.dots.extend(told.dots);
    told.takes.into_iter().for_each(|(decrement, take)| most(&mut mine.takes, decrement, take));
    mine
}

/// The live entries of one product, ascending by op id.
pub fn line<'a>(rows: &'a Rows, product: &[u8]) -> Vec<(OpId, &'a Row)> {
    let live = rows.iter().filter_map(|(op, row)| Some((*op, row.as_ref()?)));
    live.filter(|(_, row)| row.item.product == product).collect()
}

/// Units left of each entry of a line that is not masked by a later set.
pub fn left(line: &[(OpId, &Row)]) -> BTreeMap<OpId, u64> {
    let total = |d: OpId| {
        let totals = line.iter().filter_map(|(_, row)| row.takes.get(&d));
        totals.map(|(_, total)| u64::from(*total)).max().unwrap_or(0)
    };
    // Units go in order, entries from the lowest op id up and in each the decrements likewise; one
    // goes as long as it was taken there, is of the decrement's own quantity, and is there.
    let mut spent: BTreeMap<OpId, u64> = BTreeMap::new();
    let assigned = line.iter().filter(|(_, row)| row.item.assigned);
    let latest = assigned.map(|(op, row)| (row.item.stamp.0, *op)).max();
    let mut left = BTreeMap::new();
    for (op, row) in line {
        let mut quantity = u64::from(row.item.quantity);
        for (decrement, (here, _)) in &row.takes {
            let spent = spent.entry(*decrement).or_insert(0);
            let go = u64::from(*here).min(total(*decrement) - *spent).min(quantity);
            *spent += go;
            quantity -= go;
        }
        let masked = row.item.assigned && Some((row.item.stamp.0, *op)) != latest;
        if !masked {
            left.insert(*op, quantity);
        }
    }
    left
}

/// Product -> units shown, those with none left out.
pub fn shown(rows: &Rows) -> BTreeMap<Vec<u8>, u64> {
    let products: BTreeSet<_> = rows.values().flatten().map(|row| &row.item.product).collect();
    let quantity = |p: &Vec<u8>| left(&line(rows, p)).into_values().sum();
    let all = products.into_iter().map(|p| (p.clone(), quantity(p)));
    all.filter(|(_, quantity)| *quantity > 0).collect()
}
