//! Streams through a real gateway: passed on both ways, ended properly, counted, drained.

use crate::world::fake::{Does, Fake, Says, behind};
use crate::world::{Running, add, at_home, failure, header, with_token, within};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::executor_client::ExecutorClient;
use pannier_proto::v1::watcher_client::WatcherClient;
use pannier_proto::v1::{Command, ExecuteRequest, ExecuteResponse, WatchRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

fn commands(ids: std::ops::Range<u64>) -> ExecuteRequest {
    let command = |request_id: u64| Command {
        request_id,
        // Of many sizes, so that messages and frames end at different places.
        token: vec![request_id as u8; (request_id % 777) as usize].into(),
        ..Command::default()
    };
    ExecuteRequest { commands: ids.map(command).collect() }
}

type Opened = (mpsc::Sender<ExecuteRequest>, Streaming<ExecuteResponse>, String);

async fn open(gateway: &Running, home: &Fake) -> Result<Opened, tonic::Status> {
    let (send, requests) = mpsc::channel(64);
    let mut client = ExecutorClient::new(gateway.channel().await);
    let request = at_home(home.member, ReceiverStream::new(requests));
    let response = within(client.execute(request)).await?;
    let by = header(&response, "pannier-served-by");
    Ok((send, response.into_inner(), by))
}

async fn end_of<T: std::fmt::Debug>(stream: &mut Streaming<T>) -> Failure {
    failure(&within(stream.message()).await.unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_through_both_ways_at_its_home() {
    let fakes = [1, 2].map(Fake::start);
    let gateway = Running::over(&fakes.each_ref(), |_| ()).await;
    let (send, mut answers, by) = open(&gateway, &fakes[1]).await.unwrap();
    assert_eq!(by, fakes[1].member.to_string());
    // One by one: each is answered before the next is sent.
    for id in 0..20 {
        send.send(commands(id..id + 1)).await.unwrap();
        let got = within(answers.message()).await.unwrap().unwrap();
        assert_eq!(got.answers[0].request_id, id);
    }
    // And many at once, some 15 MB each way.
    let sender = tokio::spawn(async move {
        for at in 0..400 {
            send.send(commands(at * 100..at * 100 + 100)).await.unwrap();
        }
    });
    let mut next = 0_u64;
    while let Some(response) = within(answers.message()).await.unwrap() {
        for answer in response.answers {
            assert_eq!(answer.request_id, next);
            assert_eq!(answer.token, vec![next as u8; (next % 777) as usize]);
            next += 1;
        }
    }
    assert_eq!(next, 40_000, "and it ended well when the client had said all");
    sender.await.unwrap();
    assert_eq!(fakes[0].seen().streams, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_replica_dies_ends_replica_lost_and_another_opens_elsewhere() {
    let mut fakes = [1, 2].map(Fake::start);
    let gateway = Running::over(&fakes.each_ref(), |_| ()).await;
    let (send, mut answers, _) = open(&gateway, &fakes[0]).await.unwrap();
    send.send(commands(0..1)).await.unwrap();
    within(answers.message()).await.unwrap().unwrap();
    fakes[0].kill();
    let said = end_of(&mut answers).await;
    assert_eq!((said.reason, said.code()), (Reason::ReplicaLost, Code::Unavailable));
    // Its connections die one by one: on one that is not known to be gone a stream may be lost
    // before it begins, and is not sent elsewhere.
    let by = loop {
        match open(&gateway, &fakes[0]).await {
            Ok((_, _, by)) => break by,
            Err(status) => assert_eq!(failure(&status).reason, Reason::ReplicaLost),
        }
    };
    assert_eq!(by, fakes[1].member.to_string());
    assert_eq!(gateway.metric("streams_lost_total").await, 1);
}

/// Nobody tells of it, and no ping would find it for a minute: the probes do.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_replica_that_falls_silent_is_ended() {
    let fakes = [1, 2].map(Fake::start);
    let patient = |settings: &mut pannier_gateway::GatewaySettings| {
        (settings.ping_ms, settings.ping_timeout_ms) = (60_000, 60_000);
        settings.probe_timeout_ms = 500;
    };
    let gateway = Running::over(&fakes.each_ref(), patient).await;
    let (send, mut answers, _) = open(&gateway, &fakes[0]).await.unwrap();
    send.send(commands(0..1)).await.unwrap();
    within(answers.message()).await.unwrap().unwrap();
    fakes[0].says(Says::Nothing);
    assert_eq!(end_of(&mut answers).await.reason, Reason::ReplicaLost);
    let (_send, _answers, by) = open(&gateway, &fakes[0]).await.unwrap();
    assert_eq!(by, fakes[1].member.to_string());
}

/// While the replica is killed, so that some streams die between messages and some within.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_busy_when_their_replica_dies_end_replica_lost() {
    let mut fake = Fake::start(1);
    let gateway = Running::over(&[&fake], |_| ()).await;
    let mut readers = Vec::new();
    for _ in 0..4 {
        let (send, mut answers, _) = open(&gateway, &fake).await.unwrap();
        tokio::spawn(async move { while send.send(commands(0..500)).await.is_ok() {} });
        readers.push(tokio::spawn(async move {
            loop {
                match answers.message().await {
                    Ok(Some(_)) => {}
                    other => return other.map(|_| ()),
                }
            }
        }));
    }
    let (send, mut answers, _) = open(&gateway, &fake).await.unwrap();
    for _ in 0..10 {
        send.send(commands(0..9)).await.unwrap();
        within(answers.message()).await.unwrap().unwrap();
    }
    fake.kill();
    for reader in readers {
        let status = within(reader).await.unwrap().unwrap_err();
        assert_eq!(failure(&status).reason, Reason::ReplicaLost);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_a_replica_refuses_or_never_begins_ends_so() {
    let fakes = [1, 2].map(Fake::start);
    let gateway = Running::over(&fakes.each_ref(), |_| ()).await;
    let said = Failure::new(Reason::Overloaded, "too many streams");
    fakes[0].does(Does::Refuse(said.clone()));
    assert_eq!(failure(&open(&gateway, &fakes[0]).await.unwrap_err()), said);
    fakes[0].does(Does::Hang);
    let hasty = Running::over(&fakes.each_ref(), |settings| settings.open_ms = 50).await;
    let status = open(&hasty, &fakes[0]).await.unwrap_err();
    assert_eq!(failure(&status).reason, Reason::ReplicaLost);
    assert_eq!(fakes[1].seen().streams, 0, "what was sent of a stream cannot be sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_tried_elsewhere_until_it_has_begun() {
    let mut fakes = [1, 2].map(Fake::start);
    let gateway = Running::over(&fakes.each_ref(), |_| ()).await;
    fakes[0].does(Does::Refuse(behind()));
    let mut client = WatcherClient::new(gateway.channel().await);
    let request = WatchRequest { token: vec![3; 9].into(), ..WatchRequest::default() };
    let response = client.watch(at_home(fakes[0].member, request)).await.unwrap();
    assert_eq!(header(&response, "pannier-served-by"), fakes[1].member.to_string());
    let mut events = response.into_inner();
    let first = within(events.message()).await.unwrap().unwrap();
    assert_eq!(first.token, vec![3; 9]);
    fakes[1].kill();
    assert_eq!(end_of(&mut events).await.reason, Reason::ReplicaLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_counted_and_a_place_is_free_again_when_one_ends() {
    const MOST: usize = 2_000;
    let fakes = [1, 2].map(Fake::start);
    let gateway = Running::over(&fakes.each_ref(), |settings| settings.streams = MOST).await;
    // A connection carries at most `connection_streams`.
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(WatcherClient::new(gateway.channel().await));
    }
    let mut open = Vec::new();
    for at in 0..MOST {
        let request = at_home(fakes[at % 2].member, WatchRequest::default());
        open.push(within(clients[at % 4].watch(request)).await.unwrap().into_inner());
    }
    assert_eq!(gateway.metric("streams_open").await, MOST as u64);
    let status = clients[0].watch(WatchRequest::default()).await.unwrap_err();
    assert_eq!(failure(&status).reason, Reason::Overloaded);
    // Calls have places of their own.
    assert!(gateway.client().await.add(add(1)).await.is_ok());
    open.truncate(MOST / 2);
    within(async {
        while gateway.metric("streams_open").await > MOST as u64 / 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(clients[0].watch(WatchRequest::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_full_sends_streams_elsewhere() {
    let fakes = [1, 2].map(Fake::start);
    let gateway = Running::over(&fakes.each_ref(), |settings| {
        settings.lanes = 1;
        settings.lane_streams = 2;
    })
    .await;
    let mut open_streams = Vec::new();
    for want in [0, 0, 1, 1] {
        let (send, answers, by) = open(&gateway, &fakes[0]).await.unwrap();
        assert_eq!(by, fakes[want].member.to_string());
        open_streams.push((send, answers));
    }
    let status = open(&gateway, &fakes[0]).await.unwrap_err();
    assert_eq!(failure(&status).reason, Reason::Overloaded);
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_calls_and_ends_streams() {
    let fake = Fake::start(1);
    // The drain is over when all is done, and not by its clock: the clients keep their connections,
    // and the stream's keeps its half of it open.
    let mut gateway = Running::over(&[&fake], |settings| settings.drain_ms = 86_400_000).await;
    let (send, mut answers, _) = open(&gateway, &fake).await.unwrap();
    send.send(commands(0..1)).await.unwrap();
    within(answers.message()).await.unwrap().unwrap();
    let mut watcher = WatcherClient::new(gateway.channel().await);
    let mut events = watcher.watch(WatchRequest::default()).await.unwrap().into_inner();
    within(events.message()).await.unwrap().unwrap();

    fake.does(Does::Hang);
    let mut client = gateway.client().await;
    let mut other = client.clone();
    let call = tokio::spawn(async move { client.add(with_token(b"", add(5))).await });
    fake.was_asked(3).await;
    gateway.stop();
    assert_eq!(end_of(&mut answers).await.reason, Reason::Draining);
    assert_eq!(end_of(&mut events).await.reason, Reason::Draining);
    assert!(other.add(add(6)).await.is_err(), "nothing new");
    fake.does(Does::Answer);
    assert_eq!(within(call).await.unwrap().unwrap().get_ref().taken, 5, "what was under way");
    gateway.stopped().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_has_an_end_although_a_call_has_none() {
    let fake = Fake::start(1);
    let mut gateway = Running::over(&[&fake], |settings| settings.drain_ms = 50).await;
    fake.does(Does::Hang);
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { client.add(add(5)).await });
    fake.was_asked(1).await;
    gateway.stop();
    gateway.stopped().await.unwrap();
    assert!(within(call).await.unwrap().is_err());
}
