//! The one stock, as a naive sum over the steps that somebody has, and what must be true of it.
//!
//! It shares nothing with `orset::stock` but the words of the steps: no row, no sum that is kept,
//! no order but that of causes. What is said of *all* is said of the union of all synced logs: what
//! no disk holds has happened to nobody.

use crate::checks::{self, Replayed};
use crate::config::{Ask, Config, REPLICAS_MAX, member, op_id, origin};
use crate::replica::Replica;
use crate::sessions::Session;
use orset::order::Stage;
use orset::stock::{Outcome, RecordId, Step};
use orset::{Dot, Member, OpId};
use pannier_replica::protocol::stock::StockReply;
use pannier_replica::store::LogRecord;
use std::collections::{BTreeMap, BTreeSet};

/// More starts of a replica than any world has.
const STARTS: usize = 8;

/// One sale or hold.
#[derive(Clone, Debug)]
struct Record {
    by: Member,
    units: i128,
    is_held: bool,
    is_back: bool,
}

/// What so many commits come to.
#[derive(Clone, Debug, Default)]
pub struct Market {
    minted: i128,
    /// What each may spend: minted, less taken, plus given back, plus what it was lent, less lent.
    free: BTreeMap<Member, i128>,
    records: BTreeMap<RecordId, Record>,
    returned: BTreeSet<OpId>,
    answered: BTreeMap<(Member, Member), u64>,
    /// Some member had less than nothing at some time.
    is_short: bool,
    /// A record was given back twice, or a grant counted twice.
    is_twice: bool,
    /// Requests that were granted something.
    pub lent: usize,
}

/// Who writes under an origin.
fn writer(of: orset::Origin) -> Option<Member> {
    let places = (0..REPLICAS_MAX).flat_map(|place| (0..STARTS).map(move |life| (place, life)));
    places.into_iter().find(|(place, life)| origin(*place, *life) == of).map(|it| member(it.0))
}

impl Market {
    /// What a commit did to the stock; commits come in an order that causes agree with.
    pub fn apply(&mut self, dot: Dot, op: OpId, steps: &[Step]) {
        let Some(by) = writer(dot.origin) else { return };
        for step in steps {
            match step {
                Step::Mint(units) => {
                    self.minted += i128::from(*units);
                    self.move_units(by, i128::from(*units));
                }
                Step::WriteOff(units) => self.move_units(by, -i128::from(*units)),
                Step::Hold(want, _) | Step::Tentative(want, _) | Step::Sell(want) => {
                    let units = i128::from(want.quantity);
                    let is_held = step.is_hold();
                    self.move_units(by, -units);
                    let record = Record { by, units, is_held, is_back: false };
                    self.records.insert(RecordId { dot, op }, record);
                }
                Step::Commit(id) => {
                    if let Some(it) = self.records.get_mut(id) {
                        self.is_twice |= it.is_back || it.by != by;
                        it.is_held = false;
                    }
                }
                Step::Release(id) | Step::GiveBack(id) => self.give_back(by, id),
                Step::Return => {
                    self.returned.insert(op);
                }
                Step::Lend(to, it) => {
                    let last = self.answered.entry((by, *to)).or_insert(0);
                    self.is_twice |= it.number <= *last;
                    *last = it.number;
                    self.lent += usize::from(it.granted > 0);
                    self.move_units(by, -i128::from(it.granted));
                    self.move_units(*to, it.granted.into());
                }
                Step::Extend(..)
                | Step::Agree(_)
                | Step::Fold(_)
                | Step::Allow(_)
                | Step::Inherit(..) => {}
            }
        }
    }

    fn move_units(&mut self, of: Member, units: i128) {
        let free = self.free.entry(of).or_insert(0);
        *free += units;
        self.is_short |= *free < 0;
    }

    fn give_back(&mut self, by: Member, id: &RecordId) {
        let Some(it) = self.records.get_mut(id) else { return };
        self.is_twice |= it.is_back || it.by != by;
        (it.is_held, it.is_back) = (false, true);
        let units = it.units;
        self.move_units(by, units);
    }

    /// Whether every request for units that was answered was made: `asked` has the last number of
    /// each, by who was asked and who asked.
    pub fn was_asked(&self, asked: &BTreeMap<(Member, Member), u64>) -> bool {
        let is_asked = |(pair, number): (_, &u64)| asked.get(pair).is_some_and(|it| number <= it);
        self.answered.iter().all(is_asked)
    }

    /// Units that somebody may spend.
    pub fn free(&self) -> i128 {
        self.free.values().sum()
    }

    /// Sales of an op id that stand.
    fn stand(&self, op: OpId) -> impl Iterator<Item = &Record> {
        let of_op = self.records.iter().filter(move |(id, _)| id.op == op);
        of_op.map(|(_, it)| it).filter(|it| !it.is_held && !it.is_back)
    }

    /// How many sales of an op id stand.
    pub fn sales_of(&self, op: OpId) -> usize {
        self.stand(op).count()
    }

    /// Whether no units are sold, or held, under an op id.
    pub fn is_free_of(&self, op: OpId) -> bool {
        self.records.iter().filter(|(id, _)| id.op == op).all(|(_, it)| it.is_back)
    }

    /// Whether two sales of one op id were made, whatever became of them.
    pub fn has_doubles(&self) -> bool {
        let mut seen = BTreeSet::new();
        !self.records.keys().all(|id| seen.insert(id.op))
    }

    /// What is wrong in itself, with whatever one has.
    pub fn wrong(&self) -> Option<&'static str> {
        match self {
            Self { is_short: true, .. } => Some(checks::SHORT),
            Self { is_twice: true, .. } => Some(checks::TWICE),
            _ => None,
        }
    }

    /// What is wrong beside what buyers were told.
    pub fn wrong_with(
        &self,
        sold: &BTreeMap<OpId, u32>,
        limit: Option<u32>,
    ) -> Option<&'static str> {
        if limit.is_some_and(|most| sold.len() > most as usize) {
            return Some(checks::OVER_LIMIT);
        }
        let units: i128 = sold.values().map(|units| i128::from(*units)).sum();
        if units > self.minted {
            return Some(checks::OVERSOLD);
        }
        let is_there = |op: &OpId| self.returned.contains(op) || self.stand(*op).next().is_some();
        (!sold.keys().all(is_there)).then_some(checks::UNSOLD)
    }

    /// Whether each op id has come to one thing: sold once, or held, or over.
    pub fn is_settled(&self) -> bool {
        let ops: BTreeSet<OpId> = self.records.keys().map(|id| id.op).collect();
        ops.into_iter().all(|op| {
            let sold = self.stand(op).count();
            let held = self.records.iter().filter(|(id, it)| id.op == op && it.is_held).count();
            match (self.returned.contains(&op), sold) {
                (true, sold) => sold + held == 0,
                (false, 0) => true,
                (false, sold) => sold == 1 && held == 0,
            }
        })
    }
}

/// Of everything that is on a disk, or with `staged` also of what waits for it.
pub fn union<'a>(replicas: impl Iterator<Item = &'a Replica>, staged: bool) -> Replayed {
    let mut all: BTreeMap<Dot, &LogRecord> = BTreeMap::new();
    for replica in replicas {
        let waiting = replica.staged.iter().filter(|_| staged).flat_map(|it| &it.records);
        for record in replica.on_disk.log.iter().chain(waiting) {
            all.insert(Dot::new(record.origin, record.seq), record);
        }
    }
    checks::replay(all.into_values()).unwrap_or_default()
}

/// Of an answer to a call. It may have been decided elsewhere, and rest on the disk there.
pub fn answered(
    on_disks: &Replayed,
    config: &Config,
    session: &Session,
    (of, step): (usize, usize),
    StockReply { outcome, vector, .. }: &StockReply,
) -> Option<&'static str> {
    let op = op_id(of, config.names(of, step));
    let has_record = || on_disks.market.records.keys().any(|id| id.op == op);
    let is_synced = on_disks.vector.covers(vector)
        && match outcome {
            Outcome::Committed | Outcome::Held { .. } => has_record(),
            Outcome::Returned => on_disks.market.returned.contains(&op),
            Outcome::Done => on_disks.ops.contains(&op),
            Outcome::Expired | Outcome::SoldOut { .. } | Outcome::Unavailable { .. } => true,
            Outcome::Conflicted { with } => {
                let mut orders = on_disks.orders.all();
                orders.any(|(id, it)| id == *with && it.stage == Stage::Confirmed)
            }
            // There is enough for all.
            Outcome::Short { .. } => false,
        };
    let fits = match config.ask(of, step) {
        Some(Ask::Limit(_)) => *outcome == Outcome::Done,
        Some(Ask::Restock(..)) => matches!(outcome, Outcome::Done | Outcome::Unavailable { .. }),
        Some(Ask::Return(_)) => matches!(outcome, Outcome::Returned),
        Some(Ask::Buy(_) | Ask::Pay(_)) => !matches!(outcome, Outcome::Held { .. }),
        Some(Ask::Checkout(_)) => !matches!(outcome, Outcome::Done),
        Some(Ask::Order(_) | Ask::Confirm(_)) => {
            !matches!(outcome, Outcome::Held { .. } | Outcome::Done)
        }
        Some(Ask::Hold(_)) => !matches!(outcome, Outcome::Done | Outcome::Expired),
        _ => false,
    };
    let kept = [
        (checks::SHOWN, is_synced),
        (checks::REFUSED, fits),
        (checks::TOKEN, vector.covers(&session.sent[step].after)),
    ];
    let mut broken = kept.into_iter().filter(|(_, is_kept)| !is_kept).map(|(promise, _)| promise);
    broken.find_map(|promise| config.minded(Some(promise)))
}
