//! Bad days, drawn from the seed: one fault after the other, some of them at once.

use crate::shoppers::Shared;
use pannier_replica::doors::chance::Dice;
use pannier_simulations_wire::Stage;
use std::time::Duration;

/// Brings faults until `until`, then mends everything.
pub async fn bring(stage: &Stage, ledger: &Shared, clients: &[&str], until: Duration) {
    let mut dice = Dice::new().unwrap();
    let (replicas, gateways) = (stage.options().replicas as u64, stage.options().gateways as u64);
    while stage.now() < until {
        let replica = format!("r{}", dice.roll() % replicas);
        let other = format!("r{}", dice.roll() % replicas);
        let gateway = format!("g{}", dice.roll() % gateways);
        let client = clients[(dice.roll() % clients.len() as u64) as usize];
        let lasts = Duration::from_millis(500 + dice.roll() % 3_500);
        let what = match dice.roll() % 9 {
            0 | 1 if replica != other => {
                cut(stage, &replica, &other, lasts).await;
                "links cut"
            }
            2 if replica != other => {
                stage.cut_one_way(&replica, &other);
                stage.pass(lasts).await;
                stage.heal(&replica, &other);
                "links cut one way"
            }
            3 => {
                cut(stage, &gateway, &replica, lasts).await;
                "gateways cut from a replica"
            }
            4 => {
                cut(stage, client, &gateway, lasts).await;
                "clients cut from a gateway"
            }
            5 => {
                stage.hold(&gateway, &replica);
                stage.pass(lasts).await;
                stage.release(&gateway, &replica);
                "gateways' packets held"
            }
            6 => {
                stage.crash(&replica).await;
                stage.pass(lasts).await;
                stage.start(&replica).await;
                "replicas crashed"
            }
            7 => {
                stage.crash(&gateway).await;
                stage.pass(lasts).await;
                stage.start(&gateway).await;
                "gateways crashed"
            }
            8 => {
                stage.drain(&replica).await;
                stage.pass(lasts).await;
                stage.start(&replica).await;
                "replicas drained"
            }
            _ => continue,
        };
        ledger.borrow_mut().mark(what);
        let pause = Duration::from_millis(dice.roll() % 2_000);
        stage.pass(pause).await;
    }
}

async fn cut(stage: &Stage, one: &str, other: &str, lasts: Duration) {
    stage.cut(one, other);
    stage.pass(lasts).await;
    stage.heal(one, other);
}
