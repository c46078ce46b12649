//! What a real replica did, played again in the core.
//!
//! A recording is the protocol's whole life under the shipped driver: what it started from, each
//! event with its time, each effect, as threads, disks and sockets brought them about. Fed the same
//! again, the core must give the same effects, to the byte. That is the claim that this simulator
//! rests on (the driver decides nothing, the core knows of nothing else), asked of the code that
//! runs in production; and a bug that a recording holds can be looked at without the machine.
//!
//! The log is synced and the state written where the driver's threads did it: before `Synced` and
//! `Checkpointed` were fed.

use crate::canary::Canary;
use orset::Origin;
use pannier_replica::driver::Tap;
use pannier_replica::protocol::{Effect, Event, Now, Protocol, ProtocolSettings, Start};
use pannier_replica::store::memory::{InDoubt, MemoryDisk};
use pannier_replica::store::{LogRecord, StateBatch, Store, StoreError};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One thing that happened.
#[derive(Clone, Debug)]
enum Line {
    Start(Box<(Start, ProtocolSettings)>),
    Event(Event, Now),
    /// An effect, as it prints: every byte of it.
    Effect(String),
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<Line>,
    most: usize,
    cut: bool,
}

/// A recording of one member, over all its starts; clones are the same one. Give one to each
/// `Builder::tap` of that member.
#[derive(Clone, Debug)]
pub struct Recording(Arc<Mutex<Lines>>);

/// In what the core differs from what was recorded, or why it cannot be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// After so many events.
    pub event: usize,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} events: {}", self.event, self.what)
    }
}

impl std::error::Error for Difference {}

/// What a recording held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Starts.
    pub starts: usize,
    /// Events.
    pub events: usize,
    /// Effects.
    pub effects: usize,
}

impl Recording {
    /// Empty; it takes at most so many lines, then stops, and says that it is cut.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Lines { most, ..Lines::default() })))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: impl FnOnce() -> Line) {
        let mut lines = self.lines();
        if lines.lines.len() < lines.most {
            lines.lines.push(line());
        } else {
            lines.cut = true;
        }
    }

    /// Plays it again in the core, on an empty disk, with a bug planted or none: what it held, or
    /// where the core differs.
    pub fn play(&self, canary: Canary) -> Result<Held, Difference> {
        let lines = self.lines();
        if lines.cut {
            let what = format!("the recording is cut after {} lines", lines.most);
            return Err(Difference { event: 0, what });
        }
        let mut player = Player::new(canary);
        for line in &lines.lines {
            player.line(line).map_err(|what| Difference { event: player.held.events, what })?;
        }
        player.ends().map_err(|what| Difference { event: player.held.events, what })?;
        Ok(player.held)
    }
}

impl Tap for Recording {
    fn start(&mut self, start: &Start, settings: &ProtocolSettings) {
        self.add(|| Line::Start(Box::new((start.clone(), settings.clone()))));
    }

    fn event(&mut self, event: &Event, now: Now) {
        self.add(|| Line::Event(event.clone(), now));
    }

    fn effect(&mut self, effect: &Effect) {
        self.add(|| Line::Effect(format!("{effect:?}")));
    }
}

type Core = Protocol<Arc<dyn Store>>;

/// The core, and the disk as its driver left it.
struct Player {
    canary: Canary,
    disk: MemoryDisk,
    up: Option<(Arc<dyn Store>, Core)>,
    rounds: VecDeque<(u64, Vec<LogRecord>)>,
    /// Behind which logs are to go on.
    skip: Vec<(Origin, u64)>,
    checkpoint: Option<Arc<StateBatch>>,
    /// The last line was an effect. The driver does all that there are before it feeds anything.
    polled: bool,
    held: Held,
}

impl Player {
    fn new(canary: Canary) -> Self {
        let (rounds, held) = (VecDeque::new(), Held::default());
        Self {
            canary,
            disk: MemoryDisk::new(),
            up: None,
            rounds,
            checkpoint: None,
            skip: Vec::new(),
            polled: false,
            held,
        }
    }

    fn line(&mut self, line: &Line) -> Result<(), String> {
        match line {
            Line::Start(start) => {
                self.held.starts += 1;
                self.polled = false;
                self.ends()?;
                self.starts(&start.0, &start.1)
            }
            Line::Event(event, now) => {
                self.held.events += 1;
                self.before(event).map_err(|error| error.to_string())?;
                let (_, core) = self.up.as_mut().ok_or("an event before the start")?;
                if std::mem::take(&mut self.polled)
                    && let Some(effect) = core.poll()
                {
                    return Err(format!("one effect more: {effect:?}"));
                }
                core.handle(event.clone(), *now).map_err(|error| error.to_string())
            }
            Line::Effect(recorded) => {
                self.held.effects += 1;
                self.polled = true;
                let (_, core) = self.up.as_mut().ok_or("an effect before the start")?;
                let effect = core.poll().ok_or_else(|| format!("no effect; it was {recorded}"))?;
                let played = format!("{effect:?}");
                if played != *recorded {
                    return Err(format!("{played}\nand it was {recorded}"));
                }
                match effect {
                    Effect::Persist { round, records } => self.rounds.push_back((round, records)),
                    Effect::Checkpoint(batch) => self.checkpoint = Some(batch),
                    // What was dropped is not read, so whether it is there makes no difference.
                    Effect::Skip(upto) => self.skip = upto,
                    Effect::Prune(_)
                    | Effect::Reply(..)
                    | Effect::Send(..)
                    | Effect::Changed(_)
                    | Effect::Membership(_)
                    | Effect::CatchingUp(_)
                    | Effect::Place(..)
                    | Effect::Alarm(_)
                    | Effect::Survey(_) => {}
                }
                Ok(())
            }
        }
    }

    /// What the driver's threads had done when this was fed.
    fn before(&mut self, event: &Event) -> Result<(), StoreError> {
        let Some((store, _)) = &self.up else { return Ok(()) };
        match event {
            Event::Synced(round) => {
                while self.rounds.front().is_some_and(|(number, _)| number <= round) {
                    if let Some((_, records)) = self.rounds.pop_front() {
                        store.append(&records)?;
                    }
                }
                Ok(())
            }
            Event::Checkpointed { .. } => match self.checkpoint.take() {
                Some(batch) => store.write_state(&batch),
                None => Ok(()),
            },
            Event::Skipped => {
                store.sync_state()?;
                store.skip_log(&std::mem::take(&mut self.skip))
            }
            Event::Command(..)
            | Event::Commit
            | Event::Message { .. }
            | Event::Tick { .. }
            | Event::Watch(_)
            | Event::Unwatch(_)
            | Event::Verify(_)
            | Event::Surveyed(..)
            | Event::Change(_)
            | Event::Closing => Ok(()),
        }
    }

    fn starts(&mut self, start: &Start, settings: &ProtocolSettings) -> Result<(), String> {
        let error = |error: StoreError| error.to_string();
        let store: Arc<dyn Store> = Arc::new(self.disk.open().map_err(error)?);
        let extents = store.log_extents().map_err(error)?;
        if extents != start.extents {
            let (mine, theirs) = (extents, &start.extents);
            return Err(format!("the log ends at {mine:?}\nand it was {theirs:?}"));
        }
        let base = store.clone();
        let write = |batch: &StateBatch| base.write_state(batch);
        let canary = self.canary.of_protocol();
        let (start, settings) = (start.clone(), settings.clone());
        let core = Protocol::with_canary(start, settings, store.clone(), write, canary);
        self.up = Some((store, core.map_err(error)?));
        Ok(())
    }

    /// A replica that was closed has done everything, and written its last checkpoint.
    fn ends(&mut self) -> Result<(), String> {
        let Some((store, mut core)) = self.up.take() else { return Ok(()) };
        if let Some(effect) = core.poll() {
            return Err(format!("one effect more: {effect:?}"));
        }
        let last = core.into_last_checkpoint();
        let written = last.map_or(Ok(()), |batch| store.write_state(&batch));
        written.and_then(|()| store.sync_state()).map_err(|error| error.to_string())?;
        drop(store);
        self.disk.crash(InDoubt::EVERYTHING);
        Ok(())
    }
}
