//! What is said of a backup: its words, and its JSON.

use super::moment;
use pannier_replica::backup::Whole;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// A backup, in short.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// Where it is.
    pub file: String,
    /// Whether it is a full one or an increment.
    pub kind: &'static str,
    /// The name of the cluster; empty for none.
    pub cluster: String,
    /// Whose state it is.
    pub member: String,
    /// Which engine held it.
    pub engine: String,
    /// When it was taken.
    pub taken: String,
    /// How many members the cluster had, as far as the member knew.
    pub members: usize,
    /// How many origins were closed.
    pub closed: usize,
    /// What it stands for: commits of each origin, with what is closed.
    pub vector: Vec<String>,
    /// Rows in it.
    pub rows: u64,
    /// Records of the log in it.
    pub records: u64,
    /// Its size.
    pub bytes: u64,
    /// Why it is a full one, when an increment was meant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why_full: String,
}

impl Told {
    /// Of one that is whole.
    pub fn of(file: &Path, whole: &Whole) -> Self {
        let header = &whole.header;
        Self {
            file: file.display().to_string(),
            kind: if header.is_full() { "full" } else { "increment" },
            cluster: header.cluster.clone(),
            member: header.member.to_string(),
            engine: header.engine.clone(),
            taken: moment::show(header.taken_ms),
            members: header.members().len(),
            closed: header.closed(),
            vector: header.to.iter().map(|dot| dot.to_string()).collect(),
            rows: whole.end.rows,
            records: whole.end.records,
            bytes: whole.bytes,
            why_full: String::new(),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, kind, taken, rows, records, bytes, member, why_full, .. } = self;
        if !why_full.is_empty() {
            writeln!(f, "not an increment: {why_full}")?;
        }
        write!(f, "{file}: {kind}, of member {member}, taken {taken}: ")?;
        write!(f, "{rows} rows, {records} records, {bytes} bytes")
    }
}
