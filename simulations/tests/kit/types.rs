//! Replicated types, sound and broken, each for one checker of the kit.

use crate::{acquitted, convicted};
use crdts::{CmRDT, GCounter, Orswot};
use orset::cart::{CartEffect, Content};
use orset::{Cart, Dot, Lattice as _, OpIdSession, Origin, Product};
use pannier_simulations::kit::{
    At, Dice, Lattice, Order, Plan, Replicated, Verdict, by_delta, by_op, by_state, fingerprint,
    judge,
};
use std::collections::BTreeSet;

fn try_it<T: Replicated>(of: T) -> Verdict {
    judge(&Lattice(of), &Plan::default()).unwrap()
}

fn small(dice: &mut Dice) -> u64 {
    1 + dice.below(4)
}

/// Whoever was heard last wins: the value depends on the order of arrival.
#[test]
fn a_register_without_stamps_is_convicted() {
    let merge = |mine: &mut u64, theirs: u64| *mine = if theirs == 0 { *mine } else { theirs };
    let register = by_state(|| 0, merge, small, |mine, _, op| *mine = *op, |mine| *mine);
    convicted(&try_it(register), "equal knowledge, equal value", 2, 0);
}

/// What merges by adding up counts again whatever it hears again.
#[test]
fn a_counter_that_merges_by_adding_is_convicted() {
    let add = |mine: &mut u64, more: u64| *mine += more;
    let counter = by_state(|| 0, add, small, |mine, _, op| *mine += op, |mine| *mine);
    convicted(&try_it(counter), "equal knowledge, equal value", 2, 0);
}

/// A mean of two is commutative, and neither associative nor stable.
#[test]
fn a_join_that_breaks_a_law_is_convicted_even_if_nobody_is_shown_it() {
    let merge = |mine: &mut (u64, u64), theirs: (u64, u64)| {
        *mine = (mine.0.max(theirs.0), mine.1 + u64::from(theirs.0 > mine.0));
    };
    let act = |mine: &mut (u64, u64), _: At, op: &u64| mine.0 = mine.0.max(*op);
    let hidden = by_state(|| (0, 0), merge, small, act, |mine: &(u64, u64)| mine.0);
    convicted(&try_it(hidden), "join is commutative", 2, 0);
}

fn numbers(order: Order) -> impl Replicated {
    by_op(order, || 0, |sum: &mut u64, op| *sum += op, small, |_, _, op| *op, |sum| *sum)
}

#[test]
fn adding_up_needs_each_op_once() {
    acquitted(&try_it(numbers(Order::Causal)));
    for order in [Order::Fifo, Order::Any] {
        convicted(&try_it(numbers(order)), "equal knowledge, equal value", 1, 1);
    }
}

/// Adds and removes as ops: a remove that overtakes its add removes nothing.
#[test]
fn a_plain_set_of_ops_needs_causal_order() {
    let set = |order| {
        let apply = |set: &mut BTreeSet<u64>, (is_add, what): (bool, u64)| {
            if is_add {
                set.insert(what)
            } else {
                set.remove(&what)
            };
        };
        let draw = |dice: &mut Dice| (dice.chance(500), small(dice));
        by_op(order, BTreeSet::new, apply, draw, |_, _, op| *op, BTreeSet::clone)
    };
    convicted(&try_it(set(Order::Causal)), "equal knowledge, equal value", 2, 0);
    // (Causal order is not enough either: a concurrent add and remove have none. What is enough
    // for such ops is to never remove.)
    let grows = by_op(
        Order::Any,
        BTreeSet::new,
        |set: &mut BTreeSet<u64>, op| set.extend([op]),
        small,
        |_, _, op| *op,
        BTreeSet::clone,
    );
    acquitted(&try_it(grows));
}

#[test]
fn ops_of_the_crdts_crate_need_each_actors_order_and_no_more() {
    let counter = by_op(
        Order::Fifo,
        GCounter::<At>::new,
        CmRDT::apply,
        small,
        |counter, at, op| counter.inc_many(at, *op),
        |counter| counter.read().to_string(),
    );
    acquitted(&try_it(counter));
    let set = by_op(
        Order::Fifo,
        Orswot::<u64, At>::new,
        CmRDT::apply,
        |dice: &mut Dice| (dice.chance(600), small(dice)),
        |set, at, (is_add, what)| match is_add {
            true => set.add(*what, set.read_ctx().derive_add_ctx(at)),
            false => set.rm(*what, set.contains(what).derive_rm_ctx()),
        },
        |set| set.iter().map(|element| *element.val).collect::<BTreeSet<u64>>(),
    );
    acquitted(&try_it(set));
}

fn name(product: &str) -> Product {
    Product::new(product.as_bytes()).unwrap()
}

/// Ours: deltas that join, some twice, beside whole states. An op is product, quantity (0 removes
/// the line) and what its op id is made of.
#[test]
fn our_cart_is_acquitted_with_deltas_in_causal_order() {
    type Ask = (&'static str, u32, u64);
    let draw = |dice: &mut Dice| (dice.pick(&["tea", "jam"]), dice.below(4) as u32, dice.roll());
    let act = |cart: &Cart, at: At, (product, quantity, id): &Ask| {
        let effect = match quantity {
            0 => cart.remove_effect(&name(product), None),
            _ => CartEffect::Add(Content::added(name(product), *quantity, &[])),
        };
        let mut origin = [1; 16];
        (origin[0], origin[1]) = (at.replica as u8, at.start as u8);
        let op = OpIdSession::new(1_000, *id).next_id().unwrap();
        cart.clone().apply(op, &effect, Dot::new(Origin::from_bytes(origin), 1 + (id >> 1)))
    };
    let shown = |cart: &Cart| -> Vec<(Product, u64)> {
        cart.shown().into_iter().map(|line| (line.product, line.quantity)).collect()
    };
    let join = |cart: &mut Cart, other: Cart| cart.join(&other);
    let cart = by_delta(Order::Causal, Cart::new, join, draw, act, shown).specified(|past| {
        let mut lines = std::collections::BTreeMap::new();
        for add in past.unseen(|op| op.1 > 0, |end, add| end.1 == 0 && end.0 == add.0) {
            *lines.entry(name(add.op.0)).or_insert(0) += u64::from(add.op.1);
        }
        lines.into_iter().collect()
    });
    let plan = Plan { seeds: 0..100, ..Plan::default() };
    acquitted(&judge(&Lattice(cart), &plan).unwrap());
}

#[test]
fn an_invariant_is_held_against_every_state() {
    let most =
        by_state(|| 0, |a: &mut u64, b| *a = (*a).max(b), small, |a, _, op| *a += op, |a| *a)
            .with_invariant(
                |sum| if *sum < 9 { Ok(()) } else { Err(format!("{sum} is too many")) },
            );
    let story = convicted(&try_it(most), "invariant", 3, 0);
    assert!(story.contains("too many"), "{story}");
}

#[test]
fn runs_repeat_event_by_event_and_seeds_differ() {
    let plan = Plan { seeds: 0..60, ..Plan::default() };
    let print = |plan: &Plan| fingerprint(&Lattice(numbers(Order::Causal)), plan).unwrap();
    assert_eq!(print(&plan), print(&plan));
    let prints: BTreeSet<u64> = (0..60).map(|seed| print(&plan.clone().only(seed))).collect();
    assert_eq!(prints.len(), 60);
}
