//! The core behind its lock, and how its effects reach sockets, tasks and callers.

use super::dial::Dial;
use crate::core::{Answered, Ask, Core, Effect, Envelope};
use crate::doors::clock::Clock;
use crate::error::Error;
use crate::settings::ClientSettings;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tonic::transport::Endpoint;

/// Whom to tell of a call.
pub(crate) type Done = oneshot::Sender<Result<Answered, Error>>;

/// What a stream's task is to do; the last word counts.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Nothing yet, or nothing any more.
    Rest,
    /// Open this stream, in the place of any other.
    Open { epoch: u64, endpoint: usize, token: Bytes },
}

/// How the first tries went: for `connect`, which waits for one to succeed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub opened: bool,
    pub failures: usize,
    pub last: Option<Error>,
}

struct State {
    core: Core<Done>,
    /// Request bodies that found nothing to send.
    parked: Vec<Option<Waker>>,
    /// When the timer task will wake.
    armed_us: u64,
}

/// What all handles and tasks of a client have in common.
pub(crate) struct Shared {
    state: Mutex<State>,
    pub clock: Clock,
    pub settings: ClientSettings,
    pub endpoints: Vec<Endpoint>,
    pub dial: Arc<dyn Dial>,
    pub slots: Semaphore,
    pub timer: Notify,
    pub orders: Vec<watch::Sender<Order>>,
    pub progress: watch::Sender<Progress>,
    /// Random, the same for the client's life: what its streams are routed by.
    pub key: u64,
}

impl Shared {
    pub fn new(
        settings: ClientSettings,
        endpoints: Vec<Endpoint>,
        dial: Arc<dyn Dial>,
        seed: u64,
        key: u64,
    ) -> Self {
        let streams = settings.core.streams;
        let clock = Clock::start();
        let core = Core::new(settings.core.clone(), seed, clock.now_us());
        let state = State { core, parked: (0..streams).map(|_| None).collect(), armed_us: 0 };
        Self {
            state: Mutex::new(state),
            clock,
            endpoints,
            dial,
            slots: Semaphore::new(settings.calls_max),
            timer: Notify::new(),
            orders: (0..streams).map(|_| watch::channel(Order::Rest).0).collect(),
            progress: watch::channel(Progress::default()).0,
            key,
            settings,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The core is whole between any two of its calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the core at the present time, then what the core wants done.
    pub fn with<R>(&self, act: impl FnOnce(&mut Core<Done>, u64) -> R) -> R {
        let now_us = self.clock.now_us();
        let mut state = self.lock();
        let result = act(&mut state.core, now_us);
        self.carry_out(state);
        result
    }

    /// Cuts a session to `left`, which is what a server has of it. Whether the caller must be told:
    /// it has read what is lost, or nothing was to be cut, and the server is confused.
    pub fn cut_to(&self, number: u32, left: &Bytes) -> bool {
        let cut = |core: &mut Core<Done>, now_us| {
            let sent = core.token_to_send(number);
            core.cut_to(number, left, &sent, now_us)
        };
        self.with(cut).unwrap_or(true)
    }

    fn carry_out(&self, mut state: MutexGuard<'_, State>) {
        let mut told = Vec::new();
        let mut wake = None;
        while let Some(effect) = state.core.poll() {
            match effect {
                Effect::Done(done, result) => told.push((done, result)),
                Effect::Send { stream } => {
                    if let Some(waker) = state.parked[stream].take()
                        && let Some(other) = wake.replace(waker)
                    {
                        // More than one at a time is rare: it may wake under the lock.
                        other.wake();
                    }
                }
                Effect::Open { stream, epoch, endpoint, token } => {
                    self.orders[stream].send_replace(Order::Open { epoch, endpoint, token });
                }
                Effect::Close { stream } => {
                    self.orders[stream].send_replace(Order::Rest);
                }
            }
        }
        let freed = state.core.take_freed();
        let sooner = state.core.wake_us() < state.armed_us;
        if sooner {
            state.armed_us = state.core.wake_us();
        }
        drop(state);
        if let Some(waker) = wake {
            waker.wake();
        }
        if freed > 0 {
            self.slots.add_permits(freed as usize);
        }
        if sooner {
            self.timer.notify_one();
        }
        for (done, result) in told {
            // Whoever asked may be gone; the op is not undone by that.
            let _ = done.send(result);
        }
    }

    /// Hands a call over; its slots are taken already.
    pub fn submit(&self, ask: Ask<Done>) {
        self.with(|core, now_us| core.submit(ask, now_us));
    }

    /// When the timer task is to wake next.
    pub fn arm(&self) -> u64 {
        let mut state = self.lock();
        state.armed_us = state.core.wake_us();
        state.armed_us
    }

    /// What a request body sends next; `None`: its stream is over. It is parked under the same lock
    /// when there is nothing, or it would sleep through what comes in between.
    pub fn take(&self, stream: usize, epoch: u64, waker: &Waker) -> Option<Vec<Envelope>> {
        let now_us = self.clock.now_us();
        let mut state = self.lock();
        let taken = state.core.take(stream, epoch, now_us);
        if taken.as_ref().is_some_and(Vec::is_empty) {
            state.parked[stream] = Some(waker.clone());
        }
        self.carry_out(state);
        taken
    }

    /// The end: every call is told, and all tasks find nothing to do any more.
    pub fn close(&self) {
        self.with(|core, _| core.close());
        for order in &self.orders {
            order.send_replace(Order::Rest);
        }
    }
}
