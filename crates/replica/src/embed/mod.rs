//! A replica inside your service.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let replica = pannier_replica::Replica::open("data")?;
//! let cart = replica.cart("shop", "ada")?;
//! cart.add("lamp", 1).wait()?; // or .await
//! println!("{:?}", cart.read().wait()?.lines);
//! replica.close()?;
//! # Ok(()) }
//! ```
//!
//! Everything an answer says is on disk. A `Replica` is cheap to clone and may be used from any
//! thread; ops of one thread that wait for each other run in order. A cluster of one is fine for
//! ever; several replicas in one process join each other by a `Mesh`.

#[cfg(feature = "server")]
mod backup;
mod builder;
mod error;
mod handles;
mod held_by;
mod histogram;
mod listeners;
mod orders;
mod pending;
#[cfg(feature = "server")]
mod serve;
mod session;
mod verify;
mod watch;

pub use builder::{Builder, Settings};
pub use error::{Error, NextMove, OpenError, StateChange};
pub use handles::{Cart, Counter, Set, Stock};
pub use histogram::Snapshot;
pub use listeners::Alarms;
use listeners::{Held, Listeners};
pub use pending::{CartView, FromReply, Pending, SetView};
pub use session::Session;
pub use verify::Verification;
pub use watch::Watch;

use crate::doors::chance;
use crate::doors::clock::Clock;
use crate::driver::{Answer, Asked, Core, Mailbox, NotTaken, Notice, Running};
use crate::protocol::membership::{Place, Record};
use crate::protocol::stock::{Call, StockReply};
use crate::protocol::{Command, Durability, NO_LANE, Read, Stats, Write, Written};
use crate::store::{Store, StoreError};
use orset::cart::Seen;
use orset::stock::Ask;
use orset::{
    BoundsError, Kind, Member, ObjectKey, OpId, OpIdSession, Origin, Request, VersionVector,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
pub(crate) use watch::Flag;
use watch::Watchers;

/// An open replica; clones are the same one. It closes when `close` is called or the last clone
/// is dropped.
#[derive(Clone)]
pub struct Replica {
    inner: Arc<Inner>,
}

struct Inner {
    mailbox: Arc<Mailbox>,
    clock: Clock,
    settings: Settings,
    watchers: Arc<Listeners>,
    ids: Mutex<OpIdSession>,
    /// What a caller without a session has seen, shared by all of them.
    nothing: Arc<VersionVector>,
    member: Member,
    origin: Origin,
    /// The name of its cluster, when it was given one.
    cluster: Option<Box<str>>,
    /// What stands for it in tokens; 0 for none.
    fingerprint: u64,
    /// What holds its data.
    engine: &'static str,
    /// Let go of when the replica closes, so that the directory can be opened again.
    store: Mutex<Option<Arc<dyn Store>>>,
    running: Mutex<Option<Running>>,
    /// Whether its writer is a task.
    #[cfg(feature = "inline")]
    is_inline: bool,
    /// Holds the directory's lock as long as the replica is open.
    directory: Held,
}

/// An op about to be asked.
struct Writing<'a> {
    object: &'a ObjectKey,
    request: Request,
    op: Option<OpId>,
    seen: Option<Seen>,
    session: Option<Session>,
    peers: Option<u32>,
    wait: Option<Duration>,
}

/// A call of a stock about to be asked.
struct Calling<'a> {
    object: &'a ObjectKey,
    ask: Ask,
    op: Option<OpId>,
    session: Option<Session>,
    peers: Option<u32>,
    wait: Option<Duration>,
}

/// Where a replica stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whose place it is.
    pub member: Member,
    /// The identity of this start.
    pub origin: Origin,
    /// What it has applied and synced.
    pub vector: Arc<VersionVector>,
    /// The sum of the hashes of its rows at that vector.
    pub total: u128,
    /// The membership in force: who belongs, and what is over.
    pub membership: Arc<Record>,
    /// The newest format that it reads; the one that it writes stands in the membership.
    pub reads: u32,
    /// Whether it takes part.
    pub place: Place,
    /// Of one that is joining: commits that it lacks until it serves, as far as it knows.
    pub lacks_to_join: u64,
    /// Of each other member, the membership that it was heard under last; `None`: it was not heard.
    pub heard_numbers: BTreeMap<Member, Option<u64>>,
    /// Counts since it was opened.
    pub stats: Stats,
    /// Deltas that wait for their causes.
    pub buffered: usize,
    /// Commands that wait for this replica to catch up with their session.
    pub waiting: usize,
    /// Writes that wait for peers.
    pub waiting_for_peers: usize,
    /// Its disk went back, and it takes in no change before it has caught up with a peer.
    pub catching_up: bool,
    /// Of each other member, how many own commits it has not acknowledged.
    pub unacknowledged: BTreeMap<Member, u64>,
    /// How long appending and syncing a round took.
    pub sync_times: Snapshot,
    /// Alarms since it was opened.
    pub alarms: Alarms,
}

impl Replica {
    /// Opens (or makes) a replica in a directory, as a cluster of one.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::builder().directory(directory).open()
    }

    /// For everything beyond that.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A handle to a cart. The cart need not exist: an empty one shows nothing.
    pub fn cart(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Cart, BoundsError> {
        let object = ObjectKey::new(Kind::Cart, namespace.as_ref(), id.as_ref())?;
        Ok(Cart::new(self.clone(), object))
    }

    /// A handle to a set.
    pub fn set(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Set, BoundsError> {
        let object = ObjectKey::new(Kind::Set, namespace.as_ref(), id.as_ref())?;
        Ok(Set::new(self.clone(), object))
    }

    /// A handle to a counter.
    pub fn counter(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Counter, BoundsError> {
        let object = ObjectKey::new(Kind::Counter, namespace.as_ref(), id.as_ref())?;
        Ok(Counter::new(self.clone(), object))
    }

    /// A handle to a stock.
    pub fn stock(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Stock, BoundsError> {
        let object = ObjectKey::new(Kind::Stock, namespace.as_ref(), id.as_ref())?;
        Ok(Stock::new(self.clone(), object))
    }

    /// Whose place it is.
    pub fn member(&self) -> Member {
        self.inner.member
    }

    /// The identity of this start.
    pub fn origin(&self) -> Origin {
        self.inner.origin
    }

    /// The name of its cluster, if it has one.
    pub fn cluster(&self) -> Option<&str> {
        self.inner.cluster.as_deref()
    }

    /// What holds its data: `fjall`, `sled` or `memory`.
    pub fn engine(&self) -> &'static str {
        self.inner.engine
    }

    /// Whether its disk went back, by its mark or by a peer's word: then it takes in no change
    /// before it has caught up with a peer. Alone it cannot: see `pannier admin accept-restored`.
    pub fn is_catching_up(&self) -> bool {
        *self.inner.watchers.catching_up.borrow()
    }

    /// Where it stands.
    pub fn status(&self) -> Result<Status, Error> {
        self.inspect(self.status_of())
    }

    fn status_of(&self) -> impl FnOnce(&Core) -> Status + Send + 'static + use<> {
        let alarms =
            self.inner.watchers.alarms.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sync_times = self.inner.watchers.sync_us.snapshot();
        move |core| Status {
            member: core.member(),
            origin: core.origin(),
            vector: core.synced().clone(),
            total: core.synced_total(),
            membership: core.membership().clone(),
            reads: core.reads(),
            place: core.place(),
            lacks_to_join: core.lacks_to_join(),
            heard_numbers: core.heard_numbers().collect(),
            stats: *core.stats(),
            buffered: core.buffered(),
            waiting: core.waiting(),
            waiting_for_peers: core.waiting_for_peers(),
            catching_up: core.is_catching_up(),
            unacknowledged: core.unacknowledged().collect(),
            sync_times,
            alarms,
        }
    }

    /// Every row that equal replicas have equal, by key. It costs the whole state and holds the
    /// writer up meanwhile: for checks and small replicas.
    pub fn dump(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
        self.inspect(Core::dump)?.map_err(|error| Error::Failed(error.to_string()))
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> Result<u64, Error> {
        let store = self.inner.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let bytes = store.ok_or(Error::Closed)?.disk_bytes();
        bytes.map_err(|error| Error::Failed(error.to_string()))
    }

    /// Finishes what is under way, writes the last checkpoint, and ends. Ops that come later are
    /// answered `Closed`.
    pub fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }

    fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        let look = Box::new(move |core: &Core| drop(send.send(look(core))));
        if !self.inner.mailbox.notice(Notice::Inspect(look)) {
            return Err(Error::Closed);
        }
        receive.recv().map_err(|_| Error::Closed)
    }

    fn ask<T: FromReply>(&self, command: Command, session: Option<Session>) -> Pending<T> {
        let (answer, receive) = oneshot::channel();
        match self.inner.mailbox.command(Asked { command, answer: Answer::Once(answer) }) {
            Ok(()) => Pending::waiting(receive, session),
            Err(NotTaken::Busy) => Pending::failed(Error::Busy),
            Err(NotTaken::Closed) => Pending::failed(Error::Closed),
        }
    }

    fn seen_by(&self, session: Option<&Session>) -> Result<Arc<VersionVector>, Error> {
        match session {
            None => Ok(self.inner.nothing.clone()),
            Some(session) => session.vector_in(self.inner.fingerprint),
        }
    }

    fn deadline_us(&self) -> u64 {
        let wait = self.inner.settings.catch_up.as_micros() as u64;
        self.inner.clock.now().mono_us.saturating_add(wait)
    }

    /// The op id of a write, and what its session has seen.
    fn begin(
        &self,
        op: Option<OpId>,
        session: Option<&Session>,
    ) -> Result<(OpId, Arc<VersionVector>), Error> {
        let fresh = || match session {
            Some(session) => session.op_id(),
            None => {
                let mut ids = self.inner.ids.lock().unwrap_or_else(PoisonError::into_inner);
                let next = chance::next_op_id(&mut ids).ok().flatten();
                next.ok_or(Error::OpIdsExhausted)
            }
        };
        let op = op.map_or_else(fresh, Ok)?;
        Ok((op, self.seen_by(session)?))
    }

    fn call(&self, calling: Calling<'_>) -> Pending<StockReply> {
        let Calling { object, ask, op, session, peers, wait } = calling;
        let (op, after) = match self.begin(op, session.as_ref()) {
            Ok(begun) => begun,
            Err(error) => return Pending::failed(error),
        };
        let deadline_us = if after.is_empty() { 0 } else { self.deadline_us() };
        let (object, lane) = (object.clone(), NO_LANE);
        let (peers, by_us) = match self.durability(peers, wait, session.as_ref()) {
            Durability::Local => (0, u64::MAX),
            Durability::Peers { count, by_us } => (count, by_us),
        };
        let call = Call { op, object, ask, after, deadline_us, lane, peers, by_us };
        self.ask(Command::Stock(call), session)
    }

    fn write(&self, writing: Writing<'_>) -> Pending<Written> {
        let Writing { object, request, op, seen, session, peers, wait } = writing;
        let (op, after) = match self.begin(op, session.as_ref()) {
            Ok(begun) => begun,
            Err(error) => return Pending::failed(error),
        };
        let deadline_us = if after.is_empty() { 0 } else { self.deadline_us() };
        let (object, lane) = (object.clone(), NO_LANE);
        let durability = self.durability(peers, wait, session.as_ref());
        let write = Write { op, object, request, seen, after, deadline_us, lane, durability };
        self.ask(Command::Write(write), session)
    }

    fn durability(
        &self,
        peers: Option<u32>,
        wait: Option<Duration>,
        session: Option<&Session>,
    ) -> Durability {
        let settings = &self.inner.settings;
        let count = peers.or_else(|| session?.peers()).unwrap_or(settings.peers);
        if count == 0 {
            return Durability::Local;
        }
        let wait_us = wait.unwrap_or(settings.peers_wait).as_micros();
        let wait_us = u64::try_from(wait_us).unwrap_or(u64::MAX);
        let by_us = self.inner.clock.now().mono_us.saturating_add(wait_us);
        Durability::Peers { count, by_us }
    }

    fn read<T: FromReply>(&self, object: &ObjectKey, session: Option<Session>) -> Pending<T> {
        self.part(object, |read| read, session)
    }

    /// A part of an object, or something beside what it shows.
    fn part<T: FromReply>(
        &self,
        object: &ObjectKey,
        of: impl FnOnce(Read) -> Read,
        session: Option<Session>,
    ) -> Pending<T> {
        let after = match self.seen_by(session.as_ref()) {
            Ok(after) => after,
            Err(error) => return Pending::failed(error),
        };
        let deadline_us = if after.is_empty() { 0 } else { self.deadline_us() };
        let read = Read::new(object.clone(), after, deadline_us);
        self.ask(Command::Read(of(read)), session)
    }

    fn watch(
        &self,
        object: ObjectKey,
        of: watch::Of,
        session: Option<&Session>,
    ) -> Result<Watch, Error> {
        Ok(Watch { flag: self.flag(object)?, of, session: session.cloned(), first: true })
    }

    pub(crate) fn flag(&self, object: ObjectKey) -> Result<Flag, Error> {
        let max = self.inner.settings.watchers_max;
        let receiver = self.watchers().add(object.clone(), max)?;
        if !self.inner.mailbox.notice(Notice::Watch(object.clone())) {
            return Err(Error::Closed);
        }
        Ok(Flag { replica: self.clone(), object, receiver })
    }

    fn unwatch(&self, object: &ObjectKey) {
        self.forget_watch(object);
        self.inner.mailbox.notice(Notice::Unwatch(object.clone()));
    }

    fn watchers(&self) -> &Watchers {
        &self.inner.watchers.watchers
    }
}

impl Inner {
    /// Tells the writer to end. `None`: it was told before.
    fn stop(&self) -> Option<Running> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.mailbox.close();
        self.watchers.watchers.end();
        Some(running)
    }

    fn close(&self) -> Result<(), StoreError> {
        match self.stop() {
            None => Ok(()),
            Some(Running::Thread(writer)) => {
                let result = writer.join();
                self.ended(result.unwrap_or_else(|_| Err(panicked())))
            }
            // A task cannot wait for another; this one ends by itself.
            #[cfg(feature = "inline")]
            Some(Running::Task(_)) => self.ended(Ok(())),
        }
    }

    /// Lets go of what the writer has used.
    fn ended(&self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        // The engine first: until it is gone, nobody else may believe the directory free.
        self.store.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.directory.lock().unwrap_or_else(PoisonError::into_inner).take();
        result
    }
}

fn panicked() -> StoreError {
    StoreError::Poisoned("the writer panicked".into())
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "replica did not close cleanly");
        }
    }
}
