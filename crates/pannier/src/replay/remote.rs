//! The shop over the wire: each region a client of the gateway, as the services of that region are.
//!
//! A stream is pinned to one replica, so a region's shoppers share a client whose stream was opened
//! with the region's replica as home: the gateway takes it there as long as it can. When the
//! replica dies, the client's library finds another through the gateway, and all of the region's
//! sessions with it. When it is back, its services connect anew (`Side::replace`), and each session
//! goes home with its next op. A shopper who moves takes the token along, and nothing else.
//!
//! A request that the library could not get answered within its deadline is the shopper's again:
//! asked once more, under the same op id.

use super::events::Kind;
use super::plan::Region;
use super::shop::{Act, Change, Shelves, Shop, Shown, Trouble};
use super::tally::Tally;
use crate::fail::Fail;
use orset::{Member, Product};
use pannier_client::{Call, CartView, Client, ClientSettings, Error, NextMove, Reason, Seen};
use pannier_proto::Token;
use pannier_replica::doors::clock::Clock;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the library tries before it is the shopper's turn.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long a region's client may take to get a stream to its replica.
const PINNED_WITHIN: Duration = Duration::from_secs(20);
/// Between two tries at that.
const PIN_AGAIN: Duration = Duration::from_millis(50);

/// The token of a session that has seen nothing and would be served by `member`.
fn at_home(member: Member) -> Vec<u8> {
    Token { home: Some(member), ..Token::default() }.encode()
}

fn home(session: &pannier_client::Session) -> Option<Member> {
    Token::decode(&session.token()).ok()?.home
}

/// A client for so many sessions.
async fn client(address: &str, streams: usize) -> Result<Client, Fail> {
    let mut settings = ClientSettings::new([address]);
    settings.core.streams = streams;
    settings.core.sessions_max = 1 << 20;
    settings.deadline = DEADLINE;
    let client = Client::connect(settings).await;
    client.map_err(|error| Fail::Away(format!("{address}: {error}")))
}

/// A client of which all sessions that want to be served by `member` are.
pub async fn pinned(address: &str, member: Member) -> Result<Client, Fail> {
    let trying = async {
        loop {
            // The first stream leads anywhere; the second follows the first session's wish.
            let fresh = client(address, 2).await?;
            let session = fresh.resume(&at_home(member)).map_err(|error| fatal(&error))?;
            let cart =
                session.cart("pannier", "where am I").map_err(|error| fatal(&error.into()))?;
            if cart.read().await.is_ok() && home(&session) == Some(member) {
                return Ok(fresh);
            }
            tokio::time::sleep(PIN_AGAIN).await;
        }
    };
    match tokio::time::timeout(PINNED_WITHIN, trying).await {
        Ok(client) => client,
        Err(_) => {
            let problem = format!("{address} leads nobody to member {member}");
            Err(Fail::Away(format!("{problem} within {PINNED_WITHIN:?}")))
        }
    }
}

fn fatal(error: &Error) -> Fail {
    Fail::Away(error.to_string())
}

/// A region's client; it may be replaced while shoppers shop.
#[derive(Clone)]
pub struct Side {
    member: Member,
    now: Arc<Mutex<(u64, Client)>>,
}

impl Side {
    /// With its first client.
    pub fn new(member: Member, client: Client) -> Self {
        Self { member, now: Arc::new(Mutex::new((0, client))) }
    }

    /// Its services have connected anew.
    pub fn replace(&self, client: Client) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (now.0 + 1, client);
    }

    fn get(&self) -> (u64, Client) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What happens to the regions besides shopping.
pub trait Fate {
    /// Begins an act.
    fn act(&self, act: Act) -> Result<(), Fail>;

    /// Whether all regions are up and connected.
    fn whole(&self) -> bool;

    /// Why the run cannot go on.
    fn failure(&self) -> Option<Fail>;
}

/// See the file's head.
pub struct Remote<F> {
    clock: Clock,
    namespace: String,
    sides: Vec<Side>,
    /// Where each region is read in the end.
    shelves: Vec<Side>,
    tally: Arc<Tally>,
    fate: F,
}

impl<F: Fate> Remote<F> {
    /// `sides` are the regions' clients in order, `shelves` what reads each replica in the end.
    pub fn new(
        namespace: String,
        sides: Vec<Side>,
        shelves: Vec<Side>,
        tally: Arc<Tally>,
        fate: F,
    ) -> Self {
        Self { clock: Clock::start(), namespace, sides, shelves, tally, fate }
    }

    fn region(&self, member: Option<Member>) -> Option<Region> {
        Region::all().find(|region| Some(self.sides[region.index()].member) == member)
    }

    /// The client and the session for what is asked at a region.
    fn place(&self, at: Region, session: Option<&Session>) -> Result<Place, Trouble> {
        let (generation, client) = self.sides[at.index()].get();
        let Some(session) = session else { return Ok(Place { client, session: None }) };
        let mut held = session.0.borrow_mut();
        let here = (at, generation);
        let moves = held.at.is_some_and(|before| before != here);
        let inner = match held.inner.take().filter(|_| !moves) {
            Some(inner) => inner,
            None => {
                // Whoever comes anew says where it would be served, and brings what it has seen.
                let mut token = Token::decode(&held.token).unwrap_or_default();
                token.home = Some(self.sides[at.index()].member);
                client.resume(&token.encode()).map_err(|error| trouble(&error))?
            }
        };
        held.asked |= moves;
        held.at = Some(here);
        held.inner = Some(inner.clone());
        drop(held);
        Ok(Place { client, session: Some(inner) })
    }

    /// Takes note of an answer.
    fn note(&self, session: Option<&Session>, since_us: u64) {
        let Some(session) = session else { return };
        let mut held = session.0.borrow_mut();
        let Some(token) = held.inner.as_ref().map(pannier_client::Session::token) else { return };
        let served = Token::decode(&token).ok().and_then(|token| self.region(token.home));
        held.token = token.to_vec();
        let asked = std::mem::take(&mut held.asked);
        if let Some(served) = served {
            let took_us = self.now_us().saturating_sub(since_us);
            self.tally.answered(held.served, served, took_us, asked);
            held.served = Some(served);
        }
    }
}

/// A shopper's session: the library's, wherever it is by now.
#[derive(Clone)]
pub struct Session(Rc<RefCell<Held>>);

struct Held {
    inner: Option<pannier_client::Session>,
    /// Its region, and which client of it.
    at: Option<(Region, u64)>,
    /// As of the last answer.
    token: Vec<u8>,
    served: Option<Region>,
    /// It has moved by its own wish since its last answer.
    asked: bool,
    tally: Arc<Tally>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tally.left(self.served);
    }
}

struct Place {
    client: Client,
    session: Option<pannier_client::Session>,
}

macro_rules! handle {
    ($place:expr, $kind:ident, $namespace:expr, $id:expr) => {
        match &$place.session {
            Some(session) => session.$kind($namespace, $id),
            None => $place.client.$kind($namespace, $id),
        }
        .map_err(|error| Trouble::Refused(error.to_string()))
    };
}

fn trouble(error: &Error) -> Trouble {
    if error.reason() == Some(Reason::Behind) {
        return Trouble::Behind(error.to_string());
    }
    match error {
        Error::Closed { .. } | Error::NoChance(_) => Trouble::Fatal(fatal(error)),
        _ if error.next_move() == NextMove::Retry => Trouble::Away(error.to_string()),
        _ => Trouble::Refused(error.to_string()),
    }
}

fn lines(view: CartView) -> Vec<(Product, u64)> {
    view.lines.into_iter().map(|line| (line.product, line.quantity)).collect()
}

impl<F: Fate> Shop for Remote<F> {
    type Session = Session;
    type After = Vec<u8>;
    type Seen = Seen;

    fn now_us(&self) -> u64 {
        self.clock.now().mono_us
    }

    fn second(&self) -> u64 {
        self.clock.now().wall_ms / 1_000
    }

    fn begin(&self) -> Result<Session, Fail> {
        self.begin_after(&Vec::new())
    }

    fn after(&self, session: &Session) -> Vec<u8> {
        session.0.borrow().token.clone()
    }

    fn begin_after(&self, after: &Vec<u8>) -> Result<Session, Fail> {
        let (token, tally) = (after.clone(), Arc::clone(&self.tally));
        let held = Held { inner: None, at: None, token, served: None, asked: false, tally };
        Ok(Session(Rc::new(RefCell::new(held))))
    }

    async fn write(
        &self,
        at: Region,
        change: Change<'_>,
        seen: Option<&Seen>,
        session: Option<&Session>,
    ) -> Result<bool, Trouble> {
        let Change { op, kind, user, product } = change;
        let (since_us, place) = (self.now_us(), self.place(at, session)?);
        let space = self.namespace.as_bytes();
        let call: Call<_> = if kind == Kind::View {
            handle!(place, counter, space, product)?.with_op_id(op).add(1)
        } else {
            let mut cart = handle!(place, cart, space, user)?.with_op_id(op);
            if let Some(seen) = seen {
                cart = cart.seen(seen);
            }
            match kind {
                Kind::Remove => cart.remove(product),
                Kind::Purchase => cart.decrement(product, 1),
                Kind::Cart | Kind::View => cart.add(product, 1),
            }
        };
        let written = call.await.map_err(|error| trouble(&error))?;
        self.note(session, since_us);
        Ok(written.dot.is_some())
    }

    async fn cart(
        &self,
        at: Region,
        user: &str,
        session: Option<&Session>,
    ) -> Result<Shown<Seen>, Trouble> {
        let (since_us, place) = (self.now_us(), self.place(at, session)?);
        let cart = handle!(place, cart, self.namespace.as_bytes(), user)?;
        let view = cart.read().await.map_err(|error| trouble(&error))?;
        self.note(session, since_us);
        let seen = view.seen.clone();
        Ok(Shown { lines: lines(view), seen })
    }

    async fn views(
        &self,
        at: Region,
        product: &str,
        session: Option<&Session>,
    ) -> Result<i128, Trouble> {
        let (since_us, place) = (self.now_us(), self.place(at, session)?);
        let counter = handle!(place, counter, self.namespace.as_bytes(), product)?;
        let view = counter.read().await.map_err(|error| trouble(&error))?;
        self.note(session, since_us);
        Ok(view.value.into())
    }

    fn act(&self, act: Act) -> Result<(), Fail> {
        self.fate.act(act)
    }

    fn whole(&self) -> bool {
        self.fate.whole()
    }

    fn failure(&self) -> Option<Fail> {
        self.fate.failure()
    }
}

impl<F: Fate> Remote<F> {
    /// A session that must be served by a region's own replica, and a check that it was.
    fn shelf(&self, at: Region) -> Result<(pannier_client::Session, Member), Trouble> {
        let side = &self.shelves[at.index()];
        let session = side.get().1.resume(&at_home(side.member));
        Ok((session.map_err(|error| trouble(&error))?, side.member))
    }
}

fn served_by(session: &pannier_client::Session, member: Member) -> Result<(), Trouble> {
    match home(session) {
        Some(home) if home == member => Ok(()),
        other => {
            let other = other.map_or("nobody".into(), |other| other.to_string());
            Err(Trouble::Away(format!("asked {member}, and {other} answered")))
        }
    }
}

impl<F: Fate> Shelves for Remote<F> {
    async fn cart_at(&self, at: Region, user: &str) -> Result<Vec<(Product, u64)>, Trouble> {
        let (session, member) = self.shelf(at)?;
        let cart = session.cart(self.namespace.as_bytes(), user);
        let cart = cart.map_err(|error| Trouble::Refused(error.to_string()))?;
        let view = cart.read().await.map_err(|error| trouble(&error))?;
        served_by(&session, member)?;
        Ok(lines(view))
    }

    async fn views_at(&self, at: Region, product: &str) -> Result<i128, Trouble> {
        let (session, member) = self.shelf(at)?;
        let counter = session.counter(self.namespace.as_bytes(), product);
        let counter = counter.map_err(|error| Trouble::Refused(error.to_string()))?;
        let view = counter.read().await.map_err(|error| trouble(&error))?;
        served_by(&session, member)?;
        Ok(view.value.into())
    }
}
