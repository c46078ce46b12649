//! The client against the replica that ships: every call, a kill with calls under way, and the loss
//! of the replica that alone had a session's writes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "the example's main is for people")]
#[path = "../../../examples/wire.rs"]
mod wire;

use orset::order::Standing;
use orset::stock::{Ask, Customer, HoldsOf, Outcome, Want};
use orset::{Kind, Member};
use pannier_client::{
    Client, ClientSettings, Error, Mode, NextMove, Page, Reason, Session, Shown, StateChange,
    StockCall,
};
use pannier_replica::Replica;
use pannier_replica::server::{Server, ServerSettings};
use pannier_replica::store::memory::MemoryDisk;
use pannier_replica::transport::Mesh;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(120);

fn serve(replica: Replica, listen: Option<SocketAddr>) -> Server {
    let mut settings = ServerSettings::on_free_ports();
    settings.listen = listen.unwrap_or(settings.listen);
    Server::builder(replica).settings(settings).start().unwrap()
}

fn in_memory() -> Replica {
    Replica::builder().memory(&MemoryDisk::new()).open().unwrap()
}

async fn connect(servers: &[&Server]) -> Client {
    let addresses = servers.iter().map(|server| server.public_address().to_string());
    let settings = ClientSettings { deadline: LONG, ..ClientSettings::new(addresses) };
    Client::connect(settings).await.unwrap()
}

#[tokio::test]
async fn a_cart_does_what_the_embedded_one_does() {
    let server = serve(in_memory(), None);
    let client = connect(&[&server]).await;
    let ada = client.session().unwrap();
    let cart = ada.cart("shop", "ada").unwrap();
    cart.add("lamp", 2).await.unwrap();
    cart.add_with("rug", 1, b"blue").await.unwrap();
    let view = cart.read().await.unwrap();
    assert_eq!((view.quantity("lamp"), view.quantity("rug"), view.lines.len()), (2, 1, 2));
    assert_eq!(&view.lines[1].entries[0].attributes[..], b"blue");
    assert_eq!((view.next, view.stale, view.regressed), (None, false, false));
    // What was added since is not what was seen.
    cart.add("lamp", 5).await.unwrap();
    cart.clone().seen(&view.seen).remove("lamp").await.unwrap();
    assert_eq!(cart.read().await.unwrap().quantity("lamp"), 5);
    assert_eq!(cart.decrement("lamp", 9).await.unwrap().taken, 5);
    cart.set("lamp", 3).await.unwrap();
    let guest = ada.cart("shop", "guest").unwrap();
    guest.add("vase", 4).await.unwrap();
    cart.merge(&guest).await.unwrap();
    let view = cart.read().await.unwrap();
    let units = ["lamp", "rug", "vase"].map(|product| view.quantity(product));
    assert_eq!(units, [3, 1, 4]);
    assert!(guest.read().await.unwrap().lines.is_empty());
    cart.seen(&view.seen).clear().await.unwrap();
    assert!(ada.cart("shop", "ada").unwrap().read().await.unwrap().lines.is_empty());
    let again = client.cart("shop", "ada").unwrap().with_op_id(ada.op_id().unwrap());
    again.add("lamp", 1).await.unwrap();
    let error = again.add("lamp", 2).await.unwrap_err();
    assert_eq!((error.reason(), error.next_move()), (Some(Reason::OpIdReused), NextMove::NewOpId));
    client.close().await;
}

#[tokio::test]
async fn holds_of_a_stock_are_read_page_by_page() {
    let server = serve(in_memory(), None);
    let client = connect(&[&server]).await;
    let (ada, at) = (client.session().unwrap(), server.replica().member());
    let phone = ada.stock("shop", "phone").unwrap();
    phone.restock(30, at).await.unwrap();
    for n in 0..7_u32 {
        let customer = if n % 2 == 0 { "ada" } else { "bob" };
        let want = pannier_client::want(1 + n, customer).unwrap();
        phone.hold(want, Duration::from_secs(60)).await.unwrap();
    }
    let mut of = HoldsOf::default();
    let mut quantities = Vec::new();
    loop {
        let page = phone.holds(of.clone(), 3).await.unwrap();
        assert!(!page.stale && page.holds.iter().all(|hold| hold.owner == at));
        quantities.extend(page.holds.iter().map(|hold| hold.want.quantity));
        if page.next.is_none() {
            break;
        }
        of.after = page.next;
    }
    assert_eq!(quantities, [1, 2, 3, 4, 5, 6, 7]);
    let bob = Customer::new(b"bob").unwrap();
    let bobs = HoldsOf { customer: Some(bob), after: None };
    let bobs = phone.holds(bobs, 1_000).await.unwrap();
    assert_eq!(bobs.holds.iter().map(|it| it.want.quantity).collect::<Vec<_>>(), [2, 4, 6]);
    let first = ada.held_by("shop", "bob", None, 2).await.unwrap();
    let second = ada.held_by("shop", "bob", first.behind("shop"), 2).await.unwrap();
    let all = first.holds.iter().chain(&second.holds);
    let all: Vec<_> = all.map(|(stock, hold)| (&stock[..], hold.want.quantity)).collect();
    assert_eq!(all, [(&b"phone"[..], 2), (b"phone", 4), (b"phone", 6)]);
    assert_eq!(second.next, None);
    let error = ada.held_by("shop", "", None, 2).await.unwrap_err();
    assert_eq!(error.state_change(), StateChange::None, "{error}");
    let error = phone.holds(HoldsOf::default(), 0).await.unwrap_err();
    assert!(matches!(error, Error::BadAsk { .. }), "{error}");
    client.close().await;
}

/// Two orders of a cart: paged, watched, and each given back as it was ordered.
#[tokio::test]
async fn orders_of_a_cart_are_listed_and_watched() {
    let server = serve(in_memory(), None);
    let client = connect(&[&server]).await;
    let (ada, at) = (client.session().unwrap(), server.replica().member());
    ada.stock("shop", "lamp").unwrap().restock(9, at).await.unwrap();
    let cart = ada.cart("shop", "ada").unwrap();
    let mut watch = cart.watch_orders().unwrap();
    let mut next = async || match watch.next().await.unwrap() {
        Shown::Orders(view) => view.orders,
        other => panic!("{other:?}"),
    };
    assert_eq!(next().await, []);
    cart.add("lamp", 2).await.unwrap();
    let goods = cart.read().await.unwrap().goods("ada").unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(ada.op_id().unwrap());
        let order = cart.clone().with_op_id(ids[ids.len() - 1]);
        order.checkout(goods.clone(), LONG).await.unwrap();
    }
    while next().await.len() < 2 {}
    let first = cart.orders(None, 1).await.unwrap();
    let second = cart.orders(first.next, 1).await.unwrap();
    assert_eq!((first.next, second.next, second.stale), (Some(ids[0]), None, false));
    let shown = [&first.orders[0], &second.orders[0]];
    assert_eq!(shown.map(|it| it.id).to_vec(), ids);
    assert!(shown.iter().all(|it| it.goods == goods && it.standing == Standing::Open));
    assert!(shown.iter().all(|it| it.held.is_some_and(|held| held.owner == at)));
    // What is bought is bought by what the page said.
    let order = cart.clone().with_op_id(ids[0]);
    order.confirm(first.orders[0].goods.clone()).await.unwrap();
    while next().await[1].standing != (Standing::Conflicted { with: ids[0] }) {}
    let error = cart.orders(None, 101).await.unwrap_err();
    assert!(matches!(error, Error::BadAsk { .. }), "{error}");
    client.close().await;
}

/// A bulk in a session: its answers are in their places, and the session sees what it did.
#[tokio::test]
async fn a_bulk_is_many_calls_in_one() {
    let server = serve(in_memory(), None);
    let client = connect(&[&server]).await;
    let (ada, at) = (client.session().unwrap(), server.replica().member());
    let mut calls = Vec::new();
    let call = |ask: &Ask| StockCall::new(ada.op_id().unwrap(), "shop", "phone", ask).unwrap();
    for _ in 0..500 {
        calls.push(call(&Ask::Restock { units: 2, at }));
    }
    for quantity in [3, 5_000] {
        calls.push(call(&Ask::Commit { want: Want { quantity, customer: None } }));
    }
    let came = ada.bulk(&calls).await.unwrap();
    let outcomes: Vec<_> = came.into_iter().map(|it| it.unwrap().outcome).collect();
    assert!(outcomes[..500].iter().all(|it| *it == Outcome::Done));
    assert_eq!(outcomes[500], Outcome::Committed);
    assert!(matches!(outcomes[501], Outcome::SoldOut { .. }));
    let sheet = ada.stock("shop", "phone").unwrap().read().await.unwrap().sheet;
    assert_eq!((sheet.minted, sheet.sold), (1_000, 3));
    // The same again does nothing twice; who has another content is told so, alone.
    let op = ada.op_id().unwrap();
    calls.push(StockCall::new(op, "shop", "phone", &Ask::Restock { units: 1, at }).unwrap());
    calls.push(StockCall::new(op, "shop", "phone", &Ask::Restock { units: 9, at }).unwrap());
    let again = client.bulk(&calls).await.unwrap();
    assert_eq!(again.iter().filter(|it| it.is_ok()).count(), 503);
    let reused = again[503].as_ref().unwrap_err();
    assert_eq!(reused.reason(), Some(Reason::OpIdReused));
    let sheet = client.stock("shop", "phone").unwrap().read().await.unwrap().sheet;
    assert_eq!((sheet.minted, sheet.sold), (1_001, 3));
    // What cannot be is not sent.
    assert!(matches!(client.bulk(&[]).await, Err(Error::BadAsk { .. })));
    let many = vec![calls[0].clone(); 1_001];
    assert!(matches!(client.bulk(&many).await, Err(Error::TooMany { max: 1_000, .. })));
    let hold = Ask::Hold { want: Want { quantity: 1, customer: None }, ttl_ms: 1 };
    let refused = StockCall::new(op, "shop", "phone", &hold).unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::WrongKind));
    client.close().await;
}

/// The first address is nobody's: a bulk goes to the next, and what cannot be reached is said.
#[tokio::test]
async fn a_bulk_is_sent_again_elsewhere() {
    let server = serve(in_memory(), None);
    let address = server.public_address().to_string();
    let at = server.replica().member();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap().to_string();
    drop(free);
    let settings = ClientSettings { deadline: LONG, ..ClientSettings::new([&nobody, &address]) };
    let client = Client::lazy(settings).unwrap();
    let ada = client.session().unwrap();
    let call =
        StockCall::new(ada.op_id().unwrap(), "shop", "phone", &Ask::Restock { units: 2, at });
    let call = call.unwrap();
    assert_eq!(
        ada.bulk(std::slice::from_ref(&call)).await.unwrap()[0].as_ref().unwrap().outcome,
        Outcome::Done
    );
    let settings =
        ClientSettings { deadline: Duration::from_millis(300), ..ClientSettings::new([nobody]) };
    let late = Client::lazy(settings).unwrap().bulk(&[call]).await.unwrap();
    assert!(matches!(late[0], Err(Error::TimedOut { .. })), "{late:?}");
}

#[tokio::test]
async fn sets_counters_pages_and_listings() {
    let server = serve(in_memory(), None);
    let client = connect(&[&server]).await;
    let ada = client.session().unwrap();
    let wishes = ada.set("shop", "ada").unwrap();
    let adds: Vec<_> = (0..25).map(|n| wishes.add(format!("wish {n:02}"))).collect();
    for add in adds {
        add.await.unwrap();
    }
    let mut page = Some(Page::first(10));
    let mut found = Vec::new();
    while let Some(next) = page {
        let view = wishes.read_page(&next).await.unwrap();
        found.extend(view.elements);
        page = view.next;
    }
    let whole = wishes.read().await.unwrap();
    assert_eq!((found.len(), &found), (25, &whole.elements));
    wishes.seen(&whole.seen).clear().await.unwrap();
    for n in 0..7 {
        ada.counter("shop", format!("page {n}")).unwrap().add(n + 1).await.unwrap();
    }
    let views = ada.counter("shop", "page 6").unwrap().read().await.unwrap();
    assert_eq!((views.value, views.stale), (7, false));
    let mut page = Some(Page::first(3));
    let mut found = Vec::new();
    while let Some(next) = page {
        let listing = ada.list(Kind::Counter, "shop", &next).await.unwrap();
        found.extend(listing.ids);
        page = listing.next;
    }
    assert_eq!(found.len(), 7);
    let listing = client.list(Kind::Set, "shop", &Page::default()).await.unwrap();
    assert!(listing.ids.is_empty(), "an empty set is not listed");
}

#[tokio::test]
async fn a_cart_of_many_pages_is_read_whole() {
    let server = serve(in_memory(), None);
    let client = connect(&[&server]).await;
    let ada = client.session().unwrap();
    let cart = ada.cart("shop", "ada").unwrap();
    // Attributes make lines large: a page of a stream ends at some 256 KiB.
    let adds: Vec<_> = (0..900).map(|n| cart.add_with(format!("{n:04}"), 1, &[7; 1_000])).collect();
    for add in adds {
        add.await.unwrap();
    }
    let first = cart.read_page(&Page::first(10_000)).await.unwrap();
    assert!(first.lines.len() < 900 && first.next.is_some(), "{}", first.lines.len());
    let whole = cart.read().await.unwrap();
    assert_eq!((whole.lines.len(), whole.next), (900, None));
    // What was seen of all pages is seen: nothing is left.
    cart.seen(&whole.seen).clear().await.unwrap();
    assert!(ada.cart("shop", "ada").unwrap().read().await.unwrap().lines.is_empty());
}

#[tokio::test]
async fn a_watch_of_a_real_replica() {
    let server = serve(in_memory(), None);
    let client = connect(&[&server]).await;
    let (ada, bob) = (client.session().unwrap(), client.session().unwrap());
    let mut watch = ada.counter("shop", "views").unwrap().watch().unwrap();
    let mut value = async || match watch.next().await.unwrap() {
        Shown::Counter(view) => view.value,
        other => panic!("{other:?}"),
    };
    assert_eq!(value().await, 0);
    for n in 1..=5 {
        bob.counter("shop", "views").unwrap().add(1).await.unwrap();
        assert_eq!(value().await, n);
    }
}

/// Adds and reads until told to stop; returns how many adds were acknowledged.
async fn shop(client: Client, shopper: usize, stop: Arc<AtomicBool>) -> i64 {
    let session = client.session().unwrap();
    let counter = session.counter("shop", format!("of {shopper}")).unwrap();
    let mut acknowledged = 0;
    while !stop.load(SeqCst) {
        counter.add(1).await.unwrap();
        acknowledged += 1;
        if acknowledged % 7 == 0 {
            let view = counter.read().await.unwrap();
            assert_eq!(view.value, acknowledged, "no stale read, nothing lost, nothing twice");
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_with_calls_under_way_lose_nothing_and_count_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let open = |path: &Path| Replica::open(path).unwrap();
    let replica = open(directory.path());
    let mut server = serve(replica.clone(), None);
    let address = server.public_address();
    let client = connect(&[&server]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let shoppers: Vec<_> =
        (0..16).map(|n| tokio::spawn(shop(client.clone(), n, stop.clone()))).collect();
    let mut ops = 0;
    let mut replica = replica;
    for _ in 0..4 {
        // Some work, then the connections are cut wherever they are.
        let wanted = ops + 200;
        while replica.status().unwrap().stats.ops < wanted {
            tokio::task::yield_now().await;
        }
        drop(server);
        replica.close().unwrap();
        replica = open(directory.path());
        ops = replica.status().unwrap().stats.ops;
        server = serve(replica.clone(), Some(address));
    }
    stop.store(true, SeqCst);
    let session = client.session().unwrap();
    for (shopper, task) in shoppers.into_iter().enumerate() {
        let acknowledged = task.await.unwrap();
        let counter = session.counter("shop", format!("of {shopper}")).unwrap();
        assert_eq!(counter.read().await.unwrap().value, acknowledged);
    }
    assert_eq!(server.public_address(), address);
}

/// Two replicas that have met, each served; `home` is the first.
async fn two() -> (Mesh, [Member; 2], Vec<Replica>, Vec<Server>) {
    let members = [1, 2].map(|n| Member::from_bytes([n; 16]));
    let mesh = Mesh::new();
    let open = |member: Member| {
        let builder = Replica::builder().memory(&MemoryDisk::new()).member(member);
        builder.join(&members, &mesh).open().unwrap()
    };
    let replicas: Vec<_> = members.iter().map(|member| open(*member)).collect();
    let servers = replicas.iter().map(|replica| serve(replica.clone(), None)).collect();
    (mesh, members, replicas, servers)
}

async fn add(session: &Session, units: u32) {
    session.cart("shop", "ada").unwrap().add("lamp", units).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_lost_home_alone_had_is_there_again_and_counts_once_when_it_returns() {
    let (mesh, members, replicas, mut servers) = two().await;
    let client = connect(&[&servers[0], &servers[1]]).await;
    let (ada, bob) = (client.session().unwrap(), client.session_in(Mode::OwnWrites).unwrap());
    add(&ada, 1).await;
    // From here on the home is alone with what it takes in.
    mesh.cut(members[0]);
    for _ in 0..10 {
        add(&ada, 1).await;
    }
    add(&bob, 100).await;
    assert_eq!(bob.cart("shop", "ada").unwrap().read().await.unwrap().quantity("lamp"), 111);
    let token = ada.token();
    // Dropping it would leave it a moment in which to answer Ada out of what is to be lost.
    servers.remove(0).cut().await;
    // Ada had only written: all of it is there at once, and no answer says otherwise.
    let view = ada.cart("shop", "ada").unwrap().read().await.unwrap();
    assert_eq!((view.quantity("lamp"), view.regressed), (11, false));
    // Bob had read what is gone. He goes on without it, with his own, and is told.
    let view = bob.cart("shop", "ada").unwrap().read().await.unwrap();
    assert_eq!((view.quantity("lamp"), view.regressed, bob.regressions()), (111, true, 1));
    // Another process knows only the token, and waits.
    let other = connect(&[&servers[0]]).await;
    let resumed = other.resume(&token).unwrap();
    let short = resumed.cart("shop", "ada").unwrap().within(Duration::from_millis(300));
    let error = short.read().await.unwrap_err();
    assert_eq!((error.reason(), error.state_change()), (Some(Reason::Behind), StateChange::None));
    // The old home comes back with its copies: one op id is one effect.
    mesh.heal();
    let view = resumed.cart("shop", "ada").unwrap().read().await.unwrap();
    assert_eq!(view.quantity("lamp"), 111);
    for replica in &replicas {
        let vector = replicas[1].status().unwrap().vector;
        let session = pannier_replica::Session::begin().unwrap();
        session.observe(&vector);
        let cart = replica.cart("shop", "ada").unwrap().in_session(&session);
        let units = loop {
            match cart.read().await {
                Ok(view) => break view.quantity(b"lamp"),
                Err(error) => assert_eq!(error.next_move(), pannier_replica::NextMove::Retry),
            }
        };
        assert_eq!(units, 111);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_not_noticed() {
    let (_mesh, _, _, mut servers) = two().await;
    let client = connect(&[&servers[0], &servers[1]]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let shoppers: Vec<_> =
        (0..8).map(|n| tokio::spawn(shop(client.clone(), n, stop.clone()))).collect();
    while servers[0].replica().status().unwrap().stats.ops < 200 {
        tokio::task::yield_now().await;
    }
    servers.remove(0).drain().await.unwrap();
    let second = servers[0].replica().status().unwrap().stats.ops;
    while servers[0].replica().status().unwrap().stats.ops < second + 200 {
        tokio::task::yield_now().await;
    }
    stop.store(true, SeqCst);
    for task in shoppers {
        assert!(task.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn the_example_does_what_it_says() {
    let server = serve(in_memory(), None);
    let shown = wire::shop(server.public_address().to_string()).await.unwrap();
    assert_eq!(shown, [1, 0]);
}

#[tokio::test]
async fn a_change_may_wait_for_peers() {
    let members = [1, 2].map(|at| Member::from_bytes([at; 16]));
    let mesh = Mesh::new();
    let open = |member: &Member| {
        let builder = Replica::builder().memory(&MemoryDisk::new()).member(*member);
        serve(builder.join(&members, &mesh).open().unwrap(), None)
    };
    let servers: Vec<Server> = members.iter().map(open).collect();
    let client = connect(&[&servers[0]]).await;
    let ada = client.session().unwrap();
    ada.set_peers(1);
    let cart = ada.cart("shop", "ada").unwrap();
    let dot = cart.add("lamp", 1).await.unwrap().dot.unwrap();
    let elsewhere = servers[1].replica().status().unwrap();
    assert!(elsewhere.vector.get(dot.origin) >= dot.seq, "it is on both disks");

    mesh.cut(members[1]);
    let op = ada.op_id().unwrap();
    let ring = cart.clone().with_op_id(op).within(Duration::from_millis(600));
    let error = ring.add("ring", 1).await.unwrap_err();
    let pannier_client::Error::NotReplicated { written, peers: 1, reached: 0 } = &error else {
        panic!("{error}")
    };
    assert!(written.dot.is_some());
    assert_eq!(error.state_change(), StateChange::Done);
    assert_eq!(cart.read().await.unwrap().quantity("ring"), 1, "it stands");
    cart.clone().on_peers(0).add("rug", 1).await.unwrap();
    mesh.heal();
    assert_eq!(cart.clone().with_op_id(op).add("ring", 1).await.unwrap().dot, None);
    let error = cart.on_peers(2).add("vase", 1).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::TooFewPeers));
    client.close().await;
}
