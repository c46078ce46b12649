//! The set (a wishlist): a cart without quantities.
//!
//! An element is in while at least one add of it has not been removed by somebody who saw it. It
//! is the cart's machinery with quantity 1 throughout and no set or decrement, so a concurrent
//! add survives a remove, and a retry anywhere is one add.

use crate::cart::{Cart, CartEffect, Content, Seen};
use crate::dot::Dot;
use crate::lattice::Lattice;
use crate::object::Product;
use crate::op_id::OpId;
use alloc::vec::Vec;

/// An observed-remove set of elements, add wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    cart: Cart,
}

impl Set {
    /// The empty set.
    pub const fn new() -> Self {
        Self { cart: Cart::new() }
    }

    /// Whether `element` is in.
    pub fn contains(&self, element: &Product) -> bool {
        !self.cart.line_entries(element).is_empty()
    }

    /// The elements, ascending.
    pub fn elements(&self) -> Vec<Product> {
        self.cart.shown().into_iter().map(|line| line.product).collect()
    }

    /// What a reader of the set was shown.
    pub fn seen(&self) -> Seen {
        self.cart.seen()
    }

    /// The entries behind it.
    pub const fn as_cart(&self) -> &Cart {
        &self.cart
    }

    /// The effect of adding `element`.
    pub fn add_effect(element: Product) -> CartEffect {
        CartEffect::Add(Content::added(element, 1, &[]))
    }

    /// The effect of removing `element`, as `seen` or as it is here.
    pub fn remove_effect(&self, element: &Product, seen: Option<&Seen>) -> CartEffect {
        self.cart.remove_effect(element, seen)
    }

    /// The effect of removing everything, as `seen` or as it is here.
    pub fn clear_effect(&self, seen: Option<&Seen>) -> CartEffect {
        self.cart.clear_effect(seen)
    }

    /// Applies an effect committed as `dot`; returns the delta.
    pub fn apply(&mut self, id: OpId, effect: &CartEffect, dot: Dot) -> Self {
        Self { cart: self.cart.apply(id, effect, dot) }
    }

    /// Appends canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.cart.encode(out);
    }
}

impl Lattice for Set {
    fn join(&mut self, other: &Self) {
        self.cart.join(&other.cart);
    }
}
