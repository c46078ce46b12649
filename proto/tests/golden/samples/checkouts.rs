//! Samples of what is said of orders.

use super::{Sample, answer, b, command, id, object, op};
use pannier_proto::v1::{
    Answer, CancelOrder, CartOrder, CartOrders, CheckoutCart, Command, ConfirmOrder, ExtendOrder,
    GetOrder, ListCartOrders, OrderLine, ReturnOrder, StockOutcome, WatchEvent, WatchRequest,
    answer::Body as Said, command::Body, watch_event::Value,
};
use prost::Message;

fn line() -> OrderLine {
    OrderLine { product: b("phone"), quantity: 2 }
}

fn checkout() -> CheckoutCart {
    CheckoutCart {
        op_id: op(),
        namespace: b("shop"),
        cart: b("ada"),
        lines: vec![line()],
        seen: b("seen"),
        customer: b("ada"),
        ttl_ms: 60_000,
    }
}

fn confirm() -> ConfirmOrder {
    ConfirmOrder {
        op_id: op(),
        namespace: b("shop"),
        cart: b("ada"),
        lines: vec![line()],
        seen: b("seen"),
        customer: b("ada"),
    }
}

fn return_order() -> ReturnOrder {
    ReturnOrder {
        op_id: op(),
        namespace: b("shop"),
        cart: b("ada"),
        lines: vec![line()],
        seen: b("seen"),
        customer: b("ada"),
    }
}

fn cancel() -> CancelOrder {
    CancelOrder { op_id: op(), namespace: b("shop"), cart: b("ada") }
}

fn extend() -> ExtendOrder {
    ExtendOrder { op_id: op(), namespace: b("shop"), cart: b("ada"), ttl_ms: 60_000 }
}

fn get() -> GetOrder {
    GetOrder { op_id: op(), namespace: b("shop"), cart: b("ada") }
}

fn list() -> ListCartOrders {
    ListCartOrders {
        namespace: b("shop"),
        cart: b("ada"),
        after: op(),
        page_size: 20,
        allow_stale: true,
    }
}

fn order() -> CartOrder {
    CartOrder {
        op_id: op(),
        outcome: StockOutcome::Held.into(),
        until_ms: 1_700_000_060_000,
        owner: id(1),
        lines: vec![line()],
        seen: b("seen"),
        customer: b("ada"),
        conflicts_with: op(),
    }
}

fn orders() -> CartOrders {
    CartOrders { orders: vec![order()], next: op(), stale: true }
}

fn watch() -> WatchRequest {
    WatchRequest { object: Some(object()), token: b("token"), orders: true }
}

pub fn samples() -> Vec<Sample> {
    table! {
        OrderLine line();
        CheckoutCart checkout();
        ConfirmOrder confirm();
        CancelOrder cancel();
        ReturnOrder return_order();
        GetOrder get();
        Command command(Body::CheckoutCart(checkout()));
        Command command(Body::ConfirmOrder(confirm()));
        Command command(Body::CancelOrder(cancel()));
        Command command(Body::GetOrder(get()));
        Command command(Body::ReturnOrder(return_order()));
        ExtendOrder extend();
        Command command(Body::ExtendOrder(extend()));
        ListCartOrders list();
        Command command(Body::ListCartOrders(list()));
        CartOrder order();
        CartOrders orders();
        Answer answer(Said::CartOrders(orders()));
        WatchRequest watch();
        WatchEvent WatchEvent { token: b("token"), value: Some(Value::Orders(orders())) };
    }
}
