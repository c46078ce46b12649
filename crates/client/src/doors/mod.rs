//! The doors by which time and chance enter the shell, one each; the core gets both as values.

pub mod chance;
pub mod clock;
