//! The shop: sessions, what there is to buy, and what an act of a session means.
//!
//! An act says "remove a line, as seen"; which op id, which product and what was seen is the
//! session's affair at the moment it comes to it. So acts can be left out of a failing run, and
//! the others still mean something.

use crate::chance::{Dice, Purpose};
use crate::coverage::Mark;
use crate::history::{Asked, Intent, Outcome};
use crate::names::EPOCH_MS;
use crate::scenario::{Act, Doing, Options, Verb};
use crate::world::World;
use orset::cart::{Content, Seen};
use orset::{Kind, ObjectKey, OpIdSession, Product, Request, VersionVector};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Own ops that a session can send again when a replica is gone.
const KEPT: usize = 16;

/// What a session is at.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub asked: Asked,
    pub key: u64,
    pub tries: u64,
    pub behind: u64,
    pub ticket: u64,
    pub answered: bool,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub home: usize,
    pub token: Arc<VersionVector>,
    pub ids: OpIdSession,
    pub seen: BTreeMap<ObjectKey, Seen>,
    pub task: Option<Task>,
    pub queue: VecDeque<Act>,
    pub own: VecDeque<usize>,
    pub resend: VecDeque<usize>,
    pub serial: u64,
}

/// All sessions, and what there is to buy.
pub struct Shop {
    pub(super) sessions: Vec<Session>,
    /// Carts, sets, counters.
    pub objects: [Vec<ObjectKey>; 3],
    products: Vec<Product>,
}

impl Shop {
    /// Opens.
    pub fn new(options: &Options, names: &mut crate::names::Names) -> Self {
        let mut dice = Dice::new(options.seed, Purpose::Shopper);
        let sessions = (0..options.sessions).map(|at| {
            let skew_s = if options.skew_ms > 0 { dice.below(3) } else { 0 };
            let ids = names.session(options.seed, at, EPOCH_MS / 1_000 + skew_s);
            Session {
                home: dice.index(options.replicas),
                token: Arc::default(),
                ids,
                seen: BTreeMap::new(),
                task: None,
                queue: VecDeque::new(),
                own: VecDeque::new(),
                resend: VecDeque::new(),
                serial: 0,
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
        Self { sessions, objects, products }
    }

    /// Whether every session has done what it was doing.
    pub fn is_idle(&self) -> bool {
        self.sessions.iter().all(|s| s.task.is_none() && s.queue.is_empty() && s.resend.is_empty())
    }
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
                place.home = object % self.nodes.len();
                self.coverage.hit(Mark::SessionMoved);
                return None;
            }
            Verb::Reuse => {
                let old = *place.own.front()?;
                let op = self.history.intents[old].op;
                let request = Request::Add(Content::added(product, quantity, &[]));
                return Some(self.intend(session, act.key, op, key, request, None, true));
            }
        };
        if matches!(verb, Verb::Remove) && blind {
            self.coverage.hit(Mark::BlindRemove);
        }
        let op = self.shop.sessions[session].ids.next_id()?;
        Some(self.intend(session, act.key, op, object, request, seen, false))
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
        let intent = Intent { op, object, request, seen, session, key, outcome, ended };
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
