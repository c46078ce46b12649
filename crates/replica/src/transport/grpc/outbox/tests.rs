//! The queue beside a naive one, and what a link that comes and goes does to it.

use super::*;
use orset::{Origin, VersionVector};
use pannier_proto::v1::peer_message::Body;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { items: 6, bytes: 1_000, batch: 100 };

fn outbox() -> Arc<Outbox> {
    Arc::new(Outbox::new(BOUNDS, Arc::default()))
}

/// The next message, or `None` when the stream has none now; `Err` when it has ended.
fn next(stream: &mut Outgoing) -> Result<Option<Body>, ()> {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(stream).poll_next(&mut cx) {
        Poll::Pending => Ok(None),
        Poll::Ready(None) => Err(()),
        Poll::Ready(Some(message)) => Ok(message.body),
    }
}

fn hello() -> v1::PeerMessage {
    v1::PeerMessage { body: Some(Body::Hello(v1::Hello::default())) }
}

fn opened(outbox: &Arc<Outbox>) -> (Outgoing, Gate) {
    let (mut stream, gate) = outbox.link(hello());
    assert!(matches!(next(&mut stream), Ok(Some(Body::Hello(_)))));
    gate.open();
    (stream, gate)
}

fn delta(size: usize, name: u8) -> Arc<[u8]> {
    vec![name; size].into()
}

fn deltas(sizes: &[usize]) -> Message {
    Message::Deltas { deltas: sizes.iter().map(|size| delta(*size, 7)).collect() }
}

fn status(total: u128, reply: bool) -> Message {
    let (origin, vector) = (Origin::from_bytes([1; 16]), VersionVector::new());
    Message::Status { origin, number: 0, vector, total, reply, reads: 1 }
}

fn sizes(body: Option<Body>) -> Vec<usize> {
    match body {
        Some(Body::Deltas(deltas)) => deltas.deltas.iter().map(|delta| delta.len()).collect(),
        other => panic!("not deltas: {other:?}"),
    }
}

fn total(body: Option<Body>) -> (u8, bool) {
    match body {
        Some(Body::Status(status)) => (status.total[15], status.reply),
        other => panic!("not a status: {other:?}"),
    }
}

fn dropped(outbox: &Outbox) -> u64 {
    outbox.counters.dropped_out.load(Relaxed)
}

#[test]
fn nothing_leaves_before_the_greeting_is_answered() {
    let outbox = outbox();
    let (mut stream, gate) = outbox.link(hello());
    outbox.put(status(1, false));
    outbox.put(deltas(&[10]));
    assert!(matches!(next(&mut stream), Ok(Some(Body::Hello(_)))));
    assert_eq!(next(&mut stream), Ok(None));
    gate.open();
    assert_eq!(total(next(&mut stream).unwrap()), (1, false));
    assert_eq!(next(&mut stream), Ok(None));
    assert_eq!(dropped(&outbox), 1);
}

#[test]
fn while_no_link_is_open_only_the_newest_status_is_kept() {
    let outbox = outbox();
    outbox.put(status(1, true));
    outbox.put(deltas(&[10, 10]));
    outbox.put(Message::Pull { ranges: Vec::new() });
    outbox.put(status(2, false));
    assert_eq!((outbox.stand().1, dropped(&outbox)), (1, 3));
    let (mut stream, gate) = opened(&outbox);
    // Somebody still waits for the answer that the older one asked for.
    assert_eq!(total(next(&mut stream).unwrap()), (2, true));
    outbox.put(deltas(&[10, 10]));
    outbox.put(status(3, false));
    drop(gate);
    assert_eq!(next(&mut stream), Err(()));
    assert_eq!((outbox.stand().1, dropped(&outbox)), (1, 5));
    let (mut stream, _gate) = opened(&outbox);
    assert_eq!(total(next(&mut stream).unwrap()), (3, false));
    assert_eq!(next(&mut stream), Ok(None));
}

#[test]
fn a_newer_link_ends_the_older_and_its_gate_moves_nothing() {
    let outbox = outbox();
    let (mut older, older_gate) = opened(&outbox);
    let (mut newer, _gate) = opened(&outbox);
    assert_eq!(next(&mut older), Err(()));
    older_gate.open();
    drop(older_gate);
    outbox.put(deltas(&[10]));
    assert_eq!(sizes(next(&mut newer).unwrap()), [10]);
}

#[test]
fn what_waits_leaves_in_batches_and_a_large_one_alone() {
    let outbox = outbox();
    let (mut stream, _gate) = opened(&outbox);
    outbox.put(deltas(&[60, 40, 30]));
    outbox.put(deltas(&[20]));
    outbox.put(deltas(&[400, 1]));
    let mut left = Vec::new();
    while let Ok(Some(body)) = next(&mut stream) {
        left.push(sizes(Some(body)));
    }
    assert_eq!(left, [vec![60, 40], vec![30, 20], vec![400], vec![1]]);
}

#[test]
fn one_item_always_fits_into_an_empty_queue_and_no_other_beyond_the_bytes() {
    let outbox = outbox();
    let (mut stream, _gate) = opened(&outbox);
    outbox.put(deltas(&[5_000, 1]));
    assert_eq!(dropped(&outbox), 1);
    assert_eq!(sizes(next(&mut stream).unwrap()), [5_000]);
    assert_eq!(next(&mut stream), Ok(None));
}

#[test]
fn whoever_waits_is_woken_once() {
    struct Bell(std::sync::atomic::AtomicU64);
    impl std::task::Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let outbox = outbox();
    let (mut stream, _gate) = opened(&outbox);
    let bell = Arc::new(Bell(std::sync::atomic::AtomicU64::new(0)));
    let waker = Waker::from(bell.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut stream).poll_next(&mut cx).is_pending());
    outbox.put(deltas(&[10]));
    outbox.put(deltas(&[10]));
    outbox.put(status(1, false));
    assert_eq!(bell.0.load(Relaxed), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Deltas(Vec<usize>),
    Pull,
    Status,
    Take,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(1_usize..300, 1..5).prop_map(Step::Deltas),
        1 => Just(Step::Pull),
        2 => Just(Step::Status),
        4 => Just(Step::Take),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    /// Deltas leave in the order they came, none twice; with those that were lost they are all;
    /// statuses only grow; and the bounds hold throughout.
    #[test]
    fn whatever_comes_the_queue_is_bounded_and_in_order(steps in proptest::collection::vec(step(), 1..80)) {
        let outbox = outbox();
        let (mut stream, mut gate) = opened(&outbox);
        let (mut put, mut left, mut last, mut said) = (0_u32, 0_u64, None, 0_u8);
        for step in steps {
            match step {
                Step::Deltas(sizes) => {
                    let named = sizes.iter().map(|size| {
                        put += 1;
                        let mut bytes = put.to_be_bytes().to_vec();
                        bytes.resize(4 + size, 0);
                        bytes.into()
                    });
                    outbox.put(Message::Deltas { deltas: named.collect() });
                }
                Step::Pull => {
                    put += 1;
                    outbox.put(Message::Pull { ranges: Vec::new() });
                }
                Step::Status => {
                    said += 1;
                    outbox.put(status(u128::from(said), false));
                }
                Step::Take => match next(&mut stream).unwrap() {
                    None => prop_assert_eq!(outbox.stand().1, 0),
                    Some(Body::Pull(_) | Body::Pruned(_) | Body::Compare(_)) => left += 1,
                    Some(Body::Status(status)) => prop_assert_eq!(status.total[15], said),
                    Some(Body::Deltas(deltas)) => {
                        let bytes: usize = deltas.deltas.iter().map(|delta| delta.len()).sum();
                        prop_assert!(deltas.deltas.len() == 1 || bytes <= BOUNDS.batch);
                        for delta in deltas.deltas {
                            let name = u32::from_be_bytes(delta[..4].try_into().unwrap());
                            prop_assert!(last < Some(name));
                            last = Some(name);
                            left += 1;
                        }
                    }
                    Some(
                        Body::Hello(_)
                        | Body::Membership(_)
                        | Body::Snapshot(_)
                        | Body::Stock(_)
                        | Body::CatchUp(_)
                        | Body::Standing(_),
                    ) => {
                        prop_assert!(false, "nobody put that in");
                    }
                },
                Step::Reopen => {
                    drop(gate);
                    (stream, gate) = opened(&outbox);
                }
            }
            let (_, items, bytes) = outbox.stand();
            // The status has its own place beside the items that are bounded.
            prop_assert!(items <= BOUNDS.items + 1);
            prop_assert!(items <= 2 || bytes <= BOUNDS.bytes + 64);
            let waiting = (items - usize::from(outbox.queue().status.is_some())) as u64;
            prop_assert_eq!(u64::from(put), left + dropped(&outbox) + waiting);
        }
    }
}
