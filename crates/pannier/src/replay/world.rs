//! Three regions in one process: a replica each, on disk, joined by a network that can be cut.

use super::plan::Region;
use super::sabotage::Sabotage;
use crate::fail::Fail;
use orset::{Member, VersionVector};
use pannier_replica::doors::clock::Clock;
use pannier_replica::transport::Mesh;
use pannier_replica::{Replica, Settings, Status};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How long a request waits at a replica that is behind its session. Short: the shopper of a replay
/// goes to another replica instead, as behind a gateway.
const CATCH_UP: Duration = Duration::from_millis(50);
/// Between two looks at whether the replicas are equal by now.
const LOOK: Duration = Duration::from_millis(1);

/// The regions.
pub struct World {
    pub(super) replicas: Vec<Replica>,
    pub(super) mesh: Mesh,
    pub(super) clock: Clock,
    /// Whether no region is cut off.
    pub(super) whole: Cell<bool>,
    /// Gone with the world, unless the user chose the place.
    _temporary: Option<TempDir>,
}

impl World {
    /// Opens one replica per region, in `dir` or in a temporary place.
    pub fn open(
        dir: Option<&Path>,
        settings: &Settings,
        sabotage: Option<Sabotage>,
    ) -> Result<Self, Fail> {
        let temporary = match dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(|error| {
                Fail::Storage(format!("no temporary directory: {error}; name one with --directory"))
            })?),
        };
        let root: PathBuf = match (dir, &temporary) {
            (Some(dir), _) => {
                must_be_free(dir)?;
                dir.to_owned()
            }
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => PathBuf::new(),
        };
        let mesh = Sabotage::mesh(sabotage);
        let members: Vec<Member> = Region::all().map(Region::member).collect();
        let mut settings = settings.clone();
        settings.catch_up = settings.catch_up.min(CATCH_UP);
        let open = |region: Region| {
            Replica::builder()
                .directory(root.join(region.name()))
                .member(region.member())
                .join(&members, &mesh)
                .settings(settings.clone())
                .open()
                .map_err(|error| Fail::open("--directory", error))
        };
        let replicas = Region::all().map(open).collect::<Result<_, _>>()?;
        Ok(Self {
            replicas,
            mesh,
            clock: Clock::start(),
            whole: Cell::new(true),
            _temporary: temporary,
        })
    }

    /// The replica of a region.
    pub fn replica(&self, region: Region) -> &Replica {
        &self.replicas[region.index()]
    }

    /// Where each replica stands.
    pub fn statuses(&self) -> Result<Vec<Status>, Fail> {
        self.replicas.iter().map(|replica| replica.status().map_err(Fail::from)).collect()
    }

    /// Waits until all vectors are equal; on giving up, says who lacks what.
    pub fn converge(&self, within: Duration) -> Result<Result<(), Vec<String>>, Fail> {
        let deadline_us = self.clock.now().mono_us.saturating_add(within.as_micros() as u64);
        loop {
            let statuses = self.statuses()?;
            let lacking = lacking(&statuses);
            if lacking.is_empty() {
                return Ok(Ok(()));
            }
            if self.clock.now().mono_us >= deadline_us {
                return Ok(Err(lacking));
            }
            // Nobody tells an outsider that replicas have become equal, so this is a poll.
            std::thread::park_timeout(LOOK);
        }
    }

    /// Closes all, so that nothing is still being written when the directories go.
    pub fn close(self) -> Result<(), Fail> {
        for replica in &self.replicas {
            replica.close().map_err(|error| Fail::Storage(error.to_string()))?;
        }
        Ok(())
    }
}

/// A replay compares what it finds with one log, so what others left there would be in the way.
fn must_be_free(dir: &Path) -> Result<(), Fail> {
    let taken = Region::all().map(|region| dir.join(region.name())).find(|path| path.exists());
    match taken {
        None => Ok(()),
        Some(path) => {
            let problem =
                format!("{} is there already; a replay begins with nothing", path.display());
            Err(Fail::Usage(format!("--directory: {problem}")))
        }
    }
}

fn lacking(statuses: &[Status]) -> Vec<String> {
    let name = |of: &dyn Fn(&Status) -> bool| {
        let found = Region::all().zip(statuses).find(|(_, status)| of(status));
        found.map_or("an earlier start", |(region, _)| region.name())
    };
    let mut all = VersionVector::new();
    for dot in statuses.iter().flat_map(|status| status.vector.iter()) {
        all.raise(dot.origin, dot.seq);
    }
    let mut lacking = Vec::new();
    for (region, status) in Region::all().zip(statuses) {
        for dot in all.iter().filter(|dot| !status.vector.contains(*dot)) {
            let (have, whose) =
                (status.vector.get(dot.origin), name(&|status| status.origin == dot.origin));
            let (region, count) = (region.name(), dot.seq - have);
            lacking.push(format!("{region} lacks {count} commits of {whose}, from {}", have + 1));
        }
    }
    lacking
}
