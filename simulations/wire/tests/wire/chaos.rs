//! Everything at once: shoppers through two gateways, while links, replicas, gateways come and go.

use crate::calls::{MS, SECOND};
use crate::faults::{self, FAULTS};
use crate::shoppers::{self, CARTS, Ledger, Shared, Shopper};
use pannier_client::ClientSettings;
use pannier_simulations_wire::{Options, PUBLIC, Stage, World, again, alone, system};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So soon after the last fault all must agree: a link that died without a word is found dead
/// (`keep_alive` and its timeout, 5 s), dialled again (3 s), and the missing pulled.
const HEALED: Duration = Duration::from_secs(10);

const CLIENTS: [&str; 2] = ["c0", "c1"];

/// A run, with faults for so long, and with something done once the world is made: what was wrong
/// with it, what it met, and how long it took.
pub fn run(options: Options, lasts: Duration, made: impl FnOnce()) -> (Ledger, Duration) {
    let ledger = Shared::default();
    let mut world = World::new(options);
    made();
    for host in CLIENTS {
        let ledger = ledger.clone();
        world.client(host, |stage| async move {
            let client = stage.client(stage.client_settings());
            let shop = |at| {
                let name = format!("{host}-{at}");
                shoppers::shop(stage.clone(), client.clone(), ledger.clone(), name)
            };
            let watch = shoppers::watch(client.clone(), ledger.clone(), format!("{host}-w"), 0);
            tokio::join!(shop(0), shop(1), shop(2), watch);
        });
    }
    let told = ledger.clone();
    let took = world.play(|stage| async move {
        faults::bring(&stage, &told, &CLIENTS, lasts).await;
        told.borrow_mut().over = true;
        // Calls that are under way end, one way or the other.
        stage.pass(ClientSettings::new(["none:1"]).deadline).await;
        judge(&stage, &told).await;
    });
    let ledger = std::mem::take(&mut *ledger.borrow_mut());
    (ledger, took)
}

/// All agree, within a bound, and on what was acknowledged.
async fn judge(stage: &Stage, ledger: &Shared) {
    let began = stage.now();
    while !stage.agree().await {
        if stage.now() - began > HEALED {
            let stuck = format!("replicas do not agree {HEALED:?} after the last fault");
            ledger.borrow_mut().violations.push(stuck);
            break;
        }
        stage.pass(100 * MS).await;
    }
    for replica in 0..stage.options().replicas {
        let client = stage.client(ClientSettings::new([format!("r{replica}:{PUBLIC}")]));
        for cart in 0..CARTS {
            let view = client.cart("shop", shoppers::id(cart)).unwrap().read().await.unwrap();
            let line =
                |line: &pannier_client::Line| (line.product.as_bytes().to_vec(), line.quantity);
            let shown: BTreeMap<_, _> = view.lines.iter().map(line).collect();
            ledger.borrow_mut().judge(replica, cart, &shown);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_no_session_goes_backwards() {
    let seeds = ["1", "2", "3", "4"];
    let said = again(&seeds, |seed| {
        let began = system::cpu_time();
        let (ledger, took) = run(Options::new(seed.parse().unwrap()), 40 * SECOND, || ());
        let cost = system::cpu_time() - began;
        let times = took.as_secs_f64() / cost.as_secs_f64();
        println!("SPEED seed {seed}: {took:?} in {cost:?} of processor time, {times:.0} times");
        for (mark, count) in &ledger.marks {
            println!("MARK {count} {mark}");
        }
        assert_eq!(ledger.violations, [""; 0]);
    });
    let lines = said.iter().flat_map(|said| said.lines());
    let met: BTreeSet<_> = lines
        .inspect(|line| println!("{line}"))
        .filter_map(|line| line.strip_prefix("MARK ")?.split_once(' '))
        .map(|(_, mark)| mark.to_owned())
        .collect();
    let claimed = FAULTS.into_iter().chain(shoppers::MARKS);
    let missed: Vec<_> = claimed.filter(|mark| !said.is_empty() && !met.contains(*mark)).collect();
    assert_eq!(missed, [""; 0], "no seed has met these");
}

/// A shopper adds at one replica and reads at another that is cut off from it.
fn moved(forgets: bool) -> Ledger {
    let ledger = Shared::default();
    let told = ledger.clone();
    World::new(Options::with(6, 2, 0)).play(|stage| async move {
        let at = |place| stage.client(ClientSettings::new([format!("r{place}:{PUBLIC}")]));
        let (here, there) = (at(0), at(1));
        stage.begin().await;
        stage.cut("r0", "r1");
        let mut shopper = Shopper::new(here, told, "ada".into(), forgets);
        shopper.add(0).await;
        shopper.move_to(there);
        shopper.read(0, false).await;
        stage.heal("r0", "r1");
        shopper.read(0, false).await;
    });
    std::mem::take(&mut *ledger.borrow_mut())
}

#[test]
fn a_session_waits_rather_than_go_backwards() {
    alone(|| {
        let ledger = moved(false);
        assert_eq!(ledger.violations, [""; 0]);
        assert_eq!(ledger.marks["calls without an answer in time"], 1);
        assert_eq!(ledger.marks["reads answered"], 1);
    });
}

/// A planted bug: a client that forgets its session between two calls.
#[test]
fn a_session_that_goes_backwards_is_caught() {
    alone(|| assert_eq!(moved(true).violations, ["ada no longer sees ada-1"]));
}

/// What one replica alone has taken in before it crashes, held against what is there in the end.
fn crashed_alone(forgetful_disks: bool) -> Vec<String> {
    let ledger = Shared::default();
    let told = ledger.clone();
    let options = Options { forgetful_disks, ..Options::with(5, 3, 0) };
    World::new(options).play(|stage| async move {
        stage.begin().await;
        for other in ["r1", "r2"] {
            stage.cut("r0", other);
        }
        let client = stage.client(ClientSettings::new([format!("r0:{PUBLIC}")]));
        for at in 0..20_u64 {
            let (cart, item) = (at % CARTS, format!("item-{at}").into_bytes());
            client.cart("shop", shoppers::id(cart)).unwrap().add(&item, 1).await.unwrap();
            told.borrow_mut().added.insert((cart, item));
        }
        // With the client goes what it has kept to write again.
        drop(client);
        stage.crash("r0").await;
        for other in ["r1", "r2"] {
            stage.heal("r0", other);
        }
        stage.start("r0").await;
        stage.pass(SECOND).await;
        judge(&stage, &told).await;
    });
    std::mem::take(&mut ledger.borrow_mut().violations)
}

#[test]
fn what_was_acknowledged_survives_the_crash_of_the_only_one_that_had_it() {
    alone(|| assert_eq!(crashed_alone(false), [""; 0]));
}

/// A planted bug: a disk that had synced nothing of what it said.
#[test]
fn a_disk_that_forgets_is_caught() {
    alone(|| {
        let violations = crashed_alone(true);
        let lost = violations.iter().filter(|what| what.contains("acknowledged, and not there"));
        assert!(lost.count() >= 20, "{violations:?}");
    });
}
