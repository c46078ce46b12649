//! Every scenario of `corpus/` ends as it says: it holds, and fails with its canary planted.
//!
//! They are written out in full, so they outlive changes of how seeds are drawn. A scenario that a
//! change of behaviour makes meaningless is mended by hand or taken out, with a reason.
#![allow(clippy::unwrap_used, reason = "a corpus that cannot be read has failed the test")]

use pannier_simulations::{Canary, Written};
use std::collections::BTreeSet;
use std::path::Path;

fn corpus() -> Vec<(String, Written)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = files.map(|file| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let written = Written::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, written)
    });
    read.collect()
}

#[test]
fn every_scenario_of_the_corpus_ends_as_it_says() {
    for (name, written) in corpus() {
        assert_eq!(written.name, name, "it is called as its file");
        assert!(!written.story.is_empty(), "{name} tells no story");
        if let Err(why) = written.check() {
            panic!("{name}: {why}");
        }
    }
}

/// And it is written as this build writes it, so that a diff shows what has changed.
#[test]
fn every_scenario_of_the_corpus_is_written_as_it_would_be() {
    for (name, written) in corpus() {
        let again = Written::parse(&written.to_string());
        assert_eq!(again.as_ref(), Ok(&written), "{name}");
    }
}

#[test]
fn every_canary_has_its_scenario() {
    let kept: BTreeSet<String> =
        corpus().into_iter().map(|(_, written)| written.canary.to_string()).collect();
    let missing: Vec<_> = Canary::kept().filter(|it| !kept.contains(&it.to_string())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
