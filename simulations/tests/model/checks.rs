//! What must be true of a replica after each event, of what it says, and of what it answers.
//!
//! The reference is the pure lattices of `orset`, given every delta that the replica has, in an
//! order that causes agree with. It has no rows, no sums, no rounds and no disk.

use crate::config::{Ask, Config, op_id};
use crate::market::Market;
use crate::replica::Replica;
use crate::sessions::{Session, cart, counter};
use orset::cart::{CartEffect, Seen};
use orset::order::{self, OrderStep, Orders, Standing};
use orset::{Cart, Counter, Dot, Effect, OpId, OpIdSet, Request, VersionVector};
use pannier_replica::protocol::delta::Delta;
use pannier_replica::protocol::stock::Talk;
use pannier_replica::protocol::{Message, Refusal, Reply, Shown, Value, row_hash};
use pannier_replica::store::LogRecord;
use std::collections::{BTreeMap, BTreeSet};

pub const STORE: &str = "the store can be read";
pub const ALARM: &str = "nobody raises an alarm";
pub const SENT: &str = "what is said is synced";
pub const SHOWN: &str = "what is answered is synced";
pub const TOKEN: &str = "an answer covers its session";
pub const OWN: &str = "a session is shown what it had seen";
pub const REFUSED: &str = "nothing is refused without need";
pub const CAUSES: &str = "causes come before effects";
pub const ROWS: &str = "rows are what the deltas say";
pub const SUM: &str = "the total is the sum of the rows";
pub const LOST: &str = "what was acknowledged is on a disk";
pub const DOTS: &str = "a dot has one content";
pub const EQUAL: &str = "equal vectors, equal rows";
pub const SHORT: &str = "nobody spends what it has no right to";
pub const TWICE: &str = "nothing is granted, or given back, twice";
pub const OVERSOLD: &str = "no more is sold than there is";
pub const UNSOLD: &str = "what was sold stays sold";
pub const SETTLED: &str = "an op id comes to one thing";
pub const OVER_LIMIT: &str = "nobody has more than the limit";
pub const SCARCE: &str = "sold out is said when it is";

/// Whom the deltas make it, by the lattices alone.
#[derive(Default)]
pub struct Replayed {
    pub vector: VersionVector,
    pub cart: Cart,
    pub counter: Counter,
    /// Adds and sets, with the dots that brought them.
    pub added: BTreeMap<OpId, Vec<Dot>>,
    pub ops: BTreeSet<OpId>,
    pub market: Market,
    pub orders: Orders,
}

/// What the key of a row of a stock begins with.
const STOCK: u8 = 5;

/// `None` when the deltas are not closed under their causes.
pub fn replay<'a>(records: impl Iterator<Item = &'a LogRecord>) -> Option<Replayed> {
    let mut left: Vec<Delta> =
        records.map(|record| Delta::decode(&record.bytes).unwrap()).collect();
    let mut made = Replayed::default();
    while !left.is_empty() {
        let is_ready = |delta: &Delta| {
            made.vector.get(delta.dot.origin) + 1 == delta.dot.seq
                && delta.deps.iter().all(|dep| made.vector.contains(*dep))
        };
        let at = left.iter().position(is_ready)?;
        let delta = left.swap_remove(at);
        for op in &delta.ops {
            made.ops.insert(op.id);
            match (&op.effect, &op.request) {
                (Effect::Cart(effect), _) => {
                    made.cart.apply(op.id, effect, delta.dot);
                    if let CartEffect::Add(_) | CartEffect::Assign(_, Some(_)) = effect {
                        made.added.entry(op.id).or_default().push(delta.dot);
                    }
                }
                (Effect::Count, Request::Count(amount)) => {
                    made.counter.count(op.id, *amount, delta.dot);
                }
                (Effect::Stock(steps), _) => made.market.apply(delta.dot, op.id, steps),
                (Effect::Order(step), _) => made.order(op.id, step, delta.dot),
                (Effect::Count, _) => return None,
            }
        }
        made.vector.raise(delta.dot.origin, delta.dot.seq);
    }
    Some(made)
}

impl Replayed {
    fn order(&mut self, id: OpId, step: &OrderStep, dot: Dot) {
        let Ok(_) = order::apply(&mut self.orders, id, step, dot);
        let sold = match step {
            OrderStep::Confirm(goods) => goods.entries().collect(),
            _ => Vec::new(),
        };
        let named = step.goods().map(|_| id);
        for op in named.into_iter().chain(sold) {
            let Ok(()) = orset::cart::end(&mut self.cart, op);
        }
    }

    /// Whether each order has what it says and no more, where nothing is under way.
    pub fn orders_are_settled(&mut self) -> bool {
        let ids: Vec<OpId> = self.orders.all().map(|(id, _)| id).collect();
        ids.into_iter().all(|id| {
            let Ok(standing) = order::standing(&mut self.orders, id);
            match standing {
                Some(Standing::Confirmed) => self.market.sales_of(id) == 1,
                Some(Standing::Conflicted { .. }) => self.market.is_free_of(id),
                _ => self.market.sales_of(id) == 0,
            }
        })
    }
}

fn rows(made: &Replayed) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    for (op, entry) in made.cart.entries() {
        let (mut key, mut value) = (vec![1], Vec::new());
        key.extend_from_slice(cart().as_bytes());
        entry.content.product.encode(&mut key);
        key.extend_from_slice(op.as_bytes());
        entry.encode_row(&mut value);
        rows.insert(key, value);
    }
    if made.counter.changes().next().is_some() {
        let mut key = vec![3];
        key.extend_from_slice(counter().as_bytes());
        rows.insert(key, made.counter.value().to_be_bytes().to_vec());
    }
    for (id, order) in made.orders.all() {
        let (mut key, mut value) = (vec![8], Vec::new());
        key.extend_from_slice(cart().as_bytes());
        key.extend_from_slice(id.as_bytes());
        order.encode(&mut value);
        rows.insert(key, value);
    }
    rows
}

/// Of a replica that has no round open: then every delta it has applied is a record.
pub fn replica(replica: &Replica) -> Option<&'static str> {
    if replica.protocol.has_open_round() {
        return None;
    }
    let staged = replica.staged.iter().flat_map(|staged| &staged.records);
    let Some(made) = replay(replica.on_disk.log.iter().chain(staged)) else { return Some(CAUSES) };
    let Ok(mut dump) = replica.protocol.dump() else { return Some(STORE) };
    let sum = dump.iter().fold(0_u128, |sum, (key, row)| sum.wrapping_add(row_hash(key, row)));
    if sum != replica.protocol.total() {
        return Some(SUM);
    }
    // A stock is held against its sums, not row by row: that is done in `orset`.
    dump.retain(|key, _| key.first() != Some(&STOCK));
    if made.vector != *replica.protocol.applied() || rows(&made) != dump {
        return Some(ROWS);
    }
    made.market.wrong()
}

/// Whether everything in a message is synced at its sender.
pub fn rests_on_the_synced(replica: &Replica, message: &Message) -> bool {
    let Some(disk) = &replica.on_disk.made else { return false };
    match message {
        Message::Status { vector, .. } | Message::Standing { vector, .. } => {
            disk.vector.covers(vector)
        }
        Message::Deltas { .. } => message.dots().iter().all(|dot| disk.vector.contains(*dot)),
        Message::Stock(Talk::Did { vector, .. }) => disk.vector.covers(vector),
        Message::Pull { .. }
        | Message::Pruned { .. }
        | Message::CatchUp { .. }
        | Message::Membership(_)
        | Message::Snapshot(_)
        // That there is nothing may rest on what is lost again: whoever asked waits for it in vain,
        // and says that it does not know.
        | Message::Stock(_)
        | Message::Compare(_) => true,
    }
}

/// Of an answer, as it leaves: to what it was asked, and what its session had seen.
pub fn answer(
    replica: &Replica,
    config: &Config,
    session: &Session,
    (of, step): (usize, usize),
    answer: &Result<Reply, Refusal>,
) -> Option<&'static str> {
    let reply = match answer {
        Ok(reply) => reply,
        Err(Refusal::Behind { .. }) => return None,
        Err(_) => return Some(REFUSED),
    };
    let (Some(made), after) = (&replica.on_disk.made, &session.sent[step].after) else {
        return Some(CAUSES);
    };
    let is_write = config.ask(of, step).is_some_and(Ask::is_write);
    let is_synced = made.vector.covers(reply.vector())
        && match reply {
            Reply::Written(written) => {
                is_write && written.dot.is_none_or(|dot| made.vector.contains(dot))
            }
            Reply::Shown(Shown { value: Value::Cart(_, seen), .. }) => {
                seen.all().iter().all(|op| made.added.contains_key(&op))
            }
            _ => false,
        };
    let covers = reply.vector().covers(after);
    let shows = match reply {
        Reply::Shown(Shown { value: Value::Cart(_, seen), .. }) => {
            shows_what_it_had_seen(made, config, (of, session), after, &seen.all())
        }
        _ => true,
    };
    let kept = [(SHOWN, is_synced), (TOKEN, covers), (OWN, shows)];
    let mut broken = kept.into_iter().filter(|(_, is_kept)| !is_kept).map(|(promise, _)| promise);
    broken.find_map(|promise| config.minded(Some(promise)))
}

/// What a session wrote or was shown is shown to it, but for what has been ended since. (What its
/// replica has never had, nobody can have ended there.)
fn shows_what_it_had_seen(
    made: &Replayed,
    config: &Config,
    (of, session): (usize, &Session),
    after: &VersionVector,
    shown: &OpIdSet,
) -> bool {
    let adds = |step: &usize| matches!(config.ask(of, *step), Some(Ask::Add(_)));
    let own = (0..session.done).filter(adds).map(|step| op_id(of, step));
    let before = session.seen.as_ref().map(Seen::all).unwrap_or_default();
    let mut had = own.chain(before.iter());
    let had_seen = |op: &OpId| made.added[op].iter().any(|dot| after.contains(*dot));
    let mut alive = made.cart.entries().map(|(op, _)| op);
    had.all(|op| shown.contains(op) || made.added.contains_key(&op))
        && alive.all(|op| shown.contains(op) || !had_seen(&op))
}
