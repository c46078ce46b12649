//! Replicas that speak over gRPC, on a network that breaks: they converge when it is whole, and
//! those that can speak are not held up by those that cannot.

use crate::wire::proxy::Mode;
use crate::wire::{Cluster, eventually, quick, runtime, watchful};
use pannier_replica::transport::grpc::LinkSettings;
use pannier_replica::{Replica, Session};

/// Adds to some carts, all in flight at once.
fn write(replica: &Replica, carts: usize, adds: usize, attributes: usize) {
    let attributes = vec![7; attributes];
    let add = |at: usize| {
        let cart = replica.cart("shop", format!("cart-{}", at % carts)).unwrap();
        cart.add_with(format!("product-{}", at % 7), 1, &attributes)
    };
    let pending: Vec<_> = (0..adds).map(add).collect();
    pending.into_iter().for_each(|pending| drop(pending.wait().unwrap()));
}

#[test]
fn three_replicas_over_grpc_converge() {
    let cluster = Cluster::open_all(3, LinkSettings::default());
    for _ in 0..5 {
        (0..3).for_each(|at| write(cluster.replica(at), 20, 100, 10));
    }
    let status = cluster.converged();
    assert_eq!(status.vector.len(), 3);
    cluster.all_linked();
    for from in 0..3 {
        cluster.eventually("all is acknowledged", || {
            let left = cluster.replica(from).status().unwrap().unacknowledged;
            left.len() == 2 && left.values().all(|left| *left == 0)
        });
        for to in (0..3).filter(|to| *to != from) {
            let peer = cluster.peer(from, to);
            assert!(peer.messages_in > 0 && peer.messages_out > 0, "{peer:?}");
            assert!(peer.bytes_in > peer.messages_in && peer.bytes_out > peer.messages_out);
            assert_eq!((peer.malformed, peer.reconnects, peer.dropped_in), (0, 0, 0));
            assert!(peer.heard_ms_ago.is_some());
            assert_eq!(peer.last_failure, None);
        }
    }
}

#[test]
fn a_replica_that_was_closed_catches_up_when_it_is_opened_again() {
    let mut cluster = Cluster::open_all(3, quick());
    write(cluster.replica(2), 5, 50, 10);
    cluster.converged();
    cluster.all_linked();
    cluster.close(2);
    (0..2).for_each(|at| write(cluster.replica(at), 5, 200, 10));
    cluster.converged();
    cluster.eventually("it is missed", || !cluster.peer(0, 2).connected);
    assert!(cluster.replica(0).status().unwrap().unacknowledged[&cluster.members[2]] > 0);
    cluster.open(2);
    write(cluster.replica(2), 5, 50, 10);
    let status = cluster.converged();
    assert_eq!(status.vector.len(), 4);
    cluster.all_linked();
    assert!(cluster.peer(0, 2).reconnects >= 1);
    assert_eq!(cluster.peer(0, 1).reconnects, 0);
}

#[test]
fn a_member_whose_links_stall_holds_up_nobody_and_memory_is_bounded() {
    let settings = LinkSettings { queue_bytes: 64 << 10, ..watchful() };
    let mut cluster = Cluster::new(3, settings);
    // The protocol would soon stop pushing of itself; here the queue must do without that.
    cluster.replica_settings.protocol.push_timeout_us = u64::MAX / 2;
    (0..3).for_each(|at| cluster.open(at));
    // A first write waits until a peer has answered: none may be left for when links break.
    (0..3).for_each(|at| write(cluster.replica(at), 5, 50, 10));
    cluster.converged();
    cluster.all_linked();
    cluster.break_both(0, 2, Mode::Stalled);
    cluster.break_both(1, 2, Mode::Stalled);

    let session = Session::begin().unwrap();
    for round in 0..40 {
        write(cluster.replica(0), 50, 200, 1_000);
        // Each of these waits until the other replica has what was written here.
        let cart = cluster.replica(0).cart("shop", "ada").unwrap().in_session(&session);
        cart.add("lamp", 1).wait().unwrap();
        let there = cluster.replica(1).cart("shop", "ada").unwrap().in_session(&session);
        assert_eq!(there.read().wait().unwrap().quantity(b"lamp"), round + 1);
        let peer = cluster.peer(0, 2);
        assert!(peer.queued_items <= 2 || peer.queued_bytes <= 65 << 10, "{peer:?}");
    }
    cluster.eventually("the dead links are found", || {
        (0..2).all(|at| !cluster.peer(at, 2).connected && !cluster.peer(2, at).connected)
    });
    let peer = cluster.peer(0, 2);
    assert!(peer.dropped_out > 0 && peer.last_failure.is_some(), "{peer:?}");
    assert_eq!(peer.queued_items, usize::from(peer.queued_bytes > 0));

    cluster.heal();
    write(cluster.replica(2), 5, 50, 10);
    cluster.converged();
    cluster.all_linked();
}

#[test]
fn links_that_are_cut_again_and_again_lose_nothing_in_the_end() {
    let mut cluster = Cluster::open_all(3, watchful());
    for turn in 0..12 {
        let (a, b) = (turn % 3, (turn + 1) % 3);
        let mode = if turn % 4 == 3 { Mode::Stalled } else { Mode::Cut };
        cluster.break_both(a, b, mode);
        (0..3).for_each(|at| write(cluster.replica(at), 10, 60, 100));
        cluster.heal();
        (0..3).for_each(|at| write(cluster.replica(at), 10, 60, 100));
    }
    cluster.converged();
    cluster.all_linked();
}

#[test]
fn a_replica_that_only_hears_and_one_that_only_speaks_converge_through_a_third() {
    let mut cluster = Cluster::open_all(3, quick());
    cluster.break_one(0, 1, Mode::Cut);
    (0..3).for_each(|at| write(cluster.replica(at), 10, 100, 10));
    cluster.converged();
    cluster.eventually("one direction is gone, the other is not", || {
        let (out, back) = (cluster.peer(0, 1), cluster.peer(1, 0));
        !out.connected && out.linked && back.connected && !back.linked
    });
    cluster.heal();
    cluster.all_linked();
    cluster.converged();
}

#[test]
fn members_whose_addresses_were_swapped_are_refused_until_it_is_mended() {
    let mut cluster = Cluster::new(3, quick());
    cluster.lead_astray(0, 1, 2);
    cluster.lead_astray(0, 2, 1);
    (0..3).for_each(|at| cluster.open(at));
    for to in 1..3 {
        cluster.eventually("the wrong one is refused", || {
            let failure = cluster.peer(0, to).last_failure;
            failure.is_some_and(|failure| failure.starts_with("WRONG_CLUSTER"))
        });
        assert_eq!((cluster.peer(0, to).messages_out, cluster.peer(0, to).connected), (0, false));
    }
    cluster.eventually("they count the wrong calls", || {
        (1..3).all(|at| cluster.site(at).links.refused() > 0)
    });
    cluster.heal();
    (0..3).for_each(|at| write(cluster.replica(at), 10, 100, 10));
    cluster.converged();
    cluster.all_linked();
}

#[test]
fn a_peer_of_another_cluster_gets_and_gives_nothing() {
    let mut cluster = Cluster::new(3, quick());
    cluster.names[2] = "other";
    (0..3).for_each(|at| cluster.open(at));
    // The third takes nothing in, since nobody has answered it.
    (0..2).for_each(|at| write(cluster.replica(at), 10, 100, 10));
    for (from, to) in [(0, 2), (1, 2), (2, 0), (2, 1)] {
        cluster.eventually("it is refused", || {
            let failure = cluster.peer(from, to).last_failure;
            failure.is_some_and(|failure| failure.starts_with("WRONG_CLUSTER"))
        });
        let peer = cluster.peer(from, to);
        assert_eq!((peer.messages_out, peer.messages_in, peer.linked), (0, 0, false));
    }
    cluster.eventually("the two of one cluster have each other's", || {
        (0..2).all(|at| cluster.replica(at).status().unwrap().vector.len() == 2)
    });
    assert_eq!(cluster.replica(2).status().unwrap().vector.len(), 0);
}

#[test]
fn closing_the_replicas_ends_every_task() {
    let runtime = runtime();
    let members = [1, 2].map(|at| orset::Member::from_bytes([at; 16]));
    // Nobody listens at the discard port: the first is left dialling.
    let mut addresses = ["127.0.0.1:9".to_owned(), String::new()];
    let mut open = Vec::new();
    for at in [1, 0] {
        let peers = [(members[1 - at], addresses[1 - at].clone())].into();
        let handle = runtime.handle().clone();
        let links = crate::wire::links("test", members[at], peers, handle);
        let listener = crate::wire::Listener::start(&runtime, &links);
        addresses[at] = listener.address.to_string();
        let builder = Replica::builder().memory(&Default::default()).member(members[at]);
        let replica = builder.join(&members, &links).open().unwrap();
        open.push((replica, links, listener));
    }
    eventually(&runtime, "one direction is linked", || open[1].1.peers()[0].connected);
    // The second cannot answer, so this waits.
    drop(open[1].0.cart("shop", "ada").unwrap().add("lamp", 1));
    for (replica, links, listener) in open {
        replica.close().unwrap();
        listener.stop(&runtime);
        assert!(!links.peers()[0].linked);
    }
    eventually(&runtime, "no task is left", || runtime.metrics().num_alive_tasks() == 0);
}
