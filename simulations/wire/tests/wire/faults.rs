//! Bad days, drawn from the seed: one fault after the other, some of them at once.

use crate::shoppers::Shared;
use pannier_replica::doors::chance::Dice;
use pannier_simulations_wire::Stage;
use std::time::Duration;

/// Every kind, as it is counted.
pub const FAULTS: [&str; 8] = [
    "links cut",
    "links cut one way",
    "gateways cut from a replica",
    "clients cut from a gateway",
    "gateways' packets held",
    "replicas crashed",
    "gateways crashed",
    "replicas drained",
];

/// Brings faults until `until`, then mends everything. One hand is at the network, the other at the
/// hosts; neither undoes what the other does.
pub async fn bring(stage: &Stage, ledger: &Shared, clients: &[&str], until: Duration) {
    tokio::join!(to_network(stage, ledger, clients, until), to_hosts(stage, ledger, until));
}

async fn to_network(stage: &Stage, ledger: &Shared, clients: &[&str], until: Duration) {
    let mut dice = Dice::new().unwrap();
    let (replicas, gateways) = (stage.options().replicas as u64, stage.options().gateways as u64);
    while stage.now() < until {
        let replica = format!("r{}", dice.roll() % replicas);
        let other = format!("r{}", dice.roll() % replicas);
        let gateway = format!("g{}", dice.roll() % gateways);
        let client = clients[(dice.roll() % clients.len() as u64) as usize];
        let (lasts, pause) = times(&mut dice);
        let fault = match dice.roll() % 5 {
            0 if replica != other => {
                cut(stage, &replica, &other, lasts).await;
                FAULTS[0]
            }
            1 if replica != other => {
                stage.cut_one_way(&replica, &other);
                stage.pass(lasts).await;
                stage.heal(&replica, &other);
                FAULTS[1]
            }
            2 => {
                cut(stage, &gateway, &replica, lasts).await;
                FAULTS[2]
            }
            3 => {
                cut(stage, client, &gateway, lasts).await;
                FAULTS[3]
            }
            4 => {
                stage.hold(&gateway, &replica);
                stage.pass(lasts).await;
                stage.release(&gateway, &replica);
                FAULTS[4]
            }
            _ => continue,
        };
        ledger.borrow_mut().mark(fault);
        stage.pass(pause).await;
    }
}

async fn to_hosts(stage: &Stage, ledger: &Shared, until: Duration) {
    let mut dice = Dice::new().unwrap();
    let (replicas, gateways) = (stage.options().replicas as u64, stage.options().gateways as u64);
    while stage.now() < until {
        let replica = format!("r{}", dice.roll() % replicas);
        let gateway = format!("g{}", dice.roll() % gateways);
        let (lasts, pause) = times(&mut dice);
        stage.pass(pause).await;
        let (host, fault) = match dice.roll() % 3 {
            0 => (replica, FAULTS[5]),
            1 => (gateway, FAULTS[6]),
            _ => (replica, FAULTS[7]),
        };
        if fault == FAULTS[7] {
            stage.drain(&host).await;
        } else {
            stage.crash(&host).await;
        }
        stage.pass(lasts).await;
        stage.start(&host).await;
        ledger.borrow_mut().mark(fault);
    }
}

/// Of a fault, and of the pause beside it.
fn times(dice: &mut Dice) -> (Duration, Duration) {
    let lasts = Duration::from_millis(500 + dice.roll() % 3_500);
    (lasts, Duration::from_millis(dice.roll() % 2_000))
}

async fn cut(stage: &Stage, one: &str, other: &str, lasts: Duration) {
    stage.cut(one, other);
    stage.pass(lasts).await;
    stage.heal(one, other);
}
