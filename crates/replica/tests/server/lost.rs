//! What a session saw and is gone for good: told in every form of answer, with what is left of it.

use crate::served::{Stream, carts, channel, command, get, in_memory, reason, serve, with_token};
use bytes::Bytes;
use orset::{Dot, Member, Origin, VersionVector};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::metadata::TOKEN;
use pannier_proto::v1::answer::Body as Said;
use pannier_proto::v1::command::Body;
use pannier_proto::v1::stocks_client::StocksClient;
use pannier_proto::v1::watcher_client::WatcherClient;
use pannier_proto::{Token, fingerprint, v1};
use pannier_replica::protocol::Message;
use pannier_replica::protocol::membership::{Final, Record, Talk};
use pannier_replica::server::Server;
use pannier_replica::transport::{AttachError, Recipient, Transport};
use std::sync::{Arc, Mutex};
use tonic::Status;

const ME: Member = Member::from_bytes([1; 16]);
const PEER: Member = Member::from_bytes([2; 16]);
const GONE: Origin = Origin::of(PEER, 1);
const OTHER: Origin = Origin::of(PEER, 2);

/// A peer that says what the test says.
#[derive(Clone, Default)]
struct Peer(Arc<Mutex<Option<Recipient>>>);

impl Transport for Peer {
    fn attach(&self, _: Member, _: &[Member], to: Recipient) -> Result<(), AttachError> {
        *self.0.lock().unwrap() = Some(to);
        Ok(())
    }

    fn detach(&self, _: Member) {}

    fn send(&self, _: Member, _: Member, _: Message) {}
}

/// A replica that knows that of `GONE` nobody has anything.
async fn one() -> Server {
    let peer = Peer::default();
    let replica = in_memory().member(ME).join(&[ME, PEER], &peer).open().unwrap();
    let finals = [(GONE, Final { seq: 0, number: 1 })].into_iter().collect();
    let members = [ME, PEER].into_iter().collect();
    let record = Arc::new(Record { number: 1, change: 7, members, finals, ..Record::default() });
    let to = peer.0.lock().unwrap().clone().unwrap();
    to.deliver(PEER, Message::Membership(Talk::Record(record)));
    while replica.status().unwrap().membership.number == 0 {
        tokio::task::yield_now().await;
    }
    let (start, vector) = (replica.status().unwrap().origin, VersionVector::new());
    to.deliver(PEER, Message::Standing { start, vector });
    serve(replica, |_| ())
}

fn token() -> Bytes {
    let vector = [Dot::new(GONE, 3), Dot::new(OTHER, 9)].into_iter().collect();
    Token { cluster: fingerprint("test"), vector, ..Token::default() }.encode().into()
}

/// What it is told: three commits are gone, and the session goes on with the rest.
fn is_lost(failure: &Failure, token: &[u8]) {
    assert_eq!((failure.reason, failure.metadata["count"].as_str()), (Reason::Lost, "3"));
    assert_eq!(failure.metadata["origin"], GONE.to_string());
    let left = Token::decode(token).unwrap();
    assert_eq!((left.vector.get(GONE), left.vector.get(OTHER)), (0, 9));
    assert_eq!(left.cluster, fingerprint("test"));
}

fn is_told(status: &Status) {
    assert_eq!(reason(status), Reason::Lost);
    let token = status.metadata().get_bin(TOKEN).unwrap().to_bytes().unwrap();
    is_lost(&Failure::from_status(status).unwrap(), &token);
}

#[tokio::test]
async fn what_is_gone_for_good_is_told_in_every_form_with_what_is_left() {
    let server = one().await;
    let mut carts = carts(&server).await;
    is_told(&carts.get(with_token(get("ada"), &token())).await.unwrap_err());
    let batch = v1::BatchGetCarts { carts: vec![get("ada"), get("bob")] };
    is_told(&carts.batch_get(with_token(batch, &token())).await.unwrap_err());

    // Of a bulk all calls are of that session: it is told once, of the whole.
    let release = |n: u64| {
        let op_id = Bytes::copy_from_slice(
            orset::OpIdSession::new(1_700_000_000, n).next_id().unwrap().as_bytes(),
        );
        let ask = v1::ReleaseStock { op_id, namespace: "shop".into(), stock: "phone".into() };
        v1::StockCall { body: Some(v1::stock_call::Body::Release(ask)) }
    };
    let bulk = v1::BulkStocks { calls: vec![release(1), v1::StockCall::default(), release(2)] };
    let mut stocks = StocksClient::new(channel(server.public_address()).await);
    is_told(&stocks.bulk(with_token(bulk, &token())).await.unwrap_err());

    let mut stream = Stream::open(&server).await;
    stream.send(vec![command(7, &token(), Body::GetCart(get("ada")))]).await;
    let answer = stream.answer().await;
    let Some(Said::Failure(failure)) = answer.body else { panic!("{answer:?}") };
    is_lost(&Failure::from_wire(&failure).unwrap(), &answer.token);

    let mut watcher = WatcherClient::new(channel(server.public_address()).await);
    let object =
        v1::ObjectRef { kind: v1::Kind::Cart.into(), namespace: "shop".into(), id: "ada".into() };
    let request = v1::WatchRequest { object: Some(object), token: token(), ..Default::default() };
    let mut events = watcher.watch(request).await.unwrap().into_inner();
    is_told(&events.message().await.unwrap_err());
}
