//! Of backups.

use super::{Sample, b, id, vector};
use pannier_proto::v1::{BackupPiece, TakeBackupRequest};
use prost::Message;

pub fn samples() -> Vec<Sample> {
    table! {
        TakeBackupRequest TakeBackupRequest {
            after: vector(),
            index: 3,
            previous: u64::from_be_bytes(id(7)[..8].try_into().unwrap()),
            bytes_per_second: 1 << 20,
        };
        BackupPiece BackupPiece { data: b("bytes"), needs_full: "the log".into() };
    }
}
