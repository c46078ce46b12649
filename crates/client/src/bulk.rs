//! Many calls of stocks at once, for systems that keep inventory.
//!
//! Question: calls of one session that do not commute go one by one; who imports a thousand of them
//! waits for a thousand answers. Answer: they are one request, which the replica takes in a piece;
//! each call is decided by itself under its own op id, and all of them share the session.
//!
//! L1  sent again, the same call is done once: so what broke off is sent again, and of what was
//!     answered only those that may yet be cured, until the deadline.
//! L2  the session sees whatever was answered, also when others were refused.
//!
//! A bulk has a connection of its own for as long as it takes: it is large, and must not stand
//! before the calls of a shopper.

use crate::client::{Client, Inner};
use crate::core::{Answered, Dice, Judged, Next, Resume, Verdict, judge, judge_error};
use crate::doors::chance;
use crate::error::Error;
use crate::session::Session;
use crate::stock::StockAnswer;
use crate::view::FromAnswer;
use crate::wire::request;
use bytes::Bytes;
use orset::stock::Ask;
use orset::{Kind, ObjectKey, OpId};
use pannier_proto::convert::stock_call;
use pannier_proto::errors::{Reason, StateChange};
use pannier_proto::limits::BULK_MAX;
use pannier_proto::v1::answer::Body as Said;
use pannier_proto::v1::stock_result::Body as Came;
use pannier_proto::v1::stocks_client::StocksClient;
use pannier_proto::{metadata, v1};
use std::time::Duration;
use tonic::Status;

/// What bulks are routed by, beside the numbers of streams and watches.
const WHICH: u32 = 1 << 24;

/// How often to look whether the session's own writes are there again.
const LOOK_AGAIN_US: u64 = 10_000;

/// One call of a bulk: a restock, a write-off, a commit, a release or a return.
#[derive(Clone, Debug, PartialEq)]
pub struct StockCall {
    wire: v1::StockCall,
}

impl StockCall {
    /// Under this op id; every retry carries the same. A refusal for what no bulk takes.
    pub fn new(
        op: OpId,
        namespace: impl AsRef<[u8]>,
        stock: impl AsRef<[u8]>,
        ask: &Ask,
    ) -> Result<Self, Error> {
        ask.check(u64::MAX).map_err(|what| Error::BadAsk { what })?;
        let object = ObjectKey::new(Kind::Stock, namespace.as_ref(), stock.as_ref())?;
        Ok(Self { wire: stock_call(op, &object, ask)? })
    }
}

/// What one call of a bulk came to.
pub type StockResult = Result<StockAnswer, Error>;

impl Client {
    /// Does 1 to 1,000 calls of stocks, each by itself; what they came to, in their order. An error
    /// is of all of them: then none is known to be done, and `state_change` says whether some may
    /// be.
    pub async fn bulk(&self, calls: &[StockCall]) -> Result<Vec<StockResult>, Error> {
        Bulk::new(self, None, calls)?.run().await
    }
}

impl Session {
    /// As `Client::bulk`, for this session: its calls see what the session has written and read,
    /// and the session then sees them.
    pub async fn bulk(&self, calls: &[StockCall]) -> Result<Vec<StockResult>, Error> {
        Bulk::new(&self.client(), Some(self), calls)?.run().await
    }
}

/// Where one call stands.
#[derive(Clone, Default)]
struct Standing {
    result: Option<StockResult>,
    /// A try of it may have taken effect.
    unsure: bool,
    /// What stood in its way last.
    last: Option<Box<Error>>,
}

struct Bulk<'a> {
    client: Client,
    session: Option<&'a Session>,
    calls: &'a [StockCall],
    standings: Vec<Standing>,
    resume: Resume,
    dice: Dice,
    endpoint: usize,
    deadline_us: u64,
    /// Not before then.
    wait_us: u64,
}

impl<'a> Bulk<'a> {
    fn new(
        client: &Client,
        session: Option<&'a Session>,
        calls: &'a [StockCall],
    ) -> Result<Self, Error> {
        if calls.is_empty() {
            return Err(Error::BadAsk { what: "a bulk without calls" });
        }
        if calls.len() > BULK_MAX {
            return Err(Error::TooMany { what: "calls of a bulk", max: BULK_MAX });
        }
        let shared = &client.inner.shared;
        let patience_us = u64::try_from(shared.settings.deadline.as_micros()).unwrap_or(u64::MAX);
        Ok(Self {
            client: client.clone(),
            session,
            calls,
            standings: vec![Standing::default(); calls.len()],
            resume: Resume::new(shared.settings.core.backoff, patience_us),
            dice: Dice::new(chance::bits()?),
            endpoint: 0,
            deadline_us: shared.clock.now_us().saturating_add(patience_us),
            wait_us: 0,
        })
    }

    fn inner(&self) -> &Inner {
        &self.client.inner
    }

    async fn run(mut self) -> Result<Vec<StockResult>, Error> {
        loop {
            let clock = self.inner().shared.clock;
            clock.until(self.wait_us.min(self.deadline_us)).await;
            self.wait_for_own_writes().await;
            if clock.now_us() >= self.deadline_us {
                return self.late();
            }
            match self.attempt().await {
                Ok(response) => {
                    self.resume.shown();
                    self.answered(response)?;
                }
                Err(status) => self.broke(&status)?,
            }
            if self.standings.iter().all(|standing| standing.result.is_some()) {
                return Ok(self.results());
            }
        }
    }

    fn results(self) -> Vec<StockResult> {
        self.standings.into_iter().filter_map(|standing| standing.result).collect()
    }

    /// What is not answered by now is told so, beside what is.
    fn late(mut self) -> Result<Vec<StockResult>, Error> {
        for standing in &mut self.standings {
            let (unsure, last) = (standing.unsure, standing.last.take());
            let state = if unsure { StateChange::Unknown } else { StateChange::None };
            standing.result.get_or_insert(Err(Error::TimedOut { state, last }));
        }
        Ok(self.results())
    }

    /// What is being written again is not in the session's token.
    async fn wait_for_own_writes(&self) {
        let Some(session) = self.session else { return };
        let (number, shared) = (session.inner.number, &self.inner().shared);
        while shared.with(|core, _| core.is_writing_again(number)) {
            let now_us = shared.clock.now_us();
            if now_us >= self.deadline_us {
                return;
            }
            shared.clock.until(now_us + LOOK_AGAIN_US).await;
        }
    }

    async fn attempt(&mut self) -> Result<tonic::Response<v1::BulkOfStocks>, Status> {
        let shared = &self.client.inner.shared;
        let open = self.calls.iter().zip(&self.standings);
        let open = open.filter(|(_, standing)| standing.result.is_none());
        let calls = open.map(|(call, _)| call.wire.clone()).collect();
        let token = self.session.map_or_else(Bytes::new, Session::token);
        let mut ask = request(v1::BulkStocks { calls }, shared.key, WHICH, &token);
        let peers = self.session.and_then(Session::peers).unwrap_or(shared.settings.peers);
        if peers > 0 {
            ask.metadata_mut().insert(metadata::PEERS, peers.into());
        }
        let left_us = self.deadline_us.saturating_sub(shared.clock.now_us());
        let left = Duration::from_micros(left_us);
        ask.set_timeout(left);
        let channel = shared.dial.dial_lazily(&shared.endpoints[self.endpoint]);
        let mut stocks =
            StocksClient::new(channel).max_decoding_message_size(shared.settings.answer_bytes_max);
        match tokio::time::timeout(left, stocks.bulk(ask)).await {
            Ok(answered) => answered,
            Err(late) => Err(Status::deadline_exceeded(late.to_string())),
        }
    }

    /// Takes in what was answered; what may yet be cured stays open.
    fn answered(&mut self, response: tonic::Response<v1::BulkOfStocks>) -> Result<(), Error> {
        let shared = self.client.inner.shared.clone();
        let mut regressed = false;
        if let Some(session) = self.session {
            let number = session.inner.number;
            let token = metadata::token_bytes(response.metadata()).ok().flatten();
            let token = token.ok_or(Error::BadAnswer("it has no token"))?;
            shared.with(|core, _| {
                regressed = core.take_regressed(number);
                core.learn(number, &token)
            })?;
        }
        let results = response.into_inner().results;
        let open = self.standings.iter().filter(|standing| standing.result.is_none()).count();
        if results.len() != open {
            return Err(Error::BadAnswer("it has another number of results than of calls"));
        }
        let now_us = shared.clock.now_us();
        let (mut after_us, mut results) = (0, results.into_iter());
        for standing in self.standings.iter_mut().filter(|standing| standing.result.is_none()) {
            let Some(wire) = results.next() else { break };
            after_us = after_us.max(standing.take(wire, regressed).unwrap_or_default());
        }
        self.wait_us = now_us.saturating_add(after_us);
        Ok(())
    }

    /// Decides when to send again; an error is for the caller.
    fn broke(&mut self, status: &Status) -> Result<(), Error> {
        let shared = self.client.inner.shared.clone();
        let now_us = shared.clock.now_us();
        self.endpoint = (self.endpoint + 1) % shared.endpoints.len();
        self.wait_us = now_us;
        let judged = judge_error(Error::from(status));
        for standing in self.standings.iter_mut().filter(|standing| standing.result.is_none()) {
            standing.unsure |= judged.unsure;
            standing.last = Some(Box::new(judged.error.clone()));
        }
        let number = self.session.map(|session| session.inner.number);
        match self.resume.broke(judged.clone(), now_us, &mut self.dice) {
            Next::At(us) => self.wait_us = us,
            Next::GiveWay(origin, have, us) => {
                let gave = number.is_some_and(|number| {
                    shared.with(|core, now_us| core.give_way(number, origin, have, now_us))
                });
                self.wait_us = if gave { now_us } else { us };
            }
            Next::GoOn => {
                let left = metadata::token_bytes(status.metadata()).ok().flatten();
                let (Some(left), Some(number)) = (left, number) else { return self.tell(judged) };
                if shared.cut_to(number, &left) {
                    return self.tell(judged);
                }
            }
            // The deadline says when there is no going on.
            Next::Tell(_) if !matches!(judged.verdict, Verdict::Final) => self.wait_us = now_us,
            Next::Tell(_) => return self.tell(judged),
        }
        Ok(())
    }

    /// What is open is refused for this: all of it, or what is left of it.
    fn tell(&mut self, judged: Judged) -> Result<(), Error> {
        let is_all = self.standings.iter().all(|standing| standing.result.is_none());
        if is_all {
            return Err(unsure(judged.error, self.standings.iter().any(|it| it.unsure)));
        }
        for standing in self.standings.iter_mut().filter(|standing| standing.result.is_none()) {
            standing.result = Some(Err(unsure(judged.error.clone(), standing.unsure)));
        }
        Ok(())
    }
}

/// A refusal of the last try changed nothing; an earlier one may have.
fn unsure(error: Error, unsure: bool) -> Error {
    match error {
        Error::Refused { failure, .. } if unsure => {
            Error::Refused { failure, state: StateChange::Unknown }
        }
        other => other,
    }
}

impl Standing {
    /// Takes a result in; how long to wait before it is tried again, if it is.
    fn take(&mut self, wire: v1::StockResult, regressed: bool) -> Option<u64> {
        let failure = match wire.body {
            None => {
                let error = "a result in it is empty, or of a kind from tomorrow";
                self.result = Some(Err(Error::BadAnswer(error)));
                return None;
            }
            Some(Came::StockAnswer(answer)) => {
                let answered = Answered { body: Said::StockAnswer(answer), regressed };
                self.result = Some(StockAnswer::from_answer(answered, 0));
                return None;
            }
            Some(Came::Failure(failure)) => failure,
        };
        let judged = judge(&failure);
        self.unsure |= judged.unsure;
        if let Verdict::Again { after_us, .. } | Verdict::Behind { after_us, .. } = judged.verdict {
            self.last = Some(Box::new(judged.error));
            return Some(after_us);
        }
        let stands = short_of_peers(&failure, regressed);
        self.result = Some(Err(stands.unwrap_or_else(|| unsure(judged.error, self.unsure))));
        None
    }
}

/// What was done, and how far it got.
fn short_of_peers(failure: &v1::Failure, regressed: bool) -> Option<Error> {
    let answer = failure
        .stock_answer
        .clone()
        .filter(|_| failure.reason == Reason::NotReplicated.as_str())?;
    let number = |key: &str| failure.metadata.get(key).and_then(|it| it.parse().ok());
    let (peers, reached) = (number("peers").unwrap_or_default(), number("reached"));
    let answered = Answered { body: Said::StockAnswer(answer), regressed };
    Some(match StockAnswer::from_answer(answered, 0) {
        Ok(answer) => {
            let (answer, reached) = (Box::new(answer), reached.unwrap_or_default());
            Error::StockNotReplicated { answer, peers, reached }
        }
        Err(error) => error,
    })
}
