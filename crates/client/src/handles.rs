//! Handles to one cart, set or counter, with the names of the embedded replica's.
//!
//! Each call may carry what a shop decides: whose session it belongs to (`in_session`), the op id
//! that makes retries one intent (`with_op_id`; else a fresh one), what its client was shown
//! (`seen`; else whatever the replica has), on how many other members it must be synced, too
//! (`on_peers`), and how long it may take (`within`). Names and numbers are checked here; nothing
//! out of bounds is sent.

use crate::call::{Call, Terms};
use crate::client::Client;
use crate::core::Body;
use crate::error::Error;
use crate::session::Session;
use crate::view::{CartView, CounterView, FromAnswer, Page, Seen, SetView, Written};
use crate::watch::Watch;
use bytes::Bytes;
use orset::{
    ATTRIBUTES_MAX, BoundsError, Kind, NAMESPACE_MAX, OBJECT_ID_MAX, OpId, PRODUCT_MAX,
    check_amount, check_name, check_quantity,
};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::limits::LINES_MAX;
use pannier_proto::v1;
use pannier_proto::v1::command::Body as Wire;
use std::time::Duration;

/// What every handle is.
#[derive(Clone)]
pub(crate) struct Handle {
    pub client: Client,
    pub kind: Kind,
    pub namespace: Bytes,
    pub id: Bytes,
    pub session: Option<Session>,
    pub op: Option<OpId>,
    seen: Option<Seen>,
    pub allow_stale: bool,
    pub deadline: Option<Duration>,
    pub peers: Option<u32>,
}

impl Handle {
    pub(crate) fn new(
        client: &Client,
        session: Option<&Session>,
        kind: Kind,
        namespace: &[u8],
        id: &[u8],
    ) -> Result<Self, BoundsError> {
        check_name("namespace", namespace, NAMESPACE_MAX)?;
        check_name("object id", id, OBJECT_ID_MAX)?;
        Ok(Self {
            client: client.clone(),
            kind,
            namespace: Bytes::copy_from_slice(namespace),
            id: Bytes::copy_from_slice(id),
            session: session.cloned(),
            op: None,
            seen: None,
            allow_stale: false,
            deadline: None,
            peers: None,
        })
    }

    pub(crate) fn call<T: FromAnswer>(
        &self,
        body: Wire,
        op: Option<OpId>,
        page_size: u32,
    ) -> Call<T> {
        let shared = &self.client.inner.shared;
        let terms = Terms {
            session: self.session.as_ref().map(|session| session.inner.number),
            op,
            peers: if op.is_some() { self.peers() } else { 0 },
            deadline: self.deadline.unwrap_or(shared.settings.deadline),
            page_size,
        };
        let keep = (self.client.clone(), self.session.clone());
        Call::make(shared, Body::from(body), &terms, keep)
    }

    /// On how many other members a change must be synced: as it says, or its session, or the
    /// client's settings.
    fn peers(&self) -> u32 {
        let session = || self.session.as_ref()?.peers();
        let shared = &self.client.inner.shared;
        self.peers.or_else(session).unwrap_or(shared.settings.peers)
    }

    fn write(&self, body: impl FnOnce(Bytes) -> Result<Wire, Error>) -> Call<Written> {
        self.change(body)
    }

    pub(crate) fn change<T: FromAnswer>(
        &self,
        body: impl FnOnce(Bytes) -> Result<Wire, Error>,
    ) -> Call<T> {
        let fresh = || match &self.session {
            Some(session) => session.op_id(),
            None => self.client.inner.ids.next(),
        };
        let op = match self.op.map_or_else(fresh, Ok) {
            Ok(op) => op,
            Err(error) => return Call::failed(error),
        };
        match body(Bytes::copy_from_slice(op.as_bytes())) {
            Ok(body) => self.call(body, Some(op), 0),
            Err(error) => Call::failed(error),
        }
    }

    /// (namespace, id, seen)
    fn names(&self) -> (Bytes, Bytes, Bytes) {
        let seen = self.seen.as_ref().map(Seen::bytes).unwrap_or_default();
        (self.namespace.clone(), self.id.clone(), seen)
    }

    fn merges(&self, guest: &Self) -> Result<(), Error> {
        if guest.namespace == self.namespace {
            return Ok(());
        }
        let message = "a guest's cart or set is merged within its namespace";
        Err(Failure::new(Reason::WrongKind, message).into())
    }
}

fn name(bytes: &[u8]) -> Result<Bytes, BoundsError> {
    check_name("product", bytes, PRODUCT_MAX)?;
    Ok(Bytes::copy_from_slice(bytes))
}

fn shops_own(bytes: &[u8]) -> Result<Bytes, BoundsError> {
    let len = bytes.len();
    if len > ATTRIBUTES_MAX {
        return Err(BoundsError::TooLong { what: "attributes", len, max: ATTRIBUTES_MAX });
    }
    Ok(Bytes::copy_from_slice(bytes))
}

pub(crate) fn list_body(kind: Kind, namespace: &[u8], page: &Page) -> Result<Wire, BoundsError> {
    check_name("namespace", namespace, NAMESPACE_MAX)?;
    let namespace = Bytes::copy_from_slice(namespace);
    let (page_size, page_token) = (page.size, page.token.clone());
    let ask = v1::ListRequest { namespace, page_size, page_token };
    Ok(match kind {
        Kind::Cart => Wire::ListCarts(ask),
        Kind::Set => Wire::ListSets(ask),
        Kind::Counter => Wire::ListCounters(ask),
        Kind::Stock => Wire::ListStocks(ask),
    })
}

/// What every handle can do.
macro_rules! common {
    ($name:ident, $kind:expr) => {
        impl $name {
            pub(crate) fn new(
                client: &Client,
                session: Option<&Session>,
                namespace: &[u8],
                id: &[u8],
            ) -> Result<Self, BoundsError> {
                Handle::new(client, session, $kind, namespace, id).map(Self)
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
            pub const fn with_op_id(mut self, op: OpId) -> Self {
                self.0.op = Some(op);
                self
            }

            /// The same object, for reads that would rather be old than late: `stale` then says so.
            #[must_use]
            pub const fn or_stale(mut self) -> Self {
                self.0.allow_stale = true;
                self
            }

            /// The same object, for changes that are answered when so many other members have them
            /// synced, too: then they survive the loss of as many disks. When not all have it in
            /// time (`within`, and three quarters of `core.stall_us` at most), the change stands
            /// all the same, and the answer is `Error::NotReplicated`.
            #[must_use]
            pub const fn on_peers(mut self, peers: u32) -> Self {
                self.0.peers = Some(peers);
                self
            }

            /// The same object, for calls that may take so long.
            #[must_use]
            pub const fn within(mut self, deadline: Duration) -> Self {
                self.0.deadline = Some(deadline);
                self
            }

            /// Watches it: its value first, then again whenever it has changed.
            pub fn watch(&self) -> Result<Watch, Error> {
                Watch::new(&self.0, false)
            }
        }
    };
}

pub(crate) use common;

macro_rules! with_seen {
    ($name:ident) => {
        impl $name {
            /// The same object, for an op on what its client was shown.
            #[must_use]
            pub fn seen(mut self, seen: &Seen) -> Self {
                self.0.seen = Some(seen.clone());
                self
            }

            /// As `seen`, from the bytes a client gave back.
            pub fn seen_bytes(self, bytes: &[u8]) -> Result<Self, Error> {
                Ok(self.seen(&Seen::from_bytes(bytes)?))
            }
        }
    };
}

macro_rules! whole {
    ($name:ident, $view:ident, $items:ident, $what:literal) => {
        impl $name {
            /// All that it shows, put together from pages. Pages are read one by one: what comes or
            /// goes meanwhile may be missed or shown. `TooMany` beyond `read_lines_max`.
            pub async fn read(&self) -> Result<$view, Error> {
                let mut whole = self.read_page(&Page::first(LINES_MAX)).await?;
                let max = self.0.client.inner.shared.settings.read_lines_max;
                while let Some(page) = whole.next.take() {
                    if whole.$items.len() >= max {
                        return Err(Error::TooMany { what: $what, max });
                    }
                    let more = self.read_page(&page).await?;
                    whole.$items.extend(more.$items);
                    whole.seen = whole.seen.joined(&more.seen)?;
                    whole.next = more.next;
                    whole.stale |= more.stale;
                    whole.regressed |= more.regressed;
                }
                Ok(whole)
            }
        }
    };
}

/// A cart.
#[derive(Clone)]
pub struct Cart(pub(crate) Handle);
common!(Cart, Kind::Cart);
with_seen!(Cart);
whole!(Cart, CartView, lines, "lines");

impl Cart {
    /// Puts `quantity` (1 to `QUANTITY_MAX`) of a product in, on top of what is there.
    pub fn add(&self, product: impl AsRef<[u8]>, quantity: u32) -> Call<Written> {
        self.add_with(product, quantity, &[])
    }

    /// As `add`, with the shop's own bytes (up to `ATTRIBUTES_MAX`).
    pub fn add_with(
        &self,
        product: impl AsRef<[u8]>,
        quantity: u32,
        attributes: &[u8],
    ) -> Call<Written> {
        self.0.write(|op_id| {
            check_quantity(quantity)?;
            let (product, attributes) = (name(product.as_ref())?, shops_own(attributes)?);
            let (namespace, cart, _) = self.0.names();
            Ok(Wire::AddToCart(v1::AddToCart {
                op_id,
                namespace,
                cart,
                product,
                quantity,
                attributes,
            }))
        })
    }

    /// Takes a product out, as seen. Adds made meanwhile elsewhere stay.
    pub fn remove(&self, product: impl AsRef<[u8]>) -> Call<Written> {
        self.0.write(|op_id| {
            let (namespace, cart, seen) = self.0.names();
            let product = name(product.as_ref())?;
            Ok(Wire::RemoveFromCart(v1::RemoveFromCart { op_id, namespace, cart, product, seen }))
        })
    }

    /// Makes it `quantity` (0 takes it out), as seen.
    pub fn set(&self, product: impl AsRef<[u8]>, quantity: u32) -> Call<Written> {
        self.set_with(product, quantity, &[])
    }

    /// As `set`, with the shop's own bytes.
    pub fn set_with(
        &self,
        product: impl AsRef<[u8]>,
        quantity: u32,
        attributes: &[u8],
    ) -> Call<Written> {
        self.0.write(|op_id| {
            if quantity > 0 {
                check_quantity(quantity)?;
            }
            let (product, attributes) = (name(product.as_ref())?, shops_own(attributes)?);
            let (namespace, cart, seen) = self.0.names();
            Ok(Wire::SetInCart(v1::SetInCart {
                op_id,
                namespace,
                cart,
                product,
                quantity,
                attributes,
                seen,
            }))
        })
    }

    /// Takes `quantity` off; the answer says how many there were to take.
    pub fn decrement(&self, product: impl AsRef<[u8]>, quantity: u32) -> Call<Written> {
        self.0.write(|op_id| {
            check_quantity(quantity)?;
            let (namespace, cart, seen) = self.0.names();
            let product = name(product.as_ref())?;
            Ok(Wire::DecrementInCart(v1::DecrementInCart {
                op_id,
                namespace,
                cart,
                product,
                quantity,
                seen,
            }))
        })
    }

    /// Removes everything, as seen.
    pub fn clear(&self) -> Call<Written> {
        self.0.write(|op_id| {
            let (namespace, cart, seen) = self.0.names();
            Ok(Wire::ClearCart(v1::ClearCart { op_id, namespace, cart, seen }))
        })
    }

    /// Moves everything of a guest's cart (of the same namespace) into this one. Merging the same
    /// guest twice adds once.
    pub fn merge(&self, guest: &Self) -> Call<Written> {
        self.0.write(|op_id| {
            self.0.merges(&guest.0)?;
            let (namespace, user, _) = self.0.names();
            let guest = guest.0.id.clone();
            Ok(Wire::MergeCarts(v1::MergeCarts { op_id, namespace, guest, user }))
        })
    }

    /// One page of what it shows.
    pub fn read_page(&self, page: &Page) -> Call<CartView> {
        let (namespace, cart, _) = self.0.names();
        let (page_size, page_token) = (page.size, page.token.clone());
        let allow_stale = self.0.allow_stale;
        let ask = v1::GetCart { namespace, cart, page_size, page_token, allow_stale };
        self.0.call(Wire::GetCart(ask), None, page_size)
    }
}

/// A set (a wishlist).
#[derive(Clone)]
pub struct Set(pub(crate) Handle);
common!(Set, Kind::Set);
with_seen!(Set);
whole!(Set, SetView, elements, "elements");

impl Set {
    /// Puts an element in.
    pub fn add(&self, element: impl AsRef<[u8]>) -> Call<Written> {
        self.0.write(|op_id| {
            let (namespace, set, _) = self.0.names();
            let (element, attributes) = (name(element.as_ref())?, Bytes::new());
            Ok(Wire::AddToSet(v1::AddToSet { op_id, namespace, set, element, attributes }))
        })
    }

    /// Takes an element out, as seen.
    pub fn remove(&self, element: impl AsRef<[u8]>) -> Call<Written> {
        self.0.write(|op_id| {
            let (namespace, set, seen) = self.0.names();
            let element = name(element.as_ref())?;
            Ok(Wire::RemoveFromSet(v1::RemoveFromSet { op_id, namespace, set, element, seen }))
        })
    }

    /// Removes everything, as seen.
    pub fn clear(&self) -> Call<Written> {
        self.0.write(|op_id| {
            let (namespace, set, seen) = self.0.names();
            Ok(Wire::ClearSet(v1::ClearSet { op_id, namespace, set, seen }))
        })
    }

    /// Moves everything of a guest's set (of the same namespace) into this one.
    pub fn merge(&self, guest: &Self) -> Call<Written> {
        self.0.write(|op_id| {
            self.0.merges(&guest.0)?;
            let (namespace, user, _) = self.0.names();
            let guest = guest.0.id.clone();
            Ok(Wire::MergeSets(v1::MergeSets { op_id, namespace, guest, user }))
        })
    }

    /// One page of what it shows.
    pub fn read_page(&self, page: &Page) -> Call<SetView> {
        let (namespace, set, _) = self.0.names();
        let (page_size, page_token) = (page.size, page.token.clone());
        let allow_stale = self.0.allow_stale;
        let ask = v1::GetSet { namespace, set, page_size, page_token, allow_stale };
        self.0.call(Wire::GetSet(ask), None, page_size)
    }
}

/// A counter.
#[derive(Clone)]
pub struct Counter(pub(crate) Handle);
common!(Counter, Kind::Counter);

impl Counter {
    /// Adds `amount` (not 0, up to `AMOUNT_MAX` either way).
    pub fn add(&self, amount: i64) -> Call<Written> {
        self.0.write(|op_id| {
            check_amount(amount)?;
            let (namespace, counter, _) = self.0.names();
            Ok(Wire::AddToCounter(v1::AddToCounter { op_id, namespace, counter, amount }))
        })
    }

    /// What it shows.
    pub fn read(&self) -> Call<CounterView> {
        let (namespace, counter, _) = self.0.names();
        let allow_stale = self.0.allow_stale;
        let ask = v1::GetCounter { namespace, counter, allow_stale };
        self.0.call(Wire::GetCounter(ask), None, 0)
    }
}
