//! The end of a server: what was acknowledged stays, what is under way is answered, and everybody
//! is told to go elsewhere.

use crate::served::{Stream, add, carts, channel, command, get, ids, raw, reason, soon};
use bytes::Bytes;
use pannier_proto::errors::Reason;
use pannier_proto::v1;
use pannier_proto::v1::command::Body;
use pannier_proto::v1::watcher_client::WatcherClient;
use pannier_replica::Replica;
use pannier_replica::server::{ServeError, Server, ServerSettings};
use pannier_replica::store::memory::{Fault, InDoubt, MemoryDisk};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

fn open(disk: &MemoryDisk) -> Replica {
    Replica::builder().memory(disk).cluster("test").open().unwrap()
}

fn server(disk: &MemoryDisk) -> Server {
    crate::served::serve(open(disk), |_| ())
}

/// Adds to a cart of its own until the stream ends; how many were acknowledged, and sent.
async fn load(server_address: std::net::SocketAddr, cart: String) -> (u64, u64, Reason) {
    let mut ids = ids();
    let mut stream = Stream::try_open(channel(server_address).await).await.unwrap();
    let (mut acknowledged, mut sent) = (0, 0);
    loop {
        // Fifty in flight.
        if sent - acknowledged < 50 {
            let body = Body::AddToCart(add(&mut ids, &cart, "lamp", 1));
            let message = v1::ExecuteRequest { commands: vec![command(sent, b"", body)] };
            // The stream may be over by now; then its end comes below.
            if stream.requests.send(message).await.is_ok() {
                sent += 1;
                continue;
            }
        }
        match stream.next().await {
            Ok(Some(answer)) => {
                assert!(matches!(answer.body, Some(v1::answer::Body::Written(_))), "{answer:?}");
                acknowledged += 1;
            }
            Ok(None) => panic!("it ended well"),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable);
                return (acknowledged, sent, reason(&status));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_loses_nothing_that_was_acknowledged() {
    let disk = MemoryDisk::new();
    let server = server(&disk);
    let address = server.public_address();
    let loads: Vec<_> =
        (0..4).map(|at| tokio::spawn(load(address, format!("cart-{at}")))).collect();
    soon("some load", async {
        while server.replica().status().unwrap().stats.ops < 2_000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let drained = soon("a drain", server.drain()).await.unwrap();
    assert_eq!(drained.cut, 0);
    disk.crash(InDoubt::NOTHING);
    let replica = open(&disk);
    for (at, load) in loads.into_iter().enumerate() {
        let (acknowledged, sent, why) = soon("an end", load).await.unwrap();
        assert_eq!(why, Reason::Draining);
        let cart = replica.cart("shop", format!("cart-{at}")).unwrap();
        let lamps = cart.read().await.unwrap().quantity(b"lamp");
        // What was taken in was answered: only what was never taken in has no answer.
        assert_eq!(lamps, acknowledged, "of {sent} sent");
        assert!(acknowledged > 0);
    }
}

#[tokio::test]
async fn what_comes_after_a_drain_began_is_sent_elsewhere() {
    let disk = MemoryDisk::new();
    let server = server(&disk);
    let mut carts = carts(&server).await;
    carts.get(get("ada")).await.unwrap();
    let mut watcher = WatcherClient::new(channel(server.public_address()).await);
    let object = v1::ObjectRef { kind: 1, namespace: "shop".into(), id: "ada".into() };
    let ask = v1::WatchRequest { object: Some(object), token: Bytes::new(), ..Default::default() };
    let mut events = watcher.watch(ask).await.unwrap().into_inner();
    soon("a value", events.message()).await.unwrap().unwrap();
    let mut idle = Stream::open(&server).await;
    let mut health = HealthClient::new(channel(server.public_address()).await);
    let ask = HealthCheckRequest { service: String::new() };
    let mut watched = health.watch(ask).await.unwrap().into_inner();
    let serving = soon("health", watched.message()).await.unwrap().unwrap().status;
    assert_eq!(serving, 1);
    let inner = server.inner_address();
    assert_eq!(raw::page(inner, "/readyz").await.0, "HTTP/1.1 200 OK");
    let draining = tokio::spawn(server.drain());
    let status = soon("the stream's end", idle.next()).await.unwrap_err();
    assert_eq!(reason(&status), Reason::Draining);
    let status = soon("the watch's end", events.message()).await.unwrap_err();
    assert_eq!(reason(&status), Reason::Draining);
    let not_serving = soon("health", watched.message()).await.unwrap().unwrap().status;
    assert_eq!(not_serving, 2);
    drop((watched, health, events, watcher, idle));
    let refused = carts.get(get("ada")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    drop(carts);
    soon("a drain", draining).await.unwrap().unwrap();
    // The directory (here: the disk) is free again.
    drop(open(&disk));
}

#[tokio::test]
async fn a_drain_that_somebody_holds_up_ends_all_the_same() {
    let disk = MemoryDisk::new();
    let replica = open(&disk);
    let server = crate::served::serve(replica, |settings| settings.drain_ms = 200);
    let mut health = HealthClient::new(channel(server.public_address()).await);
    // A health watch never ends by itself, and its client does not go.
    let ask = HealthCheckRequest { service: String::new() };
    let mut watched = health.watch(ask).await.unwrap().into_inner();
    soon("health", watched.message()).await.unwrap().unwrap();
    let drained = soon("a drain", server.drain()).await.unwrap();
    assert_eq!(drained.cut, 1);
    drop(open(&disk));
}

#[tokio::test]
async fn storage_that_fails_is_told_everywhere_and_takes_readiness_with_it() {
    let disk = MemoryDisk::new();
    let server = server(&disk);
    let (mut carts, mut ids) = (carts(&server).await, ids());
    let mut idle = Stream::open(&server).await;
    let mut health = HealthClient::new(channel(server.public_address()).await);
    let ask = HealthCheckRequest { service: "pannier.v1.Carts".into() };
    let mut watched = health.watch(ask).await.unwrap().into_inner();
    assert_eq!(soon("health", watched.message()).await.unwrap().unwrap().status, 1);
    let failed = server.failed();
    disk.fail_next(Fault::LogSync);
    let ask = add(&mut ids, "ada", "lamp", 1);
    let status = carts.add(ask).await.unwrap_err();
    assert_eq!(reason(&status), Reason::StorageFailed);
    assert!(!soon("the failure", failed).await.is_empty());
    assert_eq!(soon("health", watched.message()).await.unwrap().unwrap().status, 2);
    let status = soon("the stream's end", idle.next()).await.unwrap_err();
    assert_eq!(reason(&status), Reason::StorageFailed);
    let status = carts.get(get("ada")).await.unwrap_err();
    assert_eq!(reason(&status), Reason::StorageFailed);
    let (line, why) = raw::page(server.inner_address(), "/readyz").await;
    assert_eq!(line, "HTTP/1.1 503 Service Unavailable");
    assert!(why.starts_with("storage failed"), "{why}");
    assert_eq!(raw::page(server.inner_address(), "/healthz").await.1, "alive\n");
    assert_eq!(raw::metric(server.inner_address(), "pannier_ready").await, Some(0.0));
    drop((watched, health, idle, carts));
    assert!(soon("a drain", server.drain()).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_served_is_told_and_nothing_is() {
    let disk = MemoryDisk::new();
    let replica = open(&disk);
    let settings = ServerSettings { listen: "0.0.0.0:0".parse().unwrap(), ..<_>::default() };
    let refused = Server::builder(replica.clone()).settings(settings).start();
    assert!(matches!(refused.map(drop), Err(ServeError::Remote { name: "listen", .. })));
    let first = crate::served::serve(replica.clone(), |_| ());
    let taken =
        ServerSettings { listen: first.public_address(), ..ServerSettings::on_free_ports() };
    let refused = Server::builder(replica.clone()).settings(taken).start();
    assert!(matches!(refused.map(drop), Err(ServeError::Bind { .. })));
    // The replica is open, and served by the first.
    carts(&first).await.get(get("ada")).await.unwrap();
    drop(first);
    replica.cart("shop", "ada").unwrap().add("lamp", 1).await.unwrap();
}
