//! Work that nobody waits for: merging tables, reading everything to verify it.
//!
//! Merging comes in bursts that take a core for a third of a second, and on a machine that is
//! nearly busy those who do have somebody waiting, the writer and the log, then queue behind it:
//! with 100,000 claims a second on two cores the 99th percentile was half as long again. So its
//! threads ask the system for a tenth of the share of others, and get what is left over, too.
//!
//! Whoever writes checkpoints does not yield: beside a writer that takes all it can get it fell so
//! far behind that writes had to wait for it, 140 ms at a time in place of 45. Nor does an engine
//! whose own threads a commit waits for (sled).
//!
//! A thread of Linux has a priority of its own, and hands it to the threads that it starts: so an
//! engine that starts its own is opened by a thread that has stepped back. Elsewhere priorities
//! belong to processes, and nothing is done.

use std::io;
use std::thread;

/// One step weighs a quarter; ten are a tenth of the share.
#[cfg(target_os = "linux")]
const STEPS: i32 = 10;

/// The calling thread, and those that it starts from now on, yield to others. A system that
/// forbids it is no reason to stop: it is only slower.
pub(crate) fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(STEPS) {
        tracing::debug!(%error, "background threads run at the priority of all others");
    }
}

/// Runs `open` on a thread that yields to others, as do all threads that it starts.
pub(super) fn opened<T: Send>(open: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let opening =
            thread::Builder::new().name("pannier-open".into()).spawn_scoped(scope, || {
                yield_to_others();
                open()
            })?;
        opening.join().map_err(|_| io::Error::other("opening the store panicked"))
    })
}
