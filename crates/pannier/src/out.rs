//! Everything that is printed: answers to stdout, the rest to stderr.
//!
//! Each answer is one value with two faces: `Display` for a person, `Serialize` for `--json`. So
//! the two cannot drift apart, and nothing else in this program prints.

use crate::fail::Fail;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// How answers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    Text,
    /// For a program.
    Json,
}

impl Form {
    /// An answer.
    pub fn print(self, answer: &(impl Serialize + Display)) -> Result<(), Fail> {
        let text = match self {
            Self::Text => answer.to_string(),
            Self::Json => serde_json::to_string_pretty(answer)
                .map_err(|error| Fail::Usage(error.to_string()))?,
        };
        self.write(&text)
    }

    /// One of several answers of one call, as they come: JSON takes one line each.
    pub fn event(self, answer: &(impl Serialize + Display)) -> Result<(), Fail> {
        let text = match self {
            Self::Text => answer.to_string(),
            Self::Json => {
                serde_json::to_string(answer).map_err(|error| Fail::Usage(error.to_string()))?
            }
        };
        self.write(&text)
    }

    /// An answer that has put itself into words.
    pub fn write(self, text: &str) -> Result<(), Fail> {
        let mut out = io::stdout().lock();
        match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
            // Whoever reads has heard enough (`| head`).
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Fail::Storage(format!("stdout: {error}"))),
            Ok(()) => Ok(()),
        }
    }

    /// Why there is no answer.
    pub fn complain(self, fail: &Fail) {
        let text = match self {
            Self::Text => format!("error: {fail}"),
            Self::Json => {
                let (error, exit_code) = (fail.to_string(), fail.exit_code());
                serde_json::json!({ "error": error, "exit_code": exit_code }).to_string()
            }
        };
        // If stderr is gone too, the exit code must do.
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// What is being done, for whoever waits.
pub fn progress(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}
