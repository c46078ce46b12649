//! What a story can do to the world that it is played in.

use crate::http::{metric, page};
use crate::net::Wire;
use crate::options::{GATEWAY, INNER, Options, PUBLIC, member};
use pannier_client::{Client, ClientSettings};
use pannier_proto::v1;
use pannier_proto::v1::admin_client::AdminClient;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tonic::transport::{Channel, Endpoint};

/// What only the world can do, between two steps.
pub(crate) enum Order {
    Crash(String),
    Start(String),
}

/// How a host is told to end, and what came of it.
#[derive(Default)]
pub(crate) struct Ending {
    pub asked: Notify,
    cut: Cell<Option<usize>>,
}

impl Ending {
    pub fn ended(&self, cut: usize) {
        self.cut.set(Some(cut));
    }
}

/// A story's hold on its world; clones are the same one.
#[derive(Clone)]
pub struct Stage {
    pub(crate) orders: Rc<RefCell<VecDeque<Order>>>,
    pub(crate) endings: Rc<BTreeMap<String, Rc<Ending>>>,
    pub(crate) options: Rc<Options>,
}

impl Stage {
    /// What the world is made of.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Simulated time since the run began.
    pub fn now(&self) -> Duration {
        crate::system::now()
    }

    /// Lets simulated time pass.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Lets it pass until something is so; how long that took.
    ///
    /// # Panics
    ///
    /// When it is not within `most`.
    pub async fn until(
        &self,
        what: &str,
        most: Duration,
        mut so: impl AsyncFnMut() -> bool,
    ) -> Duration {
        let began = self.now();
        while !so().await {
            let waited = self.now() - began;
            assert!(waited <= most, "not within {most:?}: {what}");
            self.pass(Duration::from_millis(20)).await;
        }
        self.now() - began
    }

    // === Faults ===

    /// A host dies: its connections end, its memory is gone.
    pub async fn crash(&self, host: &str) {
        self.order(Order::Crash(host.to_owned())).await;
    }

    /// It starts again, on the disk that it had.
    pub async fn start(&self, host: &str) {
        self.order(Order::Start(host.to_owned())).await;
    }

    async fn order(&self, order: Order) {
        self.orders.borrow_mut().push_back(order);
        while !self.orders.borrow().is_empty() {
            self.pass(self.options.step).await;
        }
    }

    /// A host is told to end; resolves when it has, with the connections that it cut off.
    pub async fn drain(&self, host: &str) -> usize {
        let ending = &self.endings[host];
        ending.asked.notify_one();
        loop {
            if let Some(cut) = ending.cut.take() {
                return cut;
            }
            self.pass(self.options.step).await;
        }
    }

    /// Loses everything between two hosts, both ways. What is lost is not sent again: turmoil's TCP
    /// is without that, so a connection that loses a segment is silent for ever.
    pub fn cut(&self, one: &str, other: &str) {
        turmoil::partition(one, other);
    }

    /// Loses everything on its way from one to the other.
    pub fn cut_one_way(&self, from: &str, to: &str) {
        turmoil::partition_oneway(from, to);
    }

    /// Ends a cut, of either kind.
    pub fn heal(&self, one: &str, other: &str) {
        turmoil::repair(one, other);
    }

    /// Keeps everything between two hosts on its way, until `release`.
    pub fn hold(&self, one: &str, other: &str) {
        turmoil::hold(one, other);
    }

    /// See `hold`.
    pub fn release(&self, one: &str, other: &str) {
        turmoil::release(one, other);
    }

    // === Looking ===

    /// A sample of a host's page of metrics, by its name without prefix, labels included.
    pub async fn metric(&self, host: &str, name: &str) -> u64 {
        let text = page(host, INNER, "/metrics").await;
        metric(&text, name).unwrap_or_else(|| panic!("{host} has no {name}\n{text}"))
    }

    /// The same of a label that is the member at a place.
    pub async fn peer_metric(&self, host: &str, name: &str, place: usize) -> u64 {
        self.metric(host, &format!("{name}{{peer=\"{}\"}}", member(place))).await
    }

    /// What a replica has applied and synced, and the sum over its rows.
    pub async fn state(&self, place: usize) -> v1::StateHash {
        let channel = self.channel(&format!("r{place}"), INNER).await;
        let asked =
            AdminClient::new(channel).get_state_hash(v1::GetStateHashRequest::default()).await;
        asked.unwrap_or_else(|status| panic!("r{place}: {status}")).into_inner()
    }

    /// Whether all replicas have the same, and something.
    pub async fn agree(&self) -> bool {
        let first = self.state(0).await;
        for place in 1..self.options.replicas {
            if self.state(place).await != first {
                return false;
            }
        }
        !first.vector.is_empty()
    }

    /// A connection to a host's port, for calls of the generated clients.
    pub async fn channel(&self, host: &str, port: u16) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{host}:{port}"));
        let endpoint = endpoint.expect("an address");
        let dialled = pannier_client::Dial::dial(&Wire, &endpoint).await;
        dialled.unwrap_or_else(|error| panic!("{host}:{port}: {error:?}"))
    }

    // === Clients ===

    /// Settings of a client of all gateways, or of all replicas where there is no gateway.
    pub fn client_settings(&self) -> ClientSettings {
        match self.options.gateways {
            0 => {
                ClientSettings::new((0..self.options.replicas).map(|at| format!("r{at}:{PUBLIC}")))
            }
            gateways => ClientSettings::new((0..gateways).map(|at| format!("g{at}:{GATEWAY}"))),
        }
    }

    /// Each replica has made a commit of its own: from then on it takes changes in alone.
    pub async fn begin(&self) {
        for place in 0..self.options.replicas {
            let client = self.client(ClientSettings::new([format!("r{place}:{PUBLIC}")]));
            let began = client.counter("stage", "began").expect("names that are right");
            began.add(1).await.unwrap_or_else(|error| panic!("r{place}: {error}"));
        }
    }

    /// A client on the host that asks.
    pub fn client(&self, settings: ClientSettings) -> Client {
        Client::lazy_over(Arc::new(Wire), settings).expect("settings that are right")
    }
}
