//! A file of calls of stocks, as a system that keeps inventory writes it: read, judged and named
//! before any of it is sent.
//!
//! ```text
//! restock,STOCK,UNITS[,OP_ID[,MEMBER]]      fulfil,STOCK,UNITS,OP_ID[,CUSTOMER]
//! write-off,STOCK,UNITS[,OP_ID[,MEMBER]]    release,STOCK,OP_ID        return,STOCK,OP_ID
//! ```
//!
//! Lines are CSV (RFC 4180); one that begins with `#` is no call. Question: may the same file be
//! imported twice? An op id cannot be made of a line's words, since it tells when it was born, and
//! no file does. So what a line does not name is named here, and `--op-ids` keeps the lines so
//! named: that file is imported again, and nothing is done twice.
//!
//! N1  all lines are judged before the first is sent, so a bad one changes nothing.
//! N2  the file of `--op-ids` is on disk before the first is sent, and is never written over.

use super::answer::{After, Session, printable, text};
use super::ask::{Here, durability, op_id_of};
use super::stock::{is_yes, word};
use crate::fail::Fail;
use csv::ByteRecord;
use orset::stock::{Ask, CUSTOMER_MAX, Customer, Outcome, Want};
use orset::{Member, OBJECT_ID_MAX, OpId, QUANTITY_MAX, check_name};
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Larger files are imported in parts.
const BYTES_MAX: u64 = 64 << 20;

/// What to import.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportArgs {
    /// The file; `-` is the standard input
    file: PathBuf,
    /// Write the calls into this file before they are sent, each with its op id and member; import
    /// it again, and nothing is done twice
    #[arg(long, value_name = "FILE")]
    op_ids: Option<PathBuf>,
    /// Where each must be synced before it is answered: `local` (the replica that answers), or
    /// `peers:N` (and N other members)
    #[arg(long, value_name = "local|peers:N", default_value = "local", value_parser = durability)]
    durability: u32,
}

/// What a line asks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// Of this member; of whoever answers, if none is named.
    Here(Here, Option<Member>),
    Ask(Ask),
}

/// A line, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Judged {
    line: u64,
    stock: Vec<u8>,
    op: Option<OpId>,
    what: What,
}

/// A call with everything named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    line: u64,
    /// The stock's id.
    pub stock: Vec<u8>,
    /// Its op id.
    pub op: OpId,
    /// What is asked.
    pub ask: Ask,
}

/// The calls of a file.
#[derive(Debug)]
pub struct Import {
    judged: Vec<Judged>,
    op_ids: Option<PathBuf>,
    /// On how many other members each must be synced.
    pub peers: u32,
}

impl ImportArgs {
    /// Reads and judges all of it (N1).
    pub fn read(&self) -> Result<Import, Fail> {
        if let Some(path) = self.op_ids.as_deref().filter(|path| path.exists()) {
            return Err(there_already(path));
        }
        let mut bytes = Vec::new();
        let read = match self.file.to_str() {
            Some("-") => std::io::stdin().take(BYTES_MAX + 1).read_to_end(&mut bytes),
            _ => File::open(&self.file)
                .and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes)),
        };
        read.map_err(|error| Fail::of("FILE", format!("{}: {error}", self.file.display())))?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(Fail::of("FILE", format!("it has more than {BYTES_MAX} bytes; split it")));
        }
        let judged = judged(&bytes)?;
        Ok(Import { judged, op_ids: self.op_ids.clone(), peers: self.durability })
    }
}

impl Import {
    /// Whether some call is of whoever answers.
    pub fn wants_member(&self) -> bool {
        self.judged.iter().any(|it| matches!(it.what, What::Here(_, None)))
    }

    /// The first stock: whoever answers for it is who answers.
    pub fn first_stock(&self) -> &[u8] {
        self.judged.first().map_or(&[], |it| &it.stock)
    }

    /// The calls, with what they do not name themselves; on disk, if they are to be kept (N2).
    pub fn named(
        self,
        at: Option<Member>,
        mut op_id: impl FnMut() -> Result<OpId, Fail>,
    ) -> Result<Vec<Named>, Fail> {
        let mut all = Vec::with_capacity(self.judged.len());
        for Judged { line, stock, op, what } in self.judged {
            let op = op.map_or_else(&mut op_id, Ok)?;
            let ask = match what {
                What::Ask(ask) => ask,
                What::Here(here, named) => {
                    let at = named.or(at);
                    here.at(at.ok_or_else(|| Fail::Away("nobody says who answered".into()))?)
                }
            };
            all.push(Named { line, stock, op, ask });
        }
        if let Some(path) = &self.op_ids {
            keep(path, &all)?;
        }
        Ok(all)
    }
}

fn there_already(path: &Path) -> Fail {
    let path = path.display();
    Fail::of("--op-ids", format!("{path} is there already; to go on with its op ids, import it"))
}

fn keep(path: &Path, calls: &[Named]) -> Result<(), Fail> {
    let failed =
        |error: &dyn fmt::Display| Fail::Storage(format!("--op-ids: {}: {error}", path.display()));
    let file = File::options().write(true).create_new(true).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => there_already(path),
        _ => failed(&error),
    })?;
    let mut lines = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for call in calls {
        lines.write_byte_record(&call.fields()).map_err(|error| failed(&error))?;
    }
    let bytes = lines.into_inner().map_err(|error| failed(&error))?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(|error| failed(&error))
}

/// All lines; the first bad one is named.
fn judged(bytes: &[u8]) -> Result<Vec<Judged>, Fail> {
    let mut lines = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .from_reader(bytes);
    let (mut all, mut record) = (Vec::new(), ByteRecord::new());
    while let Some(line) = next_line(bytes, lines.position()) {
        match lines.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(Fail::of("FILE", error)),
        }
        let call = one(line, &record);
        all.push(call.map_err(|why| Fail::of("FILE", format!("line {line}: {why}")))?);
    }
    if all.is_empty() { Err(Fail::of("FILE", "it has no calls")) } else { Ok(all) }
}

/// On which line the next call stands; the reader says where it goes on, before empty lines and
/// those that are no calls.
fn next_line(bytes: &[u8], from: &csv::Position) -> Option<u64> {
    let (mut line, mut rest) = (from.line(), bytes.get(from.byte() as usize..)?);
    loop {
        let (first, behind) = rest.split_first()?;
        match first {
            b'\n' => (line, rest) = (line + 1, behind),
            b'\r' => rest = behind,
            b'#' => rest = &rest[rest.iter().position(|byte| *byte == b'\n')?..],
            _ => return Some(line),
        }
    }
}

/// One line, or what is wrong with it.
fn one(line: u64, fields: &ByteRecord) -> Result<Judged, String> {
    let verb = fields.get(0).unwrap_or_default();
    let (fewest, most) = match verb {
        b"restock" | b"write-off" => (3, 5),
        b"fulfil" => (4, 5),
        b"release" | b"return" => (3, 3),
        _ => {
            let verb = printable(&text(verb));
            return Err(format!(
                "{verb:?} is none of restock, write-off, fulfil, release and return"
            ));
        }
    };
    if !(fewest..=most).contains(&fields.len()) {
        let count = fields.len();
        return Err(format!("it has {count} fields; such a call has {fewest} to {most}"));
    }
    let stock = fields.get(1).unwrap_or_default();
    check_name("the stock", stock, OBJECT_ID_MAX).map_err(|error| error.to_string())?;
    let written = |at: usize| {
        let field = fields.get(at).filter(|field| !field.is_empty());
        field.map(|field| str::from_utf8(field).map_err(|error| error.to_string())).transpose()
    };
    let op_at = if matches!(verb, b"release" | b"return") { 2 } else { 3 };
    let op = written(op_at)?.map(|it| op_id_of("the op id", it)).transpose();
    let op = op.map_err(|error| error.to_string())?;
    let what = match verb {
        b"restock" | b"write-off" => {
            let units = units(written(2)?)?;
            let here =
                if verb == b"restock" { Here::Restock(units) } else { Here::WriteOff(units) };
            let at = written(4)?.map(|it| Uuid::parse_str(it).map_err(|error| error.to_string()));
            What::Here(here, at.transpose()?.map(Member::from))
        }
        b"fulfil" => {
            let customer = fields.get(4).filter(|name| !name.is_empty());
            if let Some(name) = customer {
                check_name("the customer", name, CUSTOMER_MAX).map_err(|it| it.to_string())?;
            }
            let customer = customer.map(Customer::new).transpose().map_err(|it| it.to_string())?;
            let quantity = u32::try_from(units(written(2)?)?).map_err(|it| it.to_string())?;
            What::Ask(Ask::Commit { want: Want { quantity, customer } })
        }
        b"release" => What::Ask(Ask::Release),
        _ => What::Ask(Ask::Return),
    };
    if op.is_none() && matches!(what, What::Ask(_)) {
        return Err("it names no op id, which says what was held or bought".into());
    }
    Ok(Judged { line, stock: stock.to_vec(), op, what })
}

fn units(field: Option<&str>) -> Result<u64, String> {
    let field = field.unwrap_or_default();
    let units = field.parse().ok().filter(|units| (1..=u64::from(QUANTITY_MAX)).contains(units));
    units.ok_or_else(|| format!("{field:?} are no units, from 1 to {QUANTITY_MAX}"))
}

impl Named {
    /// The line that asks this, with everything named.
    fn fields(&self) -> ByteRecord {
        let (op, stock) = (self.op.to_string(), self.stock.as_slice());
        let here = |verb: &str, units: u64, at: &Member| {
            let (units, at) = (units.to_string(), at.to_string());
            [verb.as_bytes(), stock, units.as_bytes(), op.as_bytes(), at.as_bytes()]
                .into_iter()
                .collect()
        };
        match &self.ask {
            Ask::Restock { units, at } => here("restock", *units, at),
            Ask::WriteOff { units, at } => here("write-off", *units, at),
            Ask::Commit { want } => {
                let quantity = want.quantity.to_string();
                let customer = want.customer.as_ref().map_or(&[][..], Customer::as_bytes);
                let fields = [&b"fulfil"[..], stock, quantity.as_bytes(), op.as_bytes(), customer];
                fields.into_iter().collect()
            }
            Ask::Release => [&b"release"[..], stock, op.as_bytes()].into_iter().collect(),
            // No line asks anything else.
            _ => [&b"return"[..], stock, op.as_bytes()].into_iter().collect(),
        }
    }

    /// What it came to, if that is not what was asked; `why`: why there is no outcome.
    pub fn failed(&self, came: Result<&Outcome, String>) -> Option<Failed> {
        let why = match came {
            Ok(outcome) if is_yes(&self.ask, outcome) == Ok(true) => return None,
            Ok(outcome) => word(outcome).to_owned(),
            Err(why) => why,
        };
        let fields = self.fields();
        let fields: Vec<String> = fields.iter().map(text).collect();
        Some(Failed { line: self.line, call: fields.join(","), why })
    }
}

/// A call that was not done.
#[derive(Debug, Serialize)]
pub struct Failed {
    /// Where it stands in the file.
    line: u64,
    /// All of it: to be asked again under the same op id.
    call: String,
    why: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, call, why } = self;
        writeln!(f, "line {line}: {}: {}", printable(call), printable(why))
    }
}

/// What became of all.
#[derive(Debug, Serialize)]
pub struct Imported {
    calls: usize,
    done: usize,
    failed: usize,
    #[serde(flatten)]
    session: Session,
}

impl Imported {
    /// So many calls, of which so many failed.
    pub fn new(calls: usize, failed: usize, after: After) -> Self {
        Self { calls, done: calls - failed, failed, session: after.into() }
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, done, failed, session } = self;
        writeln!(f, "{calls} calls: {done} done, {failed} failed")?;
        fmt::Display::fmt(session, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OP: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn lines_are_judged_and_named_lines_say_the_same() {
        let member = Member::from_bytes([7; 16]);
        let lines = format!(
            "restock,phone,5\n# a note\r\nwrite-off,\"a, b\",1,{OP}\nfulfil,phone,2,{OP},ada\n\
             release,phone,{OP}\nreturn,phone,{OP}\nrestock,phone,5,,{member}\n"
        );
        let all = judged(lines.as_bytes()).unwrap();
        let lines: Vec<u64> = all.iter().map(|it| it.line).collect();
        assert_eq!(lines, [1, 3, 4, 5, 6, 7]);
        assert_eq!(
            (&all[1].stock[..], all[0].op, &all[0].what),
            (&b"a, b"[..], None, &What::Here(Here::Restock(5), None))
        );
        assert_eq!(all[5].what, What::Here(Here::Restock(5), Some(member)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("named.csv");
        let import = Import { judged: all, op_ids: Some(path.clone()), peers: 0 };
        let op = || op_id_of("", OP);
        let named = import.named(Some(member), op).unwrap();
        let again = judged(&std::fs::read(&path).unwrap()).unwrap();
        let again = Import { judged: again, op_ids: None, peers: 0 };
        assert!(!again.wants_member());
        let never = || panic!("all of it is named");
        let twice = again.named(None, never).unwrap();
        let plain = |all: &[Named]| {
            all.iter().map(|it| (it.stock.clone(), it.op, it.ask.clone())).collect::<Vec<_>>()
        };
        assert_eq!(plain(&named), plain(&twice));
        assert!(keep(&path, &named).is_err(), "it is never written over");
    }

    #[test]
    fn a_bad_line_is_named() {
        for (line, says) in [
            ("", "no calls"),
            ("# nothing", "no calls"),
            ("sell,phone,1", "none of restock"),
            ("restock,phone", "2 fields"),
            ("restock,phone,1,,,", "6 fields"),
            ("restock,,1", "empty"),
            ("restock,phone,0", "no units"),
            ("restock,phone,1000000001", "no units"),
            ("restock,phone,many", "no units"),
            ("restock,phone,1,x", "op id"),
            ("restock,phone,1,,x", "line 2"),
            ("fulfil,phone,1,", "no op id"),
            ("release,phone,", "no op id"),
            ("release,phone,6ba7b810-9dad-11d1-80b4-00c04fd430c8", "version 7"),
        ] {
            let lines = match line.starts_with('#') || line.is_empty() {
                true => line.to_owned(),
                false => format!("restock,phone,1\n{line}"),
            };
            let error = judged(lines.as_bytes()).unwrap_err();
            let words = error.to_string();
            assert_eq!((error.exit_code(), words.contains(says)), (2, true), "{line}: {words}");
        }
    }
}
