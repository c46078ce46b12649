//! Whole runs, small: a good one passes every check; each way to break it fails the check that
//! says what was broken.

use super::super::report::Verdict;
use super::*;
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn play(flags: &str) -> Result<Summary, Fail> {
    let words = std::iter::once("replay").chain(flags.split_whitespace());
    let line = Line::try_parse_from(words).unwrap();
    super::run(&line.options, &Settings::default())
}

fn failed(summary: &Summary) -> Vec<&str> {
    let failed = summary.checks.iter().filter(|check| check.verdict == Verdict::Fail);
    failed.map(|check| &*check.name).collect()
}

#[test]
fn a_day_with_every_trouble_passes() {
    let summary = play("--synthetic 2000 --retries 0.3 --moves 0.5 --cut 0.5").unwrap();
    assert_eq!(failed(&summary), [""; 0], "{summary}");
    assert_eq!((summary.exit_code(), summary.ops, summary.events), (0, 2_000, 2_000));
    assert_eq!(summary.checks.len(), 8);
    assert!(summary.moves > 20 && summary.retries_sent > 400, "{summary}");
    assert!(summary.duplicates_suppressed > 0 && summary.duplicates_merged > 0, "{summary}");
    assert_eq!(summary.duplicates_suppressed + summary.duplicates_merged, summary.retries_sent);
    assert!(summary.troubles.len() == 1 && summary.convergence_us.is_some(), "{summary}");
    assert!(summary.payload_ratio.is_some_and(|ratio| ratio >= 1.0), "{summary}");
    let measured: u64 = summary.latencies.iter().take(4).map(|row| row.count).sum();
    assert_eq!(measured, 2_000);
}

#[test]
fn a_quiet_day_passes_too() {
    let summary = play("--synthetic 300 --retries 0 --moves 0 --cut 0 --in-flight 1").unwrap();
    assert_eq!(failed(&summary), [""; 0], "{summary}");
    assert_eq!((summary.retries_sent, summary.moves, summary.behind), (0, 0, 0));
    assert!(summary.troubles.is_empty());
}

#[test]
fn a_delta_that_is_lost_for_ever_is_missed() {
    let summary = play("--synthetic 2000 --sabotage drop-delta --converge-within 1").unwrap();
    let failed = failed(&summary);
    assert!(failed.contains(&"converged") && failed.contains(&"replicas are equal"), "{summary}");
    let converged = summary.checks.iter().find(|check| check.name == "converged").unwrap();
    assert!(converged.detail.contains("us lacks"), "{}", converged.detail);
    assert!(converged.detail.contains("commits of eu, from 3"), "{}", converged.detail);
    assert_eq!((summary.exit_code(), summary.convergence_us), (1, None));
}

#[test]
fn a_product_that_comes_back_is_seen() {
    let summary = play("--synthetic 2000 --sabotage resurrect").unwrap();
    assert_eq!(failed(&summary), ["removed stays removed"], "{summary}");
}

#[test]
fn a_session_without_its_token_sees_too_little() {
    let summary = play("--synthetic 2000 --sabotage skip-token").unwrap();
    assert!(failed(&summary).contains(&"sessions see what they wrote"), "{summary}");
}

#[test]
fn a_retry_under_another_op_id_counts_twice() {
    let summary = play("--synthetic 2000 --sabotage double-count").unwrap();
    assert!(failed(&summary).contains(&"each op counts once"), "{summary}");
}

#[test]
fn a_sabotage_without_a_victim_is_no_success() {
    let error = play("--synthetic 1 --sabotage skip-token").unwrap_err();
    assert!(error.to_string().starts_with("--sabotage: the run passed all the same"), "{error}");
}

#[test]
fn bad_shares_and_places_name_their_flag() {
    assert!(play("--synthetic 9 --retries 1.5").unwrap_err().to_string().starts_with("--retries"));
    assert!(play("--synthetic 9 --cut -1").is_err_and(|e| e.to_string().starts_with("--cut")));
    assert!(play("--synthetic 0").unwrap_err().to_string().starts_with("--synthetic"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("ap")).unwrap();
    let error = play(&format!("--synthetic 9 --directory {}", dir.path().display())).unwrap_err();
    assert!(error.to_string().starts_with("--directory: "), "{error}");
    assert!(!dir.path().join("eu").exists());
}

#[test]
fn the_replicas_stay_where_they_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("here");
    let summary = play(&format!("--synthetic 50 --directory {}", path.display())).unwrap();
    assert_eq!(summary.exit_code(), 0, "{summary}");
    for region in Region::all() {
        let replica = pannier_replica::Replica::open(path.join(region.name())).unwrap();
        assert_eq!(replica.member(), region.member());
        assert!(!replica.dump().unwrap().is_empty());
    }
}
