//! The shop: sessions, what there is to buy, and what an act of a session means.
//!
//! An act says "remove a line, as seen"; which op id, which product and what was seen is the
//! session's affair at the moment it comes to it. So acts can be left out of a failing run, and
//! the others still mean something.

use crate::chance::{Dice, Purpose};
use crate::coverage::Mark;
use crate::front::Door;
use crate::history::{Asked, Intent, Outcome};
use crate::names::EPOCH_MS;
use crate::scenario::{self, Act, Doing, Options, Verb};
use crate::world::World;
use bytes::Bytes;
use orset::cart::{Content, Seen};
use orset::{
    AMOUNT_MAX, ATTRIBUTES_MAX, Kind, ObjectKey, OpIdSession, Product, QUANTITY_MAX, Request,
};
use pannier_client::core::Mode;
use std::collections::{BTreeMap, VecDeque};

/// Own ops that a broken client may send again under another meaning.
const KEPT: usize = 16;

/// What a session that makes single calls is at.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub asked: Asked,
    pub key: u64,
    pub tries: u64,
    pub behind: u64,
    pub call: u64,
    pub answered: bool,
    /// Some try of it may have been taken in unheard.
    pub unsure: bool,
}

/// Where a session lives.
#[derive(Clone, Debug)]
pub(super) enum Home {
    /// It makes single calls, by this door.
    Single(Door),
    /// In a service, as the library's session of that number.
    Service {
        service: usize,
        number: u32,
        mode: Mode,
        /// Calls that are not done.
        open: usize,
        /// It will do what it has come to.
        beat_due: bool,
    },
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub home: Home,
    /// As its client keeps it.
    pub token: Bytes,
    /// What it is routed by, if it says.
    pub key: Option<Bytes>,
    pub ids: OpIdSession,
    pub seen: BTreeMap<ObjectKey, Seen>,
    pub task: Option<Task>,
    pub queue: VecDeque<Act>,
    pub own: VecDeque<usize>,
    pub serial: u64,
    /// Bits of the gateways that it went through.
    pub gateways: u64,
    /// Its last read must be answered (`settle.rs`).
    pub must: bool,
}

/// All sessions, and what there is to buy.
pub struct Shop {
    pub(super) sessions: Vec<Session>,
    /// Carts, sets, counters.
    pub objects: [Vec<ObjectKey>; 3],
    products: Vec<Product>,
    /// Ways in, for sessions that make single calls.
    pub(super) doors: Vec<Door>,
}

impl Shop {
    /// Opens.
    pub fn new(options: &Options, names: &mut crate::names::Names) -> Self {
        let mut dice = Dice::new(options.seed, Purpose::Shopper);
        let (front, gates) = (&options.front, options.front.gates.all.len());
        // As often by a gateway as straight to a replica, for each of the replicas.
        let gateways = (0..options.replicas).map(|at| Door::Gateway(at % front.gates.all.len()));
        let doors: Vec<Door> = gateways.chain((0..options.replicas).map(Door::Replica)).collect();
        let sessions = (0..options.sessions).map(|at| {
            let skew_s = if options.skew_ms > 0 { dice.below(3) } else { 0 };
            let ids = names.session(options.seed, at, EPOCH_MS / 1_000 + skew_s);
            let door = dice.pick(&doors);
            let home = if dice.chance(front.library.streamed) {
                let service = dice.index(front.library.services);
                let own = options.own_writes && dice.chance(700);
                let mode = if own { Mode::OwnWrites } else { Mode::Causal };
                Home::Service { service, number: 0, mode, open: 0, beat_due: false }
            } else {
                Home::Single(door)
            };
            let home = match options.homes.get(at).copied().unwrap_or(scenario::Home::Drawn) {
                scenario::Home::Drawn => home,
                scenario::Home::Gateway(at) => Home::Single(Door::Gateway(at % gates.max(1))),
                scenario::Home::Replica(at) => Home::Single(Door::Replica(at % options.replicas)),
                scenario::Home::Service(at) => {
                    let (service, mode) = (at % front.library.services.max(1), Mode::Causal);
                    Home::Service { service, number: 0, mode, open: 0, beat_due: false }
                }
            };
            let key = dice.chance(front.keyed).then(|| Bytes::from(format!("session-{at}")));
            Session {
                home,
                token: Bytes::new(),
                key,
                ids,
                seen: BTreeMap::new(),
                task: None,
                queue: VecDeque::new(),
                own: VecDeque::new(),
                serial: 0,
                gateways: 0,
                must: false,
            }
        });
        let sessions = sessions.collect();
        let named = |kind, name: &str, count| {
            let key = |at| ObjectKey::new(kind, b"shop", format!("{name}-{at}").as_bytes());
            (0..count).filter_map(|at| key(at).ok()).collect()
        };
        let (carts, sets, counters) = options.objects;
        let objects = [
            named(Kind::Cart, "cart", carts),
            named(Kind::Set, "wishes", sets),
            named(Kind::Counter, "count", counters),
        ];
        let product = |at: usize| Product::new([b'A' + at as u8].as_slice()).ok();
        let products = (0..options.products).filter_map(product).collect();
        Self { sessions, objects, products, doors }
    }

    /// Whether every session has done what it was doing.
    pub fn is_idle(&self) -> bool {
        self.sessions.iter().all(|session| {
            let open = match session.home {
                Home::Single(_) => 0,
                Home::Service { open, .. } => open,
            };
            session.task.is_none() && session.queue.is_empty() && open == 0
        })
    }

    /// What a session says that it is routed by.
    pub fn key_of(&self, session: usize) -> Option<Bytes> {
        self.sessions.get(session)?.key.clone()
    }

    /// A session goes through a gateway.
    pub fn note_gateway(&mut self, session: usize, gateway: usize) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.gateways |= 1 << gateway;
        }
    }

    /// Through how many it went so far.
    pub fn gateways_met(&self, session: usize) -> u32 {
        self.sessions.get(session).map_or(0, |session| session.gateways.count_ones())
    }
}

/// Which of the ways to be out of bounds an act takes.
const fn kind_of_nonsense(key: u64) -> u64 {
    key % 8
}

impl World<'_> {
    /// What an act means for its session as it is now; `None` when it is done at once.
    pub(super) fn plan(&mut self, act: Act) -> Option<Asked> {
        let Doing::Shop { session, verb, object, product, quantity, blind } = act.what else {
            return None;
        };
        let kind = match verb {
            Verb::Wish | Verb::Unwish => 1,
            Verb::Count => 2,
            Verb::Read | Verb::Clear => [0, 0, 0, 1, 2][product.min(4)],
            _ => 0,
        };
        let kind = if verb == Verb::Clear && kind == 2 { 0 } else { kind };
        let objects = &self.shop.objects[kind];
        let key = objects[object % objects.len()].clone();
        let product = self.shop.products[product % self.shop.products.len()].clone();
        let place = &mut self.shop.sessions[session];
        let seen = place.seen.get(&key).cloned();
        let needs_seen =
            matches!(verb, Verb::Remove | Verb::Set | Verb::Decrement | Verb::Clear | Verb::Unwish);
        if needs_seen && !blind && seen.is_none() {
            // Nothing was shown yet: look first.
            return Some(Asked::Read(key));
        }
        let seen = if needs_seen && !blind { seen } else { None };
        let (object, request) = match verb {
            Verb::Add => (key, Request::Add(Content::added(product, quantity, &[]))),
            Verb::Wish => (key, Request::Add(Content::added(product, 1, &[]))),
            Verb::Remove | Verb::Unwish => (key, Request::Remove(product)),
            Verb::Set => {
                let quantity = quantity - 1;
                (key, Request::Set { product, quantity, attributes: Box::default() })
            }
            Verb::Decrement => (key, Request::Decrement(product, quantity)),
            Verb::Clear => (key, Request::Clear),
            Verb::Merge => {
                let user = objects[(object + 1) % objects.len()].clone();
                (user.clone(), Request::Merge { guest: key, user })
            }
            Verb::Count => {
                let amount = i64::from(quantity) * if blind { -1 } else { 1 };
                (key, Request::Count(amount))
            }
            Verb::Read => return Some(Asked::Read(key)),
            Verb::Move => {
                self.move_session(session, object);
                return None;
            }
            Verb::Strange => {
                self.strange_call(session, act.key, key);
                return None;
            }
            Verb::Reuse | Verb::Malformed if matches!(place.home, Home::Service { .. }) => {
                return None;
            }
            Verb::Malformed => {
                let (key, request) = self.out_of_bounds(kind_of_nonsense(act.key), key, product)?;
                let op = self.next_op(session)?;
                self.history.malformed.insert(op);
                return Some(self.intend(session, act.key, op, key, request, None, true));
            }
            Verb::Reuse => {
                let old = *place.own.front()?;
                let request = Request::Add(Content::added(product, quantity, &[]));
                let op = self.history.intents[old].op;
                let is_it = |it: &Intent| it.op == op && it.object == key && it.request == request;
                if self.history.intents.iter().any(is_it) {
                    // That would be a retry: one of an honest client, or of this one's own. What
                    // was refused the first time may be taken in the second.
                    return None;
                }
                return Some(self.intend(session, act.key, op, key, request, None, true));
            }
        };
        if matches!(verb, Verb::Remove) && blind {
            self.coverage.hit(Mark::BlindRemove);
        }
        let op = self.next_op(session)?;
        Some(self.intend(session, act.key, op, object, request, seen, false))
    }

    /// The next op id of a session; of fresh ones, when those it has would soon be too old.
    fn next_op(&mut self, session: usize) -> Option<orset::OpId> {
        let options = &self.scenario.options;
        let place = &mut self.shop.sessions[session];
        let now_s = (EPOCH_MS + self.now_us / 1_000) / 1_000;
        if options.forgets() && place.ids.born_ms() / 1_000 < now_s {
            let turn = now_s - EPOCH_MS / 1_000;
            place.ids = self.names.later_session(options.seed, session, turn, now_s);
        }
        place.ids.next_id()
    }

    /// A request that no replica may take.
    fn out_of_bounds(
        &self,
        nonsense: u64,
        cart: ObjectKey,
        product: Product,
    ) -> Option<(ObjectKey, Request)> {
        let [_, sets, counters] = &self.shop.objects;
        let (set, counter) = (sets.first()?.clone(), counters.first()?.clone());
        let add = |quantity, attributes: &[u8]| {
            Request::Add(Content::added(product.clone(), quantity, attributes))
        };
        Some(match nonsense {
            0 => (cart, add(0, &[])),
            1 => (cart, add(QUANTITY_MAX + 1, &[])),
            2 => (cart, add(1, &vec![0; ATTRIBUTES_MAX + 1])),
            3 => (cart, Request::Decrement(product, 0)),
            4 => (set, add(2, &[])),
            5 => (counter, Request::Count(0)),
            6 => (counter, Request::Count(AMOUNT_MAX + 1)),
            _ => (counter, add(1, &[])),
        })
    }

    /// By another door; of a service, into the next process, with nothing but its token.
    fn move_session(&mut self, session: usize, object: usize) {
        let place = &mut self.shop.sessions[session];
        match &mut place.home {
            Home::Single(door) => *door = self.shop.doors[object % self.shop.doors.len()],
            // What is under way would be lost to it.
            Home::Service { open, .. } if *open > 0 => return,
            Home::Service { .. } => self.resume_elsewhere(session),
        }
        self.coverage.hit(Mark::SessionMoved);
    }

    #[expect(clippy::too_many_arguments, reason = "an intent has this many parts")]
    fn intend(
        &mut self,
        session: usize,
        key: u64,
        op: orset::OpId,
        object: ObjectKey,
        request: Request,
        seen: Option<Seen>,
        broken: bool,
    ) -> Asked {
        let ended = orset::OpIdSet::new();
        let outcome = Outcome::Unknown;
        let options = &self.scenario.options;
        let mut dice = Dice::keyed(options.seed, Purpose::Durable, key, 0);
        let most = (options.replicas - 1).min(2) as u64;
        let peers = match dice.chance(options.peers) && most > 0 {
            true => dice.between((1, most)) as u32,
            false => 0,
        };
        let intent = Intent { op, object, request, peers, seen, session, key, outcome, ended };
        let at = self.history.intend(intent);
        if !broken {
            let own = &mut self.shop.sessions[session].own;
            own.push_back(at);
            if own.len() > KEPT {
                own.pop_front();
            }
        }
        Asked::Write(at)
    }
}
