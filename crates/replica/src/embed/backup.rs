//! Backing up a replica that is open, without holding its writer up.
//!
//! The store is held for one piece at a time, and not longer: a replica that is closed waits for
//! the piece that is being read, and then nothing below it is used any more (the directory's lock
//! falls behind the engine, `Inner::ended`). A view that is left ends with its store (S12).

use super::{Error, Inner, Replica};
use crate::backup::{Standing, TakeError, Taking, Wanted};
use crate::doors::clock;
use crate::driver::Core;
use crate::store::{StateView, Store, StoreError};
use orset::Origin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Times that log and writer are looked at until both say the same.
const LOOKS: u32 = 100;

/// Between two of them: longer than most syncs.
const PAUSE: Duration = Duration::from_millis(20);

impl Inner {
    /// Works on the store, which does not close meanwhile.
    fn with_store<T>(
        &self,
        work: impl FnOnce(&dyn Store) -> Result<T, TakeError>,
    ) -> Result<T, TakeError> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match &*store {
            Some(store) => work(&**store),
            None => Err(closed()),
        }
    }
}

fn closed() -> TakeError {
    StoreError::Poisoned("the replica is closed".into()).into()
}

impl Replica {
    /// Begins a backup of what is synced.
    pub(crate) async fn begin_backup_soon(&self, wanted: Wanted) -> Result<Taking, TakeError> {
        let wanted = Arc::new(wanted);
        for _ in 0..LOOKS {
            // The view first: what the writer has synced then covers it.
            let view = match &wanted.after {
                Some(_) => None,
                None => Some(self.on_store(|store| Ok(store.view()?)).await?),
            };
            let standing = self.look(self.standing_of()).await;
            let standing = standing.map_err(|_: Error| closed())?;
            match self.begin_on(view, standing, wanted.clone()).await {
                Err(TakeError::Unsettled) => tokio::time::sleep(PAUSE).await,
                begun => return begun,
            }
        }
        Err(TakeError::Unsettled)
    }

    async fn begin_on(
        &self,
        view: Option<Box<dyn StateView>>,
        standing: Standing,
        wanted: Arc<Wanted>,
    ) -> Result<Taking, TakeError> {
        self.on_store(move |store| Taking::begin(store, view, &standing, &wanted)).await
    }

    /// The next bytes of it, and what is left to take; `None` behind its end.
    pub(crate) async fn backup_soon(
        &self,
        mut taking: Taking,
    ) -> Result<Option<(Taking, Vec<u8>)>, TakeError> {
        self.on_store(move |store| Ok(taking.piece(store)?.map(|piece| (taking, piece)))).await
    }

    async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store) -> Result<T, TakeError> + Send + 'static,
    ) -> Result<T, TakeError> {
        let worked = self.beside(move |replica| replica.inner.with_store(work)).await;
        worked.unwrap_or_else(|error| Err(StoreError::Poisoned(error.to_string()).into()))
    }

    fn standing_of(&self) -> impl FnOnce(&Core) -> Standing + Send + 'static + use<> {
        let cluster = self.cluster().unwrap_or_default().to_owned();
        let engine = self.engine().to_owned();
        move |core| Standing {
            member: core.member(),
            start: core.origin(),
            cluster,
            engine,
            taken_ms: clock::wall_ms(),
            synced: (**core.synced()).clone(),
            number: Some(core.synced().get(Origin::MEMBERSHIP)),
            total: Some(core.synced_total()),
            record: core.membership().clone(),
        }
    }
}
