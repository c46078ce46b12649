//! A call as it was typed, judged and turned into what the library takes.

use super::checkout::OrderWord;
use crate::fail::Fail;
use crate::hex;
use orset::cart::Seen;
use orset::stock::HoldsOf;
use orset::{BoundsError, Member, OpId, check_name};
use std::ffi::OsStr;
use uuid::Uuid;

/// What is asked of an object. Ids are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// So many of a product, with attributes.
    Add(Vec<u8>, u32, Vec<u8>),
    /// None of a product.
    Remove(Vec<u8>),
    /// Exactly so many of a product.
    Set(Vec<u8>, u32),
    /// So many fewer of a product.
    Decrement(Vec<u8>, u32),
    /// Nothing left.
    Clear,
    /// A guest's things, over.
    Merge(Vec<u8>),
    /// A counter, changed.
    Count(i64),
    /// Something of a stock.
    Stock(orset::stock::Ask),
    /// The same, at whichever member answers.
    Here(Here),
    /// Something of a cart's order.
    Order(OrderWord),
    /// Who has units of a stock set aside: which of them, and so many.
    Holds(HoldsOf, u32),
    /// What a customer has set aside: behind this op id of this stock, and so many. The call's id
    /// is the customer.
    HeldBy(Option<(Vec<u8>, OpId)>, u32),
    /// The orders of a cart: behind this one, and so many.
    Orders(Option<OpId>, u32),
    /// What is there.
    Show,
    /// What is there, now and after each change; so many times.
    Watch(Option<u64>),
}

/// What one member does, and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// New units.
    Restock(u64),
    /// Units that are gone.
    WriteOff(u64),
}

impl Here {
    /// Asked of that member.
    pub const fn at(self, at: Member) -> orset::stock::Ask {
        match self {
            Self::Restock(units) => orset::stock::Ask::Restock { units, at },
            Self::WriteOff(units) => orset::stock::Ask::WriteOff { units, at },
        }
    }
}

impl Ask {
    /// Whether it changes nothing.
    pub const fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::Show | Self::Watch(_) | Self::Holds(..) | Self::HeldBy(..) | Self::Orders(..)
        )
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The object's id.
    pub id: Vec<u8>,
    /// What is asked.
    pub ask: Ask,
    /// On how many other members a change must be synced before it is answered.
    pub peers: u32,
    /// The op id, if the caller has one.
    pub op: Option<OpId>,
    /// What the caller was shown.
    pub seen: Option<Seen>,
}

/// An error of the library that names no argument, by the argument.
pub fn names(argument: &str, error: BoundsError) -> Fail {
    match error {
        BoundsError::Empty(_) => Fail::of(argument, "it is empty"),
        BoundsError::TooLong { len, max, .. } => {
            Fail::of(argument, format!("it has {len} bytes, at most {max} are allowed"))
        }
        error => Fail::of(argument, error),
    }
}

/// The bytes of a name.
pub fn name(argument: &str, text: &OsStr, max: usize) -> Result<Vec<u8>, Fail> {
    let bytes = text.as_encoded_bytes();
    check_name("", bytes, max).map_err(|error| names(argument, error))?;
    Ok(bytes.to_vec())
}

/// A number of peers from `--durability`.
pub fn durability(text: &str) -> Result<u32, String> {
    if text == "local" {
        return Ok(0);
    }
    let number = text.strip_prefix("peers:").filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
    let number = number.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| "it is `local`, or `peers:` and how many".into())
}

/// An op id from `--op-id`.
pub fn op_id(text: &str) -> Result<OpId, Fail> {
    op_id_of("--op-id", text)
}

/// An op id from a flag of that name.
pub fn op_id_of(flag: &str, text: &str) -> Result<OpId, Fail> {
    let uuid = Uuid::parse_str(text).map_err(|error| Fail::of(flag, error))?;
    OpId::try_from(uuid).map_err(|error| Fail::of(flag, error))
}

/// What was shown, from `--seen`.
pub fn seen(text: &str) -> Result<Seen, Fail> {
    let bytes = hex::decode(text).map_err(|problem| Fail::of("--seen", problem))?;
    Seen::from_bytes(&bytes).map_err(|error| Fail::of("--seen", error))
}
