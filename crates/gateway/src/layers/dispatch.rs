//! Sends a request to a replica, and to another if need be. `decide::Dispatcher` says which.
//!
//! Three things are told apart, and only here:
//!
//! - a *call* (one message there, one back) is kept until its response is known to be one that the
//!   client should have: the status comes after the message, so the response is kept as well;
//! - a *watch* can be sent again while nothing of its answer has been passed on: a replica that
//!   refuses says so at once, in headers alone;
//! - a *stream* goes to one replica. Only what never left can go to another.
//!
//! What is kept is bounded (`Hoard`); what does not fit goes through as it comes, once.

use super::deadline::GRPC_TIMEOUT;
use super::{Call, Shared};
use crate::body::{Gathered, Limits, Outgoing, Passing, Reply, Tied, Whole, gather, gather_reply};
use crate::decide::{self, Outcome, Shape, Step, Try, deadline};
use crate::upstream::{Ask, Unsent};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use pannier_proto::errors::{Failure, Reason};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tower::Service;

/// On every response that a replica gave: its member id.
const SERVED_BY: HeaderName = HeaderName::from_static("pannier-served-by");
/// How many replicas were tried, when it was more than one.
const TRIES: HeaderName = HeaderName::from_static("pannier-tries");
/// How many of them may have done what was asked without an answer, when any.
const UNANSWERED: HeaderName = HeaderName::from_static("pannier-unanswered");

/// Innermost: see the top of this file.
#[derive(Clone, Debug)]
pub struct Dispatch<A> {
    pub shared: Arc<Shared>,
    pub ask: A,
}

impl<A, B> Service<Call<B>> for Dispatch<A>
where
    A: Ask<B>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Response = Response<Reply<A::Body>>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.serve(call).await })
    }
}

/// Where the body of each try comes from.
enum Source<B> {
    Kept(Whole),
    Once(Option<Outgoing<B>>, Option<Tied>),
}

impl<B> Source<B> {
    /// From the client, after what was read already.
    fn once(head: Bytes, rest: B) -> Self {
        let (tied, tie) = oneshot::channel();
        Self::Once(Some(Outgoing::Rest(head, rest, tie)), Some(tied))
    }

    fn next(&mut self) -> Option<Outgoing<B>> {
        match self {
            Self::Kept(whole) => Some(Outgoing::Kept(whole.bytes.clone())),
            Self::Once(body, _) => body.take(),
        }
    }

    /// What the response that the client gets must hold.
    fn tied(&mut self) -> Option<Tied> {
        match self {
            Self::Kept(_) => None,
            Self::Once(_, tied) => tied.take(),
        }
    }

    fn give_back(&mut self, body: Outgoing<B>) {
        if let Self::Once(place, _) = self {
            *place = Some(body);
        }
    }
}

/// A try that is under way. Dropped with it in hand, its client has gone.
struct Attempt<'a> {
    shared: &'a Shared,
    tried: Option<Try>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(tried) = self.tried.take() {
            self.shared.metrics.tried(Outcome::Abandoned);
            let now_us = self.shared.clock.now_us();
            self.shared.dispatcher().settle(now_us, tried, Outcome::Abandoned);
        }
    }
}

impl<A> Dispatch<A> {
    async fn serve<B>(&self, call: Call<B>) -> Result<Response<Reply<A::Body>>, Failure>
    where
        A: Ask<B>,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let shared = &*self.shared;
        let Call { http, shape, deadline_us, timed, session } = call;
        let (mut parts, body) = http.into_parts();
        strip(&mut parts.headers);
        let limit_us = match shape {
            Shape::Unary => deadline_us,
            Shape::Watch | Shape::Stream => {
                let open_us = shared.settings.open_ms.saturating_mul(1_000);
                deadline_us.min(shared.clock.now_us().saturating_add(open_us))
            }
        };
        let mut source = self.source(shape, body, limit_us).await?;
        let replayable = matches!(source, Source::Kept(_));
        let mut plan = decide::Call::new(session, limit_us, replayable);
        let mut step = shared.dispatcher().begin(shared.clock.now_us(), &mut plan)?;
        let mut behind = None;
        loop {
            let replica = step.replica;
            let now_us = shared.clock.now_us();
            let until_us = now_us.saturating_add(step.give_us).saturating_add(deadline::GRACE_US);
            let told_us = match shape {
                Shape::Unary => Some(step.give_us),
                Shape::Watch | Shape::Stream => timed.then(|| deadline_us.saturating_sub(now_us)),
            };
            let mut attempt = Attempt { shared, tried: Some(step) };
            let (outcome, response) = match source.next() {
                None => (Outcome::Unconnected, None),
                Some(body) => {
                    let request = request(&parts, told_us, body);
                    let answer = self.try_one(replica, shape, request, &mut source);
                    let answer = shared.clock.until(until_us.min(limit_us), answer).await;
                    answer.unwrap_or((silence(shape, deadline_us > until_us), None))
                }
            };
            shared.metrics.tried(outcome);
            if outcome != Outcome::Answered {
                shared.changed.notify_waiters();
            }
            let Some(tried) = attempt.tried.take() else { unreachable_try()? };
            let now_us = shared.clock.now_us();
            let next = shared.dispatcher().after(now_us, &mut plan, tried, outcome);
            let response = response.map(|it| self.describe(it, replica, &plan));
            match next {
                Step::Try(next) => {
                    shared.metrics.retries.add(1);
                    if outcome == Outcome::Behind {
                        behind = response;
                    }
                    step = next;
                }
                Step::DeliverBehind if behind.is_some() => {
                    shared.metrics.behind.add(1);
                    return behind.ok_or_else(|| plan.failure(Outcome::Behind));
                }
                Step::Deliver | Step::DeliverBehind => {
                    shared.metrics.behind.add(u64::from(outcome == Outcome::Behind));
                    return match response {
                        Some(mut response) if plan.may_tell(outcome) => {
                            source.tied().into_iter().for_each(|it| response.body_mut().tie(it));
                            Ok(response)
                        }
                        _ => Err(plan.failure(outcome)),
                    };
                }
            }
        }
    }

    /// Keeps the message of what can be sent again, if there is room for it.
    async fn source<B>(&self, shape: Shape, body: B, limit_us: u64) -> Result<Source<B>, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if !shape.replayable() {
            return Ok(Source::once(Bytes::new(), body));
        }
        let settings = &self.shared.settings;
        let limits = Limits { message: settings.message_bytes, replay: settings.replay_bytes };
        let gathered = gather(body, limits, &self.shared.hoard);
        match self.shared.clock.until(limit_us, gathered).await {
            None => Err(Failure::new(Reason::Deadline, "the request was too long in coming")),
            // Nobody hears it: the stream is broken.
            Some(None) => Err(Failure::new(Reason::Bounds, "the request broke off")),
            Some(Some(Err(failure))) => Err(failure),
            Some(Some(Ok(Gathered::Whole(whole)))) => Ok(Source::Kept(whole)),
            Some(Some(Ok(Gathered::Part(head, rest)))) => {
                self.shared.metrics.unkept.add(1);
                Ok(Source::once(head, rest))
            }
        }
    }

    async fn try_one<B>(
        &self,
        replica: usize,
        shape: Shape,
        request: Request<Outgoing<B>>,
        source: &mut Source<B>,
    ) -> (Outcome, Option<Response<Reply<A::Body>>>)
    where
        A: Ask<B>,
        B: Send + 'static,
    {
        match self.ask.ask(replica, request).await {
            Ok(response) => match inspect(&self.shared, shape, response).await {
                Ok((outcome, response)) => (outcome, Some(response)),
                Err(error) => lost(error),
            },
            Err(Unsent::Unconnected(body)) => {
                source.give_back(body);
                (Outcome::Unconnected, None)
            }
            Err(Unsent::Full(body)) => {
                source.give_back(body);
                (Outcome::Full, None)
            }
            Err(Unsent::Lost(error)) => lost(error),
        }
    }

    /// Says in headers what was decided, for operators and tests.
    fn describe<B, R>(
        &self,
        mut response: Response<R>,
        replica: usize,
        plan: &decide::Call,
    ) -> Response<R>
    where
        A: Ask<B>,
    {
        let headers = response.headers_mut();
        if let Some(name) = self.ask.name(replica) {
            headers.insert(SERVED_BY, name);
        }
        if plan.tries() > 1 {
            headers.insert(TRIES, HeaderValue::from(plan.tries()));
        }
        if plan.unanswered() > 0 {
            headers.insert(UNANSWERED, HeaderValue::from(plan.unanswered()));
        }
        response
    }
}

/// What it is when nothing came in time. A stream that did not begin in the time that *we* allow is
/// no deadline of its client's, but a replica that is not there; the client opens another.
fn silence(shape: Shape, client_waits: bool) -> Outcome {
    if shape != Shape::Unary && client_waits { Outcome::Reset } else { Outcome::TimedOut }
}

fn lost<R>(error: crate::body::BoxError) -> (Outcome, Option<Response<R>>) {
    tracing::debug!(error, "a replica did not answer");
    (Outcome::Reset, None)
}

/// Every attempt is made with a try in hand, and only its end takes it out.
fn unreachable_try<T>() -> Result<T, Failure> {
    Err(Failure::new(Reason::Internal, "a try was settled twice"))
}

/// Headers that are about the client's connection, or that each try sets anew.
fn strip(headers: &mut HeaderMap) {
    headers.remove(header::HOST);
    headers.remove(GRPC_TIMEOUT);
    headers.remove(header::CONTENT_LENGTH);
}

fn request<B>(parts: &Parts, told_us: Option<u64>, body: Outgoing<B>) -> Request<Outgoing<B>> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = parts.headers.clone();
    if let Some(told_us) = told_us
        && let Ok(value) = HeaderValue::try_from(deadline::format(told_us))
    {
        request.headers_mut().insert(GRPC_TIMEOUT, value);
    }
    request
}

/// What a response says, and the response as the client will have it. An error: it broke off.
async fn inspect<R>(
    shared: &Shared,
    shape: Shape,
    response: Response<R>,
) -> Result<(Outcome, Response<Reply<R>>), crate::body::BoxError>
where
    R: Body<Data = Bytes> + Unpin,
    R::Error: Into<crate::body::BoxError>,
{
    let (parts, body) = response.into_parts();
    let content = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let grpc = content.is_some_and(|content| content.starts_with(b"application/grpc"));
    if parts.status != StatusCode::OK || !grpc {
        return Err("what answers there is no replica".into());
    }
    if let Some(outcome) = outcome(&parts.headers) {
        return Ok((outcome, Response::from_parts(parts, Reply::empty())));
    }
    let metrics = Arc::clone(&shared.metrics);
    if shape != Shape::Unary {
        let cut: crate::body::Cut = Box::pin(shared.drained());
        let passing = Passing::new(Bytes::new(), body, Some(cut), metrics);
        let reply = Reply::passing(passing);
        return Ok((Outcome::Answered, Response::from_parts(parts, reply)));
    }
    match gather_reply(body, shared.settings.replay_bytes, &shared.hoard).await? {
        Gathered::Whole(whole) => {
            let outcome = whole.trailers.as_ref().and_then(outcome);
            let outcome = outcome.ok_or("it ended without a status")?;
            Ok((outcome, Response::from_parts(parts, Reply::whole(whole))))
        }
        // So large an answer is one: a failure has no message, or a small one.
        Gathered::Part(head, rest) => {
            shared.metrics.unkept.add(1);
            let reply = Reply::passing(Passing::new(head, rest, None, metrics));
            Ok((Outcome::Answered, Response::from_parts(parts, reply)))
        }
    }
}

/// By gRPC's status in headers or trailers; `None`: it is not there.
fn outcome(headers: &HeaderMap) -> Option<Outcome> {
    let code = Code::from_bytes(headers.get("grpc-status")?.as_bytes());
    Some(Outcome::of(code, || reason(headers)))
}

/// The reason of a failure. (tonic's own reader of a status panics on details that are not base64.)
fn reason(headers: &HeaderMap) -> Option<Reason> {
    const DETAILS: &str = "grpc-status-details-bin";
    let mut one = HeaderMap::new();
    one.insert(DETAILS, headers.get(DETAILS)?.clone());
    let details = MetadataMap::from_headers(one).get_bin(DETAILS)?.to_bytes().ok()?;
    let status = Status::with_details(Code::Unavailable, "", details);
    Failure::from_status(&status).map(|failure| failure.reason)
}
