//! The promises as stateright knows them, and what a configuration must have met.

use crate::checks;
use crate::config::Config;
use crate::market::{self, union};
use crate::replica::Replica;
use crate::world::{Action, State};
use orset::order::Stage;
use pannier_replica::protocol::Message;
use pannier_replica::protocol::delta::dot_of;
use pannier_replica::protocol::stock::Talk;
use stateright::{Model, Property};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A configuration, to be explored.
#[derive(Clone, Debug)]
pub struct Explored(pub Config);

pub const LOST_ROUND: &str = "a crash takes a round";
pub const WAITED: &str = "a delta waits for its causes";
pub const RETRY: &str = "a retry is known";
pub const SESSION: &str = "a command waits for its session";
pub const READ: &str = "a read waits for a sync";
pub const PULLED: &str = "a pull is answered";
pub const TOTALS: &str = "totals are compared";
pub const ENDED: &str = "all sessions come to their end";
pub const BORROWED: &str = "units are lent";
pub const SOLD_OUT: &str = "a stock is sold out";
pub const DOUBLED: &str = "one op id is sold twice";
pub const PASSED: &str = "a purchase is passed on";
pub const RIVALS: &str = "a cart is bought twice";
pub const CHECKPOINT: &str = "a replica starts from a checkpoint";

macro_rules! unbroken {
    ($($name:path),*) => {
        [$(Property::<Explored>::always($name, |_, state| state.broken != Some($name))),*]
    };
}

fn any(state: &State, is: impl Fn(&Replica) -> bool) -> bool {
    state.replicas.iter().any(|replica| is(replica))
}

fn has_one_content_per_dot(state: &State) -> bool {
    let mut contents = BTreeMap::new();
    let is_one = |bytes: &Arc<[u8]>| {
        let Ok(dot) = dot_of(bytes) else { return false };
        contents.entry(dot).or_insert_with(|| bytes.clone()) == bytes
    };
    let on_disks = state.replicas.iter().flat_map(|replica| &replica.on_disk.log);
    let on_disks = on_disks.map(|record| &record.bytes);
    let in_the_air = state.flying.iter().flat_map(|flying| match &*flying.message {
        pannier_replica::protocol::Message::Deltas { deltas } => deltas.as_slice(),
        _ => &[],
    });
    on_disks.chain(in_the_air).all(is_one)
}

fn has_equal_rows_at_equal_vectors(state: &State) -> bool {
    let all = &state.replicas;
    let pairs = all.iter().enumerate().flat_map(|(at, a)| all[..at].iter().map(move |b| (a, b)));
    pairs.into_iter().all(|(a, b)| {
        let (a, b) = (&a.protocol, &b.protocol);
        // An open round is in the rows already, and has no dot yet.
        let is_open = a.has_open_round() || b.has_open_round();
        let is_comparable = !is_open && a.applied() == b.applied();
        let is_told = a.synced() == b.synced() && a.synced_total() != b.synced_total();
        !is_told
            && (!is_comparable
                || (a.total() == b.total() && a.dump().unwrap() == b.dump().unwrap()))
    })
}

/// Memory does not count, and nobody has a backup: what was acknowledged is in a synced log.
fn has_what_was_acknowledged(state: &State) -> bool {
    let made = state.replicas.iter().filter_map(|replica| replica.on_disk.made.as_ref());
    state.acknowledged.iter().all(|op| made.clone().any(|made| made.ops.contains(op)))
}

/// Where all have the same, and nothing is under way, each op id has come to one thing.
fn is_settled(config: &Config, state: &State) -> bool {
    let Some(first) = state.replicas.first().filter(|_| config.sells()) else { return true };
    let is_quiet = state.replicas.iter().all(|it| {
        !it.protocol.has_open_round()
            && it.staged.is_empty()
            && it.protocol.applied() == first.protocol.applied()
    });
    let made = || union(std::iter::once(&**first), false);
    !is_quiet || (made().market.is_settled() && made().orders_are_settled())
}

fn is_over(config: &Config, state: &State) -> bool {
    let steps = config.sessions.iter().map(|asks| asks.len());
    state.sessions.iter().zip(steps).all(|(session, steps)| session.done == steps)
}

impl Model for Explored {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.0)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(&self.0, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(state.after(&self.0, &action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = unbroken!(
            checks::STORE,
            checks::ALARM,
            checks::SENT,
            checks::SHOWN,
            checks::TOKEN,
            checks::OWN,
            checks::REFUSED,
            checks::CAUSES,
            checks::ROWS,
            checks::SUM,
            checks::SHORT,
            checks::TWICE,
            checks::SCARCE,
            checks::OVERSOLD,
            checks::UNSOLD,
            checks::OVER_LIMIT
        )
        .to_vec();
        properties.extend([
            Property::always(checks::DOTS, |_, state| has_one_content_per_dot(state)),
            Property::always(checks::EQUAL, |_, state| has_equal_rows_at_equal_vectors(state)),
            Property::always(checks::SETTLED, |model: &Self, state: &State| {
                is_settled(&model.0, state)
            }),
            Property::always(checks::LOST, |_, state| has_what_was_acknowledged(state)),
        ]);
        properties.retain(|it| !self.0.unminded.contains(&it.name));
        let met = [
            Property::sometimes(LOST_ROUND, |_: &Self, state: &State| state.spent.lost_round),
            Property::sometimes(WAITED, |_, state| any(state, |it| it.protocol.buffered() > 0)),
            Property::sometimes(RETRY, |_, state| any(state, |it| stats(it).duplicates > 0)),
            Property::sometimes(SESSION, |_, state| any(state, |it| it.protocol.waiting() > 0)),
            Property::sometimes(READ, |_, state| any(state, |it| stats(it).reads_after_sync > 0)),
            Property::sometimes(PULLED, |_, state| any(state, |it| stats(it).pulls_served > 0)),
            Property::sometimes(TOTALS, |_, state| any(state, |it| stats(it).totals_compared > 0)),
            Property::sometimes(BORROWED, |_: &Self, state: &State| {
                market_of(state).is_some_and(|it| it.lent > 0)
            }),
            Property::sometimes(DOUBLED, |_: &Self, state: &State| {
                market_of(state).is_some_and(|it| it.has_doubles())
            }),
            Property::sometimes(PASSED, |_: &Self, state: &State| {
                state.flying.iter().any(|it| matches!(*it.message, Message::Stock(Talk::Do { .. })))
            }),
            Property::sometimes(RIVALS, |_: &Self, state: &State| {
                let made = state.replicas.first().and_then(|it| it.on_disk.made.as_ref());
                made.is_some_and(|made| {
                    made.orders.all().filter(|(_, it)| it.stage == Stage::Confirmed).count() > 1
                })
            }),
            Property::sometimes(SOLD_OUT, |_: &Self, state: &State| {
                any(state, |it| stats(it).sold_out > 0)
            }),
            Property::sometimes(ENDED, |model, state| is_over(&model.0, state)),
            Property::sometimes(CHECKPOINT, |_, state| {
                any(state, |it| {
                    it.start > 0 && it.store.disk().in_doubt().writes == 0 && has_state(it)
                })
            }),
        ];
        properties.extend(met.into_iter().filter(|it| self.0.claims.contains(&it.name)));
        properties
    }
}

/// What the first replica has on disk.
fn market_of(state: &State) -> Option<&market::Market> {
    state.replicas.first()?.on_disk.made.as_ref().map(|made| &made.market)
}

fn stats(replica: &Replica) -> &pannier_replica::protocol::Stats {
    replica.protocol.stats()
}

fn has_state(replica: &Replica) -> bool {
    use pannier_replica::store::Store;
    !Store::scan(&*replica.store, &[], None, 1).unwrap().is_empty()
}
