//! How one try at one replica ended, and what follows from it. The table of retries is here.
//!
//! | outcome | sent? | elsewhere? | costs a retry | of the replica it says |
//! | --- | --- | --- | --- | --- |
//! | answered | yes | no | - | well |
//! | BEHIND | yes | if it can be sent again | yes | well |
//! | leaving (DRAINING, CLOSED, CATCHING_UP) | yes | if it can be sent again | yes | leaving |
//! | unavailable | yes | if it can be sent again | yes | failed |
//! | reset before an answer | yes | if it can be sent again | yes | failed |
//! | timed out | yes | if it can be sent again | yes | failed, if it had time enough |
//! | unconnected | no | always | no | nothing; its lanes say it |
//! | full | no | always | no | nothing |
//! | abandoned by its client | yes | no | - | nothing |
//!
//! A mutation that was sent and got no answer may have been done. It is sent to another replica all
//! the same, as a read is: its op id names one intent, and two replicas that take in one op id
//! count it once. (A remove, set or decrement that came without `seen` means what the replica that
//! takes it has; done at two, it ends what either had. A client that minds sends `seen`.)
//!
//! What was never sent costs nobody anything, so it is not paid for, and it says nothing new of a
//! replica whose connections have said it already. Nothing is sent again once the client has been
//! given response headers: that is for who passes them on to see to.

use super::breaker::Verdict;
use pannier_proto::errors::{Failure, Reason};
use tonic::Code;

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer that goes to the client, be it a refusal.
    Answered,
    /// The replica has not caught up with the session, and nothing changed there.
    Behind,
    /// The replica takes nothing more, and nothing changed there.
    Leaving,
    /// The replica says that it cannot, or what answered is no replica.
    Unavailable,
    /// The connection or the stream broke after the request was sent.
    Reset,
    /// No answer came in the time it was given.
    TimedOut,
    /// There is no connection; nothing was sent.
    Unconnected,
    /// Every connection carries as many streams as it may; nothing was sent.
    Full,
    /// The client has gone.
    Abandoned,
}

impl Outcome {
    /// By the status of an answer. `reason` is asked only of UNAVAILABLE and DEADLINE_EXCEEDED.
    pub fn of(code: Code, reason: impl FnOnce() -> Option<Reason>) -> Self {
        match code {
            Code::Unavailable => match reason() {
                Some(Reason::Behind) => Self::Behind,
                Some(Reason::Draining | Reason::Closed | Reason::CatchingUp) => Self::Leaving,
                _ => Self::Unavailable,
            },
            // It was told how long it had; the gateway may have more. CANCELLED is how tonic's
            // server says it: the client, whose word that would be, has cancelled nothing, or
            // nobody would be here to ask.
            Code::Cancelled => Self::TimedOut,
            Code::DeadlineExceeded => match reason() {
                // It stands there; elsewhere it would stand once more, and wait for the same peers.
                Some(Reason::NotReplicated) => Self::Answered,
                _ => Self::TimedOut,
            },
            _ => Self::Answered,
        }
    }

    /// Whether anything of the request has left for the replica.
    pub const fn was_sent(self) -> bool {
        !matches!(self, Self::Unconnected | Self::Full)
    }

    /// Whether the replica may have done what was asked, and nobody knows.
    pub const fn is_unanswered(self) -> bool {
        matches!(self, Self::Reset | Self::TimedOut | Self::Unavailable)
    }

    /// Whether another replica may be tried. `replayable`: the gateway still has all of the
    /// request.
    pub const fn may_go_elsewhere(self, replayable: bool) -> bool {
        match self {
            Self::Answered | Self::Abandoned => false,
            Self::Behind | Self::Leaving | Self::Unavailable | Self::Reset | Self::TimedOut => {
                replayable
            }
            Self::Unconnected | Self::Full => true,
        }
    }

    /// What it says of the replica. `fair`: it had time enough, so that silence means something; a
    /// client with a deadline of a millisecond must not be able to eject a replica.
    pub const fn verdict(self, fair: bool) -> Verdict {
        match self {
            Self::Answered | Self::Behind => Verdict::Well,
            Self::Unavailable | Self::Reset => Verdict::Failed,
            Self::TimedOut if fair => Verdict::Failed,
            Self::TimedOut | Self::Leaving | Self::Unconnected | Self::Full | Self::Abandoned => {
                Verdict::Silent
            }
        }
    }

    /// What the client is told when this was the last try and the replica said nothing that could
    /// be passed on. `unanswered`: tries so far that may have done what was asked.
    pub fn failure(self, unanswered: u32) -> Failure {
        let reason = match self {
            Self::TimedOut => Reason::Deadline,
            _ if unanswered > 0 => Reason::ReplicaLost,
            Self::Full => Reason::Overloaded,
            Self::Leaving => Reason::Draining,
            Self::Behind => Reason::Behind,
            Self::Unconnected => Reason::NoReplica,
            Self::Answered | Self::Abandoned | Self::Unavailable | Self::Reset => {
                Reason::ReplicaLost
            }
        };
        let message = match reason {
            Reason::Deadline => "no replica answered in time",
            Reason::Overloaded => "every connection to the replica carries all it may",
            Reason::NoReplica => "no replica can be reached; it was sent to none",
            Reason::Draining => "the replica is shutting down",
            Reason::Behind => "no replica has caught up with the session",
            _ => "the replica went away before it answered",
        };
        Failure::new(reason, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::*;
    use pannier_proto::errors::{StateChange, TABLE};

    const ALL: [Outcome; 9] =
        [Answered, Behind, Leaving, Unavailable, Reset, TimedOut, Unconnected, Full, Abandoned];

    #[test]
    fn the_table() {
        use Verdict::{Failed, Silent, Well};
        // (outcome, sent, elsewhere when replayable, elsewhere when not, verdict)
        let table = [
            (Answered, true, false, false, Well),
            (Behind, true, true, false, Well),
            (Leaving, true, true, false, Silent),
            (Unavailable, true, true, false, Failed),
            (Reset, true, true, false, Failed),
            (TimedOut, true, true, false, Failed),
            (Unconnected, false, true, true, Silent),
            (Full, false, true, true, Silent),
            (Abandoned, true, false, false, Silent),
        ];
        assert_eq!(table.map(|row| row.0), ALL);
        for (outcome, sent, replayed, streamed, verdict) in table {
            assert_eq!(outcome.was_sent(), sent, "{outcome:?}");
            assert_eq!(outcome.may_go_elsewhere(true), replayed, "{outcome:?}");
            assert_eq!(outcome.may_go_elsewhere(false), streamed, "{outcome:?}");
            assert_eq!(outcome.verdict(true), verdict, "{outcome:?}");
        }
        assert_eq!(TimedOut.verdict(false), Silent);
    }

    /// Every reason of the errors' table: only what says "this replica, now" goes elsewhere.
    #[test]
    fn every_reason_has_its_outcome() {
        for row in TABLE {
            let want = match row.reason {
                Reason::Behind => Behind,
                Reason::Draining | Reason::Closed | Reason::CatchingUp => Leaving,
                Reason::StorageFailed | Reason::NoReplica | Reason::ReplicaLost => Unavailable,
                Reason::Deadline => TimedOut,
                _ => Answered,
            };
            assert_eq!(Outcome::of(row.code, || Some(row.reason)), want, "{}", row.name);
        }
        assert_eq!(Outcome::of(Code::Unavailable, || None), Unavailable, "not one of ours");
        assert_eq!(Outcome::of(Code::Ok, || unreachable!()), Answered);
        assert_eq!(Outcome::of(Code::Cancelled, || unreachable!()), TimedOut);
    }

    /// "Nothing changed" is said only when no try may have changed anything.
    #[test]
    fn what_may_have_been_done_is_never_said_to_be_nothing() {
        for outcome in ALL {
            for unanswered in 0..2 {
                let state = outcome.failure(unanswered).state();
                if unanswered > 0 || outcome.is_unanswered() {
                    assert_eq!(state, StateChange::Unknown, "{outcome:?}");
                }
            }
        }
    }
}
