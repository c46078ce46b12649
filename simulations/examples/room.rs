//! scratch
use pannier_simulations::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let canary: Canary = std::env::var("CANARY").map_or(Canary::None, |s| s.parse().unwrap());
    let profile: Profile = std::env::var("PROFILE").map_or(Profile::Members, |s| s.parse().unwrap());
    let from: u64 = args[2].parse().unwrap();
    if args[1] == "shrink" {
        let drawn = Scenario::draw(from, profile);
        let s = shrink(&drawn, canary, BUDGET).expect("fails");
        println!("{} acts after {} runs", s.scenario.acts.len(), s.runs);
        for act in &s.scenario.acts { println!("{act}"); }
        let v = play_scenario(&s.scenario, canary).violation.unwrap();
        println!("{v}");
        let w = Written { name: format!("seed-{from}"), story: v.what.clone(), canary, breaks: Some(v.checker.into()), scenario: s.scenario };
        std::fs::write(format!("/tmp/simroom-{from}.toml"), w.to_string()).unwrap();
        println!("{w}");
        return;
    }
    if args[1] == "find" {
        let f = find(canary, from);
        println!("{canary}: {:?}", f.map(|f| (f.seed, f.violation.map(|v| v.checker))));
        return;
    }
    let n: u64 = args[3].parse().unwrap();
    let s = sweep(&Sweep { seeds: from..from + n, profile, canary, threads: 2, claims: vec![] });
    for f in &s.failures {
        let v = f.violation.as_ref().unwrap();
        println!("seed {}: {}: {}", f.seed, v.checker, v.what.chars().take(250).collect::<String>());
        if args.get(4).is_some() { println!("{v}"); }
    }
    for m in Mark::ALL { print!("{}: {}; ", m.name(), s.coverage.get(*m)); }
    println!("\nruns {} failures {} missing {:?}", s.runs, s.failures.len(), s.missing);
}
