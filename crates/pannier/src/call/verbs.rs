//! The verbs of `cart`, `set` and `counter`, as they are typed.

use super::ask::{Ask, Call, durability, name, op_id, seen};
use crate::fail::Fail;
use orset::{AMOUNT_MAX, ATTRIBUTES_MAX, Kind, OBJECT_ID_MAX, PRODUCT_MAX, QUANTITY_MAX};
use std::ffi::{OsStr, OsString};

/// What makes a call repeatable.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Once {
    /// The op's id, a UUID of version 7 or 8: repeat a call under the same one and it takes effect
    /// once
    #[arg(long, value_name = "UUID")]
    pub(super) op_id: Option<String>,
    /// Where it must be synced before it is answered: `local` (the replica that answers), or
    /// `peers:N` (and N other members)
    #[arg(long, value_name = "local|peers:N", default_value = "local", value_parser = durability)]
    pub(super) durability: u32,
}

/// What a call means to change.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Shown {
    /// What was shown, as a read gave it: nothing newer is touched
    #[arg(long, value_name = "HEX")]
    seen: Option<String>,
}

pub(super) const QUANTITY: std::ops::RangeInclusive<i64> = 1..=QUANTITY_MAX as i64;
const TARGET: std::ops::RangeInclusive<i64> = 0..=QUANTITY_MAX as i64;

/// What one does with a cart.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum CartVerb {
    /// Put some of a product in
    #[command(allow_negative_numbers = true)]
    Add {
        /// The cart's id
        cart: OsString,
        /// The product
        product: OsString,
        /// How many
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u32).range(QUANTITY))]
        quantity: u32,
        /// The shop's own bytes
        #[arg(long, value_name = "TEXT", default_value = "")]
        attributes: OsString,
        #[command(flatten)]
        once: Once,
    },
    /// Take a product out
    Remove {
        /// The cart's id
        cart: OsString,
        /// The product
        product: OsString,
        #[command(flatten)]
        once: Once,
        #[command(flatten)]
        shown: Shown,
    },
    /// Make it so many; 0 takes it out
    #[command(allow_negative_numbers = true)]
    Set {
        /// The cart's id
        cart: OsString,
        /// The product
        product: OsString,
        /// How many
        #[arg(value_parser = clap::value_parser!(u32).range(TARGET))]
        quantity: u32,
        #[command(flatten)]
        once: Once,
        #[command(flatten)]
        shown: Shown,
    },
    /// Take some of a product off, as far as there are
    #[command(allow_negative_numbers = true)]
    Decrement {
        /// The cart's id
        cart: OsString,
        /// The product
        product: OsString,
        /// How many
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u32).range(QUANTITY))]
        quantity: u32,
        #[command(flatten)]
        once: Once,
        #[command(flatten)]
        shown: Shown,
    },
    /// Take everything out
    Clear {
        /// The cart's id
        cart: OsString,
        #[command(flatten)]
        once: Once,
        #[command(flatten)]
        shown: Shown,
    },
    /// Move everything of a guest's cart into this one
    Merge {
        /// The cart's id
        cart: OsString,
        /// The guest's cart
        guest: OsString,
        #[command(flatten)]
        once: Once,
    },
    /// Print the cart
    Show {
        /// The cart's id
        cart: OsString,
    },
    /// Print the cart, and again whenever it has changed
    Watch {
        /// The cart's id
        cart: OsString,
        /// End after so many values
        #[arg(long, value_name = "VALUES")]
        count: Option<u64>,
    },
}

/// What one does with a set.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SetVerb {
    /// Put an element in
    Add {
        /// The set's id
        set: OsString,
        /// The element
        element: OsString,
        #[command(flatten)]
        once: Once,
    },
    /// Take an element out
    Remove {
        /// The set's id
        set: OsString,
        /// The element
        element: OsString,
        #[command(flatten)]
        once: Once,
        #[command(flatten)]
        shown: Shown,
    },
    /// Take everything out
    Clear {
        /// The set's id
        set: OsString,
        #[command(flatten)]
        once: Once,
        #[command(flatten)]
        shown: Shown,
    },
    /// Move everything of a guest's set into this one
    Merge {
        /// The set's id
        set: OsString,
        /// The guest's set
        guest: OsString,
        #[command(flatten)]
        once: Once,
    },
    /// Print the set
    Show {
        /// The set's id
        set: OsString,
    },
    /// Print the set, and again whenever it has changed
    Watch {
        /// The set's id
        set: OsString,
        /// End after so many values
        #[arg(long, value_name = "VALUES")]
        count: Option<u64>,
    },
}

/// What one does with a counter.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum CounterVerb {
    /// Add to it, or take off with a negative amount
    #[command(allow_negative_numbers = true)]
    Add {
        /// The counter's id
        counter: OsString,
        /// How much; not 0
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(i64).range(-AMOUNT_MAX..=AMOUNT_MAX))]
        amount: i64,
        #[command(flatten)]
        once: Once,
    },
    /// Print its value
    Show {
        /// The counter's id
        counter: OsString,
    },
    /// Print its value, and again whenever it has changed
    Watch {
        /// The counter's id
        counter: OsString,
        /// End after so many values
        #[arg(long, value_name = "VALUES")]
        count: Option<u64>,
    },
}

/// Which kind of object.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum KindWord {
    /// A cart.
    Cart,
    /// A set.
    Set,
    /// A counter.
    Counter,
    /// A stock.
    Stock,
}

/// What one watches.
#[derive(Clone, Debug, clap::Args)]
pub struct WatchArgs {
    /// What it is
    #[arg(value_enum)]
    kind: KindWord,
    /// Its id
    id: OsString,
    /// End after so many values
    #[arg(long, value_name = "VALUES")]
    count: Option<u64>,
}

impl WatchArgs {
    /// The same as the `watch` of that kind.
    pub fn call(&self) -> Result<(Kind, Call), Fail> {
        let kind = match self.kind {
            KindWord::Cart => Kind::Cart,
            KindWord::Set => Kind::Set,
            KindWord::Counter => Kind::Counter,
            KindWord::Stock => Kind::Stock,
        };
        Ok((kind, call(("ID", &self.id), Ask::Watch(self.count), None, None)?))
    }
}

fn call(
    (argument, id): (&str, &OsStr),
    ask: Ask,
    once: Option<&Once>,
    shown: Option<&Shown>,
) -> Result<Call, Fail> {
    Ok(Call {
        id: name(argument, id, OBJECT_ID_MAX)?,
        ask,
        peers: once.map_or(0, |once| once.durability),
        op: once.and_then(|once| once.op_id.as_deref()).map(op_id).transpose()?,
        seen: shown.and_then(|shown| shown.seen.as_deref()).map(seen).transpose()?,
    })
}

impl CartVerb {
    /// As the library takes it.
    pub fn call(&self) -> Result<Call, Fail> {
        let product = |product: &OsStr| name("PRODUCT", product, PRODUCT_MAX);
        let (cart, ask, once, shown) = match self {
            Self::Add { cart, product: it, quantity, attributes, once } => {
                let (bytes, it) = (attributes.as_encoded_bytes(), product(it)?);
                if bytes.len() > ATTRIBUTES_MAX {
                    let (len, max) = (bytes.len(), ATTRIBUTES_MAX);
                    let error = orset::BoundsError::TooLong { what: "", len, max };
                    return Err(super::ask::names("--attributes", error));
                }
                (cart, Ask::Add(it, *quantity, bytes.to_vec()), Some(once), None)
            }
            Self::Remove { cart, product: it, once, shown } => {
                (cart, Ask::Remove(product(it)?), Some(once), Some(shown))
            }
            Self::Set { cart, product: it, quantity, once, shown } => {
                (cart, Ask::Set(product(it)?, *quantity), Some(once), Some(shown))
            }
            Self::Decrement { cart, product: it, quantity, once, shown } => {
                (cart, Ask::Decrement(product(it)?, *quantity), Some(once), Some(shown))
            }
            Self::Clear { cart, once, shown } => (cart, Ask::Clear, Some(once), Some(shown)),
            Self::Merge { cart, guest, once } => {
                (cart, Ask::Merge(name("GUEST", guest, OBJECT_ID_MAX)?), Some(once), None)
            }
            Self::Show { cart } => (cart, Ask::Show, None, None),
            Self::Watch { cart, count } => (cart, Ask::Watch(*count), None, None),
        };
        call(("CART", cart), ask, once, shown)
    }
}

impl SetVerb {
    /// As the library takes it.
    pub fn call(&self) -> Result<Call, Fail> {
        let element = |element: &OsStr| name("ELEMENT", element, PRODUCT_MAX);
        let (set, ask, once, shown) = match self {
            Self::Add { set, element: it, once } => {
                (set, Ask::Add(element(it)?, 1, Vec::new()), Some(once), None)
            }
            Self::Remove { set, element: it, once, shown } => {
                (set, Ask::Remove(element(it)?), Some(once), Some(shown))
            }
            Self::Clear { set, once, shown } => (set, Ask::Clear, Some(once), Some(shown)),
            Self::Merge { set, guest, once } => {
                (set, Ask::Merge(name("GUEST", guest, OBJECT_ID_MAX)?), Some(once), None)
            }
            Self::Show { set } => (set, Ask::Show, None, None),
            Self::Watch { set, count } => (set, Ask::Watch(*count), None, None),
        };
        call(("SET", set), ask, once, shown)
    }
}

impl CounterVerb {
    /// As the library takes it.
    pub fn call(&self) -> Result<Call, Fail> {
        let (counter, ask, once) = match self {
            Self::Add { amount: 0, .. } => {
                return Err(Fail::of("AMOUNT", "it is 0, which adds nothing"));
            }
            Self::Add { counter, amount, once } => (counter, Ask::Count(*amount), Some(once)),
            Self::Show { counter } => (counter, Ask::Show, None),
            Self::Watch { counter, count } => (counter, Ask::Watch(*count), None),
        };
        call(("COUNTER", counter), ask, once, None)
    }
}
