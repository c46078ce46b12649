//! Changes that wait for peers, over real sockets: what is answered, when, and with which token.

use crate::served::{
    Stream, add, carts, channel, command, get, ids, in_memory, op_id, reason, serve, shown_cart,
    vector_of, with_token, written,
};
use bytes::Bytes;
use orset::{Member, OpIdSession};
use pannier_proto::errors::{Failure, Reason, StateChange};
use pannier_proto::metadata::{PEERS, TOKEN};
use pannier_proto::v1;
use pannier_proto::v1::answer::Body as Said;
use pannier_proto::v1::command::Body;
use pannier_proto::v1::stock_result::Body as Came;
use pannier_proto::v1::stocks_client::StocksClient;
use pannier_replica::server::Server;
use pannier_replica::transport::Mesh;
use std::time::Duration;
use tonic::Request;

/// Three members, all linked; the second and third can be cut off.
fn three() -> (Vec<Server>, Mesh, [Member; 3]) {
    let members = [1, 2, 3].map(|at| Member::from_bytes([at; 16]));
    let mesh = Mesh::new();
    let open = |member: &Member| {
        let replica = in_memory().member(*member).join(&members, &mesh).open().unwrap();
        serve(replica, |_| ())
    };
    (members.iter().map(open).collect(), mesh, members)
}

fn on_peers(message: v1::AddToCart, peers: &'static str) -> Request<v1::AddToCart> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(PEERS, peers.parse().unwrap());
    request
}

fn within(mut request: Request<v1::AddToCart>, ms: u64) -> Request<v1::AddToCart> {
    request.set_timeout(Duration::from_millis(ms));
    request
}

fn on_stream(id: u64, peers: u32, ms: u32, add: v1::AddToCart) -> v1::Command {
    let body = Body::AddToCart(add);
    v1::Command { peers, peers_timeout_ms: ms, ..command(id, b"", body) }
}

#[tokio::test]
async fn a_call_and_a_stream_are_answered_when_their_peers_have_it() {
    let (servers, _mesh, _) = three();
    let (mut carts, mut ids) = (carts(&servers[0]).await, ids());
    let first = add(&mut ids, "ada", "lamp", 1);
    let dot = carts.add(on_peers(first.clone(), "2")).await.unwrap().into_inner().dot.unwrap();
    assert_eq!(dot.origin, servers[0].replica().origin().as_bytes().as_slice());
    for server in &servers[1..] {
        let vector = server.replica().status().unwrap().vector;
        assert!(vector.get(servers[0].replica().origin()) >= dot.seq, "they have it synced");
    }
    assert_eq!(carts.add(on_peers(first, "2")).await.unwrap().into_inner().dot, None, "a retry");
    let mut stream = Stream::open(&servers[1]).await;
    stream.send(vec![on_stream(1, 2, 0, add(&mut ids, "ada", "ring", 1))]).await;
    assert!(written(stream.answer().await).dot.is_some());
}

#[tokio::test]
async fn what_is_not_reached_in_time_stands_and_is_said_with_its_token() {
    let (servers, mesh, members) = three();
    mesh.cut(members[1]);
    let (mut carts, mut ids) = (carts(&servers[0]).await, ids());
    let lamp = add(&mut ids, "ada", "lamp", 1);
    // It cannot be reached as long as the second is cut off, so any time will do.
    let late = carts.add(within(on_peers(lamp.clone(), "2"), 800)).await.unwrap_err();
    assert_eq!(reason(&late), Reason::NotReplicated);
    let failure = Failure::from_status(&late).unwrap();
    assert_eq!(failure.state(), StateChange::Done);
    let said = |key: &str| failure.metadata[key].as_str();
    assert_eq!((said("peers"), said("reached")), ("2", "1"));
    let dot = failure.written.clone().unwrap().dot.unwrap();
    let token = late.metadata().get_bin(TOKEN).unwrap().to_bytes().unwrap();
    let origin = servers[0].replica().origin();
    assert!(vector_of(&token).get(origin) >= dot.seq, "the session covers its own change");
    let shown = carts.get(with_token(get("ada"), &token)).await.unwrap().into_inner();
    assert_eq!(shown.lines.len(), 1, "nothing is taken back");

    let mut stream = Stream::open(&servers[0]).await;
    stream.send(vec![on_stream(7, 2, 50, lamp.clone())]).await;
    let answer = stream.answer().await;
    assert!(vector_of(&answer.token).get(origin) >= dot.seq);
    let Some(Said::Failure(failure)) = answer.body else { panic!() };
    assert_eq!(failure.reason, Reason::NotReplicated.as_str());
    assert_eq!(failure.written.unwrap().dot, None, "a retry did nothing, and waited all the same");
    // What comes behind it does not wait.
    stream.send(vec![on_stream(8, 2, 10_000, add(&mut ids, "ada", "ring", 1))]).await;
    stream.send(vec![command(9, b"", Body::GetCart(get("ada")))]).await;
    let behind = stream.answer().await;
    assert_eq!(behind.request_id, 9);
    assert_eq!(shown_cart(behind).lines.len(), 2);
    mesh.heal();
    let reached = stream.answer().await;
    assert_eq!(reached.request_id, 8);
    assert!(written(reached).dot.is_some());
    assert_eq!(carts.add(on_peers(lamp, "2")).await.unwrap().into_inner().dot, None);
}

/// Each call of a bulk says for itself that it stands on fewer peers than asked; the session covers
/// all of them.
#[tokio::test]
async fn calls_of_a_bulk_that_stand_on_too_few_peers_say_so_each() {
    let (servers, mesh, members) = three();
    let mut ids = ids();
    let mut stocks = StocksClient::new(channel(servers[0].public_address()).await);
    mesh.cut(members[1]);
    let call = |ids: &mut OpIdSession, at: &[u8]| {
        let (namespace, stock) = ("shop".into(), "phone".into());
        let at = Bytes::copy_from_slice(at);
        let ask = v1::RestockStock { op_id: op_id(ids), namespace, stock, units: 3, at };
        v1::StockCall { body: Some(v1::stock_call::Body::Restock(ask)) }
    };
    let own = members[0].as_bytes();
    let calls = vec![call(&mut ids, own), v1::StockCall::default(), call(&mut ids, own)];
    let bulk = v1::BulkStocks { calls };
    let ask = |ms: u64| {
        let mut request = Request::new(bulk.clone());
        request.metadata_mut().insert(PEERS, "2".parse().unwrap());
        request.set_timeout(Duration::from_millis(ms));
        request
    };
    let answer = stocks.bulk(ask(800)).await.unwrap();
    let token = answer.metadata().get_bin(TOKEN).unwrap().to_bytes().unwrap();
    let origin = servers[0].replica().origin();
    let results = answer.into_inner().results;
    let failure = |at: usize| match results[at].body.clone().unwrap() {
        Came::Failure(failure) => failure,
        Came::StockAnswer(answer) => panic!("{answer:?}"),
    };
    assert_eq!(failure(1).reason, Reason::CommandUnknown.as_str());
    for at in [0, 2] {
        let failure = failure(at);
        assert_eq!(failure.reason, Reason::NotReplicated.as_str());
        assert_eq!((&*failure.metadata["peers"], &*failure.metadata["reached"]), ("2", "1"));
        let answer = failure.stock_answer.unwrap();
        assert_eq!(answer.outcome(), v1::StockOutcome::Done, "it stands");
        assert!(vector_of(&token).get(origin) >= answer.dot.unwrap().seq);
    }
    // Sent again when they are there, it is done by then, and waits for nobody.
    mesh.heal();
    let again = stocks.bulk(ask(20_000)).await.unwrap().into_inner().results;
    let is_done = |at: usize| match again[at].body.as_ref().unwrap() {
        Came::StockAnswer(answer) => answer.outcome() == v1::StockOutcome::Done,
        Came::Failure(_) => false,
    };
    assert!(is_done(0) && !is_done(1) && is_done(2), "{again:?}");
    let sheet =
        v1::GetStock { namespace: "shop".into(), stock: "phone".into(), allow_stale: false };
    assert_eq!(stocks.get(sheet).await.unwrap().into_inner().minted, 6, "each once");
}

#[tokio::test]
async fn what_cannot_be_is_refused_at_once_and_changes_nothing() {
    let (servers, _mesh, _) = three();
    let (mut carts, mut ids) = (carts(&servers[0]).await, ids());
    let many = carts.add(on_peers(add(&mut ids, "ada", "lamp", 1), "3")).await.unwrap_err();
    let failure = Failure::from_status(&many).unwrap();
    assert_eq!((failure.reason, failure.metadata["others"].as_str()), (Reason::TooFewPeers, "2"));
    for bad in ["", "-1", "+1", "many", "4294967296"] {
        let error = carts.add(on_peers(add(&mut ids, "ada", "lamp", 1), bad)).await.unwrap_err();
        let failure = Failure::from_status(&error).unwrap();
        assert_eq!((failure.reason, failure.metadata["field"].as_str()), (Reason::Bounds, PEERS));
    }
    assert!(carts.get(get("ada")).await.unwrap().into_inner().lines.is_empty());
    // One that reads says nothing of it.
    let mut read = Request::new(get("ada"));
    read.metadata_mut().insert(PEERS, "2".parse().unwrap());
    carts.get(read).await.unwrap();
}

/// Whoever waits when the replica is closed is told how it stands, and not left alone.
#[tokio::test]
async fn a_drain_answers_what_waits_for_peers() {
    let (mut servers, mesh, members) = three();
    let (mut carts, mut ids) = (carts(&servers[0]).await, ids());
    // A member's very first write waits for a peer's word; from then on it needs nobody.
    carts.add(add(&mut ids, "ada", "book", 1)).await.unwrap();
    mesh.cut(members[1]);
    mesh.cut(members[2]);
    let lamp = within(on_peers(add(&mut ids, "ada", "lamp", 1), "1"), 3_000);
    let waits = tokio::spawn(async move { carts.add(lamp).await });
    let replica = servers[0].replica().clone();
    while replica.status().unwrap().waiting_for_peers == 0 {
        tokio::task::yield_now().await;
    }
    servers.remove(0).drain().await.unwrap();
    let late = waits.await.unwrap().unwrap_err();
    assert_eq!(reason(&late), Reason::NotReplicated, "{late:?}");
}
