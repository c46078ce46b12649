//! All that a gateway decides about requests, for all its replicas: where each goes first, whether
//! and where it goes next, how long each try may take.
//!
//! Pure: times come in, decisions go out, nothing waits and nothing is asked by chance. The layers
//! of this crate drive it with sockets, the simulator with its own world.
//!
//! ```text
//! begin ---> Try ---(after)---> Try ---(after)---> Deliver
//!    \--> NO_REPLICA
//! ```
//!
//! D1  a request is tried at a replica at most once, so at most as often as there are replicas;
//! D2  a second try of what was sent is paid for from the budget, or not made;
//! D3  no try is begun at a replica that is away or ejected; at a suspect one, only when none is
//!     well;
//! D4  BEHIND reaches the client only when nobody else could serve: a later try that got no answer
//!     does not hide it, since BEHIND is what the client can act on;
//! D5  equal sessions go to equal replicas at every gateway that knows and hears the same.

use super::breaker::{BreakerSettings, Pass};
use super::budget::{Budget, BudgetSettings};
use super::deadline::Shares;
use super::health::{Health, Heard, Standing};
use super::outcome::Outcome;
use super::route::{Candidate, route};
use super::session::Session;
use core::time::Duration;
use orset::Member;
use pannier_proto::errors::{Failure, Reason};

/// Replicas of one gateway at most: those tried are a bit each.
pub const REPLICAS_MAX: usize = 64;

/// A replica that a gateway is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its member id.
    pub member: Member,
    /// How far its zone is; 0 is the gateway's own.
    pub distance: u32,
}

/// The knobs of the decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DispatchSettings {
    /// How time is shared between tries.
    pub shares: Shares,
    /// How much of the traffic may be second tries.
    pub budget: BudgetSettings,
    /// When a replica is left alone.
    pub breaker: BreakerSettings,
}

/// One request, as far as decisions about it need to remember.
#[derive(Debug)]
pub struct Call {
    session: Session,
    deadline_us: u64,
    replayable: bool,
    tried: u64,
    tries: u32,
    unanswered: u32,
    behind: bool,
}

impl Call {
    /// A request that has been tried nowhere. `replayable`: it can be sent a second time.
    pub fn new(session: Session, deadline_us: u64, replayable: bool) -> Self {
        Self { session, deadline_us, replayable, tried: 0, tries: 0, unanswered: 0, behind: false }
    }

    /// Tries begun.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Tries that ended without an answer and may have done what was asked.
    pub fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// Whether the client may have the words of the last try, which ended so. "Nothing changed" of
    /// the last replica is no word about those before it, and the time was ours to give.
    pub fn may_tell(&self, outcome: Outcome) -> bool {
        let earlier = self.unanswered.saturating_sub(u32::from(outcome.is_unanswered()));
        match outcome {
            Outcome::Answered | Outcome::Behind => true,
            Outcome::TimedOut => false,
            _ => earlier == 0,
        }
    }

    /// What the client is told where it may not have them, or there are none.
    pub fn failure(&self, outcome: Outcome) -> Failure {
        outcome.failure(self.unanswered).with("tries", self.tries)
    }
}

/// Send it there.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "its outcome must be told"]
pub struct Try {
    /// Its place in the list that the dispatcher was made with.
    pub replica: usize,
    /// How long it may take, in microseconds.
    pub give_us: u64,
    pass: Pass,
}

/// What to do after a try.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send it to another.
    Try(Try),
    /// Give the client what this try brought.
    Deliver,
    /// Give the client the BEHIND that an earlier try brought.
    DeliverBehind,
}

/// Probes in a row that a connection may miss while others are well.
const MISSED_MOST: u32 = 2;

#[derive(Debug)]
struct Known {
    place: Place,
    health: Health,
}

/// See the top of this file.
#[derive(Debug)]
pub struct Dispatcher {
    settings: DispatchSettings,
    known: Vec<Known>,
    budget: Budget,
    /// Sessions without any name are dealt out in turn.
    turn: u64,
    /// Kept, so that a request allocates none.
    candidates: Vec<Candidate>,
}

impl Dispatcher {
    /// Over at most `REPLICAS_MAX` places (more are not looked at), with `lanes` connections each.
    /// Nothing is known yet of any of them, so nothing is sent.
    pub fn new(settings: DispatchSettings, places: &[Place], lanes: usize, now_us: u64) -> Self {
        let known =
            |place: &Place| Known { place: *place, health: Health::new(lanes, settings.breaker) };
        Self {
            settings,
            known: places.iter().take(REPLICAS_MAX).map(known).collect(),
            budget: Budget::new(settings.budget, now_us),
            turn: 0,
            candidates: Vec::with_capacity(places.len().min(REPLICAS_MAX)),
        }
    }

    /// Something was heard on a connection. Whether a standing may have changed.
    pub fn heard(&mut self, replica: usize, lane: usize, what: Heard) -> bool {
        self.known.get_mut(replica).is_some_and(|known| known.health.heard(lane, what))
    }

    /// How a replica stands.
    pub fn standing(&self, now_us: u64, replica: usize) -> Standing {
        self.known.get(replica).map_or(Standing::Away, |known| known.health.standing(now_us))
    }

    /// Whether a connection that missed so many probes in a row is given up, with the streams that
    /// it carries. New requests avoid it from the first miss on; streams are pinned to it, and a
    /// replica that is gone without a word would hold them until a ping is found unanswered.
    ///
    /// Not at the first miss, which a busy second explains; and not while nobody else is well: then
    /// there is nowhere to go, and it is perhaps this gateway that is slow.
    pub fn gives_up(&self, now_us: u64, replica: usize, missed: u32) -> bool {
        let well = |at: usize| self.standing(now_us, at) == Standing::Well;
        missed >= MISSED_MOST && (0..self.known.len()).any(|at| at != replica && well(at))
    }

    /// Whether any request could be sent anywhere.
    pub fn serves(&self, now_us: u64) -> bool {
        let can = |known: &Known| {
            matches!(known.health.standing(now_us), Standing::Well | Standing::Suspect)
        };
        self.known.iter().any(can)
    }

    /// Whether every connection was heard of at least once.
    pub fn all_known(&self) -> bool {
        self.known.iter().all(|known| known.health.known())
    }

    /// A request has come: its first try, or NO_REPLICA with the time to wait.
    pub fn begin(&mut self, now_us: u64, call: &mut Call) -> Result<Try, Failure> {
        self.budget.deposit();
        if call.session.key.is_empty() {
            self.turn = self.turn.wrapping_add(1);
            call.session.key = self.turn.to_be_bytes().to_vec().into();
        }
        self.next(now_us, call).ok_or_else(|| self.no_replica(now_us))
    }

    /// A try is over: what next?
    pub fn after(&mut self, now_us: u64, call: &mut Call, tried: Try, outcome: Outcome) -> Step {
        self.settle(now_us, tried, outcome);
        call.unanswered += u32::from(outcome.is_unanswered());
        let left_us = call.deadline_us.saturating_sub(now_us);
        let shares = self.settings.shares;
        if outcome.may_go_elsewhere(call.replayable)
            && shares.worth(left_us)
            && self.someone(now_us, call)
            && (!outcome.was_sent() || self.budget.withdraw(now_us))
            && let Some(next) = self.next(now_us, call)
        {
            call.behind |= outcome == Outcome::Behind;
            return Step::Try(next);
        }
        let answered = matches!(outcome, Outcome::Answered | Outcome::Behind | Outcome::Abandoned);
        if call.behind && !answered { Step::DeliverBehind } else { Step::Deliver }
    }

    /// What a try says of its replica, when nothing comes after it: its client has gone.
    pub fn settle(&mut self, now_us: u64, tried: Try, outcome: Outcome) {
        let fair = tried.give_us >= self.settings.shares.try_us / 2;
        if let Some(known) = self.known.get_mut(tried.replica) {
            known.health.settle(now_us, tried.pass, outcome.verdict(fair));
            if outcome == Outcome::Leaving {
                known.health.leaving();
            }
        }
    }

    /// Whether anybody is left to try.
    fn someone(&self, now_us: u64, call: &Call) -> bool {
        self.known.iter().enumerate().any(|(at, known)| {
            call.tried & 1 << at == 0
                && matches!(known.health.standing(now_us), Standing::Well | Standing::Suspect)
        })
    }

    fn next(&mut self, now_us: u64, call: &mut Call) -> Option<Try> {
        let member = [Standing::Well, Standing::Suspect].into_iter().find_map(|want| {
            self.candidates.clear();
            self.candidates.extend(self.known.iter().enumerate().map(|(at, known)| Candidate {
                member: known.place.member,
                distance: known.place.distance,
                healthy: call.tried & 1 << at == 0 && known.health.standing(now_us) == want,
            }));
            route(&call.session.key, call.session.home, &self.candidates)
        })?;
        let replica = self.known.iter().position(|known| known.place.member == member)?;
        call.tried |= 1 << replica;
        let pass = self.known[replica].health.admit(now_us)?;
        call.tries += 1;
        let another = call.replayable && self.someone(now_us, call) && self.budget.affords(now_us);
        let left_us = call.deadline_us.saturating_sub(now_us);
        Some(Try { replica, give_us: self.settings.shares.share(left_us, another), pass })
    }

    fn no_replica(&self, now_us: u64) -> Failure {
        let message = match self.known.len() {
            0 => "the gateway knows no replica",
            _ => "no replica can be reached and takes requests",
        };
        let failure = Failure::new(Reason::NoReplica, message).with("replicas", self.known.len());
        // An ejection that ends sooner than the usual delay is worth coming back for.
        let opens =
            self.known.iter().filter(|known| known.health.standing(now_us) == Standing::Ejected);
        let soonest = opens.filter_map(|known| known.health.opens_us()).min();
        match (soonest.map(|at| Duration::from_micros(at.saturating_sub(now_us))), failure.retry) {
            (Some(delay), Some(usual)) if delay < usual => failure.retry_after(delay),
            _ => failure,
        }
    }
}
