//! A verification and its report, as messages.

use crate::embed::Verification;
use crate::protocol::verify::{Difference, Fault, Survey, Verify};
use bytes::Bytes;
use orset::{Member, ObjectKey};
use pannier_proto::convert;
use pannier_proto::errors::Failure;
use pannier_proto::v1;

/// What is asked, checked.
pub(super) fn asked(ask: &v1::StartVerifyRequest) -> Result<Verify, Failure> {
    let from = match ask.from.is_empty() {
        true => None,
        false => Some(convert::member_from("from", &ask.from)?),
    };
    Ok(Verify { deep: ask.deep, repair: ask.repair, from })
}

/// What came of it.
pub(super) fn report(verification: &Verification) -> v1::VerifyReport {
    let Verification { report, read: (rows_read, records_read) } = verification;
    let Verify { deep, repair, from } = report.asked;
    let from = from.map(bytes).unwrap_or_default();
    v1::VerifyReport {
        number: report.number,
        asked: Some(v1::StartVerifyRequest { deep, repair, from }),
        running: report.running,
        rows_read: *rows_read,
        records_read: *records_read,
        survey: report.survey.as_ref().map(survey),
        compared: report.compared.iter().copied().map(bytes).collect(),
        differences: report.differences.iter().map(difference).collect(),
        rows_mended: report.rows_mended,
        problems: report.problems.clone(),
    }
}

fn survey(survey: &Survey) -> v1::Survey {
    let dot = |dot: &orset::Dot| v1::VectorEntry {
        origin: Bytes::copy_from_slice(dot.origin.as_bytes()),
        seq: dot.seq,
    };
    v1::Survey {
        rows: survey.rows,
        memories: survey.memories,
        records: survey.records,
        bytes: survey.bytes,
        buckets: survey.buckets.iter().copied().map(u32::from).collect(),
        unsound: survey.unsound,
        objects: survey.objects.iter().map(object).collect(),
        strays: survey.strays,
        unsound_memories: survey.unsound_memories,
        unsound_records: survey.unsound_records,
        dots: survey.dots.iter().map(dot).collect(),
    }
}

fn difference(difference: &Difference) -> v1::Difference {
    let fault = match difference.fault {
        Fault::None => v1::Fault::None,
        Fault::Ours => v1::Fault::Ours,
        Fault::Theirs => v1::Fault::Theirs,
        Fault::Both => v1::Fault::Both,
        Fault::Neither => v1::Fault::Neither,
    };
    v1::Difference {
        peer: bytes(difference.peer),
        bucket: difference.bucket.into(),
        fault: fault.into(),
        rows: difference.rows,
        objects: difference.objects.iter().map(object).collect(),
        mended: difference.mended,
    }
}

fn object(object: &ObjectKey) -> v1::ObjectRef {
    let kind = match object.kind() {
        orset::Kind::Cart => v1::Kind::Cart,
        orset::Kind::Set => v1::Kind::Set,
        orset::Kind::Counter => v1::Kind::Counter,
        orset::Kind::Stock => v1::Kind::Stock,
    };
    v1::ObjectRef {
        kind: kind.into(),
        namespace: Bytes::copy_from_slice(object.namespace()),
        id: Bytes::copy_from_slice(object.id()),
    }
}

fn bytes(member: Member) -> Bytes {
    Bytes::copy_from_slice(member.as_bytes())
}

/// Where this replica differs, for people.
pub(super) fn in_words(difference: &Difference) -> String {
    let Difference { peer, bucket, fault, rows, objects, .. } = difference;
    let who = match fault {
        Fault::None => "what is stored here was wrong",
        Fault::Ours => "the rows here do not add up: they have rotted",
        Fault::Theirs => "that member's rows do not add up: they have rotted",
        Fault::Both => "neither side's rows add up: both have rotted",
        Fault::Neither => "both sides' rows add up: this is a bug",
    };
    let objects: Vec<String> = objects.iter().map(ToString::to_string).collect();
    format!(
        "bucket {bucket} differs from member {peer}'s in {rows} rows; {who}; of {}",
        objects.join(", ")
    )
}
