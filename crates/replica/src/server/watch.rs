//! Watches over the wire: the value first, then again whenever it has changed.
//!
//! A watch is a flag that goes up; the value is read when its reader is ready to take it, so
//! changes that come faster than they are read are one change, and a slow reader costs two pages,
//! not a queue. A reader that does not take what was sent although there is news is cut off after a
//! while, with RESUME: it watches again, with the last event's token, and misses nothing.

use super::ask::{self, Terms};
use super::counts::Place;
use super::shared::{Shared, Stage};
use super::status;
use super::tokens::{TokenReader, TokenWriter};
use crate::embed::Flag;
use crate::protocol::{Durability, NO_LANE};
use orset::{Kind, VersionVector};
use pannier_proto::convert::{self, Asked, Page, Watched};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::limits::{LINES_MAX, ORDERS_MAX, PAGE_BYTES};
use pannier_proto::v1::answer::Body;
use pannier_proto::v1::watch_event::Value;
use pannier_proto::v1::{self, watcher_server};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone)]
pub(super) struct Watcher(pub Arc<Shared>);

#[tonic::async_trait]
impl watcher_server::Watcher for Watcher {
    type WatchStream = Events;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Events>, Status> {
        begin(&self.0, &request.into_inner())
            .map(Response::new)
            .map_err(|failure| self.0.told(failure))
    }
}

fn begin(shared: &Arc<Shared>, ask: &v1::WatchRequest) -> Result<Events, Failure> {
    let place = shared.enter(&shared.counts.watches, shared.settings.watches, "watches")?;
    let watched = convert::watched(ask)?;
    let (Watched::Object(object) | Watched::Orders(object)) = &watched;
    let after = TokenReader::new(shared.cluster).read(&ask.token)?;
    let flag = shared.replica.flag(object.clone()).map_err(|_| match shared.refusal() {
        Some(refusal) => refusal,
        None => Failure::new(Reason::Overloaded, "too many watches are open already"),
    })?;
    let (sender, events) = mpsc::channel(1);
    let end = Arc::<Mutex<Option<Status>>>::default();
    let watching = Watching {
        writer: TokenWriter::new(shared.cluster, shared.replica.member()),
        shared: shared.clone(),
        watched,
        after,
        flag,
        sender,
    };
    let (told, shared, sender) = (end.clone(), shared.clone(), watching.sender.clone());
    tokio::spawn(async move {
        if let Err(failure) = watching.run().await {
            let status = shared.told(failure);
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        }
        // The channel ends only now, so that its reader finds why.
        drop(sender);
    });
    Ok(Events { events, end, _place: place })
}

struct Watching {
    shared: Arc<Shared>,
    watched: Watched,
    after: Arc<VersionVector>,
    flag: Flag,
    writer: TokenWriter,
    sender: mpsc::Sender<v1::WatchEvent>,
}

impl Watching {
    /// Until the reader has gone (`Ok`), or something else ended it.
    async fn run(self) -> Result<(), Failure> {
        let mut this = self;
        let over = Shared::over(this.shared.stages());
        let (shared, sender) = (this.shared.clone(), this.sender.clone());
        tokio::select! {
            done = this.serve() => done,
            () = over => Err(match shared.stage() {
                // To watch again elsewhere is what there is to do, whatever the reason.
                Stage::Serving | Stage::Draining => {
                    Failure::new(Reason::Draining, "the server is shutting down")
                }
                Stage::Apart(place) => {
                    Failure::new(Reason::Draining, format!("this replica {place}"))
                }
                Stage::Failed(why) => Failure::new(Reason::StorageFailed, why),
            }),
            () = sender.closed() => Ok(()),
        }
    }

    async fn serve(&mut self) -> Result<(), Failure> {
        let patience = Duration::from_millis(self.shared.settings.reader_ms);
        loop {
            let room = tokio::time::timeout(patience, self.sender.reserve()).await;
            let room = room.map_err(|_| {
                let what = "the reader took nothing for too long; watch again with its last token";
                Failure::new(Reason::Resume, what)
            })?;
            // The reader has gone.
            let Ok(room) = room else { return Ok(()) };
            let (body, vector) = read(&self.shared, &self.watched, self.after.clone()).await?;
            let (token, _) = self.writer.write(&vector);
            self.shared.counts.events_total.fetch_add(1, Relaxed);
            room.send(v1::WatchEvent { token, value: value_of(body) });
            self.after = vector;
            if !self.flag.up().await {
                return Err(Failure::new(Reason::Closed, "the replica is closed"));
            }
        }
    }
}

async fn read(
    shared: &Shared,
    watched: &Watched,
    after: Arc<VersionVector>,
) -> Result<(Body, Arc<VersionVector>), Failure> {
    let allow_stale = false;
    let asked = match watched.clone() {
        Watched::Object(object) => {
            let has_pages = matches!(object.kind(), Kind::Cart | Kind::Set);
            let page = if has_pages { Page::first(LINES_MAX) } else { Page::WHOLE };
            Asked::Read { object, page, allow_stale }
        }
        Watched::Orders(object) => {
            Asked::Orders { object, after: None, size: ORDERS_MAX, allow_stale }
        }
    };
    let deadline_us = shared.catch_up_by(shared.replica.now_us(), 0);
    let (lane, durability) = (NO_LANE, Durability::Local);
    let terms = Terms { after, deadline_us, lane, durability, page_bytes: PAGE_BYTES };
    let (command, question) = ask::command(asked, terms);
    let outcome = shared.queue(command)?.await;
    let ended = || Failure::new(Reason::Closed, "the replica is closed");
    let reply = outcome.map_err(|_| ended())?.map_err(|why| status::no_reply(&why))?;
    Ok((ask::answer(&question, &reply, &shared.origin), reply.vector().clone()))
}

fn value_of(body: Body) -> Option<Value> {
    match body {
        Body::Cart(cart) => Some(Value::Cart(cart)),
        Body::Set(set) => Some(Value::Set(set)),
        Body::Counter(counter) => Some(Value::Counter(counter)),
        Body::Stock(stock) => Some(Value::Stock(stock)),
        Body::CartOrders(orders) => Some(Value::Orders(orders)),
        // A read of an object is answered with its value.
        Body::Written(_) | Body::StockAnswer(_) | Body::StockHolds(_) => None,
        Body::CustomerHolds(_) => None,
        Body::List(_) | Body::Failure(_) => None,
    }
}

/// The events of one watch, and how it ended.
pub(super) struct Events {
    events: mpsc::Receiver<v1::WatchEvent>,
    end: Arc<Mutex<Option<Status>>>,
    /// Held as long as the stream is, so that what waits for a stuck reader is counted.
    _place: Place,
}

impl Stream for Events {
    type Item = Result<v1::WatchEvent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.events.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(event)) => Poll::Ready(Some(Ok(event))),
            Poll::Ready(None) => {
                let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
                Poll::Ready(end.map(Err))
            }
        }
    }
}
