//! Micro-benchmarks of the lattices; see `micro/`.
