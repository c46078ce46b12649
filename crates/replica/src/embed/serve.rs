//! What a server needs of a replica beyond what a service does.

use super::{Ending, Error, Replica, Status};
use crate::driver::{Core, Mailbox, Notice};
use crate::protocol::ProtocolSettings;
use std::future::Future;
use tokio::sync::oneshot;

impl Replica {
    /// Where commands go.
    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.inner.mailbox
    }

    /// Microseconds on the clock that deadlines of commands are on.
    pub(crate) fn now_us(&self) -> u64 {
        self.inner.clock.now().mono_us
    }

    pub(crate) fn protocol_settings(&self) -> &ProtocolSettings {
        &self.inner.settings.protocol
    }

    /// As `status`, without blocking.
    pub(crate) async fn status_soon(&self) -> Result<Status, Error> {
        self.look(self.status_of()).await
    }

    /// Looks at the protocol on the writer's thread, between two of its turns.
    async fn look<T: Send + 'static>(
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
