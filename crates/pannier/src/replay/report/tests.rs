//! The table to the letter, the JSON by its fields, and the verdict in all three forms.

use super::*;
use crate::replay::events::Reason;

fn summary() -> Summary {
    let mut malformed = MalformedRows::default();
    for line in 10..17 {
        malformed.add(&Malformed { line, reason: Reason::NotUtf8 });
    }
    let mut taken = Histogram::<u64>::new(3).unwrap();
    (1..=1_000).for_each(|us| taken.record(us * 10).unwrap());
    Summary {
        source: "day.csv".into(),
        seed: 7,
        events: 200_000,
        malformed,
        users: 35_000,
        ops: 200_000,
        retries_sent: 10_000,
        duplicates_suppressed: 9_000,
        duplicates_merged: 1_000,
        moves: 1_234,
        behind: 30,
        away: 0,
        went_back: 20,
        troubles: vec![Away { region: "eu-2".into(), how: "cut off", duration_us: 3_100_000 }],
        sessions_moved: None,
        slowest_move_us: None,
        elapsed_us: 10_000_000,
        convergence_us: Some(120_000),
        payload_ratio: Some(1.25),
        phases: ["read", "shop"].map(|name| Phase { name, duration_us: 1_500_000 }).into(),
        latencies: vec![Latency::of("remove_from_cart", &taken)],
        checks: vec![
            Check::new("carts", true, "3 replicas, 30,000 carts, no difference"),
            Check::new("view counts", true, ""),
        ],
    }
}

#[test]
fn the_table() {
    let want = "  events                 200,000
  malformed rows               7
                                   line 10: not UTF-8
                                   line 11: not UTF-8
                                   line 12: not UTF-8
                                   line 13: not UTF-8
                                   line 14: not UTF-8
                                   and 2 more
  ops                    200,000   20,000 a second for 10.0 s
  users                   35,000   1,234 moved
  behind                      30   20 then served elsewhere
  retries                 10,000   9,000 already known, 1,000 met later and counted once
  eu-2                    3.10 s   cut off
  converged               120 ms
  payload                  1.250   deltas received, for each byte that was missing
  whole run               3.00 s   read 1.50 s, shop 1.50 s

  latency                    ops         p50         p99       p99.9         max
  remove_from_cart         1,000     5.00 ms     9.90 ms     9.99 ms     10.0 ms

  PASS  carts         3 replicas, 30,000 carts, no difference
  PASS  view counts

PASS  day.csv (seed 7)
";
    assert_eq!(summary().to_string(), want);
}

#[test]
fn the_json_says_the_same() {
    let json: serde_json::Value = serde_json::from_str(&summary().to_json().unwrap()).unwrap();
    assert_eq!(json["verdict"], "pass");
    assert_eq!(json["ops_per_second"], 20_000.0);
    assert_eq!(json["malformed"]["count"], 7);
    assert_eq!(json["malformed"]["first"][0]["line"], 10);
    assert_eq!(json["malformed"]["first"][4]["reason"], "not UTF-8");
    assert_eq!(json["troubles"][0]["duration_us"], 3_100_000);
    assert_eq!(json["latencies"][0]["op"], "remove_from_cart");
    assert_eq!(json["latencies"][0]["count"], 1_000);
    assert_eq!(json["checks"][1]["verdict"], "pass");
    assert_eq!(json["convergence_us"], 120_000);
}

#[test]
fn one_failed_check_fails_the_run_in_all_three_forms() {
    let mut run = summary();
    assert_eq!((run.verdict(), run.exit_code()), (Verdict::Pass, 0));
    run.checks.push(Check::new("sessions", false, "line 12: 1 of p9, not 2"));
    assert_eq!((run.verdict(), run.exit_code()), (Verdict::Fail, 1));
    assert!(run.to_string().contains("\nFAIL  day.csv (seed 7)\n"));
    assert!(run.to_json().unwrap().contains("\"verdict\": \"fail\""));
}

#[test]
fn a_run_that_checked_nothing_has_failed() {
    let run = Summary::default();
    assert_eq!(run.exit_code(), 1);
    assert!(run.to_string().contains("nothing was checked"));
    assert!(run.to_string().contains("never"));
    assert_eq!(run.ops_per_second(), 0.0);
    assert!(run.to_json().unwrap().contains("\"convergence_us\": null"));
}

#[test]
fn latencies_of_nothing() {
    let row = Latency::of("view", &Histogram::new(3).unwrap());
    assert_eq!((row.count, row.p50_us, row.max_us), (0, 0, 0));
}

#[test]
fn numbers_for_people() {
    for (number, want) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
        assert_eq!(grouped(number), want);
    }
    for (us, want) in [
        (0, "0 µs"),
        (999, "999 µs"),
        (1_000, "1.00 ms"),
        (12_340, "12.3 ms"),
        (123_400, "123 ms"),
        (1_500_000, "1.50 s"),
        (90_000_000, "90.0 s"),
    ] {
        assert_eq!(span(us), want);
    }
}
