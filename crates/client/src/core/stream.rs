//! One stream's place: what is at its other end, and who waits to use it.
//!
//! A stream is pinned to one replica from its opening to its end; all sessions on it share that
//! fate, so stickiness is per stream. Sessions are therefore grouped: one whose token names the
//! home of a stream joins it, one whose home nobody has opens a place that is free (with its token
//! as the routing hint), and everybody else goes where the fewest are.
//!
//! A place lives through many streams. The epoch counts them: what is said of an old one is not
//! heard.

use crate::error::Error;
use bytes::Bytes;
use orset::Member;
use std::collections::VecDeque;

/// Where a place stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody has needed it yet.
    Idle,
    /// To be opened at that time.
    Waiting(u64),
    /// Being opened since then.
    Opening(u64),
    /// Commands may be sent.
    Open,
    /// The other end takes nothing new; what is under way may still be answered, until that time.
    Leaving(u64),
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Stream {
    pub phase: Phase,
    pub epoch: u64,
    /// Which address it uses, or tries next.
    pub endpoint: usize,
    /// Streams in a row that were lost without a single answer.
    pub failures: u32,
    /// Sessions with something to send.
    pub ready: VecDeque<u32>,
    /// Sessions assigned.
    pub sessions: usize,
    /// Commands without an answer.
    pub under_way: usize,
    /// When it last said something, or had nothing to say.
    pub heard_us: u64,
    /// Whether the sender found nothing to send and waits to be told.
    pub parked: bool,
    /// Who serves it, as its first answer said.
    pub home: Option<Member>,
    /// The routing hint for the next opening.
    pub token: Bytes,
    /// Why the last one ended.
    pub last: Option<Box<Error>>,
}

impl Stream {
    pub const fn new() -> Self {
        Self {
            phase: Phase::Idle,
            epoch: 0,
            endpoint: 0,
            failures: 0,
            ready: VecDeque::new(),
            sessions: 0,
            under_way: 0,
            heard_us: 0,
            parked: false,
            home: None,
            token: Bytes::new(),
            last: None,
        }
    }

    /// Whether this is about the stream that is there now.
    pub fn is_now(&self, epoch: u64) -> bool {
        self.epoch == epoch && !matches!(self.phase, Phase::Idle | Phase::Waiting(_))
    }
}

/// Which place a session goes to. `home`: where it was served last.
pub(super) fn place(streams: &[Stream], home: Option<Member>) -> usize {
    let at_home = |stream: &&(usize, &Stream)| home.is_some() && stream.1.home == home;
    let numbered: Vec<_> = streams.iter().enumerate().collect();
    let fewest = |some: &mut dyn Iterator<Item = &(usize, &Stream)>| {
        some.min_by_key(|(_, stream)| stream.sessions).map(|(at, _)| *at)
    };
    if let Some(at) = fewest(&mut numbered.iter().filter(at_home)) {
        return at;
    }
    let idle = |stream: &&(usize, &Stream)| stream.1.phase == Phase::Idle;
    if home.is_some()
        && let Some(at) = fewest(&mut numbered.iter().filter(idle))
    {
        return at;
    }
    fewest(&mut numbered.iter()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(home: u8, sessions: usize) -> Stream {
        let home = (home > 0).then(|| Member::from_bytes([home; 16]));
        Stream { home, sessions, phase: Phase::Open, ..Stream::new() }
    }

    #[test]
    fn sessions_go_where_their_home_is_then_where_the_fewest_are() {
        let home = |n| Some(Member::from_bytes([n; 16]));
        let streams = [stream(1, 9), stream(2, 3), stream(1, 5), stream(0, 4)];
        assert_eq!(place(&streams, home(1)), 2);
        assert_eq!(place(&streams, home(2)), 1);
        assert_eq!(place(&streams, home(3)), 1, "nobody has it: where the fewest are");
        assert_eq!(place(&streams, None), 1);
        let streams = [stream(1, 0), Stream::new(), stream(0, 1)];
        assert_eq!(place(&streams, home(3)), 1, "nobody has it: a place that is free");
        assert_eq!(place(&streams, None), 0, "the first of the emptiest");
        assert_eq!(place(&[stream(1, 3), Stream::new()], None), 1);
    }
}
