//! `cart`, `set` and `counter`: one op on a replica's directory, from the shell.
//!
//! Each call opens the directory as a cluster of one, does one thing and closes it again. What a
//! client of the library may carry, a caller of these may too: an op id, so that a call that was
//! cut off can be repeated; what it was shown; its session. All of it is judged before the
//! directory is opened, so a bad call changes nothing, not even a directory that is not there yet.

mod answer;
mod ask;
mod verbs;

pub use verbs::{CartVerb, CounterVerb, SetVerb};

use crate::config;
use crate::fail::Fail;
use crate::hex;
use crate::out::Form;
use answer::{Done, Show};
use ask::{Ask, Call};
use orset::cart::Seen;
use orset::{Kind, NAMESPACE_MAX, OpId, Product, check_name};
use pannier_replica::protocol::{Refusal, Value, Written};
use pannier_replica::{Error, Pending, Replica, Session};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where, and for whom.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// The replica's data directory; a write makes it if it is not there
    #[arg(long, global = true, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// The namespace
    #[arg(long, global = true, value_name = "NAME", default_value = "shop")]
    namespace: OsString,
    /// A settings file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The session to go on with, as an earlier answer gave it
    #[arg(long, global = true, value_name = "HEX")]
    session: Option<String>,
}

/// Does what was asked of a kind of object.
pub fn run(form: Form, place: &Place, kind: Kind, call: &Call) -> Result<(), Fail> {
    let namespace = place.namespace.as_encoded_bytes();
    check_name("", namespace, NAMESPACE_MAX).map_err(|error| ask::names("--namespace", error))?;
    let settings = config::settings(place.config.as_deref())?;
    let session = match &place.session {
        None => Session::begin()?,
        Some(text) => {
            let bytes = hex::decode(text).map_err(|problem| Fail::of("--session", problem))?;
            Session::resume(&bytes).map_err(|error| Fail::of("--session", error))?
        }
    };
    let dir = place
        .dir
        .as_deref()
        .ok_or_else(|| Fail::of("--dir", "name the data directory of the replica"))?;
    if call.ask.only_looks() && !dir.exists() {
        return Err(Fail::Storage(format!("--dir: there is nothing at {}", dir.display())));
    }
    let replica = open(dir, settings)?;
    let result = Local { form, replica: &replica, session, namespace, kind }.answer(call);
    let closed = replica.close();
    result?;
    Ok(closed?)
}

fn open(dir: &Path, settings: pannier_replica::Settings) -> Result<Replica, Fail> {
    let opened = Replica::builder().directory(dir).settings(settings).open();
    opened.map_err(|error| Fail::open("--dir", error))
}

struct Local<'a> {
    form: Form,
    replica: &'a Replica,
    session: Session,
    namespace: &'a [u8],
    kind: Kind,
}

macro_rules! with {
    ($self:ident, $handle:expr, $call:ident, $op:ident) => {{
        let handle = $handle.map_err(|error| Fail::Usage(error.to_string()))?;
        handle.in_session(&$self.session).with_op_id($op)
    }};
}

impl Local<'_> {
    fn answer(&self, call: &Call) -> Result<(), Fail> {
        match &call.ask {
            Ask::Show => self.show(call, self.read(call)?),
            Ask::Watch(count) => self.watch(call, *count),
            _ => self.write(call),
        }
    }

    fn write(&self, call: &Call) -> Result<(), Fail> {
        let op = call.op.map_or_else(|| self.session.op_id(), Ok)?;
        let written = self.send(call, op)?.wait().map_err(refused)?;
        let seen = meant(call, &written);
        self.form.print(&Done::new(call, op, &written, seen, self.token()))
    }

    fn send(&self, call: &Call, op: OpId) -> Result<Pending<Written>, Fail> {
        let (space, id) = (self.namespace, &call.id);
        Ok(match self.kind {
            Kind::Cart => {
                let mut cart = with!(self, self.replica.cart(space, id), call, op);
                if let Some(seen) = &call.seen {
                    cart = cart.seen(seen.clone());
                }
                match &call.ask {
                    Ask::Add(it, quantity, attributes) => cart.add_with(it, *quantity, attributes),
                    Ask::Remove(it) => cart.remove(it),
                    Ask::Set(it, quantity) => cart.set(it, *quantity),
                    Ask::Decrement(it, quantity) => cart.decrement(it, *quantity),
                    Ask::Merge(guest) => {
                        cart.merge(&with!(self, self.replica.cart(space, guest), call, op))
                    }
                    _ => cart.clear(),
                }
            }
            Kind::Set => {
                let mut set = with!(self, self.replica.set(space, id), call, op);
                if let Some(seen) = &call.seen {
                    set = set.seen(seen.clone());
                }
                match &call.ask {
                    Ask::Add(it, ..) => set.add(it),
                    Ask::Remove(it) => set.remove(it),
                    Ask::Merge(guest) => {
                        set.merge(&with!(self, self.replica.set(space, guest), call, op))
                    }
                    _ => set.clear(),
                }
            }
            Kind::Counter => {
                let counter = with!(self, self.replica.counter(space, id), call, op);
                counter.add(match call.ask {
                    Ask::Count(amount) => amount,
                    _ => 0,
                })
            }
        })
    }

    fn read(&self, call: &Call) -> Result<Value, Fail> {
        let (space, id, session) = (self.namespace, &call.id, &self.session);
        let name = |error: orset::BoundsError| Fail::Usage(error.to_string());
        match self.kind {
            Kind::Cart => {
                let cart = self.replica.cart(space, id).map_err(name)?.in_session(session);
                cart.read().wait().map(|view| Value::Cart(view.lines, view.seen))
            }
            Kind::Set => {
                let set = self.replica.set(space, id).map_err(name)?.in_session(session);
                set.read().wait().map(|view| Value::Set(view.elements, view.seen))
            }
            Kind::Counter => {
                let counter = self.replica.counter(space, id).map_err(name)?.in_session(session);
                counter.read().wait().map(Value::Counter)
            }
        }
        .map_err(refused)
    }

    fn watch(&self, call: &Call, count: Option<u64>) -> Result<(), Fail> {
        let (space, id, session) = (self.namespace, &call.id, &self.session);
        let name = |error: orset::BoundsError| Fail::Usage(error.to_string());
        let mut watch = match self.kind {
            Kind::Cart => self.replica.cart(space, id).map_err(name)?.in_session(session).watch(),
            Kind::Set => self.replica.set(space, id).map_err(name)?.in_session(session).watch(),
            Kind::Counter => {
                self.replica.counter(space, id).map_err(name)?.in_session(session).watch()
            }
        }?;
        let mut left = count.unwrap_or(u64::MAX);
        while left > 0 {
            let shown = watch.wait().map_err(refused)?;
            self.show(call, shown.value)?;
            left -= 1;
        }
        Ok(())
    }

    fn show(&self, call: &Call, value: Value) -> Result<(), Fail> {
        self.form.print(&Show::new(call, value, self.token()))
    }

    fn token(&self) -> String {
        hex::encode(&self.session.token(Some(self.replica.member())))
    }
}

/// What a retry of this call must carry as `--seen`, when the call itself carried nothing: else it
/// would mean what is there by then.
fn meant(call: &Call, written: &Written) -> Option<Seen> {
    let product = match &call.ask {
        Ask::Remove(product) | Ask::Set(product, _) | Ask::Decrement(product, _) => product,
        _ => return None,
    };
    if call.seen.is_some() || written.ended.is_empty() {
        return None;
    }
    let mut seen = Seen::new();
    seen.add_line(Product::new(product).ok()?, written.ended.clone());
    Some(seen)
}

/// A refusal, by the flag that was wrong.
fn refused(error: Error) -> Fail {
    match error {
        Error::Refused(Refusal::OpIdReused(_) | Refusal::FromTheFuture { .. }) => {
            Fail::of("--op-id", error)
        }
        Error::Refused(Refusal::Behind { .. }) => {
            Fail::of("--session", format!("it has seen what this directory has not; {error}"))
        }
        Error::Refused(Refusal::Merge { .. }) => Fail::of("GUEST", error),
        error => error.into(),
    }
}
