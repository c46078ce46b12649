//! What a verification found, for people and for programs.

use crate::admin;
use crate::fail::Fail;
use orset::{Kind, ObjectKey, Origin};
use pannier_proto::v1;
use serde::Serialize;
use std::fmt;

/// All of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Members that stood at one vector, and were compared; 0: they did not come to one.
    pub compared: usize,
    /// Two of them differ.
    pub is_unequal: bool,
    pub members: Vec<Checked>,
}

/// Of one member.
#[derive(Debug, Default, Serialize)]
pub struct Checked {
    pub member: String,
    pub address: String,
    /// Why it could not be verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// Why it could not be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away: Option<String>,
    /// The sum of its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// Buckets in which it differs from the member asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differs_in: Vec<u32>,
    /// What it read, and what of it is wrong still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub survey: Option<Survey>,
    pub rows_mended: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What a member has stored.
#[derive(Debug, Serialize)]
pub struct Survey {
    pub rows: u64,
    pub op_ids: u64,
    pub log_records: u64,
    pub bytes: u64,
    pub rotten_buckets: Vec<u32>,
    pub unreadable_rows: u64,
    pub objects: Vec<String>,
    pub stray_rows: u64,
    pub unreadable_op_ids: u64,
    pub bad_log_records: u64,
    pub first_bad_records: Vec<String>,
}

/// Where a member differs from another, or did.
#[derive(Debug, Serialize)]
pub struct Difference {
    pub peer: String,
    pub bucket: u32,
    pub fault: &'static str,
    pub rows: u64,
    pub objects: Vec<String>,
    pub mended: bool,
}

pub fn survey(survey: &v1::Survey) -> Result<Survey, Fail> {
    let dot = |dot: &v1::VectorEntry| {
        let bytes = dot.origin.as_ref().try_into();
        let origin = bytes.map(Origin::from_bytes);
        origin.map_or_else(|_| "?".to_owned(), |origin| format!("{origin}:{}", dot.seq))
    };
    Ok(Survey {
        rows: survey.rows,
        op_ids: survey.memories,
        log_records: survey.records,
        bytes: survey.bytes,
        rotten_buckets: survey.buckets.clone(),
        unreadable_rows: survey.unsound,
        objects: survey.objects.iter().map(object).collect::<Result<_, _>>()?,
        stray_rows: survey.strays,
        unreadable_op_ids: survey.unsound_memories,
        bad_log_records: survey.unsound_records,
        first_bad_records: survey.dots.iter().map(dot).collect(),
    })
}

pub fn difference(difference: &v1::Difference) -> Result<Difference, Fail> {
    let fault = match difference.fault() {
        v1::Fault::Unspecified | v1::Fault::None => "what was stored of its sum",
        v1::Fault::Ours => "this member's rows have rotted",
        v1::Fault::Theirs => "the other member's rows have rotted",
        v1::Fault::Both => "both members' rows have rotted",
        v1::Fault::Neither => "neither has rotted: a bug",
    };
    Ok(Difference {
        peer: admin::member(&difference.peer)?.to_string(),
        bucket: difference.bucket,
        fault,
        rows: difference.rows,
        objects: difference.objects.iter().map(object).collect::<Result<_, _>>()?,
        mended: difference.mended,
    })
}

fn object(object: &v1::ObjectRef) -> Result<String, Fail> {
    let kind = match object.kind() {
        v1::Kind::Cart => Kind::Cart,
        v1::Kind::Set => Kind::Set,
        v1::Kind::Counter => Kind::Counter,
        v1::Kind::Stock => Kind::Stock,
        v1::Kind::Unspecified => return Err(Fail::Away("an object without a kind".into())),
    };
    let key = ObjectKey::new(kind, &object.namespace, &object.id);
    key.map(|key| key.to_string()).map_err(|error| Fail::Away(error.to_string()))
}

impl Survey {
    fn is_clean(&self) -> bool {
        let Self { rotten_buckets, stray_rows, unreadable_op_ids, bad_log_records, .. } = self;
        rotten_buckets.is_empty() && stray_rows + unreadable_op_ids + bad_log_records == 0
    }
}

impl Outcome {
    pub fn new<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let checked = |(member, address): (&str, &str)| Checked {
            member: member.to_owned(),
            address: address.to_owned(),
            ..Checked::default()
        };
        Self { compared: 0, is_unequal: false, members: members.map(checked).collect() }
    }

    /// Whether something is not as it should be, and was not mended.
    pub fn is_wrong(&self) -> bool {
        self.is_unequal || self.members.iter().any(Checked::is_wrong)
    }

    /// What could not be found out, if that is so.
    pub fn is_unknown(&self) -> Option<String> {
        let away = |it: &&Checked| it.away.is_some() || it.why_not.is_some();
        if let Some(it) = self.members.iter().find(away) {
            let why = it.why_not.as_ref().or(it.away.as_ref());
            return why.map(|why| format!("not everything was verified: {why}"));
        }
        (self.compared == 0).then(|| {
            "the members did not come to one vector: too much is written, or one is behind; try \
             again when there is less to do"
                .into()
        })
    }
}

impl Checked {
    fn is_wrong(&self) -> bool {
        !self.problems.is_empty()
            || self.survey.as_ref().is_some_and(|survey| !survey.is_clean())
            || self.differences.iter().any(|it| !it.mended)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.compared, self.is_unequal) {
            (0, _) => writeln!(f, "not compared: the members did not come to one vector")?,
            (count, false) => writeln!(f, "{count} members at one vector have equal sums")?,
            (count, true) => writeln!(f, "{count} members at one vector DIFFER")?,
        }
        for it in &self.members {
            let total = it.total.as_deref().unwrap_or("-");
            writeln!(f, "  member {} at {}, total {total}", it.member, it.address)?;
            for why in it.why_not.iter().chain(&it.away).chain(&it.problems) {
                writeln!(f, "    {why}")?;
            }
            if !it.differs_in.is_empty() {
                writeln!(f, "    differs in buckets {:?}", it.differs_in)?;
            }
            if let Some(survey) = &it.survey {
                survey.fmt(f)?;
            }
            for difference in &it.differences {
                difference.fmt(f)?;
            }
            if it.rows_mended > 0 {
                writeln!(f, "    {} rows mended", it.rows_mended)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, op_ids, log_records, bytes, .. } = self;
        let read = format!("{rows} rows, {op_ids} op ids, {log_records} deltas, {bytes} bytes");
        if self.is_clean() {
            return writeln!(f, "    read {read}: as they were written");
        }
        writeln!(f, "    read {read}: NOT as they were written")?;
        for (what, count) in [
            ("rows that cannot be read", self.unreadable_rows),
            ("rows that are nobody's", self.stray_rows),
            ("op ids that cannot be read", self.unreadable_op_ids),
            ("deltas that are missing or cannot be read", self.bad_log_records),
        ] {
            if count > 0 {
                writeln!(f, "      {what}: {count}")?;
            }
        }
        if !self.rotten_buckets.is_empty() {
            writeln!(f, "      buckets that do not add up: {:?}", self.rotten_buckets)?;
        }
        for name in self.objects.iter().chain(&self.first_bad_records) {
            writeln!(f, "      {name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, bucket, fault, rows, objects, mended } = self;
        let end = if *mended { ", mended" } else { "" };
        writeln!(f, "    bucket {bucket}, {rows} rows unlike member {peer}'s: {fault}{end}")?;
        objects.iter().try_for_each(|object| writeln!(f, "      {object}"))
    }
}
