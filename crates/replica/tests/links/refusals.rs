//! What a stranger, or a broken peer, may do to a replica by its links: nothing. And what it is
//! told.

use crate::wire::{Listener, eventually, quick, runtime};
use bytes::Bytes;
use orset::Member;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::replication_client::ReplicationClient;
use pannier_proto::v1::{self, peer_message::Body};
use pannier_replica::Replica;
use pannier_replica::transport::AttachError;
use pannier_replica::transport::Transport as _;
use pannier_replica::transport::grpc::{FRAME_MAX, Hello, LinkSettings, Links, LinksError};
use pannier_replica::transport::grpc::{VERSION, hello_to_wire};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// One replica, member 1, which knows of member 2; the test plays member 2.
struct Here {
    runtime: Runtime,
    links: Links,
    replica: Replica,
    listener: Listener,
}

fn member(at: u8) -> Member {
    Member::from_bytes([at; 16])
}

fn made(runtime: &Runtime, settings: LinkSettings) -> Links {
    // Nobody listens at the discard port.
    let peers = BTreeMap::from([(member(2), "127.0.0.1:9".to_owned())]);
    Links::new("test", member(1), peers, settings, runtime.handle().clone()).unwrap()
}

fn here() -> Here {
    let runtime = runtime();
    let links = made(&runtime, quick());
    let listener = Listener::start(&runtime, &links);
    let builder = Replica::builder().memory(&Default::default()).member(member(1));
    let replica = builder.join(&[member(1), member(2)], &links).open().unwrap();
    Here { runtime, links, replica, listener }
}

fn hello() -> Hello {
    Hello { version: VERSION, cluster: "test".into(), from: member(2), to: member(1) }
}

/// A call that is under way: what is said by it, and what comes back.
struct Call {
    say: mpsc::Sender<v1::PeerMessage>,
    back: Result<Streaming<v1::PeerMessage>, Status>,
}

impl Here {
    async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.listener.address);
        Endpoint::from_shared(address).unwrap().connect().await.unwrap()
    }

    /// Calls and says this.
    fn call(&self, said: Vec<v1::PeerMessage>) -> Call {
        self.runtime.block_on(async {
            let (say, saying) = mpsc::channel(16);
            for message in said {
                say.send(message).await.unwrap();
            }
            let saying = Saying(saying);
            let mut client = ReplicationClient::new(self.channel().await);
            Call { say, back: client.link(saying).await.map(tonic::Response::into_inner) }
        })
    }

    /// How the call ends.
    fn end(&self, call: Call) -> Status {
        let Call { say, back } = call;
        let status = self.runtime.block_on(async {
            let mut back = match back {
                Ok(back) => back,
                Err(status) => return status,
            };
            loop {
                match back.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Status::ok(""),
                    Err(status) => return status,
                }
            }
        });
        drop(say);
        status
    }

    fn why(&self, said: Vec<v1::PeerMessage>) -> Option<Reason> {
        Failure::from_status(&self.end(self.call(said))).map(|failure| failure.reason)
    }

    fn malformed(&self) -> u64 {
        self.links.peers()[0].malformed
    }

    /// It goes on as if nothing had been: by a link that is as it should be it gets the word that a
    /// member's first write waits for.
    fn works(&self) {
        let origin = Bytes::copy_from_slice(self.replica.origin().as_bytes());
        let nothing = v1::Standing { origin, ..v1::Standing::default() };
        let link = self.call(vec![hello_to_wire(&hello()), message(Body::Standing(nothing))]);
        assert!(link.back.is_ok());
        let cart = self.replica.cart("shop", "ada").unwrap();
        cart.add("lamp", 1).wait().unwrap();
        let status = self.replica.status().unwrap();
        assert_eq!((status.vector.len(), status.buffered), (1, 0));
    }
}

/// What a channel brings, as a stream.
struct Saying(mpsc::Receiver<v1::PeerMessage>);

impl tonic::codegen::tokio_stream::Stream for Saying {
    type Item = v1::PeerMessage;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<v1::PeerMessage>> {
        self.0.poll_recv(cx)
    }
}

fn message(body: Body) -> v1::PeerMessage {
    v1::PeerMessage { body: Some(body) }
}

fn deltas(deltas: Vec<Bytes>) -> v1::PeerMessage {
    message(Body::Deltas(v1::Deltas { deltas }))
}

#[test]
fn only_a_member_of_this_cluster_that_means_this_one_is_let_in() {
    let here = here();
    let strangers = [
        Hello { cluster: "other".into(), ..hello() },
        Hello { cluster: String::new(), ..hello() },
        Hello { version: VERSION + 1, ..hello() },
        Hello { to: member(3), ..hello() },
        Hello { from: member(3), ..hello() },
        Hello { from: member(1), ..hello() },
    ];
    let many = strangers.len() as u64;
    for stranger in strangers {
        let said = vec![hello_to_wire(&stranger), deltas(vec![Bytes::from_static(b"x")])];
        let status = here.end(here.call(said));
        assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{stranger:?}");
        let failure = Failure::from_status(&status).unwrap();
        assert_eq!(failure.reason, Reason::WrongCluster, "{stranger:?}");
    }
    assert_eq!(here.links.refused(), many);
    assert_eq!(here.links.peers()[0].messages_in, 0);
    here.works();
}

#[test]
fn a_link_begins_with_a_greeting_and_has_one() {
    let here = here();
    let pull = message(Body::Pull(v1::Pull::default()));
    assert_eq!(here.why(vec![pull.clone()]), Some(Reason::CommandUnknown));
    assert_eq!(here.why(vec![v1::PeerMessage::default()]), Some(Reason::CommandUnknown));
    let short = v1::Hello { version: VERSION, ..v1::Hello::default() };
    assert_eq!(here.why(vec![message(Body::Hello(short))]), Some(Reason::Bounds));
    assert_eq!(here.links.refused(), 3);
    assert_eq!(here.malformed(), 0);
    let greeting = hello_to_wire(&hello());
    assert_eq!(here.why(vec![greeting.clone(), pull, greeting]), Some(Reason::Bounds));
    assert_eq!(here.malformed(), 1);
    here.works();
}

#[test]
fn a_caller_that_says_nothing_is_not_waited_for() {
    let runtime = runtime();
    let handshake = Duration::from_millis(50);
    let links = made(&runtime, LinkSettings { handshake, ..quick() });
    let listener = Listener::start(&runtime, &links);
    let replica = Replica::builder().memory(&Default::default()).open().unwrap();
    let here = Here { runtime, links, replica, listener };
    assert_eq!(here.why(Vec::new()), Some(Reason::Deadline));
}

#[test]
fn before_a_replica_is_open_and_after_it_is_closed_callers_are_told_to_come_again() {
    let runtime = runtime();
    let links = made(&runtime, quick());
    let listener = Listener::start(&runtime, &links);
    let replica = Replica::builder().memory(&Default::default()).open().unwrap();
    let mut here = Here { runtime, links, replica, listener };
    let greeting = || vec![hello_to_wire(&hello())];
    assert_eq!(here.why(greeting()), Some(Reason::Closed));

    let builder = Replica::builder().memory(&Default::default()).member(member(1));
    here.replica = builder.join(&[member(1), member(2)], &here.links).open().unwrap();
    let call = here.call(greeting());
    assert!(call.back.is_ok());
    here.replica.close().unwrap();
    let ended = Failure::from_status(&here.end(call)).unwrap();
    assert_eq!(ended.reason, Reason::Closed);
    assert_eq!(here.why(greeting()), Some(Reason::Closed));
}

#[test]
fn a_newer_link_of_a_peer_ends_the_older() {
    let here = here();
    let first = here.call(vec![hello_to_wire(&hello())]);
    assert!(first.back.is_ok());
    let second = here.call(vec![hello_to_wire(&hello())]);
    assert_eq!(Failure::from_status(&here.end(first)).unwrap().reason, Reason::Closed);
    assert!(here.links.peers()[0].linked);
    let Call { say, back } = second;
    drop(say);
    // It said all it had to say: that is its good right, and the link is over.
    assert!(matches!(here.runtime.block_on(back.unwrap().message()), Ok(Some(_))));
    eventually(&here.runtime, "the link is gone", || !here.links.peers()[0].linked);
}

#[test]
fn a_malformed_message_ends_its_link_and_changes_nothing() {
    let here = here();
    let id = || Bytes::from_static(&[1; 16]);
    let status = v1::Status { origin: id(), total: id(), ..v1::Status::default() };
    let twice = vec![v1::VectorEntry { origin: id(), seq: 1 }; 2];
    let range = v1::SeqRange { origin: id(), from: 1, to: 1 };
    let table = [
        (message(Body::Status(v1::Status { vector: twice, ..status.clone() })), Reason::Bounds),
        (message(Body::Status(v1::Status { total: Bytes::new(), ..status })), Reason::Bounds),
        (message(Body::Pull(v1::Pull { ranges: vec![range; 1_025] })), Reason::TooMany),
        (deltas(vec![Bytes::from(vec![0; (16 << 20) + 1])]), Reason::TooLarge),
        (deltas(vec![Bytes::from(vec![0; FRAME_MAX])]), Reason::TooLarge),
        (deltas(vec![Bytes::new(); 1 << 20]), Reason::TooMany),
    ];
    for (at, (message, reason)) in table.into_iter().enumerate() {
        let said = vec![hello_to_wire(&hello()), message];
        assert_eq!(here.why(said), Some(reason), "message {at}");
        assert_eq!(here.malformed(), at as u64 + 1);
    }
    here.works();
}

#[test]
fn a_delta_that_is_damaged_is_the_protocols_to_judge_and_the_link_goes_on() {
    let here = here();
    let call = here.call(vec![hello_to_wire(&hello()), deltas(vec![Bytes::from_static(b"x")])]);
    let ranges = vec![v1::SeqRange { origin: Bytes::from_static(&[7; 16]), from: 1, to: 9 }];
    let pull = message(Body::Pull(v1::Pull { ranges }));
    here.runtime.block_on(call.say.send(pull)).unwrap();
    eventually(&here.runtime, "all three are in", || here.links.peers()[0].messages_in == 3);
    assert!(here.links.peers()[0].linked);
    assert_eq!(here.malformed(), 0);
    eventually(&here.runtime, "there is an alarm", || {
        here.replica.status().unwrap().alarms.count == 1
    });
    here.works();
}

#[test]
fn links_are_made_of_settings_that_make_sense() {
    let runtime = runtime();
    let make = |cluster: &str, peers: &[(u8, &str)], settings: LinkSettings| {
        let peers = peers.iter().map(|(at, address)| (member(*at), (*address).to_owned()));
        Links::new(cluster, member(1), peers.collect(), settings, runtime.handle().clone()).err()
    };
    let fine = LinkSettings::default;
    assert_eq!(make("a", &[(2, "b.example:7702"), (3, "[::1]:1")], fine()), None);
    assert_eq!(make("", &[], fine()), Some(LinksError::Cluster));
    assert_eq!(make(&"a".repeat(65), &[], fine()), Some(LinksError::Cluster));
    assert_eq!(make("a", &[(1, "a:1")], fine()), Some(LinksError::Itself(member(1))));
    for address in ["", "a", "a:", ":1", "a:0", "a:65536", "a:b", "http://a:1", "u@a:1", "a:1/b"] {
        let error = make("a", &[(2, address)], fine());
        assert!(matches!(error, Some(LinksError::Address { .. })), "{address}: {error:?}");
    }
    let nothing = Duration::ZERO;
    for settings in [
        LinkSettings { queue_items: 0, ..fine() },
        LinkSettings { queue_bytes: 0, ..fine() },
        LinkSettings { batch_bytes: 0, ..fine() },
        LinkSettings { batch_bytes: 33 << 20, ..fine() },
        LinkSettings { handshake: nothing, ..fine() },
        LinkSettings { redial_first: nothing, ..fine() },
        LinkSettings { redial_max: Duration::from_millis(1), ..fine() },
        LinkSettings { keep_alive: nothing, ..fine() },
        LinkSettings { keep_alive_timeout: nothing, ..fine() },
    ] {
        let error = make("a", &[], settings.clone());
        assert!(matches!(error, Some(LinksError::Setting(_))), "{settings:?}");
    }
}

#[test]
fn links_serve_one_replica_at_a_time_and_only_their_own() {
    let runtime = runtime();
    let links = made(&runtime, quick());
    let open = |at: u8, members: &[u8]| {
        let members: Vec<_> = members.iter().map(|at| member(*at)).collect();
        let builder = Replica::builder().memory(&Default::default()).member(member(at));
        builder.join(&members, &links).open().map_err(|error| error.to_string())
    };
    let no_address = AttachError::NoAddress(member(3)).to_string();
    assert!(open(1, &[1, 2, 3]).err().unwrap().contains(&no_address));
    let not_its = AttachError::NotIts { of: member(1), member: member(2) }.to_string();
    assert!(open(2, &[1, 2]).err().unwrap().contains(&not_its));
    let first = open(1, &[1, 2]).unwrap();
    assert!(open(1, &[1, 2]).err().unwrap().contains(&AttachError::InUse.to_string()));
    first.close().unwrap();
    let second = open(1, &[1, 2]).unwrap();
    second.close().unwrap();
    // What is said to nobody is lost, and nothing else.
    links.send(member(1), member(9), pannier_replica::protocol::Message::Pull { ranges: vec![] });
    eventually(&runtime, "no task is left", || runtime.metrics().num_alive_tasks() == 0);
}
