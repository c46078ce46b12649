//! Watching an object: its value first, then again whenever it has changed.
//!
//! A watch outlives its stream. It comes back with the token of the last value it showed, so what
//! it shows next is never older. Values that came while nobody looked are one: the last. A reader
//! that does not look for long is cut off by the server, and comes back when it looks again; it
//! costs nothing meanwhile.

use crate::client::{Client, Inner};
use crate::core::{Answered, Dice, Next, Resume, judge_error};
use crate::error::Error;
use crate::handles::Handle;
use crate::session::Session;
use crate::view::{FromAnswer, KIND, Shown};
use crate::wire::{chain, request};
use bytes::Bytes;
use futures_core::Stream;
use orset::Kind;
use pannier_proto::v1::answer::Body as Said;
use pannier_proto::v1::watch_event::Value;
use pannier_proto::v1::watcher_client::WatcherClient;
use pannier_proto::{metadata, v1};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Watches that share a connection: servers bound the streams of one.
const ON_A_CONNECTION: usize = 128;

/// How often to look whether the session's own writes are there again.
const LOOK_AGAIN_US: u64 = 10_000;

/// What the watches of a client share.
pub(crate) struct Watching {
    now: AtomicUsize,
    begun: AtomicUsize,
    /// By address and number.
    channels: Mutex<BTreeMap<(usize, usize), Channel>>,
    seed: u64,
}

impl Watching {
    pub fn new(seed: u64) -> Self {
        let (now, begun) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { now, begun, channels: Mutex::new(BTreeMap::new()), seed }
    }
}

/// A watch on one object. See the file's head.
pub struct Watch {
    client: Client,
    session: Option<Session>,
    object: v1::ObjectRef,
    orders: bool,
    /// Of the last value shown, when there is no session to know.
    token: Bytes,
    number: usize,
    endpoint: usize,
    stream: Option<Streaming<v1::WatchEvent>>,
    resume: Resume,
    dice: Dice,
    /// Not before then.
    wait_us: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.client.inner.watching.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watch {
    /// `orders`: of a cart's orders, in place of its lines.
    pub(crate) fn new(handle: &Handle, orders: bool) -> Result<Self, Error> {
        let watching = &handle.client.inner.watching;
        let settings = &handle.client.inner.shared.settings;
        let max = settings.watches_max;
        if watching.now.fetch_add(1, Ordering::Relaxed) >= max {
            watching.now.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::TooMany { what: "watches", max });
        }
        let kind = match handle.kind {
            Kind::Cart => v1::Kind::Cart,
            Kind::Set => v1::Kind::Set,
            Kind::Counter => v1::Kind::Counter,
            Kind::Stock => v1::Kind::Stock,
        };
        let number = watching.begun.fetch_add(1, Ordering::Relaxed);
        let patience_us = u64::try_from(settings.deadline.as_micros()).unwrap_or(u64::MAX);
        Ok(Self {
            client: handle.client.clone(),
            session: handle.session.clone(),
            object: v1::ObjectRef {
                kind: kind.into(),
                namespace: handle.namespace.clone(),
                id: handle.id.clone(),
            },
            orders,
            token: Bytes::new(),
            number,
            endpoint: 0,
            stream: None,
            resume: Resume::new(settings.core.backoff, patience_us),
            dice: Dice::new(watching.seed ^ number as u64),
            wait_us: 0,
        })
    }

    /// The value at first, then the next one: waits for a change, through breaks. An error when
    /// there was no coming back for as long as a call may take, or when it is of no use; ask again
    /// to go on trying. May be dropped while it waits; nothing is lost by that.
    pub async fn next(&mut self) -> Result<Shown, Error> {
        loop {
            match self.event().await {
                Ok(event) => {
                    self.resume.shown();
                    return self.show(event);
                }
                Err(status) => {
                    self.stream = None;
                    self.broke(&status)?;
                }
            }
        }
    }

    async fn event(&mut self) -> Result<v1::WatchEvent, Status> {
        let inner = self.client.inner.clone();
        if self.stream.is_none() {
            inner.shared.clock.until(self.wait_us).await;
            self.wait_for_own_writes(&inner).await;
            self.stream = Some(self.open(&inner).await?);
        }
        let Some(stream) = &mut self.stream else { return Err(Status::unavailable("no stream")) };
        let ended = || Status::unavailable("the watch ended");
        let mut event = stream.message().await?.ok_or_else(ended)?;
        // What lies there already is newer, and all that anybody wants.
        let mut over = false;
        poll_fn(|context| {
            while let Poll::Ready(next) = Pin::new(&mut *stream).poll_next(context) {
                match next {
                    Some(Ok(newer)) => event = newer,
                    // It is said at the next call, by opening again.
                    Some(Err(_)) | None => {
                        over = true;
                        break;
                    }
                }
            }
            Poll::Ready(())
        })
        .await;
        if over {
            self.stream = None;
        }
        Ok(event)
    }

    /// What is being written again is not in the session's token; a value without it would be older
    /// than the last one.
    async fn wait_for_own_writes(&self, inner: &Inner) {
        let Some(session) = &self.session else { return };
        let number = session.inner.number;
        while inner.shared.with(|core, _| core.is_writing_again(number)) {
            inner.shared.clock.until(inner.shared.clock.now_us() + LOOK_AGAIN_US).await;
        }
    }

    async fn open(&self, inner: &Inner) -> Result<Streaming<v1::WatchEvent>, Status> {
        let unreachable = |error: &dyn std::error::Error| Status::unavailable(chain(error));
        let channel = {
            let mut channels =
                inner.watching.channels.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (self.endpoint, self.number / ON_A_CONNECTION);
            let shared = &inner.shared;
            let dial = || shared.dial.dial_lazily(&shared.endpoints[self.endpoint]);
            channels.entry(key).or_insert_with(dial).clone()
        };
        let token = self.session.as_ref().map_or_else(|| self.token.clone(), Session::token);
        let mut watcher = WatcherClient::new(channel)
            .max_decoding_message_size(inner.shared.settings.answer_bytes_max);
        let (object, orders) = (Some(self.object.clone()), self.orders);
        let ask = v1::WatchRequest { object, token: token.clone(), orders };
        // Beside the numbers of streams.
        let which = (1 << 16) + (self.number / ON_A_CONNECTION) as u32;
        let call = watcher.watch(request(ask, inner.shared.key, which, &token));
        let limit = std::time::Duration::from_micros(inner.shared.settings.core.stall_us);
        match tokio::time::timeout(limit, call).await {
            Ok(opened) => opened.map(tonic::Response::into_inner),
            Err(late) => Err(unreachable(&late)),
        }
    }

    fn show(&mut self, event: v1::WatchEvent) -> Result<Shown, Error> {
        let body = match event.value {
            Some(Value::Cart(cart)) => Said::Cart(cart),
            Some(Value::Set(set)) => Said::Set(set),
            Some(Value::Counter(counter)) => Said::Counter(counter),
            Some(Value::Stock(stock)) => Said::Stock(stock),
            Some(Value::Orders(orders)) => Said::CartOrders(orders),
            None => return Err(Error::BadAnswer("an event without a value")),
        };
        let mut regressed = false;
        match &self.session {
            Some(session) => {
                let number = session.inner.number;
                self.client.inner.shared.with(|core, _| {
                    regressed = core.take_regressed(number);
                    core.learn(number, &event.token)
                })?;
            }
            None => self.token = Bytes::copy_from_slice(&event.token),
        }
        if self.orders && !matches!(body, Said::CartOrders(_)) {
            // An older replica, which does not know what was asked.
            return Err(KIND);
        }
        Shown::from_answer(Answered { body, regressed }, 0)
    }

    /// Decides when to come back; an error is for the caller.
    fn broke(&mut self, status: &Status) -> Result<(), Error> {
        let shared = &self.client.inner.shared;
        let now_us = shared.clock.now_us();
        self.endpoint = (self.endpoint + 1) % shared.endpoints.len();
        self.wait_us = now_us;
        let judged = judge_error(Error::from(status));
        let number = self.session.as_ref().map(|session| session.inner.number);
        match self.resume.broke(judged.clone(), now_us, &mut self.dice) {
            Next::Tell(error) => return Err(error),
            Next::At(us) => self.wait_us = us,
            Next::GiveWay(origin, have, us) => {
                let gave = number.is_some_and(|number| {
                    shared.with(|core, now_us| core.give_way(number, origin, have, now_us))
                });
                self.wait_us = if gave { now_us } else { us };
            }
            Next::GoOn => {
                let left = metadata::token_bytes(status.metadata()).ok().flatten();
                let Some(left) = left else { return Err(judged.error) };
                let tell = match number {
                    Some(number) => shared.cut_to(number, &left),
                    None => {
                        self.token = left;
                        true
                    }
                };
                if tell {
                    return Err(judged.error);
                }
            }
        }
        Ok(())
    }
}
