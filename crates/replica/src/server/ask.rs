//! From what is asked to a command, and from its reply to an answer.

use super::status;
use crate::protocol::stock::Call;
use crate::protocol::{
    Command, Durability, HeldBy, HoldsPage, Lane, List, OrdersPage, Page, Read, Reply, Shown,
    Value, Write, Written,
};
use bytes::Bytes;
use orset::{Kind, ObjectKey, Request, VersionVector};
use pannier_proto::convert::{self, Asked};
use pannier_proto::v1;
use pannier_proto::v1::answer::Body;
use std::sync::Arc;

/// What the answer will need to know of the question.
#[derive(Debug)]
pub(super) enum Question {
    /// A write that has nothing to tell of what it ended: an add, or one that says what it saw.
    Write,
    /// One whose answer names what it ended.
    Ending(Box<Request>),
    Read(ObjectKey),
    List(Kind, Bytes),
}

/// How a command is asked.
#[derive(Clone)]
pub(super) struct Terms {
    pub after: Arc<VersionVector>,
    pub deadline_us: u64,
    pub lane: Lane,
    /// Where a change must stand before it is answered.
    pub durability: Durability,
    /// Bytes of rows on a page, at most.
    pub page_bytes: usize,
}

/// The command, and what its answer needs.
pub(super) fn command(asked: Asked, terms: Terms) -> (Command, Question) {
    let Terms { after, deadline_us, lane, durability, page_bytes } = terms;
    match asked {
        Asked::Write { op, object, request, seen } => {
            let tells = match &request {
                Request::Remove(_) | Request::Set { .. } | Request::Decrement(..) => seen.is_none(),
                Request::Clear => seen.is_none(),
                Request::Add(_)
                | Request::Merge { .. }
                | Request::Count(_)
                | Request::Stock
                | Request::Order => false,
            };
            let question = match tells {
                true => Question::Ending(Box::new(request.clone())),
                false => Question::Write,
            };
            let write = Write { op, object, request, seen, after, deadline_us, lane, durability };
            (Command::Write(write), question)
        }
        Asked::Stock { op, object, ask } => {
            let (peers, by_us) = match durability {
                Durability::Local => (0, u64::MAX),
                Durability::Peers { count, by_us } => (count, by_us),
            };
            let call = Call { op, object, ask, after, deadline_us, lane, peers, by_us };
            (Command::Stock(call), Question::Write)
        }
        Asked::Read { object, page, allow_stale } => {
            let question = Question::Read(object.clone());
            let page = matches!(object.kind(), Kind::Cart | Kind::Set).then(|| Page {
                after: page.product(),
                lines: page.size as usize,
                bytes: page_bytes,
            });
            let read = Read { page, lane, allow_stale, ..Read::new(object, after, deadline_us) };
            (Command::Read(read), question)
        }
        Asked::Holds { object, of, size, allow_stale } => {
            let question = Question::Read(object.clone());
            let holds = Some(HoldsPage { of, holds: size as usize, bytes: page_bytes });
            let read = Read { holds, lane, allow_stale, ..Read::new(object, after, deadline_us) };
            (Command::Read(read), question)
        }
        Asked::Orders { object, after: behind, size, allow_stale } => {
            let question = Question::Read(object.clone());
            let page = OrdersPage { after: behind, orders: size as usize, bytes: page_bytes };
            let orders = Some(page);
            let read = Read { orders, lane, allow_stale, ..Read::new(object, after, deadline_us) };
            (Command::Read(read), question)
        }
        Asked::HeldBy { namespace, customer, after: behind, size } => {
            let question = Question::List(Kind::Stock, Bytes::copy_from_slice(&namespace));
            let ask = HeldBy {
                namespace: (*namespace).into(),
                customer,
                behind,
                holds: size as usize,
                bytes: page_bytes,
                after,
                deadline_us,
                lane,
            };
            (Command::HeldBy(ask), question)
        }
        Asked::List { kind, namespace, page } => {
            let list = List {
                kind,
                namespace: (*namespace).into(),
                after_id: page.after.as_deref().map(Into::into),
                limit: page.size as usize,
                after,
                deadline_us,
                lane,
            };
            (Command::List(list), Question::List(kind, Bytes::copy_from_slice(&namespace)))
        }
    }
}

/// The answer. `own` is this start's origin in bytes: nearly every dot is of it.
pub(super) fn answer(question: &Question, reply: &Reply, own: &Bytes) -> Body {
    match reply {
        Reply::Written(done) => Body::Written(written(question, done, own)),
        Reply::Unreplicated(short) => {
            let done = written(question, &short.written, own);
            Body::Failure(status::unreplicated(short, done).to_wire())
        }
        Reply::Stock(reply) => {
            Body::StockAnswer(convert::stock_answer(&reply.outcome, reply.served, reply.dot))
        }
        Reply::StockUnreplicated { reply, on, asked } => {
            let answer = convert::stock_answer(&reply.outcome, reply.served, reply.dot);
            Body::Failure(status::stock_unreplicated(*on, *asked, answer).to_wire())
        }
        Reply::Shown(shown) => show(question, shown),
        Reply::Listed(listed) => {
            let (kind, namespace) = match question {
                Question::List(kind, namespace) => (*kind, namespace.as_ref()),
                // A list is only answered to a list.
                Question::Write | Question::Ending(_) | Question::Read(_) => (Kind::Cart, &[][..]),
            };
            let ids = listed.ids.iter().map(|id| Bytes::copy_from_slice(id));
            Body::List(convert::listing(kind, namespace, ids, listed.next.as_deref()))
        }
    }
}

fn written(question: &Question, done: &Written, own: &Bytes) -> v1::Written {
    if let Question::Ending(request) = question {
        return convert::written(request, false, done.dot, &done.ended, done.taken);
    }
    let dot = done.dot.map(|dot| match dot.origin.as_bytes().as_slice() == own.as_ref() {
        true => v1::Dot { origin: own.clone(), seq: dot.seq },
        false => convert::dot(dot),
    });
    v1::Written { dot, ended: Bytes::new(), taken: done.taken }
}

fn show(question: &Question, shown: &Shown) -> Body {
    let (next, stale) = (shown.next.as_ref(), shown.stale);
    match (&shown.value, question) {
        (Value::Stock(sheet), _) => Body::Stock(convert::sheet(sheet, stale)),
        (Value::Holds(holds), _) => Body::StockHolds(convert::holds(holds, stale)),
        (Value::HeldBy(page), _) => Body::CustomerHolds(convert::held_by(page)),
        (Value::Orders(orders), _) => Body::CartOrders(convert::orders(orders, stale)),
        (Value::Counter(value), _) => Body::Counter(convert::counter(*value, stale)),
        (Value::Cart(lines, seen), Question::Read(object)) => {
            Body::Cart(convert::cart(object, lines, seen, next, stale))
        }
        (Value::Set(elements, seen), Question::Read(object)) => {
            Body::Set(convert::set(object, elements, seen, next, stale))
        }
        // A value is only answered to a read.
        (Value::Cart(..), _) => Body::Cart(v1::Cart::default()),
        (Value::Set(..), _) => Body::Set(v1::Set::default()),
    }
}

/// About how many bytes an answer takes.
pub(super) fn size_of(body: &Body) -> usize {
    use prost::Message;
    match body {
        Body::Written(written) => 48 + written.ended.len(),
        Body::Counter(_) => 16,
        Body::StockAnswer(answer) => answer.encoded_len(),
        Body::Stock(stock) => stock.encoded_len(),
        Body::StockHolds(holds) => holds.encoded_len(),
        Body::CartOrders(orders) => orders.encoded_len(),
        Body::CustomerHolds(page) => page.encoded_len(),
        Body::Cart(cart) => cart.encoded_len(),
        Body::Set(set) => set.encoded_len(),
        Body::List(list) => list.encoded_len(),
        Body::Failure(failure) => failure.encoded_len(),
    }
}
