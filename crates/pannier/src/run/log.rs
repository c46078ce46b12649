//! What processes say of themselves while they run: lines on stderr, from a level up.

use crate::fail::Fail;
use std::io::IsTerminal;
use tracing_subscriber::filter::LevelFilter;

/// From which level on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// Nothing.
    Off,
    /// What somebody must mend.
    Error,
    /// What somebody should look at.
    Warn,
    /// What has changed.
    Info,
    /// Each connection.
    Debug,
    /// Everything.
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// The flag of everything that runs for long.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct LogFlag {
    /// What is told on stderr, from this level on; also PANNIER_LOG
    #[arg(long, value_name = "LEVEL", value_enum)]
    log: Option<Level>,
}

impl LogFlag {
    /// Begins to log, from `level` on if nothing else was said.
    pub fn begin(self, level: Level) -> Result<(), Fail> {
        let level = match (self.log, std::env::var("PANNIER_LOG")) {
            (Some(flag), _) => flag,
            (None, Ok(word)) => clap::ValueEnum::from_str(&word, true)
                .map_err(|error| Fail::of("PANNIER_LOG", format!("{word:?}: {error}")))?,
            (None, Err(_)) => level,
        };
        let lines = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::from(level))
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        lines.try_init().map_err(|error| Fail::of("--log", error))
    }
}
