//! Clients that go away: what was under way for them is dropped, and its place given back.

use crate::calls::{Execute, MS, SECOND, add, get, ids};
use pannier_proto::v1;
use pannier_proto::v1::carts_client::CartsClient;
use pannier_proto::v1::command::Body;
use pannier_proto::v1::watcher_client::WatcherClient;
use pannier_simulations_wire::{GATEWAY, Options, PUBLIC, Stage, World, alone};

/// So long may it take until a gateway and then a replica have heard of it.
const SOON: std::time::Duration = std::time::Duration::from_millis(300);

/// Samples of the gateway and of all replicas together.
async fn open(stage: &Stage, gateway: &str, replicas: &str) -> (u64, u64) {
    let mut sum = 0;
    for place in 0..stage.options().replicas {
        sum += stage.metric(&format!("r{place}"), replicas).await;
    }
    (stage.metric("g0", gateway).await, sum)
}

#[test]
fn a_call_that_nobody_waits_for_gives_its_places_back_and_is_done_once() {
    alone(|| {
        let mut options = Options::with(21, 2, 1);
        options.sync = (4 * SECOND, 4 * SECOND);
        World::new(options).play(|stage| async move {
            let mut carts = CartsClient::new(stage.channel("g0", GATEWAY).await);
            let mut one = ids();
            for product in ["lamp", "sofa", "vase"] {
                let call = carts.add(add(&mut one, "ada", product));
                // Dropped with the call under way.
                assert!(tokio::time::timeout(500 * MS, call).await.is_err());
            }
            stage.pass(SOON).await;
            assert_eq!(open(&stage, "calls_open", "calls").await, (0, 0));
            let (seen, all) = open(&stage, "calls_total", "calls_total").await;
            assert_eq!((seen, all), (3, 3));
            assert_eq!(stage.metric("g0", "tries_total{outcome=\"abandoned\"}").await, 3);
            // What the writer had is done, once, and nothing more comes of it.
            stage.until("all agree", 30 * SECOND, async || stage.agree().await).await;
            let cart = carts.get(get("ada")).await.unwrap().into_inner();
            assert_eq!(cart.lines.iter().map(|line| line.quantity).collect::<Vec<_>>(), [1, 1, 1]);
        });
    });
}

#[test]
fn a_call_under_way_holds_a_place_at_both_until_it_is_dropped() {
    alone(|| {
        let mut options = Options::with(22, 1, 1);
        options.sync = (2 * SECOND, 2 * SECOND);
        World::new(options).play(|stage| async move {
            let mut carts = CartsClient::new(stage.channel("g0", GATEWAY).await);
            let mut two = carts.clone();
            let mut ids = ids();
            let (first, second) = (add(&mut ids, "ada", "lamp"), add(&mut ids, "ada", "sofa"));
            let mut first = Box::pin(carts.add(first));
            let mut second = Box::pin(two.add(second));
            let looked = async {
                stage.pass(200 * MS).await;
                open(&stage, "calls_open", "calls").await
            };
            let both = tokio::select! {
                biased;
                _ = &mut first => panic!("answered before the sync"),
                _ = &mut second => panic!("answered before the sync"),
                both = looked => both,
            };
            assert_eq!(both, (2, 2));
            drop(first);
            stage.pass(SOON).await;
            assert_eq!(open(&stage, "calls_open", "calls").await, (1, 1));
            second.await.unwrap();
            assert_eq!(open(&stage, "calls_open", "calls").await, (0, 0));
        });
    });
}

#[test]
fn a_stream_that_is_dropped_ends_at_the_gateway_and_at_the_replica() {
    alone(|| {
        let mut options = Options::with(23, 1, 1);
        options.sync = (2 * SECOND, 2 * SECOND);
        World::new(options).play(|stage| async move {
            let mut ids = ids();
            let stream = Execute::open(stage.channel("g0", GATEWAY).await).await;
            let adds = (0..100).map(|at| Body::AddToCart(add(&mut ids, "ada", &format!("p{at}"))));
            assert!(stream.send(1, adds.collect(), SECOND).await);
            stage.pass(200 * MS).await;
            assert_eq!(open(&stage, "streams_open", "streams").await, (1, 1));
            drop(stream);
            stage.pass(SOON).await;
            assert_eq!(open(&stage, "streams_open", "streams").await, (0, 0));
            // Commands that the writer had are done, and nobody waits for their answers.
            stage.pass(5 * SECOND).await;
            let mut carts = CartsClient::new(stage.channel("r0", PUBLIC).await);
            assert_eq!(carts.get(get("ada")).await.unwrap().into_inner().lines.len(), 100);
            assert_eq!(stage.metric("r0", "commands_queued").await, 0);
        });
    });
}

#[test]
fn a_watch_that_is_dropped_ends_at_the_gateway_and_at_the_replica() {
    alone(|| {
        World::new(Options::with(24, 1, 1)).play(|stage| async move {
            let mut watcher = WatcherClient::new(stage.channel("g0", GATEWAY).await);
            let object = v1::ObjectRef {
                kind: v1::Kind::Cart.into(),
                namespace: "shop".into(),
                id: "ada".into(),
            };
            let ask = v1::WatchRequest { object: Some(object), ..v1::WatchRequest::default() };
            let mut events = watcher.watch(ask).await.unwrap().into_inner();
            assert!(events.message().await.unwrap().is_some());
            assert_eq!(open(&stage, "streams_open", "watches").await, (1, 1));
            drop(events);
            stage.pass(SOON).await;
            assert_eq!(open(&stage, "streams_open", "watches").await, (0, 0));
        });
    });
}
