//! Execute streams among others: order, sessions of their own, flow control, and what a stream's
//! slow session costs another.

use crate::served::{
    Stream, add, carts, command, failure, get, ids, in_memory, serve, shown_cart, token_of,
    vector_of, written,
};
use orset::Member;
use pannier_proto::errors::Reason;
use pannier_proto::v1;
use pannier_proto::v1::command::Body;
use pannier_replica::server::Server;
use pannier_replica::transport::Mesh;

/// Two replicas that are cut off from each other, and a token that only the first has caught up
/// with.
async fn two() -> (Vec<Server>, Mesh, bytes::Bytes) {
    let members = [1, 2].map(|at| Member::from_bytes([at; 16]));
    let mesh = Mesh::new();
    let open = |member: &Member| {
        let replica = in_memory().member(*member).join(&members, &mesh).open().unwrap();
        serve(replica, |settings| settings.deadline_most_ms = 60_000)
    };
    let servers: Vec<Server> = members.iter().map(open).collect();
    let mut carts = carts(&servers[0]).await;
    // A member's very first write waits for a peer's word, so that one both have.
    let first = token_of(&carts.add(add(&mut ids(), "first", "lamp", 1)).await.unwrap());
    while !servers[1].replica().status().unwrap().vector.covers(&vector_of(&first)) {
        tokio::task::yield_now().await;
    }
    mesh.cut(members[1]);
    let token = token_of(&carts.add(add(&mut ids(), "ada", "lamp", 1)).await.unwrap());
    (servers, mesh, token)
}

#[tokio::test]
async fn a_stream_waits_behind_its_slow_session_and_others_do_not() {
    let (servers, mesh, token) = two().await;
    let mut ids = ids();
    let (mut slow, mut other) = (Stream::open(&servers[1]).await, Stream::open(&servers[1]).await);
    let waits = v1::Command { timeout_ms: 60_000, ..command(1, &token, Body::GetCart(get("ada"))) };
    let clear = v1::ClearCart {
        op_id: crate::served::op_id(&mut ids),
        namespace: "shop".into(),
        cart: "ada".into(),
        seen: Default::default(),
    };
    let behind = vec![
        waits,
        command(2, b"", Body::AddToCart(add(&mut ids, "ada", "ring", 1))),
        command(3, b"", Body::ClearCart(clear)),
        command(4, b"", Body::GetCart(get("ada"))),
        command(5, b"nonsense", Body::GetCart(get("ada"))),
    ];
    slow.send(behind).await;
    // A bad one is answered at once; it is not done, so it need not wait.
    assert_eq!(failure(slow.answer().await).reason, Reason::TokenMalformed.as_str());
    other.send(vec![command(1, b"", Body::GetCart(get("ada")))]).await;
    assert!(shown_cart(other.answer().await).lines.is_empty());
    mesh.heal();
    let mut answers: Vec<v1::Answer> = Vec::new();
    for _ in 0..4 {
        answers.push(slow.answer().await);
    }
    answers.sort_by_key(|answer| answer.request_id);
    assert!(vector_of(&answers[0].token).covers(&vector_of(&token)));
    let mut answers = answers.into_iter();
    assert_eq!(shown_cart(answers.next().unwrap()).lines.len(), 1, "the lamp, and no ring yet");
    assert!(written(answers.next().unwrap()).dot.is_some());
    assert!(!written(answers.next().unwrap()).ended.is_empty());
    assert!(shown_cart(answers.next().unwrap()).lines.is_empty());
    drop((slow, other));
    for server in servers {
        server.drain().await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_is_not_caught_up_with_is_behind_by_its_own_deadline() {
    let (servers, _mesh, token) = two().await;
    let mut stream = Stream::open(&servers[1]).await;
    let ask = |request_id, allow_stale| v1::Command {
        timeout_ms: 50,
        ..command(request_id, &token, Body::GetCart(v1::GetCart { allow_stale, ..get("ada") }))
    };
    stream.send(vec![ask(1, false), ask(2, true)]).await;
    for _ in 0..2 {
        let answer = stream.answer().await;
        if answer.request_id == 2 {
            assert!(vector_of(&answer.token).covers(&vector_of(&token)));
            let cart = shown_cart(answer);
            assert!(cart.stale && cart.lines.is_empty());
            continue;
        }
        let told = failure(answer);
        assert_eq!(told.reason, Reason::Behind.as_str());
        assert!(told.retry_ms > 0);
        let origin = servers[0].replica().origin().to_string();
        assert_eq!(told.metadata["origin"], origin);
        assert_eq!((&*told.metadata["have"], &*told.metadata["need"]), ("1", "2"));
    }
    // The same over a call, whose own deadline it precedes.
    let mut request = crate::served::with_token(get("ada"), &token);
    request.set_timeout(std::time::Duration::from_secs(10));
    let status = carts(&servers[1]).await.get(request).await.unwrap_err();
    assert_eq!(crate::served::reason(&status), Reason::Behind);
    drop(stream);
    for server in servers {
        server.drain().await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_with_hardly_any_room_is_slow_and_whole() {
    let replica = {
        let settings = pannier_replica::Settings { commands_max: 3, ..Default::default() };
        in_memory().settings(settings).open().unwrap()
    };
    let server = serve(replica, |settings| {
        settings.stream_commands = 5;
        settings.stream_reads = 1;
        settings.stream_page_bytes = 4 << 10;
    });
    let mut ids = ids();
    // Several streams that fill the writer's queue, too: none is refused.
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(Stream::open(&server).await);
    }
    for turn in 0..10_u64 {
        for stream in &streams {
            let commands = (0..100).map(|at| {
                let body = match at % 3 {
                    0 => Body::GetCart(get("ada")),
                    _ => Body::AddToCart(add(&mut ids, "ada", "lamp", 1)),
                };
                command(turn * 100 + at, b"", body)
            });
            stream.send(commands.collect()).await;
        }
    }
    for stream in &mut streams {
        let mut seen = vec![false; 1_000];
        let mut lamps = 0;
        for _ in 0..1_000 {
            let answer = stream.answer().await;
            let id = answer.request_id as usize;
            assert!(!std::mem::replace(&mut seen[id], true), "answered twice");
            if (id % 100).is_multiple_of(3) {
                let shown = shown_cart(answer).lines.first().map_or(0, |line| line.quantity);
                assert!(shown >= lamps, "one read at a time, so they come in order");
                lamps = shown;
            } else {
                written(answer);
            }
        }
    }
    drop(streams);
    server.drain().await.unwrap();
}

#[tokio::test]
async fn pages_of_a_stream_end_by_their_bytes() {
    let replica = in_memory().open().unwrap();
    let server = serve(replica, |settings| settings.stream_page_bytes = 4 << 10);
    let mut ids = ids();
    let mut stream = Stream::open(&server).await;
    let adds = (0..500_u32).map(|n| {
        let mut ask = add(&mut ids, "big", &format!("{n:03}"), 1);
        ask.attributes = vec![7; 100].into();
        command(n.into(), b"", Body::AddToCart(ask))
    });
    stream.send(adds.collect()).await;
    for _ in 0..500 {
        written(stream.answer().await);
    }
    let (mut ask, mut lines, mut pages) = (get("big"), 0, 0);
    loop {
        stream.send(vec![command(1, b"", Body::GetCart(ask.clone()))]).await;
        let page = shown_cart(stream.answer().await);
        lines += page.lines.len();
        pages += 1;
        ask.page_token = page.next_page_token;
        if ask.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(lines, 500);
    assert!(pages > 10, "{pages} pages");
    drop(stream);
    server.drain().await.unwrap();
}
