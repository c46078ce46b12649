//! Handles to one cart, set, counter or stock of an open replica.
//!
//! Each op may carry what a shop decides: whose session it belongs to (`in_session`), the op id
//! that makes retries one intent (`with_op_id`; else a fresh one), what its client was shown
//! (`seen`; else whatever this replica has), and on how many peers it must be synced, too, before
//! it is answered (`on_peers`; else as its session or the replica's settings say).

use super::error::Error;
use super::pending::{CartView, FromReply, Pending, SetView};
use super::session::Session;
use super::watch::{Of, Watch};
use super::{Calling, Replica, Writing};
use crate::protocol::stock::StockReply;
use crate::protocol::{HOLDS_MAX, HoldsPage, Read, Refusal, Written};
use orset::cart::{Content, Seen};
use orset::stock::{Ask, Holds, HoldsOf, Sheet, Terms, Want};
use orset::{
    ATTRIBUTES_MAX, BoundsError, ObjectKey, OpId, Product, Request, check_amount, check_quantity,
};
use std::time::Duration;

/// What every handle is.
#[derive(Clone)]
struct Handle {
    replica: Replica,
    object: ObjectKey,
    session: Option<Session>,
    op: Option<OpId>,
    seen: Option<Seen>,
    peers: Option<u32>,
    wait: Option<Duration>,
}

impl Handle {
    const fn new(replica: Replica, object: ObjectKey) -> Self {
        Self { replica, object, session: None, op: None, seen: None, peers: None, wait: None }
    }

    fn write(&self, request: Result<Request, BoundsError>) -> Pending<Written> {
        match request {
            Err(error) => Pending::failed(error.into()),
            Ok(request) => self.replica.write(Writing {
                object: &self.object,
                request,
                op: self.op,
                seen: self.seen.clone(),
                session: self.session.clone(),
                peers: self.peers,
                wait: self.wait,
            }),
        }
    }
}

impl Handle {
    /// Reads a part of it, or something beside what it shows.
    fn part<T: FromReply>(&self, of: impl FnOnce(Read) -> Read) -> Pending<T> {
        self.replica.part(&self.object, of, self.session.clone())
    }

    fn watch(&self, of: Of) -> Result<Watch, Error> {
        self.replica.watch(self.object.clone(), of, self.session.as_ref())
    }

    fn call(&self, ask: Ask) -> Pending<StockReply> {
        self.replica.call(Calling {
            object: &self.object,
            ask,
            op: self.op,
            session: self.session.clone(),
            peers: self.peers,
            wait: self.wait,
        })
    }
}

fn content(product: &[u8], quantity: u32, attributes: &[u8]) -> Result<Content, BoundsError> {
    check_quantity(quantity)?;
    check_attributes(attributes)?;
    Ok(Content::added(Product::new(product)?, quantity, attributes))
}

fn check_attributes(attributes: &[u8]) -> Result<(), BoundsError> {
    let len = attributes.len();
    if len > ATTRIBUTES_MAX {
        return Err(BoundsError::TooLong { what: "attributes", len, max: ATTRIBUTES_MAX });
    }
    Ok(())
}

macro_rules! common {
    ($name:ident) => {
        impl $name {
            pub(super) const fn new(replica: Replica, object: ObjectKey) -> Self {
                Self(Handle::new(replica, object))
            }

            /// Its name.
            pub fn object(&self) -> &ObjectKey {
                &self.0.object
            }

            /// The same object, for a session: it sees what the session has written and read.
            #[must_use]
            pub fn in_session(mut self, session: &Session) -> Self {
                self.0.session = Some(session.clone());
                self
            }

            /// The same object, for one op under an id of the caller's. Every retry of that op
            /// carries the same id; another op needs another id.
            #[must_use]
            pub fn with_op_id(mut self, op: OpId) -> Self {
                self.0.op = Some(op);
                self
            }

            /// The same object, for ops that are answered when so many other members have them
            /// synced, too: then they survive the loss of as many disks. 0: on this disk alone.
            /// When that is not reached in time the op stands all the same, and the answer is
            /// `Error::NotReplicated`.
            #[must_use]
            pub fn on_peers(mut self, peers: u32) -> Self {
                self.0.peers = Some(peers);
                self
            }

            /// The same object, for ops that wait so long for peers, in place of the setting.
            #[must_use]
            pub fn within(mut self, wait: Duration) -> Self {
                self.0.wait = Some(wait);
                self
            }

            /// Watches it: its value first, then again whenever it has changed.
            pub fn watch(&self) -> Result<Watch, Error> {
                self.0.watch(Of::Object)
            }
        }
    };
}

macro_rules! with_seen {
    ($name:ident) => {
        impl $name {
            /// The same object, for an op on what its client was shown.
            #[must_use]
            pub fn seen(mut self, seen: Seen) -> Self {
                self.0.seen = Some(seen);
                self
            }

            /// As `seen`, from the bytes a client gave back.
            pub fn seen_bytes(self, bytes: &[u8]) -> Result<Self, Error> {
                Ok(self.seen(Seen::from_bytes(bytes).map_err(Error::Seen)?))
            }

            /// Removes everything, as seen.
            pub fn clear(&self) -> Pending<Written> {
                self.0.write(Ok(Request::Clear))
            }
        }
    };
}

/// A cart of an open replica.
#[derive(Clone)]
pub struct Cart(Handle);
common!(Cart);
with_seen!(Cart);

impl Cart {
    /// Puts `quantity` (1 to `QUANTITY_MAX`) of a product in, on top of what is there.
    pub fn add(&self, product: impl AsRef<[u8]>, quantity: u32) -> Pending<Written> {
        self.add_with(product, quantity, &[])
    }

    /// As `add`, with the shop's own bytes (up to `ATTRIBUTES_MAX`).
    pub fn add_with(
        &self,
        product: impl AsRef<[u8]>,
        quantity: u32,
        attributes: &[u8],
    ) -> Pending<Written> {
        self.0.write(content(product.as_ref(), quantity, attributes).map(Request::Add))
    }

    /// Takes a product out, as seen. Adds made meanwhile elsewhere stay.
    pub fn remove(&self, product: impl AsRef<[u8]>) -> Pending<Written> {
        self.0.write(Product::new(product.as_ref()).map(Request::Remove))
    }

    /// Makes it `quantity` (0 takes it out), as seen.
    pub fn set(&self, product: impl AsRef<[u8]>, quantity: u32) -> Pending<Written> {
        self.set_with(product, quantity, &[])
    }

    /// As `set`, with the shop's own bytes.
    pub fn set_with(
        &self,
        product: impl AsRef<[u8]>,
        quantity: u32,
        attributes: &[u8],
    ) -> Pending<Written> {
        let request = || {
            if quantity > 0 {
                check_quantity(quantity)?;
            }
            check_attributes(attributes)?;
            let product = Product::new(product.as_ref())?;
            Ok(Request::Set { product, quantity, attributes: attributes.into() })
        };
        self.0.write(request())
    }

    /// Takes `quantity` off; the answer says how many there were to take.
    pub fn decrement(&self, product: impl AsRef<[u8]>, quantity: u32) -> Pending<Written> {
        let product = check_quantity(quantity).and_then(|()| Product::new(product.as_ref()));
        self.0.write(product.map(|product| Request::Decrement(product, quantity)))
    }

    /// Moves everything of a guest's cart into this one. Merging the same guest twice adds once.
    pub fn merge(&self, guest: &Self) -> Pending<Written> {
        let (guest, user) = (guest.0.object.clone(), self.0.object.clone());
        self.0.write(Ok(Request::Merge { guest, user }))
    }

    pub(super) fn call(&self, ask: Ask) -> Pending<StockReply> {
        self.0.call(ask)
    }

    pub(super) fn part<T: FromReply>(&self, of: impl FnOnce(Read) -> Read) -> Pending<T> {
        self.0.part(of)
    }

    pub(super) fn watch_of(&self, of: Of) -> Result<Watch, Error> {
        self.0.watch(of)
    }

    /// What it shows.
    pub fn read(&self) -> Pending<CartView> {
        self.0.replica.read(&self.0.object, self.0.session.clone())
    }
}

/// A set (a wishlist) of an open replica.
#[derive(Clone)]
pub struct Set(Handle);
common!(Set);
with_seen!(Set);

impl Set {
    /// Puts an element in.
    pub fn add(&self, element: impl AsRef<[u8]>) -> Pending<Written> {
        self.0.write(content(element.as_ref(), 1, &[]).map(Request::Add))
    }

    /// Takes an element out, as seen.
    pub fn remove(&self, element: impl AsRef<[u8]>) -> Pending<Written> {
        self.0.write(Product::new(element.as_ref()).map(Request::Remove))
    }

    /// Moves everything of a guest's set into this one.
    pub fn merge(&self, guest: &Self) -> Pending<Written> {
        let (guest, user) = (guest.0.object.clone(), self.0.object.clone());
        self.0.write(Ok(Request::Merge { guest, user }))
    }

    /// What it shows.
    pub fn read(&self) -> Pending<SetView> {
        self.0.replica.read(&self.0.object, self.0.session.clone())
    }
}

/// A counter of an open replica.
#[derive(Clone)]
pub struct Counter(Handle);
common!(Counter);

impl Counter {
    /// Adds `amount` (not 0, up to `AMOUNT_MAX` either way).
    pub fn add(&self, amount: i64) -> Pending<Written> {
        self.0.write(check_amount(amount).map(|()| Request::Count(amount)))
    }

    /// What it shows.
    pub fn read(&self) -> Pending<i128> {
        self.0.replica.read(&self.0.object, self.0.session.clone())
    }
}

/// A stock of an open replica. One op id names one purchase: give the same (`with_op_id`) to its
/// hold, its commit, its release, and every retry of these.
#[derive(Clone)]
pub struct Stock(Handle);
common!(Stock);

impl Stock {
    /// Creates `units` at this replica. Never try the same at another: it would create them twice.
    pub fn restock(&self, units: u64) -> Pending<StockReply> {
        let at = self.0.replica.member();
        self.0.call(Ask::Restock { units, at })
    }

    /// Writes units off at this replica: gone without a sale. Never try the same at another: it
    /// would write them off twice.
    pub fn write_off(&self, units: u64) -> Pending<StockReply> {
        let at = self.0.replica.member();
        self.0.call(Ask::WriteOff { units, at })
    }

    /// Sets units aside for so long.
    pub fn hold(&self, want: Want, ttl: Duration) -> Pending<StockReply> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.0.call(Ask::Hold { want, ttl_ms })
    }

    /// Sells what is held under the op id; when nothing is known of it, sells at once.
    pub fn commit(&self, want: Want) -> Pending<StockReply> {
        self.0.call(Ask::Commit { want })
    }

    /// Frees what is held.
    pub fn release(&self) -> Pending<StockReply> {
        self.0.call(Ask::Release)
    }

    /// Holds it so long from now, and never shorter than before.
    pub fn extend(&self, ttl: Duration) -> Pending<StockReply> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.0.call(Ask::Extend { ttl_ms })
    }

    /// Ends the op id, whatever became of it.
    pub fn return_op(&self) -> Pending<StockReply> {
        self.0.call(Ask::Return)
    }

    /// Sets the terms of the stock.
    pub fn agree(&self, terms: Terms) -> Pending<StockReply> {
        self.0.call(Ask::Agree(terms))
    }

    /// Any of these.
    pub fn ask(&self, ask: Ask) -> Pending<StockReply> {
        self.0.call(ask)
    }

    /// Where all its units are.
    pub fn read(&self) -> Pending<Sheet> {
        self.0.replica.read(&self.0.object, self.0.session.clone())
    }

    /// A page of who has units set aside: `limit` holds (1 to `HOLDS_MAX`), ascending by op id. It
    /// may have fewer, even none, before the last page: `next` tells the end, and goes into the
    /// `after` of the next one.
    pub fn holds(&self, of: HoldsOf, limit: usize) -> Pending<Holds> {
        if !(1..=HOLDS_MAX).contains(&limit) {
            return Pending::failed(Refusal::OutOfBounds("holds of a page").into());
        }
        let holds = Some(HoldsPage { of, holds: limit, bytes: usize::MAX });
        self.0.part(|read| Read { holds, ..read })
    }
}
