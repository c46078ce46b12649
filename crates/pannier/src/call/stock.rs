//! The verbs of `stock`, as they are typed, and what they are answered.

use super::answer::{After, Session, printable, text};
use super::ask::{Ask, Call, Here, name, op_id, op_id_of};
use super::import::ImportArgs;
use super::verbs::{Once, QUANTITY};
use crate::fail::Fail;
use crate::sums::Sums;
use orset::stock::{
    Ask as StockAsk, CUSTOMER_MAX, Customer, HoldsOf, Outcome, PEERS_MAX, Sheet, Terms, Want,
};
use orset::{Member, OBJECT_ID_MAX, OpId};
use pannier_proto::limits::{HOLDS_DEFAULT, HOLDS_MAX};
use serde::Serialize;
use std::ffi::{OsStr, OsString};
use std::fmt;
use uuid::Uuid;

/// What is bought, and for whom.
#[derive(Clone, Debug, clap::Args)]
pub struct Wanted {
    /// How many
    #[arg(default_value_t = 1, value_parser = clap::value_parser!(u32).range(QUANTITY))]
    quantity: u32,
    /// For whom; a stock with a limit asks for it
    #[arg(long, value_name = "NAME", default_value = "")]
    customer: OsString,
}

/// What one does with a stock.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum StockVerb {
    /// Create units, at one member
    #[command(allow_negative_numbers = true)]
    Restock {
        /// The stock's id
        stock: OsString,
        /// How many
        #[arg(value_parser = clap::value_parser!(u64).range(UNITS))]
        units: u64,
        /// The member that creates them, the same in every repetition of the call; else the one
        /// that answers, and the answer says which
        #[arg(long, value_name = "MEMBER")]
        at: Option<Uuid>,
        #[command(flatten)]
        once: Once,
    },
    /// Write units off, at one member: gone without a sale
    #[command(allow_negative_numbers = true)]
    WriteOff {
        /// The stock's id
        stock: OsString,
        /// How many
        #[arg(value_parser = clap::value_parser!(u64).range(UNITS))]
        units: u64,
        /// The member that writes them off, the same in every repetition of the call; else the one
        /// that answers, and the answer says which
        #[arg(long, value_name = "MEMBER")]
        at: Option<Uuid>,
        #[command(flatten)]
        once: Once,
    },
    /// Set units aside; the op id names the purchase
    #[command(allow_negative_numbers = true)]
    Hold {
        /// The stock's id
        stock: OsString,
        #[command(flatten)]
        wanted: Wanted,
        /// For how long
        #[arg(long, value_name = "SECONDS", default_value_t = 600,
              value_parser = clap::value_parser!(u64).range(1..=u64::MAX / 1_000))]
        ttl: u64,
        #[command(flatten)]
        once: Once,
    },
    /// Sell what is held under the op id, or sell at once
    #[command(allow_negative_numbers = true)]
    Buy {
        /// The stock's id
        stock: OsString,
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        once: Once,
    },
    /// Free what is held under the op id
    Release {
        /// The stock's id
        stock: OsString,
        #[command(flatten)]
        once: Once,
    },
    /// Hold longer what is held under the op id
    Extend {
        /// The stock's id
        stock: OsString,
        /// So long from now
        #[arg(long, value_name = "SECONDS", default_value_t = 600,
              value_parser = clap::value_parser!(u64).range(1..=u64::MAX / 1_000))]
        ttl: u64,
        #[command(flatten)]
        once: Once,
    },
    /// End the op id: what was bought under it comes back
    Return {
        /// The stock's id
        stock: OsString,
        #[command(flatten)]
        once: Once,
    },
    /// Say what holds for every purchase
    Terms {
        /// The stock's id
        stock: OsString,
        /// Purchases that one customer may have; 0: as many as it likes
        #[arg(long, default_value_t = 0)]
        limit: u64,
        /// Any replica sets units aside within the limit, and the sale waits for the member that
        /// keeps the customer's count
        #[arg(long)]
        tentative: bool,
        /// On how many other members every answer must be synced
        #[arg(long, default_value_t = 0,
              value_parser = clap::value_parser!(u8).range(0..=i64::from(PEERS_MAX)))]
        peers: u8,
        #[command(flatten)]
        once: Once,
    },
    /// Print where all its units are; the answer is "no" when they do not add up
    Show {
        /// The stock's id
        stock: OsString,
    },
    /// Print who has units set aside, page by page
    Holds {
        /// The stock's id
        stock: OsString,
        /// What is held for this customer alone
        #[arg(long, value_name = "NAME")]
        customer: Option<OsString>,
        /// Begin behind this op id: `next`, as the page before gave it
        #[arg(long, value_name = "UUID")]
        after: Option<String>,
        /// Holds a page
        #[arg(long, value_name = "HOLDS", default_value_t = HOLDS_DEFAULT,
              value_parser = clap::value_parser!(u32).range(1..=i64::from(HOLDS_MAX)))]
        limit: u32,
    },
    /// Print what a customer has set aside, of all stocks, page by page
    HeldBy {
        /// The customer
        customer: OsString,
        /// Begin behind `--after` of this stock: `next_stock`, as the page before gave it
        #[arg(long, value_name = "STOCK", requires = "after")]
        after_stock: Option<OsString>,
        /// And behind this op id: `next`, as the page before gave it
        #[arg(long, value_name = "UUID", requires = "after_stock")]
        after: Option<String>,
        /// Holds a page
        #[arg(long, value_name = "HOLDS", default_value_t = HOLDS_DEFAULT,
              value_parser = clap::value_parser!(u32).range(1..=i64::from(HOLDS_MAX)))]
        limit: u32,
    },
    /// Do the calls of a file, one a line: `restock,STOCK,UNITS`, `write-off,STOCK,UNITS`,
    /// `fulfil,STOCK,UNITS,OP_ID`, `release,STOCK,OP_ID`, `return,STOCK,OP_ID`
    Import(ImportArgs),
    /// Print where its units are, and again whenever that has changed
    Watch {
        /// The stock's id
        stock: OsString,
        /// End after so many values
        #[arg(long, value_name = "VALUES")]
        count: Option<u64>,
    },
}

const UNITS: std::ops::RangeInclusive<u64> = 1..=orset::QUANTITY_MAX as u64;

fn want(wanted: &Wanted) -> Result<Want, Fail> {
    let customer = match wanted.customer.as_encoded_bytes() {
        [] => None,
        _ => Some(customer_of(&wanted.customer)?),
    };
    Ok(Want { quantity: wanted.quantity, customer })
}

fn customer_of(text: &OsStr) -> Result<Customer, Fail> {
    let bytes = name("--customer", text, CUSTOMER_MAX)?;
    Customer::new(&bytes).map_err(|error| Fail::of("--customer", error))
}

impl StockVerb {
    /// As the library takes it.
    pub fn call(&self) -> Result<Call, Fail> {
        let (stock, ask, once) = match self {
            Self::Restock { stock, units, at, once } => {
                return at_one(stock, Here::Restock(*units), *at, once);
            }
            Self::WriteOff { stock, units, at, once } => {
                return at_one(stock, Here::WriteOff(*units), *at, once);
            }
            Self::Hold { stock, wanted, ttl, once } => (
                stock,
                StockAsk::Hold { want: want(wanted)?, ttl_ms: ttl.saturating_mul(1_000) },
                once,
            ),
            Self::Buy { stock, wanted, once } => {
                (stock, StockAsk::Commit { want: want(wanted)? }, once)
            }
            Self::Release { stock, once } => (stock, StockAsk::Release, named(once)?),
            Self::Extend { stock, ttl, once } => {
                (stock, StockAsk::Extend { ttl_ms: ttl.saturating_mul(1_000) }, named(once)?)
            }
            Self::Return { stock, once } => (stock, StockAsk::Return, named(once)?),
            Self::Terms { stock, limit, tentative, peers, once } => {
                let terms = Terms { limit: *limit, tentative: *tentative, peers: *peers };
                (stock, StockAsk::Agree(terms), once)
            }
            Self::Holds { stock, customer, after, limit } => {
                let customer = customer.as_deref().map(customer_of).transpose()?;
                let after = after.as_deref().map(|it| op_id_of("--after", it)).transpose()?;
                let of = HoldsOf { customer, after };
                return looked(stock, Ask::Holds(of, *limit), None);
            }
            Self::HeldBy { customer, after_stock, after, limit } => {
                let stock = after_stock.as_deref();
                let stock = stock.map(|it| name("--after-stock", it, OBJECT_ID_MAX)).transpose()?;
                let after = after.as_deref().map(|it| op_id_of("--after", it)).transpose()?;
                let (id, ask) = (name("CUSTOMER", customer, CUSTOMER_MAX)?, stock.zip(after));
                let ask = Ask::HeldBy(ask, *limit);
                return Ok(Call { id, ask, peers: 0, op: None, seen: None });
            }
            Self::Import(_) => return Err(Fail::Usage("an import is many calls".into())),
            Self::Show { stock } => return looked(stock, Ask::Show, None),
            Self::Watch { stock, count } => return looked(stock, Ask::Watch(*count), None),
        };
        looked(stock, Ask::Stock(ask), Some(once))
    }
}

/// What was held or bought is named by its op id, and by nothing else.
fn named(once: &Once) -> Result<&Once, Fail> {
    match once.op_id {
        Some(_) => Ok(once),
        None => Err(Fail::of("--op-id", "it is needed: it names what was held or bought")),
    }
}

/// What one member does alone: the one that is named, or else whoever answers.
fn at_one(stock: &OsStr, here: Here, at: Option<Uuid>, once: &Once) -> Result<Call, Fail> {
    let named = |at| Ask::Stock(here.at(Member::from(at)));
    looked(stock, at.map_or(Ask::Here(here), named), Some(once))
}

fn looked(stock: &OsStr, ask: Ask, once: Option<&Once>) -> Result<Call, Fail> {
    Ok(Call {
        id: name("STOCK", stock, OBJECT_ID_MAX)?,
        ask,
        peers: once.map_or(0, |once| once.durability),
        op: once.and_then(|once| once.op_id.as_deref()).map(op_id).transpose()?,
        seen: None,
    })
}

/// Whether a call came to what was asked; of an outcome that may change by itself, try again.
pub fn is_yes(ask: &StockAsk, outcome: &Outcome) -> Result<bool, Fail> {
    match outcome {
        Outcome::Expired if matches!(ask, StockAsk::Release) => Ok(true),
        Outcome::Held { .. } | Outcome::Committed | Outcome::Returned | Outcome::Done => Ok(true),
        Outcome::Expired
        | Outcome::SoldOut { .. }
        | Outcome::Short { .. }
        | Outcome::Conflicted { .. } => Ok(false),
        Outcome::Unavailable { .. } => {
            let words = "whoever may have units was not heard; the same call may be tried again";
            Err(Fail::Away(words.into()))
        }
    }
}

/// An outcome in a word.
pub(super) const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Held { .. } => "held",
        Outcome::Committed => "sold",
        Outcome::Expired => "expired",
        Outcome::Returned => "returned",
        Outcome::Done => "done",
        Outcome::SoldOut { .. } => "sold out",
        Outcome::Short { .. } => "short",
        Outcome::Conflicted { .. } => "conflicted",
        Outcome::Unavailable { .. } => "unavailable",
    }
}

/// What a call came to, in words.
#[derive(Debug, Serialize)]
pub struct Came {
    stock: String,
    outcome: &'static str,
    /// The op's id: it names the purchase.
    op_id: String,
    /// Of a restock: who made the units. Repeat the call with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<String>,
    #[serde(flatten)]
    session: Session,
}

impl Came {
    /// From the library's answer.
    pub fn new(call: &Call, op: OpId, at: Option<Member>, outcome: &Outcome, after: After) -> Self {
        let (mut until_ms, mut free, mut held, mut members) = (None, None, None, Vec::new());
        match outcome {
            Outcome::Held { until_ms: ms } => until_ms = Some(*ms),
            Outcome::SoldOut { free: some, held: others } => {
                (free, held) = (Some(*some), Some(*others));
            }
            Outcome::Unavailable { members: away } => {
                members = away.iter().map(ToString::to_string).collect();
            }
            Outcome::Committed | Outcome::Expired | Outcome::Returned | Outcome::Done => {}
            // Of orders alone.
            Outcome::Short { .. } | Outcome::Conflicted { .. } => {}
        }
        let outcome = word(outcome);
        let stock = text(&call.id);
        let at = at.map(|at| at.to_string());
        let (op_id, session) = (op.to_string(), after.into());
        Self { stock, outcome, op_id, at, until_ms, free, held, members, session }
    }
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", printable(&self.stock), self.outcome)?;
        writeln!(f, "  op id    {}", self.op_id)?;
        if let Some(at) = &self.at {
            writeln!(f, "  at       {at}")?;
        }
        if let (Some(free), Some(held)) = (self.free, self.held) {
            writeln!(f, "  free     {free}, and {held} held, which may come back")?;
        }
        for member in &self.members {
            writeln!(f, "  unheard  {member}")?;
        }
        fmt::Display::fmt(&self.session, f)
    }
}

/// Where all units are, in words.
#[derive(Debug, Serialize)]
pub struct ShownStock {
    stock: String,
    #[serde(flatten)]
    sums: Sums,
    limit: u64,
    tentative: bool,
    peers: u8,
    /// What each member may sell.
    members: Vec<ShownAccount>,
    #[serde(flatten)]
    session: Session,
}

#[derive(Debug, Serialize)]
struct ShownAccount {
    member: String,
    available: u64,
    minted: u64,
}

impl ShownStock {
    /// From the library's answer.
    pub fn new(id: &[u8], sheet: &Sheet, session: Session) -> Self {
        let account = |(member, account): &(Member, orset::stock::Account)| ShownAccount {
            member: member.to_string(),
            available: account.available,
            minted: account.minted,
        };
        Self {
            stock: text(id),
            sums: Sums::of(sheet),
            limit: sheet.terms.limit,
            tentative: sheet.terms.tentative,
            peers: sheet.terms.peers,
            members: sheet.accounts.iter().map(account).collect(),
            session,
        }
    }
}

impl fmt::Display for ShownStock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sums { minted, available, held, sold, written_off, frozen, imbalance } = self.sums;
        writeln!(f, "{}: {available} of {minted} units are free", printable(&self.stock))?;
        writeln!(f, "  held {held}, sold {sold}, written off {written_off}")?;
        if frozen > 0 {
            writeln!(f, "  frozen {frozen}: of members that were closed; account for them")?;
        }
        if imbalance != 0 {
            writeln!(f, "  IMBALANCE: {imbalance} units are nowhere")?;
        }
        if self.limit > 0 {
            let when = if self.tentative { ", judged when it pays" } else { "" };
            writeln!(f, "  a customer may have {}{when}", self.limit)?;
        }
        if self.peers > 0 {
            writeln!(f, "  every answer is synced on {} others", self.peers)?;
        }
        for ShownAccount { member, available, .. } in &self.members {
            writeln!(f, "  {available:>8}  may be sold by {member}")?;
        }
        fmt::Display::fmt(&self.session, f)
    }
}
