//! Flow control and back-pressure: who does not take what he is sent costs no more than was agreed.

use crate::calls::{Execute, MS, SECOND, add, get, ids};
use pannier_proto::v1;
use pannier_proto::v1::answer::Body as Said;
use pannier_proto::v1::carts_client::CartsClient;
use pannier_proto::v1::command::Body;
use pannier_simulations_wire::{GATEWAY, Options, PUBLIC, Stage, World, alone, member};
use std::time::Duration;

/// A cart whose page is as large as a stream's page may be.
async fn fill(stage: &Stage, host: &str, port: u16) {
    let mut ids = ids();
    let stream = Execute::open(stage.channel(host, port).await).await;
    let body = |at: usize, ids: &mut _| {
        let mut body = add(ids, "large", &format!("product-{at:04}"));
        body.attributes = vec![7; 1_000].into();
        Body::AddToCart(body)
    };
    let bodies = (0..300).map(|at| body(at, &mut ids)).collect();
    assert!(stream.send(0, bodies, SECOND).await);
    drop(answers(stream, 300).await);
}

/// Reads until there are so many answers, each to another command, and returns their sizes.
async fn answers(mut stream: Execute, count: usize) -> Vec<usize> {
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < count {
        for answer in stream.next().await.unwrap().unwrap() {
            let size = match answer.body.unwrap() {
                Said::Cart(cart) => cart.lines.len(),
                Said::Written(_) => 0,
                other => panic!("{other:?}"),
            };
            assert_eq!(seen.insert(answer.request_id, size), None);
        }
    }
    seen.into_values().collect()
}

/// Sends reads of the large cart until nobody takes any more; how many were taken.
async fn send_until_stuck(stream: &Execute) -> usize {
    let mut sent = 0;
    loop {
        let bodies = (0..1_024).map(|_| Body::GetCart(get("large"))).collect();
        if !stream.send(sent as u64, bodies, 3 * SECOND).await {
            return sent;
        }
        sent += 1_024;
        assert!(sent < 400_000, "whoever does not read may send for ever");
    }
}

/// A stream at a host that sends and does not read: what the replica takes in stays within bounds,
/// others are served, and in the end everything is answered.
fn unread(seed: u64, gateways: usize, most: u64) {
    World::new(Options::with(seed, 1, gateways)).play(move |stage| async move {
        let (host, port) = if gateways > 0 { ("g0", GATEWAY) } else { ("r0", PUBLIC) };
        fill(&stage, host, port).await;
        let before = stage.metric("r0", "stream_commands_total").await;
        let stream = Execute::open(stage.channel(host, port).await).await;
        let sent = send_until_stuck(&stream).await;
        let taken = async || stage.metric("r0", "stream_commands_total").await - before;
        let stuck = taken().await;
        println!("{sent} sent, {stuck} taken in");
        assert!(stuck >= stage.options().server.stream_reads as u64, "{stuck}");
        assert!(stuck <= most, "{stuck} of {sent} taken in, and their answers are not read");
        for _ in 0..5 {
            stage.pass(2 * SECOND).await;
            assert_eq!(taken().await, stuck, "it grows with time");
            // Nobody else is held up.
            let began = stage.now();
            let mut carts = CartsClient::new(stage.channel(host, port).await);
            carts.add(add(&mut ids(), "small", "lamp")).await.unwrap();
            assert!(stage.now() - began < 500 * MS, "{:?}", stage.now() - began);
        }
        // Once it reads, it goes on.
        let sizes = answers(stream, 400.min(sent)).await;
        assert!(sizes.iter().all(|size| *size == sizes[0] && *size > 0));
    });
}

#[test]
fn a_client_that_does_not_read_its_answers_stops_the_replica_from_taking_more() {
    // Reads under way, and answers in the windows of HTTP/2: of the client 2 MiB.
    alone(|| unread(41, 0, 64 + 8 + 24));
}

#[test]
fn through_a_gateway_as_well() {
    // And the gateway's own window, 4 MiB.
    alone(|| unread(42, 1, 64 + 8 + 24 + 24));
}

#[test]
fn a_slow_peer_costs_its_queue_and_nobody_else() {
    alone(|| {
        let mut options = Options::with(43, 3, 0);
        options.links.queue_bytes = 512 << 10;
        World::new(options).play(|stage| async move {
            let client =
                stage.client(pannier_client::ClientSettings::new([format!("r0:{PUBLIC}")]));
            let cart = client.cart("shop", "ada").unwrap();
            cart.add("before", 1).await.unwrap();
            stage.until("all agree", 5 * SECOND, async || stage.agree().await).await;
            let dropped = format!("peer_dropped_total{{peer=\"{}\",way=\"out\"}}", member(1));
            let lost = stage.metric("r0", &dropped).await;
            stage.hold("r0", "r1");
            let mut most = 0;
            // More than HTTP/2 lets go without a word of the other end, before the protocol pauses
            // pushing to one that says nothing.
            for at in 0..40 {
                let body = vec![9; 1_000];
                let adds = (0..100).map(|of| cart.add_with(format!("{at}-{of}"), 1, &body));
                for add in adds.collect::<Vec<_>>() {
                    add.await.unwrap();
                }
                most = most.max(stage.peer_metric("r0", "peer_queued_bytes", 1).await);
            }
            let lost = stage.metric("r0", &dropped).await - lost;
            println!("{most} bytes waited at most, {lost} deltas were lost");
            assert!(lost > 0);
            assert!(most > 256 << 10 && most <= 512 << 10, "{most}");
            // The other peer has everything but what is on its way.
            let near = async || stage.state(2).await == stage.state(0).await;
            let took = stage.until("the other agrees", SECOND, near).await;
            assert!(took < Duration::from_millis(500));
            stage.release("r0", "r1");
            stage.until("all agree", 20 * SECOND, async || stage.agree().await).await;
        });
    });
}

#[test]
fn a_watch_that_is_not_read_is_cut_off_with_resume() {
    alone(|| {
        World::new(Options::with(44, 1, 0)).play(|stage| async move {
            fill(&stage, "r0", PUBLIC).await;
            let channel = stage.channel("r0", PUBLIC).await;
            let mut watcher =
                v1::watcher_client::WatcherClient::new(channel).max_decoding_message_size(16 << 20);
            let object = v1::ObjectRef {
                kind: v1::Kind::Cart.into(),
                namespace: "shop".into(),
                id: "large".into(),
            };
            let ask = v1::WatchRequest { object: Some(object), ..v1::WatchRequest::default() };
            let mut events = watcher.watch(ask).await.unwrap().into_inner();
            let mut carts = CartsClient::new(stage.channel("r0", PUBLIC).await);
            let mut ids = ids();
            for at in 0..60 {
                carts.add(add(&mut ids, "large", &format!("z{at}"))).await.unwrap();
                stage.pass(250 * MS).await;
            }
            let sent = stage.metric("r0", "watch_events_total").await;
            println!("{sent} events of 60 changes");
            assert!(sent > 1 && sent < 30, "{sent}");
            let mut read = 0;
            let status = loop {
                match events.message().await {
                    Ok(Some(_)) => read += 1,
                    Ok(None) => panic!("it ended well"),
                    Err(status) => break status,
                }
            };
            assert!(read > 0 && read <= sent, "{read}");
            let failure = pannier_proto::errors::Failure::from_status(&status).unwrap();
            assert_eq!(failure.reason, pannier_proto::errors::Reason::Resume);
            stage
                .until("the place is back", SECOND, async || {
                    stage.metric("r0", "watches").await == 0
                })
                .await;
        });
    });
}
