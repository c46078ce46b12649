//! A replicated value in the world: the smallest replica that sends what must be sent.
//!
//! It does what any honest replica would do around a CRDT, so that what is found is the type's own
//! doing: an op is told to others when it is synced, not before; gossip tells the rest, now and
//! then; after a crash the disk's last state is where it goes on. Beside each state it carries the
//! set of ops that it is made of, which the type under test never sees.
//!
//! | promise | meaning |
//! | --- | --- |
//! | equal knowledge, equal value | two states made of the same ops show the same, whenever, wherever |
//! | specification | what is shown is what the naive function of the known ops says |
//! | invariant | the type's own |
//! | laws of join (L1-L4, `laws.rs`) | on states that were really met |
//! | all settles | once faults have ended, everybody knows everything that anybody knows |

use super::laws::Laws;
use super::machine::{At, Effects, Event, Exchange, Machine};
use super::nodes::Nodes;
use super::replicated::{Done, Known, Order, Past, Replicated, Travels};
use super::verdict::{Violation, ensure};
use crate::chance::Dice;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Between two rounds of gossip.
const GOSSIP_US: u64 = 50_000;

/// A replicated value as a [`Machine`]: `judge(&Lattice(MyType), &plan)`.
#[derive(Debug)]
pub struct Lattice<T>(
    /// The type under test.
    pub T,
);

/// An op on its way.
pub struct Parcel<T: Replicated> {
    done: Done<T::Op>,
    message: T::Message,
    /// What must be known where it is delivered.
    after: Known,
}

impl<T: Replicated> fmt::Debug for Parcel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.done.op)
    }
}

/// What replicas of a [`Lattice`] say.
pub enum Word<T: Replicated> {
    /// Everything a state holds, and what it is made of.
    Whole(T::Message, Known),
    /// One op.
    Op(Arc<Parcel<T>>),
    /// "This is what I know": whoever knows more sends it.
    Digest(Known),
}

impl<T: Replicated> Clone for Word<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Whole(message, known) => Self::Whole(message.clone(), known.clone()),
            Self::Op(parcel) => Self::Op(parcel.clone()),
            Self::Digest(known) => Self::Digest(known.clone()),
        }
    }
}

impl<T: Replicated> fmt::Debug for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(message, _) => write!(f, "{message:?}"),
            Self::Op(parcel) => write!(f, "{parcel:?}"),
            Self::Digest(known) => write!(f, "knows {} ops", known.len()),
        }
    }
}

/// A state as it is synced, and what it is made of.
pub struct Saved<T: Replicated> {
    state: T::State,
    known: Known,
    /// The op that made it of the state before; none if it came as a state.
    parcel: Option<Arc<Parcel<T>>>,
}

/// One replica of a [`Lattice`].
pub struct Copy<T: Replicated> {
    at: At,
    replicas: usize,
    now: Arc<Saved<T>>,
    synced: Arc<Saved<T>>,
    unsynced: VecDeque<Arc<Saved<T>>>,
    records_synced: usize,
    /// Ops known here, for those who ask; of types without `whole`.
    log: BTreeMap<u64, Arc<Parcel<T>>>,
    /// Ops that wait for their causes.
    early: BTreeMap<u64, Arc<Parcel<T>>>,
    rounds: usize,
}

/// What is remembered over a run.
pub struct Evidence<T: Replicated> {
    done: BTreeMap<u64, Done<T::Op>>,
    values: BTreeMap<Known, (usize, T::Value)>,
    laws: Laws<T::State>,
}

impl<T: Replicated> Default for Evidence<T> {
    fn default() -> Self {
        Self { done: BTreeMap::new(), values: BTreeMap::new(), laws: Laws::default() }
    }
}

type Out<T> = Effects<Word<T>, Arc<Saved<T>>, ()>;

impl<T: Replicated> Lattice<T> {
    fn save(&self, copy: &mut Copy<T>, saved: Saved<T>, out: &mut Out<T>) {
        let saved = Arc::new(saved);
        copy.now = saved.clone();
        copy.unsynced.push_back(saved.clone());
        out.note(|| format!("-> {:?}", self.0.value(&saved.state)));
        out.persist(saved);
    }

    fn act(&self, copy: &mut Copy<T>, id: u64, op: T::Op, out: &mut Out<T>) {
        let (mut state, mut known) = (copy.now.state.clone(), copy.now.known.clone());
        let message = self.0.act(&mut state, copy.at, &op);
        let saw = known.clone();
        known.insert(id);
        let mut after = Known::default();
        match self.0.travels() {
            Travels::States | Travels::Deltas(Order::Any) | Travels::Ops(Order::Any) => {}
            Travels::Deltas(Order::Causal) | Travels::Ops(Order::Causal) => after.join(&saw),
            Travels::Deltas(Order::Fifo) | Travels::Ops(Order::Fifo) => {
                let is_own = |parcel: &&Arc<Parcel<T>>| parcel.done.at.replica == copy.at.replica;
                copy.log.values().filter(is_own).for_each(|own| after.insert(own.done.id));
            }
        }
        let done = Done { id, at: copy.at, op, saw };
        let parcel = Arc::new(Parcel { done, message, after });
        copy.log.insert(id, parcel.clone());
        self.save(copy, Saved { state, known, parcel: Some(parcel) }, out);
    }

    fn hear(&self, copy: &mut Copy<T>, from: usize, word: Word<T>, out: &mut Out<T>) {
        match word {
            Word::Whole(message, news) => {
                let (mut state, mut known) = (copy.now.state.clone(), copy.now.known.clone());
                self.0.receive(&mut state, &message);
                known.join(&news);
                if state != copy.now.state || known != copy.now.known {
                    self.save(copy, Saved { state, known, parcel: None }, out);
                }
            }
            Word::Op(parcel) => {
                copy.early.insert(parcel.done.id, parcel);
                while let Some(parcel) = self.next_ready(copy) {
                    self.apply(copy, parcel, out);
                }
            }
            Word::Digest(theirs) => {
                let synced = &copy.synced.known;
                let lacks = |id: &u64| synced.contains(*id) && !theirs.contains(*id);
                for parcel in copy.log.iter().filter(|(id, _)| lacks(id)).map(|(_, it)| it) {
                    out.send(from, Word::Op(parcel.clone()));
                }
            }
        }
    }

    /// An op that waits and need wait no longer; one that is here and must not come twice goes.
    fn next_ready(&self, copy: &mut Copy<T>) -> Option<Arc<Parcel<T>>> {
        let known = &copy.now.known;
        if matches!(self.0.travels(), Travels::Ops(Order::Causal)) {
            copy.early.retain(|id, _| !known.contains(*id));
        }
        let mut waiting = copy.early.iter();
        let (id, _) = waiting.find(|(_, parcel)| known.covers(&parcel.after))?;
        let id = *id;
        copy.early.remove(&id)
    }

    fn apply(&self, copy: &mut Copy<T>, parcel: Arc<Parcel<T>>, out: &mut Out<T>) {
        let (mut state, mut known) = (copy.now.state.clone(), copy.now.known.clone());
        self.0.receive(&mut state, &parcel.message);
        known.insert(parcel.done.id);
        copy.log.insert(parcel.done.id, parcel.clone());
        if state != copy.now.state || known != copy.now.known {
            self.save(copy, Saved { state, known, parcel: Some(parcel) }, out);
        }
    }

    fn gossip(&self, copy: &mut Copy<T>, out: &mut Out<T>) {
        out.timer(GOSSIP_US, 0);
        copy.rounds += 1;
        let step = 1 + copy.rounds % (copy.replicas - 1);
        let peer = (copy.at.replica + step) % copy.replicas;
        let saved = &copy.synced;
        out.send(peer, self.whole(saved).unwrap_or_else(|| Word::Digest(saved.known.clone())));
    }

    fn whole(&self, saved: &Saved<T>) -> Option<Word<T>> {
        if matches!(self.0.travels(), Travels::Ops(_)) {
            return None;
        }
        let message = self.0.whole(&saved.state)?;
        Some(Word::Whole(message, saved.known.clone()))
    }

    fn synced(&self, copy: &mut Copy<T>, records: usize, out: &mut Out<T>) {
        while copy.records_synced < records {
            copy.records_synced += 1;
            let Some(saved) = copy.unsynced.pop_front() else { continue };
            let own = saved.parcel.as_ref().filter(|parcel| parcel.done.at == copy.at);
            if let Some(parcel) = own {
                let whole = self.whole(&saved).filter(|_| self.0.travels() == Travels::States);
                let word = whole.unwrap_or_else(|| Word::Op(parcel.clone()));
                for peer in (0..copy.replicas).filter(|peer| *peer != copy.at.replica) {
                    out.send(peer, word.clone());
                }
            }
            copy.synced = saved;
        }
    }
}

impl<T: Replicated> Machine for Lattice<T> {
    type Node = Copy<T>;
    type Request = T::Op;
    type Reply = ();
    type Message = Word<T>;
    type Record = Arc<Saved<T>>;
    type Evidence = Evidence<T>;

    fn start(
        &self,
        at: At,
        replicas: usize,
        disk: &[Self::Record],
        out: &mut Out<T>,
    ) -> Self::Node {
        let bottom =
            || Arc::new(Saved { state: self.0.bottom(), known: Known::default(), parcel: None });
        let now = disk.last().cloned().unwrap_or_else(bottom);
        let parcels = disk.iter().filter_map(|saved| saved.parcel.clone());
        if at.start > 0 {
            out.note(|| format!("-> {:?}", self.0.value(&now.state)));
        }
        out.timer(1 + GOSSIP_US * (at.replica as u64 + 1) / replicas as u64, 0);
        Copy {
            at,
            replicas,
            synced: now.clone(),
            now,
            unsynced: VecDeque::new(),
            records_synced: disk.len(),
            log: parcels.map(|parcel| (parcel.done.id, parcel)).collect(),
            early: BTreeMap::new(),
            rounds: 0,
        }
    }

    fn handle(
        &self,
        copy: &mut Self::Node,
        event: Event<T::Op, Word<T>>,
        _now_us: u64,
        out: &mut Out<T>,
    ) {
        match event {
            Event::Request(id, op) => self.act(copy, id, op, out),
            Event::Message { from, message } => self.hear(copy, from, message, out),
            Event::Timer(_) => self.gossip(copy, out),
            Event::Synced(records) => self.synced(copy, records, out),
        }
    }

    fn draw(&self, dice: &mut Dice) -> T::Op {
        self.0.draw(dice)
    }

    fn check(
        &self,
        nodes: &Nodes<Copy<T>>,
        touched: usize,
        evidence: &mut Evidence<T>,
    ) -> Result<(), Violation> {
        let Some(copy) = nodes.get(touched) else { return Ok(()) };
        let Saved { state, known, parcel } = &*copy.now;
        if let Some(parcel) = parcel {
            evidence.done.entry(parcel.done.id).or_insert_with(|| parcel.done.clone());
        }
        if let Err(what) = self.0.invariant(state) {
            return Err(Violation::new("invariant", format!("r{touched}: {what}")));
        }
        let value = self.0.value(state);
        let past = Past { done: &evidence.done, known };
        if let Some(right) = self.0.specification(&past) {
            ensure(value == right, "specification", || {
                format!("r{touched} shows {value:?}, and of what it knows {right:?} is right")
            })?;
        }
        if let Some((other, shown)) = evidence.values.get(known) {
            return ensure(*shown == value, "equal knowledge, equal value", || {
                format!("r{touched} shows {value:?}, r{other} {shown:?}, made of the same ops")
            });
        }
        evidence.values.insert(known.clone(), (touched, value));
        evidence.laws.meet(state.clone());
        Ok(())
    }

    fn check_history(
        &self,
        _history: &[Exchange<T::Op, ()>],
        _nodes: &Nodes<Copy<T>>,
        evidence: &Evidence<T>,
    ) -> Result<(), Violation> {
        if matches!(self.0.travels(), Travels::Ops(_)) {
            Ok(())
        } else {
            evidence.laws.check(&self.0)
        }
    }

    fn settled(&self, nodes: &Nodes<Copy<T>>) -> Result<(), String> {
        let mut before: Option<(usize, &Copy<T>)> = None;
        for (at, copy) in nodes.up() {
            if !copy.unsynced.is_empty() {
                return Err(format!("r{at} has not synced"));
            }
            if let Some((other, peer)) = before
                && peer.now.known != copy.now.known
            {
                let (ours, theirs) = (&copy.now.known, &peer.now.known);
                return Err(format!(
                    "r{at} is made of {} ops, r{other} of {}",
                    ours.len(),
                    theirs.len()
                ));
            }
            before = Some((at, copy));
        }
        Ok(())
    }

    fn describe(&self, _message: &Word<T>) -> Option<String> {
        None
    }
}
