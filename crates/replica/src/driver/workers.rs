//! The two threads that wait for the disk: one for the log, one for checkpoints.

use super::Observer;
use super::mailbox::{Mailbox, Notice};
use crate::doors::clock::Clock;
use crate::store::{LogRecord, StateBatch, Store};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Checkpoints written between two that are forced to disk: bounds what recovery replays after a
/// power cut, without a sync for each.
const CHECKPOINTS_PER_SYNC: u32 = 8;

/// A round for the log.
pub(super) type Persist = (u64, Vec<LogRecord>);

/// Work of the checkpoint thread.
pub(super) enum Checkpointing {
    /// Write these rows.
    Write(Arc<StateBatch>),
    /// Drop these: there may be hundreds of thousands, and the writer has clients that wait.
    Release(Arc<StateBatch>),
}

/// Appends and syncs round after round.
pub(super) fn log_thread(
    store: Arc<dyn Store>,
    mailbox: Arc<Mailbox>,
    observer: Arc<dyn Observer>,
    clock: Clock,
) -> std::io::Result<(SyncSender<Persist>, JoinHandle<()>)> {
    let (send, receive): (_, Receiver<Persist>) = sync_channel(2);
    let thread = Builder::new().name("pannier-log".into()).spawn(move || {
        for (round, records) in receive {
            let began_us = clock.now().mono_us;
            let notice = match store.append(&records) {
                Ok(()) => {
                    observer.synced(clock.now().mono_us.saturating_sub(began_us));
                    Notice::Synced(round)
                }
                Err(error) => Notice::Failed(error),
            };
            mailbox.notice(notice);
        }
    })?;
    Ok((send, thread))
}

/// Writes checkpoint after checkpoint.
pub(super) fn checkpoint_thread(
    store: Arc<dyn Store>,
    mailbox: Arc<Mailbox>,
) -> std::io::Result<(SyncSender<Checkpointing>, JoinHandle<()>)> {
    let (send, receive): (_, Receiver<Checkpointing>) = sync_channel(2);
    let thread = Builder::new().name("pannier-checkpoint".into()).spawn(move || {
        let mut unsynced = 0;
        for job in receive {
            let batch = match job {
                Checkpointing::Write(batch) => batch,
                Checkpointing::Release(batch) => {
                    drop(batch);
                    continue;
                }
            };
            unsynced += 1;
            let mut result = store.write_state(&batch);
            if result.is_ok() && unsynced >= CHECKPOINTS_PER_SYNC {
                unsynced = 0;
                result = store.sync_state();
            }
            mailbox.notice(match result {
                Ok(()) => Notice::Checkpointed,
                Err(error) => Notice::Failed(error),
            });
        }
    })?;
    Ok((send, thread))
}
