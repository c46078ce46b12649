//! The embedded replica as a service uses it: open, change, read, watch, move, close, open again.

use orset::stock::{Customer, HoldsOf, Want};
use pannier_replica::store::StoreError;
use pannier_replica::store::memory::MemoryDisk;
use pannier_replica::transport::Mesh;
use pannier_replica::{Error, NextMove, OpenError, Replica, Session, StateChange};
use std::time::Duration;

fn one() -> Replica {
    Replica::builder().memory(&MemoryDisk::new()).open().unwrap()
}

fn members(n: u8) -> Vec<orset::Member> {
    (1..=n).map(|at| orset::Member::from_bytes([at; 16])).collect()
}

fn cluster(n: u8) -> (Vec<Replica>, Mesh) {
    let (members, mesh) = (members(n), Mesh::new());
    let open = |member: &orset::Member| {
        let builder = Replica::builder().memory(&MemoryDisk::new()).member(*member);
        builder.join(&members, &mesh).open().unwrap()
    };
    (members.iter().map(open).collect(), mesh)
}

#[test]
fn five_lines_of_a_service() {
    let directory = tempfile::tempdir().unwrap();
    let replica = Replica::open(directory.path()).unwrap();
    let cart = replica.cart("shop", "ada").unwrap();
    cart.add("lamp", 2).wait().unwrap();
    cart.decrement("lamp", 1).wait().unwrap();
    assert_eq!(cart.read().wait().unwrap().quantity(b"lamp"), 1);
    replica.close().unwrap();
    assert_eq!(cart.add("lamp", 1).wait(), Err(Error::Closed));
    drop((cart, replica));
    let replica = Replica::open(directory.path()).unwrap();
    assert_eq!(replica.cart("shop", "ada").unwrap().read().wait().unwrap().quantity(b"lamp"), 1);
}

#[test]
fn every_kind_of_object_and_op() {
    let replica = one();
    let cart = replica.cart("shop", "ada").unwrap();
    cart.add_with("ring", 1, b"engraved").wait().unwrap();
    let view = cart.read().wait().unwrap();
    assert_eq!(&*view.lines[0].entries[0].attributes, b"engraved");
    let removed = cart.clone().seen(view.seen).remove("ring").wait().unwrap();
    assert_eq!(removed.ended.len(), 1);
    cart.set("lamp", 5).wait().unwrap();
    let taken = cart.decrement("lamp", 7).wait().unwrap();
    assert_eq!(taken.taken, 5);
    let guest = replica.cart("shop", "guest-1").unwrap();
    guest.add("book", 3).wait().unwrap();
    cart.merge(&guest).wait().unwrap();
    cart.merge(&guest).wait().unwrap();
    assert_eq!(cart.read().wait().unwrap().quantity(b"book"), 3);
    assert!(guest.read().wait().unwrap().lines.is_empty());
    cart.clear().wait().unwrap();
    assert!(cart.read().wait().unwrap().lines.is_empty());

    let wishes = replica.set("shop", "ada").unwrap();
    wishes.add("moon").wait().unwrap();
    wishes.add("moon").wait().unwrap();
    assert_eq!(wishes.read().wait().unwrap().elements.len(), 1);
    wishes.remove("moon").wait().unwrap();
    assert!(wishes.read().wait().unwrap().elements.is_empty());

    let views = replica.counter("shop", "lamp").unwrap();
    views.add(3).wait().unwrap();
    views.add(-5).wait().unwrap();
    assert_eq!(views.read().wait().unwrap(), -2);
}

#[test]
fn a_retry_anywhere_takes_effect_once() {
    let (replicas, _mesh) = cluster(3);
    let session = Session::begin().unwrap();
    let op = session.op_id().unwrap();
    for replica in &replicas {
        // No session: the retry runs wherever it lands, whether the first has arrived or not.
        replica.cart("shop", "ada").unwrap().with_op_id(op).add("lamp", 2).wait().unwrap();
        replica.counter("shop", "views").unwrap().add(1).in_order(&session);
    }
    for replica in &replicas {
        let cart = replica.cart("shop", "ada").unwrap().in_session(&session);
        assert_eq!(cart.read().wait().unwrap().quantity(b"lamp"), 2);
        let views = replica.counter("shop", "views").unwrap().in_session(&session);
        assert_eq!(views.read().wait().unwrap(), 3);
    }
}

#[test]
fn a_cluster_is_remembered_and_sessions_and_directories_of_another_refused() {
    let directory = tempfile::tempdir().unwrap();
    let open = |cluster: Option<&str>| {
        let builder = Replica::builder().directory(directory.path());
        cluster.into_iter().fold(builder, |builder, name| builder.cluster(name)).open()
    };
    assert_eq!(open(None).unwrap().cluster(), None);
    let replica = open(Some("eu")).unwrap();
    let session = Session::begin().unwrap();
    let cart = replica.cart("shop", "ada").unwrap().in_session(&session);
    cart.add("lamp", 1).wait().unwrap();
    replica.close().unwrap();
    drop((cart, replica));
    assert!(matches!(open(Some("us")), Err(OpenError::Store(StoreError::OtherCluster { .. }))));
    assert!(matches!(open(Some("")), Err(OpenError::Setting(_))));
    assert_eq!(open(None).unwrap().cluster(), Some("eu"));
    // What the session has seen will never arrive in another cluster.
    let elsewhere = Replica::builder().memory(&MemoryDisk::new()).cluster("us").open().unwrap();
    let resumed = Session::resume(&session.token(None)).unwrap();
    let cart = elsewhere.cart("shop", "ada").unwrap().in_session(&resumed);
    for error in [cart.add("lamp", 1).wait().unwrap_err(), cart.read().wait().unwrap_err()] {
        assert_eq!(error, Error::Foreign);
        assert_eq!(error.next_move(), NextMove::NewSession);
        assert_eq!(error.state_change(), StateChange::None);
    }
    assert!(elsewhere.status().unwrap().vector.is_empty());
}

trait InOrder {
    fn in_order(self, session: &Session);
}

impl InOrder for pannier_replica::Pending<pannier_replica::protocol::Written> {
    fn in_order(self, session: &Session) {
        session.observe(&self.wait().unwrap().vector);
    }
}

#[test]
fn a_session_never_sees_less_than_it_wrote() {
    let (replicas, mesh) = cluster(3);
    let session = Session::begin().unwrap();
    for turn in 0..300_usize {
        let replica = &replicas[turn % 3];
        let cart = replica.cart("shop", "ada").unwrap().in_session(&session);
        cart.add("lamp", 1).wait().unwrap();
        let other = replicas[(turn + 1) % 3].cart("shop", "ada").unwrap().in_session(&session);
        assert_eq!(other.read().wait().unwrap().quantity(b"lamp"), turn as u64 + 1);
    }
    mesh.cut(replicas[2].member());
    replicas[0].cart("shop", "ada").unwrap().in_session(&session).add("lamp", 1).wait().unwrap();
    let behind = replicas[2].cart("shop", "ada").unwrap().in_session(&session);
    let error = behind.read().wait().unwrap_err();
    assert_eq!(error.next_move(), NextMove::Retry);
    assert_eq!(error.state_change(), StateChange::None);
    mesh.heal();
    assert_eq!(behind.read().wait().unwrap().quantity(b"lamp"), 301);
}

#[test]
fn a_watch_shows_the_value_and_then_each_change() {
    let (replicas, _mesh) = cluster(2);
    let cart = replicas[1].cart("shop", "ada").unwrap();
    let mut watch = cart.watch().unwrap();
    assert_eq!(lines(&watch.wait().unwrap().value), 0);
    replicas[0].cart("shop", "ada").unwrap().add("lamp", 1).wait().unwrap();
    assert_eq!(lines(&watch.wait().unwrap().value), 1);
    replicas[1].close().unwrap();
    assert_eq!(watch.wait(), Err(Error::Closed));
}

fn lines(value: &pannier_replica::protocol::Value) -> usize {
    match value {
        pannier_replica::protocol::Value::Cart(lines, _) => lines.len(),
        _ => panic!("a cart"),
    }
}

#[tokio::test]
async fn async_code_awaits_the_same_ops() {
    let replica = one();
    let cart = replica.cart("shop", "ada").unwrap();
    let mut watch = cart.watch().unwrap();
    watch.next().await.unwrap();
    cart.add("lamp", 1).await.unwrap();
    assert_eq!(lines(&watch.next().await.unwrap().value), 1);
    assert_eq!(cart.read().await.unwrap().quantity(b"lamp"), 1);
}

#[test]
fn a_replica_is_send_and_sync() {
    fn check<T: Send + Sync + Clone>() {}
    check::<Replica>();
    check::<pannier_replica::Cart>();
    check::<Session>();
}

#[test]
fn a_token_carries_the_session_to_another_replica() {
    let (replicas, mesh) = cluster(2);
    let session = Session::begin().unwrap();
    // A member's very first write waits for a peer's word; from then on it needs nobody.
    replicas[0].counter("shop", "views").unwrap().add(1).wait().unwrap();
    mesh.cut(replicas[1].member());
    let cart = replicas[0].cart("shop", "ada").unwrap().in_session(&session);
    cart.add("lamp", 1).wait().unwrap();
    let token = session.token(Some(replicas[0].member()));

    let resumed = Session::resume(&token).unwrap();
    assert_eq!(resumed.vector(), session.vector());
    assert_ne!(resumed.op_id().unwrap(), session.op_id().unwrap());
    let cart = replicas[1].cart("shop", "ada").unwrap().in_session(&resumed);
    assert_eq!(cart.read().wait().unwrap_err().next_move(), NextMove::Retry);
    mesh.heal();
    assert_eq!(cart.read().wait().unwrap().quantity(b"lamp"), 1);

    let error = Session::resume(&token[1..]).err().unwrap();
    assert_eq!(error.next_move(), NextMove::NewSession);
}

#[test]
fn a_watch_goes_on_where_its_session_left_off() {
    let (replicas, mesh) = cluster(2);
    let session = Session::begin().unwrap();
    let here = replicas[0].cart("shop", "ada").unwrap().in_session(&session);
    here.add("lamp", 1).wait().unwrap();
    let mut watch = here.watch().unwrap();
    assert_eq!(lines(&watch.wait().unwrap().value), 1);
    mesh.cut(replicas[1].member());
    here.add("book", 1).wait().unwrap();
    assert_eq!(lines(&watch.wait().unwrap().value), 2);
    drop(watch);
    // The other replica has not heard of the book: it says so rather than show one line.
    let there = replicas[1].cart("shop", "ada").unwrap().in_session(&session);
    assert_eq!(there.watch().unwrap().wait().unwrap_err().next_move(), NextMove::Retry);
    mesh.heal();
    assert_eq!(lines(&there.watch().unwrap().wait().unwrap().value), 2);
}

#[test]
fn watches_have_a_bound() {
    let settings = pannier_replica::Settings { watchers_max: 1, ..Default::default() };
    let disk = MemoryDisk::new();
    let replica = Replica::builder().memory(&disk).settings(settings).open().unwrap();
    let cart = replica.cart("shop", "ada").unwrap();
    let first = cart.watch().unwrap();
    assert_eq!(cart.watch().err(), Some(Error::Busy));
    drop(first);
    assert!(cart.watch().is_ok());
}

#[test]
fn close_finishes_what_was_taken_in() {
    let disk = MemoryDisk::new();
    let replica = Replica::builder().memory(&disk).open().unwrap();
    let cart = replica.cart("shop", "ada").unwrap();
    let pending: Vec<_> = (0..9_000).map(|_| cart.add("lamp", 1)).collect();
    replica.close().unwrap();
    assert!(pending.into_iter().all(|pending| pending.wait().is_ok()));
    let replica = Replica::builder().memory(&disk).open().unwrap();
    let view = replica.cart("shop", "ada").unwrap().read().wait().unwrap();
    assert_eq!(view.quantity(b"lamp"), 9_000);
}

#[test]
fn a_mesh_without_faults_sends_little_twice() {
    let (replicas, _mesh) = cluster(3);
    let session = Session::begin().unwrap();
    for turn in 0..600_usize {
        let cart = replicas[turn % 3].cart("shop", format!("cart-{}", turn % 20)).unwrap();
        cart.in_session(&session).add("lamp", 1).wait().unwrap();
    }
    for replica in &replicas {
        let cart = replica.cart("shop", "cart-0").unwrap().in_session(&session);
        cart.read().wait().unwrap();
    }
    let stats = replicas.iter().map(|replica| replica.status().unwrap().stats);
    let (received, missing) = stats.fold((0, 0), |(received, missing), stats| {
        (received + stats.payload_received, missing + stats.payload_missing)
    });
    // A session that waits pulls at once what a push may be bringing: hence not 1.00 here.
    assert!(received * 100 <= missing * 150, "{received} bytes for {missing} missing");
}

#[test]
fn holds_of_a_stock_come_in_pages() {
    let replica = one();
    let phone = replica.stock("shop", "phone").unwrap();
    phone.restock(9).wait().unwrap();
    let customer = Customer::new(b"ada").unwrap();
    for _ in 0..3 {
        let want = Want { quantity: 2, customer: Some(customer.clone()) };
        phone.hold(want, Duration::from_secs(60)).wait().unwrap();
    }
    let mut of = HoldsOf { customer: Some(customer), after: None };
    let first = phone.holds(of.clone(), 2).wait().unwrap();
    of.after = first.next;
    let last = phone.holds(of, 2).wait().unwrap();
    assert_eq!((first.holds.len(), last.holds.len(), last.next), (2, 1, None));
    let owners = first.holds.iter().chain(&last.holds).map(|hold| hold.owner);
    assert!(owners.into_iter().all(|owner| owner == replica.member()));
    for holds in [0, 1_001] {
        let refused = phone.holds(HoldsOf::default(), holds).wait().unwrap_err();
        assert_eq!(refused.next_move(), NextMove::MendRequest, "{refused}");
    }
}
