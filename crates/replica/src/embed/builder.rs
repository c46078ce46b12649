//! Opening a replica: settings (plain data) and components (engine, network).

use super::{Inner, Listeners, OpenError, Replica};
use crate::doors::{chance, clock::Clock};
use crate::driver::{Mailbox, spawn};
use crate::protocol::{Protocol, ProtocolSettings, Start};
use crate::store::Store;
use crate::store::directory::Directory;
use crate::store::fjall::{FjallSettings, FjallStore};
use crate::store::memory::MemoryDisk;
use crate::transport::Mesh;
use orset::Member;
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
    /// Time between two ticks: the grain of gossip, pulls and deadlines.
    pub tick: Duration,
    /// The engine's own, when the engine is fjall.
    pub fjall: FjallSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            protocol: ProtocolSettings::new(Vec::new()),
            commands_max: 16_384,
            messages_max: 4_096,
            watchers_max: 65_536,
            catch_up: Duration::from_secs(1),
            tick: Duration::from_millis(10),
            fjall: FjallSettings::default(),
        }
    }
}

/// Where the bytes go.
enum Engine {
    /// On disk, below this directory.
    Fjall(PathBuf),
    /// In memory, for tests: the "disk" outlives the replica and nothing else.
    Memory(MemoryDisk),
}

/// Puts a replica together.
#[derive(Default)]
pub struct Builder {
    engine: Option<Engine>,
    member: Option<Member>,
    members: Vec<Member>,
    mesh: Option<Mesh>,
    settings: Settings,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// On disk, in this directory: made if it is not there.
    #[must_use]
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.engine = Some(Engine::Fjall(path.as_ref().to_owned()));
        self
    }

    /// In memory, on this disk.
    #[must_use]
    pub fn memory(mut self, disk: &MemoryDisk) -> Self {
        self.engine = Some(Engine::Memory(disk.clone()));
        self
    }

    /// Which member it is. A directory remembers its member; a new one without this takes a fresh
    /// one.
    #[must_use]
    pub const fn member(mut self, member: Member) -> Self {
        self.member = Some(member);
        self
    }

    /// All members of the cluster, this one included, and the network between them.
    #[must_use]
    pub fn join(mut self, members: &[Member], mesh: &Mesh) -> Self {
        self.members = members.to_vec();
        self.mesh = Some(mesh.clone());
        self
    }

    /// Other settings than the defaults.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Opens it: recovers what is on disk and takes a new origin.
    pub fn open(self) -> Result<Replica, OpenError> {
        let mut settings = self.settings;
        let engine = self.engine.ok_or_else(|| {
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
        let fresh = chance::member()?;
        let (member, directory, store): (Member, Option<Directory>, Arc<dyn Store>) = match engine {
            Engine::Fjall(path) => {
                let directory = Directory::open(&path, self.member, fresh, "fjall")?;
                let store = FjallStore::open(directory.path(), &settings.fjall)?;
                (directory.member(), Some(directory), Arc::new(store))
            }
            Engine::Memory(disk) => (self.member.unwrap_or(fresh), None, Arc::new(disk.open()?)),
        };
        settings.protocol.members =
            if self.members.is_empty() { vec![member] } else { self.members };
        settings.protocol.validate().map_err(OpenError::Setting)?;
        if !settings.protocol.members.contains(&member) {
            let problem = format!("members does not name this replica's member {member}");
            return Err(OpenError::Setting(problem));
        }
        let origin = chance::origin()?;
        let start = Start { member, origin, previous: None, extents: store.log_extents()? };
        let core = Protocol::new(start, settings.protocol.clone(), store.clone(), |batch| {
            store.write_state(batch)
        })?;
        let mailbox = Arc::new(Mailbox::new(settings.commands_max, settings.messages_max));
        let mesh = self.mesh.unwrap_or_default();
        mesh.join(member, &mailbox);
        let listeners = Arc::new(Listeners::default());
        let clock = Clock::start();
        let tick_us = settings.tick.as_micros() as u64;
        let threads = spawn(
            core,
            clock,
            tick_us,
            mailbox.clone(),
            store.clone(),
            Arc::new(mesh),
            listeners.clone(),
        )?;
        let inner = Inner {
            mailbox,
            clock,
            settings,
            watchers: listeners,
            ids: Mutex::new(chance::op_ids()?),
            nothing: Arc::default(),
            member,
            origin,
            store: Mutex::new(Some(store)),
            threads: Mutex::new(Some(threads)),
            directory: Mutex::new(directory),
        };
        Ok(Replica { inner: Arc::new(inner) })
    }
}
