//! A replica that answers as it is told, and remembers what it was asked.

use super::within;
use orset::Member;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::counters_server::{Counters, CountersServer};
use pannier_proto::v1::executor_server::{Executor, ExecutorServer};
use pannier_proto::v1::watcher_server::{Watcher, WatcherServer};
use pannier_proto::v1::{
    AddToCounter, Answer, BatchGetCounters, BatchOfCounters, Counter, ExecuteRequest,
    ExecuteResponse, GetCounter, ListRequest, ListResponse, WatchEvent, WatchRequest, Written,
};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// What it does with a call or a new stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Does {
    Answer,
    Refuse(Failure),
    /// UNAVAILABLE without any of our details.
    Plain,
    /// Details that are not what they say.
    Garbled,
    /// Answers when it is told something else.
    Hang,
}

/// What its health service says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Says {
    Serving,
    NotServing,
    /// Never answers.
    Nothing,
}

/// What it was asked.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Op ids of adds, in order of arrival.
    pub ops: Vec<u8>,
    /// `grpc-timeout` of each.
    pub timeouts: Vec<Option<String>>,
    pub streams: usize,
    pub probes: usize,
}

#[derive(Clone)]
struct Part {
    member: Member,
    does: watch::Receiver<Does>,
    says: watch::Receiver<Says>,
    seen: Arc<Mutex<Seen>>,
    /// Told of every request that arrives.
    arrived: watch::Sender<usize>,
}

pub struct Fake {
    pub member: Member,
    pub address: SocketAddr,
    part: Part,
    does: watch::Sender<Does>,
    says: watch::Sender<Says>,
    runtime: Option<Runtime>,
}

pub fn behind() -> Failure {
    let failure = Failure::new(Reason::Behind, "not yet");
    failure.with("origin", "7").with("have", 3).with("need", 5)
}

impl Fake {
    pub fn start(n: u8) -> Self {
        Self::start_at(n, std::net::TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn start_at(n: u8, listener: std::net::TcpListener) -> Self {
        let (does, does_now) = watch::channel(Does::Answer);
        let (says, says_now) = watch::channel(Says::Serving);
        let address = listener.local_addr().unwrap();
        let part = Part {
            member: super::member(n),
            does: does_now,
            says: says_now,
            seen: Arc::default(),
            arrived: watch::Sender::new(0),
        };
        let mut fake = Self { member: super::member(n), address, part, does, says, runtime: None };
        fake.run(listener);
        fake
    }

    fn run(&mut self, listener: std::net::TcpListener) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let part = self.part.clone();
        runtime.spawn(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let incoming = TcpListenerStream::new(listener)
                .map(|stream| stream.inspect(|stream| stream.set_nodelay(true).unwrap()));
            Server::builder()
                .max_concurrent_streams(4_096)
                .add_service(CountersServer::new(part.clone()).max_decoding_message_size(64 << 20))
                .add_service(ExecutorServer::new(part.clone()))
                .add_service(WatcherServer::new(part.clone()))
                .add_service(HealthServer::new(part))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        self.runtime = Some(runtime);
    }

    pub fn does(&self, what: Does) -> &Self {
        self.does.send_replace(what);
        self
    }

    pub fn says(&self, what: Says) {
        self.says.send_replace(what);
    }

    pub fn seen(&self) -> Seen {
        self.part.seen.lock().unwrap().clone()
    }

    /// As kill -9: whatever it was at, its sockets close.
    pub fn kill(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }

    /// Starts it again at its address. The one that was killed may not be quite gone yet.
    pub async fn restart(&mut self) {
        let listener = within(async {
            loop {
                match std::net::TcpListener::bind(self.address) {
                    Ok(listener) => return listener,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        let listener = listener.await;
        self.run(listener);
    }

    /// Waits until it has been asked so often.
    pub async fn was_asked(&self, times: usize) {
        let mut arrived = self.part.arrived.subscribe();
        within(arrived.wait_for(|arrived| *arrived >= times)).await.unwrap();
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Part {
    fn see(&self, see: impl FnOnce(&mut Seen)) {
        see(&mut self.seen.lock().unwrap());
        self.arrived.send_modify(|arrived| *arrived += 1);
    }

    async fn act(&self) -> Result<(), Status> {
        let mut told = self.does.clone();
        let does = told.wait_for(|does| *does != Does::Hang).await.map(|does| does.clone());
        let Ok(does) = does else { return std::future::pending().await };
        match does {
            Does::Answer => Ok(()),
            Does::Refuse(failure) => Err(failure.to_status()),
            Does::Plain => Err(Status::unavailable("somehow")),
            Does::Garbled => {
                Err(Status::with_details(Code::Unavailable, "x", vec![255; 40].into()))
            }
            Does::Hang => Err(Status::internal("it has waited for something else")),
        }
    }
}

#[tonic::async_trait]
impl Counters for Part {
    async fn add(&self, request: Request<AddToCounter>) -> Result<Response<Written>, Status> {
        let timeout = request.metadata().get("grpc-timeout");
        let timeout = timeout.map(|value| value.to_str().unwrap().to_owned());
        let op = request.get_ref().op_id.first().copied().unwrap_or_default();
        self.see(|seen| {
            seen.ops.push(op);
            seen.timeouts.push(timeout);
        });
        self.act().await?;
        let mut response = Response::new(Written { taken: u64::from(op), ..Written::default() });
        pannier_proto::metadata::set_token(response.metadata_mut(), &super::token(self.member));
        Ok(response)
    }

    /// As many bytes of answer as the counter's name says.
    async fn get(&self, request: Request<GetCounter>) -> Result<Response<Counter>, Status> {
        self.see(|_| ());
        self.act().await?;
        let value = request.get_ref().counter.len() as i64;
        Ok(Response::new(Counter { value, stale: false }))
    }

    async fn batch_get(
        &self,
        request: Request<BatchGetCounters>,
    ) -> Result<Response<BatchOfCounters>, Status> {
        self.see(|_| ());
        self.act().await?;
        let one = |value| Counter { value, stale: true };
        let counters = (0..request.get_ref().counters.len() as i64 * 1_000).map(one).collect();
        Ok(Response::new(BatchOfCounters { counters }))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Err(Status::unimplemented("the fake lists nothing"))
    }
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Executor for Part {
    type ExecuteStream = Boxed<ExecuteResponse>;

    /// Answers each command with its number and its token.
    async fn execute(
        &self,
        request: Request<Streaming<ExecuteRequest>>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        self.see(|seen| seen.streams += 1);
        self.act().await?;
        let answers = request.into_inner().map(|request| {
            let commands = request?.commands.into_iter();
            let answer = commands.map(|command| Answer {
                request_id: command.request_id,
                token: command.token,
                body: None,
            });
            Ok(ExecuteResponse { answers: answer.collect() })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tonic::async_trait]
impl Watcher for Part {
    type WatchStream = Boxed<WatchEvent>;

    /// One event, then silence.
    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.see(|seen| seen.streams += 1);
        self.act().await?;
        let (events, stream) = mpsc::channel(1);
        let token = request.into_inner().token;
        let _ = events.send(Ok(WatchEvent { token, value: None })).await;
        let held = ReceiverStream::new(stream).map(move |event| {
            let _ = &events;
            event
        });
        Ok(Response::new(Box::pin(held)))
    }
}

#[tonic::async_trait]
impl Health for Part {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.seen.lock().unwrap().probes += 1;
        let says = *self.says.borrow();
        let status = match says {
            Says::Serving => ServingStatus::Serving,
            Says::NotServing => ServingStatus::NotServing,
            Says::Nothing => std::future::pending().await,
        };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = Boxed<HealthCheckResponse>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("the fake is asked by Check"))
    }
}
