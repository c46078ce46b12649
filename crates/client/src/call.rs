//! A call under way: made, handed over, awaited.
//!
//! A call is handed over when it is made, if there is room, and else when it is first awaited.
//! Dropping it does not undo it. Calls of one session that do not commute take effect in the order
//! in which they were handed over.

use crate::core::{Answered, Ask, Body};
use crate::error::Error;
use crate::settings::SLOT_BYTES;
use crate::view::FromAnswer;
use crate::wire::Shared;
use orset::OpId;
use pannier_proto::errors::{Failure, Reason, StateChange};
use pannier_proto::limits::MESSAGE_MAX;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

type Receiver = oneshot::Receiver<Result<Answered, Error>>;

enum State {
    Failed(Option<Error>),
    /// No room yet.
    Waiting(Pin<Box<dyn Future<Output = Result<Receiver, Error>> + Send>>),
    Sent(Receiver),
}

/// See the file's head.
#[must_use = "a call is answered when it is awaited"]
pub struct Call<T> {
    state: State,
    op: Option<OpId>,
    page_size: u32,
    kind: PhantomData<fn() -> T>,
}

/// What a call needs beside its body.
pub(crate) struct Terms {
    pub session: Option<u32>,
    pub op: Option<OpId>,
    pub peers: u32,
    pub deadline: Duration,
    pub page_size: u32,
}

/// What a message costs beside a command's body, at most: frame and token.
const AROUND: usize = 4_200;

impl<T: FromAnswer> Call<T> {
    pub(crate) fn failed(error: Error) -> Self {
        let state = State::Failed(Some(error));
        Self { state, op: None, page_size: 0, kind: PhantomData }
    }

    /// Hands it over. `keep`: what must not go before the call has gone.
    pub(crate) fn make<K: Send + 'static>(
        shared: &Arc<Shared>,
        body: Body,
        terms: &Terms,
        keep: K,
    ) -> Self {
        let len = body.bytes.len();
        if len + AROUND > MESSAGE_MAX {
            let message = format!("the command has {len} bytes, a message at most {MESSAGE_MAX}");
            return Self::failed(Failure::new(Reason::TooLarge, message).into());
        }
        let slots = 1 + (len / SLOT_BYTES) as u32;
        let patience = u64::try_from(terms.deadline.as_micros()).unwrap_or(u64::MAX);
        let deadline_us = shared.clock.now_us().saturating_add(patience);
        let (done, receiver) = oneshot::channel();
        let (session, peers) = (terms.session, terms.peers);
        let ask = Ask { session, body, deadline_us, peers, slots, done };
        let state = match shared.slots.try_acquire_many(slots) {
            Ok(permit) => {
                permit.forget();
                shared.submit(ask);
                State::Sent(receiver)
            }
            Err(_) => State::Waiting(Box::pin(wait(shared.clone(), ask, receiver, keep))),
        };
        Self { state, op: terms.op, page_size: terms.page_size, kind: PhantomData }
    }

    /// The op id of a change: whoever makes it again, after an error that leaves its state unknown,
    /// gives it (`with_op_id`).
    pub const fn op_id(&self) -> Option<OpId> {
        self.op
    }
}

async fn wait<K: Send>(
    shared: Arc<Shared>,
    ask: Ask<oneshot::Sender<Result<Answered, Error>>>,
    receiver: Receiver,
    keep: K,
) -> Result<Receiver, Error> {
    tokio::select! {
        permit = shared.slots.acquire_many(ask.slots) => match permit {
            Ok(permit) => permit.forget(),
            Err(_) => return Err(Error::Closed { state: StateChange::None }),
        },
        () = shared.clock.until(ask.deadline_us) => {
            return Err(Error::TimedOut { state: StateChange::None, last: None });
        }
    }
    shared.submit(ask);
    drop(keep);
    Ok(receiver)
}

impl<T: FromAnswer> Future for Call<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let this = &mut *self;
            match &mut this.state {
                State::Failed(error) => {
                    let closed = Error::Closed { state: StateChange::None };
                    return Poll::Ready(Err(error.take().unwrap_or(closed)));
                }
                State::Waiting(sent) => match sent.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(receiver)) => this.state = State::Sent(receiver),
                    Poll::Ready(Err(error)) => this.state = State::Failed(Some(error)),
                },
                State::Sent(receiver) => {
                    let size = this.page_size;
                    return Pin::new(receiver).poll(context).map(|received| match received {
                        Ok(Ok(answered)) => T::from_answer(answered, size),
                        Ok(Err(error)) => Err(error),
                        Err(_) => Err(Error::Closed { state: StateChange::Unknown }),
                    });
                }
            }
        }
    }
}
