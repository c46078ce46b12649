//! Answers: pages lead on, values fit their fields, and what a write ended a retry can carry.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

use orset::cart::{CartEffect, Content, Seen};
use orset::{
    Cart, Dot, Kind, Lattice, ObjectKey, OpId, OpIdSession, OpIdSet, Origin, Product, Request,
};
use pannier_proto::convert::{self, Asked, Page};
use pannier_proto::v1;

fn object(kind: Kind) -> ObjectKey {
    ObjectKey::new(kind, b"shop", b"ada").unwrap()
}

fn product(at: u16) -> Product {
    Product::new(format!("product {at:05}").as_bytes()).unwrap()
}

fn ids() -> impl Iterator<Item = OpId> {
    let mut session = OpIdSession::new(1_700_000_000, 5);
    std::iter::from_fn(move || session.next_id())
}

/// A cart to which these products were added, one by one.
fn cart_of(products: &[u16]) -> Cart {
    let mut cart = Cart::new();
    for (seq, (at, id)) in (1..).zip(products.iter().zip(ids())) {
        let effect = CartEffect::Add(Content::added(product(*at), 2, b"red"));
        cart.apply(id, &effect, Dot::new(Origin::from_bytes([1; 16]), seq));
    }
    cart
}

#[test]
fn a_page_of_a_cart_leads_on() {
    let cart = cart_of(&[1, 2, 1]);
    let shown = cart.shown();
    let key = object(Kind::Cart);
    let page = convert::cart(&key, &shown, &cart.seen(), Some(&product(2)), true);
    assert_eq!((page.lines.len(), page.lines[0].quantity, page.stale), (2, 4, true));
    assert_eq!(page.lines[0].entries[1].quantity, 2);
    assert_eq!(page.lines[0].entries[1].attributes, "red");
    assert_eq!(Seen::from_bytes(&page.seen), Ok(cart.seen()));
    let ask = v1::GetCart {
        namespace: "shop".into(),
        cart: "ada".into(),
        page_size: 7,
        page_token: page.next_page_token,
        allow_stale: false,
    };
    let Ok(Asked::Read { page, .. }) = Asked::try_from(ask) else { panic!() };
    assert_eq!((page.size, page.product()), (7, Some(product(2))));
    let last = convert::cart(&key, &shown, &cart.seen(), None, false);
    assert!(last.next_page_token.is_empty());
}

#[test]
fn a_page_of_a_set_leads_on() {
    let key = object(Kind::Set);
    let elements = [product(1), product(2)];
    let page = convert::set(&key, &elements, &Seen::new(), Some(&product(2)), false);
    assert_eq!(page.elements, ["product 00001", "product 00002"]);
    let ask = v1::GetSet {
        namespace: "shop".into(),
        set: "ada".into(),
        page_token: page.next_page_token.clone(),
        ..Default::default()
    };
    let Ok(Asked::Read { page: next, .. }) = Asked::try_from(ask) else { panic!() };
    assert_eq!(next.product(), Some(product(2)));
    // That nothing was seen is a context too.
    assert!(!page.seen.is_empty());
}

#[test]
fn a_counter_beyond_64_bits_shows_the_nearest_end() {
    let shown = |value| convert::counter(value, false).value;
    assert_eq!(shown(i128::MAX), i64::MAX);
    assert_eq!(shown(i128::MIN), i64::MIN);
    assert_eq!(shown(-7), -7);
}

#[test]
fn a_listing_leads_on_while_there_is_more() {
    let page = convert::listing(Kind::Cart, b"shop", ["ada", "bob"], Some(b"bobby"));
    let ask = v1::ListRequest {
        namespace: "shop".into(),
        page_size: 0,
        page_token: page.next_page_token,
    };
    let Ok(Asked::List { page, .. }) = Asked::list(Kind::Cart, ask.clone()) else { panic!() };
    assert_eq!(page, Page { size: 100, after: Some("bobby".into()) });
    assert!(Asked::list(Kind::Set, ask).is_err());
    assert!(convert::listing(Kind::Cart, b"shop", ["ada"], None).next_page_token.is_empty());
}

/// What a write ended comes back in the form in which a retry carries it.
#[test]
fn what_was_ended_is_what_the_retry_carries() {
    let cart = cart_of(&[1, 2, 1]);
    let ended: OpIdSet = cart.line_entries(&product(1)).into_iter().map(|(op, _)| op).collect();
    let dot = Some(Dot::new(Origin::from_bytes([1; 16]), 4));
    let remove = Request::Remove(product(1));
    let wire = convert::written(&remove, false, dot, &ended, 0);
    let seen = Seen::from_bytes(&wire.ended).unwrap();
    assert_eq!(cart.remove_effect(&product(1), Some(&seen)), CartEffect::End(ended.clone()));
    assert_eq!(convert::dot_from(&wire.dot.unwrap()).ok(), dot);

    let mut all = ended.clone();
    all.join(&cart.line_entries(&product(2)).into_iter().map(|(op, _)| op).collect());
    let wire = convert::written(&Request::Clear, false, dot, &all, 0);
    let seen = Seen::from_bytes(&wire.ended).unwrap();
    assert_eq!(cart.clear_effect(Some(&seen)), CartEffect::End(all));

    // That nothing was ended must be said as well: elsewhere there may be something.
    let nothing = convert::written(&remove, false, dot, &OpIdSet::new(), 0).ended;
    assert_eq!(Seen::from_bytes(&nothing), Ok(Seen::new()));
    assert!(!nothing.is_empty());
    // Who said what was seen has it; who did nothing now has nothing to tell.
    assert!(convert::written(&remove, true, dot, &ended, 0).ended.is_empty());
    assert!(convert::written(&remove, false, None, &ended, 0).ended.is_empty());
}
