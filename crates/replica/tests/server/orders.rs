//! Orders of a cart over the wire: read page by page, and watched.

use crate::served::{
    Stream, add, carts, channel, command, failure, get, ids, one, op_id, reason, soon, token_of,
    vector_of, with_token,
};
use bytes::Bytes;
use orset::OpIdSession;
use pannier_proto::errors::Reason;
use pannier_proto::v1::answer::Body as Said;
use pannier_proto::v1::checkouts_client::CheckoutsClient;
use pannier_proto::v1::command::Body;
use pannier_proto::v1::stocks_client::StocksClient;
use pannier_proto::v1::watch_event::Value;
use pannier_proto::v1::watcher_client::WatcherClient;
use pannier_proto::v1::{self, StockOutcome};
use pannier_replica::server::Server;
use tonic::transport::Channel;

async fn checkouts(server: &Server) -> CheckoutsClient<Channel> {
    CheckoutsClient::new(channel(server.public_address()).await)
}

/// Nine lamps in stock, and two in the cart of ada; what the cart showed.
async fn shop(server: &Server, ids: &mut OpIdSession) -> Bytes {
    let at = Bytes::copy_from_slice(server.replica().member().as_bytes());
    let (namespace, stock) = ("shop".into(), "lamp".into());
    let restock = v1::RestockStock { op_id: op_id(ids), namespace, stock, units: 9, at };
    let mut stocks = StocksClient::new(channel(server.public_address()).await);
    stocks.restock(restock).await.unwrap();
    let mut carts = carts(server).await;
    carts.add(add(ids, "ada", "lamp", 2)).await.unwrap();
    carts.get(get("ada")).await.unwrap().into_inner().seen
}

fn checkout(ids: &mut OpIdSession, seen: &Bytes) -> v1::CheckoutCart {
    v1::CheckoutCart {
        op_id: op_id(ids),
        namespace: "shop".into(),
        cart: "ada".into(),
        lines: vec![v1::OrderLine { product: "lamp".into(), quantity: 2 }],
        seen: seen.clone(),
        customer: "ada".into(),
        ttl_ms: 60_000,
    }
}

fn list(page_size: u32) -> v1::ListCartOrders {
    let (namespace, cart) = ("shop".into(), "ada".into());
    v1::ListCartOrders { namespace, cart, page_size, ..Default::default() }
}

#[tokio::test]
async fn orders_are_read_page_by_page_and_confirmed_by_what_a_page_says() {
    let (server, mut ids) = (one(), ids());
    let seen = shop(&server, &mut ids).await;
    let mut checkouts = checkouts(&server).await;
    let mut token = Bytes::new();
    let mut opened = Vec::new();
    for _ in 0..3 {
        let ask = checkout(&mut ids, &seen);
        opened.push(ask.op_id.clone());
        token = token_of(&checkouts.checkout(ask).await.unwrap());
    }
    let page = checkouts.list_orders(with_token(list(2), &token)).await.unwrap();
    assert!(vector_of(&token_of(&page)).covers(&vector_of(&token)));
    let page = page.into_inner();
    assert_eq!((page.orders.len(), page.stale, &page.next), (2, false, &opened[1]));
    let first = page.orders[0].clone();
    assert_eq!((&first.op_id, first.outcome()), (&opened[0], StockOutcome::Held));
    assert_eq!(&first.owner[..], server.replica().member().as_bytes());
    assert!(first.until_ms > 1_700_000_000_000);
    assert_eq!((&first.lines[0].product[..], first.lines[0].quantity), (&b"lamp"[..], 2));
    assert_eq!(&first.customer[..], b"ada");
    // The next one, on a stream.
    let mut stream = Stream::open(&server).await;
    let next = v1::ListCartOrders { after: page.next, ..list(2) };
    stream.send(vec![command(1, &token, Body::ListCartOrders(next))]).await;
    let Some(Said::CartOrders(page)) = stream.answer().await.body else { panic!() };
    assert_eq!((page.orders.len(), &page.orders[0].op_id, page.next.len()), (1, &opened[2], 0));
    // Whoever has lost what it ordered confirms what the page says.
    let confirm = v1::ConfirmOrder {
        op_id: first.op_id,
        namespace: "shop".into(),
        cart: "ada".into(),
        lines: first.lines,
        seen: first.seen,
        customer: first.customer,
    };
    let bought = checkouts.confirm(confirm).await.unwrap().into_inner();
    assert_eq!(bought.outcome(), StockOutcome::Committed);
    let all = checkouts.list_orders(list(0)).await.unwrap().into_inner().orders;
    let outcomes: Vec<_> = all.iter().map(v1::CartOrder::outcome).collect();
    let fell = StockOutcome::Conflicted;
    assert_eq!(outcomes, [StockOutcome::Committed, fell, fell]);
    assert!(all[1..].iter().all(|order| order.conflicts_with == opened[0]));
    for (ask, why) in [
        (list(101), Reason::Bounds),
        (v1::ListCartOrders { after: "x".into(), ..list(1) }, Reason::OpIdMalformed),
    ] {
        assert_eq!(reason(&checkouts.list_orders(ask.clone()).await.unwrap_err()), why);
        stream.send(vec![command(1, b"", Body::ListCartOrders(ask))]).await;
        assert_eq!(failure(stream.answer().await).reason, why.as_str());
    }
    server.drain().await.unwrap();
}

#[tokio::test]
async fn a_watch_of_orders_shows_them_and_then_each_change() {
    let (server, mut ids) = (one(), ids());
    let seen = shop(&server, &mut ids).await;
    let mut checkouts = checkouts(&server).await;
    let mut watcher = WatcherClient::new(channel(server.public_address()).await);
    let object = |kind: v1::Kind| {
        let (namespace, id) = ("shop".into(), "ada".into());
        Some(v1::ObjectRef { kind: kind.into(), namespace, id })
    };
    let stock =
        v1::WatchRequest { object: object(v1::Kind::Stock), orders: true, ..Default::default() };
    assert_eq!(reason(&watcher.watch(stock).await.unwrap_err()), Reason::WrongKind);
    let ask =
        v1::WatchRequest { object: object(v1::Kind::Cart), orders: true, ..Default::default() };
    let mut events = watcher.watch(ask).await.unwrap().into_inner();
    let mut next = async || {
        let event = soon("event", events.message()).await.unwrap().unwrap();
        let Some(Value::Orders(orders)) = event.value else { panic!("{event:?}") };
        orders.orders
    };
    assert!(next().await.is_empty());
    let ask = checkout(&mut ids, &seen);
    let id = ask.op_id.clone();
    checkouts.checkout(ask).await.unwrap();
    let until = next().await[0].until_ms;
    let (namespace, cart) = (Bytes::from("shop"), Bytes::from("ada"));
    let op_id = id.clone();
    let extend =
        v1::ExtendOrder { op_id, namespace: namespace.clone(), cart: cart.clone(), ttl_ms: 90_000 };
    checkouts.extend(extend).await.unwrap();
    assert!(next().await[0].until_ms > until, "its hold was extended");
    let cancel = v1::CancelOrder { op_id: id, namespace, cart };
    let answer = checkouts.cancel(cancel).await.unwrap().into_inner();
    assert!(answer.dot.is_some(), "it says by what commit");
    assert_eq!(next().await[0].outcome(), StockOutcome::Expired);
    server.drain().await.unwrap();
}
