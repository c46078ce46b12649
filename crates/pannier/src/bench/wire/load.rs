//! The load: one task keeps a window of calls in flight and waits for them in order.
//!
//! What op `i` asks is a function of `i` (`../load.rs`). Answers of one round leave together and
//! rounds leave in order, so waiting in order sees each latency as a caller would. Calls belong to
//! sessions in turn, since that is what a service has: with as many sessions as calls in flight,
//! nobody asks twice at a time.

use super::away;
use super::meter::Meter;
use crate::bench::load::{bits, product_of};
use crate::fail::Fail;
use pannier_client::{Call, Cart, CartView, Client, ClientSettings, Error, Page, Session, Written};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The namespace of everything.
pub const NAMESPACE: &str = "shop";

/// Who calls, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Callers {
    /// Calls in flight.
    pub in_flight: u64,
    /// Carts that they spread over.
    pub carts: u64,
    /// Sessions that calls belong to, in turn; 0: to none.
    pub sessions: u64,
    /// Execute streams.
    pub streams: u64,
}

/// A client at one address, with the sessions that it serves in turn.
pub struct Shop {
    pub client: Client,
    sessions: Vec<Session>,
    carts: u64,
    next: u64,
}

impl Shop {
    /// Connects.
    pub async fn open(callers: &Callers, address: SocketAddr) -> Result<Self, Fail> {
        let mut settings = ClientSettings::new([address.to_string()]);
        settings.core.streams = callers.streams as usize;
        settings.calls_max = settings.calls_max.max(callers.in_flight as usize);
        let client = Client::connect(settings).await.map_err(away)?;
        let sessions = (0..callers.sessions).map(|_| client.session());
        let sessions = sessions.collect::<Result<_, _>>().map_err(away)?;
        Ok(Self { client, sessions, carts: callers.carts, next: 0 })
    }

    /// The number of the next op.
    pub const fn next(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// A cart, for the session whose turn op `i` is.
    pub fn cart(&self, i: u64, id: &str) -> Result<Cart, Fail> {
        let cart = match self.sessions.len() as u64 {
            0 => self.client.cart(NAMESPACE, id),
            turns => self.sessions[(i % turns) as usize].cart(NAMESPACE, id),
        };
        cart.map_err(away)
    }

    /// One unit of a random product into a random cart; there is always more to ask.
    pub fn add(&mut self) -> Result<Option<Op>, Fail> {
        let i = self.next();
        let cart = self.cart(i, &format!("user-{}", bits(i) % self.carts))?;
        Ok(Some(Op::Write(cart.add(product_of(i), 1))))
    }
}

/// A call under way, whatever its answer.
pub enum Op {
    /// A change.
    Write(Call<Written>),
    /// The first page of a cart.
    Read(Call<CartView>),
}

impl Op {
    /// Reads a cart.
    pub fn read(cart: &Cart) -> Self {
        Self::Read(cart.read_page(&Page::first(0)))
    }
}

impl Future for Op {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Write(call) => Pin::new(call).poll(context).map_ok(drop),
            Self::Read(call) => Pin::new(call).poll(context).map_ok(drop),
        }
    }
}

/// One turn: keeps `in_flight` under way for so long, or until there is nothing to ask any more;
/// then waits for what is left, unmeasured. An error ends it: nothing is killed here, so there
/// should be none.
pub async fn turn(
    meter: &mut Meter,
    in_flight: u64,
    lasts_us: u64,
    mut next: impl FnMut() -> Result<Option<Op>, Fail>,
) -> Result<(), Fail> {
    let mut window = VecDeque::with_capacity(in_flight as usize);
    let mut now_us = meter.begin()?;
    let until_us = now_us + lasts_us;
    while now_us < until_us {
        while window.len() < in_flight as usize
            && let Some(op) = next()?
        {
            window.push_back((now_us, op));
        }
        let Some((asked_us, op)) = window.pop_front() else { break };
        op.await.map_err(away)?;
        now_us = meter.answered(asked_us);
    }
    meter.end()?;
    for (_, op) in window {
        op.await.map_err(away)?;
    }
    Ok(())
}
