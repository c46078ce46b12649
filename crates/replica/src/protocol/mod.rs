//! The replica as a pure state machine: events and a time in, effects out.
//!
//! It has no socket, clock, dice or thread; the store it may only read (`Base`). The driver does
//! its effects in order and tells it what happened. The simulator does the same with a simulated
//! disk and network, so what is proved there is the code that ships.
//!
//! ```text
//! Command, Message ──> applied to rows, into the open round      (nothing shown yet)
//! Commit           ──> round closed: one delta, one dot          Persist(n)
//! Synced(n)        ──> replies, pushes, watches of round n       Reply, Send, Changed
//! Tick             ──> gossip, pulls, deadlines                  Send, Reply
//! ```
//!
//! Four families of methods, and nothing else: getters (`&self`), `handle` (an event), `poll`
//! (an effect), and construction. After `handle`, poll until `None`.
//!
//! Invariants (checked by the simulator after every step):
//! P1  no effect but `Persist`, `Checkpoint` and `Alarm` rests on a round that is not synced.
//! P2  state at a vector is a function of the vector: equal vectors, equal totals.
//! P3  a delta is applied once, after everything it depends on.
//! P4  every buffer and queue has a bound in `ProtocolSettings`.
//! After an `Err` from `handle` the store could not be read and rows may be half applied: the
//! driver drops the protocol, and recovery starts from the synced log.

mod apply;
mod by_name;
mod canary;
mod command;
mod cuts;
pub mod delta;
mod durable;
mod fork;
mod listing;
pub mod membership;
mod memory;
mod message;
mod order;
mod parts;
mod peers;
mod prune;
mod pull;
mod read;
mod receive;
mod recover;
mod restored;
mod round;
pub(crate) mod rows;
mod sessions;
mod settings;
pub mod snapshot;
mod stable;
pub mod stock;
mod sweep;
mod time;
pub mod verify;
mod waiting;
mod walk;
mod writer;

pub use canary::Canary;
pub use command::{
    Alarm, Command, Lane, List, Listed, NO_LANE, Read, Refusal, Reply, Shown, Ticket, Unreplicated,
    Value, Write, Written,
};
pub use cuts::{CutList, Cuts};
pub use durable::Durability;
pub(crate) use membership::book::Page as BookPage;
pub use message::{Message, Range};
pub use parts::{HOLDS_MAX, HeldBy, HoldsPage, ORDERS_MAX, OrdersPage, Page};
pub use recover::Start;
pub use rows::{BUCKETS, Base, object_hash, row_hash};
pub use settings::{LOG_WHOLE, ProtocolSettings, WINDOW_MAX_MS, WINDOWS_MAX};
pub use time::{Now, Number};

use crate::store::{LogRecord, StateBatch, StoreError};
use cuts::Cutting;
use durable::Durable;
use membership::{Membership, Place, Record, Wish};
use order::Ordering;
use orset::stock::Moved;
use orset::{HybridClock, Member, ObjectKey, Origin, VersionVector};
use peers::Peers;
use prune::Pruning;
use pull::Pulls;
use receive::Inbox;
use restored::Restoring;
use round::{Open, Unsynced};
use rows::Rows;
use snapshot::{Giving, Taking};
use stable::Eras;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use stock::{Evening, Keeping, Lending, Passing};
use sweep::Sweep;
use verify::Verifying;
use waiting::Waiting;

/// What happens to a replica.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client asks.
    Command(Ticket, Command),
    /// The driver has nothing more at hand: close the open round.
    Commit,
    /// The round and all before it are on disk.
    Synced(u64),
    /// A member says something.
    Message {
        /// Who.
        from: Member,
        /// What.
        message: Message,
    },
    /// Some time has passed; `chance` is 64 fresh random bits.
    Tick {
        /// For the choice of a gossip partner.
        chance: u64,
    },
    /// The checkpoint handed out is in the store.
    Checkpointed {
        /// It, and so every one before it, survives a power cut.
        durable: bool,
    },
    /// Somebody watches the object: say `Changed` when a synced round has touched it.
    Watch(ObjectKey),
    /// One watcher less.
    Unwatch(ObjectKey),
    /// Logs go on where `Effect::Skip` said, on disk.
    Skipped,
    /// No message comes any more: answer what waits for peers as it stands.
    Closing,
    /// An operator wants to know whether all is as it was written.
    Verify(verify::Verify),
    /// What was to be read by `Survey` has been read; or not, and why.
    Surveyed(u64, Result<Arc<verify::Survey>, String>),
    /// An operator wants a change of members; `Protocol::standing` says how it goes.
    Change(Wish),
}

/// What a replica wants done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Append these to the log as one unit, sync, then say `Synced(round)`.
    Persist {
        /// Number of the round, ascending.
        round: u64,
        /// Own delta and those of others applied in the round.
        records: Vec<LogRecord>,
    },
    /// Answer a command.
    Reply(Ticket, Result<Reply, Refusal>),
    /// Say this to a member; it may be lost, doubled or late.
    Send(Member, Message),
    /// Write these rows to the store as one batch, then say `Checkpointed`.
    Checkpoint(Arc<StateBatch>),
    /// Drop of these origins' logs everything up to that seq. It need not be durable.
    Prune(Vec<(Origin, u64)>),
    /// Make all checkpoints durable, then let these origins' logs go on behind these seqs, then say
    /// `Skipped`.
    Skip(Vec<(Origin, u64)>),
    /// A watched object may show something new.
    Changed(ObjectKey),
    /// Another membership is in force. What is shown from here on is shown under it.
    Membership(Arc<Record>),
    /// Tell the operator.
    Alarm(Alarm),
    /// Read everything that is in the store now (`verify/survey.rs`), at leisure, then say
    /// `Surveyed` with this number.
    Survey(u64),
    /// From here on nothing is taken in that writes, before a peer has been caught up with; or it
    /// has been, and all of it is synced: a mark of the directory can be taken off.
    CatchingUp(bool),
    /// Whether this replica takes part, and whom it deals with and where, is news: serve, or serve
    /// no more; keep links to these, and to nobody else.
    Place(Place, Arc<Record>),
}

/// Counts of what happened since this start; all ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rounds closed.
    pub rounds: u64,
    /// Own ops committed.
    pub ops: u64,
    /// Own ops that were known already.
    pub duplicates: u64,
    /// Deltas of others applied.
    pub deltas_applied: u64,
    /// Bytes of deltas received, wanted or not.
    pub payload_received: u64,
    /// Bytes of deltas received that were missing here.
    pub payload_missing: u64,
    /// Deltas that waited for their causes.
    pub deltas_buffered: u64,
    /// Deltas dropped because the buffer was full.
    pub deltas_dropped: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Checkpoints handed out.
    pub checkpoints: u64,
    /// Times vectors were equal and totals compared.
    pub totals_compared: u64,
    /// Reads and writes that waited for a session's vector.
    pub waited: u64,
    /// Reads that waited for the sync of a round that had touched their object.
    pub reads_after_sync: u64,
    /// Pulls answered with at least one delta.
    pub pulls_served: u64,
    /// Times pushing to a peer paused for want of acknowledgements.
    pub pushes_paused: u64,
    /// Times pushing to a peer went on from the log.
    pub pushes_resumed: u64,
    /// Memberships that came into force.
    pub changes: u64,
    /// Changes of membership that this replica proposed and gave up.
    pub changes_abandoned: u64,
    /// Writes that were synced here and waited for peers.
    pub waited_for_peers: u64,
    /// Writes answered at their deadline, on fewer peers than asked.
    pub unreplicated: u64,
    /// Op ids forgotten.
    pub op_ids_forgotten: u64,
    /// Changes of counters forgotten with them.
    pub counts_forgotten: u64,
    /// Deltas dropped from the log.
    pub deltas_pruned: u64,
    /// Times a peer said that it no longer has what it was asked for.
    pub pruned_told: u64,
    /// Snapshots begun for others.
    pub snapshots_given: u64,
    /// Times a snapshot was needed here.
    pub snapshots_asked: u64,
    /// Snapshots joined here.
    pub snapshots_taken: u64,
    /// Snapshots that were dropped here before they were whole.
    pub snapshots_given_up: u64,
    /// Ticks at which the next piece of a snapshot waited for its share of the time.
    pub snapshot_rests: u64,
    /// Rows of snapshots that came in.
    pub snapshot_rows: u64,
    /// Their bytes.
    pub snapshot_bytes: u64,
    /// Times everything that is stored was read to verify it.
    pub surveys: u64,
    /// Buckets found to differ from a peer's.
    pub buckets_differing: u64,
    /// Buckets mended from a peer.
    pub buckets_mended: u64,
    /// Orders opened here.
    pub orders_opened: u64,
    /// Orders confirmed here.
    pub orders_confirmed: u64,
    /// Stocks in which an order in conflict was returned here.
    pub orders_returned: u64,
    /// Orders folded here.
    pub orders_folded: u64,
    /// Units that were moved here.
    pub units: Moved,
    /// Purchases that waited for rights.
    pub waited_for_rights: u64,
    /// Times rights were asked for before anybody waited for them.
    pub asked_ahead: u64,
    /// Purchases answered "sold out".
    pub sold_out: u64,
    /// Purchases answered "unavailable" for want of rights.
    pub unavailable: u64,
    /// Times units were lent to another member.
    pub grants: u64,
    /// Holds that lapsed here.
    pub lapsed: u64,
    /// Tentative holds made here.
    pub holds_tentative: u64,
    /// Those of others that this member has allowed.
    pub holds_allowed: u64,
    /// Calls decided when a keeper had said its word.
    pub sold_by_word: u64,
    /// Calls whose keeper was not heard.
    pub keepers_away: u64,
    /// Tentative holds let go, whose sale the customer's keeper did not allow.
    pub holds_not_allowed: u64,
}

/// Checkpoints' worth of changed rows at which the writer waits for the store. At full load a
/// checkpoint is half a second behind now and then; fewer would pass that on to clients, more cost
/// memory (a row is some 150 bytes).
const BACKLOG: usize = 12;

/// Checkpoints' worth of changed rows from which on rounds are kept small. All that has changed is
/// frozen at once, so the more there is, the slower the next checkpoint: many short waits in place
/// of one long one.
const PACED_FROM: usize = 3;

/// Ops in the largest of those rounds; a full load closes rounds of some 450.
const PACED_OPS: usize = 512;

/// One replica. See the file's head.
pub struct Protocol<B> {
    member: Member,
    origin: Origin,
    previous: Option<Origin>,
    settings: ProtocolSettings,
    canary: Canary,
    rows: Rows<B>,
    hybrid: HybridClock,
    /// Everything applied, synced or not.
    applied: VersionVector,
    /// Everything applied by rounds that are synced, and the sum of the rows then.
    synced: Arc<VersionVector>,
    synced_total: u128,
    /// The vector at the previous own commit: what dependencies are a difference to.
    depended: VersionVector,
    open: Open,
    unsynced: VecDeque<Unsynced>,
    last_round: u64,
    /// The round after which the frozen rows may be handed out, until they are.
    freeze_after: Option<(u64, Arc<StateBatch>)>,
    inbox: Inbox,
    peers: Peers,
    pulls: Pulls,
    membership: Membership,
    waiting: Waiting,
    durable: Durable,
    watched: BTreeMap<ObjectKey, (u64, u32)>,
    /// Up to where members take in no op id that they do not know.
    cuts: Cutting,
    eras: Eras,
    sweep: Sweep,
    pruning: Pruning,
    giving: Giving,
    taking: Option<Taking>,
    verifying: Verifying,
    restoring: Restoring,
    lending: Lending,
    evening: Evening,
    passing: Passing,
    keeping: Keeping,
    ordering: Ordering,
    /// When to look after stocks next.
    tend_us: u64,
    skew_alarmed: bool,
    effects: VecDeque<Effect>,
    stats: Stats,
}

impl<B: Base> Protocol<B> {
    /// The next effect, until `None`.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// One event. On `Err` the store cannot be read: drop the protocol.
    pub fn handle(&mut self, event: Event, now: Now) -> Result<(), StoreError> {
        self.refuse_by_clock(now);
        self.begin_patience(now);
        match event {
            Event::Command(ticket, command) => self.command(ticket, command, now),
            Event::Commit => self.commit(now),
            Event::Synced(round) => self.round_synced(round, now),
            Event::Message { from, message } => self.message(from, message, now),
            Event::Tick { chance } => self.tick(chance, now),
            Event::Checkpointed { durable } => {
                self.rows.thaw();
                self.pruning.is_written(durable);
                self.checkpoint_in_store();
                self.install_on(now)
            }
            Event::Skipped => self.skipped(now),
            Event::Verify(asked) => self.verify(asked, now),
            Event::Surveyed(number, survey) => self.surveyed(number, survey, now),
            Event::Closing => {
                self.close();
                Ok(())
            }
            Event::Change(wish) => {
                self.wish(wish, now);
                Ok(())
            }
            Event::Watch(object) => {
                let hash = object_hash(&object);
                self.watched.entry(object).or_insert((hash, 0)).1 += 1;
                Ok(())
            }
            Event::Unwatch(object) => {
                if let Some((_, watchers)) = self.watched.get_mut(&object) {
                    *watchers -= 1;
                    if *watchers == 0 {
                        self.watched.remove(&object);
                    }
                }
                Ok(())
            }
        }
    }

    /// Whose place this is.
    pub const fn member(&self) -> Member {
        self.member
    }

    /// The identity of this start.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// What is applied and synced.
    pub const fn synced(&self) -> &Arc<VersionVector> {
        &self.synced
    }

    /// What is applied, synced or not.
    pub const fn applied(&self) -> &VersionVector {
        &self.applied
    }

    /// The sum of the rows at `synced`.
    pub const fn synced_total(&self) -> u128 {
        self.synced_total
    }

    /// The sum of the rows at `applied`.
    pub fn total(&self) -> u128 {
        self.rows.total()
    }

    /// The sums of the buckets at `applied`.
    pub fn buckets(&self) -> &[u128] {
        self.rows.buckets()
    }

    /// Every hashed row at `applied`, for checks; costs the whole state.
    pub fn dump(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
        self.rows.hashed()
    }

    /// Counts since this start.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Rounds handed out and not yet synced.
    pub fn rounds_in_flight(&self) -> usize {
        self.unsynced.len()
    }

    /// Whether the open round holds anything.
    pub fn has_open_round(&self) -> bool {
        !self.open.is_empty() || self.membership.is_dirty()
    }

    /// Whether the open round is full: commit before the next command.
    pub fn is_round_full(&self) -> bool {
        self.open.ops >= self.round_ops() as u64
            || self.open.own.bytes.len() + self.open.foreign_bytes >= self.settings.round_bytes
    }

    /// Ops that the open round may hold: fewer, the further checkpoints are behind.
    fn round_ops(&self) -> usize {
        let (rows, most) = (self.settings.checkpoint_rows, self.settings.round_ops);
        let behind = self.rows.live_rows().saturating_sub(PACED_FROM * rows);
        if !self.rows.is_frozen() || behind == 0 {
            return most;
        }
        let span = (BACKLOG - PACED_FROM) * rows;
        (PACED_OPS * span.saturating_sub(behind) / span).clamp(1, most)
    }

    /// Whether rows changed faster than checkpoints were written: wait for `Checkpointed`.
    pub fn must_wait_for_checkpoint(&self) -> bool {
        self.rows.is_frozen() && self.rows.live_rows() >= BACKLOG * self.settings.checkpoint_rows
    }

    /// Deltas that wait for their causes.
    pub fn buffered(&self) -> usize {
        self.inbox.len()
    }

    /// Commands that wait for their session's vector.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn effect(&mut self, effect: Effect) {
        let effect = match effect {
            Effect::Reply(ticket, result) if ticket & stock::INTERNAL > 0 => {
                let Some((asker, id)) = self.passing.asker(ticket) else { return };
                Effect::Send(asker, Message::Stock(stock::did(id, result)))
            }
            effect => effect,
        };
        if matches!(effect, Effect::Send(..)) {
            self.stats.messages_sent += 1;
        }
        self.effects.push_back(effect);
    }
}
