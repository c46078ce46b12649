//! Links: messages between processes, over gRPC.
//!
//! A link is one call of `Replication.Link`, a stream each way. Each member dials every other, and
//! what it has to say it says on the links that it dialled: so there is one link for each direction
//! of a pair. One link for both directions would halve the connections (eight of nine members are
//! few either way) and cost a rule for who dials, a tie to break when both do, a queue whose
//! emptier changes, and a pair that cannot speak at all when only one of them can be reached.
//! Here every queue has one emptier, a cut direction leaves the other whole, and each side mends
//! what it dialled. On the answering half only the greeting is sent; messages are taken there too,
//! since the wire format allows for peers that use it.
//!
//! ```text
//! writer ── send ─> outbox ── polled by ─> connection ══> peer's service ─> its mailbox
//!                      ^ opened and shut by
//!          one task a peer: dial, greet, wait, dial again          dial.rs, redial.rs
//! peer's connection ══> service: greeting, then frames ─> mailbox  accept.rs
//! ```
//!
//! L1  what is said to a peer waits in its outbox, bounded (`outbox.rs`); a peer that is slow, or
//!     gone, costs that and a task, and nobody else anything.
//! L2  at most one link of each peer is heard: a newer one ends the older. So links that died
//!     without a word do not pile up, whatever the listener's settings.
//! L3  tasks run from `attach` to `detach`; the replica's end ends them, and every link with them.
//! L5  the members in force say who is dialled and heard, and where (`follow.rs`); the settings say
//!     it until there is a membership on disk.
//! L4  nothing a peer sends can panic, or cost more memory than `codec::FRAME_MAX` and some.
//!
//! Tasks run on the runtime whose handle `Links::new` is given; streams that come in, on that of
//! the listener which has the service mounted. If the runtime goes first, messages are lost, and
//! nothing else happens.

mod accept;
mod codec;
mod convert;
mod dial;
mod follow;
mod hello;
mod outbox;
mod redial;
mod settings;
mod status;

pub use accept::LinkService;
pub use codec::{FRAME_MAX, read};
pub use convert::{
    DELTAS_BYTES_MAX, ENTRIES_MAX, Hello, Malformed, RANGES_MAX, Said, VERSION, from_wire,
    hello_to_wire, to_wire,
};
pub use dial::Dial;
pub use settings::LinkSettings;
pub use status::PeerStatus;

use super::{AttachError, Delivery, Recipient, Transport};
use crate::doors::clock::Clock;
use crate::protocol::Message;
use crate::protocol::membership::{Record, Talk};
use codec::Frame;
use hello::Identity;
use orset::Member;
use outbox::{Bounds, Outbox};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1;
use status::Counters;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

/// The links of one member to all others; clones are the same ones. See the file's head.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
}

/// Why links were not made. Nothing was started; mend the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinksError {
    /// A cluster's name has 1 to 64 bytes.
    #[error("a cluster's name has 1 to 64 bytes")]
    Cluster,
    /// The member is among its own peers.
    #[error("member {0} is among its own peers")]
    Itself(Member),
    /// Not host:port.
    #[error("{address:?}, the address of member {member}, is not host:port")]
    Address {
        /// Whose.
        member: Member,
        /// What was given.
        address: String,
    },
    /// A knob is out of bounds.
    #[error("{0}")]
    Setting(String),
}

struct Shared {
    identity: Identity,
    settings: LinkSettings,
    runtime: Handle,
    dial: Arc<dyn Dial>,
    clock: Clock,
    /// Where the settings say that others are.
    settled: BTreeMap<Member, String>,
    peers: RwLock<BTreeMap<Member, Arc<Peer>>>,
    state: Mutex<State>,
    /// Calls that were not accepted.
    refused: AtomicU64,
}

/// One other member.
struct Peer {
    /// Empty, like `endpoint`: nobody has said where it is, and it is waited for.
    address: String,
    endpoint: Option<Endpoint>,
    outbox: Arc<Outbox>,
    counters: Arc<Counters>,
    /// It has just dialled us: there is no use in waiting.
    called: Notify,
    failure: Mutex<Option<String>>,
}

/// What begins and ends with the attached replica.
#[derive(Default)]
struct State {
    recipient: Option<Recipient>,
    dialling: BTreeMap<Member, AbortHandle>,
    /// The link of each peer that is heard, by number, and how to end it.
    heard: BTreeMap<Member, (u64, oneshot::Sender<Failure>)>,
    links: u64,
    /// The latest membership, when it says that somebody was closed.
    closed: Option<Arc<Record>>,
    /// Refusals that the log was told of, up to a bound.
    told: BTreeSet<String>,
}

impl Links {
    /// Links of `member` to `peers` (all other members: host:port of their inner listeners). Names
    /// are looked up at each attempt. Nothing is dialled before a replica is attached, which is
    /// what `Builder::join` and `open` do.
    pub fn new(
        cluster: impl Into<String>,
        member: Member,
        peers: BTreeMap<Member, String>,
        settings: LinkSettings,
        runtime: Handle,
    ) -> Result<Self, LinksError> {
        Self::over(Arc::new(dial::Tcp), cluster, member, peers, settings, runtime)
    }

    /// The same over connections that `dial` makes.
    pub fn over(
        dial: Arc<dyn Dial>,
        cluster: impl Into<String>,
        member: Member,
        peers: BTreeMap<Member, String>,
        settings: LinkSettings,
        runtime: Handle,
    ) -> Result<Self, LinksError> {
        let cluster = cluster.into();
        if cluster.is_empty() || cluster.len() > 64 {
            return Err(LinksError::Cluster);
        }
        settings.validate().map_err(LinksError::Setting)?;
        if peers.contains_key(&member) {
            return Err(LinksError::Itself(member));
        }
        if let Some((member, address)) = peers.iter().find(|(_, address)| address.is_empty()) {
            return Err(LinksError::Address { member: *member, address: address.clone() });
        }
        let settled = peers.clone();
        let peer =
            |(member, address)| Ok((member, Arc::new(Peer::new(member, address, &settings)?)));
        let peers = peers.into_iter().map(peer).collect::<Result<_, LinksError>>()?;
        let shared = Shared {
            identity: Identity { cluster, member },
            settings,
            runtime,
            dial,
            clock: Clock::start(),
            settled,
            peers: RwLock::new(peers),
            state: Mutex::default(),
            refused: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The service to mount on the inner listener: where the others' links arrive.
    pub fn service(&self) -> LinkService {
        LinkService::new(self.shared.clone())
    }

    /// Whose links these are.
    pub fn member(&self) -> Member {
        self.shared.identity.member
    }

    /// How each peer looks from here, ascending by member.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let heard: BTreeSet<Member> = self.shared.state().heard.keys().copied().collect();
        let peers = self.shared.peers();
        peers.iter().map(|(member, peer)| self.status(*member, peer, &heard)).collect()
    }

    /// Calls that were refused since the links were made: of strangers, and before the replica was
    /// open.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Relaxed)
    }

    fn status(&self, member: Member, peer: &Peer, heard: &BTreeSet<Member>) -> PeerStatus {
        let (connected, queued_items, queued_bytes) = peer.outbox.stand();
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        let counters = &peer.counters;
        PeerStatus {
            member,
            address: peer.address.clone(),
            connected,
            linked: heard.contains(&member),
            heard_ms_ago: counters.heard_ms_ago(&self.shared.clock),
            messages_in: of(&counters.messages_in),
            bytes_in: of(&counters.bytes_in),
            messages_out: of(&counters.messages_out),
            bytes_out: of(&counters.bytes_out),
            dropped_out: of(&counters.dropped_out),
            dropped_in: of(&counters.dropped_in),
            malformed: of(&counters.malformed),
            reconnects: of(&counters.opened).saturating_sub(1),
            queued_items,
            queued_bytes,
            last_failure: if connected { None } else { peer.failure().clone() },
        }
    }
}

impl Peer {
    fn new(member: Member, address: String, settings: &LinkSettings) -> Result<Self, LinksError> {
        let endpoint = dial::endpoint(&address, settings);
        if endpoint.is_none() && !address.is_empty() {
            return Err(LinksError::Address { member, address });
        }
        let bounds = Bounds {
            items: settings.queue_items,
            bytes: settings.queue_bytes,
            batch: settings.batch_bytes,
        };
        let counters = Arc::new(Counters::default());
        Ok(Self {
            address,
            endpoint,
            outbox: Arc::new(Outbox::new(bounds, counters.clone())),
            counters,
            called: Notify::new(),
            failure: Mutex::default(),
        })
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Whoever is a member now.
    fn peers(&self) -> RwLockReadGuard<'_, BTreeMap<Member, Arc<Peer>>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer(&self, member: Member) -> Option<Arc<Peer>> {
        self.peers().get(&member).cloned()
    }

    fn others(&self) -> BTreeSet<Member> {
        self.peers().keys().copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said to one who greets, was closed while it was gone, and cannot know that: who it
    /// is, and the membership.
    fn farewell(&self, hello: &Hello) -> Option<(Member, v1::PeerMessage)> {
        let to = hello.from;
        self.identity.check_call(hello, &[to].into()).ok()?;
        let record = self.state().closed.clone().filter(|it| it.closed.contains_key(&to))?;
        let message = Message::Membership(Talk::Record(record));
        Some((to, to_wire(message)))
    }

    /// Takes in what a peer has said after its greeting. An error ends the link.
    fn take(&self, from: Member, recipient: &Recipient, frame: Frame) -> Result<(), Failure> {
        let Some(peer) = self.peer(from) else { return Ok(()) };
        peer.counters.heard(&self.clock, frame.bytes);
        let said = frame.said.and_then(|said| match said {
            Said::Hello(_) => Err(Malformed::Field("a second greeting")),
            said => Ok(said),
        });
        match said {
            Ok(Said::Message(message)) => match recipient.deliver(from, message) {
                Delivery::Taken => Ok(()),
                Delivery::Full => {
                    peer.counters.dropped_in.fetch_add(1, Relaxed);
                    Ok(())
                }
                Delivery::Gone => Err(closed()),
            },
            Ok(Said::Unknown | Said::Hello(_)) => Ok(()),
            Err(malformed) => Err(self.malformed(from, malformed)),
        }
    }

    /// A link broke, or a frame was so large that it was not read at all.
    fn broken(&self, from: Member, status: Status) -> Status {
        if status.code() != Code::OutOfRange {
            return status;
        }
        let malformed = Malformed::TooLarge { what: "a frame", max: FRAME_MAX };
        self.malformed(from, malformed).to_status()
    }

    fn malformed(&self, from: Member, malformed: Malformed) -> Failure {
        if let Some(peer) = self.peer(from) {
            peer.counters.malformed.fetch_add(1, Relaxed);
        }
        tracing::warn!(peer = %from, %malformed, "a peer's message ends its link");
        malformed.into()
    }
}

fn closed() -> Failure {
    Failure::new(Reason::Closed, "no replica is open here")
}

impl Transport for Links {
    fn attach(
        &self,
        member: Member,
        members: &[Member],
        recipient: Recipient,
    ) -> Result<(), AttachError> {
        let of = self.member();
        if member != of {
            return Err(AttachError::NotIts { of, member });
        }
        let mut others = members.iter().filter(|other| **other != member);
        if let Some(other) = others.find(|other| !self.shared.settled.contains_key(other)) {
            return Err(AttachError::NoAddress(*other));
        }
        let mut state = self.shared.state();
        if state.recipient.is_some() {
            return Err(AttachError::InUse);
        }
        for (member, peer) in self.shared.peers().iter() {
            self.shared.begin(&mut state, *member, peer, &recipient);
        }
        state.recipient = Some(recipient);
        Ok(())
    }

    fn follow(&self, _member: Member, record: &Record) {
        self.shared.follow(record);
    }

    fn detach(&self, _member: Member) {
        let (dialling, heard) = {
            let mut state = self.shared.state();
            state.recipient = None;
            state.told.clear();
            (std::mem::take(&mut state.dialling), std::mem::take(&mut state.heard))
        };
        for task in dialling.into_values() {
            task.abort();
        }
        for (_, end) in heard.into_values() {
            // Who reads it may have gone with its connection; then there is nothing to end.
            drop(end.send(closed()));
        }
    }

    fn send(&self, _from: Member, to: Member, message: Message) {
        if let Some(peer) = self.shared.peer(to) {
            peer.outbox.put(message);
        }
    }
}
