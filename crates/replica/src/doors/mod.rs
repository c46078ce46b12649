//! The doors by which time and chance enter, one each; everywhere else they are shut by lint.

pub mod chance;
pub mod clock;
