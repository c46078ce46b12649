//! Three regions, and what happens to them: replicas as processes, links that can be cut, a
//! gateway.
//!
//! Acts are begun, not waited for: shopping goes on while a replica dies and while it comes back.
//! Those on one region follow each other.

use crate::admin::Inner;
use crate::fail::Fail;
use crate::processes::{Link, Plan, Recipe, Server, Site, Weather};
use crate::replay::{Act, Region};
use crate::run;
use pannier_gateway::{Gateway, GatewayError, GatewaySettings, ReplicaAt};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How a region is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It serves, and reaches its peers.
    #[default]
    Up,
    /// It serves, and reaches nobody.
    Cut,
    /// Its replica is dead.
    Down,
    /// Its replica is opening its directory.
    Starting,
}

impl State {
    /// In a word or two.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Cut => "cut off",
            Self::Down => "killed",
            Self::Starting => "starting",
        }
    }
}

/// What tasks of the cluster say.
#[derive(Default)]
struct Told {
    states: [State; Region::COUNT],
    /// How often each has come back.
    starts: [u64; Region::COUNT],
    failure: Option<Fail>,
}

/// What stands in one region.
struct Place {
    recipe: Recipe,
    /// Acts on it wait for each other here.
    node: Arc<tokio::sync::Mutex<Option<Server>>>,
    inner: Inner,
}

/// The whole of it.
pub struct Cluster {
    places: Vec<Place>,
    links: Vec<(usize, usize, Link)>,
    told: Arc<Mutex<Told>>,
    gateway: SocketAddr,
    serving: Mutex<Option<Serving>>,
}

/// The gateway's task, and how to end it.
type Serving = (oneshot::Sender<()>, JoinHandle<Result<(), GatewayError>>);

impl Cluster {
    /// Starts everything, with the data below `root`, and waits until each replica serves.
    pub async fn start(name: &str, root: &Path, log: &'static str) -> Result<Self, Fail> {
        let site = |region: Region| Site {
            member: region.member(),
            zone: region.name(),
            directory: root.join(region.name()),
        };
        let Plan { recipes, links } =
            Plan::draw(name, Region::all().map(site).collect(), log).await?;
        let mut places = Vec::new();
        for recipe in recipes {
            let node = Arc::new(tokio::sync::Mutex::new(Some(recipe.start().await?)));
            let inner = Inner::at("inner_listen", &recipe.inner_listen.to_string())?;
            places.push(Place { recipe, node, inner });
        }
        let at = |place: &Place| ReplicaAt {
            member: place.recipe.member,
            address: place.recipe.listen.to_string(),
            zone: place.recipe.zone.to_owned(),
        };
        let mut settings = GatewaySettings::new(name, places.iter().map(at).collect());
        // In the end nobody is left who could ask anything.
        settings.drain_ms = 500;
        let any = || SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
        let listener = run::listen("listen", any()).await?;
        let inner = run::listen("inner_listen", any()).await?;
        let gateway = run::address(&listener)?;
        let (stop_gateway, stopped) = oneshot::channel::<()>();
        let serving = Gateway::builder(settings).inner(inner).serve(listener, async {
            // Told to, or nobody is left to tell.
            let _ = stopped.await;
        });
        let serving = Mutex::new(Some((stop_gateway, tokio::spawn(serving))));
        Ok(Self { places, links, told: Arc::default(), gateway, serving })
    }

    /// Where clients go.
    pub const fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Where a region's replica serves clients.
    pub fn public(&self, region: Region) -> SocketAddr {
        self.places[region.index()].recipe.listen
    }

    /// What a region's replica says of itself.
    pub fn inner(&self, region: Region) -> &Inner {
        &self.places[region.index()].inner
    }

    /// Begins an act.
    pub fn act(&self, act: Act) {
        match act {
            Act::Cut(region) => self.cut(region, true),
            Act::Heal(region) => self.cut(region, false),
            Act::Kill(region) => {
                self.told().states[region.index()] = State::Down;
                let node = Arc::clone(&self.places[region.index()].node);
                self.spawn(async move {
                    match node.lock().await.take() {
                        Some(node) => node.kill().await,
                        None => Ok(()),
                    }
                });
            }
            Act::Restart(region) => {
                let (at, told) = (region.index(), Arc::clone(&self.told));
                let (node, recipe) =
                    (Arc::clone(&self.places[at].node), self.places[at].recipe.clone());
                self.told().states[at] = State::Starting;
                self.spawn(async move {
                    let mut node = node.lock().await;
                    *node = Some(recipe.start().await?);
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    told.states[at] = State::Up;
                    told.starts[at] += 1;
                    Ok(())
                });
            }
        }
    }

    fn cut(&self, region: Region, is_cut: bool) {
        let weather = Weather { is_refused: is_cut, ..Weather::default() };
        for (from, to, link) in &self.links {
            if *from == region.index() || *to == region.index() {
                link.set(weather);
            }
        }
        self.told().states[region.index()] = if is_cut { State::Cut } else { State::Up };
    }

    fn spawn(&self, act: impl Future<Output = Result<(), Fail>> + Send + 'static) {
        let told = Arc::clone(&self.told);
        tokio::spawn(async move {
            if let Err(fail) = act.await {
                told.lock().unwrap_or_else(PoisonError::into_inner).failure.get_or_insert(fail);
            }
        });
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How each region is.
    pub fn states(&self) -> [State; Region::COUNT] {
        self.told().states
    }

    /// How often a region has come back.
    pub fn starts(&self, region: Region) -> u64 {
        self.told().starts[region.index()]
    }

    /// An act that went wrong.
    pub fn failure(&self) -> Option<Fail> {
        self.told().failure.take()
    }

    /// Ends everything in good order.
    pub async fn close(&self) -> Result<(), Fail> {
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        let served = match serving {
            Some((stop, task)) => {
                drop(stop);
                task.await
            }
            None => Ok(Ok(())),
        };
        for place in &self.places {
            if let Some(node) = place.node.lock().await.take() {
                node.close().await?;
            }
        }
        match served {
            Ok(served) => served.map_err(|error| Fail::Away(format!("gateway: {error}"))),
            Err(panic) => Err(Fail::Away(format!("gateway: {panic}"))),
        }
    }
}
