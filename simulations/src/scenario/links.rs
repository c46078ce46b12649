//! Which links an act means, as one word: a scenario names them as pairs, and what is drawn or left
//! out of it stays a set.

use super::REPLICAS_MAX;
use serde::{Deserialize, Serialize};

/// A set of links between replicas: bit `from * 8 + to` of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(usize, usize)>", into = "Vec<(usize, usize)>")]
pub struct Links(pub u64);

impl Links {
    /// Whether a link is one of them.
    pub const fn has(self, from: usize, to: usize) -> bool {
        self.0 >> (from * REPLICAS_MAX + to) & 1 == 1
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = (usize, usize)> {
        let all = (0..REPLICAS_MAX).flat_map(|from| (0..REPLICAS_MAX).map(move |to| (from, to)));
        all.filter(move |(from, to)| self.has(*from, *to))
    }

    /// Both ways between one replica and all others.
    pub fn around(replica: usize) -> Self {
        (0..REPLICAS_MAX)
            .filter(|other| *other != replica)
            .flat_map(|other| [(replica, other), (other, replica)])
            .collect()
    }
}

impl FromIterator<(usize, usize)> for Links {
    /// What is no link of this world is left out.
    fn from_iter<T: IntoIterator<Item = (usize, usize)>>(links: T) -> Self {
        let here = |(from, to): &(usize, usize)| *from < REPLICAS_MAX && *to < REPLICAS_MAX;
        let bits = links.into_iter().filter(here);
        Self(bits.fold(0, |all, (from, to)| all | 1 << (from * REPLICAS_MAX + to)))
    }
}

impl From<Vec<(usize, usize)>> for Links {
    fn from(links: Vec<(usize, usize)>) -> Self {
        links.into_iter().collect()
    }
}

impl From<Links> for Vec<(usize, usize)> {
    fn from(links: Links) -> Self {
        links.iter().collect()
    }
}
