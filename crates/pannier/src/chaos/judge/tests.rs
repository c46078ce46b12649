//! Histories with one thing wrong in them, and each is told for what it is; and good ones, in which
//! nothing is found.

use super::*;
use crate::chaos::session::{Session, answered};
use orset::OpIdSet;

/// The n-th op id.
fn op(number: u32) -> OpId {
    let mut bytes = [7; 16];
    (bytes[6], bytes[8]) = (0x70, 0x80);
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    OpId::from_bytes(bytes).unwrap()
}

fn lamp() -> Product {
    Product::new(b"lamp").unwrap()
}

fn ids(numbers: &[u32]) -> OpIdSet {
    numbers.iter().map(|number| op(*number)).collect()
}

/// A cart, a guest's cart and a counter; what is asked gets op ids 0, 1, 2...
struct Shop(History);

const CART: ObjectAt = 0;
const GUEST: ObjectAt = 1;
const VIEWS: ObjectAt = 2;

impl Shop {
    fn new() -> Self {
        let mut history = History::default();
        history.object(Kind::Cart, "family");
        history.object(Kind::Cart, "guest");
        history.object(Kind::Counter, "views");
        Self(history)
    }

    fn ask(mut self, object: ObjectAt, asked: Asked, outcome: Outcome) -> Self {
        let number = self.0.intents.len() as u32;
        let at = self.0.intend(0, object, op(number), asked);
        self.0.ended(at, outcome);
        self
    }

    fn add(self, object: ObjectAt, outcome: Outcome) -> Self {
        self.ask(object, Asked::Add { product: lamp(), quantity: 10 }, outcome)
    }

    fn take(self, quantity: u64, of: &[u32], outcome: Outcome) -> Self {
        let asked = Asked::Take { product: lamp(), quantity, of: ids(of) };
        self.ask(CART, asked, outcome)
    }

    fn count(self, amount: i64, outcome: Outcome) -> Self {
        self.ask(VIEWS, Asked::Count(amount), outcome)
    }

    /// The names of the promises that are broken when these lamps are in the cart, with what is
    /// left of them, and the counter shows that.
    fn broken(&self, lamps: &[(u32, u64)], value: i64) -> Vec<String> {
        self.broken_with(lamps, &[], value)
    }

    fn broken_with(&self, lamps: &[(u32, u64)], guests: &[(u32, u64)], value: i64) -> Vec<String> {
        let cart = |lamps: &[(u32, u64)]| View {
            there: lamps.iter().map(|(number, _)| (op(*number), lamp())).collect(),
            left: lamps.iter().map(|(number, left)| (op(*number), *left)).collect(),
            ..View::default()
        };
        let judgement = Judgement::default();
        judgement.of("eu", &[cart(lamps), cart(guests), View::counter(value)], &self.0);
        let broken = judgement.checks("fine").into_iter();
        broken.filter(|it| it.verdict == crate::replay::Verdict::Fail).map(|it| it.name).collect()
    }
}

const LOST: &str = "nothing acknowledged is lost";
const RISEN: &str = "removed stays removed";
const DOUBLED: &str = "each op counts once";
const STRANGE: &str = "refused means nothing";
use Outcome::{Done, Refused, Unknown};

#[test]
fn an_add_that_was_lost() {
    let shop = Shop::new().add(CART, Done).add(CART, Unknown);
    assert_eq!(shop.broken(&[(0, 10)], 0), [""; 0]);
    assert_eq!(shop.broken(&[(0, 10), (1, 10)], 0), [""; 0]);
    assert_eq!(shop.broken(&[(1, 10)], 0), [LOST]);
    // Once anybody may have removed it, nobody can say.
    let shop = shop.ask(CART, Asked::End(ids(&[0])), Unknown);
    assert_eq!(shop.broken(&[], 0), [""; 0]);
    assert_eq!(shop.broken(&[(0, 10)], 0), [""; 0]);
}

#[test]
fn a_removal_that_did_not_stay() {
    let shop = Shop::new().add(CART, Done).ask(CART, Asked::End(ids(&[0])), Done);
    assert_eq!(shop.broken(&[], 0), [""; 0]);
    assert_eq!(shop.broken(&[(0, 10)], 0), [RISEN]);
    let ends = ids(&[0]);
    let set = Asked::Set { product: lamp(), quantity: 2, ends };
    let shop = Shop::new().add(CART, Done).ask(CART, set, Done);
    assert_eq!(shop.broken(&[(1, 2)], 0), [""; 0]);
    assert_eq!(shop.broken(&[(0, 10), (1, 2)], 0), [RISEN]);
    assert_eq!(shop.broken(&[], 0), [LOST]);
    // A removal that was refused removed nothing.
    let shop = Shop::new().add(CART, Done).ask(CART, Asked::End(ids(&[0])), Refused);
    assert_eq!(shop.broken(&[], 0), [LOST]);
}

#[test]
fn a_count_that_counts_twice_or_not_at_all() {
    let shop = Shop::new().count(5, Done).count(3, Unknown).count(9, Refused);
    assert_eq!(shop.broken(&[], 5), [""; 0]);
    assert_eq!(shop.broken(&[], 8), [""; 0]);
    assert_eq!(shop.broken(&[], 3), [LOST]);
    // Not hidden by what is unknown: no part of it makes up the difference.
    assert_eq!(shop.broken(&[], 7), [DOUBLED]);
    assert_eq!(shop.broken(&[], 10), [DOUBLED]);
    assert_eq!(shop.broken(&[], 17), [DOUBLED], "nor by what was refused");
}

#[test]
fn a_decrement_that_takes_twice_or_not_at_all() {
    let shop = Shop::new().add(CART, Done).take(2, &[0], Done).take(3, &[0], Unknown);
    assert_eq!(shop.broken(&[(0, 8)], 0), [""; 0]);
    assert_eq!(shop.broken(&[(0, 5)], 0), [""; 0]);
    assert_eq!(shop.broken(&[(0, 10)], 0), [LOST]);
    assert_eq!(shop.broken(&[(0, 6)], 0), [DOUBLED]);
    assert_eq!(shop.broken(&[(0, 11)], 0), [LOST, DOUBLED], "nor are there more than were added");
}

#[test]
fn an_entry_that_nobody_asked_for_or_that_was_refused() {
    let shop = Shop::new().add(CART, Refused).add(GUEST, Done);
    assert_eq!(shop.broken_with(&[], &[(1, 10)], 0), [""; 0]);
    assert_eq!(shop.broken_with(&[(0, 10)], &[(1, 10)], 0), [STRANGE]);
    assert_eq!(shop.broken_with(&[(9, 10)], &[(1, 10)], 0), [STRANGE]);
    assert_eq!(shop.broken_with(&[(1, 10)], &[], 0), [LOST, STRANGE], "it was the guest's");
}

#[test]
fn a_guest_whose_cart_is_merged() {
    let merge = || Asked::Merge(GUEST);
    let unknown = Shop::new().add(GUEST, Done).ask(CART, merge(), Unknown);
    assert_eq!(unknown.broken_with(&[(0, 10)], &[], 0), [""; 0]);
    assert_eq!(unknown.broken_with(&[], &[(0, 10)], 0), [""; 0]);
    assert_eq!(unknown.broken_with(&[(0, 10)], &[(0, 10)], 0), [DOUBLED]);
    assert_eq!(unknown.broken_with(&[], &[], 0), [LOST]);
    let mut done = Shop::new().add(GUEST, Done).ask(CART, merge(), Done);
    done.0.has_moved(1, [op(0)].into_iter());
    assert_eq!(done.broken_with(&[(0, 10)], &[], 0), [""; 0]);
    assert_eq!(done.broken_with(&[], &[(0, 10)], 0), [RISEN]);
}

#[test]
fn two_sets_of_one_product_that_are_both_shown() {
    let set = || Asked::Set { product: lamp(), quantity: 2, ends: OpIdSet::new() };
    let shop = Shop::new().ask(CART, set(), Done).ask(CART, set(), Done);
    assert_eq!(shop.broken(&[(0, 2), (1, 2)], 0), [DOUBLED]);
}

#[test]
fn a_session_that_goes_backwards() {
    let mut shop = Shop::new();
    let mut session = Session::new(0);
    let found = Findings::default();
    let view = |numbers: &[u32]| View {
        there: numbers.iter().map(|number| (op(*number), lamp())).collect(),
        ..View::default()
    };
    let ask = |shop: &mut Shop, session: &mut Session, object, asked| {
        let number = shop.0.intents.len() as u32;
        let at = shop.0.intend(0, object, op(number), asked);
        answered(session, &mut shop.0, at, Done);
    };
    let add = || Asked::Add { product: lamp(), quantity: 1 };
    ask(&mut shop, &mut session, CART, add());
    session.saw(CART, &view(&[0, 77]), &shop.0, &found);
    assert!(found.is_empty());
    // Its own write is gone; then another's that it had seen.
    for lacking in [&[77][..], &[0]] {
        let (mut session, found) = (Session::new(1), Findings::default());
        session.saw(CART, &view(&[0, 77]), &shop.0, &found);
        session.saw(CART, &view(lacking), &shop.0, &found);
        assert!(found.detail("").contains("no longer sees"), "{}", found.detail(""));
    }
    // What somebody asked to go may go, and does not come back.
    ask(&mut shop, &mut session, CART, Asked::End(ids(&[77])));
    session.saw(CART, &view(&[0]), &shop.0, &found);
    assert!(found.is_empty());
    session.saw(CART, &view(&[0, 77]), &shop.0, &found);
    assert!(found.detail("").contains("sees again"), "{}", found.detail(""));
    // A counter that only grows.
    let found = Findings::default();
    ask(&mut shop, &mut session, VIEWS, Asked::Count(5));
    session.saw(VIEWS, &View::counter(9), &shop.0, &found);
    session.saw(VIEWS, &View::counter(9), &shop.0, &found);
    assert!(found.is_empty());
    session.saw(VIEWS, &View::counter(8), &shop.0, &found);
    assert!(found.detail("").contains("knew of 9"), "{}", found.detail(""));
    // A merge takes along what the session had put in; it is here then, and not there.
    let found = Findings::default();
    ask(&mut shop, &mut session, GUEST, add());
    let added = op(shop.0.intents.len() as u32 - 1);
    ask(&mut shop, &mut session, CART, Asked::Merge(GUEST));
    let with = |op| View { there: [(op, lamp())].into(), ..View::default() };
    session.saw(GUEST, &View::default(), &shop.0, &found);
    assert!(found.is_empty());
    session.saw(GUEST, &with(added), &shop.0, &found);
    session.saw(CART, &view(&[0]), &shop.0, &found);
    let told = found.detail("");
    assert!(told.contains("sees again") && told.contains("no longer sees"), "{told}");
}

#[test]
fn some_of_many_unknown_amounts() {
    assert!(some_of(&[], 0) && !some_of(&[], 1));
    assert!(some_of(&[5, -3, 9], 6) && !some_of(&[5, -3, 9], 4));
    // Beyond what is looked through, the ends are all that is known.
    let many: Vec<i64> = (0..40).map(|at| 1 << at).collect();
    assert!(some_of(&many, (1 << 40) - 1) && !some_of(&many, 1 << 40) && !some_of(&many, -1));
}
