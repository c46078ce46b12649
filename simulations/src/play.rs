//! Plays: scenarios with names in place of numbers, written by hand.
//!
//! A drawn run finds what nobody thought of; a play shows what everybody asks first. Regions and
//! people have names, things happen at a second, and at the end the cart is looked at. It is the
//! same world: every checker looks on, and the play fails with a story like any seed.
//!
//! ```
//! use pannier_simulations::play::{Play, TEA};
//!
//! let mut play = Play::in_regions(&["eu", "us"]);
//! let ada = play.person("ada", "eu");
//! play.at(1.0, ada.adds(2, TEA));
//! play.at(2.0, play.loses("eu", 1.5));
//! let end = play.to_the_end();
//! assert_eq!(end.cart(0), [(TEA, 2)]);
//! ```

use crate::canary::Canary;
use crate::coverage::{Coverage, Mark};
use crate::front::Gate;
use crate::run::{Violation, perform};
use crate::scenario::{Act, Doing, Home, Links, Options, Scenario, Verb};
use orset::{Kind, ObjectKey};
use pannier_replica::protocol::Value;

/// A product, by number.
pub type Product = usize;
/// The first product.
pub const TEA: Product = 0;
/// The second one.
pub const MILK: Product = 1;
/// The third one.
pub const BREAD: Product = 2;

/// Somebody with a session.
#[derive(Clone, Copy, Debug)]
pub struct Person(usize);

impl Person {
    fn does(self, verb: Verb, product: Product, quantity: u32) -> Doing {
        Doing::Shop { session: self.0, verb, object: 0, product, quantity, blind: false }
    }

    /// Puts so many into the first cart.
    pub fn adds(self, quantity: u32, product: Product) -> Doing {
        self.does(Verb::Add, product, quantity)
    }

    /// Takes a line out, as last seen; who has seen nothing yet, looks instead.
    pub fn removes(self, product: Product) -> Doing {
        self.does(Verb::Remove, product, 1)
    }

    /// Sets a line, as last seen; who has seen nothing yet, looks instead.
    pub fn sets(self, product: Product, quantity: u32) -> Doing {
        self.does(Verb::Set, product, quantity + 1)
    }

    /// Takes so many off a line, as last seen; who has seen nothing yet, looks instead.
    pub fn takes(self, quantity: u32, product: Product) -> Doing {
        self.does(Verb::Decrement, product, quantity)
    }

    /// Looks at the first cart, as at checkout.
    pub fn looks(self) -> Doing {
        self.does(Verb::Read, 0, 1)
    }

    /// Counts one at the first counter.
    pub fn counts(self) -> Doing {
        self.does(Verb::Count, 0, 1)
    }

    /// Wishes for something.
    pub fn wishes(self, product: Product) -> Doing {
        self.does(Verb::Wish, product, 1)
    }
}

/// See the file's head.
#[derive(Clone, Debug)]
pub struct Play {
    regions: Vec<&'static str>,
    people: Vec<&'static str>,
    scenario: Scenario,
}

impl Play {
    /// A plain world with a replica in each of these, and a gateway beside each.
    pub fn in_regions(regions: &[&'static str]) -> Self {
        let list: Vec<usize> = (0..regions.len()).collect();
        let mut options = Options {
            replicas: regions.len(),
            sessions: 0,
            products: 3,
            delay_us: (40_000, 40_000),
            duration_us: 0,
            ..Options::default()
        };
        let gate = |site| Gate { site, list: list.clone() };
        options.front.gates.all = (0..regions.len()).map(gate).collect();
        let scenario = Scenario { options, acts: Vec::new(), odd: None };
        Self { regions: regions.to_vec(), people: Vec::new(), scenario }
    }

    fn region(&self, name: &str) -> usize {
        self.regions.iter().position(|region| *region == name).unwrap_or(0)
    }

    /// Somebody who calls the gateway of a region.
    pub fn person(&mut self, name: &'static str, region: &str) -> Person {
        let home = Home::Gateway(self.region(region));
        self.people.push(name);
        self.scenario.options.sessions = self.people.len();
        self.scenario.options.homes.push(home);
        Person(self.people.len() - 1)
    }

    /// What the world is like, to change it.
    pub fn options(&mut self) -> &mut Options {
        &mut self.scenario.options
    }

    /// Something happens at a second.
    pub fn at(&mut self, second: f64, what: Doing) {
        let (at_us, key) = ((second * 1e6) as u64, self.scenario.acts.len() as u64);
        self.scenario.acts.push(Act { at_us, key, what });
        let until_us = &mut self.scenario.options.duration_us;
        *until_us = (*until_us).max(at_us + 1_000_000);
    }

    /// Nothing heals before that second.
    pub fn lasts(&mut self, seconds: f64) {
        let until_us = &mut self.scenario.options.duration_us;
        *until_us = (*until_us).max((seconds * 1e6) as u64);
    }

    /// A region's replica loses power for so many seconds, and what was not synced.
    pub fn loses(&self, region: &str, seconds: f64) -> Doing {
        let pause_us = Some((seconds * 1e6) as u64);
        Doing::Crash { replica: self.region(region), keep_log: 0, keep_state: 0, pause_us }
    }

    /// A region is cut off from all others for so many seconds.
    pub fn cuts_off(&self, region: &str, seconds: f64) -> Doing {
        let links = Links::around(self.region(region));
        Doing::Cut { links, for_us: (seconds * 1e6) as u64 }
    }

    /// The link between two regions comes and goes.
    pub fn flaps(&self, one: &str, other: &str, seconds: f64) -> Doing {
        let (one, other) = (self.region(one), self.region(other));
        let links = [(one, other), (other, one)].into_iter().collect();
        let (off_us, on_us) = (300_000, 150_000);
        Doing::Flap { links, off_us, on_us, for_us: (seconds * 1e6) as u64 }
    }

    /// A region's clock jumps by so many seconds.
    pub fn clock_jumps(&self, region: &str, seconds: i64) -> Doing {
        Doing::Jump { replica: self.region(region), by_ms: seconds * 1_000 }
    }

    /// As data: to be kept, shrunk or written.
    pub fn scenario(&self) -> Scenario {
        let mut scenario = self.scenario.clone();
        scenario.acts.sort_by_key(|act| (act.at_us, act.key));
        scenario
    }

    /// Plays it, with a bug planted or none: how it ends, or what was broken.
    pub fn played(&self, canary: Canary) -> Result<Ending, Box<Violation>> {
        let (outcome, shown) = perform(&self.scenario(), canary);
        match outcome.violation {
            Some(violation) => Err(violation),
            None => Ok(Ending { coverage: outcome.coverage, shown }),
        }
    }

    /// Plays it as it ships; for tests.
    ///
    /// # Panics
    ///
    /// When a promise is broken: the story is the panic's message.
    pub fn to_the_end(&self) -> Ending {
        match self.played(Canary::None) {
            Ok(ending) => ending,
            Err(violation) => panic!("{violation}"),
        }
    }
}

/// What everybody shows, when all agree.
#[derive(Clone, Debug)]
pub struct Ending {
    coverage: Coverage,
    shown: Vec<(ObjectKey, Value)>,
}

impl Ending {
    fn of(&self, kind: Kind, number: usize) -> Option<&Value> {
        let of_kind = self.shown.iter().filter(|(object, _)| object.kind() == kind);
        of_kind.map(|(_, value)| value).nth(number)
    }

    /// What is in a cart, by product.
    pub fn cart(&self, number: usize) -> Vec<(Product, u64)> {
        let Some(Value::Cart(lines, _)) = self.of(Kind::Cart, number) else { return Vec::new() };
        let product = |line: &orset::cart::Line| {
            let letter = line.product.to_string().bytes().find(u8::is_ascii_uppercase);
            letter.map_or(0, |letter| usize::from(letter - b'A'))
        };
        lines.iter().map(|line| (product(line), line.quantity)).collect()
    }

    /// What a counter shows.
    pub fn count(&self, number: usize) -> i128 {
        match self.of(Kind::Counter, number) {
            Some(Value::Counter(value)) => *value,
            _ => 0,
        }
    }

    /// How often something was met.
    pub fn met(&self, mark: Mark) -> u64 {
        self.coverage.get(mark)
    }
}
