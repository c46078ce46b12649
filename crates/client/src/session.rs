//! A session: what one user has written and read, and what of it may have to be written again.
//!
//! Its token may be carried anywhere, as bytes. What is kept to be sent again lives here, in this
//! process, and ends with the last clone: a session resumed from bytes waits for what it wrote
//! before as for anything that it has read.

use crate::client::{Client, Inner};
use crate::core::Mode;
use crate::doors::chance;
use crate::error::Error;
use bytes::Bytes;
use orset::{OpId, OpIdSession};
use pannier_proto::TokenError;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Makes op ids; now and then it begins another session of ids.
pub(crate) struct Ids(Mutex<OpIdSession>);

impl Ids {
    pub fn new() -> Result<Self, Error> {
        Ok(Self(Mutex::new(chance::op_ids()?)))
    }

    pub fn next(&self) -> Result<OpId, Error> {
        // Whole between any two statements, so a panic elsewhere spoils nothing.
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = chance::next_op_id(&mut ids)?;
        next.ok_or_else(|| Error::NoChance("an op id that is none".into()))
    }
}

pub(crate) struct SessionInner {
    pub client: Arc<Inner>,
    pub number: u32,
    pub ids: Ids,
    /// `NO_PEERS`: as the client's settings say.
    peers: AtomicU32,
}

/// More than any cluster has.
const NO_PEERS: u32 = u32::MAX;

impl Drop for SessionInner {
    fn drop(&mut self) {
        self.client.shared.with(|core, _| core.end(self.number));
    }
}

/// One user's session; clones are the same session.
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<SessionInner>,
}

impl Session {
    pub(crate) fn begin(client: &Client, token: &[u8], mode: Mode) -> Result<Self, Error> {
        let ids = Ids::new()?;
        let number = client.inner.shared.with(|core, _| core.begin(token, mode))?;
        let client = client.inner.clone();
        let peers = AtomicU32::new(NO_PEERS);
        Ok(Self { inner: Arc::new(SessionInner { client, number, ids, peers }) })
    }

    /// The session as opaque bytes that its user keeps; empty when it has seen nothing. Whoever
    /// goes on with them is never shown less than was seen here: they also ask for what this
    /// session is writing again, and for what it gave up and has not told yet (`regressed`).
    pub fn token(&self) -> Bytes {
        self.inner.client.shared.with(|core, _| core.token(self.inner.number))
    }

    /// Takes note of another session's token that came with a message: from now on this one sees at
    /// least as much.
    pub fn observe(&self, token: &[u8]) -> Result<(), TokenError> {
        let token = Bytes::copy_from_slice(token);
        self.inner.client.shared.with(|core, _| core.learn(self.inner.number, &token))
    }

    /// From now on its changes are answered when so many other members have them synced, too,
    /// unless one says otherwise (`on_peers`). Its token does not carry this.
    pub fn set_peers(&self, peers: u32) {
        self.inner.peers.store(peers.min(NO_PEERS - 1), Ordering::Relaxed);
    }

    pub(crate) fn peers(&self) -> Option<u32> {
        let peers = self.inner.peers.load(Ordering::Relaxed);
        (peers != NO_PEERS).then_some(peers)
    }

    /// Its next op id, for `with_op_id`.
    pub fn op_id(&self) -> Result<OpId, Error> {
        self.inner.ids.next()
    }

    /// How often it had to give up something that it had read (mode `own_writes`, or a kept change
    /// that every server refused).
    pub fn regressions(&self) -> u64 {
        self.inner.client.shared.with(|core, _| core.regressions(self.inner.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_one_session_until_it_is_old() {
        let ids = Ids::new().unwrap();
        let (first, second) = (ids.next().unwrap(), ids.next().unwrap());
        assert_eq!((first.split().0, second.split().1), (second.split().0, 1));
        *ids.0.lock().unwrap() = OpIdSession::new(first.born_ms() / 1_000 - 601, 7);
        let third = ids.next().unwrap();
        assert!(third.born_ms() >= first.born_ms() && third.split().1 == 0);
    }
}
