//! Messages of the protocol, and a stream that is read only when it is told to be.

use orset::OpIdSession;
use pannier_client::doors::chance;
use pannier_proto::v1;
use pannier_proto::v1::command::Body;
use pannier_proto::v1::executor_client::ExecutorClient;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MS: Duration = Duration::from_millis(1);

pub const ADD: &str = "/pannier.v1.Carts/Add";
pub const GET: &str = "/pannier.v1.Carts/Get";

/// Op ids of a fresh session.
pub fn ids() -> OpIdSession {
    chance::op_ids().unwrap()
}

pub fn add(ids: &mut OpIdSession, cart: &str, product: &str) -> v1::AddToCart {
    v1::AddToCart {
        op_id: ids.next_id().unwrap().as_bytes().to_vec().into(),
        namespace: "shop".into(),
        cart: cart.to_owned().into(),
        product: product.to_owned().into(),
        quantity: 1,
        attributes: bytes::Bytes::new(),
    }
}

pub fn get(cart: &str) -> v1::GetCart {
    v1::GetCart { namespace: "shop".into(), cart: cart.to_owned().into(), ..v1::GetCart::default() }
}

/// An Execute stream. What nobody reads waits in HTTP/2's windows, and then at the server.
pub struct Execute {
    pub requests: mpsc::Sender<v1::ExecuteRequest>,
    pub answers: Streaming<v1::ExecuteResponse>,
}

impl Execute {
    pub async fn open(channel: Channel) -> Self {
        let (requests, receiver) = mpsc::channel(1);
        let mut client = ExecutorClient::new(channel).max_decoding_message_size(16 << 20);
        let opened = client.execute(ReceiverStream::new(receiver)).await.unwrap();
        Self { requests, answers: opened.into_inner() }
    }

    /// Sends commands, numbered from `first`; false when they were not taken within `patience`.
    pub async fn send(&self, first: u64, bodies: Vec<Body>, patience: Duration) -> bool {
        let command = |(at, body)| v1::Command {
            request_id: first + at as u64,
            body: Some(body),
            ..v1::Command::default()
        };
        let commands = bodies.into_iter().enumerate().map(command).collect();
        let sent = self.requests.send(v1::ExecuteRequest { commands });
        tokio::time::timeout(patience, sent).await.is_ok_and(|sent| sent.is_ok())
    }

    /// The next message's answers, or how the stream ended.
    pub async fn next(&mut self) -> Result<Option<Vec<v1::Answer>>, Status> {
        Ok(self.answers.message().await?.map(|message| message.answers))
    }
}
