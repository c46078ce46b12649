//! The trace: a hash over every event and effect, and, on demand, the same as a story.
//!
//! The hash says "same seed, same bytes", and is all that a green run keeps. The story costs
//! more than the run itself, so it is told only when a run has failed: the seed is played again
//! with the story on, which also proves that the failure repeats.

mod words;

pub use words::tell_value;

use crate::names::Names;
use orset::VersionVector;
use pannier_replica::protocol::membership::Talk;
use pannier_replica::protocol::{Command, Effect, Event, Message, Refusal, Reply, Value};
use words::{tell_effect, tell_event};
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
            Event::Command(ticket, Command::Stock(call)) => {
                out.push(10);
                out.extend_from_slice(&ticket.to_be_bytes());
                out.extend_from_slice(call.op.as_bytes());
                out.extend_from_slice(call.object.as_bytes());
                call.ask.encode(out);
                call.after.encode(out);
                out.extend_from_slice(&call.by_us.to_be_bytes());
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
            Event::Command(ticket, Command::HeldBy(ask)) => {
                out.push(13);
                out.extend_from_slice(&ticket.to_be_bytes());
                out.extend_from_slice(&ask.namespace);
                out.extend_from_slice(ask.customer.as_bytes());
                ask.after.encode(out);
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
        Message::Status { origin, number, vector, total, reply, reads } => {
            out.push(1);
            out.extend_from_slice(&reads.to_be_bytes());
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
        Message::Stock(talk) => {
            out.push(7);
            out.extend_from_slice(&talk.encode());
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
                Talk::Ends { change, vector } => {
                    out.push(6);
                    out.extend_from_slice(&change.to_be_bytes());
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
        Ok(Reply::Stock(reply)) => {
            out.push(6);
            reply.outcome.encode(out);
            put_vector(&reply.vector, out);
        }
        Ok(Reply::StockUnreplicated { reply, on, .. }) => {
            out.push(7);
            out.extend_from_slice(&on.to_be_bytes());
            reply.outcome.encode(out);
            put_vector(&reply.vector, out);
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
                Value::Stock(sheet) => out.extend_from_slice(format!("{sheet:?}").as_bytes()),
                Value::HeldBy(page) => out.extend_from_slice(format!("{page:?}").as_bytes()),
                Value::Orders(orders) => {
                    out.extend_from_slice(format!("{orders:?}").as_bytes());
                }
                Value::Holds(holds) => out.extend_from_slice(format!("{holds:?}").as_bytes()),
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
