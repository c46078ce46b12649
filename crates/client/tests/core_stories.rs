//! The core, one story at a time: streams, messages, deadlines and bounds.
#![allow(clippy::unwrap_used, reason = "a story that breaks has failed the test")]

mod story;

use bytes::Bytes;
use pannier_client::core::{Ask, CoreSettings, Event, Mode, Phase};
use pannier_client::error::Error;
use pannier_proto::errors::{Failure, Reason, StateChange};
use pannier_proto::v1::{self, command::Body as Asked};
use story::*;

#[test]
fn what_a_lost_stream_owed_is_sent_again_in_order_at_the_next_address() {
    let mut story = Story::new();
    let ada = story.session(Mode::Causal);
    for call in 1..=4 {
        story.ask(ada, call, add(call), LATER);
    }
    story.ask(ada, 5, remove(5), LATER);
    let first = story.sent();
    assert_eq!(bodies(&first), bytes(&[add(1), add(2), add(3), add(4)]), "5 does not commute");
    story.answer(&first[1], &token(&[dot(A, 1)]), at(dot(A, 1)));
    assert_eq!(story.endpoint, 0);
    story.lose();
    assert_eq!((story.opened, story.endpoint), (2, 1), "at once");
    story.answer(&first[0], &Bytes::new(), at(dot(A, 1)));
    assert_eq!(story.done.len(), 1, "nothing is heard of a stream that is over");
    story.open();
    let second = story.sent();
    assert_eq!(bodies(&second), bytes(&[add(1), add(3), add(4)]));
    assert!(second.iter().all(|envelope| envelope.token == token(&[dot(A, 1)])));
    assert!(second.iter().all(|a| first.iter().all(|b| a.request_id != b.request_id)));
    for envelope in &second {
        story.answer(envelope, &token(&[dot(B, 1)]), at(dot(B, 1)));
    }
    assert_eq!(bodies(&story.sent()), bytes(&[remove(5)]));
}

#[test]
fn an_address_that_fails_is_tried_again_later_and_later() {
    let mut story = Story::new();
    story.lose();
    let mut waits = Vec::new();
    for _ in 0..6 {
        let before = story.now;
        story.lose();
        assert!(matches!(story.core.phase(0), Some(Phase::Waiting(_))));
        story.wait();
        waits.push(story.now - before);
    }
    assert!(waits[0] >= 10_000 && waits[5] > 4 * waits[0] && waits[5] <= 1_000_000, "{waits:?}");
    // An opening alone does not make it good: an answer does.
    story.open();
    let ada = story.session(Mode::Causal);
    story.shown(ada, 1, &[]);
    let opened = story.opened;
    story.lose();
    assert_eq!(story.opened, opened + 1, "at once");
}

#[test]
fn a_busy_server_is_left_alone_for_a_while_and_nothing_overtakes() {
    let mut story = Story::new();
    let ada = story.session(Mode::Causal);
    story.ask(ada, 1, add(1), LATER);
    story.ask(ada, 2, add(2), LATER);
    story.ask(ada, 3, remove(3), LATER);
    let sent = story.sent();
    story.refuse(&sent[0], Failure::new(Reason::Overloaded, "x"));
    story.answer(&sent[1], &token(&[dot(A, 1)]), at(dot(A, 1)));
    assert!(story.sent().is_empty(), "it waits, and 3 waits for it");
    story.wait();
    assert!(story.now >= 100_000, "as long as was asked: {}", story.now);
    assert_eq!(bodies(&story.sent()), bytes(&[add(1)]));
}

#[test]
fn a_server_that_leaves_is_left_when_it_has_answered_what_it_took() {
    let mut story = Story::new();
    let ada = story.session(Mode::Causal);
    story.ask(ada, 1, add(1), LATER);
    story.ask(ada, 2, add(2), LATER);
    let sent = story.sent();
    story.refuse(&sent[1], Failure::new(Reason::Draining, "x"));
    assert!(matches!(story.core.phase(0), Some(Phase::Leaving(_))));
    assert!(story.sent().is_empty());
    story.answer(&sent[0], &token(&[dot(A, 1)]), at(dot(A, 1)));
    assert_eq!((story.opened, story.endpoint), (2, 1));
    story.open();
    assert_eq!(bodies(&story.sent()), bytes(&[add(2)]));
}

#[test]
fn what_is_refused_for_good_is_told_at_once() {
    let mut story = Story::new();
    let ada = story.session(Mode::Causal);
    story.ask(ada, 1, add(1), LATER);
    let sent = story.one();
    story.refuse(&sent, Failure::new(Reason::OpIdReused, "x"));
    let error = story.done.pop().unwrap().1.unwrap_err();
    assert_eq!(
        (error.reason(), error.state_change()),
        (Some(Reason::OpIdReused), StateChange::None)
    );
    // The same after a try that was lost on its way: that one may have been done.
    story.ask(ada, 2, add(2), LATER);
    story.one();
    story.lose();
    story.open();
    let sent = story.one();
    story.refuse(&sent, Failure::new(Reason::FromTheFuture, "x"));
    let error = story.done.pop().unwrap().1.unwrap_err();
    assert_eq!(error.state_change(), StateChange::Unknown);
    assert_eq!((story.core.calls(), story.core.take_freed()), (0, 2));
    // Too old to know: final, as it stands.
    story.ask(ada, 3, add(3), LATER);
    let sent = story.one();
    story.refuse(&sent, Failure::new(Reason::TooOld, "x"));
    let error = story.done.pop().unwrap().1.unwrap_err();
    assert_eq!((error.reason(), error.state_change()), (Some(Reason::TooOld), StateChange::None));
}

#[test]
fn a_deadline_says_whether_the_call_may_have_been_done() {
    let mut story = Story::new();
    let ada = story.session(Mode::Causal);
    story.ask(ada, 1, remove(1), 1_000);
    story.ask(ada, 2, remove(2), 1_000);
    story.ask(ada, 3, read(), 1_000);
    let sent = story.one();
    story.now = 1_000;
    story.event(Event::Tick);
    let states: Vec<_> =
        story.done.drain(..).map(|(call, it)| (call, it.unwrap_err().state_change())).collect();
    let (unknown, none) = (StateChange::Unknown, StateChange::None);
    assert_eq!(states, [(1, unknown), (2, none), (3, none)]);
    // It is still under way, so what does not commute with it waits on.
    story.ask(ada, 4, read(), LATER);
    assert!(story.sent().is_empty());
    // Its answer, late, counts for the session.
    story.answer(&sent, &token(&[dot(A, 1)]), at(dot(A, 1)));
    assert!(story.done.is_empty());
    assert_eq!(story.one().token, token(&[dot(A, 1)]));
    assert_eq!(story.core.kept().0, 1);
}

#[test]
fn a_call_that_timed_out_is_not_sent_again() {
    let mut story = Story::new();
    let ada = story.session(Mode::Causal);
    story.ask(ada, 1, add(1), 1_000);
    story.one();
    story.now = 1_000;
    story.event(Event::Tick);
    story.lose();
    story.open();
    assert!(story.sent().is_empty());
    assert_eq!(story.core.calls(), 0);
}

#[test]
fn a_stream_that_owes_answers_and_is_silent_counts_as_lost() {
    let mut story = Story::new();
    let ada = story.session(Mode::Causal);
    story.ask(ada, 1, add(1), LATER);
    story.one();
    while story.opened < 2 {
        story.wait();
    }
    assert_eq!(story.now, 5_000_000);
    // One that does not open is given up as well.
    story.wait();
    assert_eq!(story.now, 7_000_000);
    assert!(story.core.trouble(0).unwrap().to_string().contains("did not open"));
}

#[test]
fn an_answer_that_comes_twice_counts_once() {
    let mut story = Story::new();
    let ada = story.session(Mode::Causal);
    story.ask(ada, 1, add(1), LATER);
    let sent = story.one();
    for _ in 0..2 {
        story.answer(&sent, &token(&[dot(A, 1)]), at(dot(A, 1)));
    }
    assert_eq!((story.done.len(), story.core.kept().0), (1, 1));
    // Also when the call is under way again since.
    story.ask(ada, 2, add(2), LATER);
    let first = story.one();
    story.refuse(&first, Failure::new(Reason::Internal, "x"));
    story.wait();
    story.one();
    story.refuse(&first, Failure::new(Reason::Bounds, "x"));
    assert_eq!(story.done.len(), 1);
}

#[test]
fn messages_have_bounds_and_sessions_take_turns() {
    let settings = CoreSettings { streams: 1, batch_commands: 3, ..CoreSettings::new(1) };
    let mut story = Story::of(settings);
    let (ada, bob) = (story.session(Mode::Causal), story.session(Mode::Causal));
    for call in 1..=4 {
        story.ask(ada, call, add(call), LATER);
    }
    story.ask(bob, 5, add(5), LATER);
    assert_eq!(bodies(&story.sent()), bytes(&[add(1), add(2), add(3)]));
    assert_eq!(bodies(&story.sent()), bytes(&[add(5), add(4)]));
    let settings = CoreSettings { streams: 1, batch_bytes: 120, ..CoreSettings::new(1) };
    let mut story = Story::of(settings);
    let ada = story.session(Mode::Causal);
    let large = |call| {
        Asked::AddToCart(v1::AddToCart {
            op_id: op(call),
            product: vec![7; 200].into(),
            ..Default::default()
        })
    };
    story.ask(ada, 1, add(1), LATER);
    story.ask(ada, 2, large(2), LATER);
    story.ask(ada, 3, add(3), LATER);
    let messages = [bytes(&[add(1)]), bytes(&[large(2)]), bytes(&[add(3)])];
    assert_eq!([(); 3].map(|()| bodies(&story.sent())), messages, "what is larger goes alone");
}

#[test]
fn sessions_have_a_bound_and_leave_nothing_behind() {
    let settings = CoreSettings { sessions_max: 2, streams: 1, ..CoreSettings::new(1) };
    let mut story = Story::of(settings);
    let (ada, bob) = (story.session(Mode::Causal), story.session(Mode::Causal));
    let full = Error::TooMany { what: "sessions", max: 2 };
    assert_eq!(story.core.begin(&[], Mode::Causal), Err(full));
    assert!(matches!(story.core.begin(b"rubbish", Mode::Causal), Err(Error::TooMany { .. })));
    story.written(ada, 1, dot(A, 1));
    story.ask(bob, 2, add(2), LATER);
    story.core.end(ada);
    story.core.end(bob);
    assert_eq!(story.core.sessions(), 1, "bob's call is still sent");
    assert!(matches!(story.core.begin(b"rubbish", Mode::Causal), Err(Error::Token(_))));
    let sent = story.one();
    story.answer(&sent, &token(&[dot(A, 2)]), at(dot(A, 2)));
    assert_eq!((story.core.sessions(), story.core.kept()), (0, (0, 0)));
    assert!(matches!(story.done.pop(), Some((2, Ok(_)))));
}

#[test]
fn calls_of_no_session_have_no_order_and_no_token() {
    let mut story = Story::new();
    for (call, body) in [(1, remove(1)), (2, read()), (3, add(3))] {
        let body = body.into();
        let ask = Ask { session: None, body, deadline_us: LATER, peers: 0, slots: 1, done: call };
        story.core.submit(ask, 0);
    }
    story.effects();
    let sent = story.sent();
    assert_eq!(bodies(&sent), bytes(&[remove(1), read(), add(3)]));
    for (envelope, said) in sent.iter().zip([at(dot(A, 1)), counter(), at(dot(A, 1))]) {
        assert!(envelope.token.is_empty());
        story.answer(envelope, &token(&[dot(A, 1)]), said);
    }
    assert_eq!((story.done.len(), story.core.kept().0), (3, 0), "nobody to keep them for");
}

#[test]
fn closing_tells_everybody() {
    let mut story = Story::new();
    let ada = story.session(Mode::Causal);
    story.ask(ada, 1, remove(1), LATER);
    story.ask(ada, 2, remove(2), LATER);
    story.one();
    story.core.close();
    story.effects();
    let states: Vec<_> =
        story.done.drain(..).map(|(call, it)| (call, it.unwrap_err().state_change())).collect();
    assert_eq!(states, [(1, StateChange::Unknown), (2, StateChange::None)]);
    story.ask(ada, 3, read(), LATER);
    assert!(matches!(story.done.pop(), Some((3, Err(Error::Closed { .. })))));
    assert!(matches!(story.core.begin(&[], Mode::Causal), Err(Error::Closed { .. })));
    assert_eq!(story.core.take_freed(), 3);
}
