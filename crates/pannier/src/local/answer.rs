//! What a call is answered: for a person, and for a program.

use super::ask::{Ask, Call};
use crate::hex;
use orset::OpId;
use orset::cart::{Line, Seen};
use pannier_replica::protocol::{Value, Written};
use serde::Serialize;
use std::fmt;

/// Bytes as text: what is no text is replaced.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Text that moves no cursor and rings no bell: ids are anybody's bytes.
fn printable(text: &str) -> String {
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
    /// The session from here on.
    session: String,
}

impl Done {
    /// From the library's answer.
    pub fn new(
        call: &Call,
        op: OpId,
        written: &Written,
        seen: Option<Seen>,
        session: String,
    ) -> Self {
        let taken = matches!(call.ask, Ask::Decrement(..)).then_some(written.taken);
        Self {
            did: did(call, written.taken),
            op_id: op.to_string(),
            known: written.dot.is_none(),
            dot: written.dot.map(|dot| dot.to_string()),
            taken,
            seen: seen.map(|seen| hex::encode(&seen.to_bytes())),
            session,
        }
    }
}

fn did(call: &Call, taken: u64) -> String {
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
        writeln!(f, "  session  {}", self.session)
    }
}

/// What an object shows.
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
        session: String,
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
        session: String,
    },
    /// A counter.
    Counter {
        /// Its id.
        counter: String,
        /// Its value.
        value: i128,
        /// The session from here on.
        session: String,
    },
}

/// One line of a cart.
#[derive(Debug, Serialize)]
pub struct ShownLine {
    product: String,
    quantity: u64,
    attributes: Vec<String>,
    seen: String,
}

impl ShownLine {
    fn new(line: &Line) -> Self {
        let mut seen = Seen::new();
        seen.add_line(line.product.clone(), line.seen.clone());
        let attributes = line.entries.iter().map(|entry| &entry.attributes);
        Self {
            product: text(line.product.as_bytes()),
            quantity: line.quantity,
            attributes: attributes.filter(|it| !it.is_empty()).map(|it| text(it)).collect(),
            seen: hex::encode(&seen.to_bytes()),
        }
    }
}

impl Show {
    /// From the library's answer.
    pub fn new(call: &Call, value: Value, session: String) -> Self {
        let id = text(&call.id);
        match value {
            Value::Cart(lines, seen) => Self::Cart {
                cart: id,
                lines: lines.iter().map(ShownLine::new).collect(),
                seen: hex::encode(&seen.to_bytes()),
                session,
            },
            Value::Set(elements, seen) => Self::Set {
                set: id,
                elements: elements.iter().map(|element| text(element.as_bytes())).collect(),
                seen: hex::encode(&seen.to_bytes()),
                session,
            },
            Value::Counter(value) => Self::Counter { counter: id, value, session },
        }
    }
}

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cart { cart, lines, seen, session } => {
                let units: u64 = lines.iter().map(|line| line.quantity).sum();
                writeln!(f, "{}: {units} in {} lines", printable(cart), lines.len())?;
                for line in lines {
                    let attributes = line.attributes.join(", ");
                    let words = format!("{} {attributes}", line.product);
                    writeln!(f, "  {:>6}  {}", line.quantity, printable(words.trim_end()))?;
                    writeln!(f, "          seen {}", line.seen)?;
                }
                writeln!(f, "  seen     {seen}\n  session  {session}")
            }
            Self::Set { set, elements, seen, session } => {
                writeln!(f, "{}: {} elements", printable(set), elements.len())?;
                for element in elements {
                    writeln!(f, "  {}", printable(element))?;
                }
                writeln!(f, "  seen     {seen}\n  session  {session}")
            }
            Self::Counter { counter, value, session } => {
                writeln!(f, "{}: {value}\n  session  {session}", printable(counter))
            }
        }
    }
}
