//! Calls through a real gateway to fake replicas that die, hang, lag and refuse.

use crate::world::fake::{Does, Fake, Says, behind};
use crate::world::{Running, add, at_home, failure, header, member, served_by, within};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::metadata;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

async fn three() -> ([Fake; 3], Running) {
    let fakes = [1, 2, 3].map(Fake::start);
    let gateway = Running::over(&fakes.each_ref(), |_| ()).await;
    (fakes, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_served_at_home_and_told_so() {
    let (fakes, gateway) = three().await;
    let mut client = gateway.client().await;
    for fake in &fakes {
        let response = client.add(at_home(fake.member, add(7))).await.unwrap();
        assert_eq!(served_by(&response), fake.member.to_string());
        assert_eq!(response.get_ref().taken, 7);
        assert_eq!(header(&response, "pannier-tries"), "", "one try is not told");
        let token = metadata::token(response.metadata()).unwrap();
        assert_eq!(token.home, Some(fake.member), "the replica's own metadata comes through");
    }
    assert_eq!(fakes.map(|fake| fake.seen().ops), [[7], [7], [7]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_keys_go_one_way_and_no_key_goes_somewhere() {
    let (_fakes, gateway) = three().await;
    let mut client = gateway.client().await;
    let mut seen = std::collections::BTreeSet::new();
    for key in 0..20_u8 {
        let mut by = Vec::new();
        for _ in 0..3 {
            let mut request = Request::new(add(1));
            let value = tonic::metadata::MetadataValue::from_bytes(&[key]);
            request.metadata_mut().insert_bin(metadata::SESSION, value);
            by.push(served_by(&client.add(request).await.unwrap()));
        }
        by.dedup();
        assert_eq!(by.len(), 1);
        seen.extend(by);
    }
    assert_eq!(seen.len(), 3, "twenty sessions have met all three");
    assert!(client.add(add(1)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_was_never_there_is_replaced() {
    let (mut gone, there) = (Fake::start(1), Fake::start(2));
    gone.kill();
    let gateway = Running::over(&[&gone, &there], |_| ()).await;
    let response = gateway.client().await.add(at_home(gone.member, add(1))).await.unwrap();
    assert_eq!(served_by(&response), there.member.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_dies_in_the_middle_of_a_call_is_replaced_and_the_call_is_answered() {
    let (mut fakes, gateway) = three().await;
    let home = fakes[0].member;
    fakes[0].does(Does::Hang);
    let mut client = gateway.client().await;
    let under_way = tokio::spawn(async move { client.add(at_home(home, add(9))).await });
    fakes[0].was_asked(1).await;
    fakes[0].kill();
    let response = within(under_way).await.unwrap().unwrap();
    assert_ne!(served_by(&response), home.to_string());
    assert_eq!(header(&response, "pannier-tries"), "2");
    assert_eq!(header(&response, "pannier-unanswered"), "1", "it may have been done there as well");
    // The same op id at both: that is what makes it safe.
    let ops: Vec<Vec<u8>> = fakes.iter().map(|fake| fake.seen().ops).collect();
    assert_eq!(ops.concat(), [9, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_lost_when_a_home_dies_under_load_and_home_is_home_again_after() {
    let (mut fakes, gateway) = three().await;
    let home = fakes[0].member;
    let client = gateway.client().await;
    let callers: Vec<_> = (0..64_u8)
        .map(|op| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let mut elsewhere = 0;
                // Until each caller was moved: at the latest when home is dead.
                while elsewhere < 5 {
                    let response = client.add(at_home(home, add(op))).await?;
                    elsewhere += u32::from(served_by(&response) != home.to_string());
                }
                Ok::<_, tonic::Status>(())
            })
        })
        .collect();
    fakes[0].was_asked(500).await;
    fakes[0].kill();
    for caller in callers {
        within(caller).await.unwrap().unwrap();
    }
    gateway.sees(&fakes[0], "away").await;
    fakes[0].restart().await;
    gateway.sees(&fakes[0], "well").await;
    let response = client.clone().add(at_home(home, add(1))).await.unwrap();
    assert_eq!(served_by(&response), home.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_at_home_is_tried_elsewhere() {
    let (fakes, gateway) = three().await;
    fakes[0].does(Does::Refuse(behind()));
    let response = gateway.client().await.add(at_home(fakes[0].member, add(1))).await.unwrap();
    assert_ne!(served_by(&response), fakes[0].member.to_string());
    assert_eq!(header(&response, "pannier-tries"), "2");
    assert_eq!(header(&response, "pannier-unanswered"), "", "BEHIND is an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_everywhere_is_behind_and_each_was_asked_once() {
    let (fakes, gateway) = three().await;
    fakes.iter().for_each(|fake| {
        fake.does(Does::Refuse(behind()));
    });
    let status = gateway.client().await.add(at_home(fakes[0].member, add(1))).await.unwrap_err();
    assert_eq!(failure(&status), behind(), "as the replica said it");
    assert_eq!(fakes.map(|fake| fake.seen().ops), [[1], [1], [1]]);
    assert_eq!(gateway.metric("behind_total").await, 1);
}

/// The region that took the writes is gone: what its sessions need to hear is BEHIND.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_home_does_not_hide_that_the_others_are_behind() {
    let (mut fakes, gateway) = three().await;
    fakes[1].does(Does::Refuse(behind()));
    fakes[2].does(Does::Refuse(behind()));
    fakes[0].kill();
    let mut client = gateway.client().await;
    let status = client.add(at_home(fakes[0].member, add(1))).await.unwrap_err();
    assert_eq!(failure(&status), behind());
    // One is behind, and the other breaks: BEHIND it is.
    fakes[2].does(Does::Refuse(Failure::new(Reason::StorageFailed, "disk")));
    let status = client.add(at_home(fakes[1].member, add(1))).await.unwrap_err();
    assert_eq!(failure(&status), behind());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_replicas_refuse_for_good_is_passed_on_as_it_is() {
    let (fakes, gateway) = three().await;
    let mut client = gateway.client().await;
    use Reason::{Lost, NotReplicated, OpIdReused, Overloaded, TokenForeign, TooFewPeers};
    for reason in [OpIdReused, Lost, Overloaded, TokenForeign, NotReplicated, TooFewPeers] {
        let said = Failure::new(reason, "as it is").with("count", 3);
        fakes[1].does(Does::Refuse(said.clone()));
        let status = client.add(at_home(fakes[1].member, add(1))).await.unwrap_err();
        assert_eq!(failure(&status), said);
    }
    assert_eq!(fakes[0].seen().ops.len() + fakes[2].seen().ops.len(), 0, "nobody else was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_says_unavailable_is_tried_elsewhere() {
    let (fakes, gateway) = three().await;
    let mut client = gateway.client().await;
    let storage = Failure::new(Reason::StorageFailed, "disk");
    for does in [Does::Plain, Does::Garbled, Does::Refuse(storage)] {
        fakes[0].does(does);
        let response = client.add(at_home(fakes[0].member, add(1))).await.unwrap();
        assert_ne!(served_by(&response), fakes[0].member.to_string());
    }
    // Everywhere, and without a reason: UNAVAILABLE, and nobody claims that nothing changed.
    fakes.iter().for_each(|fake| {
        fake.does(Does::Plain);
    });
    let status = client.add(at_home(fakes[0].member, add(1))).await.unwrap_err();
    assert_eq!(failure(&status).reason, Reason::ReplicaLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drains_is_asked_no_more() {
    let (fakes, gateway) = three().await;
    let mut client = gateway.client().await;
    fakes[0].does(Does::Refuse(Failure::new(Reason::Draining, "bye")));
    fakes[0].says(Says::NotServing);
    for _ in 0..5 {
        assert!(client.add(at_home(fakes[0].member, add(1))).await.is_ok());
    }
    gateway.sees(&fakes[0], "away").await;
    let asked = fakes[0].seen().ops.len();
    assert!(client.add(at_home(fakes[0].member, add(1))).await.is_ok());
    assert_eq!(fakes[0].seen().ops.len(), asked);
}

/// It takes connections and calls, answers its probes, and never a call.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_hangs_is_left_and_then_left_alone() {
    let (hangs, fine) = (Fake::start(1), Fake::start(2));
    let gateway = Running::over(&[&hangs, &fine], |settings| {
        settings.try_ms = 50;
        settings.breaker.failures = 2;
        settings.breaker.eject_us = 3_600_000_000;
        settings.breaker.eject_most_us = 3_600_000_000;
    })
    .await;
    hangs.does(Does::Hang);
    let mut client = gateway.client().await;
    for _ in 0..4 {
        let response = client.add(at_home(hangs.member, add(1))).await.unwrap();
        assert_eq!(served_by(&response), fine.member.to_string());
    }
    assert_eq!(hangs.seen().ops, [1, 1], "ejected after two");
    gateway.sees(&hangs, "ejected").await;
    let told = hangs.seen().timeouts[0].clone().unwrap();
    assert!(told.ends_with('u') && told.len() <= 6, "it was told how long it had: {told}");
}

/// It takes connections and says nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_replica_is_never_asked() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fine = Fake::start(2);
    let mut settings = crate::world::settings(&[silent.local_addr().unwrap(), fine.address]);
    settings.probe_timeout_ms = 1_500;
    let gateway = Running::start(settings).await;
    let response = gateway.client().await.add(at_home(member(1), add(1))).await.unwrap();
    assert_eq!(served_by(&response), fine.member.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_answering_probes_is_suspected_and_asked_only_when_nobody_else_is_there() {
    let (quiet, mut fine) = (Fake::start(1), Fake::start(2));
    let gateway = Running::over(&[&quiet, &fine], |settings| {
        settings.probe_timeout_ms = 2_000;
    })
    .await;
    gateway.sees(&quiet, "well").await;
    quiet.says(Says::Nothing);
    gateway.sees(&quiet, "suspect").await;
    let mut client = gateway.client().await;
    let response = client.add(at_home(quiet.member, add(1))).await.unwrap();
    assert_eq!(served_by(&response), fine.member.to_string());
    fine.kill();
    gateway.sees(&fine, "away").await;
    let response = client.add(at_home(quiet.member, add(1))).await.unwrap();
    assert_eq!(served_by(&response), quiet.member.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_no_replica_and_not_serving() {
    let mut gone = Fake::start(1);
    gone.kill();
    let gateway = Running::over(&[&gone], |_| ()).await;
    let status = gateway.client().await.add(add(1)).await.unwrap_err();
    let said = failure(&status);
    assert_eq!((status.code(), said.reason), (Code::Unavailable, Reason::NoReplica));
    assert!(said.retry.is_some());
    let mut health = HealthClient::new(gateway.channel().await);
    let check = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(check.into_inner().status, 2, "NOT_SERVING");
    assert_eq!(gateway.get("/readyz").await.0, 503);
    assert_eq!(gateway.get("/healthz").await.0, 200);

    gone.restart().await;
    gateway.sees(&gone, "well").await;
    assert!(gateway.client().await.add(add(1)).await.is_ok());
    assert_eq!(gateway.get("/readyz").await.0, 200);
    let service = HealthCheckRequest { service: "pannier.v1.Carts".into() };
    let mut watch = health.watch(service).await.unwrap().into_inner();
    within(async { while watch.message().await.unwrap().unwrap().status != 1 {} }).await;
}

/// A deadline that is too short for any replica: DEADLINE, and the replica is not blamed for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_answers_in_time_gets_deadline() {
    let hangs = Fake::start(1);
    let gateway = Running::over(&[&hangs], |settings| {
        settings.breaker.failures = 1;
        settings.deadline_ms = 30;
    })
    .await;
    hangs.does(Does::Hang);
    let mut client = gateway.client().await;
    for _ in 0..3 {
        let status = client.add(add(1)).await.unwrap_err();
        let said = failure(&status);
        assert_eq!((status.code(), said.reason), (Code::DeadlineExceeded, Reason::Deadline));
    }
    gateway.sees(&hangs, "well").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_with_different_members_both_serve() {
    let fakes = [1, 2, 3].map(Fake::start);
    let [one, two, three] = &fakes;
    let gateways =
        [Running::over(&[one, two], |_| ()).await, Running::over(&[three, two], |_| ()).await];
    for fake in &fakes {
        for (gateway, known) in gateways.iter().zip([[one, two], [three, two]]) {
            let mut client = gateway.client().await;
            let by = served_by(&client.add(at_home(fake.member, add(1))).await.unwrap());
            let knows = known.iter().any(|known| known.member == fake.member);
            assert_eq!(by == fake.member.to_string(), knows);
            let again = served_by(&client.add(at_home(fake.member, add(1))).await.unwrap());
            assert_eq!(by, again, "a home it does not know has one stand-in");
        }
    }
}

/// A large request goes to one replica only; it is passed on all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_to_keep_is_passed_on_once() {
    let (fakes, gateway) = three().await;
    let mut client = gateway.client().await;
    let mut large = add(1);
    large.namespace = vec![7; 1 << 20].into();
    assert!(client.add(at_home(fakes[0].member, large.clone())).await.is_ok());
    assert_eq!(gateway.metric("unkept_total").await, 1);
    fakes[0].does(Does::Refuse(behind()));
    let status = client.add(at_home(fakes[0].member, large)).await.unwrap_err();
    assert_eq!(failure(&status), behind());
    assert_eq!(fakes[0].seen().ops, [1, 1]);
    assert_eq!(fakes[1].seen().ops.len() + fakes[2].seen().ops.len(), 0);
}
