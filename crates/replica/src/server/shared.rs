//! What all services of one server share: the replica, the rooms, and whether it still serves.

use super::counts::{Counts, Place, Room};
use super::settings::ServerSettings;
use super::tokens::TokenWriter;
use super::{ask, status};
use crate::driver::{Answer, Asked as Queued, NoReply, Outcome};
use crate::embed::Replica;
use crate::protocol::membership;
use crate::protocol::{Command, Durability, NO_LANE};
use crate::transport::grpc::Links;
use bytes::Bytes;
use orset::VersionVector;
use pannier_proto::convert::Asked;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::metadata::TOKEN;
use pannier_proto::v1::answer::Body;
use pannier_proto::{convert, fingerprint};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tonic::metadata::{BinaryMetadataValue, MetadataMap};

/// Whether the server takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// The replica does not take part: it joins the cluster, or leaves it.
    Apart(membership::Place),
    /// It was told to stop: what is under way is finished.
    Draining,
    /// Storage failed, and why.
    Failed(String),
}

pub(super) struct Shared {
    pub replica: Replica,
    pub settings: ServerSettings,
    pub links: Option<Links>,
    pub counts: Counts,
    /// Fingerprint of the cluster's name; 0: of none.
    pub cluster: u64,
    /// This start's origin, as answers carry it.
    pub origin: Bytes,
    pub began_us: u64,
    stage: watch::Sender<Stage>,
    lanes: AtomicU64,
    tokens: Mutex<(TokenWriter, Option<BinaryMetadataValue>)>,
}

impl Shared {
    pub fn new(replica: Replica, settings: ServerSettings, links: Option<Links>) -> Self {
        let cluster = replica.cluster().map_or(0, fingerprint);
        let writer = TokenWriter::new(cluster, replica.member());
        Self {
            cluster,
            origin: Bytes::copy_from_slice(replica.origin().as_bytes()),
            began_us: replica.now_us(),
            stage: watch::Sender::new(stage_of(*replica.places().borrow())),
            lanes: AtomicU64::new(NO_LANE),
            tokens: Mutex::new((writer, None)),
            counts: Counts::default(),
            replica,
            settings,
            links,
        }
    }

    // === Stage ===

    pub fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }

    pub fn stages(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// The replica takes part, or no longer.
    pub fn stand(&self, place: membership::Place) {
        self.go(stage_of(place));
    }

    /// Goes to a later stage; a failure stays what it is, and so does a drain.
    pub fn go(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let goes = matches!(stage, Stage::Serving | Stage::Apart(_)) && *stage != to;
            if goes {
                *stage = to;
            }
            goes
        });
    }

    /// Resolves when requests are no longer taken, or not yet.
    pub async fn over(mut stages: watch::Receiver<Stage>) {
        // An error says that the server is gone altogether.
        let _ = stages.wait_for(|stage| *stage != Stage::Serving).await;
    }

    /// Why requests are not taken, if they are not.
    pub fn refusal(&self) -> Option<Failure> {
        match &*self.stage.borrow() {
            Stage::Serving => None,
            Stage::Apart(place) => {
                let why = format!("this replica {place}; ask another");
                Some(Failure::new(Reason::Draining, why))
            }
            Stage::Draining => Some(Failure::new(Reason::Draining, "the server is shutting down")),
            Stage::Failed(why) => Some(Failure::new(Reason::StorageFailed, why.as_str())),
        }
    }

    /// A place in a room, unless it is full or the server takes nothing new.
    pub fn enter(&self, room: &Arc<Room>, max: usize, what: &str) -> Result<Place, Failure> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let full = || Failure::new(Reason::Overloaded, format!("{max} {what} are open already"));
        room.enter(max).ok_or_else(full)
    }

    /// A failure that is about to be told to a client.
    pub fn told(&self, failure: impl Into<Failure>) -> tonic::Status {
        let failure = self.counts.told(failure.into());
        let mut status = failure.to_status();
        if let Some(vector) = &failure.session {
            status.metadata_mut().insert_bin(TOKEN, self.token(vector));
        }
        status
    }

    // === Commands ===

    /// A lane that no other stream has.
    pub fn new_lane(&self) -> u64 {
        self.lanes.fetch_add(1, Relaxed) + 1
    }

    /// The moment by which a session must be caught up with that may wait so long (0: as long as
    /// the setting says).
    pub fn catch_up_by(&self, now_us: u64, wait_ms: u64) -> u64 {
        let ServerSettings { catch_up_ms, deadline_most_ms, .. } = self.settings;
        let wait_ms = if wait_ms == 0 { catch_up_ms } else { wait_ms.min(deadline_most_ms) };
        now_us.saturating_add(wait_ms * 1_000)
    }

    /// Where a change of a stream must stand: at so many peers, within so long (0: the setting's).
    pub fn durability(&self, peers: u32, now_us: u64, wait_ms: u64) -> Durability {
        if peers == 0 {
            return Durability::Local;
        }
        let ServerSettings { deadline_ms, deadline_most_ms, .. } = self.settings;
        let wait_ms = if wait_ms == 0 { deadline_ms } else { wait_ms.min(deadline_most_ms) };
        Durability::Peers { count: peers, by_us: now_us.saturating_add(wait_ms * 1_000) }
    }

    /// Queues one command.
    pub fn queue(&self, command: Command) -> Result<oneshot::Receiver<Outcome>, Failure> {
        let (sender, receiver) = oneshot::channel();
        let queued = Queued { command, answer: Answer::Once(sender) };
        self.replica.mailbox().command(queued).map_err(status::not_taken)?;
        Ok(receiver)
    }

    /// The session of a unary call.
    pub fn session(&self, metadata: &MetadataMap) -> Result<Arc<VersionVector>, Failure> {
        match pannier_proto::metadata::token_bytes(metadata)? {
            None => Ok(Arc::default()),
            Some(bytes) => Ok(Arc::new(convert::session(&bytes, self.cluster)?.vector)),
        }
    }

    /// One command or read, from its call to its answer.
    pub async fn ask(
        &self,
        asked: Asked,
        after: Arc<VersionVector>,
        time: Time,
        page_bytes: usize,
    ) -> Result<(Body, Arc<VersionVector>), Failure> {
        let (command, question) = ask::command(asked, time.terms(after, page_bytes));
        let outcome = self.queue(command)?;
        self.finish(outcome, &question, time).await
    }

    pub async fn finish(
        &self,
        outcome: oneshot::Receiver<Outcome>,
        question: &ask::Question,
        time: Time,
    ) -> Result<(Body, Arc<VersionVector>), Failure> {
        let outcome = tokio::time::timeout_at(time.ends, outcome)
            .await
            .map_err(|_| Failure::new(Reason::Deadline, "the deadline passed before the answer"))?;
        let ended = || NoReply::Failed("the replica ended before it answered".into());
        let reply = outcome.unwrap_or_else(|_| Err(ended()));
        let reply = reply.map_err(|why| status::no_reply(&why))?;
        Ok((ask::answer(question, &reply, &self.origin), reply.vector().clone()))
    }

    /// When a unary call must be answered.
    pub fn time(&self, metadata: &MetadataMap) -> Time {
        let ServerSettings { deadline_ms, deadline_most_ms, catch_up_ms, .. } = self.settings;
        let asked = metadata.get("grpc-timeout").and_then(|value| timeout(value.as_bytes()));
        let given = asked.unwrap_or(Duration::from_millis(deadline_ms));
        let given = given.min(Duration::from_millis(deadline_most_ms));
        // BEHIND tells more than a deadline, so it comes a little before.
        let catch_up = Duration::from_millis(catch_up_ms).min(given - given / 8);
        let now_us = self.replica.now_us();
        // So does NOT_REPLICATED.
        let peers = given - given / 8;
        Time {
            ends: tokio::time::Instant::now() + given,
            catch_up_by: now_us.saturating_add(catch_up.as_micros() as u64),
            peers_by: now_us.saturating_add(peers.as_micros() as u64),
            peers: 0,
        }
    }

    /// The session's token for a response's metadata.
    pub fn token(&self, vector: &Arc<VersionVector>) -> BinaryMetadataValue {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, fresh) = tokens.0.write(vector);
        if !fresh && let Some(value) = &tokens.1 {
            return value.clone();
        }
        let value = BinaryMetadataValue::from_bytes(&bytes);
        tokens.1 = Some(value.clone());
        value
    }
}

fn stage_of(place: membership::Place) -> Stage {
    match place {
        membership::Place::Member => Stage::Serving,
        place => Stage::Apart(place),
    }
}

/// How long a call may take.
#[derive(Clone, Copy)]
pub(super) struct Time {
    ends: tokio::time::Instant,
    /// On the replica's clock.
    catch_up_by: u64,
    peers_by: u64,
    peers: u32,
}

impl Time {
    /// Of a change that is to be on so many peers.
    pub const fn on_peers(self, peers: u32) -> Self {
        Self { peers, ..self }
    }

    /// Whether it has passed.
    pub fn is_over(&self) -> bool {
        tokio::time::Instant::now() >= self.ends
    }

    /// How a command of such a call is asked.
    pub fn terms(self, after: Arc<VersionVector>, page_bytes: usize) -> ask::Terms {
        let durability = match self.peers {
            0 => Durability::Local,
            count => Durability::Peers { count, by_us: self.peers_by },
        };
        let (deadline_us, lane) = (self.catch_up_by, NO_LANE);
        ask::Terms { after, deadline_us, lane, durability, page_bytes }
    }
}

/// A gRPC timeout: up to eight digits and a unit.
fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(count * 3_600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        assert_eq!(timeout(b"5S"), Some(Duration::from_secs(5)));
        assert_eq!(timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(timeout(b"250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout(b"1n"), Some(Duration::from_nanos(1)));
        for bad in ["", "S", "5", "5s", "+5S", "-1S", "123456789S", "1.5S", "5 S"] {
            assert_eq!(timeout(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
