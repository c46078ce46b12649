//! A server whose `Carts.Add` does nothing: the limit of a unary call.
//!
//! It is tonic as it comes, with the generated service, answers of the size of a replica's (a dot,
//! a token of one origin), no replica behind and no layer before. What a replica does less than
//! this is what reading, deciding, syncing and bounding cost.

use super::children::CLUSTER;
use super::{away, storage};
use crate::fail::Fail;
use crate::out::Form;
use crate::run::{self, Ready, Stop};
use orset::{Dot, Member, Origin};
use pannier_proto::v1::carts_server::{Carts, CartsServer};
use pannier_proto::{Token, convert, fingerprint, metadata, v1};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Streams of a connection, as a replica allows.
const STREAMS: u32 = 1_024;

/// Serves until it is killed, or nobody is left to serve.
pub fn run(form: Form) -> Result<(), Fail> {
    run::runtime()?.block_on(serve(form))
}

async fn serve(form: Form) -> Result<(), Fail> {
    let mut stop = Stop::on_signals(true)?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let incoming = TcpIncoming::bind(any).map_err(away)?.with_nodelay(Some(true));
    let listen = incoming.local_addr().map_err(away)?;
    form.event(&Ready {
        ready: "empty".into(),
        cluster: CLUSTER.into(),
        member: None,
        zone: String::new(),
        listen,
        inner_listen: listen,
    })?;
    let server = Server::builder().max_concurrent_streams(STREAMS);
    let served = server.serve_with_incoming(CartsServer::new(Empty::new()), incoming);
    stop.or(served).await.transpose().map_err(storage)?;
    Ok(())
}

struct Empty {
    token: Arc<Vec<u8>>,
    dot: v1::Dot,
}

impl Empty {
    /// With what a replica says after some millions of commits.
    fn new() -> Self {
        let dot = Dot::new(Origin::from_bytes([7; 16]), 3_000_000);
        let (home, vector) = (Some(Member::from_bytes([1; 16])), [dot].into_iter().collect());
        let token = Token { cluster: fingerprint(CLUSTER), home, vector };
        Self { token: Arc::new(token.encode()), dot: convert::dot(dot) }
    }
}

/// Nothing but `add` is asked.
fn other<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this server is empty"))
}

#[tonic::async_trait]
impl Carts for Empty {
    async fn add(&self, _: Request<v1::AddToCart>) -> Result<Response<v1::Written>, Status> {
        let dot = Some(self.dot.clone());
        let mut response = Response::new(v1::Written { dot, ..v1::Written::default() });
        metadata::set_token(response.metadata_mut(), &self.token);
        Ok(response)
    }

    async fn remove(
        &self,
        _: Request<v1::RemoveFromCart>,
    ) -> Result<Response<v1::Written>, Status> {
        other()
    }

    async fn set(&self, _: Request<v1::SetInCart>) -> Result<Response<v1::Written>, Status> {
        other()
    }

    async fn decrement(
        &self,
        _: Request<v1::DecrementInCart>,
    ) -> Result<Response<v1::Written>, Status> {
        other()
    }

    async fn clear(&self, _: Request<v1::ClearCart>) -> Result<Response<v1::Written>, Status> {
        other()
    }

    async fn merge(&self, _: Request<v1::MergeCarts>) -> Result<Response<v1::Written>, Status> {
        other()
    }

    async fn get(&self, _: Request<v1::GetCart>) -> Result<Response<v1::Cart>, Status> {
        other()
    }

    async fn batch_get(
        &self,
        _: Request<v1::BatchGetCarts>,
    ) -> Result<Response<v1::BatchOfCarts>, Status> {
        other()
    }

    async fn list(
        &self,
        _: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        other()
    }
}
