//! Names of things: objects, products, quantities, and their bounds.
//!
//! An object is one cart, set, counter or stock, named by namespace, kind and id. Ids are bytes:
//! what they mean is the shop's affair, so nothing is trimmed, folded or normalised, and an empty
//! or huge one is refused where it enters. The key's bytes are canonical and prefix-free, so they
//! serve as the front of every row key of the object.

use crate::codec::{DecodeError, Reader, put_bytes};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// Longest namespace, in bytes; the shortest is 1.
pub const NAMESPACE_MAX: usize = 64;
/// Longest object id, in bytes; the shortest is 1.
pub const OBJECT_ID_MAX: usize = 255;
/// Longest product or set element, in bytes; the shortest is 1.
pub const PRODUCT_MAX: usize = 255;
/// Longest attributes of one entry, in bytes; the shortest is 0.
pub const ATTRIBUTES_MAX: usize = 1_024;
/// Largest quantity of one op; the smallest is 1.
pub const QUANTITY_MAX: u32 = 1_000_000_000;
/// Largest magnitude of one counter change; the smallest is 1.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// A value outside its bounds. Nothing changed; mend the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundsError {
    /// A name is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A name is too long.
    #[error("{what} has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// A quantity is zero or too large.
    #[error("quantity {0} is outside 1 to {QUANTITY_MAX}")]
    Quantity(u64),
    /// A counter change is zero or too large.
    #[error("amount {0} is outside 1 to {AMOUNT_MAX} (or the same below zero)")]
    Amount(i64),
}

/// Checks one name against its bounds.
pub fn check_name(what: &'static str, bytes: &[u8], max: usize) -> Result<(), BoundsError> {
    match bytes.len() {
        0 => Err(BoundsError::Empty(what)),
        len if len > max => Err(BoundsError::TooLong { what, len, max }),
        _ => Ok(()),
    }
}

/// Checks a quantity that must be at least one.
pub fn check_quantity(quantity: u32) -> Result<(), BoundsError> {
    if (1..=QUANTITY_MAX).contains(&quantity) {
        Ok(())
    } else {
        Err(BoundsError::Quantity(quantity.into()))
    }
}

/// Checks a counter change.
pub fn check_amount(amount: i64) -> Result<(), BoundsError> {
    if amount != 0 && (-AMOUNT_MAX..=AMOUNT_MAX).contains(&amount) {
        Ok(())
    } else {
        Err(BoundsError::Amount(amount))
    }
}

/// What an object is. The numbers stand in row keys and deltas and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Products with quantities.
    Cart = 1,
    /// Elements without quantities (wishlists).
    Set = 2,
    /// A number that goes up and down.
    Counter = 3,
    /// Units that are sold, and never more than there are.
    Stock = 4,
}

impl Kind {
    /// From its number.
    pub const fn from_u8(tag: u8) -> Result<Self, DecodeError> {
        match tag {
            1 => Ok(Self::Cart),
            2 => Ok(Self::Set),
            3 => Ok(Self::Counter),
            4 => Ok(Self::Stock),
            tag => Err(DecodeError::UnknownTag { what: "object kind", tag }),
        }
    }
}

/// The name of one object, as canonical prefix-free bytes:
/// kind, namespace length, namespace, id length, id (lengths one byte each).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<[u8]>);

impl ObjectKey {
    /// Names an object; refuses empty and over-long parts.
    pub fn new(kind: Kind, namespace: &[u8], id: &[u8]) -> Result<Self, BoundsError> {
        check_name("namespace", namespace, NAMESPACE_MAX)?;
        check_name("object id", id, OBJECT_ID_MAX)?;
        let mut bytes = Vec::with_capacity(3 + namespace.len() + id.len());
        bytes.push(kind as u8);
        bytes.push(namespace.len() as u8);
        bytes.extend_from_slice(namespace);
        bytes.push(id.len() as u8);
        bytes.extend_from_slice(id);
        Ok(Self(bytes.into()))
    }

    /// The canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What the object is.
    pub fn kind(&self) -> Kind {
        match self.0[0] {
            1 => Kind::Cart,
            2 => Kind::Set,
            3 => Kind::Counter,
            _ => Kind::Stock,
        }
    }

    /// The namespace.
    pub fn namespace(&self) -> &[u8] {
        &self.0[2..2 + usize::from(self.0[1])]
    }

    /// The id within namespace and kind.
    pub fn id(&self) -> &[u8] {
        &self.0[3 + usize::from(self.0[1])..]
    }

    /// Reads the bytes of one key from the front of `from`.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = Kind::from_u8(from.u8()?)?;
        let len = usize::from(from.u8()?);
        let namespace = from.take(len)?;
        let len = usize::from(from.u8()?);
        let id = from.take(len)?;
        Self::new(kind, namespace, id).map_err(|_| DecodeError::Bounds("object key"))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind() {
            Kind::Cart => "cart",
            Kind::Set => "set",
            Kind::Counter => "counter",
            Kind::Stock => "stock",
        };
        write!(f, "{kind} {}/{}", self.namespace().escape_ascii(), self.id().escape_ascii())
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A product of a cart or an element of a set: 1 to 255 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Product(Arc<[u8]>);

impl Product {
    /// From its bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, BoundsError> {
        check_name("product", bytes, PRODUCT_MAX)?;
        Ok(Self(bytes.into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.0);
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(from.bytes()?).map_err(|_| DecodeError::Bounds("product"))
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl fmt::Debug for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
