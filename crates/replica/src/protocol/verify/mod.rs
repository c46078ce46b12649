//! Finding what differs or has rotted, saying where, and mending it from a peer.
//!
//! ```text
//! a peer's total differs ──> its sums ──> rows of the buckets that differ ──> named
//! an operator asks
//!   quick                ──> the same, with every peer
//!   deep                 ──> checkpoint ──> everything is read (survey.rs) ──> rows of the buckets
//!                            that do not add up, from a peer ──> named, and mended if that is
//!                            asked ──> checkpoint ──> everything is read once more
//! ```
//!
//! R1  Who is wrong is told by adding up: a replica whose rows do not add up to its sums is rotten,
//!     and takes the rows of a peer whose rows do. If both add up and yet differ, neither has
//!     rotted: it is a bug, no count of members can say who is right, and nothing is mended, unless
//!     an operator names the member to be believed (`from`).
//! R2  Rows are taken only when they are what this replica must have (the law in `asking.rs`); all
//!     of a bucket in one step, with its sum (`rows/mend.rs`), so they reach the disk in one batch.
//! R3  One thing at a time, in bounded pieces: a page for each tick. An alarm begins one look, at a
//!     few buckets. Nothing of this outlives the start; who had asked asks again.
//! R4  Rows that cannot be read at all are not mended: reading them ends the replica, as ever.

mod asking;
mod compare;
mod report;
pub mod survey;

pub use compare::Compare;
pub use report::{Difference, Fault, Report, Verify};
pub use survey::{NAMED_MAX, Survey, Surveying};

use super::command::Alarm;
use super::order;
use super::rows::mend::Named;
use super::rows::{Base, ORDER};
use super::{Effect, Now, Protocol};
use crate::store::StoreError;
use asking::{Asking, Ended, Found};
use orset::Member;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Buckets compared at once, at most.
const WIDTH: usize = 64;

/// Buckets that an alarm has looked at.
const LOOKED_AT: usize = 4;

/// Times that one comparison is begun anew because ops came in between.
const DISTURBED_MAX: u32 = 64;

/// Times that everything is read for one question: at the beginning, and after each mending.
const PASSES: u8 = 3;

/// Buckets told of in one report, at most.
const TOLD_MAX: usize = 1_024;

/// Where a job stands.
#[derive(Clone, Debug)]
enum Step {
    /// A batch is to be written first: everything that is here.
    Checkpoint,
    /// Everything is being read.
    Reading,
    /// With a peer.
    Asking(Box<Asking>),
}

/// What is being done.
#[derive(Clone, Debug)]
struct Job {
    asked: Verify,
    /// Begun by an alarm.
    is_auto: bool,
    step: Step,
    passes: u8,
    /// Who may be asked; the first one is.
    peers: VecDeque<Member>,
    /// Buckets to be compared with it.
    due: VecDeque<u16>,
    /// Those that are to be compared with the next one, too.
    left: Vec<u16>,
    /// Whose stored rows do not add up.
    rotten: BTreeSet<u16>,
    width: usize,
    disturbed: u32,
    mended: bool,
}

/// See the file's head.
#[derive(Clone, Default)]
pub(super) struct Verifying {
    /// The clock of touches when the last synced round was closed.
    pub synced_clock: u64,
    /// Questions put to peers.
    asked: u64,
    /// Questions of peers answered since the last tick.
    answered: u32,
    job: Option<Job>,
    report: Report,
    /// The next batch for the store is waited for: not handed out yet; in the store next.
    wanted: bool,
    awaited: bool,
}

impl Verifying {
    /// Whether the next batch for the store is to be made now.
    pub const fn wants_checkpoint(&self) -> bool {
        self.wanted
    }

    /// A batch of everything that is here is made.
    pub fn frozen(&mut self) {
        self.awaited |= std::mem::take(&mut self.wanted);
    }
}

impl<B: Base> Protocol<B> {
    /// What came of the last question of an operator, or of the last alarm.
    pub const fn verified(&self) -> &Report {
        &self.verifying.report
    }

    /// An operator asks. One question at a time: another waits for its asker to ask again.
    pub(super) fn verify(&mut self, asked: Verify, now: Now) -> Result<(), StoreError> {
        if self.verifying.job.as_ref().is_some_and(|job| !job.is_auto) {
            return Ok(());
        }
        let peers = match asked.from {
            None => self.peers.members().collect(),
            Some(from) => self.peers.members().filter(|member| *member == from).collect(),
        };
        self.begin(asked, false, peers, now)
    }

    /// A peer's total differs: once, find out where.
    pub(super) fn look_into(&mut self, peer: Member, now: Now) -> Result<(), StoreError> {
        if self.verifying.job.is_some() {
            return Ok(());
        }
        let asked = Verify { from: Some(peer), ..Verify::default() };
        self.begin(asked, true, [peer].into(), now)
    }

    fn begin(
        &mut self,
        asked: Verify,
        is_auto: bool,
        peers: VecDeque<Member>,
        now: Now,
    ) -> Result<(), StoreError> {
        let number = self.verifying.report.number + 1;
        let report = Report { number, asked: asked.clone(), running: true, ..Report::default() };
        self.verifying.report = report;
        if let Some(from) = asked.from.filter(|_| peers.is_empty()) {
            self.problem(format!("{from} is no other member"));
        }
        let is_deep = asked.deep;
        let mut job = Job {
            asked,
            is_auto,
            step: Step::Checkpoint,
            passes: 0,
            peers,
            due: VecDeque::new(),
            left: Vec::new(),
            rotten: BTreeSet::new(),
            width: WIDTH,
            disturbed: 0,
            mended: false,
        };
        if is_deep {
            self.verifying.wanted = true;
            self.verifying.job = Some(job);
            return Ok(());
        }
        match self.first(&mut job) {
            Some(step) => self.take_step(job, step, now),
            None => self.finish(),
        }
    }

    fn problem(&mut self, what: String) {
        let problems = &mut self.verifying.report.problems;
        if problems.len() < TOLD_MAX && !problems.contains(&what) {
            problems.push(what);
        }
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        let report = &mut self.verifying.report;
        report.running = false;
        // What was mended is to be on disk soon, also where few rows change.
        let is_mended = report.rows_mended > 0 || report.differences.iter().any(|it| it.mended);
        self.verifying.wanted |= is_mended;
        self.verifying.job = None;
        Ok(())
    }

    /// The next comparison, if there is anything and anybody left.
    fn first(&mut self, job: &mut Job) -> Option<Step> {
        let peer = *job.peers.front()?;
        let mut batch: Vec<u16> = job.due.drain(..job.width.min(job.due.len())).collect();
        batch.sort_unstable();
        Some(Step::Asking(Box::new(self.asking(peer, batch))))
    }

    fn take_step(&mut self, mut job: Job, step: Step, now: Now) -> Result<(), StoreError> {
        job.step = step;
        self.verifying.job = Some(job);
        self.tick_verify(now)
    }

    /// Everything here is in the store: read it.
    pub(super) fn checkpoint_in_store(&mut self) {
        if std::mem::take(&mut self.verifying.awaited)
            && let Some(job) = &mut self.verifying.job
            && matches!(job.step, Step::Checkpoint)
        {
            (job.step, job.passes) = (Step::Reading, job.passes + 1);
            let number = self.verifying.report.number;
            self.effect(Effect::Survey(number));
        }
    }

    /// Everything has been read, or not.
    pub(super) fn surveyed(
        &mut self,
        number: u64,
        survey: Result<Arc<Survey>, String>,
        now: Now,
    ) -> Result<(), StoreError> {
        let is_it = number == self.verifying.report.number;
        let reading = |job: &mut Job| is_it && matches!(job.step, Step::Reading);
        let Some(mut job) = self.verifying.job.take_if(|job| reading(job)) else { return Ok(()) };
        let survey = match survey {
            Ok(survey) => Survey::clone(&survey),
            Err(why) => {
                self.problem(why);
                return self.finish();
            }
        };
        self.stats.surveys += 1;
        if !survey.is_clean() {
            let Survey { buckets, strays, unsound_memories, unsound_records, .. } = &survey;
            self.effect(Effect::Alarm(Alarm::Rotten {
                buckets: buckets.clone(),
                strays: *strays,
                memories: *unsound_memories,
                records: *unsound_records,
            }));
        }
        if job.asked.repair {
            for key in &survey.stray_keys {
                self.rows.drop_stray(key.clone());
                self.verifying.report.rows_mended += 1;
                job.mended = true;
            }
        }
        job.rotten = survey.buckets.iter().copied().collect();
        job.due = survey.buckets.iter().copied().collect();
        self.verifying.report.survey = Some(survey);
        self.after_batch(job, now)
    }

    /// Nothing is under way with a peer: what is next?
    fn after_batch(&mut self, mut job: Job, now: Now) -> Result<(), StoreError> {
        loop {
            if job.due.is_empty() && !job.asked.deep {
                // This peer is done; the next one's sums.
                job.peers.pop_front();
            } else if job.due.is_empty() && !job.left.is_empty() {
                job.peers.pop_front();
                job.due = std::mem::take(&mut job.left).into();
                continue;
            } else if job.due.is_empty() {
                let again = job.mended && job.passes < PASSES;
                if !again {
                    return self.finish();
                }
                job.mended = false;
                job.step = Step::Checkpoint;
                self.verifying.wanted = true;
                self.verifying.job = Some(job);
                return Ok(());
            }
            match self.first(&mut job) {
                Some(step) => return self.take_step(job, step, now),
                None if job.asked.deep => {
                    let what = format!("{} buckets: no peer could be asked", job.due.len());
                    self.problem(what);
                    job.due.clear();
                }
                None => return self.finish(),
            }
        }
    }

    /// A piece of what is under way.
    pub(super) fn tick_verify(&mut self, now: Now) -> Result<(), StoreError> {
        self.verifying.answered = 0;
        let Some(mut job) = self.verifying.job.take() else { return Ok(()) };
        let ended = match &mut job.step {
            Step::Asking(asking) => self.ask_on(asking, now)?,
            Step::Checkpoint | Step::Reading => Ended::Not,
        };
        self.go_on(job, ended, now)
    }

    /// A peer has answered.
    fn compared(&mut self, from: Member, said: Compare, now: Now) -> Result<(), StoreError> {
        let Some(mut job) = self.verifying.job.take() else { return Ok(()) };
        let ended = match &mut job.step {
            Step::Asking(asking) if asking.peer == from => self.answered(asking, said, now)?,
            _ => Ended::Not,
        };
        self.go_on(job, ended, now)
    }

    fn go_on(&mut self, mut job: Job, ended: Ended, now: Now) -> Result<(), StoreError> {
        let Step::Asking(asking) = &job.step else {
            self.verifying.job = Some(job);
            return Ok(());
        };
        let (peer, batch) = (asking.peer, asking.buckets.clone());
        match ended {
            Ended::Not => {
                self.verifying.job = Some(job);
                Ok(())
            }
            Ended::Disturbed => {
                job.disturbed += 1;
                if job.disturbed > DISTURBED_MAX {
                    let why = "ops came in between every time; ask again when there are fewer";
                    self.problem(format!("not compared with member {peer}: {why}"));
                    job.due.clear();
                    job.left.clear();
                    job.disturbed = 0;
                    return self.after_batch(job, now);
                }
                // Begun at the next tick: an op that comes with each message must not be a loop.
                job.width = (batch.len() / 2).max(1);
                batch.into_iter().rev().for_each(|bucket| job.due.push_front(bucket));
                if let Some(step) = self.first(&mut job) {
                    job.step = step;
                }
                self.verifying.job = Some(job);
                Ok(())
            }
            Ended::Failed(why) => {
                self.problem(format!("not compared with member {peer}: {why}"));
                if job.asked.deep {
                    job.left.extend(batch);
                    job.left.extend(job.due.drain(..));
                } else {
                    job.due.clear();
                }
                self.after_batch(job, now)
            }
            Ended::Sums(differ) => {
                self.verifying.report.compared.push(peer);
                let most = if job.is_auto { LOOKED_AT } else { TOLD_MAX };
                job.due = differ.into_iter().take(most).collect();
                job.width = WIDTH;
                self.after_batch(job, now)
            }
            Ended::Rows(found) => {
                found.into_iter().try_for_each(|found| self.found(&mut job, found))?;
                self.after_batch(job, now)
            }
        }
    }

    /// Of one bucket: told, and mended if that is right (R1).
    fn found(&mut self, job: &mut Job, found: Found) -> Result<(), StoreError> {
        let Found { mut difference, sum, changed } = found;
        let Difference { peer, bucket, fault, .. } = difference;
        let is_rotten = job.rotten.contains(&bucket);
        if fault == Fault::None && !is_rotten {
            return Ok(());
        }
        if fault != Fault::None {
            self.stats.buckets_differing += 1;
            self.effect(Effect::Alarm(Alarm::Differs(Box::new(difference.clone()))));
        }
        let is_ours = matches!(fault, Fault::None | Fault::Ours);
        let is_told = fault == Fault::Neither && job.asked.from == Some(peer);
        if job.asked.repair && (is_ours || is_told) {
            self.mend(bucket, sum, changed)?;
            (difference.mended, job.mended) = (true, true);
            self.verifying.report.rows_mended += difference.rows;
        } else if job.asked.deep && is_rotten && job.asked.repair {
            job.left.push(bucket);
        }
        if self.verifying.report.differences.len() < TOLD_MAX {
            self.verifying.report.differences.push(difference);
        }
        Ok(())
    }

    /// Takes a peer's rows for a bucket, all of which then add up to `sum`.
    fn mend(
        &mut self,
        bucket: u16,
        sum: u128,
        changed: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        let mut objects = BTreeSet::new();
        for (key, value) in &changed {
            if let Some(named) = Named::of(key) {
                if key.first() == Some(&ORDER) {
                    order::remember(&mut self.rows, key, value.as_deref())?;
                } else {
                    self.rows.remember_entry(&named, value.as_deref())?;
                }
                objects.insert(named.object);
            }
        }
        let moved = self.rows.mend(bucket, changed, sum);
        // All that has touched the bucket is synced, so each of these has the old sum in it.
        self.synced_total = self.synced_total.wrapping_add(moved);
        for round in &mut self.unsynced {
            round.total = round.total.wrapping_add(moved);
        }
        self.stats.buckets_mended += 1;
        for object in objects {
            if self.watched.contains_key(&object) {
                self.effect(Effect::Changed(object));
            }
        }
        Ok(())
    }
}
