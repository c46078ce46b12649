//! What to do about one failure: the table of reasons, read by a client.
//!
//! The table says for each reason what became of the state and what to do next. Here it is turned
//! into what the core does, in one place: so a stream's answer, a stream's end and a watch's end
//! are judged alike. A reason that is not known is judged by its code, and its state is unknown.

use crate::error::{Error, is_temporary};
use orset::Origin;
use pannier_proto::errors::{Failure, NextMove, Reason, StateChange};
use pannier_proto::v1;
use tonic::Code;

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Send it again, not before so long; `leaving`: somewhere else, this server will take nothing.
    Again {
        /// In microseconds.
        after_us: u64,
        /// Whether the stream should be left.
        leaving: bool,
    },
    /// The replica lacks something that the session has seen.
    Behind {
        /// Of this origin
        origin: Origin,
        /// it has so many,
        have: u64,
        /// In microseconds: as for `Again`.
        after_us: u64,
    },
    /// Something that the session has seen is gone for good.
    Lost,
    /// Tell the caller.
    Final,
}

/// One failure, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What to do.
    pub verdict: Verdict,
    /// Whether it may have taken effect.
    pub unsure: bool,
    /// What the caller is told, now or at the deadline.
    pub error: Error,
}

/// Judges the answer to one command.
pub fn judge(wire: &v1::Failure) -> Judged {
    match Failure::from_wire(wire) {
        Some(failure) => judge_failure(failure),
        None => {
            let code = Code::from_i32(wire.code);
            let error =
                Error::Other { code, reason: wire.reason.clone(), message: wire.message.clone() };
            judge_code(code, u64::from(wire.retry_ms) * 1_000, error)
        }
    }
}

/// Judges the end of a stream or of a watch.
pub fn judge_error(error: Error) -> Judged {
    match error {
        Error::Refused { failure, .. } => judge_failure(*failure),
        Error::Other { code, .. } => judge_code(code, 0, error),
        other => Judged { verdict: Verdict::Final, unsure: true, error: other },
    }
}

fn judge_failure(failure: Failure) -> Judged {
    let after = failure.retry.unwrap_or_default();
    let after_us = after.as_micros() as u64;
    let again = |leaving| Verdict::Again { after_us, leaving };
    let verdict = match (failure.reason, failure.next()) {
        (Reason::Behind, _) => match behind(&failure) {
            Some((origin, have)) => Verdict::Behind { origin, have, after_us },
            // It does not say of whom: wait, like for anything that passes.
            None => again(false),
        },
        (Reason::Lost, _) => Verdict::Lost,
        (_, NextMove::Retry | NextMove::Resume) => again(failure.code() == Code::Unavailable),
        (
            _,
            NextMove::MendRequest
            | NextMove::NewOpId
            | NextMove::MendClock
            | NextMove::MendSettings
            | NextMove::NewSession
            | NextMove::StartOver
            | NextMove::GoOn,
        ) => Verdict::Final,
    };
    let unsure = failure.state() == StateChange::Unknown;
    Judged { verdict, unsure, error: failure.into() }
}

fn judge_code(code: Code, after_us: u64, error: Error) -> Judged {
    let verdict = if is_temporary(code) {
        Verdict::Again { after_us, leaving: code == Code::Unavailable }
    } else {
        Verdict::Final
    };
    Judged { verdict, unsure: true, error }
}

fn behind(failure: &Failure) -> Option<(Origin, u64)> {
    let origin = failure.metadata.get("origin")?.parse::<uuid::Uuid>().ok()?;
    Some((Origin::from(origin), failure.metadata.get("have")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pannier_proto::errors::TABLE;

    const A: Origin = Origin::from_bytes([1; 16]);

    fn of(failure: Failure) -> Judged {
        let judged = judge(&failure.to_wire());
        let status = Error::from(&failure.to_status());
        assert_eq!(judge_error(status), judged, "the same in both forms");
        judged
    }

    #[test]
    fn every_reason_of_the_table() {
        for row in TABLE {
            let judged = of(Failure::new(row.reason, "x"));
            assert_eq!(judged.unsure, row.state == StateChange::Unknown, "{}", row.name);
            assert_eq!(judged.error.reason(), Some(row.reason));
            assert_eq!(judged.error.next_move(), row.next);
            let leaving = match judged.verdict {
                Verdict::Final => {
                    // It stands: whether to wait on is for the caller to say.
                    let stands = row.state == StateChange::Done;
                    assert!(row.retry.is_none() || stands, "{}", row.name);
                    continue;
                }
                Verdict::Lost => {
                    assert_eq!(row.reason, Reason::Lost);
                    continue;
                }
                Verdict::Again { after_us, leaving } => {
                    let retry = row.retry.expect("what is tried again has a delay");
                    assert_eq!(after_us, retry.as_micros() as u64, "{}", row.name);
                    leaving
                }
                Verdict::Behind { .. } => unreachable!("it does not say of whom"),
            };
            let gone = [
                Reason::Draining,
                Reason::Closed,
                Reason::StorageFailed,
                Reason::NoReplica,
                Reason::ReplicaLost,
                Reason::CatchingUp,
            ];
            let wanted = gone.contains(&row.reason);
            assert_eq!(leaving, wanted && row.reason != Reason::Behind, "{}", row.name);
        }
    }

    #[test]
    fn behind_says_of_whom() {
        let failure = Failure::new(Reason::Behind, "x").with("origin", A).with("have", 4);
        let verdict = Verdict::Behind { origin: A, have: 4, after_us: 50_000 };
        assert_eq!(of(failure).verdict, verdict);
    }

    #[test]
    fn a_reason_from_tomorrow_goes_by_its_code() {
        let cases = [
            (Code::Unavailable, Some(true)),
            (Code::ResourceExhausted, Some(false)),
            (Code::InvalidArgument, None),
            (Code::Unknown, Some(false)),
            (Code::Unimplemented, None),
        ];
        for (code, again) in cases {
            let wire = v1::Failure {
                code: code as i32,
                reason: "FROM_TOMORROW".into(),
                retry_ms: 7,
                ..v1::Failure::default()
            };
            let judged = judge(&wire);
            let verdict = match again {
                Some(leaving) => Verdict::Again { after_us: 7_000, leaving },
                None => Verdict::Final,
            };
            assert_eq!((judged.verdict, judged.unsure), (verdict, true), "{code:?}");
        }
    }
}
