//! Strangers: calls with a token that was bent, comes from another cluster, or was forged.
//!
//! None of them is a session's: it is sent beside what its shopper is at, and must change nothing.

use super::shop::Home;
use crate::chance::{Dice, Purpose};
use crate::checkers::Verdict;
use crate::coverage::Mark;
use crate::history::{Asked, Strange};
use crate::world::{Answer, CLUSTER, World};
use orset::{Dot, ObjectKey, Origin, VersionVector};
use pannier_proto::errors::Reason;
use pannier_proto::{Token, fingerprint};

impl World<'_> {
    /// A token that must be refused, or be no reason to be served.
    pub(super) fn strange_call(&mut self, session: usize, key: u64, object: ObjectKey) {
        let seed = self.scenario.options.seed;
        let mut dice = Dice::keyed(seed, Purpose::Shopper, key, 5 << 32);
        let place = &self.shop.sessions[session];
        let door = match place.home {
            Home::Single(door) => door,
            Home::Service { .. } => dice.pick(&self.shop.doors),
        };
        let stranger = Origin::from_bytes([0xee; 16]);
        let vector: VersionVector =
            [Dot::new(stranger, 1 + dice.below(1 << 30))].into_iter().collect();
        let cluster = fingerprint(CLUSTER);
        let forged = Token { cluster, vector, ..Token::default() };
        let strange = dice.pick(&[Strange::Bent, Strange::Foreign, Strange::Forged]);
        let token = match strange {
            Strange::Forged => forged.encode(),
            Strange::Foreign => Token { cluster: fingerprint("ship"), ..forged }.encode(),
            Strange::Bent => {
                let mut bytes = forged.encode();
                let bit = dice.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            }
        };
        self.make_call(
            session,
            Asked::Read(object),
            door,
            token.into(),
            (key, 5 << 32),
            Some(strange),
        );
    }

    /// What must not be taken was not.
    pub(super) fn strange_answered(
        &mut self,
        strange: Strange,
        session: usize,
        answer: &Answer,
    ) -> Verdict {
        let reason = answer.said.as_ref().err().map(|failure| failure.reason);
        let expected = match strange {
            Strange::Bent => Reason::TokenMalformed,
            Strange::Foreign => Reason::TokenForeign,
            Strange::Forged => Reason::Behind,
        };
        if reason == Some(expected) {
            self.coverage.hit(Mark::StrangeRefused);
            return Ok(());
        }
        // What never came so far, or was given no time, says nothing of the token.
        if strange == Strange::Forged && reason.is_some() {
            return Ok(());
        }
        let silent = [Reason::Draining, Reason::ReplicaLost, Reason::NoReplica, Reason::Overloaded];
        if reason.is_some_and(|reason| silent.contains(&reason)) {
            return Ok(());
        }
        let said = reason.map_or("an answer", Reason::as_str);
        let what = format!("a token that is {strange:?} brings {said}, not {expected}");
        self.breach("tokens", vec![format!("s{session} ")], what)
    }
}
