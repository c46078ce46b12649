//! Orders: which of those over one entry stands, in any order of arrival, against the plainest
//! telling of the rule; and the scenarios of two who buy one cart.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod common;

use common::{Dice, op, product, session_op};
use orset::cart::{CartEffect, Content};
use orset::order::{
    ENTRIES_MAX, Goods, LINES_MAX, Order, OrderLine, OrderRows, OrderStep, Orders, Stage, Standing,
    Unfit, apply, rivals, standing,
};
use orset::{Cart, Dot, Lattice, OpId, OpIdSet, laws};
use std::collections::{BTreeMap, BTreeSet};

const ORDERS: u64 = 5;
const ENTRIES: u64 = 6;

/// Ids of orders, which sort as their numbers do.
fn order_id(n: u64) -> OpId {
    op(&format!("o{n}"))
}

fn entry(n: u64) -> OpId {
    session_op(1, n as u32)
}

fn line(name: &str, quantity: u32, entries: &[u64]) -> OrderLine {
    let entries = entries.iter().map(|n| entry(*n)).collect();
    OrderLine { product: product(name), quantity, entries }
}

fn goods(lines: &[OrderLine]) -> Goods {
    Goods::new(lines.to_vec(), None).unwrap()
}

/// Goods over these entries, a line each.
fn over(entries: &BTreeSet<u64>) -> Goods {
    let lines = entries.iter().map(|n| line(&format!("p{n}"), 1, &[*n]));
    goods(&lines.collect::<Vec<_>>())
}

/// The rule as one would tell it, with sets of numbers and nothing of the code.
#[derive(Clone, Default)]
struct Told {
    over: BTreeMap<u64, BTreeSet<u64>>,
    confirmed: BTreeSet<u64>,
    released: BTreeSet<u64>,
    returned: BTreeSet<u64>,
}

impl Told {
    fn standing(&self, n: u64) -> Option<Standing> {
        let mine = self.over.get(&n)?;
        let bought = |other: &&u64| {
            **other != n
                && self.confirmed.contains(other)
                && !self.over[*other].is_disjoint(mine)
                && (!self.confirmed.contains(&n) || **other < n)
        };
        if self.returned.contains(&n) {
            return Some(Standing::Returned);
        }
        Some(match self.over.keys().find(bought) {
            Some(with) => Standing::Conflicted { with: order_id(*with) },
            None if self.confirmed.contains(&n) => Standing::Confirmed,
            None if self.released.contains(&n) => Standing::Released,
            None => Standing::Open,
        })
    }
}

/// A step and its number, with what the plain rule makes of it.
#[derive(Clone)]
enum Event {
    Open(u64),
    Confirm(u64),
    Release(u64),
    Return(u64),
}

/// The commit that makes it, the same wherever it is heard of.
fn made(event: &Event) -> Dot {
    let (Event::Open(n) | Event::Confirm(n) | Event::Release(n) | Event::Return(n)) = event;
    let of = match event {
        Event::Open(_) => 0,
        Event::Return(_) => 1,
        _ => 2,
    };
    common::dot(of, n + 1)
}

struct World {
    over: BTreeMap<u64, BTreeSet<u64>>,
}

impl World {
    fn drawn(dice: &mut Dice) -> Self {
        let some = |dice: &mut Dice| {
            let mut entries: BTreeSet<u64> =
                (0..ENTRIES).filter(|_| dice.one_in(3)).collect::<BTreeSet<_>>();
            entries.insert(dice.below(ENTRIES as usize) as u64);
            entries
        };
        Self { over: (0..ORDERS).map(|n| (n, some(dice))).collect() }
    }

    fn step(&self, event: &Event) -> (u64, OrderStep) {
        match event {
            Event::Open(n) => (*n, OrderStep::Open(over(&self.over[n]))),
            Event::Confirm(n) => (*n, OrderStep::Confirm(over(&self.over[n]))),
            Event::Release(n) => (*n, OrderStep::Release),
            Event::Return(n) => (*n, OrderStep::Return(over(&self.over[n]))),
        }
    }

    fn tell(&self, told: &mut Told, event: &Event) {
        let (Event::Open(n) | Event::Confirm(n) | Event::Release(n) | Event::Return(n)) = event;
        told.over.insert(*n, self.over[n].clone());
        match event {
            Event::Open(_) => {}
            Event::Confirm(n) => drop(told.confirmed.insert(*n)),
            Event::Release(n) => drop(told.released.insert(*n)),
            Event::Return(n) => drop(told.returned.insert(*n)),
        }
    }
}

/// Some steps of each order, in an order that its own causes allow.
fn events(dice: &mut Dice) -> Vec<Event> {
    let mut events = Vec::new();
    for n in 0..ORDERS {
        let is_open = !dice.one_in(3);
        if is_open {
            events.push(Event::Open(n));
            if dice.one_in(3) {
                events.push(Event::Release(n));
            }
        }
        if dice.one_in(2) || !is_open {
            events.push(Event::Confirm(n));
        }
        if dice.one_in(8) {
            events.push(Event::Return(n));
        }
    }
    events
}

/// The same, as another replica may hear of it: a release behind the opening that it is of.
fn shuffled(dice: &mut Dice, events: &[Event]) -> Vec<Event> {
    let mut events = events.to_vec();
    dice.shuffle(&mut events);
    let mut heard: Vec<Event> = Vec::new();
    let (early, late): (Vec<Event>, Vec<Event>) =
        events.into_iter().partition(|event| !matches!(event, Event::Release(_)));
    heard.extend(early);
    for event in late {
        let Event::Release(n) = event else { continue };
        let opened = heard.iter().position(|it| matches!(it, Event::Open(m) if *m == n)).unwrap();
        let at = opened + 1 + dice.below(heard.len() - opened);
        heard.insert(at, event);
    }
    heard
}

#[test]
fn every_view_says_of_every_order_what_the_rule_says() {
    let mut seen = BTreeSet::new();
    for case in 0..2_000 {
        let mut dice = Dice::new(case);
        let world = World::drawn(&mut dice);
        let (mut view, mut told) = (Orders::new(), Told::default());
        let events = events(&mut dice);
        for event in shuffled(&mut dice, &events) {
            let (n, step) = world.step(&event);
            let before: Vec<_> = (0..ORDERS).map(|n| told.standing(n)).collect();
            let Ok(lost) = apply(&mut view, order_id(n), &step, made(&event));
            world.tell(&mut told, &event);
            view.check_invariants().unwrap();
            for n in 0..ORDERS {
                let Ok(stands) = standing(&mut view, order_id(n));
                assert_eq!(stands, told.standing(n), "order {n} of case {case}");
                // Of what is let go nobody has anything to give back.
                let is_let_go = told.released.contains(&n) && !told.confirmed.contains(&n);
                let was = matches!(before[n as usize], Some(Standing::Conflicted { .. }));
                let is = matches!(stands, Some(Standing::Conflicted { .. }));
                if is && !was && !is_let_go {
                    assert!(lost.contains(order_id(n)), "nobody is told of {n} in case {case}");
                }
                seen.insert(match (before[n as usize], stands) {
                    (_, None) => "unknown",
                    (_, Some(Standing::Open)) => "open",
                    (_, Some(Standing::Released)) => "released",
                    (_, Some(Standing::Returned)) => "returned",
                    (Some(Standing::Conflicted { .. }), Some(Standing::Confirmed)) => "stands",
                    (_, Some(Standing::Confirmed)) => "confirmed",
                    (Some(Standing::Confirmed), Some(Standing::Conflicted { .. })) => "falls",
                    (_, Some(Standing::Conflicted { .. })) => "conflicted",
                });
            }
        }
    }
    let all = ["unknown", "open", "released", "returned", "confirmed"].into_iter().chain([
        "conflicted",
        "falls",
        "stands",
    ]);
    assert_eq!(seen, all.collect(), "a case was not met");
}

#[test]
fn no_entry_is_bought_by_two_and_the_lowest_has_it() {
    let mut overlaps = 0;
    for case in 0..2_000 {
        let mut dice = Dice::new(case);
        let world = World::drawn(&mut dice);
        let mut view = Orders::new();
        for event in events(&mut dice) {
            let (n, step) = world.step(&event);
            apply(&mut view, order_id(n), &step, made(&event)).unwrap();
        }
        let mut bought: BTreeMap<u64, u64> = BTreeMap::new();
        let confirmed = |view: &mut Orders, n: u64| {
            view.order(order_id(n)).unwrap().is_some_and(|it| it.stage == Stage::Confirmed)
        };
        for n in 0..ORDERS {
            if standing(&mut view, order_id(n)).unwrap() == Some(Standing::Confirmed) {
                for e in &world.over[&n] {
                    assert_eq!(
                        bought.insert(*e, n),
                        None,
                        "entry {e} of case {case} is sold twice"
                    );
                }
            }
        }
        for e in 0..ENTRIES {
            let over = |n: &u64| world.over[n].contains(&e) && confirmed(&mut view.clone(), *n);
            let all: Vec<u64> = (0..ORDERS).filter(over).collect();
            overlaps += usize::from(all.len() > 1);
            let winner = bought.get(&e).copied();
            assert!(winner.is_none_or(|winner| Some(&winner) == all.first()), "case {case}");
        }
        let lowest = (0..ORDERS).find(|n| confirmed(&mut view.clone(), *n));
        if let Some(lowest) = lowest {
            let stands = standing(&mut view, order_id(lowest)).unwrap();
            let is_so = matches!(stands, Some(Standing::Confirmed | Standing::Returned));
            assert!(is_so, "case {case}: {stands:?}");
        }
    }
    assert!(overlaps > 500, "{overlaps} entries that several had bought");
}

#[test]
fn orders_join_as_lattices_do_and_as_their_steps_do() {
    for case in 0..400 {
        let mut dice = Dice::new(case);
        let world = World::drawn(&mut dice);
        let events = events(&mut dice);
        let mut views = Vec::new();
        for _ in 0..3 {
            let mut view = Orders::new();
            for event in shuffled(&mut dice, &events) {
                let before = view.clone();
                if dice.one_in(4) && matches!(event, Event::Confirm(_)) {
                    continue;
                }
                let (n, step) = world.step(&event);
                apply(&mut view, order_id(n), &step, made(&event)).unwrap();
                laws::monotone(&before, &view);
            }
            views.push(view);
        }
        let [a, b, c] = &views[..] else { panic!() };
        laws::commutative(a, b);
        laws::associative(a, b, c);
        laws::idempotent(a, b);
        let mut all = Orders::new();
        for event in &events {
            let (n, step) = world.step(event);
            apply(&mut all, order_id(n), &step, made(event)).unwrap();
        }
        let mut joined = a.clone().joined(b).joined(c);
        laws::monotone(&joined, &all);
        for event in &events {
            let (n, step) = world.step(event);
            apply(&mut joined, order_id(n), &step, made(event)).unwrap();
        }
        let bytes = |of: &Orders| {
            let mut bytes = Vec::new();
            of.encode(&mut bytes);
            bytes
        };
        assert_eq!((bytes(&joined), &joined), (bytes(&all), &all));
    }
}

/// A cart and its orders, at one replica.
#[derive(Clone, Default)]
struct Shop {
    cart: Cart,
    orders: Orders,
    seq: u64,
}

impl Shop {
    fn adds(&mut self, name: &str, quantity: u32, n: u64) {
        let content = Content::added(product(name), quantity, b"");
        self.seq += 1;
        let dot = Dot::new(common::origin(0), self.seq);
        self.cart.apply(entry(n), &CartEffect::Add(content), dot);
    }

    fn sets(&mut self, name: &str, quantity: u32, n: u64) {
        let content = Content::added(product(name), quantity, b"");
        let effect = self.cart.assign_effect(&product(name), Some(content), None);
        self.seq += 1;
        let dot = Dot::new(common::origin(1), self.seq);
        self.cart.apply(entry(n), &effect, dot);
    }

    /// The whole cart as it is shown here.
    fn shown(&self) -> Goods {
        let lines = self.cart.shown().into_iter().map(|line| OrderLine {
            product: line.product,
            quantity: line.quantity as u32,
            entries: line.seen,
        });
        Goods::new(lines.collect(), None).unwrap()
    }

    fn confirms(&mut self, id: u64, goods: &Goods) {
        self.seq += 1;
        let dot = Dot::new(common::origin(2), self.seq);
        let step = OrderStep::Confirm(goods.clone());
        apply(&mut self.orders, order_id(id), &step, dot).unwrap();
        self.cart.apply(order_id(id), &CartEffect::End(goods.entries().collect()), dot);
    }

    fn stands(&mut self, id: u64) -> Option<Standing> {
        standing(&mut self.orders, order_id(id)).unwrap()
    }

    fn meets(&mut self, other: &mut Self) {
        self.cart.join(&other.cart);
        self.orders.join(&other.orders);
        (other.cart, other.orders) = (self.cart.clone(), self.orders.clone());
    }
}

fn two(adds: &[(&str, u32, u64)]) -> (Shop, Shop) {
    let mut shop = Shop::default();
    adds.iter().for_each(|(name, quantity, n)| shop.adds(name, *quantity, *n));
    (shop.clone(), shop)
}

/// S10.
#[test]
fn what_was_added_beside_an_order_stays_in_the_cart() {
    let (mut a, mut b) = two(&[("x", 2, 1), ("y", 1, 2)]);
    let order = a.shown();
    a.confirms(1, &order);
    b.adds("x", 1, 3);
    a.meets(&mut b);
    assert_eq!((a.cart.quantity(&product("x")), a.cart.quantity(&product("y"))), (1, 0));
    let of = |order: &Goods| order.lines().iter().map(|line| line.quantity).collect::<Vec<_>>();
    assert_eq!((of(&order), b.stands(1)), (vec![2, 1], Some(Standing::Confirmed)));
}

/// S12.
#[test]
fn what_was_set_beside_an_order_stays_in_the_cart() {
    let (mut a, mut b) = two(&[("x", 2, 1)]);
    let order = a.shown();
    a.confirms(1, &order);
    b.sets("x", 5, 2);
    a.meets(&mut b);
    assert_eq!(a.cart.quantity(&product("x")), 5);
    assert_eq!(order.lines()[0].quantity, 2);
}

/// S13.
#[test]
fn one_order_that_is_confirmed_twice_is_one_order() {
    let (mut a, mut b) = two(&[("x", 2, 1)]);
    let order = a.shown();
    a.confirms(1, &order);
    b.confirms(1, &order);
    a.meets(&mut b);
    assert_eq!(a.cart.quantity(&product("x")), 0);
    assert_eq!((a.stands(1), a.orders.all().count()), (Some(Standing::Confirmed), 1));
}

/// S13b.
#[test]
fn of_two_orders_over_one_entry_the_lower_has_it_and_the_other_is_told() {
    let (mut a, mut b) = two(&[("x", 2, 1)]);
    let order = a.shown();
    b.confirms(2, &order);
    a.confirms(1, &order);
    a.meets(&mut b);
    assert_eq!(a.cart.quantity(&product("x")), 0);
    let lost = Standing::Conflicted { with: order_id(1) };
    assert_eq!((b.stands(1), b.stands(2)), (Some(Standing::Confirmed), Some(lost)));
}

/// Who is between two falls, and drags the upper one along: told once, it stays told.
#[test]
fn a_conflict_does_not_pass_when_the_rival_falls() {
    let mut view = Orders::new();
    let all = [(3, &[4_u64, 5][..]), (2, &[3, 4]), (1, &[2, 3])];
    for (n, entries) in all {
        let step = OrderStep::Confirm(over(&entries.iter().copied().collect()));
        apply(&mut view, order_id(n), &step, common::dot(0, n)).unwrap();
    }
    let conflict = |with| Some(Standing::Conflicted { with: order_id(with) });
    let stands = [1, 2, 3].map(|n| standing(&mut view, order_id(n)).unwrap());
    assert_eq!(stands, [Some(Standing::Confirmed), conflict(1), conflict(2)]);
}

#[test]
fn what_is_folded_leaves_nothing_and_names_nobody() {
    let (mut a, _) = two(&[("x", 2, 1)]);
    let order = a.shown();
    a.confirms(1, &order);
    a.confirms(2, &order);
    assert_eq!(rivals(&mut a.orders, order_id(1), &order).unwrap().len(), 1);
    for id in [2, 1, 1] {
        // The second time there is nothing.
        apply(&mut a.orders, order_id(id), &OrderStep::Fold, common::dot(0, 9)).unwrap();
        a.orders.check_invariants().unwrap();
    }
    apply(&mut a.orders, order_id(1), &OrderStep::Release, common::dot(0, 9)).unwrap();
    assert_eq!(a.orders, Orders::new());
}

/// A broken client gives one id to two orders: all must still show the same, and claims be right.
#[test]
fn two_goods_under_one_id_converge() {
    let (one, other) = (over(&[1, 2].into()), over(&[2, 3].into()));
    let mut views = Vec::new();
    for goods in [[&one, &other], [&other, &one]] {
        let mut view = Orders::new();
        for goods in goods {
            let step = OrderStep::Open(goods.clone());
            apply(&mut view, order_id(1), &step, common::dot(0, 1)).unwrap();
            view.check_invariants().unwrap();
        }
        views.push(view);
    }
    assert_eq!(views[0], views[1]);
}

#[test]
fn what_is_no_order_is_refused() {
    let new = |lines: Vec<OrderLine>| Goods::new(lines, None).err();
    assert_eq!(new(vec![]), Some(Unfit::Empty));
    assert_eq!(new(vec![line("x", 0, &[1])]), Some(Unfit::Quantity));
    assert_eq!(new(vec![line("x", 1_000_000_001, &[1])]), Some(Unfit::Quantity));
    assert_eq!(new(vec![line("x", 1, &[])]), Some(Unfit::NoEntries));
    assert_eq!(new(vec![line("x", 1, &[1]), line("x", 1, &[2])]), Some(Unfit::Twice));
    assert_eq!(new(vec![line("x", 1, &[1]), line("y", 1, &[1])]), Some(Unfit::Twice));
    let many = (0..=LINES_MAX as u64).map(|n| line(&format!("p{n}"), 1, &[n]));
    assert_eq!(new(many.collect()), Some(Unfit::TooManyLines));
    let run: Vec<u64> = (0..=ENTRIES_MAX).collect();
    assert_eq!(new(vec![line("x", 1, &run)]), Some(Unfit::TooManyEntries));
    let most: OpIdSet = (0..ENTRIES_MAX).map(entry).collect();
    let full = OrderLine { product: product("x"), quantity: 1, entries: most };
    assert_eq!(new(vec![full]), None);
}

#[test]
fn stages_only_move_up() {
    let goods = over(&[1].into());
    let at =
        |stage| Order { goods: goods.clone(), stage, returned: false, made: common::dot(0, 1) };
    let stages = [Stage::Open, Stage::Released, Stage::Confirmed];
    for one in stages {
        for other in stages {
            assert_eq!(at(one).joined(&at(other)).stage, one.max(other));
        }
    }
}
