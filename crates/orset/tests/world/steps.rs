//! What can happen in a world, and how often.
//!
//! Few products, few ids, three replicas: things must collide. Weights: writes and deliveries in
//! balance, so that replicas know some but rarely all; one write in three is a retry or a reuse
//! of an op id, since that is where exactly-once is won or lost.

use proptest::prelude::*;

/// The products there are.
pub const PRODUCTS: [&[u8]; 3] = [b"lamp", b"rug", b"tea"];

/// Which object, by index in histories.
pub const USER: usize = 0;
pub const GUEST: usize = 1;
pub const WISHES: usize = 2;
pub const VIEWS: usize = 3;

/// What a client wants.
#[derive(Clone, Debug)]
pub enum Act {
    Add { object: usize, product: usize, quantity: u32, engraved: bool },
    Remove { object: usize, product: usize },
    Set { product: usize, quantity: u32 },
    Decrement { object: usize, product: usize, quantity: u32 },
    Clear { object: usize },
    Merge,
    Count(i64),
}

/// What the client says it was shown.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// Nothing said: what the replica has.
    Unsaid,
    /// A read of this replica, just now.
    Now,
    /// An earlier read, of any replica.
    Earlier(u16),
}

/// Under which op id.
#[derive(Clone, Copy, Debug)]
pub enum Name {
    /// The next of one of three sessions.
    Session(u8),
    /// A new version 7 id.
    V7,
    /// One that was used before, for whatever it was: a broken client.
    Used(u16),
}

/// One thing that happens. Picks are taken modulo what there is to pick from.
#[derive(Clone, Debug)]
pub enum Step {
    /// A new request.
    Do { at: usize, act: Act, shown: Shown, name: Name },
    /// One of the last few requests again, at any replica.
    Retry { at: usize, back: u16 },
    /// Any earlier request again, as late as may be.
    LateRetry { at: usize, pick: u16 },
    /// An earlier request again with one unit more: a client that breaks the rule.
    Conflict { at: usize, back: u16 },
    /// A client reads a cart and keeps what it was shown.
    Read { at: usize, object: usize },
    /// A commit whose causes are there is applied.
    Deliver { to: usize, pick: u16 },
    /// A commit that was applied is applied again.
    Double { to: usize, pick: u16 },
    /// A whole state is kept for later.
    Keep { of: usize },
    /// A kept, stale state is joined.
    JoinKept { to: usize, pick: u16 },
    /// The state of another replica is joined.
    Join { to: usize, from: usize },
    /// A bystander joins the delta of any commit, in no order at all.
    Overhear { who: usize, pick: u16 },
}

impl Act {
    /// The same act with one unit more.
    pub fn with_one_more(mut self) -> Self {
        match &mut self {
            Self::Add { object: WISHES, product, .. } => *product = (*product + 1) % PRODUCTS.len(),
            Self::Add { product, quantity, engraved, .. } => {
                // An engraved one becomes another product: contents may differ in that as well.
                *product = (*product + usize::from(*engraved)) % PRODUCTS.len();
                *quantity += 1;
            }
            Self::Set { quantity, .. } | Self::Decrement { quantity, .. } => *quantity += 1,
            Self::Count(amount) => *amount = if *amount == -1 { 1 } else { *amount + 1 },
            Self::Remove { .. } | Self::Clear { .. } | Self::Merge => {}
        }
        self
    }
}

fn act() -> impl Strategy<Value = Act> {
    let cart = prop_oneof![3 => Just(USER), 2 => Just(GUEST)];
    let any = prop_oneof![3 => Just(USER), 2 => Just(GUEST), 2 => Just(WISHES)];
    let product = prop_oneof![6 => Just(0_usize), 2 => Just(1), 1 => Just(2)];
    let (p, q) = (product.clone(), 1..5_u32);
    prop_oneof![
        9 => (any.clone(), p.clone(), q.clone(), prop::bool::weighted(0.1)).prop_map(
            |(object, product, quantity, engraved)| {
                let quantity = if object == WISHES { 1 } else { quantity };
                Act::Add { object, product, quantity, engraved }
            }
        ),
        3 => (any.clone(), p.clone()).prop_map(|(object, product)| Act::Remove { object, product }),
        4 => (p.clone(), 0..5_u32).prop_map(|(product, quantity)| Act::Set { product, quantity }),
        5 => (cart, p, q).prop_map(
            |(object, product, quantity)| Act::Decrement { object, product, quantity }
        ),
        1 => any.prop_map(|object| Act::Clear { object }),
        2 => Just(Act::Merge),
        2 => (-3..4_i64).prop_filter("0 is no change", |n| *n != 0).prop_map(Act::Count),
    ]
}

fn step(replicas: usize) -> impl Strategy<Value = Step> {
    let at = 0..replicas;
    let shown = prop_oneof![
        2 => Just(Shown::Unsaid),
        2 => Just(Shown::Now),
        2 => any::<u16>().prop_map(Shown::Earlier),
    ];
    let name = prop_oneof![
        9 => (0..3_u8).prop_map(Name::Session),
        3 => Just(Name::V7),
        1 => any::<u16>().prop_map(Name::Used),
    ];
    prop_oneof![
        12 => (at.clone(), act(), shown, name)
            .prop_map(|(at, act, shown, name)| Step::Do { at, act, shown, name }),
        4 => (at.clone(), 0..4_u16).prop_map(|(at, back)| Step::Retry { at, back }),
        1 => (at.clone(), any::<u16>()).prop_map(|(at, pick)| Step::LateRetry { at, pick }),
        1 => (at.clone(), 0..4_u16).prop_map(|(at, back)| Step::Conflict { at, back }),
        4 => (at.clone(), 0..3_usize).prop_map(|(at, object)| Step::Read { at, object }),
        11 => (at.clone(), any::<u16>()).prop_map(|(to, pick)| Step::Deliver { to, pick }),
        2 => (at.clone(), any::<u16>()).prop_map(|(to, pick)| Step::Double { to, pick }),
        1 => at.clone().prop_map(|of| Step::Keep { of }),
        1 => (at.clone(), any::<u16>()).prop_map(|(to, pick)| Step::JoinKept { to, pick }),
        1 => (at.clone(), at).prop_map(|(to, from)| Step::Join { to, from }),
        6 => (0..2_usize, any::<u16>()).prop_map(|(who, pick)| Step::Overhear { who, pick }),
    ]
}

/// A run of `length` steps among three replicas.
pub fn steps(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(3), length)
}
