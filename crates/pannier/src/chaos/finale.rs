//! The end: all is mended; what is there?
//!
//! Replicas must become equal within a stated time. Then every replica is asked itself, also one
//! that served nobody: a store is not right because those that clients happened to ask are.

use super::book::Book;
use super::calls::shown;
use super::judge::Judgement;
use super::machines::Machines;
use super::machines::NEWCOMER;
use super::shopper::Shopper;
use super::story::Who;
use super::view::View;
use crate::fail::Fail;
use crate::hex;
use crate::replay::{Check, Findings, Inners, converge, equal};
use orset::{Kind, Member};
use pannier_client::{Client, ClientSettings, Error};
use pannier_proto::Token;
use pannier_replica::doors::clock::Clock;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long replicas may take to become equal once all is mended.
pub const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// How long a session may take to be answered then.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// How often an object is asked for at one replica.
const ASKED: usize = 20;
/// Objects that are asked for at once.
const AT_ONCE: usize = 16;

/// What the end was like.
pub struct Finale {
    /// From the moment when all was mended until the replicas were equal.
    pub settled_us: Option<u64>,
    /// Objects, each read at each replica.
    pub objects: u64,
    /// What was held to what.
    pub checks: Vec<Check>,
}

/// Converges, reads everything everywhere, and judges.
pub async fn finale(
    book: &Arc<Book>,
    shoppers: Vec<Shopper>,
    replicas: &[(&'static str, Member, SocketAddr)],
    inners: &Inners,
) -> Result<Finale, Fail> {
    let clock = Clock::start();
    let converged = converge(inners, SETTLES_WITHIN).await;
    let settled_us = converged.is_ok().then(|| clock.now().mono_us);
    let detail = match &converged {
        Ok(()) => "all vectors are equal".to_owned(),
        Err(lacking) => format!("not within {SETTLES_WITHIN:?}: {}", lacking.join("; ")),
    };
    let mut checks = vec![Check::new("converged", converged.is_ok(), detail)];
    checks.push(equal(inners).await?);

    let away = |error: Error| Fail::Away(format!("the last look: {error}"));
    let mut looking = JoinSet::new();
    for mut shopper in shoppers {
        looking.spawn(async move { shopper.look_again(ANSWERS_WITHIN).await });
    }
    while let Some(looked) = looking.join_next().await {
        looked.map_err(|error| Fail::Away(error.to_string()))?.map_err(away)?;
    }

    let (objects, unread, judgement) = (book.objects(), Findings::default(), Judgement::default());
    let mut first: Option<Vec<View>> = None;
    let mut unequal = Findings::default();
    for (name, member, address) in replicas {
        let views = everything(&objects, *member, *address, name, &unread).await?;
        judgement.of(name, &views, &book.open().history);
        match &first {
            Some(first) => differences(&objects, first, &views, name, &mut unequal),
            None => first = Some(views),
        }
    }
    let fine = format!("{} objects at {} replicas", objects.len(), replicas.len());
    let all_read = unread.is_empty() && !objects.is_empty();
    checks.push(Check::new("every replica shows everything", all_read, unread.detail(&*fine)));
    checks.push(Check::new("and the same", unequal.is_empty(), unequal.detail(&*fine)));
    checks.extend(judgement.checks(&fine));
    let pages = book.open();
    let fine = format!("{} reads held against what their sessions knew", {
        book.counts.reads.load(std::sync::atomic::Ordering::Relaxed)
    });
    let backwards = &pages.backwards;
    let name = "sessions never go backwards";
    checks.push(Check::new(name, backwards.is_empty(), backwards.detail(fine)));
    let unanswered = &pages.unanswered;
    let fine = format!("all, within {ANSWERS_WITHIN:?}");
    let name = "sessions are answered in the end";
    checks.push(Check::new(name, unanswered.is_empty(), unanswered.detail(fine)));
    let unexplained = &pages.unexplained;
    let name = "errors are explained by the faults";
    checks.push(Check::new(name, unexplained.is_empty(), unexplained.detail("all")));
    Ok(Finale { settled_us, objects: objects.len() as u64, checks })
}

/// Kills every replica once more: what each recovers is what it had.
pub async fn reopened(machines: &mut Machines, inners: &Inners) -> Result<Check, Fail> {
    let before = totals(inners).await?;
    machines.kill(Who::All).await?;
    machines.restart(Who::All).await?;
    // Connections of before are gone; whoever answers here has another.
    let lacking = converge(inners, SETTLES_WITHIN).await.err().unwrap_or_default();
    let after = totals(inners).await?;
    let holds = lacking.is_empty() && before == after;
    let detail = match (holds, lacking.is_empty()) {
        (true, _) => {
            format!("{} replicas killed, {} state hashes as before", before.len(), after.len())
        }
        (false, false) => lacking.join("; "),
        (false, true) => {
            format!("hashes before: {}; after: {}", before.join(", "), after.join(", "))
        }
    };
    Ok(Check::new("what is recovered is what was there", holds, detail))
}

async fn totals(inners: &Inners) -> Result<Vec<String>, Fail> {
    let mut totals = Vec::new();
    for (name, inner) in inners {
        totals.push(format!("{name} {}", hex::encode(&inner.cut().await?.total)));
    }
    Ok(totals)
}

/// What one replica shows, asked itself.
async fn everything(
    objects: &[(Kind, String)],
    member: Member,
    address: SocketAddr,
    name: &str,
    unread: &Findings,
) -> Result<Vec<View>, Fail> {
    let away = |error: Error| Fail::Away(format!("{name}: {error}"));
    let client = Client::connect(ClientSettings::new([address.to_string()])).await.map_err(away)?;
    let mut views = vec![View::default(); objects.len()];
    let mut left = objects.iter().enumerate();
    let mut asking = JoinSet::new();
    loop {
        for (at, (kind, object)) in left.by_ref().take(AT_ONCE - asking.len()) {
            let (client, kind, object) = (client.clone(), *kind, object.clone());
            asking.spawn(async move { (at, ask(&client, member, kind, &object).await) });
        }
        let Some(asked) = asking.join_next().await else { break };
        let (at, answer) = asked.map_err(|error| Fail::Away(error.to_string()))?;
        match answer {
            Ok(view) => views[at] = view,
            Err(error) => unread.add(|| format!("{name} does not show {}: {error}", objects[at].1)),
        }
    }
    client.close().await;
    Ok(views)
}

/// One object, by that member and no other.
async fn ask(client: &Client, member: Member, kind: Kind, name: &str) -> Result<View, Error> {
    let mut asked = 0;
    loop {
        let session = client.session()?;
        asked += 1;
        match shown(&session, kind, name).await {
            Ok(view) => {
                let home = Token::decode(&session.token()).ok().and_then(|token| token.home);
                return match home == Some(member) {
                    true => Ok(view),
                    false => Err(Error::BadAnswer("another member answered")),
                };
            }
            Err(error) if asked >= ASKED => return Err(error),
            Err(_) => {}
        }
    }
}

fn differences(
    objects: &[(Kind, String)],
    first: &[View],
    views: &[View],
    name: &str,
    unequal: &mut Findings,
) {
    for (at, (_, object)) in objects.iter().enumerate() {
        if first[at] != views[at] {
            unequal.add(|| format!("{name} shows {object} differently"));
        }
    }
}

/// What the processes said of themselves.
pub struct Said {
    /// Neither alarms nor panics.
    pub checks: [Check; 2],
    /// How often somebody lacked what was in nobody's log any more.
    pub snapshots: u64,
}

/// Alarms and panics in what the processes said; of a wrong clock, or of a disk that went back,
/// alarms are wanted.
pub fn said(logs: &[(&'static str, PathBuf)], clocks: bool, disks: bool) -> Said {
    let (alarms, panics) = (Findings::default(), Findings::default());
    let mut snapshots = 0;
    let known = [(clocks, "ClockSkew", "clocks"), (disks, "WentBack", "disks that went back")];
    let wanted = known.into_iter().filter(|(is_wanted, ..)| *is_wanted);
    let wanted = wanted.map(|(_, alarm, of)| (alarm, of));
    let is_wanted = |line: &str| wanted.clone().any(|(alarm, _)| line.contains(alarm));
    for (name, path) in logs {
        // One that never said anything has no file.
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            if line.contains("panicked at") {
                panics.add(|| format!("{name}: {line}"));
            } else if line.contains("replica alarm") && line.contains("NeedsSnapshot") {
                snapshots += 1;
            } else if *name == NEWCOMER && line.contains("alarm=Closed") {
                // What one must say that comes back and was closed (`decommission.rs`).
            } else if line.contains("replica alarm") && !is_wanted(line) {
                alarms.add(|| format!("{name}: {line}"));
            }
        }
    }
    let wanted = wanted.map(|(_, of)| of).collect::<Vec<_>>().join(" and of ");
    let none = if wanted.is_empty() { "none".into() } else { format!("none but of {wanted}") };
    let checks = [
        Check::new("no alarms", alarms.is_empty(), alarms.detail(none)),
        Check::new("no panics", panics.is_empty(), panics.detail("none")),
    ];
    Said { checks, snapshots }
}
