//! The core and changes that wait for peers: what is asked for, and what a session makes of a
//! change that stands on fewer.
#![allow(clippy::unwrap_used, reason = "a story that breaks has failed the test")]

mod story;

use pannier_client::core::{CoreSettings, Mode};
use pannier_client::error::Error;
use pannier_proto::errors::{Failure, NextMove, Reason, StateChange};
use pannier_proto::v1::{self, answer::Body as Said};
use pannier_proto::{Token, convert};
use story::*;

fn short(dot: orset::Dot) -> Failure {
    let written = v1::Written { dot: Some(convert::dot(dot)), ..Default::default() };
    let failure = Failure::new(Reason::NotReplicated, "x").with("peers", 2).with("reached", 1);
    Failure { written: Some(Box::new(written)), ..failure }
}

#[test]
fn the_wait_for_peers_ends_before_the_caller_and_the_stream_give_up() {
    let settings = CoreSettings { streams: 1, ..CoreSettings::new(2) };
    let mut story = Story::of(settings.clone());
    let ada = story.session(Mode::Causal);
    story.ask_on(ada, 1, add(1), 800_000, 2);
    let sent = story.one();
    assert_eq!((sent.peers, sent.peers_timeout_ms), (2, 700));
    story.ask_on(ada, 2, add(2), LATER, 1);
    let sent = story.one();
    assert_eq!((sent.peers, u64::from(sent.peers_timeout_ms) * 1_000), (1, 3_750_000));
    assert!(u64::from(sent.peers_timeout_ms) * 1_000 < settings.stall_us);
    story.ask(ada, 3, add(3), LATER);
    let sent = story.one();
    assert_eq!((sent.peers, sent.peers_timeout_ms), (0, 0));
}

/// It is done: its session must not forget it, or a read elsewhere would not show it.
#[test]
fn a_change_that_stands_on_fewer_is_the_sessions_own() {
    let mut story = Story::new();
    let ada = story.session(Mode::Causal);
    story.ask_on(ada, 1, add(1), LATER, 2);
    let sent = story.one();
    let said = Said::Failure(short(dot(A, 1)).to_wire());
    story.answer(&sent, &token(&[dot(A, 1)]), said);
    let Some((1, Err(error))) = story.done.pop() else { panic!() };
    let Error::NotReplicated { written, peers: 2, reached: 1 } = &error else { panic!("{error}") };
    assert_eq!(written.dot, Some(dot(A, 1)));
    assert_eq!((error.state_change(), error.next_move()), (StateChange::Done, NextMove::GoOn));
    assert_eq!(error.reason(), Some(Reason::NotReplicated));
    assert!(story.sent().is_empty(), "whether to wait on is for the caller to say");
    story.ask(ada, 2, read(), LATER);
    let read = story.one();
    assert_eq!(Token::decode(&read.token).unwrap().vector.get(A), 1, "the session asks for it");
    // And it is kept: a replica that has lost it is given it again, under the same op id.
    assert_eq!(story.core.kept().0, 1);
    story.refuse(&read, behind(A, 0, 1));
    let again = story.sent();
    assert_eq!(bodies(&again)[0], bytes(&[add(1)])[0]);
    assert_eq!(again[0].peers, 0, "its caller has gone on; nobody waits for its peers");
}

#[test]
fn one_that_does_not_say_what_it_did_is_told_as_it_is() {
    let mut story = Story::new();
    let ada = story.session(Mode::Causal);
    story.ask_on(ada, 1, add(1), LATER, 2);
    let sent = story.one();
    story.refuse(&sent, Failure::new(Reason::NotReplicated, "x"));
    let Some((1, Err(error))) = story.done.pop() else { panic!() };
    assert_eq!((error.state_change(), error.next_move()), (StateChange::Done, NextMove::GoOn));
}
