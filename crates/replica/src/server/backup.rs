//! Backups over the wire: the bytes of one, at the pace of its reader and no faster than it asks.
//!
//! A backup may take an hour, and a view of the state is held meanwhile; so there is one at a time,
//! and a reader that has gone silent is not waited for. Each piece is read where waiting disturbs
//! nobody and kept until its reader takes it: one is under way, one waits.

use super::counts::Place;
use super::shared::{Shared, Stage};
use crate::backup::{Link, TakeError, Taking, Wanted};
use crate::store::StoreError;
use bytes::Bytes;
use orset::Origin;
use pannier_proto::convert;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::{self, BackupPiece, backups_server};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Backups at once.
const AT_ONCE: usize = 1;

/// How long a reader may take nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service.
#[derive(Clone)]
pub(super) struct Backups(pub Arc<Shared>);

type Sent = Result<BackupPiece, Status>;

#[tonic::async_trait]
impl backups_server::Backups for Backups {
    type TakeBackupStream = ReceiverStream<Sent>;

    async fn take_backup(
        &self,
        request: Request<v1::TakeBackupRequest>,
    ) -> Result<Response<ReceiverStream<Sent>>, Status> {
        let shared = &self.0;
        let asked = request.into_inner();
        let wanted = wanted(&asked).map_err(|failure| shared.told(failure))?;
        let place = shared.enter(&shared.counts.backups, AT_ONCE, "backups");
        let place = place.map_err(|failure| shared.told(failure))?;
        let (sender, pieces) = mpsc::channel(1);
        match shared.replica.begin_backup_soon(wanted).await {
            Ok(taking) => {
                let sending = Sending {
                    shared: shared.clone(),
                    sender,
                    bytes_per_second: asked.bytes_per_second,
                    _place: place,
                };
                tokio::spawn(sending.run(taking));
            }
            Err(error @ (TakeError::LogGone { .. } | TakeError::WentBack)) => {
                let piece = BackupPiece { needs_full: error.to_string(), data: Bytes::new() };
                // There is room for one, and nobody has gone yet.
                drop(sender.try_send(Ok(piece)));
            }
            Err(error) => return Err(shared.told(failure(error))),
        }
        Ok(Response::new(ReceiverStream::new(pieces)))
    }
}

/// What is asked, checked.
fn wanted(asked: &v1::TakeBackupRequest) -> Result<Wanted, Failure> {
    let v1::TakeBackupRequest { after, index, previous, .. } = asked;
    let bad = |what: &str| Err(Failure::new(Reason::Bounds, what).with("field", "after"));
    let link = Link { index: *index, previous: *previous };
    if *index == 0 {
        return if after.is_empty() && *previous == 0 {
            Ok(Wanted { after: None, link })
        } else {
            bad("a full backup goes on from nothing")
        };
    }
    let after = convert::vector_from(after)?;
    if after.get(Origin::MEMBERSHIP) > 0 || after.get(Origin::BOOK) > 0 {
        return bad("no backup ends with that");
    }
    Ok(Wanted { after: Some(after), link })
}

fn failure(error: TakeError) -> Failure {
    let reason = match &error {
        TakeError::Store(StoreError::ViewTooOld { .. } | StoreError::Refused(_))
        | TakeError::Overtaken(_)
        | TakeError::Installing
        | TakeError::Unsettled => Reason::Overloaded,
        _ => Reason::StorageFailed,
    };
    Failure::new(reason, error.to_string())
}

/// One backup on its way.
struct Sending {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Sent>,
    bytes_per_second: u64,
    _place: Place,
}

impl Sending {
    async fn run(self, taking: Taking) {
        let over = Shared::over(self.shared.stages());
        tokio::select! {
            () = self.send(taking) => {}
            () = over => self.end(match self.shared.stage() {
                Stage::Failed(why) => Failure::new(Reason::StorageFailed, why),
                _ => Failure::new(Reason::Draining, "the server is shutting down"),
            }),
            () = self.sender.closed() => {}
        }
    }

    /// Tells why, if there is room to: what has no end frame is no backup anyway.
    fn end(&self, failure: Failure) {
        drop(self.sender.try_send(Err(self.shared.told(failure))));
    }

    async fn send(&self, mut taking: Taking) {
        loop {
            let Ok(room) = tokio::time::timeout(PATIENCE, self.sender.reserve()).await else {
                let what = "the reader took nothing for too long: begin again";
                return self.end(Failure::new(Reason::Resume, what));
            };
            // The reader has gone.
            let Ok(room) = room else { return };
            match self.shared.replica.backup_soon(taking).await {
                Ok(Some((left, piece))) => {
                    taking = left;
                    let rest = self.rest(piece.len());
                    room.send(Ok(BackupPiece { data: piece.into(), needs_full: String::new() }));
                    if !rest.is_zero() {
                        tokio::time::sleep(rest).await;
                    }
                }
                Ok(None) => return,
                Err(error) => return room.send(Err(self.shared.told(failure(error)))),
            }
        }
    }

    /// How long so many bytes are to take.
    fn rest(&self, bytes: usize) -> Duration {
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let us = (bytes as u64).saturating_mul(1_000_000) / self.bytes_per_second;
        Duration::from_micros(us)
    }
}
