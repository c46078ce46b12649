//! What a cart shows of its orders, page by page, and who is told when that changes.

use crate::orders::{held, shop};
use crate::rig::cluster::{Cluster, cart, member};
use orset::OpId;
use orset::order::{ShownOrder, ShownOrders, Standing};
use orset::stock::{OrderAsk, Outcome};
use pannier_replica::protocol::{Command, Event, OrdersPage, Read, Reply, Value};
use std::sync::Arc;

impl Cluster {
    fn page(&mut self, at: usize, after: Option<OpId>, orders: usize, bytes: usize) -> ShownOrders {
        let page = OrdersPage { after, orders, bytes };
        let read = Read { orders: Some(page), ..Read::new(cart(), Arc::default(), 0) };
        let Ok(Reply::Shown(shown)) = self.ask(at, Command::Read(read)) else { panic!() };
        let Value::Orders(orders) = shown.value else { panic!() };
        orders
    }

    /// All of them, from pages of so many.
    fn all_orders(&mut self, at: usize, size: usize) -> Vec<ShownOrder> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let ShownOrders { orders, next } = self.page(at, after, size, usize::MAX);
            assert!(orders.len() <= size);
            all.extend(orders);
            if next.is_none() {
                return all;
            }
            assert!(next > after, "a page leads on");
            after = next;
        }
    }

    fn standings(&mut self, at: usize) -> Vec<(OpId, Standing)> {
        self.all_orders(at, 2).into_iter().map(|it| (it.id, it.standing)).collect()
    }

    /// How often the cart was said to have changed there since.
    fn changes(&mut self, at: usize) -> usize {
        let told = std::mem::take(&mut self.nodes[at].changed);
        told.into_iter().filter(|object| *object == cart()).count()
    }
}

#[test]
fn orders_are_paged_by_id_and_each_is_said_as_a_call_would_be_told() {
    let mut it = shop(2);
    let goods = it.goods(0, None);
    let ids: Vec<OpId> = (0..4).map(|_| it.op()).collect();
    let [released, lapsed, bought, late] = [ids[0], ids[1], ids[2], ids[3]];
    for id in [released, lapsed] {
        assert!(held(&it.checks_out(0, id, &goods)));
    }
    it.rests();
    let open = it.all_orders(1, 1);
    assert!(open.iter().all(|order| order.standing == Standing::Open && order.goods == goods));
    let Outcome::Held { until_ms } = it.orders(1, released, OrderAsk::Show).unwrap() else {
        panic!()
    };
    let is_held = open[0].held.map(|held| (held.owner, held.until_ms));
    assert_eq!(is_held, Some((member(0), until_ms)));
    it.orders(0, released, OrderAsk::Cancel).unwrap();
    it.run(62_000);
    let over = [(released, Standing::Released), (lapsed, Standing::Released)];
    it.rests();
    assert_eq!(it.standings(1), over);
    assert!(it.all_orders(1, 9).iter().all(|order| order.held.is_none()));
    assert_eq!(it.confirms(0, bought, &goods), Ok(Outcome::Committed));
    it.rests();
    // Whoever comes too late is told so, and no order is made of it.
    assert_eq!(it.checks_out(1, late, &goods), Ok(Outcome::Conflicted { with: bought }));
    for at in 0..2 {
        let shown = it.standings(at);
        let with = Standing::Conflicted { with: bought };
        assert_eq!(shown, [(released, with), (lapsed, with), (bought, Standing::Confirmed)]);
        for size in [1, 3, 100] {
            assert_eq!(it.all_orders(at, size).len(), 3);
        }
        for (id, standing) in shown {
            let told = it.orders(at, id, OrderAsk::Show).unwrap();
            let same = match standing {
                Standing::Confirmed => told == Outcome::Committed,
                Standing::Conflicted { with } => told == Outcome::Conflicted { with },
                _ => false,
            };
            assert!(same, "{standing:?}, and {told:?}");
        }
    }
    it.orders(0, bought, OrderAsk::Return { goods }).unwrap();
    it.rests();
    assert_eq!(it.standings(1).last(), Some(&(bought, Standing::Returned)));
}

/// By bytes, and by what is looked at: orders of one cart name its entries again and again.
#[test]
fn a_page_of_orders_ends_where_it_has_cost_enough() {
    let mut it = shop(1);
    it.has(0, "x", 5_000);
    it.has(0, "y", 5_000);
    for _ in 0..20 {
        it.puts(0, "x", 1);
    }
    let goods = it.goods(0, None);
    for _ in 0..63 {
        let id = it.op();
        assert!(held(&it.checks_out(0, id, &goods)));
    }
    let page = it.page(0, None, 100, usize::MAX);
    assert_eq!((page.orders.len(), page.next.is_some()), (45, true), "22 entries and a row each");
    let page = it.page(0, page.next, 100, usize::MAX);
    assert_eq!((page.orders.len(), page.next), (18, None));
    let small = it.page(0, None, 100, 1);
    assert_eq!((small.orders.len(), small.next), (1, Some(small.orders[0].id)));
    assert_eq!(it.all_orders(0, 100).len(), 63);
}

/// A hold that is extended changes a stock alone; its cart's watchers are told all the same.
#[test]
fn whoever_watches_a_cart_is_told_what_becomes_of_its_orders() {
    let mut it = shop(2);
    (0..2).for_each(|at| it.does(at, Event::Watch(cart())));
    let (id, goods) = (it.op(), it.goods(0, None));
    it.changes(0);
    it.changes(1);
    let until = |it: &mut Cluster, at: usize| it.all_orders(at, 9)[0].held.unwrap().until_ms;
    assert!(held(&it.checks_out(0, id, &goods)));
    it.rests();
    assert!(it.changes(0) > 0 && it.changes(1) > 0, "held");
    let before = until(&mut it, 1);
    assert!(held(&it.orders(0, id, OrderAsk::Extend { ttl_ms: 90_000 })));
    it.rests();
    assert!(until(&mut it, 1) > before);
    assert!(it.changes(0) > 0 && it.changes(1) > 0, "extended");
    assert_eq!(it.orders(0, id, OrderAsk::Cancel), Ok(Outcome::Expired));
    it.rests();
    assert!(it.changes(0) > 0 && it.changes(1) > 0, "cancelled");
}

/// What an answer says was done by a commit, and names it.
#[test]
fn what_lets_an_order_go_or_holds_it_longer_names_its_commit() {
    let mut it = shop(1);
    let (id, goods) = (it.op(), it.goods(0, None));
    assert!(held(&it.checks_out(0, id, &goods)));
    let longer = it.order_reply(0, id, OrderAsk::Extend { ttl_ms: 90_000 });
    assert!(longer.dot.is_some_and(|dot| longer.vector.contains(dot)), "{longer:?}");
    let gone = it.order_reply(0, id, OrderAsk::Cancel);
    assert!(gone.dot.is_some_and(|dot| gone.vector.contains(dot)), "{gone:?}");
    assert!(gone.dot > longer.dot);
    let again = it.order_reply(0, id, OrderAsk::Cancel);
    assert_eq!((again.outcome, again.dot), (Outcome::Expired, None), "nothing was done now");
}
