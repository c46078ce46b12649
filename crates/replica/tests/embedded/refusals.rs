//! Bad input at the embedded replica: a typed error, nothing changed, nothing lost, no panic.

use orset::{AMOUNT_MAX, ATTRIBUTES_MAX, Member, OpId, OpIdSession, QUANTITY_MAX};
use pannier_replica::protocol::Refusal;
use pannier_replica::store::memory::MemoryDisk;
use pannier_replica::transport::Mesh;
use pannier_replica::{Cart, Error, NextMove, OpenError, Replica, Session, Settings, StateChange};

fn one() -> Replica {
    Replica::builder().memory(&MemoryDisk::new()).open().unwrap()
}

fn cart(replica: &Replica) -> Cart {
    replica.cart("shop", "ada").unwrap()
}

/// Runs `bad`, expects it to be refused as the caller's mistake, and nothing to have changed.
fn refused(replica: &Replica, bad: impl FnOnce(&Cart) -> Result<(), Error>) -> Error {
    let before = (replica.dump().unwrap(), replica.status().unwrap().vector);
    let error = bad(&cart(replica)).unwrap_err();
    assert_eq!(error.state_change(), StateChange::None, "{error}");
    assert_eq!(error.next_move(), NextMove::MendRequest, "{error}");
    let after = (replica.dump().unwrap(), replica.status().unwrap().vector);
    assert_eq!(before, after, "{error}");
    error
}

fn ids(second: u64) -> OpId {
    OpIdSession::new(second, 7).next_id().unwrap()
}

#[test]
fn names_and_numbers_out_of_bounds() {
    let replica = one();
    cart(&replica).add("lamp", 3).wait().unwrap();
    let huge = vec![b'x'; 256];
    for (namespace, id) in [("", "ada"), ("shop", "")] {
        assert!(replica.cart(namespace, id).is_err());
    }
    assert!(replica.cart("shop", &huge).is_err());
    assert!(replica.set(vec![b'n'; 65], "ada").is_err());
    assert!(replica.counter("shop", &huge).is_err());
    refused(&replica, |cart| cart.add("", 1).wait().map(drop));
    refused(&replica, |cart| cart.add(&huge, 1).wait().map(drop));
    refused(&replica, |cart| cart.add("lamp", 0).wait().map(drop));
    refused(&replica, |cart| cart.add("lamp", QUANTITY_MAX + 1).wait().map(drop));
    refused(&replica, |cart| cart.add("lamp", u32::MAX).wait().map(drop));
    refused(&replica, |cart| cart.set("lamp", QUANTITY_MAX + 1).wait().map(drop));
    refused(&replica, |cart| cart.decrement("lamp", 0).wait().map(drop));
    refused(&replica, |cart| {
        cart.add_with("lamp", 1, &vec![0; ATTRIBUTES_MAX + 1]).wait().map(drop)
    });
    refused(&replica, |cart| {
        cart.set_with("lamp", 0, &vec![0; ATTRIBUTES_MAX + 1]).wait().map(drop)
    });
    for amount in [0, AMOUNT_MAX + 1, i64::MIN, i64::MAX] {
        let counter = replica.counter("shop", "views").unwrap();
        refused(&replica, |_| counter.add(amount).wait().map(drop));
    }
    // The bounds themselves are within.
    cart(&replica).add(vec![b'x'; 255], QUANTITY_MAX).wait().unwrap();
    replica.counter("shop", "views").unwrap().add(-AMOUNT_MAX).wait().unwrap();
    assert_eq!(cart(&replica).read().wait().unwrap().quantity(b"lamp"), 3);
}

#[test]
fn quantities_add_up_beyond_32_bits_without_wrapping() {
    let replica = one();
    for _ in 0..6 {
        cart(&replica).add("screw", QUANTITY_MAX).wait().unwrap();
    }
    let shown = cart(&replica).read().wait().unwrap().quantity(b"screw");
    assert_eq!(shown, 6 * u64::from(QUANTITY_MAX));
}

#[test]
fn an_op_id_names_one_request() {
    let replica = one();
    let op = Session::begin().unwrap().op_id().unwrap();
    cart(&replica).with_op_id(op).add("lamp", 1).wait().unwrap();
    let again = cart(&replica).with_op_id(op).add("lamp", 1).wait().unwrap();
    assert_eq!(again.dot, None);
    let other = [
        refused(&replica, |cart| cart.clone().with_op_id(op).add("lamp", 2).wait().map(drop)),
        refused(&replica, |cart| cart.clone().with_op_id(op).remove("lamp").wait().map(drop)),
        refused(&replica, |_| {
            let bob = replica.cart("shop", "bob").unwrap();
            bob.with_op_id(op).add("lamp", 1).wait().map(drop)
        }),
        refused(&replica, |_| {
            let views = replica.counter("shop", "views").unwrap();
            views.with_op_id(op).add(1).wait().map(drop)
        }),
    ];
    for error in other {
        assert_eq!(error, Error::Refused(Refusal::OpIdReused(op)));
    }
    // Also after what it made is gone.
    cart(&replica).remove("lamp").wait().unwrap();
    refused(&replica, |cart| cart.clone().with_op_id(op).add("lamp", 2).wait().map(drop));
    let again = cart(&replica).with_op_id(op).add("lamp", 1).wait().unwrap();
    assert_eq!(again.dot, None);
    assert!(cart(&replica).read().wait().unwrap().lines.is_empty());
}

#[test]
fn an_op_id_from_the_future_is_refused_and_one_within_the_skew_is_not() {
    let replica = one();
    let now = pannier_replica::doors::clock::wall_ms() / 1_000;
    let error = refused(&replica, |cart| {
        cart.clone().with_op_id(ids(now + 3_600)).add("lamp", 1).wait().map(drop)
    });
    assert!(matches!(error, Error::Refused(Refusal::FromTheFuture { ahead_ms, .. })
        if ahead_ms > 3_000_000));
    cart(&replica).with_op_id(ids(now + 60)).add("lamp", 1).wait().unwrap();
}

#[test]
fn an_op_id_of_another_uuid_version_is_not_one() {
    let id = uuid::Builder::from_random_bytes([9; 16]).into_uuid();
    assert!(OpId::try_from(id).is_err());
}

#[test]
fn a_damaged_context_is_refused() {
    let replica = one();
    cart(&replica).add("lamp", 1).wait().unwrap();
    let seen = cart(&replica).read().wait().unwrap().seen.to_bytes();
    for at in 0..seen.len() {
        let mut damaged = seen.clone();
        damaged[at] ^= 1;
        refused(&replica, |cart| cart.clone().seen_bytes(&damaged).map(drop));
        refused(&replica, |cart| cart.clone().seen_bytes(&seen[..at]).map(drop));
    }
    cart(&replica).seen_bytes(&seen).unwrap().remove("lamp").wait().unwrap();
    assert!(cart(&replica).read().wait().unwrap().lines.is_empty());
}

#[test]
fn a_cart_is_not_merged_into_itself() {
    let replica = one();
    cart(&replica).add("lamp", 1).wait().unwrap();
    refused(&replica, |cart| cart.merge(cart).wait().map(drop));
}

#[test]
fn an_op_larger_than_a_round_is_refused_whole() {
    let mut settings = Settings::default();
    settings.protocol.round_bytes = 2_000;
    let disk = MemoryDisk::new();
    let replica = Replica::builder().memory(&disk).settings(settings).open().unwrap();
    let guest = replica.cart("shop", "guest").unwrap();
    for line in 0..40 {
        guest.add_with(format!("line-{line}"), 1, &[7; 100]).wait().unwrap();
    }
    let error = refused(&replica, |cart| cart.merge(&guest).wait().map(drop));
    assert!(matches!(error, Error::Refused(Refusal::TooLarge { .. })), "{error}");
    assert_eq!(guest.read().wait().unwrap().lines.len(), 40);
}

#[test]
fn too_many_ops_at_once_are_shed_and_the_rest_stand() {
    let settings = Settings { commands_max: 4, ..Settings::default() };
    let disk = MemoryDisk::new();
    let replica = Replica::builder().memory(&disk).settings(settings).open().unwrap();
    let pending: Vec<_> = (0..10_000).map(|_| cart(&replica).add("lamp", 1)).collect();
    let results: Vec<_> = pending.into_iter().map(pannier_replica::Pending::wait).collect();
    let shed = results.iter().filter(|result| **result == Err(Error::Busy)).count();
    let done = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(shed + done, 10_000);
    assert!(shed > 0, "four places held ten thousand ops");
    assert_eq!(cart(&replica).read().wait().unwrap().quantity(b"lamp"), done as u64);
    assert_eq!(Error::Busy.next_move(), NextMove::Retry);
}

#[test]
fn settings_out_of_bounds_name_themselves() {
    let open = |change: fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        match Replica::builder().memory(&MemoryDisk::new()).settings(settings).open() {
            Err(OpenError::Setting(message)) => message,
            _ => panic!("refused"),
        }
    };
    assert!(open(|s| s.commands_max = 0).contains("commands_max"));
    assert!(open(|s| s.protocol.round_ops = 0).contains("round_ops"));
    assert!(open(|s| s.protocol.round_bytes = usize::MAX).contains("round_bytes"));
    assert!(open(|s| s.protocol.buffer_bytes = 0).contains("buffer_bytes"));
    let me = Member::from_bytes([1; 16]);
    let other = Member::from_bytes([2; 16]);
    let builder = || Replica::builder().memory(&MemoryDisk::new()).member(me);
    let twice = builder().join(&[me, me], &Mesh::new()).open();
    assert!(matches!(twice, Err(OpenError::Setting(message)) if message.contains("twice")));
    let without = builder().join(&[other], &Mesh::new()).open();
    assert!(matches!(without, Err(OpenError::Setting(message)) if message.contains("members")));
    assert!(matches!(Replica::builder().open(), Err(OpenError::Setting(_))));
}
