//! Pages: they follow each other without gap or overlap, and their contexts are together the whole.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

use orset::cart::{Content, Line, Seen};
use orset::{Cart, Dot, Kind, ObjectKey, OpId, OpIdSession, OpIdSet, Origin, Product, Request};
use orset::{Lattice, cart::CartEffect};
use pannier_proto::convert::{self, Asked, Page};
use pannier_proto::limits::PAGE_BYTES;
use pannier_proto::v1;
use proptest::prelude::*;
use prost::Message;

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

/// A cart made of adds and decrements; the latter leave lines that show nothing and have entries.
fn cart_of(ops: &[(u16, bool)]) -> Cart {
    let mut cart = Cart::new();
    for (seq, ((at, take), id)) in ops.iter().zip(ids()).enumerate() {
        let effect = match take {
            false => CartEffect::Add(Content::added(product(*at), 1, b"red")),
            true => cart.take_effect(&product(*at), 9, None),
        };
        cart.apply(id, &effect, Dot::new(Origin::from_bytes([1; 16]), seq as u64 + 1));
    }
    cart
}

/// The page that a client asks for with what the page before returned.
fn follow(ask: v1::GetCart) -> (ObjectKey, Page) {
    match Asked::try_from(ask).unwrap() {
        Asked::Read { object, page, .. } => (object, page),
        other => panic!("{other:?}"),
    }
}

fn all_pages(lines: &[Line], seen: &Seen, size: u32, budget: usize) -> Vec<v1::Cart> {
    let mut pages: Vec<v1::Cart> = Vec::new();
    loop {
        let page_token = pages.last().map(|page| page.next_page_token.clone()).unwrap_or_default();
        let (namespace, cart) = ("shop".into(), "ada".into());
        let ask = v1::GetCart { namespace, cart, page_size: size, page_token, allow_stale: false };
        let (object, page) = follow(ask);
        pages.push(convert::cart(&object, lines, seen, &page, budget, false));
        if pages.last().unwrap().next_page_token.is_empty() {
            return pages;
        }
        assert!(pages.len() <= 1_000, "the pages do not end");
    }
}

fn join_seen(pages: impl Iterator<Item = bytes::Bytes>) -> Seen {
    let mut whole = Seen::new();
    for bytes in pages {
        for (product, ids) in Seen::from_bytes(&bytes).unwrap().iter() {
            whole.add_line(product.clone(), ids.clone());
        }
    }
    whole
}

proptest! {
    #[test]
    fn pages_are_the_whole_without_gap_or_overlap(
        ops in proptest::collection::vec((0..40_u16, proptest::bool::weighted(0.3)), 0..120),
        size in 1..50_u32, budget in 1..4_000_usize,
    ) {
        let cart = cart_of(&ops);
        let (lines, seen) = (cart.shown(), cart.seen());
        let pages = all_pages(&lines, &seen, size, budget);
        let shown: Vec<v1::Line> = pages.iter().flat_map(|page| page.lines.clone()).collect();
        prop_assert_eq!(shown, lines.iter().map(convert::line).collect::<Vec<_>>());
        prop_assert_eq!(join_seen(pages.iter().map(|page| page.seen.clone())), seen);
        for page in &pages {
            prop_assert!(page.lines.len() <= size as usize);
            let within = page.encoded_len() <= budget + 700;
            prop_assert!(within || page.lines.len() <= 1, "{} bytes", page.encoded_len());
        }
    }

    /// What is read while lines come and go: every line that stays is shown once.
    #[test]
    fn a_line_that_stays_is_shown_once_whatever_comes_and_goes(
        stays in proptest::collection::btree_set(0..40_u16, 1..20),
        visits in proptest::collection::vec(proptest::collection::btree_set(0..40_u16, 0..9), 45),
        size in 1..5_u32,
    ) {
        let key = object(Kind::Set);
        let (mut page, mut shown) = (Page::first(size), Vec::new());
        for visitors in visits {
            let now: Vec<Product> = stays.union(&visitors).map(|at| product(*at)).collect();
            let set = convert::set(&key, &now, &Seen::new(), &page, PAGE_BYTES, false);
            shown.extend(set.elements);
            if set.next_page_token.is_empty() {
                break;
            }
            let (namespace, set_id) = ("shop".into(), "ada".into());
            let page_token = set.next_page_token;
            let ask = v1::GetSet {
                namespace, set: set_id, page_size: size, page_token, allow_stale: false,
            };
            let Ok(Asked::Read { page: next, .. }) = Asked::try_from(ask) else { unreachable!() };
            page = next;
        }
        for at in stays {
            let name = product(at);
            let times = shown.iter().filter(|element| ***element == *name.as_bytes()).count();
            prop_assert_eq!(times, 1);
        }
    }
}

#[test]
fn a_set_shows_what_it_was_shown_with() {
    let cart = cart_of(&[(1, false), (2, false), (3, false)]);
    let elements: Vec<Product> = cart.shown().into_iter().map(|line| line.product).collect();
    let key = object(Kind::Set);
    let set = convert::set(&key, &elements, &cart.seen(), &Page::first(2), PAGE_BYTES, true);
    assert_eq!(set.elements, ["product 00001", "product 00002"]);
    assert!(set.stale && !set.next_page_token.is_empty());
    let seen = Seen::from_bytes(&set.seen).unwrap();
    assert_eq!(seen.iter().count(), 2);
    assert!(seen.line(&product(3)).is_none());
}

#[test]
fn a_line_beyond_all_bounds_is_cut_and_says_so() {
    // More ids than a context may name, in one line; then another.
    let many: Vec<OpId> = ids().take(70_000).collect();
    let entries = many.iter().take(1_500).map(|op| orset::cart::ShownEntry {
        op: *op,
        quantity: 1,
        attributes: vec![7; 1_024].into(),
    });
    let line = Line {
        product: product(1),
        quantity: 70_000,
        entries: entries.collect(),
        seen: OpIdSet::new(),
    };
    let mut seen = Seen::new();
    seen.add_line(product(1), many.into_iter().collect());
    seen.add_line(product(2), ids().take(1).collect());
    let pages = all_pages(&[line], &seen, 10, PAGE_BYTES);
    assert_eq!(pages.len(), 2);
    assert_eq!((pages[0].lines[0].entries.len(), pages[0].lines[0].entries_left_out), (1_000, 500));
    // Every client may send back what it was given.
    let given = Seen::from_bytes(&pages[0].seen).unwrap();
    assert_eq!(given.line(&product(1)).unwrap().len(), 1 << 16);
    assert!(pages[0].encoded_len() < pannier_proto::limits::MESSAGE_MAX);
    assert!(pages[1].lines.is_empty());
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
    let page = convert::listing(Kind::Cart, b"shop", ["ada", "bob"], true);
    let ask = v1::ListRequest {
        namespace: "shop".into(),
        page_size: 0,
        page_token: page.next_page_token,
    };
    let Ok(Asked::List { page, .. }) = Asked::list(Kind::Cart, ask.clone()) else { panic!() };
    assert_eq!(page, Page { size: 100, after: Some("bob".into()) });
    assert!(Asked::list(Kind::Set, ask).is_err());
    assert!(convert::listing(Kind::Cart, b"shop", ["ada"], false).next_page_token.is_empty());
}

/// What a write ended comes back in the form in which a retry carries it.
#[test]
fn what_was_ended_is_what_the_retry_carries() {
    let cart = cart_of(&[(1, false), (2, false), (1, false)]);
    let ended: OpIdSet = cart.line_entries(&product(1)).into_iter().map(|(op, _)| op).collect();
    let dot = Some(Dot::new(Origin::from_bytes([1; 16]), 4));
    let remove = Request::Remove(product(1));
    let wire = convert::written(&remove, false, dot, &ended, 0);
    let seen = Seen::from_bytes(&wire.ended).unwrap();
    assert_eq!(cart.remove_effect(&product(1), Some(&seen)), CartEffect::End(ended.clone()));
    assert_eq!(convert::dot_from(&wire.dot.unwrap()), Ok(dot.unwrap()));

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
