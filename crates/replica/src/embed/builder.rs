//! Opening a replica: settings (plain data) and components (engine, network).

use super::{Inner, Listeners, OpenError, Replica};
use crate::doors::{chance, clock::Clock};
use crate::driver::{Mailbox, Parts, Tap, spawn};
#[cfg(feature = "inline")]
use crate::driver::{Pace, spawn_inline};
use crate::protocol::{Protocol, ProtocolSettings, Start};
use crate::store::directory::{CLUSTER_MAX, Directory, is_cluster_name};
use crate::store::fjall::FjallSettings;
use crate::store::memory::MemoryDisk;
use crate::store::{self, EngineKind, SledSettings, Store};
use crate::transport::{Attached, Mesh, Transport};
use orset::{Member, Origin};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The knobs of an embedded replica.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The protocol's own; its `members` is set by the builder.
    pub protocol: ProtocolSettings,
    /// Commands that may wait for the writer. Larger rides out longer stalls; smaller sheds sooner.
    pub commands_max: usize,
    /// Messages of peers that may wait for the writer; beyond it they are lost and made up for.
    pub messages_max: usize,
    /// Watches at once.
    pub watchers_max: usize,
    /// How long an op waits for this replica to catch up with its session.
    pub catch_up: Duration,
    /// Peers on which an op must be synced, too, before it is answered, when neither it nor its
    /// session says. Larger survives the loss of more disks and costs a round trip to them.
    pub peers: u32,
    /// How long an op waits for peers before it is answered `NotReplicated`.
    pub peers_wait: Duration,
    /// Time between two ticks: the grain of gossip, pulls and deadlines.
    pub tick: Duration,
    /// Which engine is to keep the directory. None: the one that it remembers, or fjall when it is
    /// new. A directory that another engine keeps is refused.
    pub engine: Option<EngineKind>,
    /// The engine's own, when the engine is fjall.
    pub fjall: FjallSettings,
    /// The engine's own, when the engine is sled.
    pub sled: SledSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            protocol: ProtocolSettings::new(Vec::new()),
            commands_max: 16_384,
            messages_max: 4_096,
            watchers_max: 65_536,
            catch_up: Duration::from_secs(1),
            peers: 0,
            peers_wait: Duration::from_secs(5),
            tick: Duration::from_millis(10),
            engine: None,
            fjall: FjallSettings::default(),
            sled: SledSettings::default(),
        }
    }
}

/// Where the bytes go.
enum Place {
    /// On disk, below this directory.
    Directory(PathBuf),
    /// In memory, for tests: the "disk" outlives the replica and nothing else.
    Memory(MemoryDisk),
}

/// Puts a replica together.
#[derive(Default)]
pub struct Builder {
    place: Option<Place>,
    member: Option<Member>,
    members: Vec<Member>,
    joins: bool,
    transport: Option<Arc<dyn Transport>>,
    cluster: Option<String>,
    settings: Settings,
    clock: Option<Clock>,
    tap: Option<Box<dyn Tap>>,
    #[cfg(feature = "inline")]
    pace: Option<Pace>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// On disk, in this directory: made if it is not there.
    #[must_use]
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.place = Some(Place::Directory(path.as_ref().to_owned()));
        self
    }

    /// In memory, on this disk.
    #[must_use]
    pub fn memory(mut self, disk: &MemoryDisk) -> Self {
        self.place = Some(Place::Memory(disk.clone()));
        self
    }

    /// Which member it is. A directory remembers its member; a new one without this takes a fresh
    /// one.
    #[must_use]
    pub const fn member(mut self, member: Member) -> Self {
        self.member = Some(member);
        self
    }

    /// All members of the cluster, this one included, and the network between them: a `Mesh`
    /// within one process, or `Links` between processes. Clones of a transport are the same one.
    #[must_use]
    pub fn join(mut self, members: &[Member], transport: &(impl Transport + Clone)) -> Self {
        self.members = members.to_vec();
        self.transport = Some(Arc::new(transport.clone()));
        self
    }

    /// As `join`, of a replica that does not belong yet: `members` are those that are there. It
    /// serves nobody before they have taken it in, which an operator asks of one of them, and it
    /// has caught up. Its directory must be empty then; later on the directory knows that it
    /// belongs, and this is as `join`.
    #[must_use]
    pub fn join_anew(mut self, members: &[Member], transport: &(impl Transport + Clone)) -> Self {
        self.joins = true;
        self.join(members, transport)
    }

    /// Which cluster it belongs to: a name of 1 to 64 bytes without control characters. A directory
    /// remembers it, and is refused as one of another. Session tokens of other clusters are
    /// refused, too; without a name, all are taken.
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = Some(name.into());
        self
    }

    /// Other settings than the defaults.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Another clock than the machine's: for tests of a cluster with bad clocks.
    #[must_use]
    pub const fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Lets somebody listen to the protocol: for a recording that can be played again.
    #[must_use]
    pub fn tap(mut self, tap: Box<dyn Tap>) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Runs it without threads, as tasks of the runtime that `open` is called on: for a simulation.
    /// Appending takes as long as `pace` says, by the runtime's clock. The place must be in memory,
    /// and what blocks (`wait`, `status`, `dump`) must not be called on that runtime.
    #[cfg(feature = "inline")]
    #[must_use]
    pub fn inline(mut self, pace: impl FnMut() -> Duration + Send + 'static) -> Self {
        self.pace = Some(Box::new(pace));
        self
    }

    /// Opens it: recovers what is on disk and takes a new origin.
    pub fn open(self) -> Result<Replica, OpenError> {
        let mut settings = self.settings;
        let place = self.place.ok_or_else(|| {
            OpenError::Setting("a replica needs a directory (or a memory disk)".into())
        })?;
        for (name, value) in [
            ("commands_max", settings.commands_max),
            ("messages_max", settings.messages_max),
            ("tick (microseconds)", settings.tick.as_micros() as usize),
        ] {
            if value == 0 {
                return Err(OpenError::Setting(format!("{name} must be at least 1")));
            }
        }
        if let Some(name) = self.cluster.as_deref().filter(|name| !is_cluster_name(name)) {
            let problem = format!("cluster {name:?} is not 1 to {CLUSTER_MAX} plain bytes");
            return Err(OpenError::Setting(problem));
        }
        let mut cluster = self.cluster;
        let mut engine = "memory";
        #[cfg(feature = "inline")]
        if self.pace.is_some() && matches!(place, Place::Directory(_)) {
            return Err(OpenError::Setting("a replica without threads needs a memory disk".into()));
        }
        let fresh = chance::member()?;
        let (member, directory, store): (Member, Option<Directory>, Arc<dyn Store>) = match place {
            Place::Directory(path) => {
                let mut directory = Directory::open(&path, self.member, fresh, settings.engine)?;
                if let Some(name) = &cluster {
                    directory.join(name)?;
                }
                if let Some(moved) = directory.moved() {
                    let (from, to) = (&moved.from, &moved.to);
                    tracing::warn!(
                        from,
                        to,
                        "the directory was moved or copied; run one of them only"
                    );
                }
                cluster = directory.cluster().map(str::to_owned);
                let (kind, path) = (directory.engine(), directory.path());
                engine = kind.name();
                let store = store::open(kind, path, &settings.fjall, &settings.sled)?;
                (directory.member(), Some(directory), store)
            }
            Place::Memory(disk) => (self.member.unwrap_or(fresh), None, Arc::new(disk.open()?)),
        };
        settings.protocol.members =
            if self.members.is_empty() { vec![member] } else { self.members };
        settings.protocol.validate().map_err(OpenError::Setting)?;
        if self.joins {
            settings.protocol.members.retain(|other| *other != member);
            let extents = store.log_extents()?;
            let has_book = extents.iter().any(|extent| extent.origin == Origin::BOOK);
            if !extents.is_empty() && !has_book {
                let problem = "a replica that joins begins with an empty directory, and this one \
                               has data; name another, or `admin reidentify` it";
                return Err(OpenError::Setting(problem.into()));
            }
        } else if !settings.protocol.members.contains(&member) {
            let problem = format!("members does not name this replica's member {member}");
            return Err(OpenError::Setting(problem));
        }
        let origin = chance::origin(member)?;
        let restored = directory.as_ref().is_some_and(Directory::is_restored);
        let extents = store.log_extents()?;
        let start = Start { member, origin, previous: None, extents, restored };
        let mut tap = self.tap;
        if let Some(tap) = &mut tap {
            tap.start(&start, &settings.protocol);
        }
        let core = Protocol::new(start, settings.protocol.clone(), store.clone(), |batch| {
            store.write_state(batch)
        })?;
        let mailbox = Arc::new(Mailbox::new(settings.commands_max, settings.messages_max));
        let transport = self.transport.unwrap_or_else(|| Arc::new(Mesh::new()));
        let members = &settings.protocol.members;
        let attached = Attached::new(transport, member, members, &mailbox)
            .map_err(|error| OpenError::Setting(error.to_string()))?;
        let held = Arc::new(Mutex::new(directory));
        let listeners = Arc::new(Listeners { directory: held.clone(), ..Listeners::default() });
        // The effect that says so waits for the writer's first turn.
        listeners.catching_up.send_replace(restored);
        listeners.place.send_replace(core.place());
        let clock = self.clock.unwrap_or_else(Clock::start);
        let parts = Parts {
            core,
            clock,
            tick_us: settings.tick.as_micros() as u64,
            mailbox: mailbox.clone(),
            store: store.clone(),
            transport: attached,
            observer: listeners.clone(),
            tap,
        };
        #[cfg(feature = "inline")]
        let is_inline = self.pace.is_some();
        #[cfg(feature = "inline")]
        let running = match self.pace {
            Some(pace) => spawn_inline(parts, pace)?,
            None => spawn(parts)?,
        };
        #[cfg(not(feature = "inline"))]
        let running = spawn(parts)?;
        let inner = Inner {
            mailbox,
            clock,
            settings,
            watchers: listeners,
            ids: Mutex::new(chance::op_ids()?),
            nothing: Arc::default(),
            member,
            origin,
            fingerprint: cluster.as_deref().map_or(0, pannier_proto::fingerprint),
            cluster: cluster.map(Into::into),
            engine,
            store: Mutex::new(Some(store)),
            running: Mutex::new(Some(running)),
            #[cfg(feature = "inline")]
            is_inline,
            directory: held,
        };
        Ok(Replica { inner: Arc::new(inner) })
    }
}
