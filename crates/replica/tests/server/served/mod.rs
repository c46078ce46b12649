//! A replica that is served on this machine, and clients that talk to it.

pub mod raw;

use orset::{OpIdSession, VersionVector};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::carts_client::CartsClient;
use pannier_proto::v1::executor_client::ExecutorClient;
use pannier_proto::{Token, v1};
use pannier_replica::server::{Server, ServerSettings};
use pannier_replica::store::memory::MemoryDisk;
use pannier_replica::{Builder, Replica};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

/// For what must happen at once on any machine; it fails only when it never happens.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Fails instead of hanging.
pub async fn soon<T>(what: &str, it: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, it).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not happen"),
    }
}

pub fn in_memory() -> Builder {
    Replica::builder().memory(&MemoryDisk::new()).cluster("test")
}

/// Serves `replica` on free ports.
pub fn serve(replica: Replica, change: impl FnOnce(&mut ServerSettings)) -> Server {
    let mut settings = ServerSettings::on_free_ports();
    change(&mut settings);
    Server::builder(replica).settings(settings).start().unwrap()
}

pub fn one() -> Server {
    serve(in_memory().open().unwrap(), |_| ())
}

pub async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    soon("connecting", endpoint.connect()).await.unwrap()
}

pub async fn carts(server: &Server) -> CartsClient<Channel> {
    CartsClient::new(channel(server.public_address()).await)
}

/// Op ids that were born a moment ago on the machine's clock.
pub fn ids() -> OpIdSession {
    let session = pannier_replica::Session::begin().unwrap();
    let first = session.op_id().unwrap();
    let chance = u64::from_be_bytes(first.as_bytes()[4..12].try_into().unwrap());
    OpIdSession::new(first.born_ms() / 1_000, chance)
}

pub fn op_id(ids: &mut OpIdSession) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(ids.next_id().unwrap().as_bytes())
}

pub fn add(ids: &mut OpIdSession, cart: &str, product: &str, quantity: u32) -> v1::AddToCart {
    v1::AddToCart {
        op_id: op_id(ids),
        namespace: "shop".into(),
        cart: cart.to_owned().into(),
        product: product.to_owned().into(),
        quantity,
        attributes: Default::default(),
    }
}

pub fn get(cart: &str) -> v1::GetCart {
    v1::GetCart { namespace: "shop".into(), cart: cart.to_owned().into(), ..v1::GetCart::default() }
}

/// A request with a session's token.
pub fn with_token<T>(message: T, token: &[u8]) -> Request<T> {
    let mut request = Request::new(message);
    pannier_proto::metadata::set_token(request.metadata_mut(), token);
    request
}

pub fn token_of<T>(response: &Response<T>) -> bytes::Bytes {
    pannier_proto::metadata::token_bytes(response.metadata()).unwrap().unwrap()
}

pub fn vector_of(token: &[u8]) -> VersionVector {
    Token::decode(token).unwrap().vector
}

/// Why, of a status that is ours.
pub fn reason(status: &Status) -> Reason {
    let failure = Failure::from_status(status);
    let failure = failure.unwrap_or_else(|| panic!("not a status of ours: {status:?}"));
    assert_eq!(failure.code(), status.code());
    failure.reason
}

/// An Execute stream.
pub struct Stream {
    pub requests: mpsc::Sender<v1::ExecuteRequest>,
    pub answers: Streaming<v1::ExecuteResponse>,
    waiting: Vec<v1::Answer>,
}

impl Stream {
    pub async fn open(server: &Server) -> Self {
        Self::try_open(channel(server.public_address()).await).await.unwrap()
    }

    pub async fn try_open(channel: Channel) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(16);
        let mut client = ExecutorClient::new(channel);
        let response = soon("opening", client.execute(ReceiverStream::new(receiver))).await?;
        Ok(Self { requests, answers: response.into_inner(), waiting: Vec::new() })
    }

    pub async fn send(&self, commands: Vec<v1::Command>) {
        soon("sending", self.requests.send(v1::ExecuteRequest { commands })).await.unwrap();
    }

    /// The next answer, or how the stream ended.
    pub async fn next(&mut self) -> Result<Option<v1::Answer>, Status> {
        while self.waiting.is_empty() {
            match soon("an answer", self.answers.message()).await? {
                None => return Ok(None),
                Some(response) => self.waiting = response.answers.into_iter().rev().collect(),
            }
        }
        Ok(self.waiting.pop())
    }

    /// The next answer's body and token.
    pub async fn answer(&mut self) -> v1::Answer {
        self.next().await.unwrap().expect("the stream has ended")
    }
}

pub fn command(request_id: u64, token: &[u8], body: v1::command::Body) -> v1::Command {
    let token = bytes::Bytes::copy_from_slice(token);
    v1::Command { request_id, token, body: Some(body), ..v1::Command::default() }
}

pub fn failure(answer: v1::Answer) -> v1::Failure {
    match answer.body {
        Some(v1::answer::Body::Failure(failure)) => failure,
        other => panic!("not a failure: {other:?}"),
    }
}

pub fn shown_cart(answer: v1::Answer) -> v1::Cart {
    match answer.body {
        Some(v1::answer::Body::Cart(cart)) => cart,
        other => panic!("not a cart: {other:?}"),
    }
}

pub fn written(answer: v1::Answer) -> v1::Written {
    match answer.body {
        Some(v1::answer::Body::Written(written)) => written,
        other => panic!("not written: {other:?}"),
    }
}
