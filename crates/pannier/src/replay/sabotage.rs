//! Faults put in on purpose, from outside the core: each must make the checks fail.
//!
//! A check that has never failed proves nothing. So a run can be told to break one promise the way
//! a bug would, through doors that any program has: the network between replicas, the op ids and
//! session tokens that a client sends. The core is the one that ships.

use super::plan::{self, Region};
use orset::Dot;
use pannier_replica::protocol::Message;
use pannier_replica::transport::{Mesh, Verdict};
use std::sync::{Mutex, PoisonError};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// The network loses one commit for ever, whoever sends it: replicas never become equal.
    DropDelta,
    /// After the run, somebody puts back a product that its user had removed.
    Resurrect,
    /// Users that have moved read without their session token: they see less than they wrote.
    SkipToken,
    /// Retries come under a fresh op id: they count again.
    DoubleCount,
}

/// Which commit of a region's origin is lost: not the first, which says whose the origin is.
const LOST_SEQ: u64 = 3;

impl Sabotage {
    /// The plan of the run, with trouble enough for the fault to matter: a token is missed only by
    /// those who move away from a region that is cut off (or to it), an op id only by a retry.
    pub fn spoil(self, plan: &mut plan::Settings) {
        match self {
            Self::SkipToken => {
                plan.moves = 1.0;
                plan.cut = plan.cut.max(0.5);
            }
            Self::DoubleCount => plan.retries = plan.retries.max(0.2),
            Self::DropDelta | Self::Resurrect => {}
        }
    }

    /// The network of the run.
    pub fn mesh(sabotage: Option<Self>) -> Mesh {
        if sabotage != Some(Self::DropDelta) {
            return Mesh::new();
        }
        let lost: Mutex<Option<Dot>> = Mutex::new(None);
        let victim = Region::all().next().map(Region::member);
        Mesh::with_rule(move |from, _, message: &Message| {
            let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
            let dots = message.dots();
            if lost.is_none() && Some(from) == victim {
                *lost = dots.iter().copied().find(|dot| dot.seq == LOST_SEQ);
            }
            match *lost {
                Some(lost) if dots.contains(&lost) => Verdict::Drop,
                _ => Verdict::Pass,
            }
        })
    }
}
