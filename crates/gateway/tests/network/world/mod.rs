//! A small world on loopback: fake replicas that do as they are told, gateways, clients.
//!
//! A fake replica is a tonic server on a runtime of its own, so that it can be killed as a process
//! is: its sockets close, in the middle of whatever it was at.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "shared by several tests")]

pub mod fake;

use fake::Fake;
use orset::Member;
use pannier_gateway::{Gateway, GatewayError, GatewaySettings, ReplicaAt};
use pannier_proto::errors::Failure;
use pannier_proto::v1::counters_client::CountersClient;
use pannier_proto::v1::{AddToCounter, Written};
use pannier_proto::{Token, fingerprint, metadata};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

pub const CLUSTER: &str = "shop";

/// Nothing here is measured: a wait this long is a failure, whatever the machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn member(n: u8) -> Member {
    Member::from_bytes([n; 16])
}

/// Settings that notice things soon, with replicas `1..`.
pub fn settings(addresses: &[SocketAddr]) -> GatewaySettings {
    let at = |(n, address): (usize, &SocketAddr)| ReplicaAt {
        member: member(n as u8 + 1),
        address: address.to_string(),
        zone: String::new(),
    };
    let replicas = addresses.iter().enumerate().map(at).collect();
    GatewaySettings {
        probe_ms: 20,
        probe_timeout_ms: 10_000,
        deadline_ms: 60_000,
        deadline_most_ms: 60_000,
        try_ms: 20_000,
        open_ms: 20_000,
        connect_ms: 10_000,
        ..GatewaySettings::new(CLUSTER, replicas)
    }
}

/// A gateway that runs.
pub struct Running {
    pub address: SocketAddr,
    pub inner: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), GatewayError>>,
}

impl Running {
    pub async fn start(settings: GatewaySettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, inner_address) =
            (listener.local_addr().unwrap(), inner.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(Gateway::builder(settings).inner(inner).serve(listener, async {
            let _ = stopped.await;
        }));
        Self { address, inner: inner_address, stop: Some(stop), task }
    }

    /// Of these replicas, with settings changed.
    pub async fn over(fakes: &[&Fake], change: impl FnOnce(&mut GatewaySettings)) -> Self {
        let addresses: Vec<SocketAddr> = fakes.iter().map(|fake| fake.address).collect();
        let mut settings = settings(&addresses);
        for (at, fake) in settings.replicas.iter_mut().zip(fakes) {
            at.member = fake.member;
        }
        change(&mut settings);
        Self::start(settings).await
    }

    pub async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.tcp_nodelay(true).connect().await.unwrap()
    }

    pub async fn client(&self) -> CountersClient<Channel> {
        CountersClient::new(self.channel().await)
    }

    /// Tells it to stop.
    pub fn stop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
    }

    pub async fn stopped(self) -> Result<(), GatewayError> {
        within(self.task).await.unwrap()
    }

    /// GET on the inner listener: the status, then the text.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.inner).await.unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut text = String::new();
        within(stream.read_to_string(&mut text)).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    pub async fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.get("/metrics").await;
        let name = format!("pannier_gateway_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&*name));
        line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
    }

    /// Waits until the gateway sees a replica so.
    pub async fn sees(&self, fake: &Fake, standing: &str) {
        let name = format!("replica{{member=\"{}\",standing=\"{standing}\"}}", fake.member);
        within(async {
            while self.metric(&name).await == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it never happened")
}

/// The token of a session whose home is this member.
pub fn token(home: Member) -> Vec<u8> {
    Token { cluster: fingerprint(CLUSTER), home: Some(home), ..Token::default() }.encode()
}

/// A request in a session at home there.
pub fn at_home<T>(home: Member, message: T) -> Request<T> {
    with_token(&token(home), message)
}

pub fn with_token<T>(token: &[u8], message: T) -> Request<T> {
    let mut request = Request::new(message);
    metadata::set_token(request.metadata_mut(), token);
    request
}

pub fn add(op: u8) -> AddToCounter {
    AddToCounter { op_id: vec![op; 16].into(), amount: 1, ..AddToCounter::default() }
}

pub fn served_by(response: &Response<Written>) -> String {
    header(response, "pannier-served-by")
}

pub fn header<T>(response: &Response<T>, name: &str) -> String {
    let value = response.metadata().get(name);
    value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

pub fn failure(status: &Status) -> Failure {
    Failure::from_status(status).unwrap_or_else(|| panic!("not one of ours: {status:?}"))
}
