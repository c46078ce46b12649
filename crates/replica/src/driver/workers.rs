//! The two threads that wait for the disk: one for the log, one for checkpoints.

use super::mailbox::{Mailbox, Notice};
use crate::store::{LogRecord, StateBatch, Store};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Checkpoints written between two that are forced to disk: bounds what recovery replays after a
/// power cut, without a sync for each.
const CHECKPOINTS_PER_SYNC: u32 = 8;

/// A round for the log.
pub(super) type Persist = (u64, Vec<LogRecord>);

/// Appends and syncs round after round.
pub(super) fn log_thread(
    store: Arc<dyn Store>,
    mailbox: Arc<Mailbox>,
) -> std::io::Result<(SyncSender<Persist>, JoinHandle<()>)> {
    let (send, receive): (_, Receiver<Persist>) = sync_channel(2);
    let thread = Builder::new().name("pannier-log".into()).spawn(move || {
        for (round, records) in receive {
            let notice = match store.append(&records) {
                Ok(()) => Notice::Synced(round),
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
) -> std::io::Result<(SyncSender<Arc<StateBatch>>, JoinHandle<()>)> {
    let (send, receive): (_, Receiver<Arc<StateBatch>>) = sync_channel(2);
    let thread = Builder::new().name("pannier-checkpoint".into()).spawn(move || {
        let mut unsynced = 0;
        for batch in receive {
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
