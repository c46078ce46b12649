//! Samples of what a verification says: to a member, and to an operator.

use super::{Sample, b, id, object, said, vector};
use bytes::Bytes;
use pannier_proto::v1::{
    Compare, CompareAsk, CompareRows, CompareSums, Difference, Fault, GetStateHashRequest,
    GetVerifyRequest, PeerMessage, StartVerifyRequest, StateHash, StoredRow, Survey, VerifyReport,
    compare, peer_message,
};
use prost::Message;

fn ask() -> CompareAsk {
    CompareAsk {
        id: 7,
        number: 3,
        at: vector(),
        buckets: vec![1, 1_023],
        after: Some(b("key")),
        upto: Some(b("later")),
    }
}

fn sums() -> CompareSums {
    CompareSums { id: 7, vector: vector(), sums: Bytes::from([id(1), id(2)].concat()) }
}

fn row() -> StoredRow {
    StoredRow { key: b("key"), value: b("value") }
}

fn rows() -> CompareRows {
    let (vector, sums) = (vector(), id(3));
    CompareRows { id: 7, vector, sums, rows: vec![row()], next: Some(b("key")) }
}

fn about(said: compare::Said) -> Compare {
    Compare { said: Some(said) }
}

fn asked() -> StartVerifyRequest {
    StartVerifyRequest { deep: true, repair: true, from: id(2) }
}

fn survey() -> Survey {
    Survey {
        rows: 1,
        memories: 2,
        records: 3,
        bytes: 4,
        buckets: vec![5, 1_023],
        unsound: 6,
        objects: vec![object()],
        strays: 7,
        unsound_memories: 8,
        unsound_records: 9,
        dots: vector(),
    }
}

fn difference() -> Difference {
    Difference {
        peer: id(2),
        bucket: 5,
        fault: Fault::Ours.into(),
        rows: 1,
        objects: vec![object()],
        mended: true,
    }
}

fn report() -> VerifyReport {
    VerifyReport {
        number: 1,
        asked: Some(asked()),
        running: true,
        rows_read: 2,
        records_read: 3,
        survey: Some(survey()),
        compared: vec![id(2)],
        differences: vec![difference()],
        rows_mended: 4,
        problems: vec!["no peer".into()],
    }
}

pub fn samples() -> Vec<Sample> {
    table! {
        StoredRow row();
        CompareAsk ask();
        CompareSums sums();
        CompareRows rows();
        Compare about(compare::Said::Ask(ask()));
        Compare about(compare::Said::Sums(sums()));
        Compare about(compare::Said::Rows(rows()));
        PeerMessage said(peer_message::Body::Compare(about(compare::Said::Sums(sums()))));
        GetStateHashRequest GetStateHashRequest { buckets: true };
        StateHash StateHash { vector: vector(), total: id(7), buckets: id(8), number: 3 };
        StartVerifyRequest asked();
        GetVerifyRequest GetVerifyRequest {};
        Survey survey();
        Difference difference();
        VerifyReport report();
    }
}
