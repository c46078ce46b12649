//! How far a run is: a bar on a terminal, nothing in a log.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// Whoever wants to know how far a run is.
pub trait Progress {
    /// So many rows are answered.
    fn at(&self, rows: u64);

    /// What is being done now.
    fn says(&self, what: &'static str);
}

/// A bar, or none.
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// Of `rows` rows. It goes to stderr, so that stdout is the report's alone.
    pub fn of(rows: u64) -> Self {
        let shown = std::io::stderr().is_terminal();
        Self(shown.then(|| {
            let bar = ProgressBar::new(rows);
            let template = "  {msg:12} {wide_bar} {human_pos} of {human_len}, {elapsed}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        }))
    }
}

impl Progress for Bar {
    fn at(&self, rows: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(rows);
        }
    }

    fn says(&self, what: &'static str) {
        if let Some(bar) = &self.0 {
            bar.set_message(what);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
