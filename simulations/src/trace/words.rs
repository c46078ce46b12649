//! Events and effects in words: the lines of a story.

use crate::names::Names;
use orset::cart::CartEffect;
use orset::{Dot, Effect as OpEffect, Origin, Request};
use pannier_replica::protocol::delta::Delta;
use pannier_replica::protocol::{Alarm, Command, Effect, Event, Message, Reply, Value, Write};
use pannier_replica::store::LogRecord;

/// An event in words, if it is worth any.
pub fn tell_event(event: &Event, names: &Names) -> Option<String> {
    Some(match event {
        Event::Command(ticket, Command::Write(write)) => {
            format!("@{ticket} {} after {}", tell_write(write, names), names.vector(&write.after))
        }
        Event::Command(ticket, Command::Stock(call)) => {
            let (op, object) = (names.op(call.op), names.object(&call.object));
            format!("@{ticket} {op} {:?} of {object}", call.ask)
        }
        Event::Command(ticket, Command::Read(read)) => {
            let (object, after) = (names.object(&read.object), names.vector(&read.after));
            format!("@{ticket} read {object} after {after}")
        }
        Event::Command(ticket, Command::List(list)) => {
            let (namespace, after) = (list.namespace.escape_ascii(), names.vector(&list.after));
            format!("@{ticket} list {:?}s of {namespace} after {after}", list.kind)
        }
        Event::Command(ticket, Command::HeldBy(ask)) => {
            let (customer, after) = (ask.customer.as_bytes(), names.vector(&ask.after));
            format!("@{ticket} what {} holds, after {after}", customer.escape_ascii())
        }
        Event::Synced(round) => format!("round {round} synced"),
        Event::Message { message: Message::Deltas { .. }, .. } | Event::Checkpointed { .. } => {
            match event {
                Event::Message { message, .. } => {
                    let dots: Vec<String> =
                        message.dots().into_iter().map(|dot| names.dot(dot)).collect();
                    format!("deltas {}", dots.join(" "))
                }
                _ => "checkpointed".into(),
            }
        }
        _ => return None,
    })
}

/// A write in words.
fn tell_write(write: &Write, names: &Names) -> String {
    let seen = write.seen.as_ref().map(|seen| names.ops(seen.all().iter()));
    let seen = seen.map(|seen| format!(" seen {seen}")).unwrap_or_default();
    let (op, object) = (names.op(write.op), names.object(&write.object));
    let on = match write.durability.peers() {
        0 => String::new(),
        peers => format!(" on {peers} peers"),
    };
    format!("{op} {} {object}{seen}{on}", tell_request(&write.request, names))
}

fn tell_request(request: &Request, names: &Names) -> String {
    match request {
        Request::Add(content) => {
            format!("add {} {} to", content.quantity, names.product(&content.product))
        }
        Request::Remove(product) => format!("remove {} from", names.product(product)),
        Request::Set { product, quantity, .. } => {
            format!("set {} to {quantity} in", names.product(product))
        }
        Request::Decrement(product, by) => format!("take {by} {} from", names.product(product)),
        Request::Clear => "clear".into(),
        Request::Merge { guest, .. } => format!("merge {} into", names.object(guest)),
        Request::Count(amount) => format!("count {amount:+} on"),
        Request::Stock => "of".into(),
        Request::Order => "order of".into(),
    }
}

/// A delta in words.
fn tell_delta(bytes: &[u8], names: &Names) -> String {
    let Ok(delta) = Delta::decode(bytes) else { return "an unreadable delta".into() };
    let mut out = names.dot(delta.dot);
    for op in &delta.ops {
        let what = match &op.effect {
            OpEffect::Count => String::new(),
            OpEffect::Stock(steps) => format!(": {steps:?}"),
            OpEffect::Order(step) => format!(": {step:?}"),
            OpEffect::Cart(CartEffect::Add(_)) => String::new(),
            OpEffect::Cart(CartEffect::End(ids)) => format!(" ends {}", names.ops(ids.iter())),
            OpEffect::Cart(CartEffect::Assign(ids, _)) => {
                format!(" ends {}", names.ops(ids.iter()))
            }
            OpEffect::Cart(CartEffect::Take(takes)) => {
                format!(" takes of {}", names.ops(takes.iter().map(|(op, _)| *op)))
            }
            OpEffect::Cart(CartEffect::Absorb(moved)) => {
                format!(" brings {}", names.ops(moved.iter().map(|moved| moved.op)))
            }
        };
        let (id, object) = (names.op(op.id), names.object(&op.object));
        out += &format!(" ({id} {} {object}{what})", tell_request(&op.request, names));
    }
    out
}

/// A value in words.
pub fn tell_value(value: &Value, names: &Names) -> String {
    match value {
        Value::Cart(lines, seen) => {
            let lines: Vec<String> = lines
                .iter()
                .map(|line| format!("{} {}", line.quantity, names.product(&line.product)))
                .collect();
            format!("[{}] from {}", lines.join(", "), names.ops(seen.all().iter()))
        }
        Value::Set(elements, seen) => {
            let elements: Vec<String> = elements.iter().map(|e| names.product(e)).collect();
            format!("[{}] from {}", elements.join(", "), names.ops(seen.all().iter()))
        }
        Value::Counter(value) => value.to_string(),
        Value::Stock(sheet) => format!("{sheet:?}"),
        Value::Holds(holds) => format!("{holds:?}"),
        Value::HeldBy(page) => format!("{page:?}"),
        Value::Orders(orders) => format!("{orders:?}"),
    }
}

/// An effect in words, if it is worth any.
pub fn tell_effect(effect: &Effect, names: &Names) -> Option<String> {
    Some(match effect {
        Effect::Persist { round, records } => {
            let of_the_book = |record: &&LogRecord| record.origin == Origin::BOOK;
            let deltas = records.iter().filter(|record| !of_the_book(record));
            let deltas: Vec<String> =
                deltas.map(|record| tell_delta(&record.bytes, names)).collect();
            let page =
                if records.iter().any(|record| of_the_book(&record)) { " a page" } else { "" };
            format!("persist round {round}:{page} {}", deltas.join("; "))
        }
        Effect::Reply(ticket, Ok(Reply::Written(written))) => {
            let dot = written.dot.map_or("known already".into(), |dot| names.dot(dot));
            format!("@{ticket} written {dot}, vector {}", names.vector(&written.vector))
        }
        Effect::Reply(ticket, Ok(Reply::Unreplicated(it))) => {
            let (on, asked, vector) = (it.on, it.asked, names.vector(&it.written.vector));
            format!("@{ticket} written here and on {on} of {asked} peers, vector {vector}")
        }
        Effect::Reply(ticket, Ok(Reply::Stock(reply))) => {
            format!("@{ticket} {:?}, vector {}", reply.outcome, names.vector(&reply.vector))
        }
        Effect::Reply(ticket, Ok(Reply::StockUnreplicated { reply, on, asked })) => {
            format!("@{ticket} {:?}, here and on {on} of {asked} peers", reply.outcome)
        }
        Effect::Reply(ticket, Ok(Reply::Shown(shown))) => {
            let (value, vector) = (tell_value(&shown.value, names), names.vector(&shown.vector));
            format!("@{ticket} shows {value}, vector {vector}")
        }
        Effect::Reply(ticket, Ok(Reply::Listed(listed))) => {
            format!("@{ticket} lists {}, vector {}", listed.ids.len(), names.vector(&listed.vector))
        }
        Effect::Reply(ticket, Err(refusal)) => format!("@{ticket} refused: {refusal}"),
        Effect::Send(_, Message::Deltas { deltas }) => {
            let deltas: Vec<String> = deltas.iter().map(|d| tell_delta(d, names)).collect();
            format!("send {}", deltas.join("; "))
        }
        Effect::Send(..) | Effect::Changed(_) => return None,
        Effect::CatchingUp(true) => "takes nothing in before it has caught up".into(),
        Effect::CatchingUp(false) => "has caught up with a peer".into(),
        Effect::Membership(record) => {
            let closed = record.finals.iter().map(|(origin, last)| (*origin, last.seq));
            let closed = closed.map(|(origin, seq)| names.dot(Dot::new(origin, seq)));
            let closed = closed.collect::<Vec<_>>().join(" ");
            format!("membership {} in force, closed: {closed}", record.number)
        }
        Effect::Checkpoint(batch) => format!("checkpoint of {} rows", batch.len()),
        Effect::Prune(list) => {
            let dots = list.iter().map(|(origin, upto)| names.dot(Dot::new(*origin, *upto)));
            format!("drops the log up to {}", dots.collect::<Vec<_>>().join(" "))
        }
        Effect::Skip(upto) => {
            let dots = upto.iter().map(|(origin, seq)| names.dot(Dot::new(*origin, *seq)));
            format!("snapshot joined, logs go on behind {}", dots.collect::<Vec<_>>().join(" "))
        }
        Effect::Place(place, record) => {
            format!("this replica {place} (membership {})", record.number)
        }
        Effect::Alarm(Alarm::Diverged { totals, .. }) => format!("ALARM diverged {totals:x?}"),
        Effect::Alarm(alarm) => format!("ALARM {alarm:?}"),
        Effect::Survey(number) => format!("reads everything, for verification {number}"),
    })
}
