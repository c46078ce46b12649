//! Everything at once: shoppers through two gateways while links, replicas and gateways come and go.

use crate::faults;
use crate::shoppers::{self, CARTS, Ledger, Shared};
use pannier_client::ClientSettings;
use pannier_simulations_wire::{Options, PUBLIC, Stage, World, alone, system};
use std::collections::BTreeMap;
use std::time::Duration;

/// So soon after the last fault all must agree: a link that died without a word is found dead
/// (`keep_alive` and its timeout, 10 s), dialled again (3 s), and the missing pulled.
const HEALED: Duration = Duration::from_secs(15);

const CLIENTS: [&str; 2] = ["c0", "c1"];

/// A run: what was wrong with it, and what it met.
pub fn run(options: Options, lasts: Duration, forgets: bool) -> (Ledger, Duration) {
    let ledger = Shared::default();
    let mut world = World::new(options);
    for host in CLIENTS {
        let ledger = ledger.clone();
        world.client(host, |stage| async move {
            let client = stage.client(stage.client_settings());
            let shop = |at| {
                let name = format!("{host}-{at}");
                shoppers::shop(stage.clone(), client.clone(), ledger.clone(), name, forgets)
            };
            tokio::join!(shop(0), shop(1), shop(2));
        });
    }
    let told = ledger.clone();
    let took = world.play(|stage| async move {
        faults::bring(&stage, &told, &CLIENTS, lasts).await;
        told.borrow_mut().over = true;
        // Calls that are under way end, one way or the other.
        stage.pass(ClientSettings::new(["none:1"]).deadline).await;
        if let Some(stuck) = until_agreed(&stage).await {
            told.borrow_mut().violations.push(stuck);
        }
        for replica in 0..stage.options().replicas {
            let client = stage.client(ClientSettings::new([format!("r{replica}:{PUBLIC}")]));
            for cart in 0..CARTS {
                let view = client.cart("shop", shoppers::id(cart)).unwrap().read().await.unwrap();
                let shown: BTreeMap<_, _> = view
                    .lines
                    .iter()
                    .map(|line| (line.product.as_bytes().to_vec(), line.quantity))
                    .collect();
                told.borrow_mut().judge(replica, cart, &shown);
            }
        }
    });
    let ledger = std::mem::take(&mut *ledger.borrow_mut());
    (ledger, took)
}

async fn until_agreed(stage: &Stage) -> Option<String> {
    let began = stage.now();
    while !stage.agree().await {
        if stage.now() - began > HEALED {
            return Some(format!("replicas do not agree {HEALED:?} after the last fault"));
        }
        stage.pass(Duration::from_millis(100)).await;
    }
    None
}

#[test]
fn nothing_acknowledged_is_lost_and_no_session_goes_backwards() {
    alone(|| {
        let began = system::cpu_time();
        let (ledger, took) = run(Options::new(7), Duration::from_secs(60), false);
        let cost = system::cpu_time() - began;
        println!(
            "{took:?} simulated in {cost:?} of processor time: {:.0} times",
            took.as_secs_f64() / cost.as_secs_f64()
        );
        println!("{:?}", ledger.marks);
        assert_eq!(ledger.violations, [""; 0]);
    });
}

#[test]
fn idle() {
    alone(|| {
        for (r, g) in [(3, 0), (3, 1), (3, 2), (1, 0), (0, 0)] {
            let began = system::cpu_time();
            let mut o = Options::with(7, r.max(1), g);
            if r == 0 { o.gateways = 0; o.replicas = 1; o.step = Duration::from_millis(50); }
            let world = World::new(o);
            let took = world.play(|stage| async move { stage.pass(Duration::from_secs(20)).await; });
            let cost = system::cpu_time() - began;
            println!("{r} {g}: {took:?} simulated in {cost:?} of processor time: {:.0} times", took.as_secs_f64() / cost.as_secs_f64());
        }
    });
}
