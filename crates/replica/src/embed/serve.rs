//! What a server needs of a replica beyond what a service does.

use super::listeners::Ending;
use super::{Error, Replica, Status, Verification};
#[cfg(feature = "inline")]
use crate::driver::Running;
use crate::driver::{Core, Mailbox, Notice};
use crate::protocol::membership::wish::Report;
use crate::protocol::membership::{Place, Wish};
use crate::protocol::verify::Verify;
use crate::store::StoreError;
use orset::VersionVector;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// State as of one synced cut.
pub(crate) struct Cut {
    pub vector: Arc<VersionVector>,
    /// Of the membership in force.
    pub number: u64,
    pub total: u128,
    /// The sums of the buckets; none, if they were not asked for, or something is not synced.
    pub buckets: Vec<u128>,
}

impl Replica {
    /// Where commands go.
    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.inner.mailbox
    }

    /// Microseconds on the clock that deadlines of commands are on.
    pub(crate) fn now_us(&self) -> u64 {
        self.inner.clock.now().mono_us
    }

    /// Whether it takes part, now and whenever that is news.
    pub(crate) fn places(&self) -> watch::Receiver<Place> {
        self.inner.watchers.place.subscribe()
    }

    /// Asks for a change of members. How it goes, `standing_soon` says.
    pub(crate) fn wish(&self, wish: Wish) -> Result<(), Error> {
        if self.inner.mailbox.notice(Notice::Change(wish)) { Ok(()) } else { Err(Error::Closed) }
    }

    /// How such a wish stands.
    pub(crate) async fn standing_soon(&self, wish: Wish) -> Result<Report, Error> {
        self.look(move |core| core.report(&wish)).await
    }

    /// As `status`, without blocking.
    pub(crate) async fn status_soon(&self) -> Result<Status, Error> {
        self.look(self.status_of()).await
    }

    /// Where its state stands, as of one synced cut.
    pub(crate) async fn cut_soon(&self, buckets: bool) -> Result<Cut, Error> {
        self.look(move |core: &Core| Cut {
            vector: core.synced().clone(),
            number: core.number(),
            total: core.synced_total(),
            buckets: match core.synced_buckets() {
                Some(sums) if buckets => sums.to_vec(),
                _ => Vec::new(),
            },
        })
        .await
    }

    /// As `verify`, without blocking.
    pub(crate) async fn verify_soon(&self, asked: Verify) -> Result<Verification, Error> {
        if !self.inner.mailbox.notice(Notice::Verify(asked)) {
            return Err(Error::Closed);
        }
        self.verified_soon().await
    }

    /// As `verified`, without blocking.
    pub(crate) async fn verified_soon(&self) -> Result<Verification, Error> {
        self.look(self.verified_of()).await
    }

    /// Runs what waits for the disk where waiting disturbs nobody; in a simulation, whose disk is
    /// memory, here.
    pub(super) async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        #[cfg(feature = "inline")]
        if self.inner.is_inline {
            return Ok(work(self));
        }
        let replica = self.clone();
        tokio::task::spawn_blocking(move || work(&replica)).await
    }

    /// As `disk_bytes`, without blocking: the engine walks its files.
    pub(crate) async fn disk_bytes_soon(&self) -> Result<u64, Error> {
        let asked = self.beside(Self::disk_bytes).await;
        asked.unwrap_or_else(|error| Err(Error::Failed(error.to_string())))
    }

    /// As `close`, without blocking.
    pub(crate) async fn close_soon(&self) -> Result<(), StoreError> {
        #[cfg(feature = "inline")]
        if self.inner.is_inline {
            let Some(Running::Task(writer)) = self.inner.stop() else { return Ok(()) };
            return self.inner.ended(writer.await.unwrap_or_else(|_| Err(super::panicked())));
        }
        let closed = self.beside(Self::close).await;
        closed.unwrap_or_else(|error| Err(StoreError::Poisoned(error.to_string())))
    }

    /// Looks at the protocol on the writer's thread, between two of its turns.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = oneshot::channel();
        let look = Box::new(move |core: &Core| drop(send.send(look(core))));
        if !self.inner.mailbox.notice(Notice::Inspect(look)) {
            return Err(Error::Closed);
        }
        receive.await.map_err(|_| Error::Closed)
    }

    /// Whether it is catching up, and when that changes.
    pub(crate) fn catching_up(&self) -> tokio::sync::watch::Receiver<bool> {
        self.inner.watchers.catching_up.subscribe()
    }

    /// Waits until storage has failed, and says why; for ever, when the replica is closed instead.
    pub(crate) fn failed(&self) -> impl Future<Output = String> + Send + use<> {
        let mut ending = self.inner.watchers.ending.subscribe();
        async move {
            let failed = |ending: &Option<Ending>| matches!(ending, Some(Ending::Failed(_)));
            let why = match ending.wait_for(failed).await.as_deref() {
                Ok(Some(Ending::Failed(why))) => Some(why.clone()),
                _ => None,
            };
            match why {
                Some(why) => why,
                None => std::future::pending().await,
            }
        }
    }
}
