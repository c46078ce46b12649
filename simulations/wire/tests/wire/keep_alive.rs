//! Connections that are silent: nothing says that they are dead, and somebody must find out.
//!
//! A cut of a few hundred milliseconds is enough: what was under way is lost, nobody sends it
//! again, and what comes behind it waits for ever. So it goes with a real network whose middle has
//! forgotten a connection. Every case has its planted bug beside it: the same story without the
//! pings, in which the test must see that nothing is found out.

use crate::calls::{Execute, GET, MS, SECOND, add, get, ids};
use pannier_proto::v1::carts_client::CartsClient;
use pannier_proto::v1::command::Body;
use pannier_simulations_wire::{GATEWAY, Options, PUBLIC, Stage, World, alone, call, member};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const NEVER: Duration = Duration::from_secs(86_400);

/// What a story has found.
type Told = Rc<Cell<Option<Duration>>>;

/// How long until something is so; `None`: not within a minute.
async fn found_out(stage: &Stage, mut so: impl AsyncFnMut() -> bool) -> Option<Duration> {
    let began = stage.now();
    while !so().await {
        if stage.now() - began > 60 * SECOND {
            return None;
        }
        stage.pass(100 * MS).await;
    }
    Some(stage.now() - began)
}

/// A link from r0 to r1 dies without a word; how long it takes until r1 has everything.
fn silent_link(keep_alive: Duration, server_ping: Duration) -> Option<Duration> {
    let mut options = Options::with(31, 2, 0);
    options.links.keep_alive = keep_alive;
    options.server.ping_ms = server_ping.as_millis() as u64;
    let told = Told::default();
    let tell = told.clone();
    World::new(options).play(|stage| async move {
        let mut carts = CartsClient::new(stage.channel("r0", PUBLIC).await);
        let mut ids = ids();
        carts.add(add(&mut ids, "ada", "before")).await.unwrap();
        stage.until("they agree", 5 * SECOND, async || stage.agree().await).await;
        stage.cut_one_way("r0", "r1");
        carts.add(add(&mut ids, "ada", "during")).await.unwrap();
        stage.pass(300 * MS).await;
        stage.heal("r0", "r1");
        carts.add(add(&mut ids, "ada", "after")).await.unwrap();
        tell.set(found_out(&stage, async || stage.agree().await).await);
    });
    told.get()
}

#[test]
fn a_silent_link_is_found_by_the_pings_of_who_dialled_it() {
    alone(|| {
        let settings = Options::new(0).links;
        let took = silent_link(settings.keep_alive, NEVER).expect("it was not found out");
        let most = settings.keep_alive + settings.keep_alive_timeout + settings.redial_max;
        assert!(took > SECOND && took < most + SECOND, "{took:?}");
    });
}

#[test]
fn a_silent_link_is_found_by_the_pings_of_who_was_dialled() {
    alone(|| {
        let server = Options::new(0).server;
        let ping = Duration::from_millis(server.ping_ms);
        let took = silent_link(NEVER, ping).expect("it was not found out");
        let most = ping + Duration::from_millis(server.ping_timeout_ms);
        assert!(took < most + 4 * SECOND, "{took:?}");
    });
}

#[test]
fn without_pings_a_silent_link_is_not_found() {
    alone(|| assert_eq!(silent_link(NEVER, NEVER), None));
}

/// The gateway's connections to its only replica die; how long until it serves again.
fn silent_lanes(ping: Duration) -> Option<Duration> {
    let mut options = Options::with(32, 1, 1);
    options.gateway.ping_ms = ping.as_millis() as u64;
    // Else the replica would find them.
    options.server.ping_ms = NEVER.as_millis() as u64;
    let told = Told::default();
    let tell = told.clone();
    World::new(options).play(|stage| async move {
        let warm = call(("g0", GATEWAY), GET, &[], &get("ada")).await;
        assert_eq!(warm.status.code(), tonic::Code::Ok);
        stage.cut_one_way("r0", "g0");
        // Long enough to lose something on each of them.
        stage.pass(600 * MS).await;
        stage.heal("r0", "g0");
        let well = format!("replica{{member=\"{}\",standing=\"well\"}}", member(0));
        let well = async || stage.metric("g0", &well).await == 1;
        stage.until("the probes miss it", SECOND, async || !well().await).await;
        tell.set(found_out(&stage, well).await);
        if tell.get().is_some() {
            let again = call(("g0", GATEWAY), GET, &[], &get("ada")).await;
            assert_eq!(again.status.code(), tonic::Code::Ok);
        }
    });
    told.get()
}

/// A client vanishes; how long its stream holds a place at the replica.
fn vanished_client(ping: Duration) -> Option<Duration> {
    let mut options = Options::with(33, 1, 0);
    options.server.ping_ms = ping.as_millis() as u64;
    let told = Told::default();
    let tell = told.clone();
    let mut world = World::new(options);
    world.client("shop", |stage| async move {
        let stream = Execute::open(stage.channel("r0", PUBLIC).await).await;
        let body = Body::AddToCart(add(&mut ids(), "ada", "lamp"));
        assert!(stream.send(1, vec![body], SECOND).await);
        std::future::pending::<()>().await;
    });
    world.play(|stage| async move {
        let open = async || stage.metric("r0", "streams").await;
        stage.until("a stream", SECOND, async || open().await == 1).await;
        stage.cut("shop", "r0");
        tell.set(found_out(&stage, async || open().await == 0).await);
    });
    told.get()
}

#[test]
fn a_client_that_vanished_gives_its_place_back() {
    alone(|| {
        let server = Options::new(0).server;
        let ping = Duration::from_millis(server.ping_ms);
        let took = vanished_client(ping).expect("it was not found out");
        let most = ping + Duration::from_millis(server.ping_timeout_ms);
        assert!(took > SECOND && took <= most + SECOND, "{took:?}");
    });
}

#[test]
fn without_pings_a_client_that_vanished_holds_its_place() {
    alone(|| assert_eq!(vanished_client(NEVER), None));
}

#[test]
fn silent_lanes_are_found_by_the_gateways_pings() {
    alone(|| {
        let gateway = Options::new(0).gateway;
        let took = silent_lanes(Duration::from_millis(gateway.ping_ms));
        let took = took.expect("it was not found out");
        let most = Duration::from_millis(gateway.ping_ms + gateway.ping_timeout_ms);
        assert!(took < most + 2 * SECOND, "{took:?}");
    });
}

#[test]
fn without_pings_silent_lanes_are_not_found() {
    alone(|| assert_eq!(silent_lanes(NEVER), None));
}

#[test]
fn a_call_survives_a_silent_connection_to_the_only_gateway() {
    alone(|| {
        World::new(Options::with(34, 1, 1)).play(|stage| async move {
            let client = stage.client(stage.client_settings());
            let cart = client.session().unwrap().cart("shop", "ada").unwrap();
            cart.add("before", 1).await.unwrap();
            stage.cut_one_way("g0", "story");
            let lost = cart.add("during", 1);
            stage.pass(200 * MS).await;
            stage.heal("g0", "story");
            let began = stage.now();
            lost.await.unwrap();
            // Its own pings, 2 s and 2 s, or a stream that owes an answer for 5 s.
            assert!(stage.now() - began < 6 * SECOND);
            // Once: the answer was lost, not the command.
            let quantities: Vec<_> =
                cart.read().await.unwrap().lines.iter().map(|line| line.quantity).collect();
            assert_eq!(quantities, [1, 1]);
        });
    });
}
