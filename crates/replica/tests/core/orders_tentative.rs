//! Orders whose lines have tentative limits: set aside by whoever is asked, and bought when the
//! keepers of all of them have said so.

use crate::rig::cluster::{Cluster, cart, member};
use orset::stock::{Ask, Outcome, Refused, Terms};
use orset::{Kind, ObjectKey};
use pannier_replica::protocol::stock::Call;
use pannier_replica::protocol::{Canary, Refusal};

const NAMES: [&str; 4] = ["anvil", "bell", "comb", "drum"];

fn stock(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Stock, cart().namespace(), name.as_bytes()).unwrap()
}

/// Of each product a customer may buy once, and there are some at each of three members. The cart
/// has one of each.
fn shop(tentative: bool) -> Cluster {
    let mut it = Cluster::with(3, Canary::None);
    for name in NAMES {
        (0..3).for_each(|at| it.has(at, name, 5));
        let op = it.op();
        let terms = Ask::Agree(Terms { limit: 1, tentative, peers: 0 });
        let call = Call { object: stock(name), ..it.call(op, terms) };
        it.answer_to(0, call).unwrap();
        it.puts(0, name, 1);
    }
    it.agree(&[0, 1, 2]);
    it
}

fn is_over(said: &Result<Outcome, Refusal>) -> bool {
    matches!(said, Err(Refusal::Stock(Refused::OverLimit { .. })))
}

/// Four customers' counts are with several members: strict lines are refused together, tentative
/// ones are bought.
#[test]
fn lines_that_different_members_keep_are_bought_together() {
    let mut strict = shop(false);
    let (id, goods) = (strict.op(), strict.goods(0, Some(b"ada")));
    let apart = strict.checks_out(0, id, &goods);
    assert_eq!(apart, Err(Refusal::Stock(Refused::KeptApart)));
    let mut it = shop(true);
    let (id, goods) = (it.op(), it.goods(1, Some(b"ada")));
    assert!(matches!(it.checks_out(1, id, &goods), Ok(Outcome::Held { .. })));
    assert_eq!(it.confirms(1, id, &goods), Ok(Outcome::Committed));
    it.agree(&[0, 1, 2]);
    assert_eq!(it.confirms(2, id, &goods), Ok(Outcome::Committed), "once");
    let allowed: u64 = it.nodes.iter().map(|node| node.protocol.stats().holds_allowed).sum();
    assert!(allowed >= 1 && allowed <= NAMES.len() as u64, "{allowed}");
    NAMES.iter().for_each(|name| assert_eq!(it.units(0, name), 0, "it has left the cart"));
}

/// Passed on to who holds the lines, and from there to each keeper.
#[test]
fn an_order_is_confirmed_from_anywhere() {
    let mut it = shop(true);
    let (id, goods) = (it.op(), it.goods(0, Some(b"ada")));
    assert!(matches!(it.checks_out(0, id, &goods), Ok(Outcome::Held { .. })));
    it.agree(&[0, 1, 2]);
    assert_eq!(it.confirms(2, id, &goods), Ok(Outcome::Committed));
}

#[test]
fn a_line_that_its_keeper_refuses_lets_all_go() {
    let mut it = shop(true);
    let (id, goods) = (it.op(), it.goods(0, Some(b"ada")));
    assert!(matches!(it.checks_out(0, id, &goods), Ok(Outcome::Held { .. })));
    it.agree(&[0, 1, 2]);
    // She buys a drum elsewhere: her hold of one does not stand in the way.
    let drum = it.op();
    let want = goods.want(&goods.lines()[3]);
    let call = Call { object: stock("drum"), ..it.call(drum, Ask::Commit { want }) };
    assert_eq!(it.answer_to(1, call).map(|it| it.outcome), Ok(Outcome::Committed));
    it.agree(&[0, 1, 2]);
    let said = it.confirms(0, id, &goods);
    assert!(is_over(&said), "{said:?}");
    it.agree(&[0, 1, 2]);
    assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Expired));
    // Nothing is held, nothing counts: all but the drum may be bought.
    let again = it.op();
    let said = it.checks_out(2, again, &goods);
    assert!(is_over(&said), "{said:?}");
    for (at, name) in NAMES[..3].iter().enumerate() {
        let (op, want) = (it.op(), goods.want(&goods.lines()[at]));
        let call = Call { object: stock(name), ..it.call(op, Ask::Commit { want }) };
        assert_eq!(it.answer_to(at, call).map(|it| it.outcome), Ok(Outcome::Committed), "{name}");
    }
}

/// While a keeper is away the order stands, and is bought when it is back.
#[test]
fn an_order_waits_for_a_keeper_that_is_away() {
    let mut it = shop(true);
    let (id, goods) = (it.op(), it.goods(0, Some(b"ada")));
    it.cut.insert(0);
    assert!(matches!(it.checks_out(0, id, &goods), Ok(Outcome::Held { .. })));
    let Ok(Outcome::Unavailable { members }) = it.confirms(0, id, &goods) else { panic!() };
    assert!(members == [member(1)] || members == [member(2)], "{members:?}");
    it.cut.clear();
    assert_eq!(it.confirms(0, id, &goods), Ok(Outcome::Committed));
}
