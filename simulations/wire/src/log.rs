//! What a run did, to the byte: every packet that was sent, held, lost and taken, as a hash.
//!
//! turmoil tells all of it to `tracing`, contents included. A hash of what the application does
//! instead would be blind: a header that holds the time of day changes the size of a packet long
//! before it changes an answer.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use xxhash_rust::xxh3::Xxh3;

/// What was traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Of all lines, in order.
    pub hash: u128,
    /// How many there were.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Default)]
struct Tracer {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hash: Xxh3,
    lines: u64,
    bytes: u64,
    line: String,
}

/// Runs `story` and hashes everything that turmoil says of it.
pub fn traced<R>(story: impl FnOnce() -> R) -> (R, Traced) {
    let tracer = Arc::new(Tracer::default());
    let result = tracing::subscriber::with_default(Told(tracer.clone()), story);
    let state = tracer.state.lock().unwrap_or_else(PoisonError::into_inner);
    let traced = Traced { hash: state.hash.digest128(), lines: state.lines, bytes: state.bytes };
    (result, traced)
}

struct Told(Arc<Tracer>);

impl Subscriber for Told {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "turmoil"
    }

    fn event(&self, event: &Event<'_>) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = std::mem::take(&mut state.line);
        line.clear();
        // Writing to a string does not fail.
        let _ = write!(line, "{:?}", crate::system::now());
        event.record(&mut Fields(&mut line));
        state.hash.update(line.as_bytes());
        state.lines += 1;
        state.bytes += line.len() as u64;
        state.line = line;
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}
