//! The sessions of the model: each asks for one thing after the other, of any replica, and carries
//! its token from answer to answer.

use crate::config::{Ask, Config, member, op_id};
use orset::cart::{Content, Seen};
use orset::order::{Goods, OrderLine};
use orset::stock::{Ask as Asked, Customer, OrderAsk, Terms, Want};
use orset::{Kind, Lattice, ObjectKey, Product, Request, VersionVector};
use pannier_replica::protocol::stock::Call;
use pannier_replica::protocol::{Command, Durability, NO_LANE, Read, Refusal, Reply, Value, Write};
use std::sync::Arc;

/// A command that was sent, as it was sent: what is sent again is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub after: VersionVector,
    pub seen: Option<Seen>,
}

/// One client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    pub token: VersionVector,
    /// What it was shown last.
    pub seen: Option<Seen>,
    /// One for each step that has begun.
    pub sent: Vec<Sent>,
    /// Steps that are over: answered.
    pub done: usize,
    /// Of each step: since it began there was a moment when what it wants was not free.
    pub scarce: Vec<bool>,
}

impl Session {
    /// Whether the last step that began waits for its answer.
    pub fn is_waiting(&self) -> bool {
        self.sent.len() > self.done
    }

    /// The next command of the list.
    pub fn begin(&mut self, config: &Config, session: usize) -> Option<(u64, Command)> {
        let step = self.sent.len();
        let ask = config.ask(session, step)?;
        let is_seen = matches!(ask, Ask::Remove | Ask::Set(_) | Ask::Decrement(_));
        let seen = self.seen.clone().filter(|_| is_seen);
        self.scarce.push(false);
        self.sent.push(Sent { after: self.token.clone(), seen });
        Some((ticket(session, step), self.command(config, session, step)))
    }

    /// A step's command, as it was sent first.
    pub fn command(&self, config: &Config, session: usize, step: usize) -> Command {
        let Sent { after, seen } = &self.sent[step];
        let (after, seen) = (Arc::new(after.clone()), seen.clone());
        let request = match config.ask(session, step).unwrap_or(Ask::Read) {
            Ask::Read => return Command::Read(Read::new(cart(), after, u64::MAX)),
            Ask::Add(quantity) => Request::Add(Content::added(tea(), quantity, &[])),
            Ask::Remove => Request::Remove(tea()),
            Ask::Set(quantity) => {
                Request::Set { product: tea(), quantity, attributes: Box::default() }
            }
            Ask::Decrement(quantity) => Request::Decrement(tea(), quantity),
            Ask::Count(amount) => Request::Count(amount),
            ask @ (Ask::Restock(..)
            | Ask::Limit(_)
            | Ask::Buy(_)
            | Ask::Hold(_)
            | Ask::Pay(_)
            | Ask::Return(_)
            | Ask::Checkout(_)
            | Ask::Order(_)
            | Ask::Confirm(_)) => {
                return Command::Stock(call(config, (session, step), ask, after));
            }
        };
        let object = if matches!(request, Request::Count(_)) { counter() } else { cart() };
        let op = op_id(session, step);
        Command::Write(Write {
            op,
            object,
            request,
            seen,
            after,
            deadline_us: u64::MAX,
            lane: NO_LANE,
            durability: Durability::Local,
        })
    }

    /// The answer to a step; only the one that is waited for is heard.
    pub fn hear(&mut self, step: usize, answer: &Result<Reply, Refusal>) {
        if !self.is_waiting() || step != self.done {
            return;
        }
        self.done += 1;
        if let Ok(reply) = answer {
            self.token.join(reply.vector());
            if let Reply::Shown(shown) = reply
                && let Value::Cart(_, seen) = &shown.value
            {
                self.seen = Some(seen.clone());
            }
        }
    }
}

fn call(
    config: &Config,
    (session, step): (usize, usize),
    ask: Ask,
    after: Arc<VersionVector>,
) -> Call {
    let customer = config.limit().and_then(|_| Customer::new(b"ada").ok());
    let want = || Want { quantity: config.units(session, step), customer: customer.clone() };
    let goods = || {
        let (quantity, entries) = (config.units(session, step), config.entries());
        let line = OrderLine { product: tea(), quantity, entries };
        Goods::new(vec![line], None).unwrap()
    };
    let object = if ask.is_order() { cart() } else { stock() };
    let ask = match ask {
        Ask::Checkout(_) => Asked::Order(OrderAsk::Checkout { goods: goods(), ttl_ms: 60_000 }),
        Ask::Order(_) | Ask::Confirm(_) => Asked::Order(OrderAsk::Confirm { goods: goods() }),
        Ask::Restock(units, place) => Asked::Restock { units, at: member(place) },
        Ask::Hold(_) => Asked::Hold { want: want(), ttl_ms: 60_000 },
        Ask::Return(_) => Asked::Return,
        Ask::Limit(most) => Asked::Agree(Terms { limit: most.into(), ..Terms::default() }),
        _ => Asked::Commit { want: want() },
    };
    let op = op_id(session, config.names(session, step));
    let (deadline_us, by_us) = (u64::MAX, u64::MAX);
    Call { op, object, ask, after, deadline_us, lane: NO_LANE, peers: 0, by_us }
}

/// Names a step's command.
pub const fn ticket(session: usize, step: usize) -> u64 {
    (session * 100 + step) as u64
}

/// Which step a ticket names.
pub const fn step_of(ticket: u64) -> (usize, usize) {
    (ticket as usize / 100, ticket as usize % 100)
}

/// The one cart.
pub fn cart() -> ObjectKey {
    ObjectKey::new(Kind::Cart, b"shop", b"ada").unwrap()
}

/// The one counter.
pub fn counter() -> ObjectKey {
    ObjectKey::new(Kind::Counter, b"shop", b"views").unwrap()
}

/// The one stock.
pub fn stock() -> ObjectKey {
    ObjectKey::new(Kind::Stock, b"shop", b"tea").unwrap()
}

fn tea() -> Product {
    Product::new(b"tea").unwrap()
}
