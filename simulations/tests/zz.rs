//! tmp
use pannier_simulations::*;
#[test]
fn tmp_run() {
    let var = |name: &str, or: &str| std::env::var(name).unwrap_or(or.into());
    let from: u64 = var("FROM", "0").parse().unwrap();
    let n: u64 = var("N", "20").parse().unwrap();
    let profile: Profile = var("PROFILE", "mixed").parse().unwrap();
    let canary = var("CANARY", "None");
    let canary =
        Canary::ALL.into_iter().find(|c| format!("{c:?}") == canary).unwrap_or(Canary::None);
    let t = std::time::Duration::ZERO;
    let _ = t;
    let mut by: std::collections::BTreeMap<String, Vec<u64>> = Default::default();
    let summary = sweep(&Sweep {
        seeds: from..from + n,
        profile,
        canary,
        threads: var("THREADS", "1").parse().unwrap(),
        claims: Vec::new(),
    });
    let told: usize = var("TOLD", "2").parse().unwrap();
    for (i, f) in summary.failures.iter().enumerate() {
        let v = f.violation.as_ref().unwrap();
        if i < told {
            println!("seed {}: {v}\n", f.seed);
        }
        by.entry(v.checker.to_string()).or_default().push(f.seed);
    }
    println!("runs {} events {} failures {:?}", summary.runs, summary.events, by);
    if var("COV", "") != "" {
        for m in Mark::ALL {
            println!("{:>10} {}", summary.coverage.get(*m), m.name());
        }
    }
}
