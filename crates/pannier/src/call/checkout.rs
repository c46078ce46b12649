//! The verbs of `checkout`, as they are typed, and what they are answered.
//!
//! An order is of what the cart shows when it is held or bought; its bytes are printed, and whoever
//! confirms it gives them back, since the cart may have changed.

use super::answer::{After, Session, printable, text};
use super::ask::{Ask, Call, name, op_id, op_id_of};
use super::verbs::Once;
use crate::fail::Fail;
use crate::hex;
use orset::codec::Reader;
use orset::order::Goods;
use orset::stock::{CUSTOMER_MAX, Customer, OrderAsk, Outcome};
use orset::{OBJECT_ID_MAX, OpId};
use pannier_proto::limits::{ORDERS_DEFAULT, ORDERS_MAX};
use serde::Serialize;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// What is asked about an order; of what the cart shows, it is asked first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderWord {
    /// What the cart shows is set aside for so many ms.
    Hold(Option<Customer>, u64),
    /// What the cart shows is bought at once.
    Buy(Option<Customer>),
    /// This, of an order that is known.
    Known(OrderAsk),
}

impl OrderWord {
    /// For whom the cart is read, if it is.
    pub const fn reads(&self) -> Option<&Option<Customer>> {
        match self {
            Self::Hold(customer, _) | Self::Buy(customer) => Some(customer),
            Self::Known(_) => None,
        }
    }

    /// What is asked; `goods`: what the cart shows, if it was read.
    pub fn ask(&self, goods: Option<Goods>) -> Option<OrderAsk> {
        Some(match self {
            Self::Hold(_, ttl_ms) => OrderAsk::Checkout { goods: goods?, ttl_ms: *ttl_ms },
            Self::Buy(_) => OrderAsk::Confirm { goods: goods? },
            Self::Known(ask) => ask.clone(),
        })
    }
}

/// For whom.
#[derive(Clone, Debug, clap::Args)]
pub struct ForWhom {
    /// For whom; a stock with a limit asks for it
    #[arg(long, value_name = "NAME", default_value = "")]
    customer: OsString,
}

/// An order that is known.
#[derive(Clone, Debug, clap::Args)]
pub struct Known {
    /// What is bought, as it was printed when it was held or bought
    #[arg(long, value_name = "HEX")]
    order: String,
}

/// What one does with a cart's order.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum CheckoutVerb {
    /// Set aside all that the cart shows, or nothing; the op id names the order
    #[command(allow_negative_numbers = true)]
    Hold {
        /// The cart's id
        cart: OsString,
        #[command(flatten)]
        whom: ForWhom,
        /// For how long
        #[arg(long, value_name = "SECONDS", default_value_t = 600,
              value_parser = clap::value_parser!(u64).range(1..=u64::MAX / 1_000))]
        ttl: u64,
        #[command(flatten)]
        once: Once,
    },
    /// Buy at once all that the cart shows, or nothing
    Buy {
        /// The cart's id
        cart: OsString,
        #[command(flatten)]
        whom: ForWhom,
        #[command(flatten)]
        once: Once,
    },
    /// Buy what is held under the op id; it leaves the cart
    Confirm {
        /// The cart's id
        cart: OsString,
        #[command(flatten)]
        known: Known,
        #[command(flatten)]
        once: Once,
    },
    /// Hold longer what is held under the op id; never shorter
    Extend {
        /// The cart's id
        cart: OsString,
        /// So long from now
        #[arg(long, value_name = "SECONDS", default_value_t = 600,
              value_parser = clap::value_parser!(u64).range(1..=u64::MAX / 1_000))]
        ttl: u64,
        #[command(flatten)]
        once: Once,
    },
    /// Free what is held under the op id
    Cancel {
        /// The cart's id
        cart: OsString,
        #[command(flatten)]
        once: Once,
    },
    /// End the order: what was bought under the op id comes back
    Return {
        /// The cart's id
        cart: OsString,
        #[command(flatten)]
        known: Known,
        #[command(flatten)]
        once: Once,
    },
    /// Print the orders of a cart, page by page
    List {
        /// The cart's id
        cart: OsString,
        /// Begin behind this op id: `next`, as the page before gave it
        #[arg(long, value_name = "UUID")]
        after: Option<String>,
        /// Orders a page
        #[arg(long, value_name = "ORDERS", default_value_t = ORDERS_DEFAULT,
              value_parser = clap::value_parser!(u32).range(1..=i64::from(ORDERS_MAX)))]
        limit: u32,
    },
    /// Print where the order of the op id stands
    Show {
        /// The cart's id
        cart: OsString,
        #[command(flatten)]
        once: Once,
    },
}

fn customer(whom: &ForWhom) -> Result<Option<Customer>, Fail> {
    if whom.customer.is_empty() {
        return Ok(None);
    }
    let bytes = name("--customer", &whom.customer, CUSTOMER_MAX)?;
    Customer::new(&bytes).map(Some).map_err(|error| Fail::of("--customer", error))
}

fn goods(known: &Known) -> Result<Goods, Fail> {
    let bytes = hex::decode(&known.order).map_err(|problem| Fail::of("--order", problem))?;
    let mut from = Reader::new(&bytes);
    let goods = Goods::decode(&mut from).and_then(|goods| from.finish().map(|()| goods));
    goods.map_err(|error| Fail::of("--order", error))
}

impl CheckoutVerb {
    /// As the library takes it.
    pub fn call(&self) -> Result<Call, Fail> {
        let known = |ask| OrderWord::Known(ask);
        let (cart, word, once, is_named) = match self {
            Self::Hold { cart, whom, ttl, once } => {
                (cart, OrderWord::Hold(customer(whom)?, ttl.saturating_mul(1_000)), once, false)
            }
            Self::Buy { cart, whom, once } => (cart, OrderWord::Buy(customer(whom)?), once, false),
            Self::Confirm { cart, known: of, once } => {
                (cart, known(OrderAsk::Confirm { goods: goods(of)? }), once, true)
            }
            Self::Extend { cart, ttl, once } => {
                (cart, known(OrderAsk::Extend { ttl_ms: ttl.saturating_mul(1_000) }), once, true)
            }
            Self::Cancel { cart, once } => (cart, known(OrderAsk::Cancel), once, true),
            Self::Return { cart, known: of, once } => {
                (cart, known(OrderAsk::Return { goods: goods(of)? }), once, true)
            }
            Self::List { cart, after, limit } => {
                let after = after.as_deref().map(|it| op_id_of("--after", it)).transpose()?;
                return call(cart, Ask::Orders(after, *limit), &Once::default());
            }
            Self::Show { cart, once } => (cart, known(OrderAsk::Show), once, true),
        };
        if is_named && once.op_id.is_none() {
            return Err(Fail::of("--op-id", "it is needed: it names the order"));
        }
        call(cart, Ask::Order(word), once)
    }
}

/// What is bought, as `--order` takes it.
pub(super) fn hex_of(goods: &Goods) -> String {
    let mut bytes = Vec::new();
    goods.encode(&mut bytes);
    hex::encode(&bytes)
}

fn call(cart: &OsStr, ask: Ask, once: &Once) -> Result<Call, Fail> {
    Ok(Call {
        id: name("CART", cart, OBJECT_ID_MAX)?,
        ask,
        peers: once.durability,
        op: once.op_id.as_deref().map(op_id).transpose()?,
        seen: None,
    })
}

/// Whether it came to what was asked.
pub fn is_yes(ask: &OrderAsk, outcome: &Outcome) -> Result<bool, Fail> {
    match outcome {
        Outcome::Expired if matches!(ask, OrderAsk::Cancel) => Ok(true),
        Outcome::Expired | Outcome::Conflicted { .. } => Ok(matches!(ask, OrderAsk::Show)),
        outcome => super::stock::is_yes(&orset::stock::Ask::Order(ask.clone()), outcome),
    }
}

/// What became of an order, in words.
#[derive(Debug, Serialize)]
pub struct Ordered {
    cart: String,
    outcome: &'static str,
    /// The op's id: it names the order.
    op_id: String,
    /// What is bought: confirm it with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    short: Vec<ShownShort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflicts_with: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<String>,
    #[serde(flatten)]
    session: Session,
}

/// A line that nobody can serve.
#[derive(Debug, Serialize)]
struct ShownShort {
    product: String,
    free: u64,
    held: u64,
}

impl Ordered {
    /// From the library's answer.
    pub fn new(call: &Call, op: OpId, ask: &OrderAsk, outcome: &Outcome, after: After) -> Self {
        let order = ask.goods().map(hex_of);
        let (mut until_ms, mut short, mut with, mut members) = (None, Vec::new(), None, Vec::new());
        let outcome = match outcome {
            Outcome::Held { until_ms: ms } => {
                until_ms = Some(*ms);
                "held"
            }
            Outcome::Committed => "bought",
            Outcome::Expired => "expired",
            Outcome::Returned => "returned",
            Outcome::Done => "done",
            Outcome::SoldOut { .. } => "sold out",
            Outcome::Short { lines } => {
                let line = |line: &orset::stock::ShortLine| ShownShort {
                    product: text(line.product.as_bytes()),
                    free: line.free,
                    held: line.held,
                };
                short = lines.iter().map(line).collect();
                "short"
            }
            Outcome::Conflicted { with: other } => {
                with = Some(other.to_string());
                "conflicted"
            }
            Outcome::Unavailable { members: away } => {
                members = away.iter().map(ToString::to_string).collect();
                "unavailable"
            }
        };
        let (cart, op_id, session) = (text(&call.id), op.to_string(), after.into());
        let conflicts_with = with;
        Self { cart, outcome, op_id, order, until_ms, short, conflicts_with, members, session }
    }
}

impl fmt::Display for Ordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", printable(&self.cart), self.outcome)?;
        writeln!(f, "  op id    {}", self.op_id)?;
        if let Some(order) = &self.order {
            writeln!(f, "  order    {order}")?;
        }
        for ShownShort { product, free, held } in &self.short {
            let product = printable(product);
            writeln!(f, "  short    {product}: {free} free, and {held} held, which may come back")?;
        }
        if let Some(with) = &self.conflicts_with {
            writeln!(f, "  bought   by order {with}: void the payment")?;
        }
        for member in &self.members {
            writeln!(f, "  unheard  {member}")?;
        }
        fmt::Display::fmt(&self.session, f)
    }
}
