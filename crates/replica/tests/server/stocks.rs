//! Stocks over the wire: pages of holds, and many calls in one request.

use crate::served::{
    Stream, channel, command, failure, ids, in_memory, one, op_id, reason, serve, token_of,
    vector_of, with_token,
};
use bytes::Bytes;
use orset::{Dot, OpIdSession, Origin};
use pannier_proto::errors::Reason;
use pannier_proto::v1::answer::Body as Said;
use pannier_proto::v1::command::Body;
use pannier_proto::v1::stock_call::Body as Ask;
use pannier_proto::v1::stock_result::Body as Came;
use pannier_proto::v1::stocks_client::StocksClient;
use pannier_proto::v1::{self, StockOutcome};
use pannier_proto::{Token, fingerprint};
use pannier_replica::server::Server;
use tonic::transport::Channel;

async fn stocks(server: &Server) -> StocksClient<Channel> {
    StocksClient::new(channel(server.public_address()).await)
}

fn restock(server: &Server, ids: &mut OpIdSession, units: u64) -> v1::RestockStock {
    let at = Bytes::copy_from_slice(server.replica().member().as_bytes());
    let (namespace, stock) = ("shop".into(), "phone".into());
    v1::RestockStock { op_id: op_id(ids), namespace, stock, units, at }
}

fn hold(ids: &mut OpIdSession, customer: &'static str) -> v1::HoldStock {
    let (namespace, stock) = ("shop".into(), "phone".into());
    let (quantity, customer, ttl_ms) = (2, customer.into(), 60_000);
    v1::HoldStock { op_id: op_id(ids), namespace, stock, quantity, customer, ttl_ms }
}

fn commit(op_id: Bytes, quantity: u32) -> v1::CommitStock {
    let (namespace, stock, customer) = ("shop".into(), "phone".into(), Bytes::new());
    v1::CommitStock { op_id, namespace, stock, quantity, customer }
}

fn release(op_id: Bytes) -> v1::ReleaseStock {
    v1::ReleaseStock { op_id, namespace: "shop".into(), stock: "phone".into() }
}

fn holds(page_size: u32) -> v1::ListStockHolds {
    let (namespace, stock) = ("shop".into(), "phone".into());
    v1::ListStockHolds { namespace, stock, page_size, ..Default::default() }
}

fn sheet() -> v1::GetStock {
    v1::GetStock { namespace: "shop".into(), stock: "phone".into(), allow_stale: false }
}

fn bulk(calls: Vec<Ask>) -> v1::BulkStocks {
    let call = |body| v1::StockCall { body: Some(body) };
    v1::BulkStocks { calls: calls.into_iter().map(call).collect() }
}

/// The outcome of each call, or the reason why it was refused.
fn came(answer: v1::BulkOfStocks) -> Vec<Result<StockOutcome, String>> {
    let came = |result: v1::StockResult| match result.body.unwrap() {
        Came::StockAnswer(answer) => Ok(answer.outcome()),
        Came::Failure(failure) => Err(failure.reason),
    };
    answer.results.into_iter().map(came).collect()
}

#[tokio::test]
async fn holds_are_read_page_by_page() {
    let (server, mut ids) = (one(), ids());
    let mut stocks = stocks(&server).await;
    stocks.restock(restock(&server, &mut ids, 20)).await.unwrap();
    let mut token = Bytes::new();
    let mut held = Vec::new();
    for customer in ["ada", "bob", "ada"] {
        let hold = hold(&mut ids, customer);
        held.push(hold.op_id.clone());
        token = token_of(&stocks.hold(hold).await.unwrap());
    }
    let page = stocks.list_holds(with_token(holds(2), &token)).await.unwrap();
    assert!(vector_of(&token_of(&page)).covers(&vector_of(&token)));
    let page = page.into_inner();
    assert_eq!((page.holds.len(), page.stale), (2, false));
    assert_eq!(page.next, held[1]);
    let first = &page.holds[0];
    assert_eq!((&first.op_id, first.quantity, &first.customer[..]), (&held[0], 2, &b"ada"[..]));
    assert_eq!(&first.owner[..], server.replica().member().as_bytes());
    assert!(first.until_ms > 1_700_000_000_000);
    // The next one, on a stream.
    let mut stream = Stream::open(&server).await;
    let next = v1::ListStockHolds { after: page.next, ..holds(2) };
    stream.send(vec![command(1, &token, Body::ListStockHolds(next))]).await;
    let Some(Said::StockHolds(page)) = stream.answer().await.body else { panic!() };
    assert_eq!((page.holds.len(), &page.holds[0].op_id, page.next.len()), (1, &held[2], 0));
    // What one customer has.
    let adas = v1::ListStockHolds { customer: "ada".into(), ..holds(0) };
    let adas = stocks.list_holds(adas).await.unwrap().into_inner();
    assert_eq!((adas.holds.len(), adas.next.len()), (2, 0));
    // And what it has of all stocks.
    let all = |after_stock: Bytes, after: Bytes| {
        let (namespace, customer) = ("shop".into(), "ada".into());
        v1::ListHoldsOfCustomer { namespace, customer, after_stock, after, page_size: 1 }
    };
    let ask = with_token(all(Bytes::new(), Bytes::new()), &token);
    let first = stocks.list_customer_holds(ask).await.unwrap();
    assert!(vector_of(&token_of(&first)).covers(&vector_of(&token)));
    let first = first.into_inner();
    assert_eq!((&first.next_stock[..], &first.next), (&b"phone"[..], &held[0]));
    stream
        .send(vec![command(2, &token, Body::ListCustomerHolds(all(first.next_stock, first.next)))])
        .await;
    let Some(Said::CustomerHolds(second)) = stream.answer().await.body else { panic!() };
    let hold = second.holds[0].hold.clone().unwrap();
    assert_eq!((&second.holds[0].stock[..], &hold.op_id), (&b"phone"[..], &held[2]));
    assert!(second.next_stock.is_empty() && second.next.is_empty());
    let nobody = v1::ListHoldsOfCustomer { namespace: "shop".into(), ..Default::default() };
    assert_eq!(reason(&stocks.list_customer_holds(nobody).await.unwrap_err()), Reason::Bounds);
    stocks.release(release(held[0].clone())).await.unwrap();
    let left = stocks.list_holds(holds(0)).await.unwrap().into_inner();
    assert_eq!(left.holds.iter().map(|it| &it.op_id).collect::<Vec<_>>(), [&held[1], &held[2]]);
    server.drain().await.unwrap();
}

#[tokio::test]
async fn a_page_of_holds_that_cannot_be_is_refused() {
    let server = one();
    let mut stocks = stocks(&server).await;
    let far = Dot::new(Origin::from_bytes([7; 16]), 1 << 40);
    let (cluster, vector) = (fingerprint("test"), [far].into_iter().collect());
    let token = Token { cluster, vector, ..Token::default() }.encode();
    let refused = stocks.list_holds(with_token(holds(1), &token)).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::Behind);
    let stale = v1::ListStockHolds { allow_stale: true, ..holds(1) };
    let stale = stocks.list_holds(with_token(stale, &token)).await.unwrap().into_inner();
    assert!(stale.stale && stale.holds.is_empty());
    let bad = [
        (holds(1_001), Reason::Bounds),
        (v1::ListStockHolds { after: "x".into(), ..holds(1) }, Reason::OpIdMalformed),
        (v1::ListStockHolds { customer: vec![1; 256].into(), ..holds(1) }, Reason::Bounds),
    ];
    let mut stream = Stream::open(&server).await;
    for (ask, why) in bad {
        assert_eq!(reason(&stocks.list_holds(ask.clone()).await.unwrap_err()), why);
        stream.send(vec![command(1, b"", Body::ListStockHolds(ask))]).await;
        assert_eq!(failure(stream.answer().await).reason, why.as_str());
    }
}

#[tokio::test]
async fn many_calls_are_each_decided_by_themselves() {
    let (server, mut ids) = (one(), ids());
    let mut stocks = stocks(&server).await;
    let (first, held) = (restock(&server, &mut ids, 5), hold(&mut ids, ""));
    stocks.restock(first).await.unwrap();
    stocks.hold(held.clone()).await.unwrap();
    let restock = restock(&server, &mut ids, 5);
    let elsewhere = v1::RestockStock { at: vec![9; 15].into(), ..restock.clone() };
    let reused = v1::RestockStock { units: 11, ..restock.clone() };
    let (sold, lost) = (commit(op_id(&mut ids), 4), commit(op_id(&mut ids), 40));
    let back = v1::ReturnStock {
        op_id: sold.op_id.clone(),
        namespace: "shop".into(),
        stock: "phone".into(),
    };
    let gone = v1::WriteOffStock {
        op_id: op_id(&mut ids),
        namespace: "shop".into(),
        stock: "phone".into(),
        units: 1,
        at: restock.at.clone(),
    };
    let mut list = bulk(vec![
        Ask::Restock(restock),
        Ask::Restock(elsewhere),
        Ask::Restock(reused),
        Ask::Commit(sold.clone()),
        Ask::Commit(lost),
        Ask::WriteOff(gone),
        Ask::Release(release(held.op_id)),
        Ask::Return(back),
    ]);
    list.calls.insert(3, v1::StockCall::default());
    let wanted = [
        Ok(StockOutcome::Done),
        Err("BOUNDS".to_owned()),
        Err("OP_ID_REUSED".into()),
        Err("COMMAND_UNKNOWN".into()),
        Ok(StockOutcome::Committed),
        Ok(StockOutcome::SoldOut),
        Ok(StockOutcome::Done),
        Ok(StockOutcome::Expired),
        Ok(StockOutcome::Returned),
    ];
    let answer = stocks.bulk(list.clone()).await.unwrap();
    let token = token_of(&answer);
    assert_eq!(came(answer.into_inner()), wanted);
    let shown = stocks.get(with_token(sheet(), &token)).await.unwrap().into_inner();
    assert_eq!((shown.minted, shown.sold, shown.written_off, shown.available), (10, 0, 1, 9));
    // The same list again does nothing twice.
    let again = came(stocks.bulk(with_token(list, &token)).await.unwrap().into_inner());
    assert_eq!(again, wanted);
    let again = stocks.get(sheet()).await.unwrap().into_inner();
    assert_eq!((again.minted, again.sold, again.written_off), (10, 0, 1));
    server.drain().await.unwrap();
}

#[tokio::test]
async fn a_thousand_calls_are_one_request_and_more_are_refused() {
    let (server, mut ids) = (one(), ids());
    let mut stocks = stocks(&server).await;
    let mut calls: Vec<_> =
        (0..1_001).map(|_| Ask::Restock(restock(&server, &mut ids, 1))).collect();
    for refused in [bulk(Vec::new()), bulk(calls.clone())] {
        assert_eq!(reason(&stocks.bulk(refused).await.unwrap_err()), Reason::TooMany);
    }
    assert_eq!(stocks.get(sheet()).await.unwrap().into_inner().minted, 0, "nothing changed");
    calls.pop();
    let came = came(stocks.bulk(bulk(calls)).await.unwrap().into_inner());
    assert_eq!((came.len(), came.iter().all(|it| *it == Ok(StockOutcome::Done))), (1_000, true));
    assert_eq!(stocks.get(sheet()).await.unwrap().into_inner().minted, 1_000);
    server.drain().await.unwrap();
}

/// What a session is refused for meets all calls alike, so it is a status: a gateway tries
/// elsewhere.
#[tokio::test]
async fn what_is_refused_of_the_session_is_refused_whole() {
    let (server, mut ids) = (one(), ids());
    let mut stocks = stocks(&server).await;
    let far = Dot::new(Origin::from_bytes([7; 16]), 1 << 40);
    let (cluster, vector) = (fingerprint("test"), [far].into_iter().collect());
    let token = Token { cluster, vector, ..Token::default() }.encode();
    let calls = vec![
        Ask::Restock(restock(&server, &mut ids, 1)),
        Ask::Restock(v1::RestockStock::default()),
        Ask::Restock(restock(&server, &mut ids, 1)),
    ];
    let refused = stocks.bulk(with_token(bulk(calls.clone()), &token)).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::Behind);
    let refused = stocks.bulk(with_token(bulk(calls), b"nonsense")).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::TokenMalformed);
    assert_eq!(stocks.get(sheet()).await.unwrap().into_inner().minted, 0, "nothing changed");
}

/// A bulk that a peer must have, and no peer can: each call says what it did.
#[tokio::test]
async fn more_peers_than_there_are_is_said_of_each_call() {
    let server = serve(in_memory().open().unwrap(), |_| ());
    let (mut stocks, mut ids) = (stocks(&server).await, ids());
    let mut ask = tonic::Request::new(bulk(vec![Ask::Restock(restock(&server, &mut ids, 1))]));
    ask.metadata_mut().insert(pannier_proto::metadata::PEERS, "1".parse().unwrap());
    let answer = stocks.bulk(ask).await.unwrap().into_inner();
    assert_eq!(came(answer), [Err("TOO_FEW_PEERS".to_owned())]);
}
