//! Connections that end are made again, by whoever wants them, without being told to.

use crate::calls::{MS, SECOND};
use pannier_client::ClientSettings;
use pannier_simulations_wire::{Options, PUBLIC, World, alone, member};

#[test]
fn a_replica_that_crashed_is_linked_again_and_catches_up() {
    alone(|| {
        World::new(Options::new(1)).play(|stage| async move {
            let client = stage.client(stage.client_settings());
            let session = client.session().unwrap();
            let cart = session.cart("shop", "ada").unwrap();
            for place in 0..3 {
                let host = format!("r{place}");
                for _ in 0..10 {
                    cart.add("lamp", 1).await.unwrap();
                }
                stage.crash(&host).await;
                for _ in 0..10 {
                    cart.add("lamp", 1).await.unwrap();
                }
                stage.start(&host).await;
                let well = format!("replica{{member=\"{}\",standing=\"well\"}}", member(place));
                for gateway in ["g0", "g1"] {
                    let well = async || stage.metric(gateway, &well).await == 1;
                    stage.until("the gateway has it back", 3 * SECOND, well).await;
                }
                stage.until("all agree", 3 * SECOND, async || stage.agree().await).await;
            }
            assert_eq!(cart.read().await.unwrap().lines[0].quantity, 60);
            for (from, to) in [("r0", 1), ("r0", 2), ("r1", 2)] {
                assert!(stage.peer_metric(from, "peer_reconnects_total", to).await > 0);
            }
        });
    });
}

#[test]
fn a_long_cut_between_regions_heals_by_itself() {
    alone(|| {
        World::new(Options::with(2, 3, 0)).play(|stage| async move {
            let carts: Vec<_> = (0..3)
                .map(|place| {
                    let settings = ClientSettings::new([format!("r{place}:{PUBLIC}")]);
                    stage.client(settings).cart("shop", "ada").unwrap()
                })
                .collect();
            carts[0].add("before", 1).await.unwrap();
            stage.until("all agree", 5 * SECOND, async || stage.agree().await).await;
            for other in ["r1", "r2"] {
                stage.cut("r0", other);
            }
            // Both sides go on, and each is found out by the other's pings meanwhile.
            for at in 0..30 {
                for cart in &carts {
                    cart.add(format!("during-{at}"), 1).await.unwrap();
                }
                stage.pass(SECOND).await;
            }
            assert!(!stage.agree().await);
            for place in [1, 2] {
                assert_eq!(stage.peer_metric("r0", "peer_connected", place).await, 0);
            }
            for other in ["r1", "r2"] {
                stage.heal("r0", other);
            }
            let most = stage.options().links.redial_max + SECOND;
            let took = stage.until("all agree", most, async || stage.agree().await).await;
            println!("agreed {took:?} after the cut");
            for cart in &carts {
                let lines = cart.read().await.unwrap().lines;
                assert_eq!(lines.iter().map(|line| line.quantity).sum::<u64>(), 91);
            }
        });
    });
}

#[test]
fn a_client_goes_to_the_other_gateway_and_its_session_with_it() {
    alone(|| {
        World::new(Options::new(3)).play(|stage| async move {
            let client = stage.client(stage.client_settings());
            let session = client.session().unwrap();
            let cart = session.cart("shop", "ada").unwrap();
            let mut added = 0;
            for gateway in ["g0", "g1", "g0"] {
                for _ in 0..10 {
                    cart.add("lamp", 1).await.unwrap();
                    added += 1;
                    assert_eq!(cart.read().await.unwrap().lines[0].quantity, added);
                }
                stage.crash(gateway).await;
                let began = stage.now();
                cart.add("lamp", 1).await.unwrap();
                added += 1;
                assert!(stage.now() - began < SECOND, "{:?}", stage.now() - began);
                assert_eq!(cart.read().await.unwrap().lines[0].quantity, added);
                stage.start(gateway).await;
                stage.pass(500 * MS).await;
            }
        });
    });
}
