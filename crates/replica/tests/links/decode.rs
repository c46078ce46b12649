//! Messages of a link as bytes: there and back, and any bytes at all, never a panic.

use bytes::Bytes;
use orset::{Dot, Member, Origin, VersionVector};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::{self, peer_message::Body};
use pannier_replica::protocol::verify::Compare;
use pannier_replica::protocol::{Message, Range};
use pannier_replica::transport::grpc::{
    DELTAS_BYTES_MAX, ENTRIES_MAX, Hello, Malformed, RANGES_MAX, Said, hello_to_wire, read, to_wire,
};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

fn bytes(body: Body) -> Bytes {
    v1::PeerMessage { body: Some(body) }.encode_to_vec().into()
}

fn reason(malformed: Malformed) -> Reason {
    Failure::from(malformed).reason
}

fn origin() -> impl Strategy<Value = Origin> {
    any::<[u8; 16]>().prop_map(Origin::from_bytes)
}

fn seq() -> impl Strategy<Value = u64> {
    prop_oneof![1_u64..1_000, 1..=u64::MAX]
}

fn vector() -> impl Strategy<Value = VersionVector> {
    vec((origin(), seq()), 0..20).prop_map(|dots| {
        dots.into_iter().map(|(origin, seq)| Dot::new(origin, seq)).collect::<VersionVector>()
    })
}

fn message() -> impl Strategy<Value = Message> {
    let catch_up = origin().prop_map(|start| Message::CatchUp { start });
    let standing =
        (origin(), vector()).prop_map(|(start, vector)| Message::Standing { start, vector });
    let flags = (any::<bool>(), any::<u32>());
    let status = (origin(), any::<u64>(), vector(), any::<u128>(), flags).prop_map(
        |(origin, number, vector, total, (reply, reads))| Message::Status {
            origin,
            number,
            vector,
            total,
            reply,
            reads,
        },
    );
    let range = (origin(), seq(), seq()).prop_map(|(origin, a, b)| Range {
        origin,
        from: a.min(b),
        to: a.max(b),
    });
    let pull = vec(range, 0..70).prop_map(|ranges| Message::Pull { ranges });
    let delta = vec(any::<u8>(), 0..300).prop_map(std::sync::Arc::from);
    let deltas = vec(delta, 0..20).prop_map(|deltas| Message::Deltas { deltas });
    let pruned =
        (origin(), 2..=u64::MAX).prop_map(|(origin, first)| Message::Pruned { origin, first });
    let compare = compare().prop_map(Message::Compare);
    prop_oneof![status, pull, deltas, pruned, catch_up, standing, compare]
}

fn compare() -> impl Strategy<Value = Compare> {
    let vector = || {
        vec((origin(), seq()), 0..5).prop_map(|dots| {
            dots.into_iter().map(|(origin, seq)| Dot::new(origin, seq)).collect::<VersionVector>()
        })
    };
    let key = || vec(any::<u8>(), 1..40);
    let (after, upto) = (proptest::option::of(key()), proptest::option::of(key()));
    let buckets = proptest::collection::btree_set(0..1_024_u16, 0..9);
    let ask = (any::<u64>(), any::<u64>(), vector(), buckets, after, upto).prop_map(
        |(id, number, at, buckets, after, upto)| {
            let buckets = buckets.into_iter().collect();
            Compare::Ask { id, number, at, buckets, after, upto }
        },
    );
    let sums = (any::<u64>(), vector(), vec(any::<u128>(), 0..9))
        .prop_map(|(id, vector, sums)| Compare::Sums { id, vector, sums });
    let row = (key(), vec(any::<u8>(), 0..40));
    let next = proptest::option::of(key());
    let rows = (any::<u64>(), vector(), vec(any::<u128>(), 0..9), vec(row, 0..9), next)
        .prop_map(|(id, vector, sums, rows, next)| Compare::Rows { id, vector, sums, rows, next });
    prop_oneof![ask, sums, rows]
}

proptest! {
    #[test]
    fn a_message_is_read_back_as_it_was_written(message in message()) {
        let wire = to_wire(message.clone()).encode_to_vec();
        prop_assert_eq!(read(wire.into()), Ok(Said::Message(message)));
    }

    #[test]
    fn a_greeting_is_read_back_as_it_was_written(
        version in any::<u32>(),
        cluster in ".{0,64}",
        from in any::<[u8; 16]>(),
        to in any::<[u8; 16]>(),
    ) {
        let (from, to) = (Member::from_bytes(from), Member::from_bytes(to));
        let hello = Hello { version, cluster, from, to };
        let wire = hello_to_wire(&hello).encode_to_vec();
        prop_assert_eq!(read(wire.into()), Ok(Said::Hello(hello)));
    }
}

#[test]
fn deltas_are_lent_on_the_way_out() {
    let delta: std::sync::Arc<[u8]> = vec![7; 100].into();
    let Some(Body::Deltas(wire)) = to_wire(Message::Deltas { deltas: vec![delta.clone()] }).body
    else {
        panic!("deltas are deltas on the wire");
    };
    assert_eq!(wire.deltas[0].as_ptr(), delta.as_ptr());
}

#[test]
fn any_bytes_as_a_frame() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(Said::Message(message)) = read(Bytes::copy_from_slice(bytes)) {
            let again = to_wire(message.clone()).encode_to_vec();
            assert_eq!(read(again.into()), Ok(Said::Message(message)));
        }
    });
}

#[test]
fn a_bent_frame_is_refused_or_means_something() {
    let status = Message::Status {
        origin: Origin::from_bytes([1; 16]),
        number: 3,
        vector: (1..5).map(|at| Dot::new(Origin::from_bytes([at; 16]), 7)).collect(),
        total: 11,
        reply: true,
        reads: 1,
    };
    let whole = to_wire(status).encode_to_vec();
    bolero::check!().with_type::<(u16, u8, u8)>().for_each(|&(at, xor, cut)| {
        let mut bent = whole.clone();
        let at = usize::from(at) % bent.len();
        bent[at] ^= xor;
        bent.truncate(bent.len() - usize::from(cut) % 32);
        drop(read(bent.into()));
    });
}

#[test]
fn what_a_field_must_be_is_checked() {
    let id = Bytes::from_static(&[1; 16]);
    let entry = |at: u8, seq| v1::VectorEntry { origin: Bytes::copy_from_slice(&[at; 16]), seq };
    let right = v1::Status {
        origin: id.clone(),
        vector: vec![entry(1, 1), entry(2, 9)],
        total: Bytes::from_static(&[0; 16]),
        ..v1::Status::default()
    };
    assert!(read(bytes(Body::Status(right.clone()))).is_ok());
    let short = Bytes::from_static(&[1; 15]);
    let wrong = [
        Body::Status(v1::Status { origin: short.clone(), ..right.clone() }),
        Body::Status(v1::Status { origin: Bytes::new(), ..right.clone() }),
        Body::Status(v1::Status { total: short.clone(), ..right.clone() }),
        Body::Status(v1::Status { total: Bytes::from_static(&[0; 17]), ..right.clone() }),
        Body::Status(v1::Status { vector: vec![entry(2, 1), entry(1, 1)], ..right.clone() }),
        Body::Status(v1::Status { vector: vec![entry(1, 1), entry(1, 2)], ..right.clone() }),
        Body::Status(v1::Status { vector: vec![entry(1, 0)], ..right.clone() }),
        Body::Pull(v1::Pull { ranges: vec![v1::SeqRange { origin: id.clone(), from: 0, to: 1 }] }),
        Body::Pull(v1::Pull { ranges: vec![v1::SeqRange { origin: id.clone(), from: 2, to: 1 }] }),
        Body::Pull(v1::Pull { ranges: vec![v1::SeqRange { origin: short, from: 1, to: 1 }] }),
        Body::Hello(v1::Hello { version: 1, from: id, ..v1::Hello::default() }),
    ];
    for body in wrong {
        assert_eq!(read(bytes(body.clone())).map_err(reason), Err(Reason::Bounds), "{body:?}");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let ranges = |count| {
        let range = v1::SeqRange { origin: Bytes::from_static(&[1; 16]), from: 1, to: 1 };
        bytes(Body::Pull(v1::Pull { ranges: vec![range; count] }))
    };
    assert!(read(ranges(RANGES_MAX)).is_ok());
    assert_eq!(read(ranges(RANGES_MAX + 1)).map_err(reason), Err(Reason::TooMany));

    let deltas = |count: usize, size: usize| {
        bytes(Body::Deltas(v1::Deltas { deltas: vec![Bytes::from(vec![0; size]); count] }))
    };
    assert!(read(deltas(2, 16 << 20)).is_ok());
    assert_eq!(read(deltas(1, (16 << 20) + 1)).map_err(reason), Err(Reason::TooLarge));
    assert_eq!(read(deltas(3, DELTAS_BYTES_MAX / 3 + 1)).map_err(reason), Err(Reason::TooLarge));
    assert!(read(deltas(ENTRIES_MAX, 1)).is_ok());
    assert_eq!(read(deltas(ENTRIES_MAX + 1, 1)).map_err(reason), Err(Reason::TooMany));
}

#[test]
fn millions_of_empty_entries_are_refused_before_they_are_made() {
    // Two bytes each on the wire, dozens in memory: thirty megabytes would become six hundred.
    for body in 1..=4_u8 {
        let entries = 16 << 20;
        let mut frame = vec![body << 3 | 2];
        prost::encode_length_delimiter(2 * entries, &mut frame).unwrap();
        let header = frame.len();
        frame.resize(header + 2 * entries, 0);
        for entry in frame[header..].chunks_mut(2) {
            entry[0] = 3 << 3 | 2;
        }
        assert_eq!(read(frame.into()).map_err(reason), Err(Reason::TooMany));
    }
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    // A message of a kind that is not known, bytes that are no message, a number.
    for later in [&b"\x7a\x02\x08\x01"[..], b"\x42\x03\xff\xff\xff", b"\x48\x05"] {
        assert_eq!(read(Bytes::from_static(later)), Ok(Said::Unknown));
    }
    assert_eq!(read(Bytes::new()), Ok(Said::Unknown));
    let message = Message::Pull { ranges: Vec::new() };
    let mut with_more = to_wire(message.clone()).encode_to_vec();
    with_more.extend_from_slice(b"\x42\x01\xff");
    assert_eq!(read(with_more.into()), Ok(Said::Message(message)));
}

#[test]
fn what_no_encoder_writes_is_refused() {
    let cut: [&[u8]; 5] = [b"\x22", b"\x22\x05\x0a", b"\x0b", b"\xff\xff", b"\x22\x02\x0a\x05"];
    for bytes in cut {
        let refused = read(Bytes::copy_from_slice(bytes)).map_err(reason);
        assert_eq!(refused, Err(Reason::CommandUnknown), "{bytes:?}");
    }
    let long = [0xff; 11];
    assert_eq!(read(Bytes::copy_from_slice(&long)).map_err(reason), Err(Reason::CommandUnknown));
}
