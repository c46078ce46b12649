//! What went wrong here, as the wire says it: the one place where refusals become reasons.

use crate::driver::{NoReply, NotTaken};
use crate::protocol::{Refusal, Unreplicated};
use http::HeaderMap;
use orset::stock::Refused;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1;
use tonic::{Code, Status};

/// The protocol refused it; nothing changed.
pub(super) fn refused(refusal: &Refusal) -> Failure {
    let failure = |reason| Failure::new(reason, refusal.to_string());
    match refusal {
        Refusal::Behind { origin, have, need } => {
            failure(Reason::Behind).with("origin", origin).with("have", have).with("need", need)
        }
        Refusal::OpIdReused(op) => failure(Reason::OpIdReused).with("op_id", op),
        Refusal::FromTheFuture { op, ahead_ms } => {
            failure(Reason::FromTheFuture).with("op_id", op).with("ahead_ms", ahead_ms)
        }
        Refusal::TooOld { op, born_ms, cut_ms } => {
            let failure = failure(Reason::TooOld).with("op_id", op);
            failure.with("born_ms", born_ms).with("cut_ms", cut_ms)
        }
        Refusal::WrongKind(object) => failure(Reason::WrongKind).with("object", object),
        Refusal::OutOfBounds(field) => failure(Reason::Bounds).with("field", field),
        Refusal::Merge { .. } => failure(Reason::Bounds).with("field", "guest"),
        Refusal::TooLarge { bytes, max } => {
            failure(Reason::TooLarge).with("bytes", bytes).with("max", max)
        }
        Refusal::TooManyTakes { max } => failure(Reason::TooManyTakes).with("max", max),
        Refusal::TooMany { entries, max } => {
            failure(Reason::TooMany).with("entries", entries).with("max", max)
        }
        Refusal::Lost { origin, last, need, left } => {
            let lost = failure(Reason::Lost).with("origin", origin).with("count", need - last);
            Failure { session: Some(left.clone()), ..lost }
        }
        Refusal::Over => failure(Reason::Closed),
        Refusal::NotServing(_) => failure(Reason::Draining),
        Refusal::TooFewPeers { asked, others } => {
            failure(Reason::TooFewPeers).with("peers", asked).with("others", others)
        }
        Refusal::Stock(refused) => stock_refused(*refused),
        Refusal::Overloaded => failure(Reason::Overloaded),
        Refusal::CatchingUp => failure(Reason::CatchingUp),
        Refusal::Unheard { op } => failure(Reason::CatchingUp).with("op_id", op),
    }
}

fn stock_refused(refused: Refused) -> Failure {
    let failure = |reason| Failure::new(reason, refused.to_string());
    match refused {
        Refused::Returned => failure(Reason::Returned),
        Refused::Differs => failure(Reason::OpIdReused),
        Refused::NoCustomer => failure(Reason::NoCustomer),
        Refused::OverLimit { has, limit } => {
            failure(Reason::OverLimit).with("has", has).with("limit", limit)
        }
        Refused::TooMany => failure(Reason::TooManyUnits),
        Refused::CartChanged => failure(Reason::CartChanged),
        Refused::NotClosed
        | Refused::NotHeir { .. }
        | Refused::AccountedFor
        | Refused::MoreThanThereIs { .. } => failure(Reason::NotAccountable),
        Refused::KeptApart => failure(Reason::KeptApart),
        Refused::TooManyOrders => failure(Reason::TooManyOrders),
        // `Unknown`, and what a later library may add: nothing of it is held here.
        _ => failure(Reason::NothingHeld),
    }
}

/// The same, of a call of a stock.
pub(super) fn stock_unreplicated(on: u32, asked: u32, answer: v1::StockAnswer) -> Failure {
    let message = format!("the call stands here, and on {on} of {asked} peers in time");
    let failure = Failure::new(Reason::NotReplicated, message);
    let failure = failure.with("peers", asked).with("reached", on);
    Failure { stock_answer: Some(Box::new(answer)), ..failure }
}

/// It is done, and stands on fewer peers than it was to.
pub(super) fn unreplicated(short: &Unreplicated, written: v1::Written) -> Failure {
    let Unreplicated { on, asked, .. } = short;
    let message = format!("the change stands here, and on {on} of {asked} peers in time");
    let failure = Failure::new(Reason::NotReplicated, message);
    Failure { written: Some(Box::new(written)), ..failure.with("peers", asked).with("reached", on) }
}

/// It was queued and has no reply.
pub(super) fn no_reply(why: &NoReply) -> Failure {
    match why {
        NoReply::Refused(refusal) => refused(refusal),
        NoReply::Failed(why) => Failure::new(Reason::StorageFailed, why.as_str()),
    }
}

/// It was not queued; nothing changed.
pub(super) fn not_taken(why: NotTaken) -> Failure {
    match why {
        NotTaken::Busy => Failure::new(Reason::Overloaded, "too many commands wait here already"),
        NotTaken::Closed => Failure::new(Reason::Closed, "the replica is closed"),
    }
}

/// What the library below says of a message that it could not read, in words of the table. It knows
/// nothing of the table, and a client should not have to know the library.
pub(super) fn unreadable(status: &Status) -> Option<Failure> {
    if let Some(failure) = Failure::from_status(status) {
        return Some(failure);
    }
    let message = status.message();
    match status.code() {
        Code::OutOfRange => Some(Failure::new(Reason::TooLarge, message)),
        Code::Internal if !message.is_empty() => {
            let message = format!("the message cannot be read: {message}");
            Some(Failure::new(Reason::CommandUnknown, message))
        }
        _ => None,
    }
}

/// As `unreadable`, of a response that is nothing but a status.
pub(super) fn typed(headers: &HeaderMap) -> Option<Failure> {
    headers.get("grpc-status")?;
    if headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    unreadable(&Status::from_header_map(headers)?)
}
