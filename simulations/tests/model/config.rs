//! What is explored: how many replicas, who asks for what, and how much may go wrong.
//!
//! A configuration is exhausted: every order of everything that its budgets allow. So each is small
//! and about one thing, and claims what it must have met.

use orset::{Member, OpId, OpIdSession, OpIdSet, Origin};
use pannier_replica::protocol::{Canary, ProtocolSettings};

/// Places there can be.
pub const REPLICAS_MAX: usize = 3;

/// What a session asks for next. It may ask any replica, each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// So many units of the product.
    Add(u32),
    /// Take the product out: what was shown, or, to a session that has read nothing, what is there.
    Remove,
    /// Make it this many.
    Set(u32),
    /// So many less.
    Decrement(u32),
    /// Count.
    Count(i64),
    /// Show the cart.
    Read,
    /// So many units of the stock come into being, at this place.
    Restock(u64, usize),
    /// Of the stock a customer may have so many; all buyers are one. Asked for in the prologue.
    Limit(u32),
    /// So many units, at once.
    Buy(u32),
    /// So many units are set aside.
    Hold(u32),
    /// What the session's step of this number held is sold.
    Pay(usize),
    /// What the session's step of this number bought goes back.
    Return(usize),
    /// The cart is checked out: what the first session has added, so many units.
    Checkout(u32),
    /// It is bought, checked out or not.
    Order(u32),
    /// What the session's step of this number checked out is bought.
    Confirm(usize),
}

impl Ask {
    /// Whether asking again must come to the same.
    pub const fn is_write(self) -> bool {
        !matches!(self, Self::Read)
    }

    /// Whether it is about an order of the cart.
    pub const fn is_order(self) -> bool {
        matches!(self, Self::Checkout(_) | Self::Order(_) | Self::Confirm(_))
    }
}

/// One configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: &'static str,
    pub replicas: usize,
    /// One list for each session.
    pub sessions: &'static [&'static [Ask]],
    /// Writes that are sent once more, to any replica, at any time after the first.
    pub agains: u8,
    /// Messages that arrive twice. (Lost is what never arrives: any, without a budget.)
    pub doublings: u8,
    /// Crashes, each followed by a start.
    pub crashes: u8,
    /// Times that a replica's clock passes all its timeouts at once.
    pub ticks: u8,
    /// Whether statuses arrive at all: gossip and acknowledgements. Without them, pushes and what
    /// waits for pushes are all there is.
    pub statuses: bool,
    /// Rounds of a replica that may wait for their sync at once.
    pub pipeline: usize,
    /// Whether a round may wait for more before it is closed.
    pub batches: bool,
    /// Whether each round is followed by a checkpoint.
    pub checkpoints: bool,
    /// Steps that it may take to exhaust it.
    pub steps: usize,
    /// What must have been met, by name (`properties.rs`).
    pub claims: &'static [&'static str],
    /// Steps of the first session with which every run begins, in one calm order: what they lead to
    /// is everywhere.
    pub prologue: usize,
    pub canary: Canary,
    /// Planted in the driver: a start goes on under the identity of the one before.
    pub reuses_origin: bool,
    /// Promises that nobody minds, so that another must notice what follows.
    pub unminded: &'static [&'static str],
}

impl Config {
    /// Nothing that could go wrong.
    pub const CALM: Self = Self {
        name: "",
        replicas: 2,
        sessions: &[],
        agains: 0,
        doublings: 0,
        crashes: 0,
        ticks: 0,
        statuses: false,
        pipeline: 1,
        batches: false,
        checkpoints: false,
        steps: usize::MAX,
        claims: &[],
        prologue: 0,
        canary: Canary::None,
        reuses_origin: false,
        unminded: &[],
    };

    /// Settings of every replica.
    pub fn settings(&self) -> ProtocolSettings {
        let mut settings = ProtocolSettings::new((0..self.replicas).map(member).collect());
        if self.checkpoints {
            settings.checkpoint_rows = 1;
        }
        // No membership changes in these worlds: that is the simulator's.
        settings.change_us = 1 << 60;
        settings
    }

    /// More than any timeout.
    pub fn tick_us(&self) -> u64 {
        let settings = self.settings();
        let timeouts = [
            settings.gossip_us,
            settings.pull_delay_us,
            settings.pull_timeout_us,
            settings.push_timeout_us,
        ];
        timeouts.into_iter().sum::<u64>() + 1
    }

    /// What is broken, if anybody minds.
    pub fn minded(&self, broken: Option<&'static str>) -> Option<&'static str> {
        broken.filter(|promise| !self.unminded.contains(promise))
    }

    /// Whose step's op id a step has: a payment that of its hold.
    pub fn names(&self, session: usize, step: usize) -> usize {
        match self.ask(session, step) {
            Some(Ask::Pay(of) | Ask::Return(of) | Ask::Confirm(of)) => of,
            _ => step,
        }
    }

    /// Units that a step wants, or the step that it is about.
    pub fn units(&self, session: usize, step: usize) -> u32 {
        match self.ask(session, self.names(session, step)) {
            Some(Ask::Buy(units) | Ask::Hold(units) | Ask::Checkout(units) | Ask::Order(units)) => {
                units
            }
            _ => 0,
        }
    }

    /// The entries that every order is over: what the first session has added.
    pub fn entries(&self) -> OpIdSet {
        let adds = |step: &usize| matches!(self.ask(0, *step), Some(Ask::Add(_)));
        (0..self.prologue).filter(adds).map(|step| op_id(0, step)).collect()
    }

    /// How many purchases a customer may have, if that is said.
    pub fn limit(&self) -> Option<u32> {
        let asks = self.sessions.iter().copied().flatten();
        asks.copied().find_map(|ask| if let Ask::Limit(most) = ask { Some(most) } else { None })
    }

    /// Whether anybody sells anything.
    pub fn sells(&self) -> bool {
        self.sessions.iter().any(|asks| asks.iter().any(|ask| matches!(ask, Ask::Restock(..))))
    }

    /// What a session asks for at a step.
    pub fn ask(&self, session: usize, step: usize) -> Option<Ask> {
        self.sessions[session].get(step).copied()
    }
}

/// Whose place.
pub const fn member(place: usize) -> Member {
    Member::from_bytes([1 + place as u8; 16])
}

/// The identity of a start.
pub const fn origin(place: usize, start: usize) -> Origin {
    Origin::of(member(place), 1 + start as u64)
}

/// The op id of a step.
pub fn op_id(session: usize, step: usize) -> OpId {
    let mut ids = OpIdSession::new(1_700_000_000, session as u64);
    (0..=step).find_map(|at| ids.next_id().filter(|_| at == step)).unwrap()
}
