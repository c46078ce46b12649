//! The ways between the processes of the cluster, in one hand.

use super::story::{How, Where};
use crate::processes::{Link, Way, Weather};
use std::net::SocketAddr;
use std::num::NonZeroU32;

/// Links of peers, those from the gateway to each replica, and those from clients straight to it.
pub struct Network {
    peers: Vec<(usize, usize, Link)>,
    front: Vec<Link>,
    doors: Vec<Link>,
}

impl Network {
    /// Peers by number, from whom to whom.
    pub const fn new(peers: Vec<(usize, usize, Link)>, front: Vec<Link>, doors: Vec<Link>) -> Self {
        Self { peers, front, doors }
    }

    /// Where clients find each replica without the gateway.
    pub fn doors(&self) -> Vec<SocketAddr> {
        self.doors.iter().map(Link::address).collect()
    }

    /// The links of a place; each with whether it is dialled by the one that is named first (for
    /// the front: the gateway).
    fn links(&self, at: Where) -> Vec<(&Link, bool)> {
        let peers = |wanted: &dyn Fn(usize, usize) -> Option<bool>| {
            let links = self.peers.iter();
            let links = links.filter_map(|(from, to, link)| Some((link, wanted(*from, *to)?)));
            links.collect::<Vec<_>>()
        };
        let of = |one: usize| peers(&|from, to| (from == one || to == one).then_some(from == one));
        match at {
            Where::Peers(one) => of(one),
            Where::Around(one) => {
                let mut links = of(one);
                links.push((&self.front[one], false));
                links
            }
            Where::Pair(one, other) => peers(&|from, to| {
                let is_it = (from, to) == (one, other) || (from, to) == (other, one);
                is_it.then_some(from == one)
            }),
            Where::Front(one) => vec![(&self.front[one], true)],
        }
    }

    fn set(&self, at: Where, weather: impl Fn(bool) -> Weather) {
        for (link, by_first) in self.links(at) {
            link.set(weather(by_first));
        }
    }

    /// Cuts them.
    pub fn cut(&self, how: How, at: Where) {
        let frozen = Way { is_frozen: true, ..Way::default() };
        match how {
            How::Refused => {
                self.set(at, |_| Weather { is_refused: true, ..Weather::default() });
            }
            How::Frozen => {
                self.set(at, |_| Weather { out: frozen, back: frozen, ..Weather::default() });
            }
            // Towards the first: what others dial goes out to it, what it dialled comes back.
            How::OneWay => self.set(at, |by_first| match by_first {
                true => Weather { back: frozen, ..Weather::default() },
                false => Weather { out: frozen, ..Weather::default() },
            }),
            How::Reset => self.links(at).into_iter().for_each(|(link, _)| link.reset()),
        }
    }

    /// Makes them narrow.
    pub fn throttle(&self, bytes_per_second: u32, at: Where) {
        let bytes_per_second = NonZeroU32::new(bytes_per_second);
        let narrow = Way { bytes_per_second, ..Way::default() };
        self.set(at, |_| Weather { is_refused: false, out: narrow, back: narrow });
    }

    /// Makes them late.
    pub fn delay(&self, delay_ms: u64, jitter_ms: u64, at: Where) {
        let (delay_us, jitter_us) = (delay_ms * 1_000, jitter_ms * 1_000);
        let late = Way { delay_us, jitter_us, ..Way::default() };
        self.set(at, |_| Weather { is_refused: false, out: late, back: late });
    }

    /// Leaves a replica alone with its clients, for the other hand and whatever this one does; in
    /// the end what it would have told its peers is dropped.
    pub fn leave_alone(&self, at: usize, is_alone: bool) {
        self.links(Where::Peers(at)).into_iter().for_each(|(link, _)| link.hold(is_alone));
    }

    /// Leaves a replica alone with its peers: no client gets in, and none gets an answer; in the
    /// end what was on its way is dropped.
    pub fn seclude(&self, at: usize, is_alone: bool) {
        [&self.front[at], &self.doors[at]].into_iter().for_each(|link| link.hold(is_alone));
    }

    /// Good weather everywhere.
    pub fn heal(&self) {
        let links = self.peers.iter().map(|(_, _, link)| link).chain(&self.front);
        links.for_each(|link| link.set(Weather::default()));
    }
}
