//! The wish to end: Ctrl-C or SIGTERM once to finish in good order, twice to end at once.

use crate::fail::Fail;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What the shell is told by a process that a second signal ended.
const AT_ONCE: i32 = crate::fail::INTERRUPTED as i32;

/// Tells when to stop; clones tell the same.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens for signals from now on, and with `until_stdin_ends` for the end of standard input.
    /// To be called within a runtime.
    pub fn on_signals(until_stdin_ends: bool) -> Result<Self, Fail> {
        let listen = |kind| {
            signal(kind).map_err(|error| Fail::Storage(format!("cannot wait for signals: {error}")))
        };
        let (terminate, interrupt) =
            (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let (wish, wished) = watch::channel(false);
        if until_stdin_ends {
            let wish = wish.clone();
            // A thread that nobody waits for: a runtime would wait for one of its own.
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                wish.send_replace(true);
            });
        }
        tokio::spawn(wait(terminate, interrupt, wish));
        Ok(Self(wished))
    }

    /// Completes when somebody wants it.
    pub async fn wanted(&mut self) {
        if self.0.wait_for(|wanted| *wanted).await.is_err() {
            // Who could have wished it is gone.
            std::future::pending::<()>().await;
        }
    }

    /// Whether somebody has wanted it.
    pub fn is_wanted(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes at the first of both.
    pub async fn or<T>(&mut self, other: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = other => Some(done),
            () = self.wanted() => None,
        }
    }
}

async fn wait(mut terminate: Signal, mut interrupt: Signal, wish: watch::Sender<bool>) {
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if wish.send_replace(true) {
            // Whoever asks twice does not want to wait for what the first was waiting for. What was
            // acknowledged is on disk, as after any kill.
            std::process::exit(AT_ONCE);
        }
    }
}
