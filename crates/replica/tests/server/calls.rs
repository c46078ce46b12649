//! The public services on real sockets: what they are for.

use crate::served::{
    Stream, add, carts, channel, command, get, ids, one, op_id, shown_cart, soon, token_of,
    vector_of, with_token, written,
};
use pannier_proto::v1;
use pannier_proto::v1::command::Body;
use pannier_proto::v1::counters_client::CountersClient;
use pannier_proto::v1::sets_client::SetsClient;
use pannier_proto::v1::watch_event::Value;
use pannier_proto::v1::watcher_client::WatcherClient;
use std::collections::BTreeSet;

#[tokio::test]
async fn carts_from_add_to_clear() {
    let server = one();
    let (mut carts, mut ids) = (carts(&server).await, ids());
    let first = carts.add(add(&mut ids, "ada", "lamp", 2)).await.unwrap();
    let token = token_of(&first);
    let dot = first.into_inner().dot.unwrap();
    assert_eq!(dot.origin, server.replica().origin().as_bytes().as_slice());
    assert_eq!(vector_of(&token).get(server.replica().origin()), dot.seq);
    let again = add(&mut ids, "ada", "ring", 1);
    carts.add(again.clone()).await.unwrap();
    assert_eq!(carts.add(again).await.unwrap().into_inner().dot, None, "known already");

    let shown = carts.get(with_token(get("ada"), &token)).await.unwrap();
    assert!(vector_of(&token_of(&shown)).covers(&vector_of(&token)));
    let shown = shown.into_inner();
    let lines: Vec<_> = shown.lines.iter().map(|line| (&line.product[..], line.quantity)).collect();
    assert_eq!(lines, [(b"lamp".as_slice(), 2), (b"ring", 1)]);
    assert!(!shown.stale && shown.next_page_token.is_empty());

    let taken = v1::DecrementInCart {
        op_id: op_id(&mut ids),
        namespace: "shop".into(),
        cart: "ada".into(),
        product: "lamp".into(),
        quantity: 5,
        seen: shown.seen.clone(),
    };
    assert_eq!(carts.decrement(taken).await.unwrap().into_inner().taken, 2);
    // An op that does not say what it saw is told what it ended, for its retries.
    let removed = v1::RemoveFromCart {
        op_id: op_id(&mut ids),
        namespace: "shop".into(),
        cart: "ada".into(),
        product: "ring".into(),
        seen: Default::default(),
    };
    let ended = carts.remove(removed.clone()).await.unwrap().into_inner().ended;
    let retried = v1::RemoveFromCart { seen: ended, ..removed };
    assert_eq!(carts.remove(retried).await.unwrap().into_inner().dot, None);
    let set = v1::SetInCart {
        op_id: op_id(&mut ids),
        namespace: "shop".into(),
        cart: "ada".into(),
        product: "lamp".into(),
        quantity: 7,
        attributes: "blue".into(),
        seen: Default::default(),
    };
    carts.set(set).await.unwrap();
    carts.add(add(&mut ids, "guest", "book", 3)).await.unwrap();
    let merge = v1::MergeCarts {
        op_id: op_id(&mut ids),
        namespace: "shop".into(),
        guest: "guest".into(),
        user: "ada".into(),
    };
    carts.merge(merge).await.unwrap();
    let batch = v1::BatchGetCarts { carts: vec![get("guest"), get("ada"), get("nobody")] };
    let batch = carts.batch_get(batch).await.unwrap().into_inner().carts;
    let sizes: Vec<_> = batch.iter().map(|cart| cart.lines.len()).collect();
    assert_eq!(sizes, [0, 2, 0]);
    assert_eq!(&batch[1].lines[1].entries[0].attributes[..], b"blue");
    let clear = v1::ClearCart {
        op_id: op_id(&mut ids),
        namespace: "shop".into(),
        cart: "ada".into(),
        seen: batch[1].seen.clone(),
    };
    carts.clear(clear).await.unwrap();
    assert!(carts.get(get("ada")).await.unwrap().into_inner().lines.is_empty());
    server.drain().await.unwrap();
}

#[tokio::test]
async fn sets_and_counters() {
    let (server, mut ids) = (one(), ids());
    let channel = channel(server.public_address()).await;
    let mut sets = SetsClient::new(channel.clone());
    for element in ["moon", "sun", "moon"] {
        let add = v1::AddToSet {
            op_id: op_id(&mut ids),
            namespace: "shop".into(),
            set: "ada".into(),
            element: element.into(),
            attributes: Default::default(),
        };
        sets.add(add).await.unwrap();
    }
    let ask = v1::GetSet { namespace: "shop".into(), set: "ada".into(), ..Default::default() };
    let shown = sets.get(ask.clone()).await.unwrap().into_inner();
    assert_eq!(shown.elements, ["moon", "sun"]);
    let remove = v1::RemoveFromSet {
        op_id: op_id(&mut ids),
        namespace: "shop".into(),
        set: "ada".into(),
        element: "moon".into(),
        seen: shown.seen,
    };
    sets.remove(remove).await.unwrap();
    let batch = v1::BatchGetSets { sets: vec![ask.clone(), ask] };
    let batch = sets.batch_get(batch).await.unwrap().into_inner().sets;
    assert!(batch.len() == 2 && batch.iter().all(|set| set.elements == ["sun"]));

    let mut counters = CountersClient::new(channel);
    for amount in [5, -7] {
        let add = v1::AddToCounter {
            op_id: op_id(&mut ids),
            namespace: "shop".into(),
            counter: "views".into(),
            amount,
        };
        counters.add(add).await.unwrap();
    }
    let ask = |counter: &str| v1::GetCounter {
        namespace: "shop".into(),
        counter: counter.to_owned().into(),
        allow_stale: false,
    };
    assert_eq!(counters.get(ask("views")).await.unwrap().into_inner().value, -2);
    let batch = v1::BatchGetCounters { counters: vec![ask("views"), ask("none")] };
    let batch = counters.batch_get(batch).await.unwrap().into_inner().counters;
    assert_eq!(batch.iter().map(|counter| counter.value).collect::<Vec<_>>(), [-2, 0]);
    server.drain().await.unwrap();
}

#[tokio::test]
async fn pages_and_lists_lead_on_to_the_end() {
    let server = one();
    let (mut carts, mut ids) = (carts(&server).await, ids());
    let mut stream = Stream::open(&server).await;
    let names: Vec<String> = (0..250).map(|at| format!("{}{at}", "x".repeat(at % 3))).collect();
    let adds = names.iter().map(|name| Body::AddToCart(add(&mut ids, "big", name, 1)));
    stream.send(adds.enumerate().map(|(id, body)| command(id as u64, b"", body)).collect()).await;
    let adds = names.iter().map(|name| Body::AddToCart(add(&mut ids, name, "lamp", 1)));
    stream.send(adds.enumerate().map(|(id, body)| command(id as u64, b"", body)).collect()).await;
    for _ in 0..500 {
        written(stream.answer().await);
    }
    let sorted: BTreeSet<_> = names.iter().map(|name| name.clone().into_bytes()).collect();
    let (mut ask, mut products) = (v1::GetCart { page_size: 40, ..get("big") }, Vec::new());
    loop {
        let page = carts.get(ask.clone()).await.unwrap().into_inner();
        assert!(page.lines.len() <= 40);
        products.extend(page.lines.into_iter().map(|line| line.product.to_vec()));
        ask.page_token = page.next_page_token;
        if ask.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(products, sorted.iter().cloned().collect::<Vec<_>>());

    let mut ask = v1::ListRequest { namespace: "shop".into(), page_size: 30, ..Default::default() };
    let mut listed = Vec::new();
    loop {
        let page = carts.list(ask.clone()).await.unwrap().into_inner();
        listed.extend(page.ids.into_iter().map(|id| id.to_vec()));
        ask.page_token = page.next_page_token;
        if ask.page_token.is_empty() {
            break;
        }
    }
    let mut all: Vec<_> = sorted.into_iter().chain([b"big".to_vec()]).collect();
    all.sort();
    assert_eq!(listed, all);
    drop(stream);
    server.drain().await.unwrap();
}

#[tokio::test]
async fn a_stream_takes_every_command_and_a_read_sees_what_its_stream_wrote() {
    let (server, mut ids) = (one(), ids());
    let mut stream = Stream::open(&server).await;
    let mut commands = Vec::new();
    for turn in 0..1_000 {
        let body = match turn % 2 {
            0 => Body::AddToCart(add(&mut ids, "ada", "lamp", 1)),
            _ => Body::GetCart(get("ada")),
        };
        commands.push(command(turn, b"", body));
    }
    stream.send(commands).await;
    for _ in 0..1_000 {
        let answer = stream.answer().await;
        let turn = answer.request_id;
        assert!(!answer.token.is_empty());
        if turn % 2 == 1 {
            assert_eq!(shown_cart(answer).lines[0].quantity, turn.div_ceil(2));
        } else {
            assert!(written(answer).dot.is_some());
        }
    }
    drop(stream.requests);
    assert!(soon("the end", stream.answers.message()).await.unwrap().is_none());
    server.drain().await.unwrap();
}

#[tokio::test]
async fn a_watch_shows_the_value_and_then_each_change() {
    let server = one();
    let (mut carts, mut ids) = (carts(&server).await, ids());
    let token = token_of(&carts.add(add(&mut ids, "ada", "lamp", 1)).await.unwrap());
    let mut watcher = WatcherClient::new(channel(server.public_address()).await);
    let object =
        v1::ObjectRef { kind: v1::Kind::Cart.into(), namespace: "shop".into(), id: "ada".into() };
    let ask = v1::WatchRequest { object: Some(object), token, ..Default::default() };
    let mut events = watcher.watch(ask).await.unwrap().into_inner();
    let mut shown = 0;
    for quantity in 1..=5 {
        while shown < quantity {
            let event = soon("an event", events.message()).await.unwrap().unwrap();
            let Some(Value::Cart(cart)) = event.value else { panic!("not a cart") };
            assert!(cart.lines[0].quantity >= shown);
            shown = cart.lines[0].quantity;
            assert!(!vector_of(&event.token).is_empty());
        }
        carts.add(add(&mut ids, "ada", "lamp", 1)).await.unwrap();
    }
    drop(events);
    server.drain().await.unwrap();
}
