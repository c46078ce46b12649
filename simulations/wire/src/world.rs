//! A world: hosts on a network, and the loop that gives each its turn.

use crate::hosts;
use crate::options::Options;
use crate::stage::{Ending, Order, Stage};
use crate::system::{self, Playing};
use pannier_replica::store::memory::{InDoubt, MemoryDisk};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use turmoil::{Builder, Sim};

/// Where stories are played.
const STORY: &str = "story";

/// Panics of this process: a runtime keeps those of its tasks to itself.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// See the file's head. One for each process (`alone`).
pub struct World {
    sim: Sim<'static>,
    stage: Stage,
    disks: Vec<Rc<RefCell<MemoryDisk>>>,
    // Last: hosts look at the clock while they are dropped.
    _playing: Playing,
}

impl World {
    /// All hosts, started at time 0.
    pub fn new(options: Options) -> Self {
        count_panics();
        let playing = system::play(options.seed);
        let mut builder = Builder::new();
        builder
            .rng_seed(options.seed)
            .epoch(SystemTime::UNIX_EPOCH)
            .simulation_duration(Duration::from_secs(86_400))
            .tick_duration(options.step)
            .tcp_capacity(options.segments)
            .min_message_latency(options.latency.0)
            .max_message_latency(options.latency.1);
        let mut sim = builder.build();
        let names = |letter: char, count: usize| (0..count).map(move |at| format!("{letter}{at}"));
        let hosts = names('r', options.replicas).chain(names('g', options.gateways));
        let endings = hosts.map(|name| (name, Rc::<Ending>::default())).collect::<BTreeMap<_, _>>();
        let options = Rc::new(options);
        let disks: Vec<_> =
            (0..options.replicas).map(|_| Rc::<RefCell<MemoryDisk>>::default()).collect();
        for (place, name) in names('r', options.replicas).enumerate() {
            let (options, disk) = (options.clone(), Rc::clone(&disks[place]));
            let ending = endings[&name].clone();
            sim.host(name, move || {
                hosts::replica(options.clone(), place, disk.borrow().clone(), ending.clone())
            });
        }
        for name in names('g', options.gateways) {
            let (options, ending) = (options.clone(), endings[&name].clone());
            sim.host(name, move || hosts::gateway(options.clone(), ending.clone()));
        }
        let (orders, endings) = (Rc::<RefCell<_>>::default(), Rc::new(endings));
        Self { sim, stage: Stage { orders, endings, options }, disks, _playing: playing }
    }

    /// One more host, for clients that are to be cut off together. It is left alone when the story
    /// ends.
    pub fn client<F>(&mut self, name: &str, software: impl FnOnce(Stage) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let software = software(self.stage.clone());
        self.sim.client(name, async move {
            software.await;
            Ok(())
        });
    }

    /// Plays a story on a host of its own, to its end; how much simulated time has passed by then.
    ///
    /// # Panics
    ///
    /// When anything panics, in the story or in a host, or a host's software fails.
    pub fn play<F>(mut self, story: impl FnOnce(Stage) -> F) -> Duration
    where
        F: Future<Output = ()> + 'static,
    {
        let (story, is_over) = (story(self.stage.clone()), Rc::<Cell<bool>>::default());
        let over = is_over.clone();
        self.sim.client(STORY, async move {
            story.await;
            over.set(true);
            Ok(())
        });
        while !is_over.get() {
            system::set_now(self.sim.elapsed());
            self.carry_out();
            let stepped = self.sim.step();
            let panics = PANICS.load(Ordering::Relaxed);
            assert_eq!(panics, 0, "panics, after {:?}", self.sim.elapsed());
            if let Err(error) = stepped {
                panic!("after {:?}: {error}", self.sim.elapsed());
            }
        }
        self.sim.elapsed()
    }

    fn carry_out(&mut self) {
        let orders = std::mem::take(&mut *self.stage.orders.borrow_mut());
        for order in orders {
            match order {
                Order::Crash(host) => {
                    self.sim.crash(host.as_str());
                    if let Some(disk) = self.disk(&host) {
                        disk.borrow().crash(InDoubt::NOTHING);
                        if self.stage.options.forgetful_disks {
                            disk.replace(MemoryDisk::new());
                        }
                    }
                }
                Order::Start(host) => self.sim.bounce(host.as_str()),
            }
        }
    }

    fn disk(&self, host: &str) -> Option<&RefCell<MemoryDisk>> {
        let place: usize = host.strip_prefix('r')?.parse().ok()?;
        self.disks.get(place).map(Rc::as_ref)
    }
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            usual(info);
        }));
    });
}
