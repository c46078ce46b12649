//! Purity is compiled, not promised: orset, linked where there is no std.
//!
//! `cargo build --manifest-path crates/orset/purity/Cargo.toml` builds a static library with its
//! own panic handler and its own (empty) allocator. Should orset or anything below it use std,
//! there are two panic handlers and the compiler refuses: "found duplicate lang item
//! `panic_impl`". No other target has to be installed for it. `tests/purity.rs` runs it.
#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use orset::cart::{CartEffect, Content, Seen};
use orset::codec::Reader;
use orset::{Cart, Counter, Dot, Lattice, Op, OpIdSession, Origin, Product, Set};

/// Has no memory to give: this library is built, never run.
struct NoMemory;

// SAFETY: a null pointer says that the allocation failed, which is always allowed.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static MEMORY: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Names enough of the crate that nothing of it can be left out of the build.
#[unsafe(no_mangle)]
pub extern "C" fn everything() -> u64 {
    let (mut cart, mut set, mut counter) = (Cart::new(), Set::new(), Counter::new());
    let Some(id) = OpIdSession::new(1, 2).next_id() else { return 0 };
    let Ok(product) = Product::new(b"lamp") else { return 0 };
    let dot = Dot::new(Origin::from_bytes([1; 16]), 1);
    let effect = CartEffect::Add(Content::added(product.clone(), 1, &[]));
    let delta = cart.apply(id, &effect, dot);
    cart.join(&delta);
    set.apply(id, &effect, dot);
    counter.count(id, 1, dot);
    let mut bytes = Vec::new();
    cart.encode(&mut bytes);
    let op = Op::decode(&mut Reader::new(&bytes));
    let seen = Seen::from_bytes(&bytes);
    cart.quantity(&product) + u64::from(op.is_ok()) + u64::from(seen.is_ok())
}
