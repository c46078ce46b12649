//! Shoppers who remember, and a ledger that is held against what is there in the end.
//!
//! Every add is of a product of its own, so that it can be told apart for ever; what a session has
//! removed it had been shown. So three things can be said of each read, without knowing what the
//! others do: it shows all that the session has added, all that it was shown before, and nothing
//! that the session has removed.

use pannier_client::{Cart, CartView, Client, Error, Line, Session, Shown, StateChange};
use pannier_replica::doors::chance::Dice;
use pannier_simulations_wire::Stage;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

pub const CARTS: u64 = 16;

/// What they meet, as it is counted.
pub const MARKS: [&str; 4] =
    ["adds acknowledged", "reads answered", "removes acknowledged", "values watched"];

type Item = (u64, Vec<u8>);

/// What all shoppers together have done, and what was found wrong.
#[derive(Default)]
pub struct Ledger {
    /// Acknowledged, and not taken out by anybody who may have succeeded.
    pub added: BTreeSet<Item>,
    /// Those whose outcome is unknown.
    pub perhaps: BTreeSet<Item>,
    /// Taken out, acknowledged.
    pub removed: BTreeSet<Item>,
    pub violations: Vec<String>,
    pub marks: BTreeMap<&'static str, u64>,
    pub over: bool,
}

pub type Shared = Rc<RefCell<Ledger>>;

impl Ledger {
    pub fn mark(&mut self, what: &'static str) {
        *self.marks.entry(what).or_default() += 1;
    }

    fn wrong(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Holds what a cart shows in the end against what was acknowledged.
    pub fn judge(&mut self, replica: usize, cart: u64, shown: &BTreeMap<Vec<u8>, u64>) {
        let here = |items: &BTreeSet<Item>| -> Vec<Vec<u8>> {
            items.iter().filter(|(at, _)| *at == cart).map(|(_, item)| item.clone()).collect()
        };
        for item in here(&self.added) {
            if shown.get(&item) != Some(&1) {
                let (item, got) = (text(&item), shown.get(&item));
                self.wrong(format!(
                    "acknowledged, and not there once: {item} at r{replica}: {got:?}"
                ));
            }
        }
        for item in here(&self.removed) {
            if shown.contains_key(&item) {
                self.wrong(format!("removed, and there: {} at r{replica}", text(&item)));
            }
        }
        for (item, quantity) in shown {
            let known = (cart, item.clone());
            let once = self.added.contains(&known) || self.perhaps.contains(&known);
            if !once || *quantity != 1 {
                self.wrong(format!("nobody's, or twice: {} {quantity}", text(item)));
            }
        }
    }
}

fn text(item: &[u8]) -> String {
    String::from_utf8_lossy(item).into_owned()
}

/// One user: a session, and what it must not forget.
pub struct Shopper {
    client: Client,
    session: Session,
    ledger: Shared,
    name: String,
    dice: Dice,
    /// Of each cart: what must be shown.
    known: BTreeMap<u64, BTreeSet<Vec<u8>>>,
    gone: BTreeSet<Item>,
    next: u64,
    /// A planted bug: each read is a new session's.
    forgets: bool,
}

/// Shops until the ledger says that it is over.
pub async fn shop(stage: Stage, client: Client, ledger: Shared, name: String) {
    let mut shopper = Shopper::new(client, ledger, name, false);
    while !shopper.ledger.borrow().over {
        let at = shopper.dice.roll() % CARTS;
        match shopper.dice.roll() % 10 {
            0..4 => shopper.add(at).await,
            4..8 => shopper.read(at, false).await,
            _ => shopper.read(at, true).await,
        }
        let pause = 100 + shopper.dice.roll() % 300;
        stage.pass(Duration::from_millis(pause)).await;
    }
}

/// Watches one cart until the ledger says that it is over: what it is shown never goes backwards.
pub async fn watch(client: Client, ledger: Shared, name: String, cart: u64) {
    let mut watcher = Shopper::new(client, ledger, name, false);
    let mut watch = watcher.cart(cart).watch().unwrap();
    while !watcher.ledger.borrow().over {
        // It goes on where it was when it is asked again.
        match tokio::time::timeout(Duration::from_secs(1), watch.next()).await {
            Ok(Ok(Shown::Cart(view))) => drop(watcher.look(cart, &view, MARKS[3])),
            Ok(Ok(other)) => panic!("a cart shows {other:?}"),
            // It may be behind for as long as a silent link is not found: then it is told so.
            Ok(Err(error)) => drop(failed(&mut watcher.ledger.borrow_mut(), &error)),
            Err(_) => {}
        }
    }
}

/// The name of a cart.
pub fn id(cart: u64) -> String {
    format!("cart-{cart}")
}

impl Shopper {
    pub fn new(client: Client, ledger: Shared, name: String, forgets: bool) -> Self {
        let (session, dice) = (client.session().unwrap(), Dice::new().unwrap());
        let (known, gone) = (BTreeMap::new(), BTreeSet::new());
        Self { client, session, ledger, name, dice, known, gone, next: 0, forgets }
    }

    /// Goes on at another client, with its token.
    pub fn move_to(&mut self, client: Client) {
        self.session = client.resume(&self.session.token()).unwrap();
        self.client = client;
    }

    fn cart(&self, at: u64) -> Cart {
        self.session.cart("shop", id(at)).unwrap()
    }

    pub async fn add(&mut self, at: u64) {
        self.next += 1;
        let product = format!("{}-{}", self.name, self.next).into_bytes();
        let added = self.cart(at).add(&product, 1).await;
        let mut ledger = self.ledger.borrow_mut();
        match added {
            Ok(_) => {
                ledger.mark(MARKS[0]);
                // Another may have seen it, and taken it out, before this answer came.
                let place = (at, product.clone());
                if !ledger.perhaps.contains(&place) && !ledger.removed.contains(&place) {
                    ledger.added.insert(place);
                }
                self.known.entry(at).or_default().insert(product);
            }
            Err(error) => {
                if failed(&mut ledger, &error) {
                    ledger.perhaps.insert((at, product));
                }
            }
        }
    }

    pub async fn read(&mut self, at: u64, then_remove: bool) {
        let session =
            if self.forgets { self.client.session().unwrap() } else { self.session.clone() };
        let read = session.cart("shop", id(at)).unwrap().read().await;
        let view = match read {
            Ok(view) => view,
            Err(error) => {
                failed(&mut self.ledger.borrow_mut(), &error);
                return;
            }
        };
        let shown = self.look(at, &view, MARKS[1]);
        let Some(item) = shown.iter().next().filter(|_| then_remove).cloned() else { return };
        // From now on nobody can count on it.
        let place = (at, item.clone());
        {
            let mut ledger = self.ledger.borrow_mut();
            ledger.added.remove(&place);
            ledger.perhaps.insert(place.clone());
        }
        let removed = self.cart(at).seen(&view.seen).remove(&item).await;
        let mut ledger = self.ledger.borrow_mut();
        match removed {
            Ok(_) => {
                ledger.mark(MARKS[2]);
                ledger.removed.insert(place.clone());
                self.known.entry(at).or_default().remove(&item);
                self.gone.insert(place);
            }
            Err(error) => drop(failed(&mut ledger, &error)),
        }
    }

    /// Holds what is shown against what must be and must not be; returns it.
    fn look(&mut self, at: u64, view: &CartView, mark: &'static str) -> BTreeSet<Vec<u8>> {
        let product = |line: &Line| line.product.as_bytes().to_vec();
        let shown: BTreeSet<_> = view.lines.iter().map(product).collect();
        let mut ledger = self.ledger.borrow_mut();
        ledger.mark(mark);
        let known = self.known.entry(at).or_default();
        // Somebody else may have taken it out, or be about to be told that he has.
        let ended = |item: &Vec<u8>| {
            let item = (at, item.clone());
            ledger.removed.contains(&item) || ledger.perhaps.contains(&item)
        };
        let lost = known.iter().filter(|item| !shown.contains(*item) && !ended(item));
        let lost: Vec<_> = lost.map(|item| text(item)).collect();
        let again = shown.iter().filter(|item| self.gone.contains(&(at, (*item).clone())));
        let again: Vec<_> = again.map(|item| text(item)).collect();
        for item in lost {
            ledger.wrong(format!("{} no longer sees {item}", self.name));
        }
        for item in again {
            ledger.wrong(format!("{} sees {item} again", self.name));
        }
        known.clone_from(&shown);
        shown
    }
}

/// Whether it may have taken effect.
fn failed(ledger: &mut Ledger, error: &Error) -> bool {
    match error {
        Error::TimedOut { state, .. } => {
            ledger.mark("calls without an answer in time");
            *state == StateChange::Unknown
        }
        Error::Closed { .. } => true,
        other => {
            ledger.wrong(format!("an error that should not be: {other}"));
            true
        }
    }
}
