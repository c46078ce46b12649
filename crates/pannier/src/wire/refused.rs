//! Errors of the client, by what a caller at a shell has to mend.

use crate::fail::Fail;
use pannier_client::{Error, NextMove, Reason, StateChange};

/// What it means. `token` is the flag that the session came by.
pub fn refused(error: &Error, token: &str) -> Fail {
    let flag = match error.reason() {
        Some(
            Reason::OpIdReused | Reason::OpIdMalformed | Reason::FromTheFuture | Reason::TooOld,
        ) => "--op-id",
        Some(Reason::SeenMalformed) => "--seen",
        Some(Reason::TooFewPeers | Reason::NotReplicated) => "--durability",
        Some(Reason::TokenMalformed | Reason::TokenForeign) => token,
        _ if matches!(error, Error::Token(_)) => token,
        _ if matches!(error, Error::Setting(_) | Error::Unreachable { .. }) => "--gateway",
        _ => "",
    };
    let again = match error.state_change() {
        StateChange::Unknown => "; it may have been done, or may yet be",
        StateChange::None => "; nothing changed",
        StateChange::Done => "; it is not taken back",
    };
    let words = match flag {
        "" => format!("{error}{again}"),
        flag => format!("{flag}: {error}{again}"),
    };
    let to_be_mended = match error.next_move() {
        NextMove::MendRequest | NextMove::NewOpId | NextMove::MendClock => true,
        NextMove::NewSession | NextMove::StartOver => true,
        // Of a token: it is the caller's. Of an address: the network's.
        NextMove::MendSettings => flag == token,
        NextMove::Retry | NextMove::Resume | NextMove::GoOn => false,
    };
    if to_be_mended { Fail::Usage(words) } else { Fail::Away(words) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pannier_client::Failure;

    #[test]
    fn errors_name_the_flag_and_say_what_became_of_it() {
        let failure = |reason| Error::from(Failure::new(reason, "it says why"));
        let late = |state| Error::TimedOut { state, last: None };
        for (error, code, says) in [
            (failure(Reason::OpIdReused), 2, "--op-id: OP_ID_REUSED: it says why; nothing changed"),
            (failure(Reason::SeenMalformed), 2, "--seen: "),
            (failure(Reason::TokenForeign), 2, "--session: "),
            (failure(Reason::TooFewPeers), 2, "--durability: TOO_FEW_PEERS"),
            (failure(Reason::NotReplicated), 4, "it is not taken back"),
            (failure(Reason::NoReplica), 4, "it says why; nothing changed"),
            (late(StateChange::None), 4, "nothing changed"),
            (late(StateChange::Unknown), 4, "it may have been done"),
            (Error::Setting("endpoint: none".into()), 4, "--gateway: "),
        ] {
            let fail = refused(&error, "--session");
            let words = fail.to_string();
            assert_eq!((fail.exit_code(), words.contains(says)), (code, true), "{words}");
        }
    }
}
