//! Conversions: there and back is the identity, and nothing that comes from outside panics.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

use bytes::Bytes;
use orset::cart::{Content, Seen};
use orset::stock::{Ask, Customer, HoldsOf, Terms, Want};
use orset::{Kind, Member, ObjectKey, OpId, OpIdSession, OpIdSet, Product, Request};
use pannier_proto::convert::{self, Asked, Page, Watched, bulk, stock_call};
use pannier_proto::errors::Reason;
use pannier_proto::v1::{self, command::Body};
use pannier_proto::{Token, fingerprint};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

fn op_id(chance: u64, at: u32) -> OpId {
    let prefix = OpIdSession::new(1_700_000_000, chance).next_id().unwrap().split().0;
    OpId::join(prefix, at).unwrap()
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => vec(any::<u8>(), 1..12), 1 => vec(any::<u8>(), max..=max)]
}

fn product() -> impl Strategy<Value = Product> {
    bytes(255).prop_map(|bytes| Product::new(&bytes).unwrap())
}

fn quantity() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1), Just(1_000_000_000), 1..1_000_u32]
}

fn ids() -> impl Strategy<Value = OpIdSet> {
    vec((0..3_u64, 0..9_u32), 1..6)
        .prop_map(|ids| ids.into_iter().map(|(chance, at)| op_id(chance, at)).collect())
}

fn seen() -> impl Strategy<Value = Option<Seen>> {
    proptest::option::of(vec((product(), ids()), 0..4).prop_map(|lines| {
        let mut seen = Seen::new();
        lines.into_iter().for_each(|(product, ids)| seen.add_line(product, ids));
        seen
    }))
}

fn key(kind: Kind) -> impl Strategy<Value = ObjectKey> {
    (bytes(64), bytes(255)).prop_map(move |(ns, id)| ObjectKey::new(kind, &ns, &id).unwrap())
}

fn write() -> impl Strategy<Value = Asked> {
    let kinds = prop_oneof![Just(Kind::Cart), Just(Kind::Set), Just(Kind::Counter)];
    let parts = (product(), quantity(), bytes(1_024), bytes(255), any::<bool>(), seen(), 0..7_u8);
    let with_key = kinds.prop_flat_map(|kind| (Just(kind), key(kind)));
    (with_key, parts, any::<u64>(), any::<u32>()).prop_map(|((kind, object), parts, chance, at)| {
        let (product, quantity, bytes, guest, down, seen, which) = parts;
        let quantity = if kind == Kind::Set { 1 } else { quantity };
        let guest = ObjectKey::new(kind, object.namespace(), &guest).unwrap();
        let amount = i64::from(quantity) * 1_000 * if down { -1 } else { 1 };
        let (request, seen) = match (kind, which) {
            (Kind::Counter, _) => (Request::Count(amount), None),
            (_, 0) => (Request::Remove(product), seen),
            (_, 1) => (Request::Clear, seen),
            (_, 2) if guest != object => (Request::Merge { guest, user: object.clone() }, None),
            (Kind::Cart, 3) => {
                let quantity = if down { 0 } else { quantity };
                (Request::Set { product, quantity, attributes: bytes.into() }, seen)
            }
            (Kind::Cart, 4) => (Request::Decrement(product, quantity), seen),
            _ => (Request::Add(Content::added(product, quantity, &bytes)), None),
        };
        Asked::Write { op: op_id(chance, at), object, request, seen }
    })
}

fn call() -> impl Strategy<Value = Asked> {
    let want = || {
        (quantity(), proptest::option::of(bytes(255))).prop_map(|(quantity, customer)| {
            let customer = customer.map(|it| Customer::new(&it).unwrap());
            Want { quantity, customer }
        })
    };
    let units = || quantity().prop_map(u64::from);
    let at = any::<[u8; 16]>().prop_map(Member::from_bytes);
    let terms = (any::<u64>(), 0..=16_u8, any::<bool>());
    let ask = prop_oneof![
        (units(), at.clone()).prop_map(|(units, at)| Ask::Restock { units, at }),
        (units(), at).prop_map(|(units, at)| Ask::WriteOff { units, at }),
        (want(), 1..=u64::MAX).prop_map(|(want, ttl_ms)| Ask::Hold { want, ttl_ms }),
        want().prop_map(|want| Ask::Commit { want }),
        Just(Ask::Release),
        (1..=u64::MAX).prop_map(|ttl_ms| Ask::Extend { ttl_ms }),
        Just(Ask::Return),
        terms.prop_map(|(limit, peers, tentative)| Ask::Agree(Terms { limit, tentative, peers })),
    ];
    (key(Kind::Stock), ask, any::<u64>(), any::<u32>())
        .prop_map(|(object, ask, chance, at)| Asked::Stock { op: op_id(chance, at), object, ask })
}

fn read() -> impl Strategy<Value = Asked> {
    let kinds = [Kind::Cart, Kind::Set, Kind::Counter, Kind::Stock];
    let kinds = proptest::sample::select(kinds.to_vec());
    let keys = kinds.prop_flat_map(key);
    (keys, 1..=1_000_u32, proptest::option::of(bytes(255)), any::<bool>(), any::<bool>()).prop_map(
        |(object, size, after, allow_stale, list)| {
            let page = Page { size, after: after.map(Bytes::from) };
            if list {
                let namespace = Bytes::copy_from_slice(object.namespace());
                return Asked::List { kind: object.kind(), namespace, page };
            }
            let has_pages = matches!(object.kind(), Kind::Cart | Kind::Set);
            let page = if has_pages { page } else { Page::WHOLE };
            Asked::Read { object, page, allow_stale }
        },
    )
}

fn holds() -> impl Strategy<Value = Asked> {
    let customer = proptest::option::of(bytes(255).prop_map(|it| Customer::new(&it).unwrap()));
    let after =
        proptest::option::of(any::<(u64, u32)>().prop_map(|(chance, at)| op_id(chance, at)));
    (key(Kind::Stock), customer, after, 1..=1_000_u32, any::<bool>()).prop_map(
        |(object, customer, after, size, allow_stale)| {
            let of = HoldsOf { customer, after };
            Asked::Holds { object, of, size, allow_stale }
        },
    )
}

proptest! {
    /// V1, by way of the bytes.
    #[test]
    fn there_and_back(asked in prop_oneof![3 => write(), 2 => call(), 1 => read(), 1 => holds()]) {
        let command = v1::Command { body: Some(asked.to_body().unwrap()), ..Default::default() };
        let came = v1::Command::decode(&command.encode_to_vec()[..]).unwrap();
        prop_assert_eq!(Asked::from_body(came.body), Ok(asked));
    }
}

/// What a cart with one line showed.
fn shown(product: &[u8], number: u32) -> Bytes {
    let mut seen = Seen::new();
    if let Ok(product) = Product::new(product) {
        seen.add_line(product, [op_id(9, number)].into_iter().collect());
    }
    seen.to_bytes().into()
}

/// A body of the `which`-th kind, whose parts a stranger has made up.
fn made_up(which: u8, parts: &[Vec<u8>; 6], number: u32, amount: i64, flag: bool) -> Option<Body> {
    let part = |at: usize| Bytes::from(parts[at].clone());
    // Hardly any sixteen bytes are an op id; half of the time, be fair.
    let op_id = if flag { part(0) } else { op_id(7, number).as_bytes().to_vec().into() };
    let (namespace, id, product, attributes, seen) = (part(1), part(2), part(3), part(4), part(5));
    let list = v1::ListRequest {
        namespace: namespace.clone(),
        page_size: number,
        page_token: seen.clone(),
    };
    let (page_size, page_token, allow_stale, quantity) = (number, seen.clone(), flag, number);
    let (cart, set, counter, element) = (id.clone(), id.clone(), id.clone(), product.clone());
    let (guest, user) = (product.clone(), id.clone());
    let (stock, customer, units, ttl_ms) =
        (id.clone(), product.clone(), amount as u64, amount as u64);
    let (at, limit, peers) = (attributes.clone(), units, number);
    let lines = vec![v1::OrderLine { product: product.clone(), quantity }];
    // Hardly any bytes are a context; half of the time, be fair.
    let shown = if flag { seen.clone() } else { shown(&product, number) };
    Some(match which % 35 {
        0 => {
            Body::AddToCart(v1::AddToCart { op_id, namespace, cart, product, quantity, attributes })
        }
        1 => Body::RemoveFromCart(v1::RemoveFromCart { op_id, namespace, cart, product, seen }),
        2 => Body::SetInCart(v1::SetInCart {
            op_id,
            namespace,
            cart,
            product,
            quantity,
            attributes,
            seen,
        }),
        3 => Body::DecrementInCart(v1::DecrementInCart {
            op_id,
            namespace,
            cart,
            product,
            quantity,
            seen,
        }),
        4 => Body::ClearCart(v1::ClearCart { op_id, namespace, cart, seen }),
        5 => Body::MergeCarts(v1::MergeCarts { op_id, namespace, guest, user }),
        6 => Body::GetCart(v1::GetCart { namespace, cart, page_size, page_token, allow_stale }),
        7 => Body::ListCarts(list),
        8 => Body::AddToSet(v1::AddToSet { op_id, namespace, set, element, attributes }),
        9 => Body::RemoveFromSet(v1::RemoveFromSet { op_id, namespace, set, element, seen }),
        10 => Body::ClearSet(v1::ClearSet { op_id, namespace, set, seen }),
        11 => Body::MergeSets(v1::MergeSets { op_id, namespace, guest, user }),
        12 => Body::GetSet(v1::GetSet { namespace, set, page_size, page_token, allow_stale }),
        13 => Body::ListSets(list),
        14 => Body::AddToCounter(v1::AddToCounter { op_id, namespace, counter, amount }),
        15 => Body::GetCounter(v1::GetCounter { namespace, counter, allow_stale }),
        16 => Body::ListCounters(list),
        17 => Body::RestockStock(v1::RestockStock { op_id, namespace, stock, units, at }),
        18 => Body::WriteOffStock(v1::WriteOffStock { op_id, namespace, stock, units, at }),
        19 => {
            Body::HoldStock(v1::HoldStock { op_id, namespace, stock, quantity, customer, ttl_ms })
        }
        20 => Body::CommitStock(v1::CommitStock { op_id, namespace, stock, quantity, customer }),
        21 => Body::ReleaseStock(v1::ReleaseStock { op_id, namespace, stock }),
        22 => Body::ExtendStock(v1::ExtendStock { op_id, namespace, stock, ttl_ms }),
        23 => Body::ReturnStock(v1::ReturnStock { op_id, namespace, stock }),
        24 => {
            let tentative = units % 2 == 1;
            let terms = v1::SetStockTerms { op_id, namespace, stock, limit, peers, tentative };
            Body::SetStockTerms(terms)
        }
        25 => Body::GetStock(v1::GetStock { namespace, stock, allow_stale }),
        26 => Body::ListStocks(list),
        27 => Body::CheckoutCart(v1::CheckoutCart {
            op_id,
            namespace,
            cart,
            lines,
            seen: shown,
            customer,
            ttl_ms,
        }),
        28 => {
            let seen = shown;
            Body::ConfirmOrder(v1::ConfirmOrder { op_id, namespace, cart, lines, seen, customer })
        }
        29 => {
            let seen = shown;
            Body::ReturnOrder(v1::ReturnOrder { op_id, namespace, cart, lines, seen, customer })
        }
        30 => Body::CancelOrder(v1::CancelOrder { op_id, namespace, cart }),
        31 => Body::GetOrder(v1::GetOrder { op_id, namespace, cart }),
        32 => Body::ListStockHolds(v1::ListStockHolds {
            namespace,
            stock,
            customer,
            after: op_id,
            page_size,
            allow_stale,
        }),
        33 => Body::ExtendOrder(v1::ExtendOrder { op_id, namespace, cart, ttl_ms }),
        35 => {
            let (after_stock, after) = (stock, op_id);
            let ask =
                v1::ListHoldsOfCustomer { namespace, customer, after_stock, after, page_size };
            Body::ListCustomerHolds(ask)
        }
        34 => {
            let after = op_id;
            let ask = v1::ListCartOrders { namespace, cart, after, page_size, allow_stale };
            Body::ListCartOrders(ask)
        }
        _ => return None,
    })
}

/// V2, and V1 for whatever gets in: a message from a stranger is refused, or means one thing.
#[test]
fn any_command() {
    bolero::check!().with_type::<(u8, [Vec<u8>; 6], u32, i64, bool)>().cloned().for_each(
        |(which, parts, number, amount, flag)| {
            let body = made_up(which, &parts, number, amount, flag);
            if let Ok(asked) = Asked::from_body(body) {
                let again = Asked::from_body(Some(asked.to_body().unwrap()));
                assert_eq!(again, Ok(asked));
            }
        },
    );
}

/// As they come off the wire: any bytes, and bytes behind a field that exists.
#[test]
fn any_bytes() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(command) = v1::Command::decode(bytes) {
            let _ = Asked::from_body(command.body);
            let _ = convert::session(&command.token, 1);
        }
        if let Ok(ask) = v1::WatchRequest::decode(bytes) {
            let _ = convert::watched(&ask);
        }
        if let Ok(status) = v1::Status::decode(bytes) {
            let _ = convert::vector_from(&status.vector);
        }
    });
}

/// What a bulk refuses whole, and what of it by itself.
#[test]
fn a_bulk_is_judged_call_by_call() {
    let phone = ObjectKey::new(Kind::Stock, b"shop", b"phone").unwrap();
    let release = stock_call(op_id(1, 1), &phone, &Ask::Release).unwrap();
    let judged = |calls| bulk(v1::BulkStocks { calls });
    for count in [0, 1_001] {
        let refused = judged(vec![release.clone(); count]).unwrap_err();
        assert_eq!((refused.reason, &*refused.metadata["max"]), (Reason::TooMany, "1000"));
    }
    assert_eq!(judged(vec![release.clone(); 1_000]).unwrap().len(), 1_000);
    let at = Member::from_bytes([1; 16]);
    let restock = stock_call(op_id(1, 2), &phone, &Ask::Restock { units: 0, at }).unwrap();
    let results = judged(vec![v1::StockCall::default(), restock, release]).unwrap();
    let reason = |at: usize| results[at].as_ref().map_err(|failure| failure.reason);
    assert_eq!(reason(0), Err(Reason::CommandUnknown));
    assert_eq!(reason(1), Err(Reason::Bounds));
    let asked = Asked::Stock { op: op_id(1, 1), object: phone.clone(), ask: Ask::Release };
    assert_eq!(reason(2), Ok(&asked));
    let refused = stock_call(op_id(1, 1), &phone, &Ask::Extend { ttl_ms: 1 }).unwrap_err();
    assert_eq!(refused.reason, Reason::WrongKind);
}

#[test]
fn a_page_of_holds_has_bounds() {
    let refused = |change: &dyn Fn(&mut v1::ListStockHolds)| {
        let (namespace, stock) = ("shop".into(), "phone".into());
        let mut ask = v1::ListStockHolds { namespace, stock, ..Default::default() };
        change(&mut ask);
        Asked::try_from(ask).map_err(|refused| refused.reason)
    };
    let Ok(Asked::Holds { of, size: 100, .. }) = refused(&|_| ()) else { panic!() };
    assert_eq!(of, HoldsOf::default());
    assert_eq!(refused(&|ask| ask.stock.clear()).unwrap_err(), Reason::Bounds);
    assert_eq!(refused(&|ask| ask.page_size = 1_001).unwrap_err(), Reason::Bounds);
    assert_eq!(refused(&|ask| ask.customer = vec![1; 256].into()).unwrap_err(), Reason::Bounds);
    assert_eq!(refused(&|ask| ask.after = "x".into()).unwrap_err(), Reason::OpIdMalformed);
}

#[test]
fn each_refusal_names_its_reason_and_field() {
    let good = v1::AddToCart {
        op_id: op_id(1, 1).as_bytes().to_vec().into(),
        namespace: "shop".into(),
        cart: "ada".into(),
        product: "lamp".into(),
        quantity: 1,
        attributes: Bytes::new(),
    };
    let long = Bytes::from(vec![1; 1_025]);
    let add = |change: &dyn Fn(&mut v1::AddToCart)| {
        let mut ask = good.clone();
        change(&mut ask);
        let refused = Asked::try_from(ask).unwrap_err();
        (refused.reason, refused.metadata.get("field").cloned().unwrap_or_default())
    };
    let bounds = |field: &str| (Reason::Bounds, field.to_owned());
    assert!(Asked::try_from(good.clone()).is_ok());
    assert_eq!(add(&|ask| ask.op_id = long.slice(..15)).0, Reason::OpIdMalformed);
    assert_eq!(add(&|ask| ask.op_id = long.slice(..16)).0, Reason::OpIdMalformed);
    assert_eq!(add(&|ask| ask.namespace.clear()), bounds("namespace"));
    assert_eq!(add(&|ask| ask.namespace = long.slice(..65)), bounds("namespace"));
    assert_eq!(add(&|ask| ask.cart.clear()), bounds("object id"));
    assert_eq!(add(&|ask| ask.cart = long.slice(..256)), bounds("object id"));
    assert_eq!(add(&|ask| ask.product.clear()), bounds("product"));
    assert_eq!(add(&|ask| ask.product = long.slice(..256)), bounds("product"));
    assert_eq!(add(&|ask| ask.quantity = 0), bounds("quantity"));
    assert_eq!(add(&|ask| ask.quantity = 1_000_000_001), bounds("quantity"));
    assert_eq!(add(&|ask| ask.attributes = long.clone()), bounds("attributes"));

    let clear = |seen: &'static [u8]| v1::ClearCart {
        op_id: good.op_id.clone(),
        namespace: good.namespace.clone(),
        cart: good.cart.clone(),
        seen: seen.into(),
    };
    assert!(Asked::try_from(clear(b"")).is_ok());
    assert_eq!(Asked::try_from(clear(b"x")).unwrap_err().reason, Reason::SeenMalformed);
    let merge = v1::MergeSets {
        op_id: good.op_id.clone(),
        namespace: good.namespace.clone(),
        guest: good.cart.clone(),
        user: good.cart.clone(),
    };
    assert_eq!(Asked::try_from(merge).unwrap_err().reason, Reason::Bounds);
    let count = |amount| v1::AddToCounter {
        op_id: good.op_id.clone(),
        namespace: good.namespace.clone(),
        counter: good.cart.clone(),
        amount,
    };
    for amount in [0, i64::MIN, i64::MAX, 1_000_000_000_001] {
        assert_eq!(Asked::try_from(count(amount)).unwrap_err().metadata["field"], "amount");
    }
    let hold = |quantity, customer: &[u8], ttl_ms| {
        let customer = Bytes::copy_from_slice(customer);
        let (op_id, namespace, stock) = (good.op_id.clone(), "shop".into(), "phone".into());
        Asked::try_from(v1::HoldStock { op_id, namespace, stock, quantity, customer, ttl_ms })
    };
    assert!(hold(1, b"", 1).is_ok());
    for (refused, field) in [
        (hold(0, b"", 1), "quantity"),
        (hold(1, &long[..256], 1), "customer"),
        (hold(1, b"", 0), "time of a hold"),
    ] {
        assert_eq!(refused.unwrap_err().metadata["field"], field);
    }
    let ordered = |lines: &[(&'static str, u32)], seen: Bytes, ttl_ms| {
        let line = |(product, quantity): &(&'static str, u32)| v1::OrderLine {
            product: Bytes::from_static(product.as_bytes()),
            quantity: *quantity,
        };
        Asked::try_from(v1::CheckoutCart {
            op_id: good.op_id.clone(),
            namespace: "shop".into(),
            cart: "ada".into(),
            lines: lines.iter().map(line).collect(),
            seen,
            customer: Bytes::new(),
            ttl_ms,
        })
    };
    let lamp = || shown(b"lamp", 1);
    assert!(ordered(&[("lamp", 2)], lamp(), 1).is_ok());
    for (refused, field) in [
        (ordered(&[], lamp(), 1), "lines"),
        (ordered(&[("lamp", 0)], lamp(), 1), "quantity"),
        (ordered(&[("lamp", 1), ("lamp", 2)], lamp(), 1), "lines"),
        (ordered(&[("rug", 1)], lamp(), 1), "seen"),
        (ordered(&[("lamp", 1)], Bytes::new(), 1), "seen"),
        (ordered(&[("lamp", 1)], lamp(), 0), "time of a hold"),
    ] {
        assert_eq!(refused.unwrap_err().metadata["field"], field);
    }
    let damaged = ordered(&[("lamp", 1)], "x".into(), 1);
    assert_eq!(damaged.unwrap_err().reason, Reason::SeenMalformed);
    assert_eq!(Asked::from_body(None).unwrap_err().reason, Reason::CommandUnknown);
}

#[test]
fn a_batch_has_bounds_and_says_which_read_is_refused() {
    let get = |id: &'static str| v1::GetCounter {
        namespace: "shop".into(),
        counter: id.into(),
        allow_stale: false,
    };
    assert_eq!(convert::batch(vec![get("a"), get("b")]).unwrap().len(), 2);
    let refused = convert::batch(vec![get("a"), get("")]).unwrap_err();
    assert_eq!((refused.reason, &refused.metadata["index"][..]), (Reason::Bounds, "1"));
    assert_eq!(convert::batch(Vec::<v1::GetCart>::new()).unwrap_err().reason, Reason::TooMany);
    assert_eq!(convert::batch(vec![get("a"); 101]).unwrap_err().reason, Reason::TooMany);
}

#[test]
fn a_watch_needs_an_object_of_a_known_kind() {
    let ask = |kind| v1::WatchRequest {
        object: Some(v1::ObjectRef { kind, namespace: "shop".into(), id: "ada".into() }),
        ..Default::default()
    };
    let object = |kind| ObjectKey::new(kind, b"shop", b"ada").unwrap();
    let watched = convert::watched(&ask(v1::Kind::Set.into())).unwrap();
    assert_eq!(watched, Watched::Object(object(Kind::Set)));
    let orders = |kind: v1::Kind| v1::WatchRequest { orders: true, ..ask(kind.into()) };
    let watched = convert::watched(&orders(v1::Kind::Cart)).unwrap();
    assert_eq!(watched, Watched::Orders(object(Kind::Cart)));
    let refused = convert::watched(&orders(v1::Kind::Stock)).unwrap_err();
    assert_eq!(refused.reason, Reason::WrongKind);
    for refused in [ask(0), ask(5), ask(-1), v1::WatchRequest::default()] {
        assert_eq!(convert::watched(&refused).unwrap_err().reason, Reason::CommandUnknown);
    }
}

#[test]
fn a_session_is_of_this_cluster_or_of_none() {
    let token = |cluster| Token { cluster, ..Token::default() }.encode();
    let (here, there) = (fingerprint("here"), fingerprint("there"));
    assert_eq!(convert::session(&[], here), Ok(Token::default()));
    assert!(convert::session(&token(here), here).is_ok());
    assert!(convert::session(&token(0), here).is_ok());
    assert!(convert::session(&token(there), 0).is_ok());
    assert_eq!(convert::session(&token(there), here).unwrap_err().reason, Reason::TokenForeign);
    assert_eq!(convert::session(b"x", here).unwrap_err().reason, Reason::TokenMalformed);
}
