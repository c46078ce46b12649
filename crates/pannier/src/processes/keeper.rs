//! Something done to the machine that is undone when nobody is left who could undo it.
//!
//! A mount, or a process that was stopped, stays as it is when its maker is killed: a `Drop` does
//! not run then. So a shell does it, says so, and waits for the end of its standard input, which
//! the system closes with whoever holds the other end; then the shell undoes it. It stands in a
//! process group of its own, for Ctrl-C is meant for its maker.

use crate::fail::Fail;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

/// See the file's head. What it did is undone when it is dropped.
pub struct Keeper {
    child: Child,
    what: &'static str,
}

impl Keeper {
    /// Does `act`, which `undo` undoes; both are lines for a shell, with `words` as `$1`, `$2`...
    /// On failure, says what the shell said.
    pub fn hold(
        what: &'static str,
        act: &str,
        undo: &str,
        words: &[String],
    ) -> Result<Self, String> {
        use std::os::unix::process::CommandExt;
        let script = format!("{{ {act} ; }} || exit 1\necho held\nread _\n{undo}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).args(words).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("{what}: {error}"))?;
        let mut keeper = Self { child, what };
        let mut line = String::new();
        if let Some(out) = keeper.child.stdout.as_mut() {
            // Nothing read is nothing held, whatever the reason.
            let _ = BufReader::new(out).read_line(&mut line);
        }
        if line.trim() == "held" {
            return Ok(keeper);
        }
        let mut said = String::new();
        if let Some(errors) = keeper.child.stderr.as_mut() {
            let _ = errors.read_to_string(&mut said);
        }
        let said = said.lines().map(str::trim).collect::<Vec<_>>().join("; ");
        Err(if said.is_empty() { format!("{what} failed without a word") } else { said })
    }

    /// Undoes it, and waits until that is done.
    pub fn release(mut self) -> Result<(), Fail> {
        drop(self.child.stdin.take());
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Fail::Away(format!("undoing {}: {status}", self.what))),
            Err(error) => Err(Fail::Away(format!("undoing {}: {error}", self.what))),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // There is nobody to tell.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_undone_and_what_fails_says_why() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("held");
        let words = [path.display().to_string()];
        let hold = || Keeper::hold("a file", "touch \"$1\"", "rm \"$1\"", &words);
        let keeper = hold().unwrap();
        assert!(path.exists());
        keeper.release().unwrap();
        assert!(!path.exists());
        drop(hold().unwrap());
        assert!(!path.exists());
        let refused = Keeper::hold("a file", "echo no >&2; false", ":", &[]);
        assert_eq!(refused.err().as_deref(), Some("no"));
    }
}
