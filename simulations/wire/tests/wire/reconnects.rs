//! Connections that end are made again, by whoever wants them, without being told to.

use pannier_simulations_wire::{Options, World, alone, system};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_replica_that_crashes_is_linked_again_and_catches_up() {
    alone(|| {
        let began = system::cpu_time();
        let world = World::new(Options::new(1));
        let took = world.play(|stage| async move {
            let client = stage.client(stage.client_settings());
            let session = client.session().unwrap();
            let cart = session.cart("shop", "ada").unwrap();
            for _ in 0..20 {
                cart.add("lamp", 1).await.unwrap();
            }
            stage.crash("r0").await;
            for _ in 0..20 {
                cart.add("lamp", 1).await.unwrap();
            }
            stage.start("r0").await;
            let healed = stage.until("all agree", 10 * SECOND, async || stage.agree().await).await;
            println!("healed after {healed:?}");
            assert_eq!(cart.read().await.unwrap().lines[0].quantity, 40);
        });
        println!("{took:?} in {:?}", system::cpu_time() - began);
    });
}
