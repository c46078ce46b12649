//! What a call is answered: for a person, and for a program.

use super::ask::{Ask, Call};
use super::stock::ShownStock;
use crate::hex;
use orset::cart::Seen;
use orset::stock::Sheet;
use orset::{OpId, Product};
use pannier_proto::Token;
use serde::Serialize;
use std::fmt;

/// What a change did, as the library says it.
#[derive(Clone, Debug, Default)]
pub struct Did {
    /// The commit; none if the op was known already.
    pub dot: Option<String>,
    /// Units that a decrement took.
    pub taken: u64,
    /// What a retry must carry.
    pub seen: Option<Seen>,
}

/// What an object shows, as the library says it.
#[derive(Clone, Debug)]
pub enum Value {
    /// Of a cart: product, quantity, attributes of what makes it up; and what was shown.
    Cart(Vec<(Product, u64, Vec<Vec<u8>>)>, Seen),
    /// Elements, and what was shown.
    Set(Vec<Product>, Seen),
    /// A sum.
    Counter(i128),
    /// Where all units are.
    Stock(Sheet),
}

impl Value {
    /// Whether all units are accounted for, of a stock.
    pub fn adds_up(&self) -> bool {
        match self {
            Self::Stock(sheet) => sheet.imbalance() == 0,
            Self::Cart(..) | Self::Set(..) | Self::Counter(_) => true,
        }
    }
}

/// The session after an answer.
#[derive(Clone, Debug)]
pub struct After {
    /// As it goes on.
    pub token: Vec<u8>,
    /// Whether a file keeps it: then nobody has to copy it.
    pub is_kept: bool,
}

impl After {
    fn hex(&self) -> String {
        hex::encode(&self.token)
    }

    /// Who served, for people.
    fn home(&self) -> Option<String> {
        Some(Token::decode(&self.token).ok()?.home?.to_string())
    }
}

/// Bytes as text: what is no text is replaced.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Text that moves no cursor and rings no bell: ids are anybody's bytes.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            escaped.into_iter().flatten().chain((!c.is_control()).then_some(c))
        })
        .collect()
}

/// A change, and what it did.
#[derive(Debug, Serialize)]
pub struct Done {
    #[serde(skip)]
    did: String,
    /// The op's id: repeat the call under it if in doubt.
    op_id: String,
    /// The op was known already, and nothing was done.
    known: bool,
    /// The commit, if there was one.
    dot: Option<String>,
    /// Units that a decrement took.
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<u64>,
    /// What a retry must carry as `--seen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
    #[serde(flatten)]
    session: Session,
}

/// The session's part of an answer.
#[derive(Debug, Serialize)]
pub struct Session {
    /// The member that served.
    #[serde(skip_serializing_if = "Option::is_none")]
    served_by: Option<String>,
    /// The session from here on.
    session: String,
    #[serde(skip)]
    is_kept: bool,
}

impl From<After> for Session {
    fn from(after: After) -> Self {
        Self { served_by: after.home(), session: after.hex(), is_kept: after.is_kept }
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.served_by, self.is_kept) {
            (Some(member), true) => writeln!(f, "  served by {member}"),
            (None, true) => Ok(()),
            (_, false) => writeln!(f, "  session  {}", self.session),
        }
    }
}

impl Done {
    /// From the library's answer.
    pub fn new(call: &Call, op: OpId, did: Did, after: After) -> Self {
        let Did { dot, taken, seen } = did;
        Self {
            did: words(call, taken),
            op_id: op.to_string(),
            known: dot.is_none(),
            dot,
            taken: matches!(call.ask, Ask::Decrement(..)).then_some(taken),
            seen: seen.map(|seen| hex::encode(&seen.to_bytes())),
            session: after.into(),
        }
    }
}

fn words(call: &Call, taken: u64) -> String {
    let id = printable(&text(&call.id));
    let name = |bytes: &[u8]| printable(&text(bytes));
    match &call.ask {
        Ask::Add(it, quantity, _) => format!("added {quantity} {} to {id}", name(it)),
        Ask::Remove(it) => format!("removed {} from {id}", name(it)),
        Ask::Set(it, quantity) => format!("set {} to {quantity} in {id}", name(it)),
        Ask::Decrement(it, quantity) if taken < u64::from(*quantity) => {
            format!("took {taken} {} from {id}; there were no {quantity}", name(it))
        }
        Ask::Decrement(it, _) => format!("took {taken} {} from {id}", name(it)),
        Ask::Clear => format!("cleared {id}"),
        Ask::Merge(guest) => format!("merged {} into {id}", name(guest)),
        Ask::Count(amount) => format!("added {amount} to {id}"),
        // A stock's answer says more (`stock.rs`).
        Ask::Stock(_) | Ask::Here(_) | Ask::Order(_) => id,
        Ask::Holds(..) | Ask::HeldBy(..) | Ask::Orders(..) => id,
        Ask::Show | Ask::Watch(_) => id,
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = if self.known { " (known already: nothing was done)" } else { "" };
        writeln!(f, "{}{known}", self.did)?;
        writeln!(f, "  op id    {}", self.op_id)?;
        if let Some(seen) = &self.seen {
            writeln!(f, "  seen     {seen}")?;
        }
        fmt::Display::fmt(&self.session, f)
    }
}

/// What an object shows, in words.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Show {
    /// A cart.
    Cart {
        /// Its id.
        cart: String,
        /// Its lines.
        lines: Vec<ShownLine>,
        /// What the next op on the whole cart gives back.
        seen: String,
        /// The session from here on.
        #[serde(flatten)]
        session: Session,
    },
    /// A set.
    Set {
        /// Its id.
        set: String,
        /// Its elements.
        elements: Vec<String>,
        /// What the next op on the set gives back.
        seen: String,
        /// The session from here on.
        #[serde(flatten)]
        session: Session,
    },
    /// A counter.
    Counter {
        /// Its id.
        counter: String,
        /// Its value.
        value: i128,
        /// The session from here on.
        #[serde(flatten)]
        session: Session,
    },
    /// A stock.
    Stock(ShownStock),
}

/// One line of a cart.
#[derive(Debug, Serialize)]
pub struct ShownLine {
    product: String,
    quantity: u64,
    attributes: Vec<String>,
    seen: String,
}

impl Show {
    /// From the library's answer.
    pub fn new(call: &Call, value: Value, after: After) -> Self {
        let (id, session) = (text(&call.id), after.into());
        let shown = |seen: &Seen| hex::encode(&seen.to_bytes());
        match value {
            Value::Cart(lines, seen) => {
                let line = |(product, quantity, attributes): (Product, u64, Vec<Vec<u8>>)| {
                    let mut own = Seen::new();
                    if let Some(ids) = seen.line(&product) {
                        own.add_line(product.clone(), ids.clone());
                    }
                    let attributes = attributes.iter().filter(|it| !it.is_empty());
                    ShownLine {
                        product: text(product.as_bytes()),
                        quantity,
                        attributes: attributes.map(|it| text(it)).collect(),
                        seen: shown(&own),
                    }
                };
                let lines = lines.into_iter().map(line).collect();
                Self::Cart { cart: id, lines, seen: shown(&seen), session }
            }
            Value::Set(elements, seen) => Self::Set {
                set: id,
                elements: elements.iter().map(|element| text(element.as_bytes())).collect(),
                seen: shown(&seen),
                session,
            },
            Value::Counter(value) => Self::Counter { counter: id, value, session },
            Value::Stock(sheet) => Self::Stock(ShownStock::new(&call.id, &sheet, session)),
        }
    }
}

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was shown is long, and who keeps the session in a file reads it from the JSON.
        match self {
            Self::Cart { cart, lines, seen, session } => {
                let units: u64 = lines.iter().map(|line| line.quantity).sum();
                writeln!(f, "{}: {units} in {} lines", printable(cart), lines.len())?;
                for line in lines {
                    let attributes = line.attributes.join(", ");
                    let words = format!("{} {attributes}", line.product);
                    writeln!(f, "  {:>6}  {}", line.quantity, printable(words.trim_end()))?;
                    if !session.is_kept {
                        writeln!(f, "          seen {}", line.seen)?;
                    }
                }
                if !session.is_kept {
                    writeln!(f, "  seen     {seen}")?;
                }
                fmt::Display::fmt(session, f)
            }
            Self::Set { set, elements, seen, session } => {
                writeln!(f, "{}: {} elements", printable(set), elements.len())?;
                for element in elements {
                    writeln!(f, "  {}", printable(element))?;
                }
                if !session.is_kept {
                    writeln!(f, "  seen     {seen}")?;
                }
                fmt::Display::fmt(session, f)
            }
            Self::Stock(stock) => fmt::Display::fmt(stock, f),
            Self::Counter { counter, value, session } => {
                writeln!(f, "{}: {value}", printable(counter))?;
                fmt::Display::fmt(session, f)
            }
        }
    }
}
