//! The end of a day that was played over the wire: have the replicas become one?
//!
//! Replicas are asked by their inner listeners for one synced cut each: what they have, and the
//! hash of it. Equal vectors say that all have heard the same; equal hashes, that all made the same
//! of it. (Rows are not compared one by one, as in one process: the hash is over just those rows.)

use super::checks;
use super::compare;
use super::dispatch::Played;
use super::floor::Floor;
use super::oracle::Oracle;
use super::progress::Progress;
use super::report::{Check, Summary};
use super::shop::{Shelves, Shop};
use crate::admin::{self, Inner};
use crate::fail::Fail;
use crate::hex;
use orset::{Lattice, VersionVector};
use pannier_replica::doors::clock::Clock;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Between two looks at whether the replicas are equal by now: nobody tells an outsider.
const LOOK: Duration = Duration::from_millis(20);

/// Who is asked, under the names that the report calls them by.
pub type Inners = [(String, Inner)];

/// Converges, compares and judges. The floor is that of a finished day.
pub fn settle<S: Shop + Shelves>(
    runtime: &Runtime,
    floor: &Floor<'_, S>,
    oracle: &Oracle,
    played: Played,
    seed: u64,
    inners: &Inners,
    progress: &impl Progress,
) -> Result<Summary, Fail> {
    let (clock, patience) = (Clock::start(), floor.patience);
    progress.says("converging");
    let converged = runtime.block_on(converge(inners, patience));
    let convergence_us = converged.is_ok().then(|| clock.now().mono_us);
    progress.says("comparing");
    let mut checks = vec![
        checks::answered(floor),
        checks::sessions(floor),
        checks::converged(&converged, patience),
        runtime.block_on(equal(inners))?,
    ];
    checks.extend(checks::promises(&compare::values(floor.shop, oracle)?));
    checks.push(runtime.block_on(alarms(inners))?);
    Ok(Summary { convergence_us, checks, ..checks::summary(floor, seed, played) })
}

/// Waits until all vectors are equal; on giving up, says who lacks how much.
pub async fn converge(inners: &Inners, patience: Duration) -> Result<(), Vec<String>> {
    let clock = Clock::start();
    loop {
        let lacking = lacking(inners).await;
        if lacking.is_empty() {
            return Ok(());
        }
        if clock.now().mono_us >= patience.as_micros() as u64 {
            return Err(lacking);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn lacking(inners: &Inners) -> Vec<String> {
    let (mut vectors, mut silent) = (Vec::new(), Vec::new());
    for (name, inner) in inners {
        match inner.frontier().await {
            Ok(vector) => vectors.push((name, vector)),
            Err(fail) => silent.push(format!("{name} does not say: {fail}")),
        }
    }
    let mut all = VersionVector::new();
    vectors.iter().for_each(|(_, vector)| all.join(vector));
    for (name, vector) in vectors {
        match admin::lacks(&vector, &all) {
            0 => {}
            commits => silent.push(format!("{name} lacks {commits} commits")),
        }
    }
    silent
}

/// Whether equal replicas made the same of what they heard.
pub async fn equal(inners: &Inners) -> Result<Check, Fail> {
    let mut cuts = Vec::new();
    for (name, inner) in inners {
        cuts.push((name, inner.cut().await?));
    }
    let first = cuts.first().map(|(name, cut)| (*name, cut.clone()));
    let differs = first.as_ref().and_then(|(one, first)| {
        let (other, _) = cuts.iter().find(|(_, cut)| cut != first)?;
        Some(format!("{one} and {other} have different state"))
    });
    let hash = first.map(|(_, cut)| hex::encode(&cut.total)).unwrap_or_default();
    let fine = format!("{} state hashes, all {hash}", cuts.len());
    // One that is alone is equal to nobody.
    let holds = differs.is_none() && cuts.len() > 1;
    Ok(Check::new("replicas are equal", holds, differs.unwrap_or(fine)))
}

async fn alarms(inners: &Inners) -> Result<Check, Fail> {
    let (mut count, mut first) = (0, None);
    for (name, inner) in inners {
        let status = inner.status().await?;
        count += status.alarms;
        let told = status.last_alarms.into_iter().next();
        first = first.or(told.map(|alarm| format!("{alarm} at {name}")));
    }
    Ok(checks::alarms(count, first.or((count > 0).then(|| "one without words".into()))))
}
