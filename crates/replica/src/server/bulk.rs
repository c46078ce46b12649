//! Many calls of stocks in one request: each is decided by itself, and answered in its place.
//!
//! The calls are given to the writer in the order of the list, in a lane of their own, so they
//! share rounds and syncs. All are of one session; so what that session, or this replica, is
//! refused for meets all of them alike, and is told once: as a status, which a gateway acts upon.
//!
//! U1  at most `IN_FLIGHT` are under way at once; the next goes when the first of them is answered.
//!     The answer of each is bounded, so that all of them fit a message.
//! U2  a call that cannot be read, or is refused, gets its failure; the others go on.
//! U3  when every call that was asked is refused for one reason that has changed nothing and may
//!     pass, or because the session has lost something, the whole is refused for it.
//! U4  when the time is over, what is not answered may be done or not, and what was not begun is
//!     not: sent again under the same op ids, all of it is done once.

use super::ask::{self, Question, Terms};
use super::shared::{Shared, Time};
use super::unary::{join, other_kind};
use crate::driver::Outcome;
use orset::VersionVector;
use pannier_proto::convert::{self, Asked};
use pannier_proto::errors::{Failure, Reason, StateChange};
use pannier_proto::limits::PAGE_BYTES;
use pannier_proto::metadata;
use pannier_proto::v1::answer::Body;
use pannier_proto::v1::{self, stock_result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::oneshot;
use tonic::Request;

/// Calls of one bulk that the writer has at once.
const IN_FLIGHT: usize = 128;

type Vector = Arc<VersionVector>;
type Done = Result<v1::StockAnswer, Box<v1::Failure>>;

/// One that the writer has.
struct UnderWay {
    index: usize,
    outcome: oneshot::Receiver<Outcome>,
    question: Question,
}

/// A bulk under way. See the file's head.
struct Bulk<'a> {
    shared: &'a Shared,
    time: Time,
    /// By the place in the list.
    results: Vec<Option<Done>>,
    /// What the session has seen, with the answers so far.
    vector: Vector,
    under_way: VecDeque<UnderWay>,
    /// Refusals of calls that were asked.
    refused: Vec<(usize, Failure)>,
    asked: usize,
}

/// All calls of a request; also what its session has seen then.
pub(super) async fn bulk(
    shared: &Arc<Shared>,
    request: Request<v1::BulkStocks>,
) -> Result<(v1::BulkOfStocks, Vector), Failure> {
    let _place = shared.enter(&shared.counts.calls, shared.settings.calls, "calls")?;
    shared.counts.calls_total.fetch_add(1, Relaxed);
    let (after, time) = (shared.session(request.metadata())?, shared.time(request.metadata()));
    let time = time.on_peers(metadata::peers(request.metadata())?);
    let calls = convert::bulk(request.into_inner())?;
    let lane = shared.new_lane();
    let mut bulk = Bulk {
        shared,
        time,
        results: calls.iter().map(|_| None).collect(),
        vector: after.clone(),
        under_way: VecDeque::with_capacity(IN_FLIGHT),
        refused: Vec::new(),
        asked: 0,
    };
    for (index, call) in calls.into_iter().enumerate() {
        if bulk.under_way.len() >= IN_FLIGHT {
            bulk.finish_first().await;
        }
        match call {
            Ok(asked) => {
                bulk.begin(index, asked, Terms { lane, ..time.terms(after.clone(), PAGE_BYTES) })
            }
            Err(failure) => bulk.results[index] = Some(told(shared, failure)),
        }
    }
    while !bulk.under_way.is_empty() {
        bulk.finish_first().await;
    }
    bulk.done()
}

fn told(shared: &Shared, failure: Failure) -> Done {
    Err(Box::new(shared.counts.told(failure).to_wire()))
}

impl Bulk<'_> {
    fn begin(&mut self, index: usize, asked: Asked, terms: Terms) {
        self.asked += 1;
        if self.time.is_over() {
            let late = "the deadline passed before this call was begun";
            self.refused.push((index, Failure::new(Reason::Deadline, late)));
            return;
        }
        let (command, question) = ask::command(asked, terms);
        match self.shared.queue(command) {
            Ok(outcome) => self.under_way.push_back(UnderWay { index, outcome, question }),
            Err(failure) => self.refused.push((index, failure)),
        }
    }

    async fn finish_first(&mut self) {
        let Some(UnderWay { index, outcome, question }) = self.under_way.pop_front() else {
            return;
        };
        match self.shared.finish(outcome, &question, self.time).await {
            Ok((body, seen)) => {
                join(&mut self.vector, &seen);
                self.results[index] = Some(match body {
                    Body::StockAnswer(answer) => Ok(answer),
                    // It was done, and is not where it was to be.
                    Body::Failure(failure) => {
                        self.shared.counts.count(Reason::NotReplicated);
                        Err(Box::new(failure))
                    }
                    _ => told(self.shared, other_kind()),
                });
            }
            Err(failure) => self.refused.push((index, failure)),
        }
    }

    fn done(mut self) -> Result<(v1::BulkOfStocks, Vector), Failure> {
        if self.asked > 0 && self.refused.len() == self.asked {
            let first = self.refused[0].1.reason;
            let is_of_all = self.refused.iter().all(|(_, failure)| failure.reason == first);
            if is_of_all && may_be_of_all(&self.refused[0].1) {
                // U3
                return Err(self.refused.swap_remove(0).1);
            }
        }
        for (index, failure) in std::mem::take(&mut self.refused) {
            self.results[index] = Some(told(self.shared, failure));
        }
        let result = |done: Option<Done>| {
            let done = done.unwrap_or_else(|| told(self.shared, other_kind()));
            let body = match done {
                Ok(answer) => stock_result::Body::StockAnswer(answer),
                Err(failure) => stock_result::Body::Failure(*failure),
            };
            v1::StockResult { body: Some(body) }
        };
        let results = std::mem::take(&mut self.results).into_iter().map(result).collect();
        Ok((v1::BulkOfStocks { results }, self.vector))
    }
}

/// Whether a refusal says something of the session or of the replica, and nothing of the call.
fn may_be_of_all(failure: &Failure) -> bool {
    failure.reason == Reason::Lost
        || (failure.state() == StateChange::None && failure.retry.is_some())
}
