//! The end of the market: what is over is ended, what is left is sold until everybody refuses, and
//! then each purchase is asked for once more.
//!
//! The first says that nothing is left unsold, wherever the rights had gone; the second, which
//! purchases stand: as many units as the stock says it has sold, no more and no fewer.

use crate::checkers::Verdict;
use crate::coverage::Mark;
use crate::history::Trade;
use crate::world::World;
use orset::OpId;
use orset::stock::{Ask, Customer, Outcome, Want};

/// Units that are sold singly at the end, at most.
const MOST: usize = 2_000;

/// How far it is. Begun when there is nothing else to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sale {
    stage: Stage,
    /// Sold singly, by stock.
    pub sold: Vec<u64>,
    /// Of purchases that stand when they are asked for once more, by stock.
    pub stands: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    NotYet,
    /// Returns that were asked for may never have arrived: once more, from that number on.
    Ending(usize),
    /// One unit of the stock after the other; so many members in a row have refused.
    Selling {
        stock: usize,
        asked: usize,
        refused: usize,
    },
    /// The purchases, from that number on.
    Asking(usize),
    Over,
}

impl World<'_> {
    /// Whether there is something to be sold out.
    pub(crate) fn sells(&self) -> bool {
        !self.trader.stocks.is_empty() && self.trader.sale.stage == Stage::NotYet
    }

    /// Whether it is being sold out.
    pub(crate) fn is_selling(&self) -> bool {
        !matches!(self.trader.sale.stage, Stage::NotYet | Stage::Over)
    }

    /// Begins.
    pub(crate) fn sell_out(&mut self) -> Verdict {
        let none = vec![0; self.trader.stocks.len()];
        let stage = Stage::Ending(0);
        self.trader.sale = Sale { stage, sold: none.clone(), stands: none };
        self.sale_asks()
    }

    fn sellers(&self) -> Vec<usize> {
        let is_there = |at: &usize| self.nodes[*at].here().is_some();
        (0..self.nodes.len()).filter(is_there).collect()
    }

    /// The next call of the sale.
    fn sale_asks(&mut self) -> Verdict {
        let sellers = self.sellers();
        if sellers.is_empty() {
            self.trader.sale.stage = Stage::Over;
        }
        loop {
            match self.trader.sale.stage {
                Stage::Ending(from) => {
                    let is_over = |op: OpId| self.checks.is_asked_back(op);
                    let mut rest = self.trader.purchases.range(from..);
                    if let Some((number, _)) = rest.find(|(_, it)| is_over(it.op)) {
                        let (number, at) = (*number, sellers[number % sellers.len()]);
                        self.trader.sale.stage = Stage::Ending(number);
                        let key = 0x5a1d_0000 + number as u64;
                        self.about(number, Ask::Return, key, at, true);
                        return Ok(());
                    }
                    self.trader.sale.stage = Stage::Selling { stock: 0, asked: 0, refused: 0 };
                }
                Stage::Selling { stock, refused, .. } if refused >= sellers.len() => {
                    self.coverage.hit(Mark::SoldOutEverywhere);
                    let next = stock + 1;
                    let is_last = next == self.trader.stocks.len();
                    let selling = Stage::Selling { stock: next, asked: 0, refused: 0 };
                    self.trader.sale.stage = if is_last { Stage::Asking(0) } else { selling };
                }
                Stage::Selling { stock, asked, .. } => {
                    if asked > MOST {
                        return self.breach("stock", Vec::new(), "it is never sold out");
                    }
                    let Some(op) = self.new_op() else { return Ok(()) };
                    let customer = Customer::new(format!("last-{asked}").as_bytes()).ok();
                    let ask = Ask::Commit { want: Want { quantity: 1, customer } };
                    let at = sellers[asked % sellers.len()];
                    let trade = Trade { op, stock: self.trader.stocks[stock].clone(), ask };
                    self.trade(trade, None, 0x5a1e_0000 + asked as u64, at, true);
                    return Ok(());
                }
                Stage::Asking(from) => {
                    let is_over = |op: OpId| self.checks.is_asked_back(op);
                    let mut rest = self.trader.purchases.range(from..);
                    let next = rest.find(|(_, it)| !is_over(it.op));
                    let next = next.map(|(number, it)| (*number, it.want.clone()));
                    match next {
                        // Requests as old as that are refused, whatever became of them.
                        Some((number, want)) if !self.scenario.options.forgets() => {
                            self.trader.sale.stage = Stage::Asking(number);
                            let at = sellers[number % sellers.len()];
                            let key = 0x5a1f_0000 + number as u64;
                            self.about(number, Ask::Commit { want }, key, at, true);
                            return Ok(());
                        }
                        _ => self.trader.sale.stage = Stage::Over,
                    }
                }
                Stage::NotYet | Stage::Over => return Ok(()),
            }
        }
    }

    /// A call of the sale is answered.
    pub(super) fn sale_goes_on(&mut self, number: usize, outcome: Option<Outcome>) -> Verdict {
        let is_sold = outcome == Some(Outcome::Committed);
        // Of two sales of one op id the one by who has left stays.
        let is_unsure = self.scenario.clocks_mislead() || self.scenario.options.joiners > 0;
        let sale = &mut self.trader.sale;
        match &mut sale.stage {
            Stage::Selling { stock, asked, refused } => {
                *asked += 1;
                *refused += 1;
                if is_sold {
                    *refused = 0;
                    sale.sold[*stock] += 1;
                }
            }
            Stage::Ending(at) => *at += 1,
            Stage::Asking(at) => {
                let it = &self.trader.purchases[at];
                let is_whole = self.nodes.iter().all(|node| !node.dead);
                if !is_sold && is_whole && !is_unsure && self.checks.was_sold(it.op) {
                    let op = self.names.op(it.op);
                    let what = format!("{op} was told COMMITTED, and in the end {outcome:?}");
                    return self.breach("stock", vec![op], what);
                }
                if is_sold {
                    sale.stands[it.stock] += u64::from(it.want.quantity);
                }
                *at += 1;
            }
            Stage::NotYet | Stage::Over => {
                let what = format!("{:?} comes too late", self.history.trades[number]);
                return self.breach("stock", Vec::new(), what);
            }
        }
        self.sale_asks()
    }
}
