//! The layers over replicas that are a script each, in held time: nothing here waits for a clock.

use super::{Call, DeadlineLayer, Dispatch, LimitsLayer, Shared, TokenLayer};
use crate::body::{BoxError, Outgoing, Reply};
use crate::decide::{Heard, Session, Shape, Standing};
use crate::settings::{GatewaySettings, ReplicaAt};
use crate::upstream::{Ask, Unsent};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use orset::Member;
use pannier_proto::errors::{Failure, Reason};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_stream::Iter;
use tower::{Service, ServiceBuilder};

type Frames = Vec<Result<Frame<Bytes>, BoxError>>;
type Scripted = StreamBody<Iter<std::vec::IntoIter<Result<Frame<Bytes>, BoxError>>>>;

/// What a replica does with one request.
enum Play {
    Hang,
    Unconnected,
    Lost,
    /// These headers, beside the content type, and these frames.
    Say(HeaderMap, Frames),
}

/// What a replica was sent.
#[derive(Debug, PartialEq)]
struct Sent {
    replica: usize,
    timeout: Option<String>,
    at_us: u64,
    bytes: usize,
}

#[derive(Clone)]
struct Script {
    shared: Arc<Shared>,
    plays: Arc<Mutex<VecDeque<Play>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl<B> Ask<B> for Script
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Body = Scripted;

    async fn ask(
        &self,
        replica: usize,
        request: Request<Outgoing<B>>,
    ) -> Result<Response<Scripted>, Unsent<B>> {
        let play = self.plays.lock().unwrap().pop_front().unwrap();
        if matches!(play, Play::Unconnected) {
            return Err(Unsent::Unconnected(request.into_body()));
        }
        let (parts, body) = request.into_parts();
        let timeout = parts.headers.get("grpc-timeout");
        let timeout = timeout.map(|value| value.to_str().unwrap().to_owned());
        let at_us = self.shared.clock.now_us();
        let bytes = body.collect().await.unwrap().to_bytes().len();
        self.sent.lock().unwrap().push(Sent { replica, timeout, at_us, bytes });
        match play {
            Play::Hang | Play::Unconnected => std::future::pending().await,
            Play::Lost => Err(Unsent::Lost("gone".into())),
            Play::Say(headers, frames) => {
                let mut response = Response::new(StreamBody::new(tokio_stream::iter(frames)));
                *response.headers_mut() = headers;
                let grpc = HeaderValue::from_static("application/grpc+proto");
                response.headers_mut().insert("content-type", grpc);
                Ok(response)
            }
        }
    }

    fn name(&self, replica: usize) -> Option<HeaderValue> {
        Some(HeaderValue::from(replica))
    }
}

fn data(bytes: usize) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(vec![0; bytes].into()))
}

fn ended(code: u32) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::trailers(
        [("grpc-status".parse().unwrap(), HeaderValue::from(code))].into_iter().collect(),
    ))
}

fn broken() -> Result<Frame<Bytes>, BoxError> {
    Err("broken".into())
}

fn says(frames: Frames) -> Play {
    Play::Say(HeaderMap::new(), frames)
}

fn refuses(failure: &Failure) -> Play {
    Play::Say(crate::body::trailers(failure), Vec::new())
}

fn world(change: impl FnOnce(&mut GatewaySettings), plays: Vec<Play>) -> Script {
    let at = |n: u8| ReplicaAt {
        member: Member::from_bytes([n; 16]),
        address: format!("a:{n}"),
        zone: String::new(),
    };
    let mut settings = GatewaySettings::new("shop", vec![at(0), at(1), at(2)]);
    settings.lanes = 1;
    change(&mut settings);
    let shared = Shared::new(settings);
    for replica in 0..3 {
        shared.dispatcher().heard(replica, 0, Heard::Serving);
    }
    Script { shared, plays: Arc::new(Mutex::new(plays.into())), sent: Arc::default() }
}

impl Script {
    /// Of a session at home at replica 0, through every layer but the outermost two.
    async fn call(
        &self,
        shape: Shape,
        headers: &[(&'static str, &'static str)],
        body: Frames,
    ) -> Result<Response<Reply<Scripted>>, Failure> {
        self.call_of(shape, headers, StreamBody::new(tokio_stream::iter(body))).await
    }

    async fn call_of<B>(
        &self,
        shape: Shape,
        headers: &[(&'static str, &'static str)],
        body: B,
    ) -> Result<Response<Reply<Scripted>>, Failure>
    where
        B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
    {
        let mut http = Request::new(body);
        for (name, value) in headers {
            http.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        let home = Some(Member::from_bytes([0; 16]));
        let token = pannier_proto::Token { home, ..Default::default() }.encode();
        let mut metadata = tonic::metadata::MetadataMap::from_headers(http.headers().clone());
        pannier_proto::metadata::set_token(&mut metadata, &token);
        *http.headers_mut() = metadata.into_headers();
        let session = Session::default();
        let call = Call { http, shape, deadline_us: u64::MAX, timed: false, session };
        let shared = &self.shared;
        let mut stack = ServiceBuilder::new()
            .layer(LimitsLayer { shared: Arc::clone(shared) })
            .layer(DeadlineLayer { shared: Arc::clone(shared) })
            .layer(TokenLayer { shared: Arc::clone(shared) })
            .service(Dispatch { shared: Arc::clone(shared), ask: self.clone() });
        stack.call(call).await
    }

    fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// Nothing is held any more.
    fn is_idle(&self) -> bool {
        let shared = &self.shared;
        shared.calls.taken() + shared.streams.taken() + shared.hoard.kept() == 0
    }
}

async fn read(response: Response<Reply<Scripted>>) -> (usize, HeaderMap) {
    let headers = response.headers().clone();
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or(headers);
    (collected.to_bytes().len(), trailers)
}

fn reason(headers: &HeaderMap) -> Option<Reason> {
    let status = tonic::Status::from_header_map(headers).unwrap();
    Failure::from_status(&status).map(|failure| failure.reason)
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_hangs_has_its_share_and_the_next_one_the_rest() {
    let script = world(|_| (), vec![Play::Hang, Play::Hang, says(vec![data(9), ended(0)])]);
    let response = script.call(Shape::Unary, &[("grpc-timeout", "4S")], vec![data(7)]).await;
    assert_eq!(read(response.unwrap()).await.0, 9);
    let sent = script.sent();
    let told: Vec<&str> = sent.iter().map(|sent| sent.timeout.as_deref().unwrap()).collect();
    assert_eq!(told, ["750000u", "750000u", "2460000u"]);
    let at: Vec<u64> = sent.iter().map(|sent| sent.at_us / 1_000).collect();
    assert_eq!(at, [0, 770, 1_540], "a share, and a moment to say that it is over");
    assert!(sent.iter().all(|sent| sent.bytes == 7), "the same request each time");
    assert!(script.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_the_clients_or_ours_and_never_beyond_the_longest() {
    let table = [(None, 5_000), (Some("100m"), 100), (Some("1H"), 30_000)];
    for (timeout, ends_ms) in table {
        let script =
            world(|settings| settings.budget.burst = 0, vec![Play::Hang, Play::Hang, Play::Hang]);
        let headers: Vec<_> = timeout.iter().map(|value| ("grpc-timeout", *value)).collect();
        let failure = script.call(Shape::Unary, &headers, vec![data(7)]).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Deadline);
        assert_eq!(script.shared.clock.now_us() / 1_000, ends_ms, "{timeout:?}");
        assert_eq!(script.sent().len(), 1, "there was nothing to pay a second try with");
    }
    let script = world(|_| (), Vec::new());
    for bad in ["", "5", "5 S", "123456789S", "1s"] {
        let failure = script.call(Shape::Unary, &[("grpc-timeout", bad)], vec![]).await;
        assert_eq!(failure.unwrap_err().reason, Reason::Bounds, "{bad:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_is_not_waited_for_beyond_its_deadline() {
    let script = world(|_| (), Vec::new());
    let never = StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, BoxError>>());
    let failure = script.call_of(Shape::Unary, &[], never).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Deadline);
    assert!(script.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_gives_everything_back() {
    let script = world(|settings| settings.breaker.failures = 1, vec![Play::Hang]);
    let call = script.call(Shape::Unary, &[], vec![data(7)]);
    let gone = tokio::time::timeout(Duration::from_millis(10), call).await;
    assert!(gone.is_err() && script.is_idle());
    let now_us = script.shared.clock.now_us();
    assert_eq!(script.shared.dispatcher().standing(now_us, 0), Standing::Well, "nobody's fault");
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_none_are_tried_elsewhere() {
    let page = |frames| {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        Play::Say(headers, frames)
    };
    let table: [fn() -> Play; 6] = [
        || says(vec![]),
        || says(vec![data(5)]),
        || says(vec![data(5), broken()]),
        || says(vec![data(5), ended(14)]),
        || Play::Lost,
        || Play::Unconnected,
    ];
    for (at, play) in table.iter().enumerate() {
        let plays = vec![play(), page(vec![]), says(vec![data(9), ended(0)])];
        let script = world(|_| (), plays);
        let response = script.call(Shape::Unary, &[], vec![data(7)]).await.unwrap();
        assert_eq!(response.headers()["pannier-tries"], "3", "{at}");
        assert_eq!(read(response).await.0, 9, "{at}");
        assert!(script.is_idle());
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_passed_on_whether_in_headers_or_in_trailers() {
    let failure = Failure::new(Reason::OpIdReused, "other content");
    let in_trailers = says(vec![data(0), Ok(Frame::trailers(crate::body::trailers(&failure)))]);
    for play in [refuses(&failure), in_trailers] {
        let script = world(|_| (), vec![play]);
        let response = script.call(Shape::Unary, &[], vec![data(7)]).await.unwrap();
        assert_eq!(reason(&read(response).await.1), Some(Reason::OpIdReused));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_says_nothing_changed_is_not_passed_on_when_something_may_have() {
    let draining = Failure::new(Reason::Draining, "bye");
    let plays = vec![Play::Lost, refuses(&draining), refuses(&draining)];
    let script = world(|_| (), plays);
    let failure = script.call(Shape::Unary, &[], vec![data(7)]).await.unwrap_err();
    assert_eq!(failure.reason, Reason::ReplicaLost);
    let script = world(|_| (), (0..3).map(|_| refuses(&draining)).collect());
    let response = script.call(Shape::Unary, &[], vec![data(7)]).await.unwrap();
    assert_eq!(reason(response.headers()), Some(Reason::Draining), "as it was said");
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_is_passed_on_as_it_comes_and_ends_with_a_status() {
    let table = [(ended(0), None), (broken(), Some(Reason::ReplicaLost))];
    for (end, want) in table {
        let frames = vec![data(70), data(70), data(70), end];
        let script = world(|settings| settings.replay_bytes = 100, vec![says(frames)]);
        let response = script.call(Shape::Unary, &[], vec![data(7)]).await.unwrap();
        assert_eq!(script.shared.hoard.kept(), 0, "it is not kept");
        assert_eq!(script.shared.calls.taken(), 1, "and its place is held until it is read");
        let (bytes, trailers) = read(response).await;
        assert_eq!((bytes, reason(&trailers)), (210, want));
        assert!(script.is_idle());
    }
}

#[tokio::test(start_paused = true)]
async fn without_room_to_keep_a_call_has_one_try() {
    let script = world(|settings| settings.kept_bytes = 10, vec![Play::Lost]);
    let failure = script.call(Shape::Unary, &[], vec![data(7)]).await.unwrap_err();
    assert_eq!(failure.reason, Reason::ReplicaLost);
    assert_eq!(script.sent()[0].bytes, 7, "it was sent whole");
    assert_eq!(script.shared.metrics.unkept.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_a_status_whatever_ends_it() {
    let table: [(Frames, usize, Option<Reason>); 5] = [
        (vec![data(5), ended(0)], 5, None),
        (vec![data(5), data(6), broken()], 11, Some(Reason::ReplicaLost)),
        (vec![data(5)], 5, Some(Reason::ReplicaLost)),
        (vec![], 0, Some(Reason::ReplicaLost)),
        (vec![data(5), ended(10)], 5, None),
    ];
    for (at, (frames, bytes, want)) in table.into_iter().enumerate() {
        for shape in [Shape::Stream, Shape::Watch] {
            let again: Frames = frames
                .iter()
                .map(|frame| match frame {
                    Err(_) => broken(),
                    Ok(frame) => Ok(match (frame.data_ref(), frame.trailers_ref()) {
                        (Some(data), _) => Frame::data(data.clone()),
                        (_, trailers) => Frame::trailers(trailers.cloned().unwrap()),
                    }),
                })
                .collect();
            let script = world(|_| (), vec![says(again)]);
            let response = script.call(shape, &[], vec![data(7)]).await.unwrap();
            let (read, trailers) = read(response).await;
            assert_eq!((read, reason(&trailers)), (bytes, want), "{at}");
            assert!(script.is_idle());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_never_left_of_a_stream_goes_elsewhere_and_no_deadline_is_made_up_for_it() {
    let plays = vec![Play::Unconnected, Play::Unconnected, says(vec![ended(0)])];
    let script = world(|_| (), plays);
    let response = script.call(Shape::Stream, &[], vec![data(7), data(8)]).await.unwrap();
    read(response).await;
    let sent = script.sent();
    assert_eq!((sent[0].bytes, sent[0].timeout.as_deref()), (15, None));
    let script = world(|_| (), vec![Play::Lost]);
    let failure = script.call(Shape::Stream, &[], vec![data(7)]).await.unwrap_err();
    assert_eq!(failure.reason, Reason::ReplicaLost);
    let script = world(|_| (), vec![says(vec![ended(0)])]);
    let timed = [("grpc-timeout", "90S")];
    read(script.call(Shape::Stream, &timed, vec![data(7)]).await.unwrap()).await;
    assert_eq!(script.sent()[0].timeout.as_deref(), Some("90000000u"), "the client's own");
}

#[tokio::test(start_paused = true)]
async fn a_draining_gateway_takes_nothing_new() {
    let script = world(|_| (), Vec::new());
    script.shared.drain();
    for shape in [Shape::Unary, Shape::Watch, Shape::Stream] {
        let failure = script.call(shape, &[], vec![data(7)]).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Draining);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_stays_within_its_bound_whatever_comes() {
    const BOUND: usize = 10_000;
    let script = world(|settings| settings.kept_bytes = BOUND, Vec::new());
    script.plays.lock().unwrap().extend((0..100).map(|_| Play::Hang));
    let calls = (0..100).map(|_| {
        let script = script.clone();
        async move { script.call(Shape::Unary, &[], vec![data(500), data(500)]).await }
    });
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    // All of them under way at once.
    for call in &mut calls {
        let hung = tokio::time::timeout(Duration::from_millis(1), call).await;
        assert!(hung.is_err());
        assert!(script.shared.hoard.kept() <= BOUND);
    }
    assert_eq!(script.sent().len(), 100, "all were sent, kept or not");
    assert!(script.shared.hoard.kept() > BOUND / 2 && script.shared.metrics.unkept.get() > 50);
    drop(calls);
    assert!(script.is_idle());
}
