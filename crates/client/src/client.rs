//! The client: streams to a gateway or to replicas, shared by every session of a process.
//!
//! ```no_run
//! # async fn shop() -> Result<(), pannier_client::Error> {
//! use pannier_client::{Client, ClientSettings};
//! let client = Client::connect(ClientSettings::new(["127.0.0.1:7400"])).await?;
//! let ada = client.session()?;
//! ada.cart("shop", "ada")?.add("lamp", 1).await?;
//! println!("{:?}", ada.cart("shop", "ada")?.read().await?.lines);
//! # Ok(()) }
//! ```

use crate::call::{Call, Terms};
use crate::core::{Body, Mode};
use crate::doors::chance;
use crate::error::Error;
use crate::handles::{Cart, Counter, Set, list_body};
use crate::held_by::{HeldByView, held_by_body};
use crate::session::{Ids, Session};
use crate::settings::ClientSettings;
use crate::stock::Stock;
use crate::view::{FromAnswer, Listing, Page};
use crate::watch::Watching;
use crate::wire::{Dial, Shared, Tcp, first_try, run_stream, run_timer};
use orset::{BoundsError, Kind, ObjectKey, OpId};
use std::sync::Arc;
use tokio::task::JoinHandle;

pub(crate) struct Inner {
    pub shared: Arc<Shared>,
    /// Op ids of calls that belong to no session.
    pub ids: Ids,
    pub watching: Watching,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// An open client; clones are the same one. It closes when the last clone, session, handle and
/// watch is dropped.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

impl Client {
    /// Connects, and waits until one of the addresses has answered. `Unreachable` or a refusal when
    /// none does, each having been tried once. Must be called within a tokio runtime.
    pub async fn connect(settings: ClientSettings) -> Result<Self, Error> {
        let client = Self::lazy(settings)?;
        let shared = &client.inner.shared;
        let mut progress = shared.progress.subscribe();
        match first_try(&mut progress, shared.endpoints.len()).await {
            Ok(()) => Ok(client),
            Err(Some(why)) => Err(why),
            Err(None) => Err(Error::Unreachable {
                endpoint: shared.settings.endpoints.join(", "),
                why: "the stream ended at once".into(),
            }),
        }
    }

    /// As `connect`, without waiting: calls wait instead, up to their deadlines.
    pub fn lazy(settings: ClientSettings) -> Result<Self, Error> {
        Self::lazy_over(Arc::new(Tcp), settings)
    }

    /// As `lazy`, over connections that `dial` makes.
    pub fn lazy_over(dial: Arc<dyn Dial>, mut settings: ClientSettings) -> Result<Self, Error> {
        let endpoints = settings.check()?;
        let (seed, key) = (chance::bits()?, chance::bits()?);
        let shared = Arc::new(Shared::new(settings, endpoints, dial, seed, key));
        // The core wants its first stream open.
        shared.with(|_, _| ());
        let streams = 0..shared.settings.core.streams;
        let run = |stream| tokio::spawn(run_stream(shared.clone(), stream));
        let mut tasks: Vec<_> = streams.map(run).collect();
        tasks.push(tokio::spawn(run_timer(shared.clone())));
        let watching = Watching::new(seed);
        Ok(Self { inner: Arc::new(Inner { shared, ids: Ids::new()?, watching, tasks }) })
    }

    /// Waits until every call is answered or at its deadline, then closes. Later calls are
    /// `Closed`.
    pub async fn close(self) {
        let shared = &self.inner.shared;
        let all = u32::try_from(shared.settings.calls_max).unwrap_or(u32::MAX);
        // Whoever holds all slots has nobody beside him.
        let idle = shared.slots.acquire_many(all).await;
        shared.slots.close();
        drop(idle);
        shared.close();
    }

    /// A session that has seen nothing yet, in the settings' mode.
    pub fn session(&self) -> Result<Session, Error> {
        self.session_in(self.inner.shared.settings.mode)
    }

    /// The same in a mode of its own.
    pub fn session_in(&self, mode: Mode) -> Result<Session, Error> {
        Session::begin(self, &[], mode)
    }

    /// Goes on with a session from the bytes of `Session::token`, of this process or another.
    pub fn resume(&self, token: &[u8]) -> Result<Session, Error> {
        self.resume_in(token, self.inner.shared.settings.mode)
    }

    /// The same in a mode of its own.
    pub fn resume_in(&self, token: &[u8], mode: Mode) -> Result<Session, Error> {
        Session::begin(self, token, mode)
    }

    /// A handle to a cart. It need not exist: an empty one shows nothing. Calls on it belong to no
    /// session, have no order among each other, and see whatever the replica has.
    pub fn cart(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Cart, BoundsError> {
        Cart::new(self, None, namespace.as_ref(), id.as_ref())
    }

    /// A handle to a set.
    pub fn set(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Set, BoundsError> {
        Set::new(self, None, namespace.as_ref(), id.as_ref())
    }

    /// A handle to a counter.
    pub fn counter(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Counter, BoundsError> {
        Counter::new(self, None, namespace.as_ref(), id.as_ref())
    }

    /// A handle to a stock.
    pub fn stock(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Stock, BoundsError> {
        Stock::new(self, None, namespace.as_ref(), id.as_ref())
    }

    /// Names objects of a namespace, page by page.
    pub fn list(&self, kind: Kind, namespace: impl AsRef<[u8]>, page: &Page) -> Call<Listing> {
        self.list_in(None, kind, namespace.as_ref(), page)
    }

    fn list_in(
        &self,
        session: Option<&Session>,
        kind: Kind,
        namespace: &[u8],
        page: &Page,
    ) -> Call<Listing> {
        let body = match list_body(kind, namespace, page) {
            Ok(body) => Body::from(body),
            Err(error) => return Call::failed(error.into()),
        };
        self.ask_in(session, body, page.size)
    }

    /// A read that is of no object.
    fn ask_in<T: FromAnswer>(
        &self,
        session: Option<&Session>,
        body: Body,
        page_size: u32,
    ) -> Call<T> {
        let shared = &self.inner.shared;
        let terms = Terms {
            session: session.map(|session| session.inner.number),
            op: None,
            peers: 0,
            deadline: shared.settings.deadline,
            page_size,
        };
        Call::make(shared, body, &terms, (self.clone(), session.cloned()))
    }

    /// One page of what a customer has set aside in a namespace: so many holds (1 to 1,000),
    /// ascending by stock (its length first) and op id, behind `after`.
    pub fn held_by(
        &self,
        namespace: impl AsRef<[u8]>,
        customer: impl AsRef<[u8]>,
        after: Option<(ObjectKey, OpId)>,
        size: u32,
    ) -> Call<HeldByView> {
        self.held_by_in(None, namespace.as_ref(), customer.as_ref(), after, size)
    }

    fn held_by_in(
        &self,
        session: Option<&Session>,
        namespace: &[u8],
        customer: &[u8],
        after: Option<(ObjectKey, OpId)>,
        size: u32,
    ) -> Call<HeldByView> {
        match held_by_body(namespace, customer, after, size) {
            Ok(body) => self.ask_in(session, Body::from(body), size),
            Err(error) => Call::failed(error),
        }
    }
}

impl Session {
    /// The client it belongs to.
    pub fn client(&self) -> Client {
        Client { inner: self.inner.client.clone() }
    }

    /// A handle to a cart, for this session: it sees what the session has written and read.
    pub fn cart(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Cart, BoundsError> {
        Cart::new(&self.client(), Some(self), namespace.as_ref(), id.as_ref())
    }

    /// A handle to a set, for this session.
    pub fn set(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Set, BoundsError> {
        Set::new(&self.client(), Some(self), namespace.as_ref(), id.as_ref())
    }

    /// A handle to a counter, for this session.
    pub fn counter(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Counter, BoundsError> {
        Counter::new(&self.client(), Some(self), namespace.as_ref(), id.as_ref())
    }

    /// A handle to a stock, for this session.
    pub fn stock(
        &self,
        namespace: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
    ) -> Result<Stock, BoundsError> {
        Stock::new(&self.client(), Some(self), namespace.as_ref(), id.as_ref())
    }

    /// Names objects of a namespace, page by page.
    pub fn list(&self, kind: Kind, namespace: impl AsRef<[u8]>, page: &Page) -> Call<Listing> {
        self.client().list_in(Some(self), kind, namespace.as_ref(), page)
    }

    /// As of the client, in this session.
    pub fn held_by(
        &self,
        namespace: impl AsRef<[u8]>,
        customer: impl AsRef<[u8]>,
        after: Option<(ObjectKey, OpId)>,
        size: u32,
    ) -> Call<HeldByView> {
        let (namespace, customer) = (namespace.as_ref(), customer.as_ref());
        self.client().held_by_in(Some(self), namespace, customer, after, size)
    }
}
