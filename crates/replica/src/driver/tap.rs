//! A tap on the protocol: what the driver feeds it, and what comes of it, as it happens.
//!
//! Since the protocol is a function of its start, its events and their times, what a tap hears is
//! all there is to know: the same events into the same core give the same effects, to the byte,
//! whatever threads, disks and sockets did (`simulations/src/recording.rs` holds them against each
//! other). A tap hears everything on the writer's thread; one that is slow makes the replica slow.
//! Without one, each event and effect costs a comparison.

use crate::protocol::{Effect, Event, Now, ProtocolSettings, Start};

/// See the file's head.
pub trait Tap: Send {
    /// A replica starts from this.
    fn start(&mut self, start: &Start, settings: &ProtocolSettings);

    /// This is about to be fed.
    fn event(&mut self, event: &Event, now: Now);

    /// This has come of it, and is about to be done.
    fn effect(&mut self, effect: &Effect);
}
