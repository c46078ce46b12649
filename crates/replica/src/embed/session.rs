//! A session: what one client has written and read, wherever it goes.
//!
//! It is a version vector and a source of op ids, nothing more. A replica answers a session when
//! its own vector covers the session's; each answer raises it. That is the whole of
//! read-your-writes, on any replica, after any failover.

use super::error::Error;
use crate::doors::chance;
use crate::store::StoreError;
use orset::{Lattice, Member, OpId, OpIdSession, VersionVector};
use pannier_proto::Token;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct State {
    /// Fingerprint of the cluster that it has been served in; 0 for none in particular.
    cluster: u64,
    vector: Arc<VersionVector>,
    /// Peers that its ops are to be on; `None`: as the replica's settings say.
    peers: Option<u32>,
    ids: OpIdSession,
}

/// One client's session; clones are the same session.
#[derive(Clone)]
pub struct Session {
    state: Arc<Mutex<State>>,
}

impl Session {
    /// A session that has seen nothing yet.
    pub fn begin() -> Result<Self, StoreError> {
        let ids = chance::op_ids()?;
        let state = State { cluster: 0, vector: Arc::default(), peers: None, ids };
        Ok(Self { state: Arc::new(Mutex::new(state)) })
    }

    /// Goes on with a session from the bytes that `token` gave, in this process or another.
    pub fn resume(token: &[u8]) -> Result<Self, Error> {
        let token = Token::decode(token).map_err(|error| Error::Token(error.to_string()))?;
        let session = Self::begin().map_err(|error| Error::Failed(error.to_string()))?;
        session.state().cluster = token.cluster;
        session.observe(&Arc::new(token.vector));
        Ok(session)
    }

    /// The session as opaque bytes that its client keeps; `home` is the member that served last.
    pub fn token(&self, home: Option<Member>) -> Vec<u8> {
        let (cluster, vector) = {
            let state = self.state();
            (state.cluster, VersionVector::clone(&state.vector))
        };
        Token { cluster, home, vector }.encode()
    }

    /// What it has seen and written.
    pub fn vector(&self) -> Arc<VersionVector> {
        self.state().vector.clone()
    }

    /// What it has seen, for a replica of `cluster` (0: of none in particular), whose session it is
    /// from now on.
    pub(super) fn vector_in(&self, cluster: u64) -> Result<Arc<VersionVector>, Error> {
        let mut state = self.state();
        if state.cluster == 0 {
            state.cluster = cluster;
        } else if cluster != 0 && cluster != state.cluster {
            return Err(Error::Foreign);
        }
        Ok(state.vector.clone())
    }

    /// From now on its ops are answered when so many peers have them synced, too, unless an op says
    /// otherwise. The session knows it in this process only: a token does not carry it.
    pub fn set_peers(&self, peers: u32) {
        self.state().peers = Some(peers);
    }

    pub(super) fn peers(&self) -> Option<u32> {
        self.state().peers
    }

    /// Its next op id.
    pub fn op_id(&self) -> Result<OpId, Error> {
        chance::next_op_id(&mut self.state().ids).ok().flatten().ok_or(Error::OpIdsExhausted)
    }

    /// Takes note of an answer, or of another session's vector that came with a message.
    pub fn observe(&self, vector: &Arc<VersionVector>) {
        let mut state = self.state();
        if state.vector.is_empty() || vector.covers(&state.vector) {
            state.vector = vector.clone();
        } else {
            Arc::make_mut(&mut state.vector).join(vector);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
