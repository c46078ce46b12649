//! An op under way: wait for it, or await it.

use super::error::Error;
use super::session::Session;
use crate::driver::NoReply;
use crate::protocol::stock::StockReply;
use crate::protocol::{Reply, Shown, Value, Written};
use orset::order::ShownOrders;
use orset::stock::{CustomerHolds, Holds, Sheet};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// What a reply is turned into for the caller.
pub trait FromReply: Sized {
    /// `None` when the reply is of another kind, which the driver never lets happen.
    fn from_reply(reply: Reply) -> Option<Self>;
}

impl FromReply for Written {
    fn from_reply(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Written(written) => Some(written),
            _ => None,
        }
    }
}

impl FromReply for Shown {
    fn from_reply(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Shown(shown) => Some(shown),
            _ => None,
        }
    }
}

/// What a cart shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartView {
    /// Its lines, ascending by product.
    pub lines: Vec<orset::cart::Line>,
    /// What the next op on what was shown should carry.
    pub seen: orset::cart::Seen,
}

/// What a set shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetView {
    /// Its elements, ascending.
    pub elements: Vec<orset::Product>,
    /// What the next op on what was shown should carry.
    pub seen: orset::cart::Seen,
}

impl CartView {
    /// Units of a product; 0 when it is not in the cart.
    pub fn quantity(&self, product: &[u8]) -> u64 {
        let found = self.lines.iter().find(|line| line.product.as_bytes() == product);
        found.map_or(0, |line| line.quantity)
    }
}

impl FromReply for CartView {
    fn from_reply(reply: Reply) -> Option<Self> {
        match Shown::from_reply(reply)?.value {
            Value::Cart(lines, seen) => Some(Self { lines, seen }),
            _ => None,
        }
    }
}

impl FromReply for SetView {
    fn from_reply(reply: Reply) -> Option<Self> {
        match Shown::from_reply(reply)?.value {
            Value::Set(elements, seen) => Some(Self { elements, seen }),
            _ => None,
        }
    }
}

impl FromReply for StockReply {
    fn from_reply(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Stock(reply) => Some(reply),
            _ => None,
        }
    }
}

impl FromReply for Sheet {
    fn from_reply(reply: Reply) -> Option<Self> {
        match Shown::from_reply(reply)?.value {
            Value::Stock(sheet) => Some(sheet),
            _ => None,
        }
    }
}

impl FromReply for Holds {
    fn from_reply(reply: Reply) -> Option<Self> {
        match Shown::from_reply(reply)?.value {
            Value::Holds(holds) => Some(holds),
            _ => None,
        }
    }
}

impl FromReply for CustomerHolds {
    fn from_reply(reply: Reply) -> Option<Self> {
        match Shown::from_reply(reply)?.value {
            Value::HeldBy(page) => Some(page),
            _ => None,
        }
    }
}

impl FromReply for ShownOrders {
    fn from_reply(reply: Reply) -> Option<Self> {
        match Shown::from_reply(reply)?.value {
            Value::Orders(orders) => Some(orders),
            _ => None,
        }
    }
}

impl FromReply for i128 {
    fn from_reply(reply: Reply) -> Option<Self> {
        match Shown::from_reply(reply)?.value {
            Value::Counter(value) => Some(value),
            _ => None,
        }
    }
}

type Received = Result<Result<Reply, NoReply>, oneshot::error::RecvError>;

enum State {
    Failed(Option<Error>),
    Waiting(oneshot::Receiver<Result<Reply, NoReply>>),
}

/// An op that this replica has taken in and not yet answered. Dropping it does not undo the op.
#[must_use = "an op is answered when it is waited for or awaited"]
pub struct Pending<T> {
    state: State,
    session: Option<Session>,
    kind: std::marker::PhantomData<fn() -> T>,
}

impl<T: FromReply> Pending<T> {
    pub(super) fn failed(error: Error) -> Self {
        Self { state: State::Failed(Some(error)), session: None, kind: std::marker::PhantomData }
    }

    pub(super) fn waiting(
        answer: oneshot::Receiver<Result<Reply, NoReply>>,
        session: Option<Session>,
    ) -> Self {
        Self { state: State::Waiting(answer), session, kind: std::marker::PhantomData }
    }

    /// Blocks until the op is answered. Not for async code: await it there.
    pub fn wait(self) -> Result<T, Error> {
        match self.state {
            State::Failed(error) => Err(error.unwrap_or(Error::Closed)),
            State::Waiting(answer) => finish(answer.blocking_recv(), self.session.as_ref()),
        }
    }
}

fn finish<T: FromReply>(received: Received, session: Option<&Session>) -> Result<T, Error> {
    match received {
        Ok(Ok(reply)) => {
            if let Some(session) = session {
                session.observe(reply.vector());
            }
            match reply {
                Reply::Unreplicated(unreplicated) => {
                    Err(Error::NotReplicated(Box::new(unreplicated)))
                }
                Reply::StockUnreplicated { reply, on, asked } => {
                    Err(Error::StockNotReplicated { reply: Box::new(reply), on, asked })
                }
                reply => T::from_reply(reply).ok_or(Error::Closed),
            }
        }
        Ok(Err(NoReply::Refused(refusal))) => Err(refusal.into()),
        Ok(Err(NoReply::Failed(why))) => Err(Error::Failed(why)),
        Err(_) => Err(Error::Failed("the replica ended before it answered".into())),
    }
}

impl<T: FromReply> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match &mut this.state {
            State::Failed(error) => Poll::Ready(Err(error.take().unwrap_or(Error::Closed))),
            State::Waiting(answer) => {
                Pin::new(answer).poll(context).map(|it| finish(it, this.session.as_ref()))
            }
        }
    }
}
