//! The end of a run: are the replicas equal, and is it what the file says?
//!
//! Two comparisons that share nothing. *Rows*: everything that equal replicas have equal, byte by
//! byte, without knowing what it means; this finds what no reader would see. *Values*: every cart
//! and every counter, read at every replica as any client reads it, against the [`Oracle`]; this
//! finds replicas that agree on something wrong. A difference is filed under the promise it breaks,
//! since "not equal" is the same word for a lost unit and for one sold twice.

use super::events::{Event, Kind};
use super::floor::Findings;
use super::oracle::{Oracle, UserCart};
use super::plan::Region;
use super::shop::{Shelves, Trouble};
use super::tasks::{Tasks, step_aside};
use super::world::World;
use crate::fail::Fail;
use orset::ObjectKey;
use orset::codec::Reader;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

/// Reads under way at once.
const WINDOW: usize = 1_024;

/// What the values say.
#[derive(Debug, Default)]
pub struct Values {
    /// Carts, each read at every replica.
    pub carts: usize,
    /// Counters, likewise.
    pub counters: usize,
    /// Shown less than the file says.
    pub lost: Findings,
    /// Shown more than the file says.
    pub doubled: Findings,
    /// Shown, where the file says nothing is left.
    pub resurrected: Findings,
    fatal: RefCell<Option<Fail>>,
}

/// Reads everything everywhere.
pub fn values<S: Shelves>(shelves: &S, oracle: &Oracle) -> Result<Values, Fail> {
    let found =
        Values { carts: oracle.carts().len(), counters: oracle.views().len(), ..Values::default() };
    let mut tasks = Tasks::new();
    let room = |tasks: &mut Tasks<'_>| {
        while tasks.len() >= WINDOW {
            tasks.turn(Duration::from_secs(1));
        }
    };
    for region in Region::all() {
        for (user, should) in oracle.carts() {
            room(&mut tasks);
            tasks.spawn(found.cart(shelves, region, user, should));
        }
        for (product, should) in oracle.views() {
            room(&mut tasks);
            tasks.spawn(found.counter(shelves, region, product, should));
        }
    }
    while !tasks.is_empty() {
        tasks.turn(Duration::from_secs(1));
    }
    drop(tasks);
    match found.fatal.take() {
        Some(fail) => Err(fail),
        None => Ok(found),
    }
}

impl Values {
    async fn cart<S: Shelves>(&self, shelves: &S, region: Region, user: &str, should: &UserCart) {
        let lines = match answered(|| shelves.cart_at(region, user)).await {
            Ok(lines) => lines,
            Err(fail) => return *self.fatal.borrow_mut() = Some(fail),
        };
        let mut shown: BTreeMap<&[u8], u64> = BTreeMap::new();
        for (product, quantity) in &lines {
            *shown.entry(product.as_bytes()).or_insert(0) += quantity;
        }
        let products: BTreeSet<&[u8]> =
            should.lines().map(|line| line.0.as_bytes()).chain(shown.keys().copied()).collect();
        for product in products {
            let name = String::from_utf8_lossy(product);
            let have = shown.get(product).copied().unwrap_or(0);
            let want = should.quantity(&name);
            if have == want {
                continue;
            }
            let promise = match want {
                _ if have < want => &self.lost,
                0 => &self.resurrected,
                _ => &self.doubled,
            };
            promise
                .add(|| format!("{user} has {have} of {name}, not {want}, in {}", region.name()));
        }
    }

    async fn counter<S: Shelves>(&self, shelves: &S, region: Region, product: &str, want: u64) {
        let have = match answered(|| shelves.views_at(region, product)).await {
            Ok(have) => have,
            Err(fail) => return *self.fatal.borrow_mut() = Some(fail),
        };
        let want = i128::from(want);
        let promise = if have < want { &self.lost } else { &self.doubled };
        if have != want {
            promise.add(|| format!("{product} has {have} views, not {want}, in {}", region.name()));
        }
    }
}

/// Asks until the replica has room.
async fn answered<T, F: Future<Output = Result<T, Trouble>>>(
    mut ask: impl FnMut() -> F,
) -> Result<T, Fail> {
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(Trouble::Busy) => step_aside().await,
            Err(Trouble::Fatal(fail)) => return Err(fail),
            Err(Trouble::Behind(why) | Trouble::Away(why)) => return Err(Fail::Away(why)),
            Err(Trouble::Refused(why)) => return Err(Fail::Usage(why)),
        }
    }
}

/// Compares all rows of all replicas; gives their number.
pub fn rows(world: &World) -> Result<(usize, Findings), Fail> {
    let found = Findings::default();
    let mut first: Option<BTreeMap<Vec<u8>, Vec<u8>>> = None;
    for region in Region::all() {
        let rows = world.replica(region).dump()?;
        let Some(first) = &first else {
            first = Some(rows);
            continue;
        };
        let (a, b) = (Region::all().next().map_or("", Region::name), region.name());
        let only = |key: &[u8], place: &str| format!("only {place} has a row of {}", object(key));
        for (key, value) in first {
            match rows.get(key) {
                Some(other) if other == value => {}
                Some(_) => found.add(|| format!("{a} and {b} differ in a row of {}", object(key))),
                None => found.add(|| only(key, a)),
            }
        }
        for key in rows.keys().filter(|key| !first.contains_key(*key)) {
            found.add(|| only(key, b));
        }
    }
    Ok((first.map_or(0, |rows| rows.len()), found))
}

/// What a row belongs to: its key begins with its kind and then the object's name.
fn object(key: &[u8]) -> String {
    let named = key.get(1..).and_then(|rest| ObjectKey::decode(&mut Reader::new(rest)).ok());
    named.map_or_else(|| key.escape_ascii().to_string(), |object| object.to_string())
}

/// A user and a product that the user had, removed, and never had again.
pub fn removed<'a>(events: &'a [Event], oracle: &Oracle) -> Option<(&'a str, &'a str)> {
    let mut had = BTreeSet::new();
    for event in events {
        match event.kind {
            Kind::Cart => {
                had.insert((&*event.user, &*event.product));
            }
            Kind::Remove if had.contains(&(&*event.user, &*event.product)) => {
                let cart = oracle.cart(&event.user);
                if cart.is_none_or(|cart| cart.quantity(&event.product) == 0) {
                    return Some((&event.user, &event.product));
                }
            }
            Kind::Remove | Kind::Purchase | Kind::View => {}
        }
    }
    None
}
