//! One user's day: rows in order, each after the answer to the one before, wherever that is.
//!
//! A shopper is a client as ours are meant to be: it has a session that it takes along, gives back
//! what it was shown when it removes or buys, sends an op again under the same id, and, told that a
//! replica is behind its session, is routed to another. What it reads is held against what it wrote
//! ([`UserCart`]): as nobody else touches its cart, the two must be equal, not just close.

use super::events::{Event, Kind};
use super::floor::{Floor, Intent, Resend};
use super::oracle::UserCart;
use super::plan::{Region, When};
use super::sabotage::Sabotage;
use super::shop::{Shop, Shown};
use crate::fail::Fail;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// The place of reads among `Floor::latencies`.
const READ: usize = Kind::ALL.len();

/// A user's turn: what the dispatcher and the user's task tell each other.
pub struct Turn<S: Shop> {
    /// How many of the user's rows may be sent.
    pub dispatched: Cell<usize>,
    /// Whether a task is at it.
    pub running: Cell<bool>,
    /// The user, while no task is at it.
    shopper: RefCell<Option<Shopper<S>>>,
}

impl<S: Shop> Default for Turn<S> {
    fn default() -> Self {
        Self { dispatched: Cell::new(0), running: Cell::new(false), shopper: RefCell::new(None) }
    }
}

struct Shopper<S: Shop> {
    user: u32,
    done: usize,
    at: Region,
    moved: bool,
    session: S::Session,
    cart: UserCart,
    views: BTreeMap<Box<str>, u64>,
}

/// Sends a user's rows as far as they are dispatched.
pub async fn shop<S: Shop>(floor: &Floor<'_, S>, user: u32, turn: &Turn<S>) {
    let rows = &floor.day.users[user as usize].rows;
    let mut shopper = match turn.shopper.take().map_or_else(|| Shopper::new(floor, user), Ok) {
        Ok(shopper) => shopper,
        Err(fail) => return *floor.fatal.borrow_mut() = Some(fail),
    };
    while shopper.done < turn.dispatched.get() {
        shopper.step(floor, rows[shopper.done]).await;
        shopper.done += 1;
        floor.counts.answered.up();
    }
    if shopper.done < rows.len() {
        *turn.shopper.borrow_mut() = Some(shopper);
    }
    turn.running.set(false);
    floor.shoppers.set(floor.shoppers.get() - 1);
}

impl<S: Shop> Shopper<S> {
    fn new(floor: &Floor<'_, S>, user: u32) -> Result<Self, Fail> {
        Ok(Self {
            user,
            done: 0,
            at: floor.day.users[user as usize].plan.home,
            moved: false,
            session: floor.shop.begin()?,
            cart: UserCart::default(),
            views: BTreeMap::new(),
        })
    }

    async fn step(&mut self, floor: &Floor<'_, S>, row: u32) {
        let event = floor.event(row);
        let user = &floor.day.users[self.user as usize];
        let wanted = user.plan.region(self.done as u64);
        if wanted != self.at {
            if !self.moved {
                floor.counts.moves.up();
            }
            (self.at, self.moved) = (wanted, true);
            self.look(floor, row).await;
        }
        let mut seen = None;
        if matches!(event.kind, Kind::Remove | Kind::Purchase) {
            seen = self.look(floor, row).await.map(|view| view.seen);
        }
        if self.write(floor, row, seen).await.is_none() {
            return;
        }
        self.cart.apply(event.kind, &event.product);
        if event.kind == Kind::View {
            *self.views.entry(event.product.clone()).or_insert(0) += 1;
        }
        let nth = self.done as u64 + 1;
        if nth.is_multiple_of(floor.check_every) || nth == user.rows.len() as u64 {
            self.look(floor, row).await;
            if event.kind == Kind::View {
                self.look_at_views(floor, row).await;
            }
        }
    }

    /// Sends the row's op, and once more if so planned.
    async fn write(
        &mut self,
        floor: &Floor<'_, S>,
        row: u32,
        seen: Option<S::Seen>,
    ) -> Option<bool> {
        let event = floor.event(row);
        let op = floor.op_id(event.line)?;
        let intent = Intent { op, row, seen, after: floor.shop.after(&self.session) };
        let retry = floor.plan.retry(event.line, self.at);
        let again = |to| Resend { intent: intent.clone(), to };
        let before = retry.filter(|retry| retry.when == When::BeforeAnswer);
        floor.resends.borrow_mut().extend(before.map(|retry| again(retry.to)));
        let since_us = floor.shop.now_us();
        let at = Cell::new(self.at);
        let (session, change) = (self.session.clone(), floor.change(&intent));
        let seen = intent.seen.as_ref();
        let send = || floor.shop.write(at.get(), change, seen, Some(&session));
        let did = floor.ask(row, send, || self.go_elsewhere(floor, event, &at)).await;
        self.at = at.get();
        floor.took(event.kind as usize, since_us);
        if did == Some(false) {
            floor.counts.known.up();
        }
        match retry.map(|retry| (retry.to, retry.when)) {
            None | Some((_, When::BeforeAnswer)) => {}
            Some((to, When::AfterAnswer)) => floor.resends.borrow_mut().push(again(to)),
            Some((to, When::Later { rows })) => {
                floor.later.borrow_mut().push((floor.sent.get() + rows, again(to)));
            }
        }
        did
    }

    /// What the gateway does on BEHIND: it tries another.
    fn go_elsewhere(&self, floor: &Floor<'_, S>, event: &Event, at: &Cell<Region>) {
        let home = floor.day.users[self.user as usize].plan.home;
        let to = Region::route(&floor.plan.session_key(&event.user), Some(home), Some(at.get()));
        at.set(to);
        floor.counts.went_back.up();
    }

    /// The session that a read goes in.
    fn reading(&self, floor: &Floor<'_, S>) -> Option<S::Session> {
        let skips = self.moved && floor.sabotage == Some(Sabotage::SkipToken);
        (!skips).then(|| self.session.clone())
    }

    /// Reads the cart, and holds it against what was written.
    async fn look(&mut self, floor: &Floor<'_, S>, row: u32) -> Option<Shown<S::Seen>> {
        let event = floor.event(row);
        let (since_us, at) = (floor.shop.now_us(), Cell::new(self.at));
        let session = self.reading(floor);
        let send = || floor.shop.cart(at.get(), &event.user, session.as_ref());
        let view = floor.ask(row, send, || self.go_elsewhere(floor, event, &at)).await;
        self.at = at.get();
        let view = view?;
        floor.took(READ, since_us);
        floor.counts.compared.up();
        if let Some(difference) = difference(&view, &self.cart) {
            let (line, at) = (event.line, self.at.name());
            floor
                .sessions
                .add(|| format!("at line {line} user {} in {at} saw {difference}", event.user));
        }
        Some(view)
    }

    /// Reads the view count of the row's product: at least this user's own views.
    async fn look_at_views(&mut self, floor: &Floor<'_, S>, row: u32) {
        let event = floor.event(row);
        let at = Cell::new(self.at);
        let session = self.reading(floor);
        let send = || floor.shop.views(at.get(), &event.product, session.as_ref());
        let views = floor.ask(row, send, || self.go_elsewhere(floor, event, &at)).await;
        self.at = at.get();
        let own = self.views.get(&event.product).copied().unwrap_or(0);
        floor.counts.compared.up();
        if views.is_some_and(|views| views < i128::from(own)) {
            floor.sessions.add(|| {
                let (line, user, product) = (event.line, &event.user, &event.product);
                let views = views.unwrap_or(0);
                format!("at line {line} user {user} saw {views} views of {product}, made {own}")
            });
        }
    }
}

/// The first product of which a cart shows another quantity than it should.
fn difference<S>(shown: &Shown<S>, cart: &UserCart) -> Option<String> {
    let mut lines = shown.lines.iter();
    let mut should = cart.lines();
    loop {
        match (lines.next(), should.next()) {
            (None, None) => return None,
            (Some((name, have)), Some((product, want)))
                if name.as_bytes() == product.as_bytes() && *have == want => {}
            (line, want) => {
                // Both are ascending: the smaller product is the one that the other side lacks.
                let line = line.map(|(name, _)| name.as_bytes().to_vec());
                let want = want.map(|(product, _)| product.as_bytes().to_vec());
                let product = line.into_iter().chain(want).min()?;
                let have = shown.quantity(&product);
                let name = String::from_utf8_lossy(&product);
                return Some(format!("{have} of {name}, not {}", cart.quantity(&name)));
            }
        }
    }
}
