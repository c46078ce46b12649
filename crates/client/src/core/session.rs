//! One session, and one call of it, as the core holds them.
//!
//! The order of a session's calls is the order of their submission, whatever is refused for a while
//! or lost on the way. A replica keeps the order of a stream, but a call that it refuses (too busy,
//! not caught up) is overtaken by the next one. So what is under way together is of one class
//! (`Class`): there, overtaking means nothing. Everything else waits its turn here.
//!
//! S1  what waits is ascending by order, and what is under way is of one class, `Alone` only once.
//! S2  a session has calls under way on one stream only: the one it is assigned to.

use super::body::{Body, Class};
use super::kept::KeptOf;
use super::known::Known;
use super::settings::Mode;
use crate::error::Error;
use bytes::Bytes;
use std::collections::VecDeque;

/// A call that is not answered yet, or a kept write that is sent again.
#[derive(Debug)]
pub(super) struct Call<D> {
    pub session: u32,
    pub order: u64,
    pub body: Body,
    /// `u64::MAX`: none, as of a kept write.
    pub deadline_us: u64,
    /// Whom to tell. Nobody, for a kept write and for a call whose deadline passed on the way.
    pub done: Option<D>,
    /// On how many other members it must be synced before it is answered.
    pub peers: u32,
    /// Room that it takes of what the caller may have under way.
    pub slots: u32,
    /// Fresh at each sending, so that the answer to an earlier one is not taken for this one's.
    pub tag: u32,
    /// The token that it was sent with; `None` while it waits.
    pub sent: Option<Bytes>,
    /// Whether an earlier try may have taken effect.
    pub unsure: bool,
    /// What stood in the way last.
    pub last: Option<Box<Error>>,
    /// Which kept write it sends again.
    pub kept: Option<u64>,
}

impl<D> Call<D> {
    /// As it stands in messages.
    pub fn request_id(&self, number: u32) -> u64 {
        u64::from(self.tag) << 32 | u64::from(number)
    }
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Session {
    /// Its stream, once it has made a call.
    pub stream: Option<usize>,
    /// Whether its calls have an order. Those that belong to no session do not.
    pub ordered: bool,
    pub mode: Mode,
    pub known: Known,
    /// (order, call), ascending.
    pub queue: VecDeque<(u64, u32)>,
    pub under_way: u32,
    /// Of what is under way.
    pub class: Class,
    /// Whether it stands in its stream's list of those who have something to send.
    pub ready: bool,
    /// Nothing of it is sent before; 0: not held.
    pub held_until_us: u64,
    /// Refusals in a row.
    pub failures: u32,
    pub kept: KeptOf,
    /// Whether the next answer must say that something read was given up.
    pub regressed: bool,
    /// How often that happened.
    pub regressions: u64,
    /// What the next call must be told: something read was lost, and no call was there to tell.
    pub lost: Option<Box<Error>>,
    /// Nobody holds it any more; it stays until its calls are answered.
    pub ended: bool,
}

impl Session {
    pub fn new(known: Known, mode: Mode, ordered: bool) -> Self {
        Self {
            stream: None,
            ordered,
            mode,
            known,
            queue: VecDeque::new(),
            under_way: 0,
            class: Class::Alone,
            ready: false,
            held_until_us: 0,
            failures: 0,
            kept: KeptOf::default(),
            regressed: false,
            regressions: 0,
            lost: None,
            ended: false,
        }
    }

    /// Puts a call where its order belongs.
    pub fn enqueue(&mut self, order: u64, call: u32) {
        if self.queue.back().is_none_or(|(last, _)| *last < order) {
            self.queue.push_back((order, call));
        } else {
            let at = self.queue.partition_point(|(other, _)| *other < order);
            self.queue.insert(at, (order, call));
        }
    }

    /// Whether a call of this class may leave now, given what is under way (S1).
    pub fn admits(&self, class: Class) -> bool {
        self.held_until_us == 0
            && (!self.ordered
                || self.under_way == 0
                || (class == self.class && class != Class::Alone))
    }

    /// Whether nothing of it is left to do.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.under_way == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_wait_in_their_order() {
        let mut session = Session::new(Known::default(), Mode::Causal, true);
        for order in [4, 7, 1, 5, 9] {
            session.enqueue(order, order as u32);
        }
        assert_eq!(session.queue, [(1, 1), (4, 4), (5, 5), (7, 7), (9, 9)]);
    }

    #[test]
    fn what_may_be_under_way_together() {
        let mut session = Session::new(Known::default(), Mode::Causal, true);
        let all = [Class::Add, Class::Read, Class::Alone];
        let admitted =
            |session: &Session| all.into_iter().filter(|c| session.admits(*c)).collect::<Vec<_>>();
        assert_eq!(admitted(&session), all);
        session.under_way = 1;
        for (class, wanted) in [
            (Class::Add, vec![Class::Add]),
            (Class::Read, vec![Class::Read]),
            (Class::Alone, vec![]),
        ] {
            session.class = class;
            assert_eq!(admitted(&session), wanted);
        }
        session.ordered = false;
        assert_eq!(admitted(&session), all, "calls of no session have no order");
        session.held_until_us = 5;
        assert_eq!(admitted(&session), [], "but they can be held");
    }
}
