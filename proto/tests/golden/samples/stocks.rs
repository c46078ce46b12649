//! Samples of what is said of stocks: by clients, and between members.

use super::{Sample, answer, b, command, dot, event, id, list_request, op, said};
use pannier_proto::v1::{
    Answer, BulkOfStocks, BulkStocks, Command, CommitStock, CustomerHold, CustomerHolds,
    ExtendStock, Failure, GetStock, HoldStock, ListHoldsOfCustomer, ListStockHolds, PeerMessage,
    ReleaseStock, RestockStock, ReturnStock, SetStockTerms, ShortLine, Stock, StockAccount,
    StockAnswer, StockCall, StockHold, StockHolds, StockOutcome, StockResult, StockServed,
    StockTalk, WatchEvent, WriteOffStock, answer::Body as Said, command::Body, peer_message,
    stock_call, stock_result, watch_event,
};
use prost::Message;

fn restock() -> RestockStock {
    RestockStock { op_id: op(), namespace: b("shop"), stock: b("phone"), units: 500, at: id(1) }
}

fn write_off() -> WriteOffStock {
    WriteOffStock { op_id: op(), namespace: b("shop"), stock: b("phone"), units: 2, at: id(1) }
}

fn hold() -> HoldStock {
    let (quantity, customer, ttl_ms) = (2, b("ada"), 60_000);
    HoldStock { op_id: op(), namespace: b("shop"), stock: b("phone"), quantity, customer, ttl_ms }
}

fn commit() -> CommitStock {
    let (quantity, customer) = (2, b("ada"));
    CommitStock { op_id: op(), namespace: b("shop"), stock: b("phone"), quantity, customer }
}

fn release() -> ReleaseStock {
    ReleaseStock { op_id: op(), namespace: b("shop"), stock: b("phone") }
}

fn extend() -> ExtendStock {
    ExtendStock { op_id: op(), namespace: b("shop"), stock: b("phone"), ttl_ms: 60_000 }
}

fn return_op() -> ReturnStock {
    ReturnStock { op_id: op(), namespace: b("shop"), stock: b("phone") }
}

fn terms() -> SetStockTerms {
    let (op_id, namespace, stock) = (op(), b("shop"), b("phone"));
    SetStockTerms { op_id, namespace, stock, limit: 2, peers: 1, tentative: false }
}

fn tentative_terms() -> SetStockTerms {
    SetStockTerms { tentative: true, ..terms() }
}

fn get() -> GetStock {
    GetStock { namespace: b("shop"), stock: b("phone"), allow_stale: true }
}

fn call(body: stock_call::Body) -> StockCall {
    StockCall { body: Some(body) }
}

fn result(body: stock_result::Body) -> StockResult {
    StockResult { body: Some(body) }
}

fn list_holds() -> ListStockHolds {
    ListStockHolds {
        namespace: b("shop"),
        stock: b("phone"),
        customer: b("ada"),
        after: op(),
        page_size: 1_000,
        allow_stale: true,
    }
}

fn held() -> StockHold {
    let (owner, until_ms) = (id(1), 1_700_000_000_000);
    StockHold { op_id: op(), quantity: 2, customer: b("ada"), owner, until_ms }
}

fn list_customers() -> ListHoldsOfCustomer {
    ListHoldsOfCustomer {
        namespace: b("shop"),
        customer: b("ada"),
        after_stock: b("phone"),
        after: op(),
        page_size: 50,
    }
}

fn customers() -> CustomerHolds {
    let holds = vec![CustomerHold { stock: b("phone"), hold: Some(held()) }];
    CustomerHolds { holds, next_stock: b("phone"), next: op() }
}

fn holds() -> StockHolds {
    StockHolds { holds: vec![held()], next: op(), stale: true }
}

fn stock_answer() -> StockAnswer {
    StockAnswer {
        outcome: StockOutcome::SoldOut.into(),
        until_ms: 1_700_000_000_000,
        free: 1,
        held: 2,
        members: vec![id(1), id(2)],
        dot: Some(dot()),
        short: vec![short()],
        conflicts_with: id(3),
        served: StockServed::Borrowed.into(),
    }
}

fn short() -> ShortLine {
    ShortLine { product: b("phone"), free: 1, held: 2 }
}

fn account() -> StockAccount {
    StockAccount { member: id(1), available: 7, minted: 10 }
}

fn stock() -> Stock {
    Stock {
        minted: 10,
        available: 4,
        held: 3,
        sold: 2,
        written_off: 1,
        limit: 2,
        peers: 1,
        accounts: vec![account()],
        stale: true,
        tentative: false,
        frozen: 0,
    }
}

fn frozen_stock() -> Stock {
    Stock { frozen: 3, ..stock() }
}

fn tentative_stock() -> Stock {
    Stock { tentative: true, ..stock() }
}

fn not_replicated() -> Failure {
    Failure {
        reason: "NOT_REPLICATED".into(),
        stock_answer: Some(stock_answer()),
        ..Failure::default()
    }
}

fn talk() -> StockTalk {
    StockTalk { talk: b("talk") }
}

pub fn samples() -> Vec<Sample> {
    table! {
        RestockStock restock();
        WriteOffStock write_off();
        HoldStock hold();
        CommitStock commit();
        ReleaseStock release();
        ExtendStock extend();
        ReturnStock return_op();
        SetStockTerms terms();
        GetStock get();
        StockAnswer stock_answer();
        ShortLine short();
        StockAccount account();
        Stock stock();
        Command command(Body::RestockStock(restock()));
        Command command(Body::WriteOffStock(write_off()));
        Command command(Body::HoldStock(hold()));
        Command command(Body::CommitStock(commit()));
        Command command(Body::ReleaseStock(release()));
        Command command(Body::ExtendStock(extend()));
        Command command(Body::ReturnStock(return_op()));
        Command command(Body::SetStockTerms(terms()));
        Command command(Body::GetStock(get()));
        Command command(Body::ListStocks(list_request()));
        Answer answer(Said::StockAnswer(stock_answer()));
        Answer answer(Said::Stock(stock()));
        Failure not_replicated();
        WatchEvent event(watch_event::Value::Stock(stock()));
        StockTalk talk();
        PeerMessage said(peer_message::Body::Stock(talk()));
        ListStockHolds list_holds();
        StockHold held();
        StockHolds holds();
        Command command(Body::ListStockHolds(list_holds()));
        Answer answer(Said::StockHolds(holds()));
        ListHoldsOfCustomer list_customers();
        CustomerHold CustomerHold { stock: b("phone"), hold: Some(held()) };
        CustomerHolds customers();
        Command command(Body::ListCustomerHolds(list_customers()));
        Answer answer(Said::CustomerHolds(customers()));
        StockCall call(stock_call::Body::Restock(restock()));
        StockCall call(stock_call::Body::WriteOff(write_off()));
        StockCall call(stock_call::Body::Commit(commit()));
        StockCall call(stock_call::Body::Release(release()));
        StockCall call(stock_call::Body::Return(return_op()));
        BulkStocks BulkStocks { calls: vec![call(stock_call::Body::Release(release()))] };
        StockResult result(stock_result::Body::StockAnswer(stock_answer()));
        StockResult result(stock_result::Body::Failure(not_replicated()));
        BulkOfStocks BulkOfStocks {
            results: vec![result(stock_result::Body::StockAnswer(stock_answer()))],
        };
        SetStockTerms tentative_terms();
        Stock tentative_stock();
        Stock frozen_stock();
    }
}
