//! The trace: a hash over every event and effect, and, on demand, the same as a story.
//!
//! The hash says "same seed, same bytes", and is all that a green run keeps. The story costs
//! more than the run itself, so it is told only when a run has failed: the seed is played again
//! with the story on, which also proves that the failure repeats.

use crate::names::Names;
use orset::cart::CartEffect;
use orset::{Dot, Effect as OpEffect, Origin, Request, VersionVector};
use pannier_replica::protocol::delta::Delta;
use pannier_replica::protocol::membership::Talk;
use pannier_replica::protocol::{
    Alarm, Command, Effect, Event, Message, Refusal, Reply, Value, Write,
};
use pannier_replica::store::LogRecord;
use xxhash_rust::xxh3::Xxh3;

/// See the file's head.
pub struct Trace {
    hash: Xxh3,
    scratch: Vec<u8>,
    story: Option<Vec<String>>,
}

impl Trace {
    /// A trace, with or without its story.
    pub fn new(told: bool) -> Self {
        Self { hash: Xxh3::new(), scratch: Vec::new(), story: told.then(Vec::new) }
    }

    /// The hash of everything so far.
    pub fn digest(&self) -> u128 {
        self.hash.digest128()
    }

    /// The lines told, if any were wanted.
    pub fn into_story(self) -> Vec<String> {
        self.story.unwrap_or_default()
    }

    /// Adds a line; `line` is only called when lines are wanted.
    pub fn tell(&mut self, time_us: u64, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{:>12.6} s  {}", time_us as f64 / 1e6, line()));
        }
    }

    /// Adds numbers to the hash.
    pub fn numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.hash.update(&number.to_be_bytes());
        }
    }

    /// Adds an event.
    pub fn event(&mut self, node: usize, time_us: u64, event: &Event, names: &Names) {
        self.numbers(&[1, node as u64, time_us]);
        self.scratch.clear();
        let out = &mut self.scratch;
        match event {
            Event::Command(ticket, Command::Write(write)) => {
                out.push(1);
                out.extend_from_slice(&ticket.to_be_bytes());
                out.extend_from_slice(write.op.as_bytes());
                out.extend_from_slice(&write.request.content_hash(&write.object).to_be_bytes());
                if let Some(seen) = &write.seen {
                    out.extend_from_slice(&seen.to_bytes());
                }
                write.after.encode(out);
                out.extend_from_slice(&write.deadline_us.to_be_bytes());
            }
            Event::Command(ticket, Command::Read(read)) => {
                out.push(2);
                out.extend_from_slice(&ticket.to_be_bytes());
                out.extend_from_slice(read.object.as_bytes());
                read.after.encode(out);
            }
            Event::Command(ticket, Command::List(list)) => {
                out.push(9);
                out.extend_from_slice(&ticket.to_be_bytes());
                out.extend_from_slice(&list.namespace);
                list.after.encode(out);
            }
            Event::Commit => out.push(3),
            Event::Synced(round) => {
                out.push(4);
                out.extend_from_slice(&round.to_be_bytes());
            }
            Event::Message { from, message } => {
                out.push(5);
                out.extend_from_slice(from.as_bytes());
                put_message(message, out);
            }
            Event::Tick { chance } => {
                out.push(6);
                out.extend_from_slice(&chance.to_be_bytes());
            }
            Event::Closing => out.push(9),
            Event::Skipped => out.push(11),
            Event::Verify(_) | Event::Surveyed(..) => {
                out.push(10);
                out.extend_from_slice(format!("{event:?}").as_bytes());
            }
            Event::Change(wish) => {
                out.push(12);
                out.extend_from_slice(wish.to_string().as_bytes());
            }
            Event::Checkpointed { durable } => out.extend_from_slice(&[7, (*durable).into()]),
            Event::Watch(object) | Event::Unwatch(object) => {
                out.push(8);
                out.extend_from_slice(object.as_bytes());
            }
        }
        self.hash.update(&self.scratch);
        if self.story.is_some()
            && let Some(line) = tell_event(event, names)
        {
            self.tell(time_us, || format!("r{node} <- {line}"));
        }
    }

    /// Adds an effect.
    pub fn effect(&mut self, node: usize, time_us: u64, effect: &Effect, names: &Names) {
        self.numbers(&[2, node as u64, time_us]);
        self.scratch.clear();
        let out = &mut self.scratch;
        match effect {
            Effect::Persist { round, records } => {
                out.push(1);
                out.extend_from_slice(&round.to_be_bytes());
                records.iter().for_each(|record| out.extend_from_slice(&record.bytes));
            }
            Effect::Reply(ticket, reply) => {
                out.push(2);
                out.extend_from_slice(&ticket.to_be_bytes());
                put_reply(reply, out);
            }
            Effect::Send(to, message) => {
                out.push(3);
                out.extend_from_slice(to.as_bytes());
                put_message(message, out);
            }
            Effect::Checkpoint(batch) => {
                out.push(4);
                for (key, value) in batch.iter() {
                    out.extend_from_slice(key);
                    out.extend_from_slice(value.as_deref().unwrap_or(b"deleted"));
                }
            }
            Effect::Prune(list) => {
                out.push(7);
                for (origin, upto) in list {
                    out.extend_from_slice(origin.as_bytes());
                    out.extend_from_slice(&upto.to_be_bytes());
                }
            }
            Effect::Skip(upto) => {
                out.push(8);
                for (origin, seq) in upto {
                    out.extend_from_slice(origin.as_bytes());
                    out.extend_from_slice(&seq.to_be_bytes());
                }
            }
            Effect::Changed(object) => {
                out.push(5);
                out.extend_from_slice(object.as_bytes());
            }
            Effect::Membership(record) => {
                out.push(7);
                record.encode(out);
            }
            Effect::CatchingUp(is) => out.extend_from_slice(&[8, u8::from(*is)]),
            Effect::Place(place, record) => {
                out.push(9);
                out.push(*place as u8);
                record.encode(out);
            }
            Effect::Alarm(alarm) => {
                out.push(6);
                out.extend_from_slice(format!("{alarm:?}").as_bytes());
            }
            Effect::Survey(number) => {
                out.push(8);
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        self.hash.update(&self.scratch);
        if self.story.is_some()
            && let Some(line) = tell_effect(effect, names)
        {
            self.tell(time_us, || format!("r{node} -> {line}"));
        }
    }
}

fn put_message(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::Status { origin, number, vector, total, reply } => {
            out.push(1);
            out.extend_from_slice(origin.as_bytes());
            out.extend_from_slice(&number.to_be_bytes());
            vector.encode(out);
            out.extend_from_slice(&total.to_be_bytes());
            out.push(u8::from(*reply));
        }
        Message::Pull { ranges } => {
            out.push(2);
            for range in ranges {
                out.extend_from_slice(range.origin.as_bytes());
                out.extend_from_slice(&range.from.to_be_bytes());
                out.extend_from_slice(&range.to.to_be_bytes());
            }
        }
        Message::Pruned { origin, first } => {
            out.push(4);
            out.extend_from_slice(origin.as_bytes());
            out.extend_from_slice(&first.to_be_bytes());
        }
        Message::CatchUp { start } => {
            out.push(5);
            out.extend_from_slice(start.as_bytes());
        }
        Message::Standing { start, vector } => {
            out.push(6);
            out.extend_from_slice(start.as_bytes());
            vector.encode(out);
        }
        Message::Deltas { deltas } => {
            out.push(3);
            deltas.iter().for_each(|delta| out.extend_from_slice(delta));
        }
        Message::Snapshot(parcel) => {
            out.push(6);
            out.extend_from_slice(&parcel.encode());
        }
        Message::Compare(said) => {
            out.push(5);
            out.extend_from_slice(format!("{said:?}").as_bytes());
        }
        Message::Membership(talk) => {
            out.push(4);
            match talk {
                Talk::Propose(proposal) => {
                    out.push(1);
                    proposal.encode(out);
                }
                Talk::Accept { change, start, vector } => {
                    out.push(2);
                    out.extend_from_slice(&change.to_be_bytes());
                    out.extend_from_slice(start.as_bytes());
                    vector.encode(out);
                }
                Talk::Refuse { change, why } => {
                    out.push(3);
                    out.extend_from_slice(&change.to_be_bytes());
                    out.push(*why as u8);
                }
                Talk::Abandon { change } => {
                    out.push(4);
                    out.extend_from_slice(&change.to_be_bytes());
                }
                Talk::Record(record) => {
                    out.push(5);
                    record.encode(out);
                }
            }
        }
    }
}

fn put_vector(vector: &VersionVector, out: &mut Vec<u8>) {
    vector.encode(out);
}

fn put_reply(reply: &Result<Reply, Refusal>, out: &mut Vec<u8>) {
    match reply {
        Ok(Reply::Written(written)) => {
            out.push(1);
            if let Some(dot) = written.dot {
                out.extend_from_slice(dot.origin.as_bytes());
                out.extend_from_slice(&dot.seq.to_be_bytes());
            }
            put_vector(&written.vector, out);
            written.ended.encode(out);
            out.extend_from_slice(&written.taken.to_be_bytes());
        }
        Ok(Reply::Unreplicated(it)) => {
            out.push(5);
            out.extend_from_slice(&it.on.to_be_bytes());
            put_vector(&it.written.vector, out);
        }
        Ok(Reply::Shown(shown)) => {
            out.push(2);
            put_vector(&shown.vector, out);
            match &shown.value {
                Value::Cart(lines, seen) => {
                    for line in lines {
                        line.product.encode(out);
                        out.extend_from_slice(&line.quantity.to_be_bytes());
                    }
                    out.extend_from_slice(&seen.to_bytes());
                }
                Value::Set(elements, seen) => {
                    elements.iter().for_each(|element| element.encode(out));
                    out.extend_from_slice(&seen.to_bytes());
                }
                Value::Counter(value) => out.extend_from_slice(&value.to_be_bytes()),
            }
        }
        Ok(Reply::Listed(listed)) => {
            out.push(4);
            put_vector(&listed.vector, out);
            listed.ids.iter().for_each(|id| out.extend_from_slice(id));
        }
        Err(refusal) => {
            out.push(3);
            out.extend_from_slice(refusal.to_string().as_bytes());
        }
    }
}

fn tell_event(event: &Event, names: &Names) -> Option<String> {
    Some(match event {
        Event::Command(ticket, Command::Write(write)) => {
            format!("@{ticket} {} after {}", tell_write(write, names), names.vector(&write.after))
        }
        Event::Command(ticket, Command::Read(read)) => {
            let (object, after) = (names.object(&read.object), names.vector(&read.after));
            format!("@{ticket} read {object} after {after}")
        }
        Event::Command(ticket, Command::List(list)) => {
            let (namespace, after) = (list.namespace.escape_ascii(), names.vector(&list.after));
            format!("@{ticket} list {:?}s of {namespace} after {after}", list.kind)
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
pub fn tell_write(write: &Write, names: &Names) -> String {
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
    }
}

/// A delta in words.
pub fn tell_delta(bytes: &[u8], names: &Names) -> String {
    let Ok(delta) = Delta::decode(bytes) else { return "an unreadable delta".into() };
    let mut out = names.dot(delta.dot);
    for op in &delta.ops {
        let what = match &op.effect {
            OpEffect::Count => String::new(),
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
    }
}

fn tell_effect(effect: &Effect, names: &Names) -> Option<String> {
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
