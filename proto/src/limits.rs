//! Bounds of what one message holds. Those of names and numbers are `orset`'s.
//!
//! A bound that a client can run into is refused with a reason (BOUNDS, TOO_MANY, TOO_LARGE), and
//! nothing has changed. Answers are kept within theirs by being cut into pages.

/// Largest message on a public service, in bytes, either way: what gRPC libraries take by default.
pub const MESSAGE_MAX: usize = 4 << 20;

/// Most commands in one message of an Execute stream; the fewest is 1.
pub const COMMANDS_MAX: usize = 1_024;

/// Most objects in one batch read; the fewest is 1.
pub const BATCH_MAX: usize = 100;

/// Most calls of stocks in one bulk; the fewest is 1.
pub const BULK_MAX: usize = 1_000;

/// Most lines or elements of one page; the fewest is 1.
pub const LINES_MAX: u32 = 10_000;

/// Lines or elements of a page when the request names no number.
pub const LINES_DEFAULT: u32 = 1_000;

/// Most ids of one page of a listing; the fewest is 1.
pub const IDS_MAX: u32 = 1_000;

/// Ids of a page of a listing when the request names no number.
pub const IDS_DEFAULT: u32 = 100;

/// Most holds of one page of a stock's; the fewest is 1.
pub const HOLDS_MAX: u32 = 1_000;

/// Holds of a page when the request names no number.
pub const HOLDS_DEFAULT: u32 = 100;

/// Most orders of one page of a cart's; the fewest is 1.
pub const ORDERS_MAX: u32 = 100;

/// Orders of a page when the request names no number.
pub const ORDERS_DEFAULT: u32 = 20;

/// Bytes of rows at which a page ends, whatever the number of lines. With a last line that is large
/// itself, and its context, an answer stays below `MESSAGE_MAX`.
pub const PAGE_BYTES: usize = 1 << 20;

/// Most origins of one vector in a message between members.
pub const ORIGINS_MAX: usize = 1 << 16;
