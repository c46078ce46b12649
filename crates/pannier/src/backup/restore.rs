//! `pannier restore`: a data directory out of backups.
//!
//! Where a moment is asked for, the chain is read twice: once to find the cut that is meant, once
//! to restore it. What stands in for a chain on standard input can be read once only.

use super::folder::{Ended, Folder, Source, bad, walk};
use super::moment;
use crate::fail::Fail;
use crate::out::Form;
use orset::{Dot, Origin, VersionVector};
use pannier_replica::backup::{
    Chain, Cut, Cutting, Fate, Header, Part, RestoreError, Restored, Restoring, Until,
};
use pannier_replica::store::EngineKind;
use pannier_replica::store::directory::Directory;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Flags of `restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreArgs {
    /// The folder of backups; - for one on standard input
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The data directory to make: empty, or not there yet
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// What is to hold the data: fjall or sled; as before unless given
    #[arg(long, value_name = "ENGINE")]
    engine: Option<EngineKind>,
    /// The number of the full backup whose chain is restored; the last one unless given
    #[arg(long, value_name = "NUMBER")]
    chain: Option<u64>,
    /// Not all of it, but what was there at a moment (2026-03-01T12:30:00Z, or ms since 1970), or
    /// what these commits rest on (ORIGIN:SEQ, parted by commas; answers name them as their dot)
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// The cluster is lost: make this the only member of a new one of this name. Stock that the
    /// others had is frozen
    #[arg(long, value_name = "NAME")]
    as_new_cluster: Option<String>,
}

/// What was restored.
#[derive(Serialize)]
struct Told {
    directory: String,
    member: String,
    cluster: String,
    marked: bool,
    vector: Vec<String>,
    total: String,
    /// Whether the member had said the same total at that vector.
    compared: bool,
    rows: u64,
    records: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gone: Vec<String>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, member, cluster, marked, rows, records, gone, .. } = self;
        writeln!(f, "{directory}: member {member}, {rows} rows, {records} records")?;
        if *marked {
            return write!(
                f,
                "it is marked: it catches up with a peer before it takes changes in. Where there \
                 is none: pannier admin accept-restored {directory}"
            );
        }
        writeln!(f, "the only member of the new cluster {cluster:?}; start it with --peer none")?;
        write!(f, "members that are gone: {}; what stock they had is frozen", gone.len())
    }
}

impl RestoreArgs {
    /// Restores; whether that is done.
    pub fn run(&self, form: Form) -> Result<bool, Fail> {
        let until = match &self.until {
            None => Until::End,
            Some(text) => parse(text).map_err(|what| Fail::of("--until", what))?,
        };
        let fate = match &self.as_new_cluster {
            None => Fate::Member,
            Some(name) => Fate::NewCluster(name.clone()),
        };
        if self.data.exists() {
            // Said now, and not when all has been read.
            let vacant = Directory::vacant(&self.data);
            drop(vacant.map_err(|error| Fail::Storage(format!("--data: {error}")))?);
        }
        let restored = if self.from == Path::new("-") {
            if until != Until::End || self.chain.is_some() {
                let what = "standard input is read once: restore from a folder";
                return Err(Fail::Usage(format!("--until, --chain: {what}")));
            }
            build(&[Source::Stdin], &self.data, self.engine, until, &fate)?
        } else {
            let folder = Folder::read(&self.from)?;
            let files = folder.chain(self.chain)?;
            let sources: Vec<Source<'_>> = files.iter().map(|it| Source::File(&it.path)).collect();
            build(&sources, &self.data, self.engine, until, &fate)?
        };
        let Restored { member, cluster, vector, total, is_compared, rows, records, gone } =
            restored;
        form.print(&Told {
            directory: self.data.display().to_string(),
            member: member.to_string(),
            cluster,
            marked: fate == Fate::Member,
            vector: vector.iter().map(|dot| dot.to_string()).collect(),
            total: format!("{total:032x}"),
            compared: is_compared,
            rows,
            records,
            gone: gone.iter().map(ToString::to_string).collect(),
        })?;
        Ok(true)
    }
}

/// Makes a directory of a chain.
pub fn build(
    sources: &[Source<'_>],
    to: &Path,
    engine: Option<EngineKind>,
    until: Until,
    fate: &Fate,
) -> Result<Restored, Fail> {
    let mut cut = None;
    if until != Until::End {
        let (mut chain, mut cutting) = (Chain::new(), Cutting::new(until));
        for source in sources {
            read(source, &mut chain, |part| Ok(cutting.part(&part)?))?;
        }
        cut = Some(cutting.done().map_err(|fault| Fail::of("--until", fault))?);
    }
    let (mut chain, mut restoring) = (Chain::new(), None);
    for source in sources {
        read(source, &mut chain, |part| {
            if let (None, Part::Header(header)) = (&restoring, &part) {
                restoring = Some(begin(to, engine, header, cut.take(), fate)?);
            }
            let Some(begun) = &mut restoring else { return Ok(()) };
            begun.part(part).map_err(failed).map_err(Ended::Fail)
        })?;
    }
    let none = || Fail::Storage("there is no backup".into());
    restoring.ok_or_else(none)?.done().map_err(failed)
}

fn begin(
    to: &Path,
    engine: Option<EngineKind>,
    header: &Header,
    cut: Option<Cut>,
    fate: &Fate,
) -> Result<Restoring, Ended> {
    let engine = engine.or_else(|| header.engine.parse().ok()).unwrap_or_default();
    Restoring::begin(to, engine, cut, fate.clone()).map_err(failed).map_err(Ended::Fail)
}

fn read(
    source: &Source<'_>,
    chain: &mut Chain,
    see: impl FnMut(Part) -> Result<(), Ended>,
) -> Result<(), Fail> {
    let path = match source {
        Source::File(path) => path,
        Source::Stdin => Path::new("-"),
    };
    match walk(source, chain, see) {
        Ok(_) => Ok(()),
        Err(Ended::Fault(fault)) => Err(bad(path, &fault)),
        Err(Ended::Fail(fail)) => Err(fail),
    }
}

fn failed(error: RestoreError) -> Fail {
    match error {
        RestoreError::Name(what) => Fail::of("--as-new-cluster", what),
        RestoreError::Store(error) => Fail::Storage(format!("--data: {error}")),
        error => Fail::Storage(error.to_string()),
    }
}

/// A moment, or dots.
fn parse(text: &str) -> Result<Until, String> {
    if let Some(ms) = moment::parse(text) {
        return Ok(Until::Time(ms));
    }
    let dots: Option<VersionVector> = text.split(',').map(dot).collect();
    let what = "no moment (2026-03-01T12:30:00Z, or ms since 1970) and no commits (ORIGIN:SEQ,...)";
    dots.map(Until::Dots).ok_or_else(|| format!("{text:?} is {what}"))
}

fn dot(text: &str) -> Option<Dot> {
    let (origin, seq) = text.trim().rsplit_once(':')?;
    let seq = seq.parse().ok().filter(|seq| *seq > 0)?;
    Some(Dot::new(Origin::from(Uuid::parse_str(origin).ok()?), seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_restore_up_to_is_a_moment_or_commits() {
        assert_eq!(parse("1000"), Ok(Until::Time(1_000)));
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(Until::Time(1_000)));
        let origin = Origin::from_bytes([7; 16]);
        let dots: VersionVector = [Dot::new(origin, 3)].into_iter().collect();
        assert_eq!(parse(&format!("{origin}:3")), Ok(Until::Dots(dots.clone())));
        assert_eq!(parse(&format!("{origin}:3, {origin}:2")), Ok(Until::Dots(dots)));
        for bad in ["", ":", "yesterday", "x:1", &format!("{origin}:0"), &format!("{origin}:3,")] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
