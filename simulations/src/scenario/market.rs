//! What is sold: stocks, and what buyers want of them.
//!
//! An act names a purchase by number, and what its buyer does next about it: set units aside, buy,
//! cancel, send back. Under which op id, for whom and how many is the purchase's affair, drawn by
//! its number; so the same purchase is asked for at several replicas, in any order, and acts can be
//! left out of a failing run.

use super::{Options, Span};
use crate::chance::{Dice, Purpose};
use crate::profile::Profile;
use serde::{Deserialize, Serialize};

/// How much is sold, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Market {
    /// Stocks; with none nothing is sold.
    pub stocks: usize,
    /// Acts of buyers in a simulated second.
    pub deals_per_second: u64,
    /// Units of each stock that each founder mints at the beginning.
    pub units: u32,
    /// Purchases that acts name.
    pub purchases: usize,
    /// Customers that they are for.
    pub customers: usize,
    /// Purchases that a customer may have of a stock; 0 for as many as it likes.
    pub limit: u64,
    /// Whether anybody holds within the limit, and its keeper is asked at the sale.
    pub tentative: bool,
    /// On how many other members an answer is to be.
    pub peers: u8,
    /// How long units are set aside.
    pub ttl_ms: Span,
    /// Payments that fail, in a thousand.
    pub declined: u32,
    /// Payments that never answer, in a thousand.
    pub silent: u32,
    /// Acts at the till in a simulated second; with some, stocks have the names of products.
    pub orders_per_second: u64,
    /// Orders that these acts name.
    pub orders: usize,
    /// Orders that are confirmed at two replicas at once, in a thousand.
    pub twice: u32,
}

impl Default for Market {
    /// Nothing is sold.
    fn default() -> Self {
        Self {
            stocks: 0,
            deals_per_second: 10,
            units: 10,
            purchases: 40,
            customers: 20,
            limit: 0,
            tentative: false,
            peers: 0,
            ttl_ms: (2_000, 2_000),
            declined: 100,
            silent: 100,
            orders_per_second: 0,
            orders: 0,
            twice: 0,
        }
    }
}

/// What is done about a purchase, or to a stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deal {
    /// Units are set aside; when they are, a payment succeeds, fails, or never answers.
    Hold,
    /// Units are bought, set aside or not.
    Buy,
    /// What is set aside is let go.
    Cancel,
    /// What is set aside is set aside for longer.
    Extend,
    /// The purchase is over, bought or not.
    Return,
    /// New units, minted by the replica that is asked.
    Restock,
    /// Units are gone without a sale.
    WriteOff,
    /// What there is, is looked at.
    Look,
    /// The terms of the stock are set.
    Terms,
}

/// What is done about an order of a cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Till {
    /// All lines are set aside; when they are, a payment succeeds, fails, or never answers.
    Checkout,
    /// All lines are bought, set aside or not.
    Confirm,
    /// What is set aside is let go.
    Cancel,
    /// What is set aside is set aside for longer.
    Extend,
    /// The order is over, bought or not.
    Return,
    /// Somebody asks where it stands.
    Look,
}

impl Till {
    /// As often as their weights say.
    pub(super) const DRAWN: [(Self, u64); 6] = [
        (Self::Checkout, 8),
        (Self::Confirm, 8),
        (Self::Cancel, 1),
        (Self::Extend, 2),
        (Self::Return, 1),
        (Self::Look, 2),
    ];
}

impl Deal {
    /// Those that are drawn, as often as their weights say.
    pub(super) const DRAWN: [(Self, u64); 8] = [
        (Self::Hold, 8),
        (Self::Buy, 12),
        (Self::Cancel, 2),
        (Self::Extend, 1),
        (Self::Return, 2),
        (Self::Restock, 1),
        (Self::WriteOff, 1),
        (Self::Look, 4),
    ];
}

impl Market {
    /// What a seed means, in a run with those options.
    ///
    /// Where a disk goes back nothing is sold: a member whose disk did sells by what its peers know
    /// of it, and what it had sold unseen is sold again (`docs/stock.md`).
    pub(super) fn draw(options: &Options) -> Self {
        let faults = &options.faults;
        let mut dice = Dice::new(options.seed, Purpose::Market);
        let (is_drawn, is_till) = (dice.chance(400), options.profile == Profile::Tills);
        if faults.put_back || faults.went_back || faults.lost_disk || !(is_drawn || is_till) {
            return Self::default();
        }
        let shortest_ms = dice.between((100, 1_000));
        let drawn = Self {
            stocks: dice.between((1, 2)) as usize,
            deals_per_second: dice.between((4, 24)),
            units: dice.between((1, 12)) as u32,
            purchases: dice.between((10, 80)) as usize,
            customers: dice.between((2, 30)) as usize,
            limit: dice.pick(&[0, 0, 1, 2]),
            tentative: Dice::keyed(options.seed, Purpose::Market, 3, 0).chance(500),
            peers: dice.pick(&[0, 0, 1]),
            ttl_ms: (shortest_ms, shortest_ms + dice.below(2_500)),
            declined: dice.pick(&[0, 100, 400]),
            silent: dice.pick(&[0, 100, 400]),
            orders_per_second: dice.pick(&[0, 0, 4, 10]),
            orders: dice.between((4, 40)) as usize,
            twice: 0,
        };
        if !is_till {
            return drawn;
        }
        Self {
            stocks: options.products,
            units: dice.between((3, 36)) as u32,
            // With a limit nobody sells what another holds.
            limit: if dice.chance(700) { 0 } else { drawn.limit },
            orders_per_second: dice.between((8, 20)),
            orders: dice.between((20, 80)) as usize,
            twice: dice.pick(&[0, 100, 300]),
            ..drawn
        }
    }

    /// Whether buyers must know the terms before they buy.
    pub const fn has_terms(&self) -> bool {
        self.limit > 0 || self.peers > 0
    }
}
