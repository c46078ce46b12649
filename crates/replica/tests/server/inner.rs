//! The inner listener: what operators, scrapers and balancers ask.

use crate::served::{add, carts, channel, get, ids, one, raw, soon, vector_of, with_token};
use orset::Member;
use pannier_proto::v1;
use pannier_proto::v1::admin_client::AdminClient;
use pannier_replica::Replica;
use pannier_replica::server::{Server, ServerSettings, Sockets};
use pannier_replica::store::memory::MemoryDisk;
use pannier_replica::transport::grpc::{LinkSettings, Links};
use std::collections::{BTreeMap, BTreeSet};
use tokio::runtime::Handle;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// Three members, linked over their inner listeners.
fn three() -> Vec<Server> {
    let members: Vec<_> = (1..=3).map(|at| Member::from_bytes([at; 16])).collect();
    let bind = |_: &Member| {
        let settings = ServerSettings::on_free_ports();
        (Sockets::bind(&settings).unwrap(), settings)
    };
    let sockets: Vec<_> = members.iter().map(bind).collect();
    let addresses: BTreeMap<_, _> = members
        .iter()
        .zip(&sockets)
        .map(|(member, (sockets, _))| (*member, sockets.inner_address().unwrap().to_string()))
        .collect();
    let open = |(member, (sockets, settings)): (&Member, (Sockets, ServerSettings))| {
        let mut peers = addresses.clone();
        peers.remove(member);
        let links =
            Links::new("test", *member, peers, LinkSettings::default(), Handle::current()).unwrap();
        let builder = Replica::builder().memory(&MemoryDisk::new()).member(*member);
        let replica = builder.cluster("test").join(&members, &links).open().unwrap();
        let server = Server::builder(replica).settings(settings).links(&links);
        server.sockets(sockets).start().unwrap()
    };
    members.iter().zip(sockets).map(open).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_moves_between_linked_servers_and_admin_sees_them_agree() {
    let servers = three();
    let mut ids = ids();
    let mut token = bytes::Bytes::new();
    for turn in 0..30 {
        let mut carts = carts(&servers[turn % 3]).await;
        let ask = with_token(add(&mut ids, "ada", "lamp", 1), &token);
        token = crate::served::token_of(&carts.add(ask).await.unwrap());
        let shown = carts.get(with_token(get("ada"), &token)).await.unwrap().into_inner();
        assert_eq!(shown.lines[0].quantity, turn as u64 + 1);
    }
    let seen = vector_of(&token);
    soon("agreement", async {
        loop {
            let mut hashes = BTreeSet::new();
            for server in &servers {
                let mut admin = AdminClient::new(channel(server.inner_address()).await);
                let frontier = admin.get_frontier(v1::GetFrontierRequest {}).await.unwrap();
                let hash = admin.get_state_hash(v1::GetStateHashRequest::default()).await.unwrap();
                let hash = hash.into_inner();
                assert!(frontier.into_inner().vector.len() <= hash.vector.len());
                let vector = pannier_proto::convert::vector_from(&hash.vector).unwrap();
                hashes.insert((vector.covers(&seen), hash.total.to_vec()));
            }
            if hashes.len() == 1 && hashes.iter().all(|(covers, _)| *covers) {
                break;
            }
        }
    })
    .await;
    let mut admin = AdminClient::new(channel(servers[0].inner_address()).await);
    let status = admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((&*status.cluster, &*status.engine, status.ready), ("test", "memory", true));
    assert_eq!((status.ops, status.alarms), (10, 0));
    assert_eq!(status.member, vec![1; 16]);
    let members = admin.list_members(v1::ListMembersRequest {}).await.unwrap().into_inner().members;
    assert_eq!(members.len(), 3);
    assert_eq!((&*members[0].address, members[0].connected), ("", false));
    for (at, member) in members.iter().enumerate().skip(1) {
        assert_eq!(member.address, servers[at].inner_address().to_string());
        assert!(member.connected && member.heard_ms_ago.is_some());
    }
    for server in &servers {
        let (_, text) = raw::page(server.inner_address(), "/metrics").await;
        let families = read_metrics(&text);
        assert_eq!(families["pannier_peer_unacknowledged"].samples.len(), 2);
        assert_eq!(families["pannier_peer_connected"].samples.len(), 2);
        assert_eq!(families["pannier_peer_heard_seconds"].samples.len(), 2);
    }
    for server in servers {
        server.drain().await.unwrap();
    }
}

#[tokio::test]
async fn pages_for_operators() {
    let server = one();
    let inner = server.inner_address();
    assert_eq!(raw::page(inner, "/healthz").await, ("HTTP/1.1 200 OK".into(), "alive\n".into()));
    assert_eq!(raw::page(inner, "/readyz").await, ("HTTP/1.1 200 OK".into(), "ready\n".into()));
    assert_eq!(raw::page(inner, "/nothing").await.0, "HTTP/1.1 404 Not Found");
    let (mut carts, mut ids) = (carts(&server).await, ids());
    for _ in 0..3 {
        carts.add(add(&mut ids, "ada", "lamp", 1)).await.unwrap();
    }
    carts.add(with_token(add(&mut ids, "ada", "lamp", 1), b"nonsense")).await.unwrap_err();
    let (_, text) = raw::page(inner, "/metrics").await;
    let families = read_metrics(&text);
    let value = |name: &str| families[name].samples[""];
    assert_eq!(value("pannier_ops_total"), 3.0);
    assert_eq!(value("pannier_calls_total"), 4.0);
    assert_eq!(value("pannier_ready"), 1.0);
    assert_eq!(value("pannier_alarms_total"), 0.0);
    assert_eq!(value("pannier_connections"), 1.0);
    let refusals = &families["pannier_refusals_total"].samples;
    assert_eq!(refusals["{reason=\"TOKEN_MALFORMED\"}"], 1.0);
    assert_eq!(refusals.len(), pannier_proto::errors::TABLE.len());
    let syncs = &families["pannier_sync_seconds"].samples;
    assert_eq!(syncs["_count"], value("pannier_rounds_total"));
    server.drain().await.unwrap();
}

#[tokio::test]
async fn the_public_listener_tells_what_it_serves() {
    let server = one();
    let mut reflection = ServerReflectionClient::new(channel(server.public_address()).await);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection.server_reflection_info(tokio_stream::iter([ask])).await.unwrap();
    let answer = soon("an answer", answers.into_inner().message()).await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list: {answer:?}");
    };
    let names: BTreeSet<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["Carts", "Sets", "Counters", "Executor", "Watcher"] {
        assert!(names.contains(&format!("pannier.v1.{name}")), "{names:?}");
    }
    drop(reflection);
    server.drain().await.unwrap();
}

struct Family {
    /// By what follows the family's name.
    samples: BTreeMap<String, f64>,
}

/// Reads the text format, and is strict about it.
fn read_metrics(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, (String, Family)> = BTreeMap::new();
    let mut current = String::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(!help.is_empty() && !families.contains_key(name), "{name} twice");
            assert!(name.starts_with("pannier_"));
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
            current = name.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, current);
            assert!(["gauge", "counter", "histogram"].contains(&kind));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            let family = Family { samples: BTreeMap::new() };
            families.insert(current.clone(), (kind.to_owned(), family));
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let rest = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line}: no family"));
            let (kind, family) = families.get_mut(&current).unwrap();
            let labels = rest.find('{').map_or("", |at| &rest[at..]);
            assert!(labels.is_empty() || labels.ends_with("\"}"), "{line}");
            let part = &rest[..rest.len() - labels.len()];
            let parts: &[&str] =
                if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(parts.contains(&part), "{line}");
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite());
            assert!(family.samples.insert(rest.to_owned(), value).is_none(), "{line}: twice");
        }
    }
    for (kind, family) in families.values() {
        if kind == "histogram" {
            let mut buckets: Vec<(f64, f64)> = Vec::new();
            for (name, count) in &family.samples {
                if let Some(end) = name.strip_prefix("_bucket{le=\"") {
                    let end = end.strip_suffix("\"}").unwrap();
                    let end = if end == "+Inf" { f64::INFINITY } else { end.parse().unwrap() };
                    buckets.push((end, *count));
                }
            }
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.is_sorted_by(|one, other| one.1 <= other.1), "{buckets:?}");
            let (end, all) = *buckets.last().unwrap();
            assert_eq!((end, all), (f64::INFINITY, family.samples["_count"]));
        }
    }
    families.into_iter().map(|(name, (_, family))| (name, family)).collect()
}
