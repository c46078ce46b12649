//! Ends that nobody notices, and ends that come although something hangs.

use crate::calls::{ADD, MS, SECOND, add, ids};
use pannier_proto::errors::Reason;
use pannier_simulations_wire::{GATEWAY, Options, PUBLIC, Stage, World, alone, call};
use std::cell::Cell;
use std::rc::Rc;

/// Adds through the library until told to stop; none may fail. How many there were.
async fn load(stage: Stage, stop: Rc<Cell<bool>>) -> u64 {
    let client = stage.client(stage.client_settings());
    let cart = client.session().unwrap().cart("shop", "ada").unwrap();
    let mut added = 0;
    while !stop.get() {
        let several: Vec<_> = (0..5).map(|of| cart.add(format!("p{}", added + of), 1)).collect();
        for add in several {
            add.await.unwrap();
            added += 1;
        }
    }
    let lines = cart.read().await.unwrap().lines;
    assert!(lines.iter().all(|line| line.quantity == 1));
    assert_eq!(lines.len() as u64, added);
    added
}

fn rolled(seed: u64, hosts: &'static [&'static str]) {
    World::new(Options::new(seed)).play(move |stage| async move {
        let stop = Rc::<Cell<bool>>::default();
        let loads = (load(stage.clone(), stop.clone()), load_other(stage.clone(), stop.clone()));
        let drains = async {
            for host in hosts {
                stage.pass(SECOND).await;
                let began = stage.now();
                assert_eq!(stage.drain(host).await, 0, "{host} cut something off");
                // Nothing was under way that takes long.
                assert!(stage.now() - began < SECOND, "{host} took {:?}", stage.now() - began);
                stage.pass(500 * MS).await;
                stage.start(host).await;
            }
            stage.pass(SECOND).await;
            stop.set(true);
        };
        let (one, other, ()) = tokio::join!(loads.0, loads.1, drains);
        println!("{one} and {other} adds while {hosts:?} were drained");
        assert!(one > 100 && other > 100);
        stage.until("all agree", 10 * SECOND, async || stage.agree().await).await;
    });
}

async fn load_other(stage: Stage, stop: Rc<Cell<bool>>) -> u64 {
    let client = stage.client(stage.client_settings());
    let set = client.session().unwrap().set("shop", "wishes").unwrap();
    let mut added = 0;
    while !stop.get() {
        set.add(format!("w{added}")).await.unwrap();
        added += 1;
    }
    assert_eq!(set.read().await.unwrap().elements.len() as u64, added);
    added
}

#[test]
fn replicas_are_drained_one_by_one_and_no_call_fails() {
    alone(|| rolled(51, &["r0", "r1", "r2"]));
}

#[test]
fn gateways_are_drained_one_by_one_and_no_call_fails() {
    alone(|| rolled(52, &["g0", "g1", "g0"]));
}

#[test]
fn what_is_under_way_is_answered_and_what_comes_later_is_sent_elsewhere() {
    alone(|| {
        let mut options = Options::with(53, 1, 0);
        options.sync = (2 * SECOND, 2 * SECOND);
        World::new(options).play(|stage| async move {
            let mut ids = ids();
            let (early, late) = (add(&mut ids, "ada", "lamp"), add(&mut ids, "ada", "sofa"));
            let early = call(("r0", PUBLIC), ADD, &[], &early);
            let drained = async {
                stage.pass(300 * MS).await;
                stage.drain("r0").await
            };
            let refused = async {
                // A connection that was there before, so that it is heard.
                let channel = stage.channel("r0", PUBLIC).await;
                let mut carts = pannier_proto::v1::carts_client::CartsClient::new(channel);
                stage.pass(400 * MS).await;
                carts.add(late).await
            };
            let (early, drained, refused) = tokio::join!(early, drained, refused);
            assert_eq!(early.status.code(), tonic::Code::Ok, "{early:?}");
            assert_eq!(drained, 0);
            let refused = refused.unwrap_err();
            let failure = pannier_proto::errors::Failure::from_status(&refused);
            // HTTP/2 has told the client to go before the call could be refused, mostly.
            assert!(failure.is_none_or(|it| it.reason == Reason::Draining), "{refused:?}");
            assert_ne!(refused.code(), tonic::Code::Ok);
        });
    });
}

#[test]
fn a_gateway_does_not_wait_for_ever() {
    alone(|| {
        let mut options = Options::with(54, 1, 1);
        options.sync = (20 * SECOND, 20 * SECOND);
        options.gateway.drain_ms = 3_000;
        options.gateway.deadline_ms = 30_000;
        World::new(options).play(|stage| async move {
            let stuck = add(&mut ids(), "ada", "lamp");
            let stuck = async {
                let channel = stage.channel("g0", GATEWAY).await;
                let mut carts = pannier_proto::v1::carts_client::CartsClient::new(channel);
                carts.add(stuck).await
            };
            let drained = async {
                stage.pass(500 * MS).await;
                let began = stage.now();
                stage.drain("g0").await;
                stage.now() - began
            };
            let (stuck, took) = tokio::join!(stuck, drained);
            assert!(stuck.is_err());
            assert!(took >= 3 * SECOND && took < 4 * SECOND, "{took:?}");
        });
    });
}
