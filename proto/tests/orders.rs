//! Pages of a cart's orders: what is asked for, and what is shown, there and back.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

use orset::order::{Goods, HeldOrder, OrderLine, ShownOrder, ShownOrders, Standing};
use orset::stock::Customer;
use orset::{Kind, Member, ObjectKey, OpId, OpIdSession, Product};
use pannier_proto::convert::{self, Asked};
use pannier_proto::errors::Reason;
use pannier_proto::v1;

fn op_id(chance: u64, at: u32) -> OpId {
    let prefix = OpIdSession::new(1_700_000_000, chance).next_id().unwrap().split().0;
    OpId::join(prefix, at).unwrap()
}

#[test]
fn a_page_of_orders_has_bounds_and_says_what_each_is() {
    let object = ObjectKey::new(Kind::Cart, b"shop", b"ada").unwrap();
    let asked = |after, size| {
        let allow_stale = true;
        Asked::Orders { object: object.clone(), after, size, allow_stale }
    };
    for asked in [asked(None, 1), asked(Some(op_id(1, 2)), 100)] {
        assert_eq!(Asked::from_body(Some(asked.to_body().unwrap())), Ok(asked));
    }
    let ask = |page_size, after: &'static str| {
        let (namespace, cart, after) = ("shop".into(), "ada".into(), after.into());
        Asked::try_from(v1::ListCartOrders {
            namespace,
            cart,
            after,
            page_size,
            allow_stale: false,
        })
    };
    let Ok(Asked::Orders { size: 20, after: None, .. }) = ask(0, "") else { panic!() };
    assert_eq!(ask(101, "").unwrap_err().reason, Reason::Bounds);
    assert_eq!(ask(1, "x").unwrap_err().reason, Reason::OpIdMalformed);

    let line = OrderLine {
        product: Product::new(b"x").unwrap(),
        quantity: 2,
        entries: [op_id(9, 1)].into_iter().collect(),
    };
    let goods = Goods::new(vec![line], Some(Customer::new(b"ada").unwrap())).unwrap();
    let owner = Member::from_bytes([1; 16]);
    let order =
        |at, standing, held| ShownOrder { id: op_id(2, at), standing, held, goods: goods.clone() };
    let orders = vec![
        order(1, Standing::Open, Some(HeldOrder { owner, until_ms: 7 })),
        order(2, Standing::Open, None),
        order(3, Standing::Released, None),
        order(4, Standing::Confirmed, None),
        order(5, Standing::Returned, None),
        order(6, Standing::Conflicted { with: op_id(2, 4) }, None),
    ];
    let page = ShownOrders { orders: orders.clone(), next: Some(op_id(2, 6)) };
    let wire = convert::orders(&page, false);
    let read: Result<Vec<_>, _> = wire.orders.iter().map(convert::order_from).collect();
    assert_eq!(read, Ok(orders));
    assert_eq!(&wire.next[..], op_id(2, 6).as_bytes());
    let strange = v1::CartOrder { outcome: 8, ..wire.orders[0].clone() };
    assert_eq!(convert::order_from(&strange).unwrap_err().reason, Reason::Bounds);
}

/// What a customer has set aside: what is asked for, there and back, and what is refused.
#[test]
fn a_page_of_a_customers_holds_has_bounds() {
    let stock = ObjectKey::new(Kind::Stock, b"shop", b"phone").unwrap();
    let customer = Customer::new(b"ada").unwrap();
    for after in [None, Some((stock, op_id(1, 2)))] {
        let (namespace, customer) = ("shop".into(), customer.clone());
        let asked = Asked::HeldBy { namespace, customer, after, size: 7 };
        assert_eq!(Asked::from_body(Some(asked.to_body().unwrap())), Ok(asked));
    }
    let refused = |change: &dyn Fn(&mut v1::ListHoldsOfCustomer)| {
        let (namespace, customer) = ("shop".into(), "ada".into());
        let mut ask = v1::ListHoldsOfCustomer { namespace, customer, ..Default::default() };
        change(&mut ask);
        Asked::try_from(ask).map_err(|refused| refused.reason)
    };
    assert!(matches!(refused(&|_| ()), Ok(Asked::HeldBy { size: 100, after: None, .. })));
    assert_eq!(refused(&|ask| ask.namespace.clear()).unwrap_err(), Reason::Bounds);
    assert_eq!(refused(&|ask| ask.customer.clear()).unwrap_err(), Reason::Bounds);
    assert_eq!(refused(&|ask| ask.page_size = 1_001).unwrap_err(), Reason::Bounds);
    assert_eq!(
        refused(&|ask| ask.after_stock = "phone".into()).unwrap_err(),
        Reason::OpIdMalformed
    );
    let id = op_id(1, 2).as_bytes().to_vec();
    assert_eq!(refused(&|ask| ask.after = id.clone().into()).unwrap_err(), Reason::Bounds);
}
