//! `pannier backup`, `restore`, `verify-backup`: a member's state in files, and back.
//!
//! What a backup is, and when it is one, the library says (`pannier_replica::backup`). Here are the
//! files: their names, in which order they are read, and that a run that is cut short leaves those
//! before it as they were (`folder.rs`).

mod folder;
mod moment;
mod restore;
mod take;
mod told;
mod verify;

pub use restore::RestoreArgs;
pub use take::BackupArgs;
pub use verify::VerifyBackupArgs;
