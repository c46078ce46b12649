//! Micro-benchmarks of the lattices; see `micro/`. This is what they share: carts and ids of
//! stated sizes.
//!
//! Each file of `micro/` opens with the question it answers, the sketch expected from first
//! principles, and the command. `cargo test` runs every one once.

use orset::cart::{CartEffect, Content};
use orset::{Cart, Dot, OpId, OpIdSession, Origin, Product};

/// The sizes of carts, in lines.
pub const LINES: [usize; 4] = [1, 10, 1_000, 10_000];

/// The only origin there is.
pub const ORIGIN: Origin = Origin::from_bytes([7; 16]);

/// Product number `n`.
pub fn product(n: usize) -> Option<Product> {
    Product::new(format!("product-{n:08}").as_bytes()).ok()
}

/// A client session that makes the same ids every time.
pub fn session(n: u64) -> OpIdSession {
    OpIdSession::new(1_700_000_000 + n, n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The `n`-th version 7 op id: a millisecond, then chance.
pub fn v7(n: u64) -> Option<OpId> {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&((0x0189_0a5d_0000 + n / 4) << 16).to_be_bytes());
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&((0b10 << 62) | (z >> 2)).to_be_bytes());
    OpId::from_bytes(bytes).ok()
}

/// A cart of `lines` lines with one entry each, made by one session.
pub fn cart(lines: usize) -> Cart {
    let mut cart = Cart::new();
    let mut session = session(1);
    for line in 0..lines {
        if let (Some(id), Some(product)) = (session.next_id(), product(line)) {
            let add = CartEffect::Add(Content::added(product, 2, &[]));
            cart.apply(id, &add, Dot::new(ORIGIN, line as u64 + 1));
        }
    }
    cart
}
