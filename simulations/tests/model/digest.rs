//! Equal digests, equal futures; and a fork goes on as what it was forked from.
//!
//! The whole exploration rests on both. A field that the digest forgot would merge two states that
//! are not one, silently, and everything behind the second would never be looked at.

use crate::config::Config;
use crate::configs::{CAUSES, GOSSIP, HOLDS, LENDING, LINES};
use crate::world::{Action, State};
use pannier_simulations::chance::{Dice, Purpose};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

fn digest(state: &State) -> u64 {
    let mut into = DefaultHasher::new();
    state.hash(&mut into);
    into.finish()
}

fn actions(config: &Config, state: &State) -> Vec<Action> {
    let mut actions = Vec::new();
    state.actions(config, &mut actions);
    actions
}

/// What can happen, and where it leads.
fn future(config: &Config, state: &State) -> Vec<(Action, u64)> {
    let all = actions(config, state).into_iter();
    all.map(|action| {
        let next = digest(&state.after(config, &action));
        (action, next)
    })
    .collect()
}

/// Whenever a state is met again on another way, it must have the future it had.
fn compare_futures(config: &Config, states_max: usize) -> usize {
    let mut futures: HashMap<u64, Vec<(Action, u64)>, BuildHasherDefault<DefaultHasher>> =
        HashMap::default();
    let (mut left, mut again) = (vec![State::new(config)], 0);
    while let Some(state) = left.pop() {
        let future = future(config, &state);
        if let Some(known) = futures.get(&digest(&state)) {
            assert_eq!(known, &future, "two states with one digest");
            again += 1;
            continue;
        }
        if futures.len() < states_max {
            left.extend(future.iter().map(|(action, _)| state.after(config, action)));
        }
        futures.insert(digest(&state), future);
    }
    again
}

#[test]
fn a_state_that_is_met_again_has_the_same_future() {
    for config in [CAUSES, GOSSIP, LINES, LENDING, HOLDS] {
        let again = compare_futures(&config, 3_000);
        assert!(again > 1_000, "{}: only {again} states were met again", config.name);
    }
}

#[test]
fn a_fork_goes_on_as_its_original() {
    let all = [CAUSES, GOSSIP, LINES, LENDING, HOLDS];
    for (walk, config) in (0..200).zip(all.iter().cycle()) {
        let mut dice = Dice::new(walk, Purpose::Acts);
        let (mut in_place, mut forked) = (State::new(config), State::new(config));
        for _ in 0..40 {
            let possible = actions(config, &in_place);
            let Some(action) = possible.get(dice.index(possible.len())) else { break };
            forked = forked.after(config, action);
            in_place.step(config, action);
            assert_eq!(digest(&in_place), digest(&forked), "walk {walk}");
        }
    }
}
