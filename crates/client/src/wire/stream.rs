//! One task for each stream: it dials, opens, listens, and dials again when the core says so.
//!
//! The request's body is not fed by this task: it takes what waits when the connection has room
//! (`Outgoing`), so everything that came in meanwhile leaves in one message, without a timer.

use super::codec::ExecuteCodec;
use super::shared::{Order, Shared};
use crate::core::{Envelope, Event};
use crate::error::Error;
use bytes::Bytes;
use futures_core::Stream;
use http::uri::PathAndQuery;
use pannier_proto::metadata;
use pannier_proto::v1::ExecuteResponse;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::watch;
use tonic::metadata::BinaryMetadataValue;
use tonic::{Request, Status, Streaming};

/// Bytes of a routing key: the client's 8, then what it is for.
pub(crate) const CLIENT_KEY: usize = 8;

/// A request body: pulls batches out of the core as fast as the connection takes them.
struct Outgoing {
    shared: Arc<Shared>,
    stream: usize,
    epoch: u64,
}

impl Stream for Outgoing {
    type Item = Vec<Envelope>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Vec<Envelope>>> {
        match self.shared.take(self.stream, self.epoch, context.waker()) {
            Some(batch) if batch.is_empty() => Poll::Pending,
            taken => Poll::Ready(taken),
        }
    }
}

/// A request with what a gateway routes by.
pub(crate) fn request<T>(message: T, key: u64, which: u32, token: &Bytes) -> Request<T> {
    let mut request = Request::new(message);
    let mut session = [0; CLIENT_KEY + 4];
    session[..CLIENT_KEY].copy_from_slice(&key.to_be_bytes());
    session[CLIENT_KEY..].copy_from_slice(&which.to_be_bytes());
    let session = BinaryMetadataValue::from_bytes(&session);
    request.metadata_mut().insert_bin(metadata::SESSION, session);
    if !token.is_empty() {
        metadata::set_token(request.metadata_mut(), token);
    }
    request
}

/// The task of one stream's place. It ends when the client is gone.
pub(crate) async fn run_stream(shared: Arc<Shared>, stream: usize) {
    let mut orders = shared.orders[stream].subscribe();
    loop {
        let order = orders.borrow_and_update().clone();
        if let Order::Open { epoch, endpoint, token } = order {
            let served = serve(&shared, stream, epoch, endpoint, token);
            let why = tokio::select! {
                why = served => why,
                _ = orders.changed() => continue,
            };
            shared.progress.send_modify(|progress| {
                progress.failures += 1;
                progress.last.clone_from(&why);
            });
            tracing::debug!(stream, epoch, ?why, "stream is over");
            shared.with(|core, now_us| core.handle(Event::Lost { stream, epoch, why }, now_us));
        }
        if orders.changed().await.is_err() {
            return;
        }
    }
}

/// One stream, from dialling to its end; says why it ended, if anybody said.
async fn serve(
    shared: &Arc<Shared>,
    stream: usize,
    epoch: u64,
    endpoint: usize,
    token: Bytes,
) -> Option<Error> {
    let mut answers = match open(shared, stream, epoch, endpoint, token).await {
        Ok(answers) => answers,
        Err(why) => return Some(why),
    };
    shared.progress.send_modify(|progress| progress.opened = true);
    shared.with(|core, now_us| core.handle(Event::Opened { stream, epoch }, now_us));
    loop {
        match answers.message().await {
            Ok(Some(ExecuteResponse { answers })) => {
                let event = Event::Answers { stream, epoch, answers };
                shared.with(|core, now_us| core.handle(event, now_us));
            }
            Ok(None) => return None,
            Err(status) => return Some(Error::from(&status)),
        }
    }
}

async fn open(
    shared: &Arc<Shared>,
    stream: usize,
    epoch: u64,
    endpoint: usize,
    token: Bytes,
) -> Result<Streaming<ExecuteResponse>, Error> {
    let endpoint = &shared.endpoints[endpoint];
    let unreachable =
        |why: String| Error::Unreachable { endpoint: endpoint.uri().to_string(), why };
    let channel = shared.dial.dial(endpoint).await;
    let channel = channel.map_err(|error| unreachable(chain(&error)))?;
    let mut grpc = tonic::client::Grpc::new(channel)
        .max_decoding_message_size(shared.settings.answer_bytes_max);
    grpc.ready().await.map_err(|error| unreachable(chain(&error)))?;
    let outgoing = Outgoing { shared: shared.clone(), stream, epoch };
    let request = request(outgoing, shared.key, stream as u32, &token);
    let path = PathAndQuery::from_static("/pannier.v1.Executor/Execute");
    let opened = grpc.streaming(request, path, ExecuteCodec).await;
    opened.map(tonic::Response::into_inner).map_err(|status: Status| Error::from(&status))
}

/// An error with its causes: the outermost one says "transport error" and no more.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The task that tells the core the time.
pub(crate) async fn run_timer(shared: Arc<Shared>) {
    loop {
        let wake_us = shared.arm();
        tokio::select! {
            () = shared.clock.until(wake_us) => {
                shared.with(|core, now_us| core.handle(Event::Tick, now_us));
            }
            () = shared.timer.notified() => {}
        }
    }
}

/// Follows a place's first tries until one succeeds, or `failures` have failed.
pub(crate) async fn first_try(
    progress: &mut watch::Receiver<super::shared::Progress>,
    failures: usize,
) -> Result<(), Option<Error>> {
    let decided = |it: &super::shared::Progress| it.opened || it.failures >= failures;
    match progress.wait_for(decided).await {
        Ok(progress) if progress.opened => Ok(()),
        Ok(progress) => Err(progress.last.clone()),
        Err(_) => Err(None),
    }
}
