//! What an order buys: products, how many of each, and of which entries of the cart.
//!
//! The buyer was shown lines and pays for these; so an order names them, as they were shown, and a
//! retry that meets another cart names the same. (To let the replica that happens to be asked read
//! the cart at that moment makes two orders of one, when the answer is lost and the retry lands
//! where somebody has added something.)

use crate::codec::{DecodeError, Reader, put_bytes, put_u64};
use crate::object::{ObjectKey, Product, QUANTITY_MAX};
use crate::op_id::OpId;
use crate::op_id_set::OpIdSet;
use crate::stock::{Customer, Want};
use alloc::vec::Vec;
use xxhash_rust::xxh3::xxh3_64;

/// Stands before what is hashed, so that no other request has the same bytes.
const TAG: u8 = 9;

/// Most lines of one order.
pub const LINES_MAX: usize = 128;
/// Most entries that one order names: each is looked up by whoever takes the order in.
pub const ENTRIES_MAX: u64 = 2_048;

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLine {
    /// Which product; its stock has the same name, in the cart's namespace.
    pub product: Product,
    /// How many, 1 to `QUANTITY_MAX`.
    pub quantity: u32,
    /// The entries that were shown as that line, at least one.
    pub entries: OpIdSet,
}

/// Why something is no order. Nothing is changed; mend the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It has no line.
    #[error("an order has no line")]
    Empty,
    /// It has too many.
    #[error("an order has at most {LINES_MAX} lines")]
    TooManyLines,
    /// A quantity is zero or too large.
    #[error("quantity of a line is outside 1 to {QUANTITY_MAX}")]
    Quantity,
    /// A line names no entry of the cart.
    #[error("a line names no entry of the cart")]
    NoEntries,
    /// It names too many.
    #[error("an order names at most {ENTRIES_MAX} entries")]
    TooManyEntries,
    /// A product, or an entry, is named twice.
    #[error("a product or an entry is named twice")]
    Twice,
}

/// What an order buys. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goods {
    lines: Vec<OrderLine>,
    customer: Option<Customer>,
}

impl Goods {
    /// From its lines, in any order.
    pub fn new(mut lines: Vec<OrderLine>, customer: Option<Customer>) -> Result<Self, Unfit> {
        lines.sort_unstable_by(|one, other| one.product.cmp(&other.product));
        let goods = Self { lines, customer };
        goods.check().map(|()| goods)
    }

    fn check(&self) -> Result<(), Unfit> {
        if self.lines.is_empty() {
            return Err(Unfit::Empty);
        }
        if self.lines.len() > LINES_MAX {
            return Err(Unfit::TooManyLines);
        }
        if self.lines.iter().any(|line| !(1..=QUANTITY_MAX).contains(&line.quantity)) {
            return Err(Unfit::Quantity);
        }
        if self.lines.iter().any(|line| line.entries.is_empty()) {
            return Err(Unfit::NoEntries);
        }
        // By their number before they are walked: a run of 2^32 takes a few bytes.
        let count = self.lines.iter().fold(0, |sum: u64, it| sum.saturating_add(it.entries.len()));
        if count > ENTRIES_MAX {
            return Err(Unfit::TooManyEntries);
        }
        let all: OpIdSet = self.entries().collect();
        let is_ascending = self.lines.windows(2).all(|pair| pair[0].product < pair[1].product);
        if all.len() < count || !is_ascending { Err(Unfit::Twice) } else { Ok(()) }
    }

    /// Its lines, ascending by product.
    pub fn lines(&self) -> &[OrderLine] {
        &self.lines
    }

    /// For whom.
    pub const fn customer(&self) -> Option<&Customer> {
        self.customer.as_ref()
    }

    /// What a line wants of its stock.
    pub fn want(&self, line: &OrderLine) -> Want {
        Want { quantity: line.quantity, customer: self.customer.clone() }
    }

    /// The entries of all lines.
    pub fn entries(&self) -> impl Iterator<Item = OpId> + '_ {
        self.lines.iter().flat_map(|line| line.entries.iter())
    }

    /// Which of two stays, when a broken client has given one id to both: any fixed choice does.
    pub(super) fn stays_before(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        self.encode(&mut mine);
        other.encode(&mut theirs);
        mine < theirs
    }

    /// What tells two orders of one id apart: the goods, and the cart they are of.
    pub fn content_hash(&self, cart: &ObjectKey) -> u64 {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(TAG);
        self.encode(&mut bytes);
        bytes.extend_from_slice(cart.as_bytes());
        xxh3_64(&bytes)
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.customer.as_ref().map_or(&[], Customer::as_bytes));
        put_u64(out, self.lines.len() as u64);
        for line in &self.lines {
            line.product.encode(out);
            put_u64(out, line.quantity.into());
            line.entries.encode(out);
        }
    }

    /// Reads what `encode` wrote; refuses what is no order.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let customer = match from.bytes()? {
            [] => None,
            bytes => Some(Customer::new(bytes).map_err(|_| DecodeError::Bounds("customer"))?),
        };
        let count = from.count(3)?;
        if count > LINES_MAX {
            return Err(DecodeError::Bounds("lines of an order"));
        }
        let mut lines = Vec::with_capacity(count);
        for _ in 0..count {
            let product = Product::decode(from)?;
            let (quantity, entries) = (from.u32()?, OpIdSet::decode(from)?);
            lines.push(OrderLine { product, quantity, entries });
        }
        let goods = Self { lines, customer };
        goods.check().map_err(|_| DecodeError::Bounds("an order"))?;
        Ok(goods)
    }
}
