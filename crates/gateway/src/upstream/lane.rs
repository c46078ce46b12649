//! Keeps one connection to one replica open, and says what is heard on it.
//!
//! ```text
//! connect -> first probe -> published -> probe, probe, ... -> lost -> connect
//!                                         \-> missed again and again, others are well -> dropped
//!    \-> failed -> pause (decide/reconnect.rs) -> connect
//! ```
//!
//! A connection is used only once a probe over it was answered: by then the peer's settings are
//! known, and a port where something else listens has shown itself.

use super::connect::{Dial, connect};
use super::probe::probe;
use super::{Live, Upstreams};
use crate::body::BoxError;
use crate::decide::{Heard, reconnect};
use crate::layers::Shared;
use bytes::Bytes;
use http_body::Body;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// One lane, for ever.
pub async fn keep<B, D>(
    shared: Arc<Shared>,
    dial: D,
    upstreams: Upstreams<B>,
    replica: usize,
    lane: usize,
) where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
    D: Dial,
{
    let Some(at) = shared.settings.replicas.get(replica) else { return };
    let this = Lane { shared: &shared, upstreams: &upstreams, replica, lane, address: &at.address };
    let most_us = shared.settings.reconnect_most_ms.saturating_mul(1_000);
    let mut failures = 0_u32;
    loop {
        match this.once(&dial).await {
            Ok(()) => failures = 0,
            Err(error) => {
                if failures == 0 {
                    let (member, address) = (at.member, &at.address);
                    tracing::warn!(%member, %address, lane, %error, "cannot reach a replica");
                }
                failures = failures.saturating_add(1);
            }
        }
        upstreams.publish(replica, lane, None);
        this.heard(Heard::Down);
        let who = (replica as u64) << 32 | lane as u64;
        let pause_us = reconnect::pause_us(failures, most_us, who);
        tokio::time::sleep(Duration::from_micros(pause_us)).await;
    }
}

struct Lane<'a, B> {
    shared: &'a Shared,
    upstreams: &'a Upstreams<B>,
    replica: usize,
    lane: usize,
    address: &'a str,
}

impl<B> Lane<'_, B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// One connection, from its making to its end. An error: it never was of use.
    async fn once(&self, dial: &impl Dial) -> Result<(), BoxError> {
        let settings = &self.shared.settings;
        let patience = Duration::from_millis(settings.probe_timeout_ms);
        let made = Duration::from_millis(settings.connect_ms);
        let made = tokio::time::timeout(made, connect::<B, _>(settings, dial, self.address));
        let (send, mut connection, sever) =
            made.await.map_err(|_| "connecting took too long")??;

        let first = tokio::select! {
            heard = probe(&send, self.address, patience) => heard,
            ended = &mut connection => {
                ended?;
                return Err("it closed the connection at once".into());
            }
        };
        if first == Heard::Missed {
            return Err("the first probe was not answered".into());
        }
        let most = connection.current_max_send_streams().min(settings.lane_streams);
        let mut driving = JoinSet::new();
        driving.spawn(async move {
            // Why it ended is told to each of its streams.
            let _ = connection.await;
        });
        let live = Arc::new(Live {
            send: send.clone(),
            open: AtomicUsize::new(0),
            most,
            fit: AtomicBool::new(true),
        });
        self.upstreams.publish(self.replica, self.lane, Some(Arc::clone(&live)));
        self.heard(first);
        tracing::debug!(address = self.address, lane = self.lane, most, "connected");

        let pause = Duration::from_millis(settings.probe_ms);
        let probing = async {
            let mut missed = 0_u32;
            loop {
                tokio::time::sleep(pause).await;
                let heard = probe(&send, self.address, patience).await;
                live.fit.store(heard != Heard::Missed, Ordering::Relaxed);
                if !send.is_closed() {
                    self.heard(heard);
                }
                missed = if heard == Heard::Missed { missed.saturating_add(1) } else { 0 };
                if self.gives_up(missed) {
                    let address = self.address;
                    tracing::warn!(address, lane = self.lane, missed, "probes are not answered");
                    break;
                }
            }
        };
        tokio::select! {
            // Its streams end here, and not when a ping finds what the probes have found.
            () = probing => drop(sever.send(())),
            _ = driving.join_next() => {}
        }
        Ok(())
    }

    fn gives_up(&self, missed: u32) -> bool {
        let shared = self.shared;
        missed > 0 && shared.dispatcher().gives_up(shared.clock.now_us(), self.replica, missed)
    }

    fn heard(&self, what: Heard) {
        let shared = self.shared;
        let mut dispatcher = shared.dispatcher();
        let before = dispatcher.standing(shared.clock.now_us(), self.replica);
        dispatcher.heard(self.replica, self.lane, what);
        let after = dispatcher.standing(shared.clock.now_us(), self.replica);
        drop(dispatcher);
        if before != after {
            let (before, after) = (before.as_str(), after.as_str());
            tracing::info!(address = self.address, before, after, "a replica's standing");
        }
        shared.changed.notify_waiters();
    }
}
