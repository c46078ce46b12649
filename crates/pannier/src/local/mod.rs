//! `cart`, `set`, `counter` and `stock` in a replica's directory: one op, without a server.
//!
//! Each call opens the directory as a cluster of one, does one thing and closes it again. All of
//! the call is judged before the directory is opened, so a bad call changes nothing, not even a
//! directory that is not there yet. A directory that a replica has open is refused: ask the
//! replica.

use crate::call::{
    After, Ask, Call, Came, Did, Done, Import, ImportArgs, Imported, Kept, Named, OrderWord,
    Ordered, Orders, Place, SessionFile, Show, ShownHeldBy, ShownHolds, Value, is_order_yes,
};
use crate::config;
use crate::fail::Fail;
use crate::out::Form;
use orset::cart::Seen;
use orset::stock::{Ask as StockAsk, Customer, HoldsOf};
use orset::{Kind, ObjectKey, OpId, Product};
use pannier_replica::protocol::{self, Refusal, Written};
use pannier_replica::{Error, Pending, Replica, Session};
use std::path::Path;

/// Does what was asked of a kind of object, in the directory `dir`.
pub fn run(form: Form, place: &Place, dir: &Path, kind: Kind, call: &Call) -> Result<bool, Fail> {
    opened((form, place, dir, kind), call.ask.only_looks(), |local| local.answer(call))
}

/// Does the calls of a file, in the directory `dir`.
pub fn import(form: Form, place: &Place, dir: &Path, args: &ImportArgs) -> Result<bool, Fail> {
    let calls = args.read()?;
    opened((form, place, dir, Kind::Stock), false, |local| local.import(calls))
}

fn opened(
    (form, place, dir, kind): (Form, &Place, &Path, Kind),
    only_looks: bool,
    act: impl FnOnce(&Local<'_>) -> Result<bool, Fail>,
) -> Result<bool, Fail> {
    let namespace = place.namespace()?;
    let settings = config::limits(place.config.as_deref())?;
    let target = crate::call::Target::Directory(dir.to_owned());
    let mut file = None;
    let session = match place.kept(&target)? {
        Kept::Not => Session::begin()?,
        Kept::Token(token) => {
            Session::resume(&token).map_err(|error| Fail::of("--token", error))?
        }
        Kept::File(path) => {
            let kept = file.insert(SessionFile::at(&path));
            match kept.read()? {
                Some(token) => {
                    Session::resume(&token).map_err(|error| Fail::of("--session", error))?
                }
                None => Session::begin()?,
            }
        }
    };
    if only_looks && !dir.exists() {
        return Err(Fail::Storage(format!("--directory: there is nothing at {}", dir.display())));
    }
    let replica = open(dir, settings)?;
    let result = act(&Local { form, replica: &replica, session, file, namespace, kind });
    let closed = replica.close();
    let is_done = result?;
    closed?;
    Ok(is_done)
}

fn open(dir: &Path, settings: pannier_replica::Settings) -> Result<Replica, Fail> {
    let opened = Replica::builder().directory(dir).settings(settings).open();
    opened.map_err(|error| Fail::open("--directory", error))
}

/// Calls of an import that are under way at once.
const IMPORTED_AT_ONCE: usize = 1_000;

struct Local<'a> {
    form: Form,
    replica: &'a Replica,
    session: Session,
    file: Option<SessionFile>,
    namespace: &'a [u8],
    kind: Kind,
}

macro_rules! with {
    ($self:ident, $handle:expr, $call:ident, $op:ident) => {{
        let handle = $handle.map_err(|error| Fail::Usage(error.to_string()))?;
        handle.in_session(&$self.session).with_op_id($op).on_peers($call.peers)
    }};
}

impl Local<'_> {
    fn answer(&self, call: &Call) -> Result<bool, Fail> {
        match &call.ask {
            Ask::Show => self.show(call, self.read(call)?),
            Ask::Holds(of, limit) => self.holds(call, of.clone(), *limit),
            Ask::HeldBy(after, limit) => self.held_by(call, after.as_ref(), *limit),
            Ask::Orders(after, limit) => self.orders(call, *after, *limit),
            Ask::Watch(count) => self.watch(call, *count).map(|()| true),
            Ask::Stock(ask) => self.call_stock(call, ask.clone()),
            Ask::Here(here) => self.call_stock(call, here.at(self.replica.member())),
            Ask::Order(word) => self.call_order(call, word),
            _ => self.write(call).map(|()| true),
        }
    }

    fn holds(&self, call: &Call, of: HoldsOf, limit: u32) -> Result<bool, Fail> {
        let stock = self.replica.stock(self.namespace, &call.id);
        let stock = stock.map_err(|error| Fail::Usage(error.to_string()))?;
        let page = stock.in_session(&self.session).holds(of, limit as usize);
        let page = page.wait().map_err(refused)?;
        self.form.print(&ShownHolds::new(call, &page, self.after()?))?;
        Ok(true)
    }

    fn held_by(
        &self,
        call: &Call,
        after: Option<&(Vec<u8>, OpId)>,
        limit: u32,
    ) -> Result<bool, Fail> {
        let name = |error: orset::BoundsError| Fail::Usage(error.to_string());
        let stock = |id: &Vec<u8>| ObjectKey::new(Kind::Stock, self.namespace, id).map_err(name);
        let after = after.map(|(id, op)| stock(id).map(|stock| (stock, *op))).transpose()?;
        let customer = Customer::new(&call.id).map_err(name)?;
        let (session, limit) = (Some(&self.session), limit as usize);
        let page = self.replica.held_by(self.namespace, &customer, after, limit, session);
        let page = page.map_err(name)?.wait().map_err(refused)?;
        let holds = page.holds.iter().map(|(stock, hold)| (stock.id(), hold));
        let next = page.next.as_ref().map(|(stock, op)| (stock.id(), *op));
        self.form.print(&ShownHeldBy::new(call, holds, next, self.after()?))?;
        Ok(true)
    }

    fn orders(&self, call: &Call, after: Option<OpId>, limit: u32) -> Result<bool, Fail> {
        let cart = self.replica.cart(self.namespace, &call.id);
        let cart = cart.map_err(|error| Fail::Usage(error.to_string()))?;
        let page = cart.in_session(&self.session).orders(after, limit as usize);
        let page = page.wait().map_err(refused)?;
        self.form.print(&Orders::new(call, &page, self.after()?))?;
        Ok(true)
    }

    /// So many calls are under way at once.
    fn import(&self, calls: Import) -> Result<bool, Fail> {
        let peers = calls.peers;
        let at = Some(self.replica.member());
        let calls = calls.named(at, || self.session.op_id().map_err(Fail::from))?;
        let mut failed = 0;
        for some in calls.chunks(IMPORTED_AT_ONCE) {
            let ask = |call: &Named| {
                let stock = self.replica.stock(self.namespace, &call.stock);
                let stock = stock.map_err(|error| Fail::Usage(error.to_string()))?;
                let stock = stock.in_session(&self.session).with_op_id(call.op).on_peers(peers);
                Ok(stock.ask(call.ask.clone()))
            };
            let asked = some.iter().map(ask).collect::<Result<Vec<_>, Fail>>()?;
            for (call, asked) in some.iter().zip(asked) {
                let came = asked.wait().map_err(|error| refused(error).to_string());
                if let Some(why) =
                    call.failed(came.as_ref().map(|it| &it.outcome).map_err(Clone::clone))
                {
                    failed += 1;
                    self.form.event(&why)?;
                }
            }
        }
        self.form.event(&Imported::new(calls.len(), failed, self.after()?))?;
        Ok(failed == 0)
    }

    fn call_stock(&self, call: &Call, ask: StockAsk) -> Result<bool, Fail> {
        let op = call.op.map_or_else(|| self.session.op_id(), Ok)?;
        let stock = with!(self, self.replica.stock(self.namespace, &call.id), call, op);
        let at = ask.at();
        let reply = stock.ask(ask.clone()).wait().map_err(refused)?;
        self.form.print(&Came::new(call, op, at, &reply.outcome, self.after()?))?;
        crate::call::is_yes(&ask, &reply.outcome)
    }

    fn call_order(&self, call: &Call, word: &OrderWord) -> Result<bool, Fail> {
        let op = call.op.map_or_else(|| self.session.op_id(), Ok)?;
        let cart = with!(self, self.replica.cart(self.namespace, &call.id), call, op);
        let goods = match word.reads() {
            Some(customer) => {
                let view = cart.read().wait().map_err(refused)?;
                Some(view.goods(customer.clone()).map_err(|error| Fail::of("CART", error))?)
            }
            None => None,
        };
        let ask = word.ask(goods).ok_or_else(|| Fail::Usage("nothing is ordered".into()))?;
        let reply = cart.order(ask.clone()).wait().map_err(refused)?;
        self.form.print(&Ordered::new(call, op, &ask, &reply.outcome, self.after()?))?;
        is_order_yes(&ask, &reply.outcome)
    }

    fn write(&self, call: &Call) -> Result<(), Fail> {
        let op = call.op.map_or_else(|| self.session.op_id(), Ok)?;
        let written = self.send(call, op)?.wait().map_err(refused)?;
        let dot = written.dot.map(|dot| dot.to_string());
        let did = Did { dot, taken: written.taken, seen: meant(call, &written) };
        self.form.print(&Done::new(call, op, did, self.after()?))
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
            Kind::Stock => return Err(Fail::Usage("a stock is called, not written".into())),
        })
    }

    fn read(&self, call: &Call) -> Result<Value, Fail> {
        let (space, id, session) = (self.namespace, &call.id, &self.session);
        let name = |error: orset::BoundsError| Fail::Usage(error.to_string());
        match self.kind {
            Kind::Cart => {
                let cart = self.replica.cart(space, id).map_err(name)?.in_session(session);
                cart.read().wait().map(|view| shown(&view.lines, view.seen))
            }
            Kind::Set => {
                let set = self.replica.set(space, id).map_err(name)?.in_session(session);
                set.read().wait().map(|view| Value::Set(view.elements, view.seen))
            }
            Kind::Counter => {
                let counter = self.replica.counter(space, id).map_err(name)?.in_session(session);
                counter.read().wait().map(Value::Counter)
            }
            Kind::Stock => {
                let stock = self.replica.stock(space, id).map_err(name)?.in_session(session);
                stock.read().wait().map(Value::Stock)
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
            Kind::Stock => self.replica.stock(space, id).map_err(name)?.in_session(session).watch(),
        }?;
        let mut left = count.unwrap_or(u64::MAX);
        while left > 0 {
            let shown = watch.wait().map_err(refused)?;
            let strange = || Fail::Usage("a watch of this shows no value".into());
            let value = value(shown.value).ok_or_else(strange)?;
            self.form.event(&Show::new(call, value, self.after()?))?;
            left -= 1;
        }
        Ok(())
    }

    fn show(&self, call: &Call, value: Value) -> Result<bool, Fail> {
        let adds_up = value.adds_up();
        self.form.print(&Show::new(call, value, self.after()?))?;
        Ok(adds_up)
    }

    /// The session as it goes on; kept, if a file keeps it.
    fn after(&self) -> Result<After, Fail> {
        let token = self.session.token(Some(self.replica.member()));
        if let Some(file) = &self.file {
            file.write(&token)?;
        }
        Ok(After { token, is_kept: self.file.is_some() })
    }
}

fn shown(lines: &[orset::cart::Line], seen: Seen) -> Value {
    let line = |line: &orset::cart::Line| {
        let attributes = line.entries.iter().map(|entry| entry.attributes.to_vec());
        (line.product.clone(), line.quantity, attributes.collect())
    };
    Value::Cart(lines.iter().map(line).collect(), seen)
}

/// `None`: no object shows this by itself.
fn value(value: protocol::Value) -> Option<Value> {
    Some(match value {
        protocol::Value::Cart(lines, seen) => shown(&lines, seen),
        protocol::Value::Set(elements, seen) => Value::Set(elements, seen),
        protocol::Value::Counter(value) => Value::Counter(value),
        protocol::Value::Stock(sheet) => Value::Stock(sheet),
        protocol::Value::Holds(_) | protocol::Value::HeldBy(_) => return None,
        protocol::Value::Orders(_) => return None,
    })
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
        Error::Refused(
            Refusal::OpIdReused(_) | Refusal::FromTheFuture { .. } | Refusal::TooOld { .. },
        ) => Fail::of("--op-id", error),
        Error::Refused(Refusal::Behind { .. }) => {
            Fail::of("--token", format!("it has seen what this directory has not; {error}"))
        }
        Error::Refused(Refusal::Merge { .. }) => Fail::of("GUEST", error),
        Error::Refused(Refusal::TooFewPeers { .. }) => Fail::of("--durability", error),
        error => error.into(),
    }
}
