//! A client of the cluster: one session after another, each reading and writing what others read
//! and write at the same time.
//!
//! A visit reads an object, changes it on what was shown, and often reads it again. An op that was
//! not answered is asked again under the same op id, mostly by another way in; so a retry meets
//! another replica. Since few are not answered, some that were are sent again too, soon or late, by
//! somebody who knows nothing of them: as a proxy would that is not sure. Sessions move: their
//! token goes on at another client, of the gateway or of a replica itself, and nothing else does.

use super::book::{Book, Sabotage};
use super::calls::{Look, look, send};
use super::history::{Asked, Intent, ObjectAt, Outcome};
use super::session::{self, Session};
use crate::replay::SplitMix64;
use orset::{BoundsError, Kind, OpId, OpIdSet, Product};
use pannier_client::{Error, Seen, StateChange, Written};
use std::sync::Arc;
use std::time::Duration;

/// How often an op is asked for.
const TRIES: usize = 4;
/// Visits of one session.
const VISITS: u64 = 40;
/// Between two visits, at most.
const THINKS_MS: u64 = 60;
/// Ops that are kept to be sent again.
const KEPT: usize = 8;
/// Units of what is taken from: more than anybody takes.
const AMPLE: u64 = 100_000;

/// See the file's head.
pub struct Shopper {
    book: Arc<Book>,
    number: usize,
    chance: SplitMix64,
    client: usize,
    session: pannier_client::Session,
    known: Session,
    visits: u64,
    /// Acknowledged, and perhaps to be sent again.
    kept: Vec<(Intent, Option<Seen>)>,
    /// Why the last read that was not answered was not.
    unread: String,
}

impl Shopper {
    /// One of several, drawn from the seed.
    pub fn new(book: Arc<Book>, number: usize, seed: u64) -> Result<Self, Error> {
        let mut chance = SplitMix64::keyed(seed, "shopper", &number.to_be_bytes());
        let client = chance.below(book.clients.len() as u64) as usize;
        let (session, known) = begin(&book, client)?;
        let (visits, kept, unread) = Default::default();
        Ok(Self { book, number, chance, client, session, known, visits, kept, unread })
    }

    /// One that always goes the same way in.
    pub fn at(book: Arc<Book>, client: usize) -> Result<Self, Error> {
        let (session, known) = begin(&book, client)?;
        let chance = SplitMix64::keyed(0, "straight", &client.to_be_bytes());
        let (visits, kept, unread) = Default::default();
        let number = usize::MAX;
        Ok(Self { book, number, chance, client, session, known, visits, kept, unread })
    }

    /// Shops until it is told that it is over.
    pub async fn run(mut self) -> Result<Self, Error> {
        while !self.book.is_over() {
            self.visits += 1;
            if self.visits.is_multiple_of(VISITS) {
                (self.session, self.known) = begin(&self.book, self.client)?;
            } else if self.chance.chance(0.1) {
                self.go_elsewhere()?;
            }
            self.visit().await?;
            if self.chance.chance(0.2) {
                self.send_again().await?;
            }
            tokio::time::sleep(Duration::from_millis(self.chance.below(THINKS_MS))).await;
        }
        Ok(self)
    }

    /// Goes on at another client, with nothing but the token.
    fn go_elsewhere(&mut self) -> Result<(), Error> {
        let clients = self.book.clients.len() as u64;
        self.client =
            (self.client + 1 + self.chance.below(clients - 1) as usize) % clients as usize;
        let token = self.session.token();
        self.session = self.book.clients[self.client].resume(&token)?;
        self.book.count(|counts| &counts.moves);
        Ok(())
    }

    /// Sends an op that was acknowledged once more, somewhere, with another's token or none.
    async fn send_again(&mut self) -> Result<(), Error> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let (intent, seen) = self.kept.remove(self.chance.below(self.kept.len() as u64) as usize);
        let client = &self.book.clients[self.chance.below(self.book.clients.len() as u64) as usize];
        let stranger = match self.chance.chance(0.5) {
            true => client.resume(&self.session.token())?,
            false => client.session()?,
        };
        self.book.count(|counts| &counts.repeated);
        if let Err(error) = self.send_by(&stranger, &intent, intent.op, seen.as_ref()).await {
            self.book.error(&error, &self.book.told_of(intent.op));
        }
        Ok(())
    }

    async fn visit(&mut self) -> Result<(), Error> {
        let now = self.book.generation();
        let which = self.chance.below(3);
        let name = |kind: &str| format!("{kind}-{which}.{now}");
        match self.chance.below(20) {
            0..10 => {
                let name = name("family");
                self.cart(&name).await
            }
            10..13 => {
                let name = name("wish");
                self.wishes(&name).await
            }
            13..16 => self.count_in(&name("views")).await,
            16..18 => self.count_in(&name("balance")).await,
            _ => {
                let (guest, user) =
                    (format!("guest-{}.{}", self.number, self.visits), name("family"));
                self.guest(&guest, &user).await
            }
        }
    }

    /// Somebody edits a cart that others edit, too.
    async fn cart(&mut self, name: &str) -> Result<(), Error> {
        let cart = self.book.object(Kind::Cart, name);
        let Some(look) = self.read(cart).await? else { return Ok(()) };
        let product = product(["lamp", "ring", "book"][self.chance.below(3) as usize])?;
        let quantity = 1 + self.chance.below(3);
        let ends = look.context.line(&product).cloned().unwrap_or_default();
        let asked = match self.chance.below(20) {
            0..8 => Asked::Add { product, quantity },
            8..11 => Asked::Set { product, quantity: self.chance.below(4), ends },
            11..14 if !ends.is_empty() => Asked::End(ends),
            14..15 if self.chance.chance(0.1) => Asked::End(look.context.all()),
            _ => self.tea(&look)?,
        };
        self.write(cart, asked, Some(&look.seen)).await?;
        if self.chance.chance(0.5) {
            self.read(cart).await?;
        }
        Ok(())
    }

    /// There is more tea than anybody takes, so that every cup can be counted.
    fn tea(&mut self, look: &Look) -> Result<Asked, Error> {
        let product = product("tea")?;
        let of: OpIdSet = look.context.line(&product).cloned().unwrap_or_default();
        Ok(if of.is_empty() {
            Asked::Add { product, quantity: AMPLE }
        } else {
            Asked::Take { product, quantity: 1 + self.chance.below(5), of }
        })
    }

    async fn wishes(&mut self, name: &str) -> Result<(), Error> {
        let set = self.book.object(Kind::Set, name);
        let Some(look) = self.read(set).await? else { return Ok(()) };
        let product = product(["moon", "sun", "star"][self.chance.below(3) as usize])?;
        let ends = look.context.line(&product).cloned().unwrap_or_default();
        let asked = match self.chance.below(8) {
            0..3 if !ends.is_empty() => Asked::End(ends),
            3 if self.chance.chance(0.2) => Asked::End(look.context.all()),
            _ => Asked::Add { product, quantity: 1 },
        };
        self.write(set, asked, Some(&look.seen)).await?;
        self.read(set).await.map(|_| ())
    }

    async fn count_in(&mut self, name: &str) -> Result<(), Error> {
        let counter = self.book.object(Kind::Counter, name);
        let mut amount = 1 + self.chance.below(9) as i64;
        if !session::grows(name) && self.chance.chance(0.5) {
            amount = -amount;
        }
        self.write(counter, Asked::Count(amount), None).await?;
        self.read(counter).await.map(|_| ())
    }

    /// Somebody fills a cart before logging in.
    async fn guest(&mut self, guest: &str, user: &str) -> Result<(), Error> {
        let (guest, user) =
            (self.book.object(Kind::Cart, guest), self.book.object(Kind::Cart, user));
        for _ in 0..1 + self.chance.below(3) {
            let product = product(["lamp", "ring", "book"][self.chance.below(3) as usize])?;
            self.write(guest, Asked::Add { product, quantity: 2 }, None).await?;
        }
        let Some(look) = self.read(guest).await? else { return Ok(()) };
        if self.chance.chance(0.3) {
            let product = product("lamp")?;
            let ends = look.context.line(&product).cloned().unwrap_or_default();
            if !ends.is_empty() {
                self.write(guest, Asked::End(ends), Some(&look.seen)).await?;
            }
        }
        self.write(user, Asked::Merge(guest), None).await?;
        self.read(user).await?;
        self.read(guest).await.map(|_| ())
    }

    /// Counts at the replica that is meant, until it can no more; whether that was answered.
    pub async fn count_once(&mut self) -> Result<bool, Error> {
        let name = format!("views-9.{}", self.book.generation());
        let counter = self.book.object(Kind::Counter, &name);
        let outcome = self.write_once(counter, Asked::Count(1), None, 1).await?;
        Ok(outcome == Outcome::Done)
    }

    /// Looks once more at what it knows of; nothing may be less, and nobody may be left waiting.
    pub async fn look_again(&mut self, patience: Duration) -> Result<(), Error> {
        let objects = self.known.objects();
        let looking = async {
            for object in objects {
                while self.read(object).await?.is_none() {}
            }
            Ok(())
        };
        match tokio::time::timeout(patience, looking).await {
            Ok(done) => done,
            Err(_) => {
                let (number, unread) = (self.known.number, &self.unread);
                let within =
                    || format!("session {number} was not answered within {patience:?}: {unread}");
                self.book.open().unanswered.add(within);
                Ok(())
            }
        }
    }

    /// Reads an object, and holds it against what the session knew.
    async fn read(&mut self, object: ObjectAt) -> Result<Option<Look>, Error> {
        let (kind, name) = self.book.object_at(object);
        match self.book.record.call(look(&self.session, kind, &name)).await {
            Ok((look, regressed)) => {
                self.book.count(|counts| &counts.reads);
                self.told(regressed);
                let pages = self.book.open();
                self.known.saw(object, &look.view, &pages.history, &pages.backwards);
                Ok(Some(look))
            }
            Err(error) => {
                self.book.count(|counts| &counts.unread);
                self.book.error(&error, "a read");
                self.unread = format!("client {}: {error}", self.client);
                match error {
                    Error::Closed { .. } => Err(error),
                    _ => Ok(None),
                }
            }
        }
    }

    fn told(&mut self, regressed: bool) {
        if regressed {
            self.known.forget();
            self.book.count(|counts| &counts.regressions);
        }
    }

    async fn write(
        &mut self,
        object: ObjectAt,
        asked: Asked,
        seen: Option<&Seen>,
    ) -> Result<(), Error> {
        self.write_once(object, asked, seen, TRIES).await.map(|_| ())
    }

    /// One intent, asked for so many times at most.
    async fn write_once(
        &mut self,
        object: ObjectAt,
        asked: Asked,
        seen: Option<&Seen>,
        tries: usize,
    ) -> Result<Outcome, Error> {
        let op = self.session.op_id()?;
        let at = self.book.open().history.intend(self.known.number, object, op, asked);
        let intent = self.book.intent(at);
        let mut outcome = Outcome::Refused;
        for tried in 0..tries {
            if tried > 0 {
                self.book.count(|counts| &counts.retries);
                if self.chance.chance(0.5) {
                    self.go_elsewhere()?;
                }
            }
            match self.send_by(&self.session, &intent, op, seen).await {
                Ok(written) => {
                    self.told(written.regressed);
                    outcome = Outcome::Done;
                    break;
                }
                Err(error) => {
                    self.book.error(&error, &self.book.told_of(op));
                    if let Error::Closed { .. } = error {
                        return Err(error);
                    }
                    // What may have happened once may have happened, whatever a later try says.
                    if error.state_change() == StateChange::Unknown {
                        outcome = Outcome::Unknown;
                    }
                }
            }
        }
        {
            let pages = &mut *self.book.open();
            session::answered(&mut self.known, &mut pages.history, at, outcome);
        }
        if outcome == Outcome::Done {
            if self.chance.chance(0.25) {
                self.spoil(&intent).await?;
            }
            if self.kept.len() < KEPT {
                self.kept.push((intent, seen.cloned()));
            }
        }
        Ok(outcome)
    }

    async fn send_by(
        &self,
        session: &pannier_client::Session,
        intent: &Intent,
        op: OpId,
        seen: Option<&Seen>,
    ) -> Result<Written, Error> {
        let (kind, name) = self.book.object_at(intent.object);
        let guest = match intent.asked {
            Asked::Merge(guest) => Some(self.book.object_at(guest).1),
            _ => None,
        };
        let sending = send(session, kind, &name, guest.as_deref(), &intent.asked, op, seen);
        self.book.record.call(sending).await
    }

    /// What a store would look like that does not keep its promises.
    async fn spoil(&mut self, intent: &Intent) -> Result<(), Error> {
        let (kind, name) = self.book.object_at(intent.object);
        match (self.book.sabotage, &intent.asked) {
            (Some(Sabotage::DoubleCount), Asked::Add { .. } | Asked::Count(_)) => {
                let op = self.session.op_id()?;
                // Whether it works or not: nobody asked for it.
                let _ = self.send_by(&self.session, intent, op, None).await;
            }
            (Some(Sabotage::LoseAdd), Asked::Add { .. }) if kind == Kind::Cart => {
                let stranger = self.book.clients[self.client].resume(&self.session.token())?;
                if let Ok((shown, _)) = look(&stranger, kind, &name).await {
                    let ends = Asked::End(shown.context.all());
                    let op = stranger.op_id()?;
                    let seen = Some(&shown.seen);
                    let _ = send(&stranger, kind, &name, None, &ends, op, seen).await;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn begin(book: &Book, client: usize) -> Result<(pannier_client::Session, Session), Error> {
    let session = book.clients[client].session()?;
    let number = book.counts.sessions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Ok((session, Session::new(number as usize)))
}

fn product(name: &str) -> Result<Product, BoundsError> {
    Product::new(name.as_bytes())
}
