//! A server that speaks the wire and misbehaves on demand, in front of a naive cluster.
#![allow(dead_code, reason = "each test uses its part")]

use super::naive::{Cluster, op_id, origin};
use bytes::Bytes;
use orset::Dot;
use pannier_client::core::Dice;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::executor_server::{Executor, ExecutorServer};
use pannier_proto::v1::watch_event::Value;
use pannier_proto::v1::watcher_server::{Watcher, WatcherServer};
use pannier_proto::v1::{
    self, Answer, ExecuteRequest, ExecuteResponse, WatchEvent, WatchRequest, answer::Body as Said,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

type Answers<T> = ReceiverStream<Result<T, Status>>;

/// What it does wrong; 0: nothing of the kind.
#[derive(Default)]
pub struct Faults {
    /// Ends a stream after about so many commands, the last ones taken and not answered.
    pub break_after: AtomicU64,
    /// Says one answer in so many twice, and the answers of a message in another order.
    pub confuse: AtomicU64,
    /// Answers nothing until it is told to.
    pub silent: AtomicBool,
    /// Is told to.
    pub speak: Notify,
    /// Cuts watches off after so many events.
    pub cut_watches: AtomicU64,
    /// Ends every stream, and opens no other.
    pub gone: AtomicBool,
    /// Says so.
    pub going: Notify,
}

fn unavailable() -> Status {
    Failure::new(Reason::ReplicaLost, "gone on purpose").to_status()
}

/// One server of one replica of a cluster.
#[derive(Clone)]
pub struct Fake {
    pub cluster: Arc<Mutex<Cluster>>,
    pub faults: Arc<Faults>,
    pub commands: Arc<AtomicU64>,
    pub streams: Arc<AtomicU64>,
    /// Tokens that watches came with.
    pub resumed: Arc<Mutex<Vec<Bytes>>>,
    pub changed: watch::Sender<u64>,
    pub address: SocketAddr,
    at: usize,
}

impl Fake {
    /// Serves replica `at` on a port of its own, until the test's runtime ends.
    pub async fn serve(cluster: &Arc<Mutex<Cluster>>, at: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            cluster: cluster.clone(),
            faults: Arc::default(),
            commands: Arc::default(),
            streams: Arc::default(),
            resumed: Arc::default(),
            changed: watch::channel(0).0,
            address: listener.local_addr().unwrap(),
            at,
        };
        let server = tonic::transport::Server::builder()
            .add_service(ExecutorServer::new(fake.clone()))
            .add_service(WatcherServer::new(fake.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        fake
    }

    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap()
    }

    /// Every stream ends, and no other opens.
    pub fn leave(&self) {
        self.faults.gone.store(true, SeqCst);
        self.faults.going.notify_waiters();
    }

    /// Something happened that watches want to see.
    pub fn tell(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    fn execute(&self, command: v1::Command) -> Answer {
        let mut body = Vec::new();
        command.body.as_ref().unwrap().encode(&mut body);
        let (id, token) = (command.request_id, command.token);
        let outcome = self.cluster().execute(self.at, id, &token, &body.into());
        outcome.answer
    }
}

#[tonic::async_trait]
impl Executor for Fake {
    type ExecuteStream = Answers<ExecuteResponse>;

    async fn execute(
        &self,
        request: Request<Streaming<ExecuteRequest>>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        if self.faults.gone.load(SeqCst) {
            return Err(unavailable());
        }
        let number = self.streams.fetch_add(1, SeqCst);
        let (send, receive) = mpsc::channel(64);
        let (fake, mut commands) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let mut dice = Dice::new(number + 1);
            let after = fake.faults.break_after.load(SeqCst);
            let mut left = if after == 0 { u64::MAX } else { 1 + dice.roll() % after };
            loop {
                let request = tokio::select! {
                    request = commands.message() => request,
                    () = fake.faults.going.notified() => {
                        let _ = send.send(Err(unavailable())).await;
                        return;
                    }
                };
                let Ok(Some(request)) = request else { return };
                let mut answers = Vec::new();
                for command in request.commands {
                    fake.commands.fetch_add(1, SeqCst);
                    left = left.saturating_sub(1);
                    let answer = fake.execute(command);
                    if left > 2 {
                        answers.push(answer);
                    }
                }
                let confuse = fake.faults.confuse.load(SeqCst);
                if confuse > 0 {
                    let at = dice.roll() as usize % answers.len().max(1);
                    answers.rotate_left(at);
                    let twice: Vec<_> = answers
                        .iter()
                        .filter(|_| dice.roll().is_multiple_of(confuse))
                        .cloned()
                        .collect();
                    answers.extend(twice);
                }
                while fake.faults.silent.load(SeqCst) {
                    fake.faults.speak.notified().await;
                }
                let _ = send.send(Ok(ExecuteResponse { answers })).await;
                if left == 0 {
                    let _ = send.send(Err(unavailable())).await;
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

#[tonic::async_trait]
impl Watcher for Fake {
    type WatchStream = Answers<WatchEvent>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let token = request.into_inner().token;
        self.resumed.lock().unwrap().push(token.clone());
        let (send, receive) = mpsc::channel(1);
        let (fake, mut changed) = (self.clone(), self.changed.subscribe());
        let cut = self.faults.cut_watches.load(SeqCst);
        tokio::spawn(async move {
            let mut shown = 0;
            loop {
                let get = v1::Command {
                    token: token.clone(),
                    body: Some(v1::command::Body::GetCounter(v1::GetCounter::default())),
                    ..v1::Command::default()
                };
                let Answer { token, body, .. } = fake.execute(get);
                let event = match body.unwrap() {
                    Said::Counter(counter) => {
                        Ok(WatchEvent { token, value: Some(Value::Counter(counter)) })
                    }
                    Said::Failure(failure) => {
                        Err(Failure::from_wire(&failure).unwrap().to_status())
                    }
                    other => panic!("{other:?}"),
                };
                let over = event.is_err();
                if send.send(event).await.is_err() || over {
                    return;
                }
                shown += 1;
                if shown == cut {
                    let resume = Failure::new(Reason::Resume, "cut on purpose");
                    let _ = send.send(Err(resume.to_status())).await;
                    return;
                }
                if changed.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

/// Writes straight into a replica, as another client would.
pub fn write(cluster: &Mutex<Cluster>, at: usize, op: u8) -> Dot {
    let body = v1::command::Body::AddToCounter(v1::AddToCounter {
        op_id: vec![op; 16].into(),
        ..v1::AddToCounter::default()
    });
    assert!(op_id(&body).is_some());
    let mut bytes = Vec::new();
    body.encode(&mut bytes);
    let mut cluster = cluster.lock().unwrap();
    cluster.execute(at, 0, &Bytes::new(), &bytes.into());
    Dot::new(origin(at), cluster.replicas[at].vector.get(origin(at)))
}
