//! Samples of what is said of orders.

use super::{Sample, b, command, op};
use pannier_proto::v1::{
    CancelOrder, CheckoutCart, Command, ConfirmOrder, ExtendOrder, GetOrder, OrderLine,
    ReturnOrder, command::Body,
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
    }
}
