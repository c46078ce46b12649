//! Asks every replica once a second what it has, for the picture.
//!
//! What one lacks is counted against what any of those that answered has. They are asked at the
//! same time and answer one after the other, so a few commits of lag are nobody's fault; a replica
//! that is down or paused does not answer, and neither lags nor is there. Nothing is judged by
//! this.

use super::book::Book;
use crate::admin::{Inner, lacks};
use orset::VersionVector;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_millis(900);

/// Never ends by itself.
pub async fn watch(book: Arc<Book>, inners: Vec<(String, Inner)>) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let mut asking = JoinSet::new();
        for (at, (_, inner)) in inners.iter().enumerate() {
            let inner = inner.clone();
            asking
                .spawn(async move { (at, tokio::time::timeout(PATIENCE, inner.frontier()).await) });
        }
        let (mut all, mut answers) = (VersionVector::new(), Vec::new());
        while let Some(asked) = asking.join_next().await {
            let Ok((at, answer)) = asked else { continue };
            let own = answer.ok().and_then(Result::ok);
            for dot in own.iter().flat_map(VersionVector::iter) {
                all.raise(dot.origin, dot.seq);
            }
            answers.push((at, own));
        }
        for (at, own) in answers {
            book.record.stands(at, own.map(|own| lacks(&own, &all)));
        }
    }
}
