//! Home if healthy; else the nearest zone, and within it rendezvous hashing.
//!
//! A session is best served where it wrote last: that replica has all it has seen, every other may
//! have to catch up first. When home is away, all gateways must agree on the stand-in without
//! talking. `hash(session) mod n` agrees too, but when a replica comes or goes it moves nearly
//! every session, and each move is a possible wait. So every (session, replica) pair has a weight
//! of its own, and the highest weight wins (Thaler, Ravishankar 1998):
//!
//! R1  the answer depends on the session, its home and the *set* of candidates, not their order;
//! R2  a replica that goes moves only the sessions it had; one that comes takes some and moves no
//!     others;
//! R3  nobody healthy is passed over for somebody farther away, home excepted;
//! R4  within a zone, sessions spread evenly.
//!
//! Home is kept even when it is far: the shopper who flew abroad for a day is no reason to move.
//! Health changes routes, never membership.

use orset::Member;
use std::cmp::Reverse;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A replica as the gateway sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which replica.
    pub member: Member,
    /// How far its zone is from the gateway's: 0 is the same zone, larger is farther. Only the
    /// order counts.
    pub distance: u32,
    /// Whether it answers, and can be expected to answer this request.
    pub healthy: bool,
}

/// Where a request of this session goes; `None` when nobody is healthy. `session` is any bytes that
/// stay the same for the session's life.
pub fn route(session: &[u8], home: Option<Member>, candidates: &[Candidate]) -> Option<Member> {
    let healthy = || candidates.iter().filter(|candidate| candidate.healthy);
    if let Some(home) = home.filter(|home| healthy().any(|candidate| candidate.member == *home)) {
        return Some(home);
    }
    let best = healthy().min_by_key(|candidate| {
        let weight = weight(session, candidate.member);
        // Two weights that are equal are one in 2^64; the member still makes the answer one.
        (candidate.distance, Reverse(weight), candidate.member)
    });
    best.map(|candidate| candidate.member)
}

/// The weight of a pair: uniform, and independent between members. It decides where sessions live
/// while gateways of two versions run side by side, so it may not change.
fn weight(session: &[u8], member: Member) -> u64 {
    let [a, b] = [0, 8].map(|at| {
        let mut half = [0; 8];
        half.copy_from_slice(&member.as_bytes()[at..at + 8]);
        u64::from_be_bytes(half)
    });
    xxh3_64_with_seed(session, xxh3_64_with_seed(&b.to_be_bytes(), a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(n: u8) -> Member {
        Member::from_bytes([n; 16])
    }

    /// Up to eight candidates, each member once.
    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (0..3_u32, any::<bool>());
        proptest::collection::btree_map(0..8_u8, one, 0..8).prop_map(|all| {
            let candidate =
                |(n, (distance, healthy))| Candidate { member: member(n), distance, healthy };
            all.into_iter().map(candidate).collect()
        })
    }

    proptest! {
        #[test]
        fn r1_order_does_not_matter(
            session: Vec<u8>, home in 0..8_u8, mut all in candidates(), turn: usize,
        ) {
            let before = route(&session, Some(member(home)), &all);
            if !all.is_empty() {
                let turn = turn % all.len();
                all.rotate_left(turn);
            }
            all.reverse();
            prop_assert_eq!(route(&session, Some(member(home)), &all), before);
        }

        #[test]
        fn home_if_healthy(session: Vec<u8>, home in 0..8_u8, all in candidates()) {
            let home = member(home);
            let well = all.iter().any(|candidate| candidate.member == home && candidate.healthy);
            let got = route(&session, Some(home), &all);
            prop_assert_eq!(got == Some(home), well || route(&session, None, &all) == Some(home));
            if !well {
                prop_assert_eq!(got, route(&session, None, &all));
            }
        }

        #[test]
        fn r2_who_goes_moves_only_its_own(session: Vec<u8>, all in candidates(), gone in 0..8_u8) {
            let gone = member(gone);
            let before = route(&session, None, &all);
            let left: Vec<Candidate> = all.iter().copied().filter(|c| c.member != gone).collect();
            let mut ill = all.clone();
            ill.iter_mut().filter(|c| c.member == gone).for_each(|c| c.healthy = false);
            let after = route(&session, None, &left);
            prop_assert_eq!(route(&session, None, &ill), after, "gone and ill are one");
            if before != Some(gone) {
                prop_assert_eq!(after, before);
            }
        }

        #[test]
        fn r3_never_past_a_nearer_one(session: Vec<u8>, all in candidates()) {
            let near = all.iter().filter(|c| c.healthy).map(|c| c.distance).min();
            let got = route(&session, None, &all);
            let distance = all.iter().find(|c| Some(c.member) == got).map(|c| c.distance);
            prop_assert_eq!(distance, near);
            prop_assert!(all.iter().all(|c| Some(c.member) != got || c.healthy));
        }
    }

    #[test]
    fn nobody_healthy_is_no_route() {
        let ill = Candidate { member: member(1), distance: 0, healthy: false };
        assert_eq!(route(b"ada", Some(member(1)), &[ill]), None);
        assert_eq!(route(b"ada", None, &[]), None);
    }

    #[test]
    fn r4_sessions_spread_evenly() {
        let all: Vec<Candidate> =
            (0..5).map(|n| Candidate { member: member(n), distance: 0, healthy: true }).collect();
        let mut counts = [0_u32; 5];
        for n in 0..50_000_u32 {
            let got = route(&n.to_be_bytes(), None, &all).unwrap();
            counts[usize::from(got.as_bytes()[0])] += 1;
        }
        assert!(counts.iter().all(|n| (9_600..10_400).contains(n)), "{counts:?}");
    }

    /// Written down: a gateway of another version must choose the same.
    #[test]
    fn the_choice_is_for_ever() {
        let all: Vec<Candidate> =
            (0..3).map(|n| Candidate { member: member(n), distance: 0, healthy: true }).collect();
        let got: Vec<u8> = ["ada", "bob", "cyd", "dan", "eve", "fay"]
            .iter()
            .filter_map(|user| Some(route(user.as_bytes(), None, &all)?.as_bytes()[0]))
            .collect();
        assert_eq!(got, [2, 1, 0, 2, 1, 1]);
    }
}
