//! What strangers send: typed errors, nothing changed, and everybody else is served on.

use crate::served::{
    Stream, add, carts, channel, command, failure, get, ids, in_memory, one, raw, reason, serve,
    shown_cart, soon, vector_of, with_token, written,
};
use bytes::Bytes;
use orset::{Dot, Member, OpIdSession, Origin, VersionVector};
use pannier_proto::errors::Reason;
use pannier_proto::v1::command::Body;
use pannier_proto::v1::watcher_client::WatcherClient;
use pannier_proto::{Token, fingerprint, v1};
use pannier_replica::server::Server;
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::{Code, Status};

const ADD: &str = "/pannier.v1.Carts/Add";
const BATCH: &str = "/pannier.v1.Carts/BatchGet";
const BULK: &str = "/pannier.v1.Stocks/Bulk";
const EXECUTE: &str = "/pannier.v1.Executor/Execute";

/// What must not change.
fn state(server: &Server) -> (VersionVector, u128) {
    let status = server.replica().status().unwrap();
    (VersionVector::clone(&status.vector), status.total)
}

fn token(cluster: &str, dots: &[Dot]) -> Vec<u8> {
    let home = Some(Member::from_bytes([9; 16]));
    let vector = dots.iter().copied().collect();
    Token { cluster: fingerprint(cluster), home, vector }.encode()
}

fn tokens() -> Vec<(Vec<u8>, Reason)> {
    let good = token("test", &[]);
    let mut bent = good.clone();
    bent[3] ^= 1;
    let far = Dot::new(Origin::from_bytes([7; 16]), 1 << 40);
    vec![
        (b"nonsense".to_vec(), Reason::TokenMalformed),
        (good[..good.len() - 1].to_vec(), Reason::TokenMalformed),
        (bent, Reason::TokenMalformed),
        (vec![1; 4_097], Reason::TokenMalformed),
        (token("another", &[]), Reason::TokenForeign),
        (token("test", &[far]), Reason::Behind),
    ]
}

#[tokio::test]
async fn tokens_that_are_damaged_foreign_or_forged() {
    let server = one();
    let (mut carts, mut ids) = (carts(&server).await, ids());
    let mut stream = Stream::open(&server).await;
    let before = state(&server);
    for (token, why) in tokens() {
        let refused = carts.add(with_token(add(&mut ids, "ada", "lamp", 1), &token)).await;
        assert_eq!(reason(&refused.unwrap_err()), why);
        let refused = carts.get(with_token(get("ada"), &token)).await;
        assert_eq!(reason(&refused.unwrap_err()), why);
        let body = Body::AddToCart(add(&mut ids, "ada", "lamp", 1));
        // The longest wait that may be asked for; a forged token does not get it.
        let asked = v1::Command { timeout_ms: u32::MAX, ..command(7, &token, body) };
        stream.send(vec![asked]).await;
        assert_eq!(failure(stream.answer().await).reason, why.as_str());
    }
    assert_eq!(state(&server), before);
    let (far, _) = tokens().pop().unwrap();
    let mut ask = with_token(get("ada"), &far);
    ask.get_mut().allow_stale = true;
    let stale = carts.get(ask).await.unwrap();
    let seen = vector_of(&crate::served::token_of(&stale));
    assert!(stale.into_inner().stale);
    assert!(seen.covers(&vector_of(&far)), "the session keeps what it has seen");
    server.drain().await.unwrap();
}

#[tokio::test]
async fn a_bad_command_gets_an_answer_and_ends_nothing() {
    let (server, mut ids) = (one(), ids());
    let mut stream = Stream::open(&server).await;
    let before = state(&server);
    let good = add(&mut ids, "ada", "lamp", 1);
    let day = 86_400;
    let born = |seconds: u64| {
        let mut ids = OpIdSession::new(seconds, 5);
        Bytes::copy_from_slice(ids.next_id().unwrap().as_bytes())
    };
    let now = ids.next_id().unwrap().born_ms() / 1_000;
    let bad = |change: fn(&mut v1::AddToCart)| {
        let mut ask = good.clone();
        change(&mut ask);
        Some(Body::AddToCart(ask))
    };
    let seen = |seen: &'static [u8]| {
        let ask = v1::ClearCart {
            op_id: good.op_id.clone(),
            namespace: "shop".into(),
            cart: "ada".into(),
            seen: seen.into(),
        };
        Some(Body::ClearCart(ask))
    };
    let page = |token: &'static [u8], size| {
        Some(Body::GetCart(v1::GetCart { page_token: token.into(), page_size: size, ..get("ada") }))
    };
    let early = v1::AddToCart { op_id: born(now + day), ..good.clone() };
    let merge = v1::MergeCarts {
        op_id: good.op_id.clone(),
        namespace: "shop".into(),
        guest: "ada".into(),
        user: "ada".into(),
    };
    let cases = [
        (None, Reason::CommandUnknown),
        (bad(|ask| ask.op_id = Bytes::new()), Reason::OpIdMalformed),
        (bad(|ask| ask.op_id = vec![0; 16].into()), Reason::OpIdMalformed),
        (bad(|ask| ask.op_id = vec![0; 17].into()), Reason::OpIdMalformed),
        (bad(|ask| ask.namespace = Bytes::new()), Reason::Bounds),
        (bad(|ask| ask.namespace = vec![b'x'; 65].into()), Reason::Bounds),
        (bad(|ask| ask.cart = vec![b'x'; 256].into()), Reason::Bounds),
        (bad(|ask| ask.product = Bytes::new()), Reason::Bounds),
        (bad(|ask| ask.attributes = vec![0; 1_025].into()), Reason::Bounds),
        (bad(|ask| ask.quantity = 0), Reason::Bounds),
        (bad(|ask| ask.quantity = u32::MAX), Reason::Bounds),
        (Some(Body::AddToCart(early)), Reason::FromTheFuture),
        (Some(Body::MergeCarts(merge)), Reason::Bounds),
        (seen(b"what I saw"), Reason::SeenMalformed),
        (page(b"over there", 0), Reason::PageTokenMalformed),
        (page(b"", 10_001), Reason::Bounds),
    ];
    let commands = cases.iter().enumerate();
    let commands = commands.map(|(id, (body, _))| v1::Command {
        request_id: id as u64,
        body: body.clone(),
        ..v1::Command::default()
    });
    stream.send(commands.collect()).await;
    for _ in &cases {
        let answer = stream.answer().await;
        let (id, told) = (answer.request_id as usize, failure(answer));
        assert_eq!(told.reason, cases[id].1.as_str(), "case {id}: {}", told.message);
        assert_ne!(told.code, Code::Ok as i32);
    }
    assert_eq!(state(&server), before);
    // A clock that is a day behind hurts nobody.
    let late = v1::AddToCart { op_id: born(now - day), ..good.clone() };
    stream.send(vec![command(1, b"", Body::AddToCart(late))]).await;
    assert!(written(stream.answer().await).dot.is_some());
    let reused = v1::AddToCart { quantity: 2, ..good.clone() };
    let both = [Body::AddToCart(good), Body::AddToCart(reused)];
    stream.send(both.into_iter().map(|body| command(1, b"", body)).collect()).await;
    let told = [stream.answer().await, stream.answer().await];
    let refused = told.into_iter().find_map(|answer| match answer.body {
        Some(v1::answer::Body::Failure(failure)) => Some(failure.reason),
        _ => None,
    });
    assert_eq!(refused.as_deref(), Some(Reason::OpIdReused.as_str()));
    drop(stream);
    server.drain().await.unwrap();
}

#[tokio::test]
async fn messages_that_are_too_large_too_many_or_no_messages() {
    let (server, mut ids) = (one(), ids());
    let address = server.public_address();
    let before = state(&server);
    let large = v1::ClearCart { seen: vec![0; 5 << 20].into(), ..Default::default() };
    let large = Bytes::from(large.encode_to_vec());
    // One more than a message may hold, and as many as four megabytes can.
    let commands = |count| Bytes::from([0x0a, 0].repeat(count));
    let garbled = Bytes::from_static(b"\x0a\xff\xff\xff\xff\x0f garbled");
    let cases: Vec<(&str, Bytes, Reason)> = vec![
        ("/pannier.v1.Carts/Clear", large.clone(), Reason::TooLarge),
        (EXECUTE, large, Reason::TooLarge),
        (BATCH, commands(2 << 20), Reason::TooMany),
        (EXECUTE, commands(2 << 20), Reason::TooMany),
        (BATCH, commands(101), Reason::TooMany),
        (BATCH, Bytes::new(), Reason::TooMany),
        (BULK, commands(2 << 20), Reason::TooMany),
        (BULK, commands(1_001), Reason::TooMany),
        (BULK, Bytes::new(), Reason::TooMany),
        (EXECUTE, commands(1_025), Reason::TooMany),
        (ADD, garbled.clone(), Reason::CommandUnknown),
        (EXECUTE, garbled, Reason::CommandUnknown),
        (ADD, Bytes::new(), Reason::OpIdMalformed),
    ];
    for (path, message, why) in cases {
        let path: &'static str = path;
        let size = message.len();
        let status: Status = match path {
            EXECUTE => raw::stream(address, path, vec![message]).await,
            path => raw::call(address, path, message).await,
        };
        assert_eq!(reason(&status), why, "{path}, {size} bytes: {status:?}");
    }
    let status = raw::call(address, "/pannier.v1.Carts/Steal", Bytes::new()).await;
    assert_eq!(status.code(), Code::Unimplemented);
    let status = raw::call(address, "/other.Service/Get", Bytes::new()).await;
    assert_eq!(status.code(), Code::Unimplemented);
    // What is inside is not to be had outside.
    let status = raw::call(address, "/pannier.v1.Admin/GetStatus", Bytes::new()).await;
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(state(&server), before);
    let mut stream = Stream::open(&server).await;
    stream.send(vec![command(1, b"", Body::AddToCart(add(&mut ids, "ada", "lamp", 1)))]).await;
    assert!(written(stream.answer().await).dot.is_some());
    drop(stream);
    server.drain().await.unwrap();
}

#[tokio::test]
async fn watches_of_nothing_and_of_what_nobody_knows() {
    let server = one();
    let mut watcher = WatcherClient::new(channel(server.public_address()).await);
    let object = |kind: i32, id: &str| v1::ObjectRef {
        kind,
        namespace: "shop".into(),
        id: id.to_owned().into(),
    };
    for (object, why) in [
        (None, Reason::CommandUnknown),
        (Some(object(0, "ada")), Reason::CommandUnknown),
        (Some(object(77, "ada")), Reason::CommandUnknown),
        (Some(object(1, "")), Reason::Bounds),
    ] {
        let ask = v1::WatchRequest { object, token: Bytes::new(), ..Default::default() };
        let refused = watcher.watch(ask).await.map(drop);
        assert_eq!(reason(&refused.unwrap_err()), why);
    }
    for (token, why) in tokens() {
        let ask = v1::WatchRequest {
            object: Some(object(1, "ada")),
            token: token.into(),
            ..Default::default()
        };
        let refused = match watcher.watch(ask).await {
            Err(status) => status,
            Ok(events) => soon("an end", events.into_inner().message()).await.unwrap_err(),
        };
        assert_eq!(reason(&refused), why);
    }
    server.drain().await.unwrap();
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_with_resume_and_misses_nothing() {
    let replica = in_memory().open().unwrap();
    let server = serve(replica, |settings| settings.reader_ms = 100);
    let mut ids = ids();
    let mut stream = Stream::open(&server).await;
    // A cart whose value fills the client's window many times over.
    for part in 0..4_u32 {
        let adds = (0..500_u32).map(|n| {
            let mut ask = add(&mut ids, "big", &format!("{part}-{n}"), 1);
            ask.attributes = vec![7; 200].into();
            command(n.into(), b"", Body::AddToCart(ask))
        });
        stream.send(adds.collect()).await;
        for _ in 0..500 {
            written(stream.answer().await);
        }
    }
    let endpoint =
        tonic::transport::Endpoint::from_shared(format!("http://{}", server.public_address()));
    let endpoint = endpoint.unwrap().initial_stream_window_size(1 << 16);
    let mut watcher = WatcherClient::new(endpoint.connect().await.unwrap());
    let object = v1::ObjectRef { kind: 1, namespace: "shop".into(), id: "big".into() };
    let ask = v1::WatchRequest { object: Some(object), token: Bytes::new(), ..Default::default() };
    let mut events = watcher.watch(ask.clone()).await.unwrap().into_inner();
    let resumed = "pannier_refusals_total{reason=\"RESUME\"}";
    let mut last = 0;
    soon("a cut", async {
        while raw::metric(server.inner_address(), resumed).await < Some(1.0) {
            last += 1;
            let ask = add(&mut ids, "big", "0-0", 1);
            stream.send(vec![command(1, b"", Body::AddToCart(ask))]).await;
            written(stream.answer().await);
        }
    })
    .await;
    let (mut token, status) = (
        Bytes::new(),
        loop {
            match soon("an event or the end", events.message()).await {
                Ok(Some(event)) => drop(event),
                Ok(None) => panic!("it ended well"),
                Err(status) => break status,
            }
        },
    );
    assert_eq!(reason(&status), Reason::Resume);
    // A new watch shows everything; so it does with the token of the last event.
    for _ in 0..2 {
        let ask = v1::WatchRequest { token: token.clone(), ..ask.clone() };
        let mut events = watcher.watch(ask).await.unwrap().into_inner();
        let event = soon("the value", events.message()).await.unwrap().unwrap();
        let Some(v1::watch_event::Value::Cart(cart)) = event.value else { panic!("not a cart") };
        let line = cart.lines.iter().find(|line| line.product == "0-0").unwrap();
        assert_eq!(line.quantity, last + 1);
        token = event.token;
    }
    drop(stream);
    server.drain().await.unwrap();
}

#[tokio::test]
async fn connections_that_say_nothing_are_cut_and_others_served() {
    let replica = in_memory().open().unwrap();
    let server = serve(replica, |settings| {
        settings.hello_ms = 1_000;
        settings.connections = 8;
        settings.inner_connections = 8;
    });
    let mut silent = Vec::new();
    for address in [server.public_address(), server.inner_address()] {
        for at in 0..8 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Some begin, and go no further.
            if at % 2 == 1 {
                let begun: &[u8] = if at == 1 { b"PRI * HTTP/2.0\r\n" } else { b"GET / HT" };
                tokio::io::AsyncWriteExt::write_all(&mut stream, begun).await.unwrap();
            }
            silent.push(stream);
        }
    }
    // All places are taken: whoever comes now waits until the silent ones are cut off.
    let mut carts = carts(&server).await;
    soon("an answer", carts.get(get("ada"))).await.unwrap();
    assert_eq!(raw::page(server.inner_address(), "/healthz").await.1, "alive\n");
    for stream in &mut silent {
        let mut left = Vec::new();
        // Cut, with a word or without.
        let _ = soon("the end", stream.read_to_end(&mut left)).await;
    }
    server.drain().await.unwrap();
}

#[tokio::test]
async fn calls_streams_and_watches_have_a_bound() {
    let replica = in_memory().open().unwrap();
    let server = serve(replica, |settings| {
        settings.streams = 1;
        settings.watches = 1;
    });
    let first = Stream::open(&server).await;
    let second = Stream::try_open(channel(server.public_address()).await).await.map(drop);
    assert_eq!(reason(&second.unwrap_err()), Reason::Overloaded);
    drop(first);
    soon("room for another", async {
        while Stream::try_open(channel(server.public_address()).await).await.is_err() {}
    })
    .await;
    let mut watcher = WatcherClient::new(channel(server.public_address()).await);
    let object = v1::ObjectRef { kind: 3, namespace: "shop".into(), id: "views".into() };
    let ask = v1::WatchRequest { object: Some(object), token: Bytes::new(), ..Default::default() };
    let mut first = watcher.watch(ask.clone()).await.unwrap().into_inner();
    soon("a value", first.message()).await.unwrap().unwrap();
    let second = watcher.watch(ask).await.map(drop);
    assert_eq!(reason(&second.unwrap_err()), Reason::Overloaded);
    server.drain().await.unwrap();
}

#[tokio::test]
async fn a_deadline_that_is_over_is_told_as_unknown() {
    let server = one();
    let (mut carts, mut ids) = (carts(&server).await, ids());
    let ask = add(&mut ids, "ada", "lamp", 1);
    // Timers have a grain: an answer can be there before a nanosecond is seen to be over. It is the
    // same op each time, so whichever way the race goes, the rest holds.
    let mut late = None;
    for _ in 0..10_000 {
        let mut request = tonic::Request::new(ask.clone());
        request.metadata_mut().insert("grpc-timeout", "1n".parse().unwrap());
        if let Err(status) = carts.add(request).await {
            late = Some(status);
            break;
        }
    }
    let status = late.expect("no deadline was ever met");
    // The client may be first to notice; then the status is its own.
    if let Some(failure) = pannier_proto::errors::Failure::from_status(&status) {
        assert_eq!(failure.reason, Reason::Deadline);
    }
    // It was done, or not: sent again, it is there once.
    carts.add(ask).await.unwrap();
    let shown = carts.get(get("ada")).await.unwrap().into_inner();
    assert_eq!(shown.lines[0].quantity, 1);
    let mut stream = Stream::open(&server).await;
    stream.send(vec![command(1, b"", Body::GetCart(get("ada")))]).await;
    assert_eq!(shown_cart(stream.answer().await).lines.len(), 1);
    drop(stream);
    server.drain().await.unwrap();
}
