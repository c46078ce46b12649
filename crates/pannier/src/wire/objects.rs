//! `cart`, `set`, `counter`, `stock` and `watch` through a gateway, with a session that outlives
//! the call.
//!
//! A session that a file has kept may be one of a cluster that is gone (a `dev` cluster of
//! yesterday, on the same address). It says nothing about this one, so nothing is lost by beginning
//! another; that is done, and said. A token that the caller gave by hand is never replaced.

use super::refused;
use crate::call::{
    After, Ask, Call, Came, Did, Done, Kept, OrderWord, Ordered, Orders, Place, SessionFile, Show,
    ShownHeldBy, ShownHolds, Target, Value, is_order_yes, is_yes,
};
use crate::fail::Fail;
use crate::out::{Form, progress};
use crate::run::runtime;
use orset::cart::Seen;
use orset::order::ShownOrders;
use orset::stock::{Ask as StockAsk, Customer, Holds};
use orset::{Kind, Member, ObjectKey, OpId};
use pannier_client::{
    CartView, Client, ClientSettings, Error, NextMove, Reason, Session, SetView, Shown, Written,
};
use pannier_proto::Token;

/// Does what was asked of a kind of object, through the gateway (or at the replica) at `address`.
pub fn run(
    form: Form,
    place: &Place,
    address: &str,
    kind: Kind,
    call: &Call,
) -> Result<bool, Fail> {
    begun((form, place, address, kind), async |wire| wire.answer(call).await)
}

/// Does something with a client and a session.
pub(super) fn begun(
    (form, place, address, kind): (Form, &Place, &str, Kind),
    act: impl AsyncFnOnce(&mut Wire<'_>) -> Result<bool, Fail>,
) -> Result<bool, Fail> {
    let namespace = place.namespace()?;
    let kept = place.kept(&Target::Gateway(address.to_owned()))?;
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let mut settings = ClientSettings::new([address]);
        // The first stream leads anywhere; the second follows the session's home.
        settings.core.streams = 2;
        settings.deadline = place.within();
        let client = Client::connect(settings).await;
        let client = client.map_err(|error| refused(&error, "--token"))?;
        let mut wire = Wire::begin(form, &client, namespace, kind, kept)?;
        act(&mut wire).await
    });
    // What was asked is answered; nobody waits for connections to say goodbye.
    runtime.shutdown_background();
    result
}

pub(super) struct Wire<'a> {
    pub form: Form,
    client: &'a Client,
    pub namespace: &'a [u8],
    kind: Kind,
    pub session: Session,
    file: Option<SessionFile>,
    /// The flag that the session came by.
    pub flag: &'static str,
}

impl<'a> Wire<'a> {
    fn begin(
        form: Form,
        client: &'a Client,
        namespace: &'a [u8],
        kind: Kind,
        kept: Kept,
    ) -> Result<Self, Fail> {
        let (file, flag, token) = match kept {
            Kept::File(path) => {
                let file = SessionFile::at(&path);
                let token = file.read()?;
                (Some(file), "--session", token)
            }
            Kept::Token(token) => (None, "--token", Some(token)),
            Kept::Not => (None, "--token", None),
        };
        let session = match token {
            Some(token) => client.resume(&token),
            None => client.session(),
        };
        let session = session.map_err(|error| refused(&error, flag))?;
        Ok(Self { form, client, namespace, kind, session, file, flag })
    }

    async fn answer(&mut self, call: &Call) -> Result<bool, Fail> {
        let op = match (&call.ask, call.op) {
            (ask, _) if ask.only_looks() => None,
            (_, Some(op)) => Some(op),
            (_, None) => Some(self.session.op_id().map_err(|error| refused(&error, self.flag))?),
        };
        match self.attempt(call, op).await {
            Err(error) if self.begins_anew(&error)? => self.attempt(call, op).await,
            other => other,
        }
        .map_err(|error| {
            if error.next_move() == NextMove::GoOn {
                // What is lost for good was told once; the session goes on without it.
                drop(self.after());
            }
            self.told(&error, op)
        })?
    }

    /// Begins another session, if the one that a file has kept is of another cluster.
    pub fn begins_anew(&mut self, error: &Error) -> Result<bool, Fail> {
        let Some(file) = &self.file else { return Ok(false) };
        if error.reason() != Some(Reason::TokenForeign) {
            return Ok(false);
        }
        let path = file.path().display();
        progress(&format!("the session in {path} is of another cluster; a new one begins"));
        self.session = self.client.session().map_err(|error| refused(&error, self.flag))?;
        Ok(true)
    }

    /// The inner error is one of printing or keeping.
    async fn attempt(
        &mut self,
        call: &Call,
        op: Option<OpId>,
    ) -> Result<Result<bool, Fail>, Error> {
        match (&call.ask, op) {
            (Ask::Watch(count), _) => Ok(self.watch(call, *count).await?.map(|()| true)),
            (Ask::Holds(of, limit), _) => {
                let stock = self.session.stock(self.namespace, &call.id)?;
                let view = stock.holds(of.clone(), *limit).await?;
                let page = Holds { holds: view.holds, next: view.next };
                let shown = self.after().map(|it| ShownHolds::new(call, &page, it));
                Ok(shown.and_then(|shown| self.form.print(&shown)).map(|()| true))
            }
            (Ask::HeldBy(after, limit), _) => {
                let after = match after {
                    Some((stock, op)) => {
                        Some((ObjectKey::new(Kind::Stock, self.namespace, stock)?, *op))
                    }
                    None => None,
                };
                let view = self.session.held_by(self.namespace, &call.id, after, *limit).await?;
                let holds = view.holds.iter().map(|(stock, hold)| (&stock[..], hold));
                let next = view.next.as_ref().map(|(stock, op)| (&stock[..], *op));
                let shown = self.after().map(|it| ShownHeldBy::new(call, holds, next, it));
                Ok(shown.and_then(|shown| self.form.print(&shown)).map(|()| true))
            }
            (Ask::Orders(after, limit), _) => {
                let cart = self.session.cart(self.namespace, &call.id)?;
                let view = cart.orders(*after, *limit).await?;
                let page = ShownOrders { orders: view.orders, next: view.next };
                let shown = self.after().map(|it| Orders::new(call, &page, it));
                Ok(shown.and_then(|shown| self.form.print(&shown)).map(|()| true))
            }
            (Ask::Show, _) | (_, None) => {
                let value = self.read(call).await?;
                let adds_up = value.adds_up();
                let told = self.after().and_then(|it| self.form.print(&Show::new(call, value, it)));
                Ok(told.map(|()| adds_up))
            }
            (Ask::Stock(ask), Some(op)) => self.call_stock(call, op, ask.clone()).await,
            (Ask::Order(word), Some(op)) => self.call_order(call, op, word).await,
            (Ask::Here(here), Some(op)) => {
                let at = self.who_answers(&call.id).await?;
                self.call_stock(call, op, here.at(at)).await
            }
            (_, Some(op)) => {
                let written = self.write(call, op).await?;
                let dot = written.dot.map(|dot| dot.to_string());
                let seen = meant(call, &written);
                let did = Did { dot, taken: written.taken, seen };
                let told =
                    self.after().and_then(|it| self.form.print(&Done::new(call, op, did, it)));
                Ok(told.map(|()| true))
            }
        }
    }

    /// Whoever answers is the session's home.
    pub async fn who_answers(&self, stock: &[u8]) -> Result<Member, Error> {
        self.session.stock(self.namespace, stock)?.read().await?;
        let home = Token::decode(&self.session.token()).ok().and_then(|it| it.home);
        home.ok_or(Error::BadAnswer("nobody says who answered"))
    }

    async fn call_stock(
        &self,
        call: &Call,
        op: OpId,
        ask: StockAsk,
    ) -> Result<Result<bool, Fail>, Error> {
        let at = ask.at();
        self.session.set_peers(call.peers);
        let stock = self.session.stock(self.namespace, &call.id)?.with_op_id(op);
        let answer = stock.ask(ask.clone()).await?;
        let told = self.after();
        let told = told.map(|it| Came::new(call, op, at, &answer.outcome, it));
        let told = told.and_then(|came| self.form.print(&came));
        Ok(told.and_then(|()| is_yes(&ask, &answer.outcome)))
    }

    async fn call_order(
        &self,
        call: &Call,
        op: OpId,
        word: &OrderWord,
    ) -> Result<Result<bool, Fail>, Error> {
        self.session.set_peers(call.peers);
        let cart = self.session.cart(self.namespace, &call.id)?.with_op_id(op);
        let goods = match word.reads() {
            Some(customer) => {
                let customer = customer.as_ref().map_or(&[][..], Customer::as_bytes);
                Some(cart.read().await?.goods(customer)?)
            }
            None => None,
        };
        let ask = word.ask(goods).ok_or(Error::BadAsk { what: "what is ordered" })?;
        let answer = cart.order(ask.clone()).await?;
        let told = self.after();
        let told = told.map(|it| Ordered::new(call, op, &ask, &answer.outcome, it));
        let told = told.and_then(|ordered| self.form.print(&ordered));
        Ok(told.and_then(|()| is_order_yes(&ask, &answer.outcome)))
    }

    async fn write(&self, call: &Call, op: OpId) -> Result<Written, Error> {
        let (space, id, session) = (self.namespace, &call.id, &self.session);
        session.set_peers(call.peers);
        let seen = call.seen.as_ref().map(Seen::to_bytes);
        match self.kind {
            Kind::Cart => {
                let mut cart = session.cart(space, id)?.with_op_id(op);
                if let Some(seen) = &seen {
                    cart = cart.seen_bytes(seen)?;
                }
                match &call.ask {
                    Ask::Add(it, quantity, attributes) => cart.add_with(it, *quantity, attributes),
                    Ask::Remove(it) => cart.remove(it),
                    Ask::Set(it, quantity) => cart.set(it, *quantity),
                    Ask::Decrement(it, quantity) => cart.decrement(it, *quantity),
                    Ask::Merge(guest) => cart.merge(&session.cart(space, guest)?),
                    _ => cart.clear(),
                }
                .await
            }
            Kind::Set => {
                let mut set = session.set(space, id)?.with_op_id(op);
                if let Some(seen) = &seen {
                    set = set.seen_bytes(seen)?;
                }
                match &call.ask {
                    Ask::Add(it, ..) => set.add(it),
                    Ask::Remove(it) => set.remove(it),
                    Ask::Merge(guest) => set.merge(&session.set(space, guest)?),
                    _ => set.clear(),
                }
                .await
            }
            Kind::Counter => {
                let amount = if let Ask::Count(amount) = call.ask { amount } else { 0 };
                session.counter(space, id)?.with_op_id(op).add(amount).await
            }
            Kind::Stock => Err(Error::BadAnswer("a stock is called, not written")),
        }
    }

    async fn read(&self, call: &Call) -> Result<Value, Error> {
        let (space, id, session) = (self.namespace, &call.id, &self.session);
        match self.kind {
            Kind::Cart => cart(session.cart(space, id)?.read().await?),
            Kind::Set => set(session.set(space, id)?.read().await?),
            Kind::Counter => {
                let view = session.counter(space, id)?.read().await?;
                Ok(Value::Counter(view.value.into()))
            }
            Kind::Stock => Ok(Value::Stock(session.stock(space, id)?.read().await?.sheet)),
        }
    }

    async fn watch(&mut self, call: &Call, count: Option<u64>) -> Result<Result<(), Fail>, Error> {
        let (space, id, session) = (self.namespace, &call.id, &self.session);
        let mut watch = match self.kind {
            Kind::Cart => session.cart(space, id)?.watch(),
            Kind::Set => session.set(space, id)?.watch(),
            Kind::Counter => session.counter(space, id)?.watch(),
            Kind::Stock => session.stock(space, id)?.watch(),
        }?;
        for _ in 0..count.unwrap_or(u64::MAX) {
            let value = match watch.next().await? {
                Shown::Cart(view) => cart(view)?,
                Shown::Set(view) => set(view)?,
                Shown::Counter(view) => Value::Counter(view.value.into()),
                Shown::Stock(view) => Value::Stock(view.sheet),
                Shown::Orders(_) => return Err(Error::BadAnswer("nobody asked for orders")),
            };
            let told = self.after().and_then(|it| self.form.event(&Show::new(call, value, it)));
            if told.is_err() {
                return Ok(told);
            }
        }
        Ok(Ok(()))
    }

    /// The session as it goes on; kept, if a file keeps it.
    pub fn after(&self) -> Result<After, Fail> {
        let token = self.session.token().to_vec();
        if let Some(file) = &self.file
            && !token.is_empty()
        {
            file.write(&token)?;
        }
        Ok(After { token, is_kept: self.file.is_some() })
    }

    /// Whoever may have done something is told how to do it again.
    fn told(&self, error: &Error, op: Option<OpId>) -> Fail {
        let fail = refused(error, self.flag);
        match (op, fail) {
            (Some(op), Fail::Away(words)) => {
                Fail::Away(format!("{words}; the same call with --op-id {op} is safe to repeat"))
            }
            (_, fail) => fail,
        }
    }
}

fn shown(bytes: &[u8]) -> Result<Seen, Error> {
    Seen::from_bytes(bytes).map_err(|_| Error::BadAnswer("what was seen is damaged"))
}

fn cart(view: CartView) -> Result<Value, Error> {
    let seen = shown(view.seen.as_bytes())?;
    let line = |line: pannier_client::Line| {
        let attributes = line.entries.iter().map(|entry| entry.attributes.to_vec());
        (line.product, line.quantity, attributes.collect())
    };
    Ok(Value::Cart(view.lines.into_iter().map(line).collect(), seen))
}

fn set(view: SetView) -> Result<Value, Error> {
    let seen = shown(view.seen.as_bytes())?;
    Ok(Value::Set(view.elements, seen))
}

/// What a retry of this call must carry as `--seen`, when the call itself carried nothing.
fn meant(call: &Call, written: &Written) -> Option<Seen> {
    let blind = call.seen.is_none();
    let seen = Seen::from_bytes(written.ended.as_bytes()).ok().filter(|_| blind)?;
    (seen != Seen::new()).then_some(seen)
}
