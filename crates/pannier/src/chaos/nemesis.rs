//! Carries the story out: two hands, each doing one thing at a time.
//!
//! What a replica has told its peers it gets back from them, whatever its disk has kept. So before
//! it is killed, or loses its power or its room, it is left alone with its clients for a while:
//! what it acknowledges then is on its own disk or nowhere.
//!
//! What a hand cannot do to a process (it will not start again, it does not end) is a finding about
//! that process, told with the story, and ends the run: a cluster that lacks a replica for ever
//! would only show the same thing again in other words.

use super::machines::Machines;
use super::network::Network;
use super::shopper::Shopper;
use super::story::{How, Told, Trouble, What, Who};
use super::telling::Telling;
use crate::fail::Fail;
use crate::replay::SplitMix64;
use crate::run::Stop;
use std::time::Duration;
use tokio::task::block_in_place;

/// How long a replica is left alone before it is hit.
const ALONE_MS: u64 = 400;
/// How long a replica without room is written to. An engine may have set room aside, and go on.
const WRITTEN_TO: Duration = Duration::from_secs(8);
/// When so many writes in a row were not answered, it no longer serves, and must be about to end.
const UNANSWERED: u32 = 3;
/// How long it may take to: what is under way there is let finish (`server.drain_ms`).
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// A page or two of a log: where on a disk the room ends.
const SPARE_BYTES: u64 = 64 << 10;
/// Between two resets of links that are reset again and again.
const AGAIN_MS: u64 = 300;
/// What the shell is told by a replica whose storage failed (`fail.rs`).
const STORAGE: i32 = 3;

/// No end by the clock.
const NEVER: u64 = u64::MAX;

/// How many troubles a hand plays even when time is over, on a machine that is slow or in a hurry:
/// each fault once. What each of them takes is bounded.
fn deck(story: &[Trouble]) -> usize {
    let faults = story.iter().map(|trouble| trouble.what.fault());
    faults.collect::<std::collections::BTreeSet<_>>().len()
}

/// When it is over.
#[derive(Clone)]
pub struct Until {
    /// By the clock of the story.
    pub end_ms: u64,
    /// By a signal.
    pub stop: Stop,
}

impl Until {
    /// Waits until then; whether the run goes on.
    async fn wait(&mut self, telling: &Telling, at_ms: u64) -> bool {
        let at_ms = at_ms.min(self.end_ms);
        let left = Duration::from_millis(at_ms.saturating_sub(telling.now_ms()));
        self.stop.or(tokio::time::sleep(left)).await;
        !self.stop.is_wanted() && telling.now_ms() < self.end_ms
    }
}

/// The hand that does things to processes and their machines. On failure, the run is over.
pub struct Machinist<'a> {
    pub machines: &'a mut Machines,
    pub network: &'a Network,
    pub telling: &'a Telling,
    /// One for each replica, straight to it.
    pub straight: Vec<Shopper>,
    pub until: Until,
    pub chance: SplitMix64,
}

impl Machinist<'_> {
    /// Does all of it, as long as there is time; then whoever is down is started again.
    pub async fn play(&mut self, story: &[Trouble]) -> Result<(), Fail> {
        let (end_ms, deck) = (self.until.end_ms, deck(story));
        for (turn, trouble) in story.iter().enumerate() {
            self.until.end_ms = if turn < deck { NEVER } else { end_ms };
            if !self.until.wait(self.telling, trouble.at_ms).await {
                break;
            }
            let played = self.one(*trouble).await;
            self.roll_call()?;
            played?;
        }
        self.until.end_ms = end_ms;
        self.until.wait(self.telling, end_ms).await;
        self.machines.restart(Who::All).await?;
        self.finish_upgrade().await?;
        self.machines.restart(Who::Gateway).await?;
        self.roll_call()
    }

    /// Whoever should be there is.
    fn roll_call(&mut self) -> Result<(), Fail> {
        for deserter in self.machines.deserters()? {
            self.telling.complain(&deserter);
        }
        Ok(())
    }

    pub(super) async fn lasts(&mut self, trouble: Trouble) {
        // It is mended after its time, and also when all is over.
        let end_ms = self.telling.now_ms() + trouble.lasts_ms;
        self.until.wait(self.telling, end_ms).await;
    }

    async fn one(&mut self, trouble: Trouble) -> Result<(), Fail> {
        let names = self.machines.names();
        let words = Told { what: trouble.what, names: &names }.to_string();
        match trouble.what {
            What::Kill(who) => {
                self.telling.begins(trouble.what, &words);
                match who {
                    Who::Replica(at) if self.chance.chance(0.5) => self.kill_alone(at).await?,
                    _ => self.machines.kill(who).await?,
                }
                self.lasts(trouble).await;
                self.machines.restart(who).await?;
            }
            What::Pause(who) => {
                self.telling.begins(trouble.what, &words);
                let pauses = block_in_place(|| self.machines.pause(who))?;
                self.lasts(trouble).await;
                block_in_place(|| pauses.into_iter().try_for_each(crate::processes::Pause::end))?;
            }
            What::Clock(at, ahead_ms) => {
                self.telling.begins(trouble.what, &words);
                self.clock(at, ahead_ms).await?;
                self.lasts(trouble).await;
                self.clock(at, 0).await?;
            }
            What::Full => self.full(trouble, &words).await?,
            What::Power => self.power(trouble, &words).await?,
            What::Restore(at, marked) => {
                self.telling.begins(trouble.what, &words);
                self.restore(at, marked, trouble).await?;
            }
            What::Backup(at) => {
                self.telling.begins(trouble.what, &words);
                self.backup(at, trouble).await?;
            }
            What::Empty(at) => {
                self.telling.begins(trouble.what, &words);
                self.empty(at, trouble).await?;
            }
            What::Swap(one, other) => {
                self.telling.begins(trouble.what, &words);
                self.swap(one, other, trouble).await?;
            }
            What::Upgrade(at) => {
                self.telling.begins(trouble.what, &words);
                self.upgrade(at, trouble).await?;
            }
            What::Decommission(at) => {
                self.telling.begins(trouble.what, &words);
                self.decommission(at, trouble).await?;
            }
            What::Members(at) => {
                self.telling.begins(trouble.what, &words);
                self.members(at, trouble).await?;
            }
            What::Cut(..) | What::Throttle(..) | What::Delay(..) => return Ok(()),
        }
        self.telling.mended(trouble.what, &words);
        Ok(())
    }

    async fn clock(&mut self, at: usize, ahead_ms: i64) -> Result<(), Fail> {
        self.machines.set_clock(at, ahead_ms);
        self.machines.kill(Who::Replica(at)).await?;
        self.machines.restart(Who::Replica(at)).await
    }

    /// Kills a replica when it has taken what nobody else has heard of.
    async fn kill_alone(&mut self, at: usize) -> Result<(), Fail> {
        self.network.leave_alone(at, true);
        let hit_ms = self.telling.now_ms() + ALONE_MS;
        while self.telling.now_ms() < hit_ms {
            // However it is answered: it is in the history.
            let _ = self.straight[at].count_once().await;
        }
        let killed = self.machines.kill(Who::Replica(at)).await;
        self.network.leave_alone(at, false);
        killed
    }

    async fn full(&mut self, trouble: Trouble, words: &str) -> Result<(), Fail> {
        let spare = self.chance.below(SPARE_BYTES);
        let Some((at, disk)) = self.machines.small() else { return Ok(()) };
        self.telling.begins(trouble.what, words);
        self.network.leave_alone(at, true);
        block_in_place(|| disk.fill(spare))?;
        // Somebody must write, or nobody notices.
        let end_ms = self.telling.now_ms() + WRITTEN_TO.as_millis() as u64;
        let (mut ended, mut unanswered) = (None, 0);
        while ended.is_none()
            && unanswered < UNANSWERED
            && (self.telling.now_ms() < end_ms || unanswered > 0)
        {
            let answered = self.straight[at].count_once().await.unwrap_or(false);
            unanswered = if answered { 0 } else { unanswered + 1 };
            ended = self.machines.ends(at, Duration::from_millis(1)).await?;
        }
        self.network.leave_alone(at, false);
        if unanswered > 0 && ended.is_none() {
            ended = self.machines.ends(at, ENDS_WITHIN).await?;
        }
        let name = self.machines.names()[at];
        match ended {
            Some(status) if status.code() == Some(STORAGE) => {}
            Some(status) => {
                self.telling.complain(&format!("{name} found no room and ended with {status}"));
            }
            None if unanswered == 0 => {
                self.telling.tell(&format!("{name} goes on in the room that it had set aside"));
            }
            None => {
                let hangs = "found no room, and neither serves nor ends";
                self.telling.complain(&format!("{name} {hangs}"));
            }
        }
        self.lasts(trouble).await;
        self.machines.kill(Who::Replica(at)).await?;
        if let Some((_, disk)) = self.machines.small() {
            block_in_place(|| disk.free())?;
        }
        self.machines.restart(Who::Replica(at)).await
    }

    async fn power(&mut self, trouble: Trouble, words: &str) -> Result<(), Fail> {
        let Some((at, _)) = self.machines.cuttable() else { return Ok(()) };
        self.telling.begins(trouble.what, words);
        self.kill_alone(at).await?;
        if let Some((_, disk)) = self.machines.cuttable() {
            block_in_place(|| disk.cut())?;
        }
        self.lasts(trouble).await;
        self.machines.restart(Who::Replica(at)).await
    }
}

/// The hand that does things to the network; in the end all of it is well.
pub async fn unsettle(
    network: &Network,
    names: &[&'static str],
    story: &[Trouble],
    telling: &Telling,
    mut until: Until,
) {
    let (end_ms, deck) = (until.end_ms, deck(story));
    for (turn, trouble) in story.iter().enumerate() {
        until.end_ms = if turn < deck { NEVER } else { end_ms };
        if !until.wait(telling, trouble.at_ms).await {
            break;
        }
        let words = Told { what: trouble.what, names }.to_string();
        telling.begins(trouble.what, &words);
        let mended_ms = telling.now_ms() + trouble.lasts_ms;
        match trouble.what {
            What::Cut(How::Reset, at) => {
                while telling.now_ms() < mended_ms {
                    network.cut(How::Reset, at);
                    let next_ms = telling.now_ms() + AGAIN_MS;
                    if !until.wait(telling, next_ms).await {
                        break;
                    }
                }
            }
            What::Cut(how, at) => network.cut(how, at),
            What::Throttle(rate, at) => network.throttle(rate, at),
            What::Delay(delay_ms, jitter_ms, at) => network.delay(delay_ms, jitter_ms, at),
            _ => {}
        }
        until.wait(telling, mended_ms).await;
        network.heal();
        telling.mended(trouble.what, &words);
    }
    network.heal();
}
