//! Which engine keeps a directory: chosen once, when it is made, and remembered there.
//!
//! The obvious way, a setting that says which engine to open, opens an empty store beside a full
//! one as soon as the setting and the directory disagree. So the directory's own word stands
//! (`directory.rs`): who asks for no engine gets the one that the directory remembers, and fjall
//! for a new one; who asks for another than that is told so, and nothing is touched. Going from one
//! engine to the other is a backup and a restore, never a setting.
//!
//! The names are what an operator writes and what stands in the identity file; they never change.

use super::fjall::{FjallSettings, FjallStore};
use super::{Store, StoreError};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// What a directory may be kept by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// Log-structured merge trees, with a commit ring of ours: the default.
    #[default]
    Fjall,
    /// sled 0.34, a B-tree over a log, with syncs of ours. Slower, with limits of its own
    /// (`docs/operations.md`); in builds with the feature `sled`.
    Sled,
}

impl EngineKind {
    /// All of them, the default first.
    pub const ALL: [Self; 2] = [Self::Fjall, Self::Sled];

    /// As a setting or the identity file names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fjall => "fjall",
            Self::Sled => "sled",
        }
    }

    /// Whether this build can open it.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Fjall => true,
            Self::Sled => cfg!(feature = "sled"),
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no engine {0:?}; there are fjall and sled")]
pub struct UnknownEngine(pub String);

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(word: &str) -> Result<Self, UnknownEngine> {
        let named = Self::ALL.into_iter().find(|engine| engine.name() == word);
        named.ok_or_else(|| UnknownEngine(word.to_owned()))
    }
}

/// What may be tuned of the engine sled. Plain data, and there in every build, so that a settings
/// file means the same whatever was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SledSettings {
    /// Bytes of pages kept in memory, log and state together, as they are on disk; in memory they
    /// take several times that (`docs/operations.md`). Larger: fewer reads from disk. At least
    /// 4 MiB; less counts as that.
    pub cache_bytes: u64,
    /// Bytes of a segment, the piece of file that is written and reused as one: a power of two
    /// from 2 MiB to 16 MiB; anything else counts as the next larger of those, or the largest.
    /// Larger: fewer syncs within a checkpoint. Smaller: space comes back sooner. Fixed when the
    /// directory is created.
    pub segment_bytes: usize,
    /// Bytes of overwritten rows that are kept in memory for one view of the state before it is let
    /// go. Larger: a snapshot for another replica survives more writes while it is sent. Smaller:
    /// less memory meanwhile.
    pub view_bytes: u64,
}

impl Default for SledSettings {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, segment_bytes: 8 << 20, view_bytes: 128 << 20 }
    }
}

impl SledSettings {
    /// Limits so small that pages leave memory and segments are reused within a short test.
    pub fn tiny_for_tests() -> Self {
        Self { cache_bytes: 4 << 20, segment_bytes: 2 << 20, view_bytes: 2 << 20 }
    }
}

/// Opens the store in `path` by that engine, or makes it.
pub(crate) fn open(
    engine: EngineKind,
    path: &Path,
    fjall: &FjallSettings,
    sled: &SledSettings,
) -> Result<Arc<dyn Store>, StoreError> {
    match engine {
        EngineKind::Fjall => Ok(Arc::new(FjallStore::open(path, fjall)?)),
        #[cfg(feature = "sled")]
        EngineKind::Sled => Ok(Arc::new(super::sled::SledStore::open(path, sled)?)),
        #[cfg(not(feature = "sled"))]
        EngineKind::Sled => {
            let _ = sled;
            Err(StoreError::EngineNotBuilt(engine))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for engine in EngineKind::ALL {
            assert_eq!(engine.name().parse(), Ok(engine));
            assert_eq!(engine.to_string(), engine.name());
        }
        assert_eq!(EngineKind::ALL[0], EngineKind::default());
        for word in ["", "Sled", "sled ", "rocks", "fjall\n"] {
            let error = word.parse::<EngineKind>().unwrap_err().to_string();
            assert!(error.contains("fjall and sled"), "{error}");
        }
    }
}
