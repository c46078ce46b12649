//! Backups over the wire: of one cut while clients write, one at a time, and never in the way of
//! an end.

use crate::served::{add, carts, channel, ids, in_memory, one, reason, serve, soon};
use pannier_proto::convert;
use pannier_proto::errors::Reason;
use pannier_proto::v1::backups_client::BackupsClient;
use pannier_proto::v1::{BackupPiece, TakeBackupRequest};
use pannier_replica::backup::{Chain, Fate, Part, Reader, Restoring, Whole};
use pannier_replica::server::Server;
use pannier_replica::store::EngineKind;
use pannier_replica::store::directory::Directory;
use pannier_replica::{Replica, Settings};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

async fn backups(server: &Server) -> BackupsClient<Channel> {
    BackupsClient::new(channel(server.inner_address()).await)
}

async fn taken(server: &Server, ask: TakeBackupRequest) -> Result<Vec<u8>, Status> {
    let mut client = backups(server).await;
    let mut pieces = soon("a backup", client.take_backup(ask)).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = soon("a piece", pieces.message()).await? {
        assert_eq!(piece.needs_full, "");
        bytes.extend_from_slice(&piece.data);
    }
    Ok(bytes)
}

fn parts(bytes: &[u8], chain: &mut Chain) -> (Vec<Part>, Whole) {
    let (mut reader, mut parts) = (Reader::new(), Vec::new());
    reader.push(bytes);
    while let Some(part) = reader.part().unwrap() {
        parts.push(part);
    }
    reader.finish().unwrap();
    let Some(Part::End(whole)) = parts.last() else { panic!("it has no end") };
    let whole = Whole::clone(whole);
    chain.check(&whole.header).unwrap();
    chain.add(&whole);
    (parts, whole)
}

/// What the member says of its rows at the vector is what comes of restoring it, on each engine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_taken_while_clients_write_is_of_one_cut() {
    let mut settings = Settings::default();
    settings.protocol.checkpoint_rows = 64;
    let server = serve(in_memory().settings(settings).open().unwrap(), |_| ());
    let write = |from: u32, many: u32| {
        let address = server.public_address();
        async move {
            let mut client =
                pannier_proto::v1::carts_client::CartsClient::new(channel(address).await);
            let mut ids = ids();
            for at in from..from + many {
                let ask = add(&mut ids, &format!("{}", at % 17), &format!("p{at}"), 1);
                client.add(ask).await.unwrap();
            }
        }
    };
    write(0, 300).await;
    let load = tokio::spawn(write(300, 300));
    let mut chain = Chain::new();
    let mut all = Vec::new();
    for _ in 0..4 {
        let next = chain.next();
        let (after, index, previous) = match &next {
            None => (Vec::new(), 0, 0),
            Some((after, link)) => (convert::vector(after), link.index, link.previous),
        };
        let ask = TakeBackupRequest { after, index, previous, bytes_per_second: 0 };
        let bytes = taken(&server, ask).await.unwrap();
        let (parts, whole) = parts(&bytes, &mut chain);
        assert_eq!(whole.header.is_full(), next.is_none());
        assert_eq!(&*whole.header.engine, "memory");
        all.push(parts);
    }
    load.await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("data");
    let mut restoring = Restoring::begin(&to, EngineKind::Fjall, None, Fate::Member).unwrap();
    for part in all.into_iter().flatten() {
        restoring.part(part).unwrap();
    }
    // Nobody's, until it is done.
    assert!(!to.join("pannier").exists());
    let restored = restoring.done().unwrap();
    assert!(restored.is_compared && restored.vector.covers(&chain.last().unwrap().from));
    let member = restored.member;
    assert_eq!(Directory::owner(&to).unwrap(), member);
    let replica = Replica::builder().directory(&to).member(member).open().unwrap();
    assert!(replica.is_catching_up(), "it is marked");
    assert_eq!(replica.status().unwrap().total, restored.total);
    replica.close().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_wrongly_is_refused_and_one_is_taken_at_a_time() {
    let server = one();
    let entry = |byte: u8| pannier_proto::v1::VectorEntry { origin: vec![byte; 16].into(), seq: 1 };
    let ask =
        |after, index, previous| TakeBackupRequest { after, index, previous, bytes_per_second: 0 };
    for bad in [
        ask(vec![entry(1)], 0, 0),
        ask(Vec::new(), 0, 7),
        ask(vec![entry(2), entry(1)], 1, 7),
        ask(vec![entry(0)], 1, 7),
        ask(vec![entry(0xff)], 1, 7),
    ] {
        let refused = taken(&server, bad.clone()).await.unwrap_err();
        assert_eq!(reason(&refused), Reason::Bounds, "{bad:?}");
    }
    // Of what it never had, no increment: and it says what to do.
    let mut client = backups(&server).await;
    let mut pieces = client.take_backup(ask(vec![entry(1)], 1, 7)).await.unwrap().into_inner();
    let piece = soon("a word", pieces.message()).await.unwrap().unwrap();
    assert!(piece.needs_full.contains("went back"), "{piece:?}");
    assert_eq!(pieces.message().await.unwrap(), None);

    let slow = TakeBackupRequest { bytes_per_second: 1, ..TakeBackupRequest::default() };
    let mut first: Streaming<BackupPiece> =
        client.take_backup(slow.clone()).await.unwrap().into_inner();
    assert!(soon("a piece", first.message()).await.unwrap().is_some());
    let refused = taken(&server, TakeBackupRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::Overloaded);
    // Who goes away makes room.
    drop(first);
    soon("room", async { while taken(&server, TakeBackupRequest::default()).await.is_err() {} })
        .await;
    // A drain does not wait for one.
    let mut last = soon("room", async {
        loop {
            if let Ok(begun) = client.take_backup(slow.clone()).await {
                break begun.into_inner();
            }
        }
    })
    .await;
    let mut carts = carts(&server).await;
    carts.add(add(&mut ids(), "ada", "lamp", 1)).await.unwrap();
    assert!(soon("a piece", last.message()).await.unwrap().is_some());
    soon("the drain", server.drain()).await.unwrap();
    let ended = soon("the end", async {
        loop {
            match last.message().await {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(status) => break Some(status),
            }
        }
    })
    .await;
    assert_eq!(ended.map(|status| reason(&status)), Some(Reason::Draining));
}
