//! Buyers, and whoever keeps the stocks: they ask, pay or do not, are not answered, ask elsewhere.
//!
//! The smallest client that `docs/stock.md` allows. A purchase has one op id, whatever is asked
//! about it and wherever; a call that is not answered in time is made again, there or at another
//! replica, and one that is told UNAVAILABLE too. Some buyers carry the token of their last answer,
//! some do not: then a replica may sell what another one holds for them.
//!
//! What they are told is judged when a replica says it (`checkers/market.rs`), not when it arrives.

use super::sale::Sale;
use super::till::AtTill;
use crate::chance::{Dice, Purpose};
use crate::checkers::Verdict;
use crate::coverage::Mark;
use crate::history::{Asked, Trade, Via};
use crate::names::EPOCH_MS;
use crate::scenario::{Act, Deal, Doing, Options};
use crate::world::{Answer, Arrival, What, World};
use bytes::Bytes;
use orset::stock::{Ask, Customer, OrderAsk, Outcome, Terms, Want};
use orset::{Kind, Lattice, ObjectKey, OpId};
use pannier_proto::Token;
use pannier_proto::errors::NextMove;
use pannier_replica::protocol::{NO_LANE, Reply};
use std::collections::BTreeMap;

/// Times a call is made before its buyer gives up.
const TRIES: u64 = 4;
/// The same, when nothing is wrong any more.
const TRIES_AT_THE_END: u64 = 100;

/// What is due of a trade.
#[derive(Debug)]
pub(crate) enum TradeStep {
    /// A call reaches its replica, which is told to answer within so many microseconds.
    Arrives(u64),
    /// Its answer reaches who asked.
    Answered(Box<Answer>),
    /// Nobody answered in time.
    TimedOut,
    /// The pause is over.
    Again,
}

/// One purchase.
#[derive(Clone, Debug)]
pub(super) struct Purchase {
    pub op: OpId,
    pub stock: usize,
    pub want: Want,
    /// What its buyer has seen, if it says so.
    token: Bytes,
    carries: bool,
    paid: bool,
}

/// A trade as who asked keeps it.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Which purchase it is about.
    purchase: Option<usize>,
    key: u64,
    at: usize,
    tries: u64,
    answered: bool,
    over: bool,
    /// At the end: it must be answered.
    must: bool,
}

/// All of them. See the file's head.
#[derive(Debug, Default)]
pub struct Trader {
    /// What is sold.
    pub stocks: Vec<ObjectKey>,
    /// By number, those that somebody has asked for.
    pub(super) purchases: BTreeMap<usize, Purchase>,
    /// The same, of orders (`till.rs`).
    pub(super) orders: BTreeMap<usize, AtTill>,
    open: Vec<Open>,
    /// Terms of stocks that are known to be set; and a token that covers them.
    pub(super) agreed: usize,
    token: Bytes,
    /// Op ids that were given out for what is no purchase.
    named: u64,
    /// How the last sale goes.
    pub(crate) sale: Sale,
}

impl Trader {
    /// Opens.
    pub fn new(options: &Options) -> Self {
        // What is ordered of a cart is of the stock that has the product's name.
        let is_ordered = options.market.orders_per_second > 0;
        let name = |at: usize| match is_ordered {
            true => vec![b'A' + at as u8],
            false => format!("stock-{at}").into_bytes(),
        };
        let key = |at| ObjectKey::new(Kind::Stock, b"shop", &name(at));
        let stocks = (0..options.market.stocks).filter_map(|at| key(at).ok()).collect();
        Self { stocks, ..Self::default() }
    }

    /// Whether nobody waits for an answer.
    pub fn is_idle(&self) -> bool {
        self.open.iter().all(|open| open.over)
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.open.iter().map(|open| open.tries).sum()
    }
}

impl World<'_> {
    /// What an act of a buyer means now.
    pub(crate) fn trade_act(&mut self, act: Act) -> Verdict {
        let Doing::Trade { deal, purchase, at, units } = act.what else { return Ok(()) };
        let market = &self.scenario.options.market;
        if market.stocks == 0 {
            return Ok(());
        }
        let (stock, at) = (purchase % market.stocks, at % self.nodes.len());
        let is_agreed = !market.has_terms() || self.trader.agreed >= market.stocks;
        if !is_agreed && !matches!(deal, Deal::Terms | Deal::Restock) {
            return Ok(());
        }
        let (limit, peers, tentative) = (market.limit, market.peers, market.tentative);
        let mut dice = Dice::keyed(self.scenario.options.seed, Purpose::Market, act.key, 2);
        let ttl_ms = dice.between(market.ttl_ms);
        let of_stock = match deal {
            Deal::Look => return self.look(stock, at),
            Deal::Restock => Some(Ask::Restock { units: units.into(), at: self.nodes[at].member }),
            Deal::WriteOff => {
                Some(Ask::WriteOff { units: units.into(), at: self.nodes[at].member })
            }
            Deal::Terms => Some(Ask::Agree(Terms { limit, peers, tentative })),
            Deal::Hold | Deal::Buy | Deal::Cancel | Deal::Extend | Deal::Return => None,
        };
        if let Some(ask) = of_stock {
            let Some(op) = self.new_op() else { return Ok(()) };
            let stock = self.trader.stocks[stock].clone();
            let must = matches!(deal, Deal::Terms);
            self.trade(Trade { op, stock, ask }, None, act.key, at, must);
            return Ok(());
        }
        let is_new = matches!(deal, Deal::Hold | Deal::Buy);
        let Some(it) = self.purchase(purchase, is_new) else { return Ok(()) };
        let want = it.want.clone();
        let ask = match deal {
            Deal::Hold => Ask::Hold { want, ttl_ms },
            Deal::Buy => Ask::Commit { want },
            Deal::Cancel => Ask::Release,
            Deal::Extend => Ask::Extend { ttl_ms },
            _ => Ask::Return,
        };
        self.about(purchase, ask, act.key, at, false);
        Ok(())
    }

    /// A call about a purchase.
    pub(super) fn about(&mut self, purchase: usize, ask: Ask, key: u64, at: usize, must: bool) {
        let Some(it) = self.trader.purchases.get(&purchase) else { return };
        let stock = self.trader.stocks[it.stock].clone();
        self.trade(Trade { op: it.op, stock, ask }, Some(purchase), key, at, must);
    }

    /// An op id for what is no purchase of an act.
    pub(super) fn new_op(&mut self) -> Option<OpId> {
        self.trader.named += 1;
        let now_s = (EPOCH_MS + self.now_us / 1_000) / 1_000;
        self.names.purchase(self.scenario.options.seed, 1_000_000 + self.trader.named, now_s)
    }

    /// A purchase, as its number has it; named when somebody first asks for it.
    fn purchase(&mut self, number: usize, is_new: bool) -> Option<Purchase> {
        if let Some(it) = self.trader.purchases.get(&number) {
            return Some(it.clone());
        }
        if !is_new {
            return None;
        }
        let options = &self.scenario.options;
        let (seed, market) = (options.seed, &options.market);
        let mut dice = Dice::keyed(seed, Purpose::Market, number as u64, 3);
        let quantity = dice.pick(&[1, 1, 1, 2, 3]);
        let customer = format!("customer-{}", dice.index(market.customers.max(1)));
        let customer =
            if market.limit > 0 { Customer::new(customer.as_bytes()).ok() } else { None };
        let stock = number % market.stocks;
        let now_s = (EPOCH_MS + self.now_us / 1_000) / 1_000;
        let op = self.names.purchase(seed, number as u64, now_s)?;
        let (token, carries) = (self.trader.token.clone(), dice.chance(500));
        let want = Want { quantity, customer };
        let it = Purchase { op, stock, want, token, carries, paid: false };
        self.trader.purchases.insert(number, it.clone());
        Some(it)
    }

    /// Somebody looks what there is.
    fn look(&mut self, stock: usize, place: usize) -> Verdict {
        let object = self.trader.stocks[stock].clone();
        let mut dice = Dice::keyed(self.scenario.options.seed, Purpose::Market, self.now_us, 8);
        let asked = if dice.chance(500) { Asked::Holds(object) } else { Asked::Read(object) };
        let (start, token) = (self.nodes[place].start, self.trader.token.clone());
        let (told_us, lane, via, seen) = (400_000, NO_LANE, Via::Nobody, None);
        let (peers, peers_us) = (0, 0);
        let arrival =
            Arrival { place, start, asked, token, seen, told_us, peers, peers_us, lane, via };
        self.arrive(arrival)
    }

    pub(super) fn trade(
        &mut self,
        trade: Trade,
        purchase: Option<usize>,
        key: u64,
        at: usize,
        must: bool,
    ) {
        self.checks.asks_for(&trade);
        self.history.trades.push(trade);
        let open = Open { purchase, key, at, tries: 0, answered: false, over: false, must };
        self.trader.open.push(open);
        self.try_trade(self.trader.open.len() - 1);
    }

    /// Makes the call, once (more).
    fn try_trade(&mut self, number: usize) {
        let open = &mut self.trader.open[number];
        open.tries += 1;
        open.answered = false;
        let (key, tries) = (open.key, open.tries);
        let options = &self.scenario.options;
        let mut dice = Dice::keyed(options.seed, Purpose::Client, key, tries | 9 << 32);
        let lost = dice.chance(options.client_loss) && !self.healed;
        let delay_us = dice.between((500, 3_000));
        // When nothing is wrong any more, nobody gives up before the replica would.
        let patient_us = if self.healed { 4_000_000 } else { 0 };
        let patience_us = (2 * dice.between(options.patience_us)).max(patient_us);
        if !lost {
            let step = Box::new(TradeStep::Arrives(patience_us - patience_us / 8));
            self.queue.put(self.now_us + delay_us, What::Trade(number, tries, step));
        }
        let step = Box::new(TradeStep::TimedOut);
        self.queue.put(self.now_us + patience_us, What::Trade(number, tries, step));
    }

    /// What is due of a trade.
    pub(crate) fn trade_step(&mut self, number: usize, tries: u64, step: TradeStep) -> Verdict {
        let open = self.trader.open[number];
        if let TradeStep::Arrives(peers_us) = step {
            let purchase = open.purchase.and_then(|at| self.trader.purchases.get(&at));
            let token = match purchase {
                Some(it) if !self.is_selling() => it.token.clone(),
                // What it had seen may be gone with a member.
                _ if self.is_selling() => Bytes::new(),
                _ => self.trader.token.clone(),
            };
            let (place, start) = (open.at, self.nodes[open.at].start);
            let (asked, seen, lane) = (Asked::Trade(number), None, NO_LANE);
            let (told_us, peers) = (400_000, 0);
            let via = Via::Trade(number, tries);
            let arrival =
                Arrival { place, start, asked, token, seen, told_us, peers, peers_us, lane, via };
            // Whoever stands still takes it in later.
            self.queue.put(self.now_us, What::Arrive(arrival));
            return Ok(());
        }
        if open.tries != tries || open.over || (open.answered && !matches!(step, TradeStep::Again))
        {
            return Ok(());
        }
        match step {
            TradeStep::Arrives(_) => Ok(()),
            TradeStep::Again => {
                self.try_trade(number);
                Ok(())
            }
            TradeStep::TimedOut => {
                self.coverage.hit(Mark::TradeUnanswered);
                self.trade_again(number, true)
            }
            TradeStep::Answered(answer) => {
                self.trader.open[number].answered = true;
                self.traded(number, *answer)
            }
        }
    }

    /// An answer leaves for who asked; it may be lost on its way.
    pub(crate) fn answer_trade(&mut self, number: usize, tries: u64, answer: Answer) {
        let options = &self.scenario.options;
        let key = self.trader.open[number].key;
        let mut dice = Dice::keyed(options.seed, Purpose::Client, key, tries | 10 << 32);
        let lost = dice.chance(options.client_loss) && !self.healed;
        let delay_us = dice.between((500, 3_000));
        if !lost {
            let step = Box::new(TradeStep::Answered(Box::new(answer)));
            self.queue.put(self.now_us + delay_us, What::Trade(number, tries, step));
        }
    }

    /// Once more, after a pause; perhaps elsewhere.
    fn trade_again(&mut self, number: usize, silent: bool) -> Verdict {
        let open = &mut self.trader.open[number];
        open.answered = true;
        let most = if open.must { TRIES_AT_THE_END } else { TRIES };
        if open.tries >= most {
            open.over = true;
            if open.must && self.healed {
                let what = format!("{:?} is not answered", self.history.trades[number]);
                return self.breach("liveness", Vec::new(), what);
            }
            return Ok(());
        }
        let (key, tries) = (open.key, open.tries);
        let mut dice = Dice::keyed(self.scenario.options.seed, Purpose::Market, key, tries << 8);
        // A restock may go in anywhere: it names who mints.
        if silent && dice.chance(600) || self.nodes[open.at].here().is_none() {
            open.at = dice.index(self.nodes.len());
            self.coverage.hit(Mark::TradeElsewhere);
        }
        let pause_us = dice.between((1_000, 80_000));
        let step = Box::new(TradeStep::Again);
        self.queue.put(self.now_us + pause_us, What::Trade(number, tries, step));
        Ok(())
    }

    /// A call is answered.
    fn traded(&mut self, number: usize, answer: Answer) -> Verdict {
        let (open, token) = (self.trader.open[number], answer.token);
        if !token.is_empty()
            && let Some(it) = open.purchase.and_then(|at| self.trader.purchases.get_mut(&at))
            && it.carries
        {
            it.token = token.clone();
        }
        let reply = match answer.said {
            Ok(Reply::Stock(reply)) => reply,
            // Nobody else is left to have it.
            Ok(Reply::StockUnreplicated { reply, .. })
                if self.is_selling() && self.nodes.iter().any(|node| node.dead) =>
            {
                reply
            }
            Ok(_) => {
                // It stands on fewer members than asked: ask again, which waits for the rest.
                self.coverage.hit(Mark::TradeShortOfPeers);
                return self.trade_again(number, false);
            }
            Err(failure) => {
                return match failure.next() {
                    NextMove::Retry | NextMove::Resume | NextMove::GoOn => {
                        self.trade_again(number, true)
                    }
                    _ => self.trade_over(number, None),
                };
            }
        };
        match reply.outcome {
            Outcome::Unavailable { members } if !self.is_in_vain(&members) => {
                self.coverage.hit(Mark::TradeUnavailable);
                self.trade_again(number, true)
            }
            outcome => {
                if matches!(self.history.trades[number].ask, Ask::Agree(_)) {
                    self.trader.agreed += 1;
                    // Of each stock: whoever buys knows the terms of all.
                    let mut all = Token::decode(&token).unwrap_or_default();
                    let known = Token::decode(&self.trader.token).unwrap_or_default();
                    all.vector.join(&known.vector);
                    self.trader.token = all.encode().into();
                }
                self.trade_over(number, Some(outcome))
            }
        }
    }

    /// Whether those who were not heard will never be.
    fn is_in_vain(&self, members: &[orset::Member]) -> bool {
        let is_gone = |member: &orset::Member| {
            self.place_of(*member).is_some_and(|place| self.nodes[place].dead)
        };
        // A keeper has to hear all of them; and by a clock that is far behind a purchase is of the
        // future.
        self.healed && (self.scenario.clocks_mislead() || members.iter().any(is_gone))
    }

    /// The buyer has its answer, or knows that there will be none.
    fn trade_over(&mut self, number: usize, outcome: Option<Outcome>) -> Verdict {
        self.trader.open[number].over = true;
        let open = self.trader.open[number];
        let trade = self.history.trades[number].clone();
        if let (Some(outcome), Ask::Order(_)) = (&outcome, &trade.ask) {
            self.coverage.hit(Mark::of_order(outcome));
            if let (Outcome::Held { .. }, Ask::Order(OrderAsk::Extend { .. })) =
                (outcome, &trade.ask)
            {
                self.coverage.hit(Mark::OrderExtended);
            }
            if let (Outcome::Held { .. }, Ask::Order(OrderAsk::Checkout { .. })) =
                (outcome, &trade.ask)
            {
                self.pays_order(trade.op, open.key, open.at);
            }
            return Ok(());
        }
        if let Some(outcome) = &outcome {
            self.coverage.hit(Mark::of_outcome(outcome));
        }
        if open.must && self.is_selling() {
            return self.sale_goes_on(number, outcome);
        }
        if let (Some(Outcome::Held { .. }), Some(purchase)) = (outcome, open.purchase) {
            self.pays(purchase, open.key, open.at);
        }
        Ok(())
    }

    /// Units are set aside: now the payment succeeds, fails, or never answers.
    fn pays(&mut self, number: usize, key: u64, at: usize) {
        let market = &self.scenario.options.market;
        let mut dice = Dice::keyed(self.scenario.options.seed, Purpose::Market, number as u64, 4);
        let (declined, silent) = (dice.chance(market.declined), dice.chance(market.silent));
        let elsewhere = dice.chance(300);
        let other = dice.index(self.nodes.len());
        let pause_us = dice.between((1_000, market.ttl_ms.1 * 1_300));
        let Some(it) = self.trader.purchases.get_mut(&number) else { return };
        if std::mem::replace(&mut it.paid, true) || silent {
            return;
        }
        let at = if elsewhere { other } else { at };
        let deal = if declined { Deal::Cancel } else { Deal::Buy };
        let what = Doing::Trade { deal, purchase: number, at, units: 1 };
        let act = Act { at_us: self.now_us + pause_us, key: key | 1 << 40, what };
        self.queue.put(act.at_us, What::Act(act));
    }
}
