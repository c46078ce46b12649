//! The decisions as a whole, driven as the layers and the simulator drive them: no socket, no
//! clock.

#![allow(clippy::unwrap_used, reason = "what a test cannot set up, it failed")]

use orset::Member;
use pannier_gateway::decide::{
    BreakerSettings, BudgetSettings, Call, DispatchSettings, Dispatcher, Heard, Outcome, Place,
    REPLICAS_MAX, Session, Standing, Step, Try,
};
use pannier_proto::errors::Reason;
use proptest::prelude::*;
use std::time::Duration;

const SECOND: u64 = 1_000_000;

fn member(n: usize) -> Member {
    Member::from_bytes([n as u8; 16])
}

fn places(members: impl IntoIterator<Item = usize>) -> Vec<Place> {
    members.into_iter().map(|n| Place { member: member(n), distance: 0 }).collect()
}

/// All of them well, one lane each.
fn cluster(settings: DispatchSettings, members: &[usize]) -> Dispatcher {
    let places = places(members.iter().copied());
    let mut dispatcher = Dispatcher::new(settings, &places, 1, 0);
    (0..places.len()).for_each(|at| assert!(dispatcher.heard(at, 0, Heard::Serving)));
    dispatcher
}

fn call(key: &[u8], home: Option<usize>, replayable: bool) -> Call {
    let session = Session { home: home.map(member), key: key.to_vec().into() };
    Call::new(session, 5 * SECOND, replayable)
}

/// Plays the outcomes until something is delivered: the replicas tried, and what is delivered last.
fn play(dispatcher: &mut Dispatcher, mut call: Call, outcomes: &[Outcome]) -> (Vec<usize>, Step) {
    played(dispatcher, &mut call, outcomes)
}

fn played(
    dispatcher: &mut Dispatcher,
    call: &mut Call,
    outcomes: &[Outcome],
) -> (Vec<usize>, Step) {
    let mut tried = Vec::new();
    let mut next = dispatcher.begin(0, call).unwrap();
    for outcome in outcomes {
        tried.push(next.replica);
        match dispatcher.after(0, call, next, *outcome) {
            Step::Try(another) => next = another,
            step => return (tried, step),
        }
    }
    panic!("{outcomes:?} leave it at {tried:?}, with another to come");
}

#[test]
fn where_a_call_goes_and_what_its_client_gets() {
    use Outcome::*;
    // Member 2 is home and the others follow by their hash; what each says; whether BEHIND of an
    // earlier one is delivered; how many were tried.
    let table: [(&[Outcome], bool, usize); 13] = [
        (&[Answered], false, 1),
        (&[Reset, Answered], false, 2),
        (&[Unconnected, Answered], false, 2),
        (&[TimedOut, Unavailable, Answered], false, 3),
        (&[Behind, Answered], false, 2),
        (&[Behind, Behind, Behind], false, 3),
        (&[Reset, Behind, Behind], false, 3),
        (&[Behind, Reset, Unconnected], true, 3),
        (&[Behind, Unconnected, TimedOut], true, 3),
        (&[Behind, Full, Leaving], true, 3),
        (&[Unconnected, Unconnected, Unconnected], false, 3),
        (&[Full, Full, Full], false, 3),
        (&[Leaving, Leaving, Answered], false, 3),
    ];
    for (outcomes, earlier, tries) in table {
        let mut dispatcher = cluster(DispatchSettings::default(), &[0, 1, 2]);
        let (tried, step) = play(&mut dispatcher, call(b"ada", Some(2), true), outcomes);
        assert_eq!(tried[0], 2, "home first");
        assert_eq!(tried.len(), tries, "{outcomes:?}");
        let want = if earlier { Step::DeliverBehind } else { Step::Deliver };
        assert_eq!(step, want, "{outcomes:?}");
    }
}

/// A replica that did nothing says so of itself; the client takes it of its call.
#[test]
fn the_last_word_is_not_told_where_an_earlier_try_may_have_done_it() {
    use Outcome::*;
    let table: [(&[Outcome], bool, Reason); 8] = [
        (&[Answered], true, Reason::ReplicaLost),
        (&[Reset, TimedOut, Answered], true, Reason::ReplicaLost),
        (&[Reset, Behind, Behind], true, Reason::ReplicaLost),
        (&[Leaving, Leaving, Leaving], true, Reason::Draining),
        (&[Leaving, Leaving, Unavailable], true, Reason::ReplicaLost),
        (&[Reset, Leaving, Leaving], false, Reason::ReplicaLost),
        (&[Unavailable, Leaving, Unavailable], false, Reason::ReplicaLost),
        (&[Leaving, Leaving, TimedOut], false, Reason::Deadline),
    ];
    for (outcomes, may_tell, else_told) in table {
        let mut dispatcher = cluster(DispatchSettings::default(), &[0, 1, 2]);
        let mut call = call(b"ada", Some(2), true);
        played(&mut dispatcher, &mut call, outcomes);
        let last = *outcomes.last().unwrap();
        assert_eq!(call.may_tell(last), may_tell, "{outcomes:?}");
        assert_eq!(call.failure(last).reason, else_told, "{outcomes:?}");
    }
}

#[test]
fn a_stream_goes_elsewhere_only_while_nothing_of_it_was_sent() {
    use Outcome::*;
    let table: [(&[Outcome], usize); 5] = [
        (&[Unconnected, Full, Answered], 3),
        (&[Reset], 1),
        (&[Unavailable], 1),
        (&[Unconnected, Reset], 2),
        (&[TimedOut], 1),
    ];
    for (outcomes, tries) in table {
        let mut dispatcher = cluster(DispatchSettings::default(), &[0, 1, 2]);
        let (tried, _) = play(&mut dispatcher, call(b"ada", Some(2), false), outcomes);
        assert_eq!(tried.len(), tries, "{outcomes:?}");
    }
}

#[test]
fn a_home_that_this_gateway_does_not_know_is_replaced_by_the_hash() {
    let mut one = cluster(DispatchSettings::default(), &[0, 1, 2]);
    let mut other = cluster(DispatchSettings::default(), &[1, 2]);
    for n in 0..50_u8 {
        let first = one.begin(0, &mut call(&[n], Some(9), true)).unwrap().replica;
        let second = other.begin(0, &mut call(&[n], Some(9), true)).unwrap().replica;
        // Of the replicas that both know, both choose the same.
        assert!(first == 0 || first == second + 1, "{first} {second}");
        let home = other.begin(0, &mut call(&[n], Some(2), true)).unwrap().replica;
        assert_eq!(home, 1, "a home that is known is home");
    }
}

#[test]
fn nobody_to_ask_says_so_and_when_to_come_back() {
    let mut none = Dispatcher::new(DispatchSettings::default(), &[], 1, 0);
    assert_eq!(none.begin(0, &mut call(b"", None, true)).unwrap_err().reason, Reason::NoReplica);

    let mut unheard = Dispatcher::new(DispatchSettings::default(), &places([1]), 1, 0);
    let failure = unheard.begin(0, &mut call(b"", None, true)).unwrap_err();
    assert_eq!((failure.reason, failure.retry), (Reason::NoReplica, Reason::NoReplica.row().retry));
    assert!(!unheard.serves(0) && !unheard.all_known());

    let breaker = BreakerSettings { failures: 1, eject_us: 40_000, ..Default::default() };
    let mut ejected = cluster(DispatchSettings { breaker, ..Default::default() }, &[1]);
    play(&mut ejected, call(b"", None, true), &[Outcome::Reset]);
    assert_eq!(ejected.standing(0, 0), Standing::Ejected);
    let failure = ejected.begin(10_000, &mut call(b"", None, true)).unwrap_err();
    assert_eq!(failure.retry, Some(Duration::from_millis(30)));
    assert!(ejected.begin(40_000, &mut call(b"", None, true)).is_ok());
}

#[test]
fn who_missed_a_probe_is_asked_only_when_nobody_is_well() {
    let mut dispatcher = cluster(DispatchSettings::default(), &[0, 1]);
    dispatcher.heard(0, 0, Heard::Missed);
    let ask = |dispatcher: &mut Dispatcher| {
        dispatcher.begin(0, &mut call(b"ada", Some(0), true)).map(|it| it.replica).ok()
    };
    assert_eq!(ask(&mut dispatcher), Some(1), "although it is home");
    dispatcher.heard(1, 0, Heard::Down);
    assert_eq!(ask(&mut dispatcher), Some(0), "rather than nobody");
    dispatcher.heard(0, 0, Heard::NotServing);
    assert_eq!(ask(&mut dispatcher), None, "who says no is not asked");
}

#[test]
fn who_is_leaving_is_asked_no_more() {
    let mut dispatcher = cluster(DispatchSettings::default(), &[0, 1]);
    let outcomes = [Outcome::Leaving, Outcome::Answered];
    assert_eq!(play(&mut dispatcher, call(b"ada", Some(0), true), &outcomes).0, [0, 1]);
    assert_eq!(play(&mut dispatcher, call(b"ada", Some(0), true), &[Outcome::Answered]).0, [1]);
}

#[test]
fn time_is_left_for_the_next_while_there_is_a_next() {
    let mut dispatcher = cluster(DispatchSettings::default(), &[0, 1]);
    let mut long = call(b"ada", Some(0), true);
    let first = dispatcher.begin(0, &mut long).unwrap();
    assert_eq!(first.give_us, 750_000);
    let Step::Try(second) = dispatcher.after(750_000, &mut long, first, Outcome::TimedOut) else {
        panic!("there is another");
    };
    assert_eq!(second.give_us, 5 * SECOND - 750_000, "the last has all that is left");
    let late = dispatcher.after(5 * SECOND, &mut long, second, Outcome::TimedOut);
    assert_eq!((late, long.unanswered()), (Step::Deliver, 2));

    let stream = dispatcher.begin(0, &mut call(b"ada", Some(0), false)).unwrap();
    assert_eq!(stream.give_us, 5 * SECOND, "what cannot be sent again has nothing to save for");
}

#[test]
fn an_empty_budget_gives_the_first_try_all_the_time_and_no_second() {
    let budget = BudgetSettings { per_mille: 0, per_second: 0, burst: 1 };
    let settings = DispatchSettings { budget, ..Default::default() };
    let mut dispatcher = cluster(settings, &[0, 1, 2]);
    let outcomes = [Outcome::Reset, Outcome::Reset];
    let (tried, _) = play(&mut dispatcher, call(b"ada", None, true), &outcomes);
    assert_eq!(tried.len(), 2, "one retry was saved up");
    let mut poor = call(b"ada", None, true);
    let only = dispatcher.begin(0, &mut poor).unwrap();
    assert_eq!(only.give_us, 5 * SECOND);
    assert_eq!(dispatcher.after(0, &mut poor, only, Outcome::Reset), Step::Deliver);
    let (tried, _) = play(
        &mut dispatcher,
        call(b"ada", None, true),
        &[Outcome::Unconnected, Outcome::Unconnected, Outcome::Unconnected],
    );
    assert_eq!(tried.len(), 3, "what was not sent is not paid for");
}

#[test]
fn a_client_without_patience_ejects_nobody() {
    let breaker = BreakerSettings { failures: 1, ..Default::default() };
    let mut dispatcher = cluster(DispatchSettings { breaker, ..Default::default() }, &[0]);
    let session = Session { home: None, key: b"ada".to_vec().into() };
    for _ in 0..100 {
        let mut hasty = Call::new(session.clone(), 1_000, true);
        let only = dispatcher.begin(0, &mut hasty).unwrap();
        dispatcher.after(1_000, &mut hasty, only, Outcome::TimedOut);
    }
    assert_eq!(dispatcher.standing(1_000, 0), Standing::Well);
}

#[test]
fn more_places_than_there_are_bits_are_not_looked_at() {
    let places = places(0..REPLICAS_MAX + 9);
    let mut dispatcher = Dispatcher::new(DispatchSettings::default(), &places, 1, 0);
    (0..places.len()).for_each(|at| {
        dispatcher.heard(at, 0, Heard::Serving);
    });
    let outcomes = [Outcome::Unconnected; REPLICAS_MAX];
    let (tried, _) = play(&mut dispatcher, call(b"ada", None, true), &outcomes);
    assert_eq!(tried.len(), REPLICAS_MAX);
}

// === Properties ===

#[derive(Clone, Debug)]
enum Act {
    /// A call begins: key, home, replayable.
    Begin(u8, u8, bool),
    /// One of those under way ends.
    End(usize, Outcome),
    Hear(usize, usize, Heard),
    Later(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    use Outcome::*;
    let outcome = prop_oneof![
        3 => Just(Answered), 2 => Just(Behind), 1 => Just(Leaving), 2 => Just(Unavailable),
        2 => Just(Reset), 2 => Just(TimedOut), 2 => Just(Unconnected), 1 => Just(Full),
        1 => Just(Abandoned),
    ];
    let heard = prop_oneof![
        4 => Just(Heard::Serving), 1 => Just(Heard::NotServing), 1 => Just(Heard::Missed),
        1 => Just(Heard::Down),
    ];
    let act = prop_oneof![
        4 => (any::<u8>(), 0..8_u8, any::<bool>()).prop_map(|(k, h, r)| Act::Begin(k, h, r)),
        8 => (0..8_usize, outcome).prop_map(|(at, outcome)| Act::End(at, outcome)),
        2 => (0..5_usize, 0..2_usize, heard).prop_map(|(r, lane, what)| Act::Hear(r, lane, what)),
        1 => (0..400_000_u64).prop_map(Act::Later),
    ];
    proptest::collection::vec(act, 1..250)
}

const REPLICAS: usize = 5;

proptest! {
    /// D1 to D3, whatever happens in whatever order; and the breaker's C1 from outside.
    #[test]
    fn laws(acts in acts()) {
        let settings = DispatchSettings {
            budget: BudgetSettings { per_mille: 100, per_second: 10, burst: 3 },
            breaker: BreakerSettings { failures: 3, trials: 2, ..Default::default() },
            ..Default::default()
        };
        let mut dispatcher = Dispatcher::new(settings, &places(0..REPLICAS), 2, 0);
        (0..REPLICAS).for_each(|at| { dispatcher.heard(at, 0, Heard::Serving); });
        let (mut now, mut begun, mut paid) = (0_u64, 0_u64, 0_u64);
        let mut open: Vec<(Call, Try, Vec<usize>)> = Vec::new();
        for act in acts {
            let before: Vec<Standing> =
                (0..REPLICAS).map(|at| dispatcher.standing(now, at)).collect();
            let fair = |tried: &[usize], chosen: usize| {
                let left = |want| (0..REPLICAS)
                    .any(|at| before[at] == want && !tried.contains(&at) && at != chosen);
                match before[chosen] {
                    Standing::Well => true,
                    Standing::Suspect => !left(Standing::Well),
                    Standing::Ejected | Standing::Away => false,
                }
            };
            match act {
                Act::Later(by) => now += by,
                Act::Hear(replica, lane, what) => { dispatcher.heard(replica, lane, what); }
                Act::Begin(key, home, replayable) => {
                    begun += 1;
                    let session =
                        Session { home: Some(member(home.into())), key: vec![key].into() };
                    let mut call = Call::new(session, now + 2 * SECOND, replayable);
                    match dispatcher.begin(now, &mut call) {
                        Ok(first) => {
                            prop_assert!(fair(&[], first.replica));
                            prop_assert!(first.give_us <= 2 * SECOND);
                            let home = usize::from(home);
                            if home < REPLICAS && before[home] == Standing::Well {
                                prop_assert_eq!(first.replica, home);
                            }
                            let tried = vec![first.replica];
                            open.push((call, first, tried));
                        }
                        Err(failure) => {
                            prop_assert_eq!(failure.reason, Reason::NoReplica);
                            let none = before.iter().all(|standing| *standing > Standing::Suspect);
                            prop_assert!(none, "{:?}", before);
                        }
                    }
                }
                Act::End(at, outcome) if !open.is_empty() => {
                    let at = at % open.len();
                    let (mut call, over, mut tried) = open.swap_remove(at);
                    match dispatcher.after(now, &mut call, over, outcome) {
                        Step::Try(next) => {
                            paid += u64::from(outcome.was_sent());
                            prop_assert!(!tried.contains(&next.replica), "twice at one replica");
                            tried.push(next.replica);
                            prop_assert_eq!(call.tries() as usize, tried.len());
                            open.push((call, next, tried));
                        }
                        Step::Deliver => {}
                        Step::DeliverBehind => prop_assert!(tried.len() > 1),
                    }
                    let most = 3_000 + begun * 100 + now * 10 / 1_000;
                    prop_assert!(paid * 1_000 <= most, "{} retries of {}", paid, begun);
                }
                Act::End(..) => {}
            }
        }
    }

    /// D5: two gateways that hear the same send each session to the same replica.
    #[test]
    fn gateways_agree(
        key in proptest::collection::vec(any::<u8>(), 1..64),
        home: Option<u8>,
        away in proptest::collection::vec(0..REPLICAS, 0..4),
    ) {
        let mut gateways = [(); 2].map(|()| cluster(DispatchSettings::default(), &[0, 1, 2, 3, 4]));
        // One of them has served others before.
        let _ = gateways[0].begin(0, &mut call(b"", None, true));
        let chosen = gateways.each_mut().map(|gateway| {
            away.iter().for_each(|at| { gateway.heard(*at, 0, Heard::Down); });
            let session = Session {
                home: home.map(|n| member(usize::from(n) % 8)),
                key: key.clone().into(),
            };
            gateway.begin(0, &mut Call::new(session, SECOND, true)).map(|it| it.replica).ok()
        });
        prop_assert_eq!(chosen[0], chosen[1]);
        prop_assert!(chosen[0].is_some_and(|at| !away.contains(&at)));
    }
}

/// A stream stands or falls with its connection: so one that goes silent is given up, but neither
/// at the first missed probe nor while there is nobody else.
#[test]
fn a_silent_connection_is_given_up_while_others_are_well() {
    let mut dispatcher = cluster(DispatchSettings::default(), &[1, 2]);
    assert!(dispatcher.heard(0, 0, Heard::Missed));
    assert!(!dispatcher.gives_up(0, 0, 1), "a busy second");
    assert!(dispatcher.gives_up(0, 0, 2));
    assert!(!dispatcher.gives_up(0, 0, 0), "it answers again");
    dispatcher.heard(1, 0, Heard::Missed);
    assert!(!dispatcher.gives_up(0, 0, 9), "nobody is well: perhaps it is this gateway");
    dispatcher.heard(1, 0, Heard::Down);
    assert!(!dispatcher.gives_up(0, 0, 9));
    assert!(!cluster(DispatchSettings::default(), &[1]).gives_up(0, 0, 9), "there is no other");
}

/// Routes change within two seconds of a silent death, by the defaults and whatever the phase of
/// the probes: simulated time, in steps of a millisecond.
#[test]
fn routes_leave_a_silent_replica_within_two_seconds() {
    let settings = pannier_gateway::GatewaySettings::new("shop", Vec::new());
    let (probe_ms, timeout_ms) = (settings.probe_ms, settings.probe_timeout_ms);
    for died_ms in 0..probe_ms {
        let mut dispatcher = cluster(DispatchSettings::default(), &[1, 2]);
        let (mut missed, mut next_ms, mut avoided, mut given_up) = (0, probe_ms, None, None);
        for now_ms in 0..10_000 {
            let now_us = now_ms * 1_000;
            if now_ms == next_ms && now_ms <= died_ms {
                next_ms = now_ms + probe_ms;
            } else if now_ms == next_ms + timeout_ms {
                // Sent to nobody: it is missed when its time is over.
                dispatcher.heard(0, 0, Heard::Missed);
                missed += 1;
                next_ms = now_ms + probe_ms;
            }
            let mut call = call(b"ada", Some(1), true);
            let first = dispatcher.begin(now_us, &mut call).unwrap();
            if first.replica != 0 && avoided.is_none() {
                avoided = Some(now_ms - died_ms);
            }
            dispatcher.settle(now_us, first, Outcome::Answered);
            if dispatcher.gives_up(now_us, 0, missed) && given_up.is_none() {
                given_up = Some(now_ms - died_ms);
            }
        }
        let (avoided, given_up) = (avoided.unwrap(), given_up.unwrap());
        assert!(avoided <= probe_ms + timeout_ms, "{avoided} ms until new requests go elsewhere");
        assert!(given_up < 2_000, "{given_up} ms until streams are ended");
    }
}
