//! A small world: three replicas that write, deliver, retry and merge, beside the specification.
//!
//! After every step the replica it touched must equal `spec`, row by row; every decision an
//! origin makes must equal the specification's. Two bystanders join bare deltas in no order at
//! all, which is harsher than any network of ours, and must equal what the specification says of
//! the deltas they have. At the end everything is delivered everywhere, some of it as deltas and
//! some as whole states, and all must have equal bytes.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub mod bent;
pub mod census;
pub mod compare;
pub mod kit;
pub mod state;
pub mod steps;

use crate::common::{Dice, dot, product, session_op, v7_op};
use crate::spec::{self, Commits, Did, Event, History, decide};
use census::Census;
use kit::{CartLike, Kit};
use orset::cart::{CartEffect, Content, EntryKind, Seen};
use orset::{HybridClock, HybridTime, Lattice, OpId, VersionVector};
pub use state::{Change, Commit, State};
use steps::{Act, GUEST, Name, PRODUCTS, Shown, Step, USER, VIEWS, WISHES};

/// One replica, and which commits it knows.
#[derive(Clone, Debug)]
pub struct Replica<K: Kit> {
    pub state: State<K>,
    pub known: Commits,
    pub vector: VersionVector,
    clock: HybridClock,
}

/// What a client was shown, in the crate's words and in the specification's.
#[derive(Clone, Debug)]
struct Context {
    object: usize,
    seen: Seen,
    spec: spec::Seen,
}

pub type Check = Result<(), String>;

/// See the file's head.
pub struct World<K: Kit> {
    pub replicas: Vec<Replica<K>>,
    pub bystanders: Vec<(State<K>, Commits)>,
    pub history: History,
    pub commits: Vec<Commit>,
    pub deltas: Vec<State<K>>,
    /// Before, delta, after: of every commit at its origin.
    pub mutations: Vec<(State<K>, State<K>, State<K>)>,
    pub kept: Vec<(State<K>, Commits)>,
    pub census: Census,
    /// Off, nothing is compared: for those who want the states only.
    pub compared: bool,
    requests: Vec<(OpId, Act, Option<Context>)>,
    reads: Vec<Context>,
    sessions: [u32; 3],
    v7s: u64,
    now: u64,
}

impl<K: Kit> World<K> {
    pub fn new() -> Self {
        let replica = Replica {
            state: State::default(),
            known: Commits::new(),
            vector: VersionVector::new(),
            clock: HybridClock::default(),
        };
        Self {
            replicas: vec![replica; 3],
            bystanders: vec![(State::default(), Commits::new()); 2],
            history: History::default(),
            commits: Vec::new(),
            deltas: Vec::new(),
            mutations: Vec::new(),
            kept: vec![(State::default(), Commits::new())],
            census: Census::default(),
            compared: true,
            requests: Vec::new(),
            reads: Vec::new(),
            sessions: [0; 3],
            v7s: 0,
            now: 1_700_000_000_000,
        }
    }

    /// Runs all steps, then delivers everything and compares for the last time.
    pub fn run(&mut self, steps: &[Step]) -> Check {
        for step in steps {
            self.step(step)?;
        }
        self.settle(steps.len() as u64)
    }

    fn step(&mut self, step: &Step) -> Check {
        self.now += 3;
        match step {
            Step::Do { at, act, shown, name } => self.request(*at, act, *shown, *name),
            Step::Retry { at, back } => {
                let last = self.requests.len().wrapping_sub(1 + usize::from(*back));
                self.retry(*at, last, |act| act)
            }
            Step::Conflict { at, back } => {
                let last = self.requests.len().wrapping_sub(1 + usize::from(*back));
                self.retry(*at, last, Act::with_one_more)
            }
            Step::LateRetry { at, pick } => {
                self.retry(*at, usize::from(*pick) % self.requests.len().max(1), |act| act)
            }
            Step::Read { at, object } => {
                let read = self.read(*at, *object)?;
                self.reads.push(read);
                Ok(())
            }
            Step::Deliver { to, pick } => {
                let known = &self.replicas[*to].known;
                let ready = (0..self.commits.len())
                    .filter(|c| !known.contains(c) && self.commits[*c].past.is_subset(known));
                let ready: Vec<usize> = ready.collect();
                let Some(commit) = pick_from(&ready, *pick) else { return Ok(()) };
                self.deliver(*to, commit)
            }
            Step::Double { to, pick } => {
                let known: Vec<usize> = self.replicas[*to].known.iter().copied().collect();
                let Some(commit) = pick_from(&known, *pick) else { return Ok(()) };
                self.census.note("commit applied twice");
                self.deliver(*to, commit)
            }
            Step::Keep { of } => {
                let replica = &self.replicas[*of];
                self.kept.push((replica.state.clone(), replica.known.clone()));
                Ok(())
            }
            Step::JoinKept { to, pick } => {
                let Some((state, known)) = pick_from(&self.kept, *pick) else { return Ok(()) };
                census::join(self, *to, &known);
                self.join(*to, &state, &known)
            }
            Step::Join { to, from } => {
                let Replica { state, known, .. } = self.replicas[*from].clone();
                self.join(*to, &state, &known)
            }
            Step::Overhear { who, pick } => {
                let all: Vec<usize> = (0..self.commits.len()).collect();
                let Some(commit) = pick_from(&all, *pick) else { return Ok(()) };
                self.overhear(*who, commit)
            }
        }
    }

    fn request(&mut self, at: usize, act: &Act, shown: Shown, name: Name) -> Check {
        let op = match name {
            Name::Session(session) => {
                let next = &mut self.sessions[usize::from(session)];
                *next += 1;
                session_op(session.into(), *next)
            }
            Name::Used(pick) if !self.requests.is_empty() => {
                census::reuse(self, pick);
                self.requests[usize::from(pick) % self.requests.len()].0
            }
            Name::V7 | Name::Used(_) => {
                self.v7s += 1;
                v7_op(self.v7s)
            }
        };
        let context = match (act, shown) {
            (Act::Add { .. } | Act::Merge | Act::Count(_), _) | (_, Shown::Unsaid) => None,
            (_, Shown::Now) => Some(self.read(at, object_of(act))?),
            (_, Shown::Earlier(pick)) => {
                let reads = self.reads.iter().filter(|read| read.object == object_of(act));
                pick_from(&reads.cloned().collect::<Vec<_>>(), pick)
            }
        };
        if let Some(context) = &context {
            census::context(self, at, &context.spec, context.object);
        }
        self.requests.push((op, act.clone(), context.clone()));
        self.commit(at, op, act, context.as_ref())
    }

    fn retry(&mut self, at: usize, index: usize, twist: impl Fn(Act) -> Act) -> Check {
        let Some((op, act, context)) = self.requests.get(index).cloned() else { return Ok(()) };
        census::retry(self, at, op);
        self.commit(at, op, &twist(act), context.as_ref())
    }

    fn read(&mut self, at: usize, object: usize) -> Result<Context, String> {
        let state = &self.replicas[at].state;
        let seen = if object == WISHES { state.wishes.read() } else { state.carts[object].read() };
        let spec = decide::seen(&self.history.rows(&self.replicas[at].known, object));
        if self.compared && compare::seen(&seen) != spec {
            return Err(format!("a read was shown {seen:?}, by the specification {spec:?}"));
        }
        // Through its bytes, as a client carries it.
        let seen = Seen::from_bytes(&seen.to_bytes()).map_err(|e| e.to_string())?;
        Ok(Context { object, seen, spec })
    }

    /// An origin takes a request in: decides, applies, and has a delta to send.
    fn commit(&mut self, at: usize, op: OpId, act: &Act, context: Option<&Context>) -> Check {
        let Replica { known, clock, .. } = &mut self.replicas[at];
        let past = known.clone();
        // Skewed clocks: replica 2 is a second behind.
        let stamp = clock.tick(self.now - if at == 2 { 1_000 } else { 0 });
        let seq = self.commits.iter().filter(|c| c.dot.origin == dot(at, 1).origin).count() as u64;
        let dot = dot(at, seq + 1);
        let mut ops = Vec::new();
        for (object, did, change) in self.decide(at, act, stamp, context) {
            if let Change::Cart(effect) = &change
                && self.compared
                && compare::did(effect) != did
            {
                return Err(format!("{act:?} decided {effect:?}, by the specification {did:?}"));
            }
            let commit = self.commits.len();
            self.history.events.push(Event { commit, dot, past: past.clone(), object, op, did });
            ops.push((object, op, change));
        }
        let commit = Commit { dot, past, ops };
        let before = self.replicas[at].state.clone();
        let delta = self.replicas[at].state.apply(&commit);
        self.mutations.push((before, delta.clone(), self.replicas[at].state.clone()));
        self.commits.push(commit);
        self.deltas.push(delta);
        self.note_known(at, self.commits.len() - 1);
        self.compare(at)
    }

    fn decide(
        &self,
        at: usize,
        act: &Act,
        stamp: HybridTime,
        context: Option<&Context>,
    ) -> Vec<(usize, Did, Change)> {
        let Replica { state, known, .. } = &self.replicas[at];
        let rows = |object| self.history.rows(known, object);
        let (seen, spec) = (context.map(|c| &c.seen), context.map(|c| &c.spec));
        let name = |index: usize| PRODUCTS[index];
        let named = |index: usize| product(core::str::from_utf8(PRODUCTS[index]).unwrap());
        let (object, did, effect) = match act {
            Act::Add { object, product: p, quantity, engraved } => {
                let attributes: &[u8] = if *engraved { b"engraved" } else { b"" };
                let did = Did::Insert(decide::added(name(*p), *quantity, attributes));
                let content = Content::added(named(*p), *quantity, attributes);
                (*object, did, CartEffect::Add(content))
            }
            Act::Remove { object, product: p } => {
                let did = Did::End(decide::meant(&rows(*object), name(*p), spec));
                let effect = match *object {
                    WISHES => state.wishes.remove(&named(*p), seen),
                    cart => state.carts[cart].remove(&named(*p), seen),
                };
                (*object, did, effect)
            }
            Act::Set { product: p, quantity, .. } => {
                let ended = decide::meant(&rows(USER), name(*p), spec);
                let item = decide::assigned(name(*p), *quantity, stamp.to_bits());
                let content = Content {
                    kind: EntryKind::Assigned(stamp),
                    ..Content::added(named(*p), *quantity, &[])
                };
                let some = *quantity > 0;
                let effect = state.carts[USER].assign(&named(*p), some.then_some(content), seen);
                (USER, Did::Replace(ended, some.then_some(item)), effect)
            }
            Act::Decrement { object, product: p, quantity } => {
                let did = decide::take(&rows(*object), name(*p), *quantity, spec);
                let effect = state.carts[*object].take(&named(*p), *quantity, seen);
                (*object, did, effect)
            }
            Act::Clear { object } => {
                let effect = match *object {
                    WISHES => state.wishes.clear(seen),
                    cart => state.carts[cart].clear(seen),
                };
                (*object, decide::clear(&rows(*object), spec), effect)
            }
            Act::Merge => {
                let (did_end, did_absorb) = decide::merge(&rows(GUEST));
                let (end, absorb) = state.carts[GUEST].merge();
                return vec![
                    (GUEST, did_end, Change::Cart(end)),
                    (USER, did_absorb, Change::Cart(absorb)),
                ];
            }
            Act::Count(amount) => {
                return vec![(VIEWS, Did::Count(*amount), Change::Count(*amount))];
            }
        };
        vec![(object, did, Change::Cart(effect))]
    }

    fn deliver(&mut self, to: usize, commit: usize) -> Check {
        let effects = self.commits[commit].clone();
        self.replicas[to].state.apply(&effects);
        self.note_known(to, commit);
        self.compare(to)
    }

    fn join(&mut self, to: usize, state: &State<K>, known: &Commits) -> Check {
        self.replicas[to].state.join(state);
        known.iter().for_each(|commit| self.note_known(to, *commit));
        self.compare(to)
    }

    fn overhear(&mut self, who: usize, commit: usize) -> Check {
        let (state, had) = &mut self.bystanders[who];
        state.join(&self.deltas[commit]);
        if !self.commits[commit].past.is_subset(had) {
            self.census.note("delta joined before its causes");
        }
        had.insert(commit);
        if self.compared { compare::bystander(state, &self.history, had) } else { Ok(()) }
    }

    fn note_known(&mut self, at: usize, commit: usize) {
        let Replica { known, vector, clock, .. } = &mut self.replicas[at];
        known.insert(commit);
        let Commit { dot, ops, .. } = &self.commits[commit];
        vector.raise(dot.origin, dot.seq);
        for (_, _, change) in ops {
            if let Change::Cart(CartEffect::Assign(_, Some(content))) = change
                && let EntryKind::Assigned(stamp) = content.kind
            {
                clock.observe(stamp);
            }
        }
    }

    fn compare(&mut self, at: usize) -> Check {
        let Replica { state, known, vector, .. } = &self.replicas[at];
        let covered = |c: &usize| vector.contains(self.commits[*c].dot);
        if (0..self.commits.len()).any(|c| covered(&c) != known.contains(&c)) {
            return Err(format!("{vector:?} does not say what replica {at} has applied"));
        }
        if self.compared { compare::replica(state, &self.history, known) } else { Ok(()) }
    }

    /// Everything reaches everybody: replica 0 by deliveries, 1 by joined states, 2 by both.
    fn settle(&mut self, case: u64) -> Check {
        let mut dice = Dice::new(case);
        for commit in 0..self.commits.len() {
            if !self.replicas[0].known.contains(&commit) {
                self.deliver(0, commit)?;
            }
            let Replica { known, .. } = &self.replicas[2];
            let ready = !known.contains(&commit) && self.commits[commit].past.is_subset(known);
            if ready && dice.one_in(2) {
                self.deliver(2, commit)?;
            }
            (0..2).try_for_each(|who| self.overhear(who, commit))?;
        }
        for to in [1, 2] {
            for from in [2, 0] {
                let Replica { state, known, .. } = self.replicas[from].clone();
                self.join(to, &state, &known)?;
            }
        }
        census::at_the_end(self);
        let first = compare::bytes(&self.replicas[0].state);
        let others = self.replicas[1..].iter().map(|replica| &replica.state);
        for state in others.chain(self.bystanders.iter().map(|(state, _)| state)) {
            if self.compared && compare::bytes(state) != first {
                return Err(String::from("all has been delivered and the bytes differ"));
            }
        }
        Ok(())
    }
}

fn object_of(act: &Act) -> usize {
    match act {
        Act::Add { object, .. }
        | Act::Remove { object, .. }
        | Act::Decrement { object, .. }
        | Act::Clear { object } => *object,
        Act::Set { .. } => USER,
        Act::Merge => GUEST,
        Act::Count(_) => VIEWS,
    }
}

fn pick_from<T: Clone>(from: &[T], pick: u16) -> Option<T> {
    from.get(usize::from(pick) % from.len().max(1)).cloned()
}
