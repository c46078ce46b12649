//! placeholder

mod replay;

fn main() {}
