//! Which rows the orders of a cart are.
//!
//! ```text
//! 0x08 cart, order id            -> the order                                      hashed
//! 0x09 cart, entry, order id     -> (an order over that entry)                     not hashed
//! ```
//!
//! The second kind says nothing that the first does not; it is there so that an order finds its
//! rivals without reading all orders of the cart. Where an order is remembered by its op id, the
//! memory says so (`MemoryState::Order`), as long as there is a row.

use crate::protocol::apply::{ObjectRows, corrupted, on_object};
use crate::protocol::memory::MemoryState;
use crate::protocol::rows::{Base, CLAIM, ORDER, Rows, object_key};
use crate::store::StoreError;
use orset::codec::Reader;
use orset::order::{Order, OrderRows};
use orset::{DecodeError, ObjectKey, OpId, OpIdSet};

pub(super) fn order_key(cart: &ObjectKey, id: OpId) -> Vec<u8> {
    let mut key = object_key(ORDER, cart);
    key.extend_from_slice(id.as_bytes());
    key
}

fn claims_key(cart: &ObjectKey, entry: OpId) -> Vec<u8> {
    let mut key = object_key(CLAIM, cart);
    key.extend_from_slice(entry.as_bytes());
    key
}

/// The cart and the id that the key of an order's row names; `key` from its first byte on.
pub(in crate::protocol) fn parse_order(key: &[u8]) -> Result<(ObjectKey, OpId), DecodeError> {
    let mut from = Reader::new(key.get(1..).unwrap_or_default());
    let cart = ObjectKey::decode(&mut from)?;
    let id = OpId::from_bytes(from.id()?).map_err(|_| DecodeError::Bounds("op id in a row key"))?;
    from.finish()?;
    Ok((cart, id))
}

pub(super) fn decoded(bytes: &[u8]) -> Result<Order, DecodeError> {
    let mut from = Reader::new(bytes);
    let order = Order::decode(&mut from)?;
    from.finish()?;
    Ok(order)
}

/// Whether a row `0x08` can be read for what it is.
pub(in crate::protocol) fn is_sound(key: &[u8], value: &[u8]) -> bool {
    parse_order(key).is_ok() && decoded(value).is_ok()
}

/// The orders of a cart, while something is decided about one or done to it.
pub(super) struct OrdersView<'a, B>(pub ObjectRows<'a, B>);

impl<'a, B: Base> OrdersView<'a, B> {
    pub fn of(rows: &'a mut Rows<B>, cart: &'a ObjectKey, id: OpId) -> Self {
        Self(on_object(rows, cart, id, None))
    }
}

impl<B: Base> OrderRows for OrdersView<'_, B> {
    type Error = StoreError;

    fn order(&mut self, id: OpId) -> Result<Option<Order>, StoreError> {
        let bytes = self.0.rows.get(&order_key(self.0.object, id))?;
        bytes.map(|bytes| decoded(&bytes)).transpose().map_err(corrupted("row of an order"))
    }

    fn set_order(&mut self, id: OpId, order: Order) -> Result<(), StoreError> {
        let key = order_key(self.0.object, id);
        let old = self.0.rows.get(&key)?;
        let mut new = Vec::with_capacity(64);
        order.encode(&mut new);
        self.0.write(key, old.as_deref(), Some(new));
        self.0.set_state(id, MemoryState::Order)
    }

    fn drop_order(&mut self, id: OpId) -> Result<(), StoreError> {
        let key = order_key(self.0.object, id);
        let old = self.0.rows.get(&key)?;
        self.0.write(key, old.as_deref(), None);
        self.0.set_state(id, MemoryState::Gone)
    }

    fn claims(&mut self, entry: OpId) -> Result<OpIdSet, StoreError> {
        let prefix = claims_key(self.0.object, entry);
        let mut claims = OpIdSet::new();
        for (key, _) in self.0.rows.scan(&prefix)? {
            let id = key.get(prefix.len()..).and_then(|id| <[u8; 16]>::try_from(id).ok());
            let id = id.and_then(|id| OpId::from_bytes(id).ok());
            let lost = || StoreError::Corrupted("key of a row of claims".into());
            claims.insert(id.ok_or_else(lost)?);
        }
        Ok(claims)
    }

    fn set_claim(&mut self, entry: OpId, id: OpId, is_over: bool) -> Result<(), StoreError> {
        let mut key = claims_key(self.0.object, entry);
        key.extend_from_slice(id.as_bytes());
        self.0.rows.put_plain(key, is_over.then(Vec::new));
        Ok(())
    }
}
