//! What strangers send: each gets a typed answer, no replica is bothered, and the gateway goes on.

use crate::world::fake::{Does, Fake, behind};
use crate::world::{Running, add, failure, header, token, with_token, within};
use bytes::Bytes;
use pannier_gateway::{Gateway, GatewayError, GatewaySettings};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::admin_client::AdminClient;
use pannier_proto::v1::{BatchGetCounters, GetCounter, GetStatusRequest, ListRequest};
use pannier_proto::{Token, fingerprint, metadata};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

async fn one() -> (Fake, Running) {
    let fake = Fake::start(1);
    let gateway = Running::over(&[&fake], |_| ()).await;
    (fake, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_none_end_at_the_gateway() {
    let (fake, gateway) = one().await;
    let mut client = gateway.client().await;
    let good = token(fake.member);
    let mut bent = good.clone();
    bent[12] ^= 0x10;
    let foreign = Token { cluster: fingerprint("another"), ..Token::default() }.encode();
    let table: [(&[u8], Reason); 6] = [
        (b"not a token", Reason::TokenMalformed),
        (&good[..good.len() - 3], Reason::TokenMalformed),
        (&bent, Reason::TokenMalformed),
        (&[2, 0, 0, 0, 0, 0], Reason::TokenMalformed),
        (&[1; 4_097], Reason::TokenMalformed),
        (&foreign, Reason::TokenForeign),
    ];
    for (bytes, reason) in table {
        let status = client.add(with_token(bytes, add(1))).await.unwrap_err();
        assert_eq!(failure(&status).reason, reason);
    }
    let mut twice = with_token(&good, add(1));
    twice.metadata_mut().append_bin(metadata::TOKEN, MetadataValue::from_bytes(&good));
    assert_eq!(failure(&client.add(twice).await.unwrap_err()).reason, Reason::TokenMalformed);
    let mut key = Request::new(add(1));
    key.metadata_mut().insert_bin(metadata::SESSION, MetadataValue::from_bytes(&[1; 65]));
    assert_eq!(failure(&client.add(key).await.unwrap_err()).reason, Reason::Bounds);
    assert_eq!(fake.seen().ops.len(), 0, "no replica was asked");
    assert!(client.add(with_token(&good, add(1))).await.is_ok());
    assert_eq!(gateway.metric("refused_total").await, 8);
}

/// A forged token is well formed; only replicas can tell that nobody has what it asks for.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_from_far_ahead_is_behind() {
    let (fake, gateway) = one().await;
    fake.does(Does::Refuse(behind()));
    let origin = orset::Origin::from_bytes([9; 16]);
    let vector = [orset::Dot::new(origin, u64::MAX)].into_iter().collect();
    let forged = Token { cluster: fingerprint("shop"), vector, ..Token::default() }.encode();
    let status = gateway.client().await.add(with_token(&forged, add(1))).await.unwrap_err();
    assert_eq!(failure(&status), behind());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_refused_before_it_is_sent_on() {
    let fake = Fake::start(1);
    let gateway = Running::over(&[&fake], |settings| {
        settings.message_bytes = 10_000;
        settings.replay_bytes = 1_000;
    })
    .await;
    let mut client = gateway.client().await;
    let of = |bytes: usize| {
        let mut add = add(1);
        add.namespace = Bytes::from(vec![7; bytes]);
        add
    };
    let said = failure(&client.add(of(11_000)).await.unwrap_err());
    assert_eq!((said.reason, said.metadata["max"].as_str()), (Reason::TooLarge, "10000"));
    let said = failure(&client.add(of(3 << 20)).await.unwrap_err());
    assert_eq!(said.reason, Reason::TooLarge);
    assert_eq!(fake.seen().ops.len(), 0);
    assert!(client.add(of(9_000)).await.is_ok());
    // Large answers are no less.
    let counters = vec![GetCounter::default(); 40];
    let batch = client.batch_get(BatchGetCounters { counters }).await.unwrap();
    assert_eq!(batch.get_ref().counters.len(), 40_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_are_not_public_are_unimplemented_here_and_methods_of_tomorrow_there() {
    let (fake, gateway) = one().await;
    let mut admin = AdminClient::new(gateway.channel().await);
    let status = admin.get_status(GetStatusRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(!status.metadata().contains_key("pannier-served-by"), "no replica was asked");
    let status = gateway.client().await.list(ListRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let by = status.metadata().get("pannier-served-by").unwrap().to_str().unwrap();
    assert_eq!(by, fake.member.to_string(), "a replica said it");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_speak_something_else_are_told_so() {
    let (_fake, gateway) = one().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 505 "), "{text}");
    assert!(gateway.client().await.add(add(1)).await.is_ok());
}

/// A connection that begins to speak HTTP/2 and stops, at each place where it can.
#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_are_closed() {
    let fake = Fake::start(1);
    let gateway = Running::over(&[&fake], |settings| {
        settings.hello_ms = 50;
        settings.ping_ms = 50;
        settings.ping_timeout_ms = 50;
    })
    .await;
    for said in [&b""[..], b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut heard = Vec::new();
        // Its end, be it a close or a reset; that it comes at all is the point.
        let _ = within(stream.read_to_end(&mut heard)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_most_wait_their_turn() {
    let fake = Fake::start(1);
    let gateway = Running::over(&[&fake], |settings| settings.connections = 2).await;
    let (first, second) = (gateway.client().await, gateway.client().await);
    let mut waits = TcpStream::connect(gateway.address).await.unwrap();
    waits.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    first.clone().add(add(1)).await.unwrap();
    second.clone().add(add(1)).await.unwrap();
    assert_eq!(gateway.metric("connections_total").await, 2);
    drop(second);
    let mut text = String::new();
    within(waits.read_to_string(&mut text)).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 505"), "its turn has come");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_places_are_overloaded() {
    let fake = Fake::start(1);
    let gateway = Running::over(&[&fake], |settings| settings.calls = 3).await;
    fake.does(Does::Hang);
    let client = gateway.client().await;
    let add_one = |mut client: pannier_proto::v1::counters_client::CountersClient<_>| async move {
        client.add(add(1)).await
    };
    let three: Vec<_> = (0..3).map(|_| tokio::spawn(add_one(client.clone()))).collect();
    fake.was_asked(3).await;
    let said: Failure = failure(&add_one(client.clone()).await.unwrap_err());
    assert_eq!((said.reason, said.code()), (Reason::Overloaded, Code::ResourceExhausted));
    fake.does(Does::Answer);
    for one in three {
        assert!(within(one).await.unwrap().is_ok());
    }
    let response = add_one(client).await.unwrap();
    assert_ne!(header(&response, "pannier-served-by"), "");
}

#[tokio::test]
async fn a_gateway_does_not_start_on_bad_settings_or_where_others_reach_it() {
    let start = async |address: &str, change: fn(&mut GatewaySettings)| {
        let mut settings = crate::world::settings(&["127.0.0.1:1".parse().unwrap()]);
        change(&mut settings);
        let listener = TcpListener::bind(address).await.unwrap();
        Gateway::builder(settings).serve(listener, async {}).await
    };
    let got = start("127.0.0.1:0", |settings| settings.lanes = 0).await;
    assert!(matches!(got, Err(GatewayError::Settings(why)) if why.contains("lanes")));
    let got = start("0.0.0.0:0", |_| ()).await;
    assert!(matches!(got, Err(GatewayError::Remote(_))));
    assert!(start("0.0.0.0:0", |settings| settings.allow_remote = true).await.is_ok());
    assert!(start("127.0.0.1:0", |_| ()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inner_listener_says_what_is_counted_and_no_more() {
    let (_fake, gateway) = one().await;
    gateway.client().await.add(add(1)).await.unwrap();
    assert_eq!(gateway.metric("calls_total").await, 1);
    assert_eq!(gateway.metric("tries_total{outcome=\"answered\"}").await, 1);
    assert_eq!(gateway.get("/").await.0, 404);
    let mut stream = TcpStream::connect(gateway.inner).await.unwrap();
    stream.write_all(b"POST /metrics HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 4"), "{text}");
}
