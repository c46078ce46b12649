//! The whole client over real sockets, against a server that breaks streams, overtakes itself and
//! says things twice.
//!
//! Nothing here sleeps or asserts on a time: a test waits for what must happen, and its deadlines
//! are for what never does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake;
mod naive;

use fake::{Fake, write};
use naive::Cluster;
use pannier_client::{
    Client, ClientSettings, CounterView, Error, Mode, NextMove, Reason, Session, Shown, StateChange,
};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

async fn cluster(replicas: usize) -> (Vec<Fake>, ClientSettings) {
    let cluster = Arc::new(Mutex::new(Cluster::new(replicas)));
    let mut fakes = Vec::new();
    for at in 0..replicas {
        fakes.push(Fake::serve(&cluster, at).await);
    }
    let addresses = fakes.iter().map(|fake| fake.address.to_string());
    let settings = ClientSettings { deadline: LONG, ..ClientSettings::new(addresses) };
    (fakes, settings)
}

/// How much a read showed.
fn shown(fake: &Fake, view: CounterView) -> usize {
    fake.cluster().shown(view.value).len()
}

async fn add(session: &Session) -> Result<pannier_client::Written, Error> {
    session.counter("shop", "views")?.add(1).await
}

#[tokio::test]
async fn a_session_sees_what_it_wrote_also_when_it_is_resumed_elsewhere() {
    let (fakes, settings) = cluster(1).await;
    let client = Client::connect(settings.clone()).await.unwrap();
    let ada = client.session().unwrap();
    assert!(ada.token().is_empty());
    let written = add(&ada).await.unwrap();
    assert_eq!((written.dot.unwrap().seq, written.regressed), (1, false));
    let view = ada.counter("shop", "views").unwrap().read().await.unwrap();
    assert_eq!(shown(&fakes[0], view), 1);
    let other = Client::connect(settings).await.unwrap();
    let again = other.resume(&ada.token()).unwrap();
    let view = again.counter("shop", "views").unwrap().read().await.unwrap();
    assert_eq!(shown(&fakes[0], view), 1);
    assert!(matches!(client.resume(b"rubbish"), Err(Error::Token(_))));
}

#[tokio::test]
async fn one_op_id_is_one_effect_however_often_it_is_asked() {
    let (fakes, settings) = cluster(1).await;
    let client = Client::connect(settings).await.unwrap();
    let ada = client.session().unwrap();
    let counter = ada.counter("shop", "views").unwrap().with_op_id(ada.op_id().unwrap());
    assert!(counter.add(1).await.unwrap().dot.is_some());
    assert_eq!(counter.add(1).await.unwrap().dot, None);
    assert_eq!(fakes[0].cluster().replicas[0].known.len(), 1);
}

#[tokio::test]
async fn streams_that_break_lose_nothing_and_count_nothing_twice() {
    let (fakes, settings) = cluster(1).await;
    fakes[0].faults.break_after.store(60, SeqCst);
    fakes[0].faults.confuse.store(5, SeqCst);
    let client = Client::connect(settings).await.unwrap();
    let (shoppers, adds) = (20, 60);
    let mut tasks = tokio::task::JoinSet::new();
    for shopper in 0..shoppers {
        let (client, fake) = (client.clone(), fakes[0].clone());
        tasks.spawn(async move {
            let session = client.session().unwrap();
            let counter = session.counter("shop", "views").unwrap();
            let mut seen = 0;
            for n in 0..adds {
                let call = counter.add(1);
                let op = call.op_id().unwrap();
                call.await.unwrap();
                if n % 10 == shopper % 10 {
                    let view = counter.read().await.unwrap();
                    let known = fake.cluster().shown(view.value).to_vec();
                    assert!(known.iter().any(|known| **known == *op.as_bytes()));
                    assert!(known.len() >= seen, "a session never sees less");
                    seen = known.len();
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(fakes[0].cluster().replicas[0].known.len(), shoppers * adds);
    assert!(fakes[0].streams.load(SeqCst) > 5, "streams broke");
}

#[tokio::test]
async fn calls_that_are_made_together_share_messages_and_have_a_bound() {
    let (fakes, mut settings) = cluster(1).await;
    settings.calls_max = 512;
    fakes[0].faults.silent.store(true, SeqCst);
    let client = Client::connect(settings).await.unwrap();
    let ada = client.session().unwrap();
    let counter = ada.counter("shop", "views").unwrap();
    let calls: Vec<_> = (0..2_000).map(|_| tokio::spawn(counter.add(1))).collect();
    while fakes[0].commands.load(SeqCst) < 512 {
        tokio::task::yield_now().await;
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fakes[0].commands.load(SeqCst), 512, "the others wait for room");
    fakes[0].faults.silent.store(false, SeqCst);
    fakes[0].faults.speak.notify_waiters();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(fakes[0].cluster().replicas[0].known.len(), 2_000);
}

#[tokio::test]
async fn an_address_that_is_gone_is_passed_over() {
    let (_fakes, mut settings) = cluster(1).await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = gone.local_addr().unwrap().to_string();
    drop(gone);
    settings.endpoints.insert(0, nobody.clone());
    let client = Client::connect(settings).await.unwrap();
    add(&client.session().unwrap()).await.unwrap();
    match Client::connect(ClientSettings::new([nobody.as_str()])).await {
        Err(Error::Unreachable { endpoint, .. }) => assert!(endpoint.contains(&nobody)),
        other => panic!("{:?}", other.map(|_| ())),
    }
    let short = Duration::from_millis(200);
    let client = Client::lazy(ClientSettings { deadline: short, ..ClientSettings::new([nobody]) });
    let session = client.unwrap().session().unwrap();
    match add(&session).await {
        Err(Error::TimedOut { state: StateChange::None, last: Some(last) }) => {
            assert!(matches!(*last, Error::Unreachable { .. }), "{last}");
            assert_eq!(last.next_move(), NextMove::Retry);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_the_lost_replica_alone_had_is_written_again_at_another() {
    let (fakes, settings) = cluster(2).await;
    let client = Client::connect(settings).await.unwrap();
    let (ada, bob) = (client.session().unwrap(), client.session_in(Mode::OwnWrites).unwrap());
    for _ in 0..5 {
        add(&ada).await.unwrap();
    }
    add(&bob).await.unwrap();
    bob.counter("shop", "views").unwrap().read().await.unwrap();
    assert_eq!(fakes[0].cluster().replicas[0].known.len(), 6);
    // The first replica dies with all of it; its streams break.
    fakes[0].cluster().replicas[0].alive = false;
    fakes[0].leave();
    let second = fakes[1].address.to_string();
    let moved = Client::connect(ClientSettings::new([second])).await.unwrap();
    // Another process has nothing to send again, and waits for what it has seen.
    let resumed = moved.resume(&ada.token()).unwrap();
    let counter = resumed.counter("shop", "views").unwrap().within(Duration::from_millis(300));
    let error = counter.read().await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Behind));
    assert_eq!((error.state_change(), error.next_move()), (StateChange::None, NextMove::Retry));
    // This one does not: what it only wrote, it writes again.
    let view = ada.counter("shop", "views").unwrap().read().await.unwrap();
    assert_eq!((shown(&fakes[1], view), view.regressed), (5, false));
    let view = bob.counter("shop", "views").unwrap().read().await.unwrap();
    assert_eq!((shown(&fakes[1], view), view.regressed), (6, true));
    assert_eq!((ada.regressions(), bob.regressions()), (0, 1));
}

#[tokio::test]
async fn a_watch_shows_each_change_and_resumes_where_it_was() {
    let (fakes, settings) = cluster(1).await;
    let client = Client::connect(settings).await.unwrap();
    fakes[0].faults.cut_watches.store(2, SeqCst);
    let ada = client.session().unwrap();
    let mut watch = ada.counter("shop", "views").unwrap().watch().unwrap();
    let mut last = 0;
    for op in 1..20_u8 {
        let Shown::Counter(view) = watch.next().await.unwrap() else { panic!("a counter") };
        let now = shown(&fakes[0], view);
        assert!(now >= last, "never older");
        last = now;
        write(&fakes[0].cluster, 0, op);
        fakes[0].tell();
    }
    let resumed = fakes[0].resumed.lock().unwrap().clone();
    assert!(resumed.len() > 5, "it was cut off every other time: {}", resumed.len());
    assert!(resumed[0].is_empty() && resumed[1..].iter().all(|token| !token.is_empty()));
    // The session has seen what its watch has shown.
    let view = ada.counter("shop", "views").unwrap().read().await.unwrap();
    assert!(shown(&fakes[0], view) >= last);
}

#[tokio::test]
async fn watches_have_a_bound() {
    let (_fakes, mut settings) = cluster(1).await;
    settings.watches_max = 1;
    let client = Client::connect(settings).await.unwrap();
    let counter = client.counter("shop", "views").unwrap();
    let watch = counter.watch().unwrap();
    assert!(matches!(counter.watch(), Err(Error::TooMany { what: "watches", max: 1 })));
    drop(watch);
    assert!(counter.watch().is_ok());
}

#[tokio::test]
async fn closing_answers_what_was_asked_and_dropping_tells() {
    let (fakes, settings) = cluster(1).await;
    let client = Client::connect(settings.clone()).await.unwrap();
    let ada = client.session().unwrap();
    let call = ada.counter("shop", "views").unwrap().add(1);
    client.close().await;
    call.await.unwrap();
    assert!(matches!(add(&ada).await, Err(Error::Closed { state: StateChange::None })));
    let client = Client::connect(settings).await.unwrap();
    fakes[0].faults.silent.store(true, SeqCst);
    let call = client.counter("shop", "views").unwrap().add(1);
    drop(client);
    assert!(matches!(call.await, Err(Error::Closed { .. })));
}

#[tokio::test]
async fn what_is_out_of_bounds_is_not_sent() {
    let (fakes, settings) = cluster(1).await;
    let client = Client::connect(settings).await.unwrap();
    let cart = client.cart("shop", "ada").unwrap();
    assert!(client.cart("", "ada").is_err() && client.set("shop", [0; 256]).is_err());
    for call in [
        cart.add("", 1),
        cart.add([0; 256], 1),
        cart.add("lamp", 0),
        cart.add_with("lamp", 1, &[0; 1_025]),
        cart.decrement("lamp", 0),
        cart.set("lamp", u32::MAX),
    ] {
        let error = call.await.unwrap_err();
        assert!(matches!(error, Error::Bounds(_)), "{error:?}");
        assert_eq!(error.next_move(), NextMove::MendRequest);
    }
    assert!(cart.clone().seen_bytes(&vec![0; (4 << 20) + 1]).is_err());
    let large = cart.clone().seen_bytes(&vec![0; 4 << 20]).unwrap().remove("lamp");
    assert_eq!(large.await.unwrap_err().reason(), Some(Reason::TooLarge));
    let elsewhere = client.cart("other", "guest").unwrap();
    assert_eq!(cart.merge(&elsewhere).await.unwrap_err().reason(), Some(Reason::WrongKind));
    assert!(client.counter("shop", "n").unwrap().add(0).await.is_err());
    assert_eq!(fakes[0].commands.load(SeqCst), 0);
}
