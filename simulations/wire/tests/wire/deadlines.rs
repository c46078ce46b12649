//! Deadlines: who gives up when, and what he says.

use crate::calls::{ADD, GET, MS, SECOND, add, get, ids};
use pannier_client::{Error, StateChange};
use pannier_proto::errors::Reason;
use pannier_proto::metadata;
use pannier_proto::v1::carts_client::CartsClient;
use pannier_simulations_wire::{Answered, GATEWAY, Options, PUBLIC, World, alone, call};
use std::time::Duration;
use tonic::Code;

/// There and back, once for the connection and once for the call, and a step each.
const THERE_AND_BACK: Duration = Duration::from_millis(120);

fn late(answered: &Answered, given: Duration) {
    assert_eq!(answered.status.code(), Code::DeadlineExceeded, "{answered:?}");
    assert_eq!(answered.reason(), Some(Reason::Deadline));
    assert!(answered.took >= given, "too soon: {answered:?}");
    assert!(answered.took <= given + THERE_AND_BACK, "too late: {answered:?}");
}

#[test]
fn a_replica_answers_deadline_when_its_client_said() {
    alone(|| {
        let mut options = Options::with(11, 1, 0);
        options.sync = (45 * SECOND, 45 * SECOND);
        World::new(options).play(|stage| async move {
            let mut ids = ids();
            let said = add(&mut ids, "ada", "said");
            let unsaid = add(&mut ids, "ada", "unsaid");
            let vast = add(&mut ids, "ada", "vast");
            let at = ("r0", PUBLIC);
            let (said, unsaid, vast) = tokio::join!(
                call(at, ADD, &[("grpc-timeout", "300m")], &said),
                call(at, ADD, &[], &unsaid),
                call(at, ADD, &[("grpc-timeout", "2M")], &vast),
            );
            let server = &stage.options().server;
            late(&said, 300 * MS);
            late(&unsaid, Duration::from_millis(server.deadline_ms));
            late(&vast, Duration::from_millis(server.deadline_most_ms));
            // Unknown is what DEADLINE says of the state; here they have taken effect.
            stage.pass(90 * SECOND).await;
            let mut carts = CartsClient::new(stage.channel("r0", PUBLIC).await);
            let cart = carts.get(get("ada")).await.unwrap().into_inner();
            assert_eq!(cart.lines.len(), 3);
            assert_eq!(stage.metric("r0", "calls").await, 0);
        });
    });
}

#[test]
fn behind_is_said_a_little_before_the_deadline() {
    alone(|| {
        World::new(Options::with(12, 2, 0)).play(|stage| async move {
            stage.begin().await;
            stage.cut("r0", "r1");
            let mut carts = CartsClient::new(stage.channel("r0", PUBLIC).await);
            let written = carts.add(add(&mut ids(), "ada", "lamp")).await.unwrap();
            let token = metadata::token_bytes(written.metadata()).unwrap().unwrap();
            let mut request = tonic::Request::new(());
            metadata::set_token(request.metadata_mut(), &token);
            let headers = request.metadata().clone().into_headers();
            let (name, token) = headers.iter().next().unwrap();
            let token = [("grpc-timeout", "400m"), (name_of(name), token.to_str().unwrap())];
            let answered = call(("r1", PUBLIC), GET, &token, &get("ada")).await;
            assert_eq!(answered.reason(), Some(Reason::Behind), "{answered:?}");
            assert!(answered.took >= 350 * MS, "{answered:?}");
            assert!(answered.took <= 350 * MS + THERE_AND_BACK, "{answered:?}");
        });
    });
}

fn name_of(name: &http::HeaderName) -> &'static str {
    assert_eq!(name.as_str(), metadata::TOKEN);
    metadata::TOKEN
}

#[test]
fn a_gateway_keeps_the_deadline_when_all_replicas_are_silent() {
    alone(|| {
        World::new(Options::with(13, 3, 1)).play(|stage| async move {
            // Until it knows them.
            let warm = call(("g0", GATEWAY), GET, &[], &get("ada")).await;
            assert_eq!(warm.status.code(), Code::Ok);
            for replica in ["r0", "r1", "r2"] {
                stage.hold("g0", replica);
            }
            let headers = [("grpc-timeout", "1200m")];
            let answered = call(("g0", GATEWAY), GET, &headers, &get("ada")).await;
            late(&answered, 1_200 * MS);
            // Each was asked, for its share of the time.
            assert_eq!(stage.metric("g0", "tries_total{outcome=\"timed_out\"}").await, 3);
            assert_eq!(stage.metric("g0", "calls_open").await, 0);
        });
    });
}

#[test]
fn a_gateway_moves_on_from_a_silent_replica_within_the_deadline() {
    alone(|| {
        World::new(Options::with(14, 3, 1)).play(|stage| async move {
            let warm = call(("g0", GATEWAY), GET, &[], &get("ada")).await;
            let home = warm.said["pannier-served-by"].clone();
            let places = 0..stage.options().replicas;
            let is_home = |place: &usize| {
                home == pannier_simulations_wire::member(*place).to_string().as_str()
            };
            let silent = places.into_iter().find(is_home).unwrap();
            stage.hold("g0", &format!("r{silent}"));
            let headers = [("grpc-timeout", "2S")];
            let answered = call(("g0", GATEWAY), GET, &headers, &get("ada")).await;
            assert_eq!(answered.status.code(), Code::Ok, "{answered:?}");
            assert_eq!(answered.said["pannier-tries"], "2");
            assert_ne!(answered.said["pannier-served-by"], home);
            let given = Duration::from_millis(stage.options().gateway.try_ms);
            assert!(answered.took >= given && answered.took <= given + THERE_AND_BACK);
        });
    });
}

#[test]
fn a_call_of_the_library_ends_at_its_deadline_whatever_hangs() {
    alone(|| {
        World::new(Options::with(15, 3, 1)).play(|stage| async move {
            let client = stage.client(stage.client_settings());
            let cart = client.session().unwrap().cart("shop", "ada").unwrap();
            cart.add("lamp", 1).await.unwrap();
            stage.hold("story", "g0");
            let began = stage.now();
            let Err(Error::TimedOut { state, .. }) = cart.within(700 * MS).add("lamp", 1).await
            else {
                panic!("an answer from nobody")
            };
            assert_eq!(state, StateChange::Unknown);
            assert_eq!((stage.now() - began).as_millis(), 700);
        });
    });
}
