//! What befalls a disk, or a joiner: parts of acts.

use serde::{Deserialize, Serialize};

/// What befalls a joiner that takes a snapshot in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trap {
    /// Its power goes.
    JoinerCrashes,
    /// The giver's does.
    GiverCrashes,
    /// An operator wants the giver to leave.
    GiverLeaves,
}

impl Trap {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::JoinerCrashes, Self::GiverCrashes, Self::GiverLeaves];
}

/// A call of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskCall {
    /// An append to the log writes nothing.
    LogWrite,
    /// The log's sync fails: what it covered is in doubt.
    LogSync,
    /// A checkpoint is not written.
    StateWrite,
    /// The state's sync fails.
    StateSync,
}

impl DiskCall {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LogWrite, Self::LogSync, Self::StateWrite, Self::StateSync];
}
