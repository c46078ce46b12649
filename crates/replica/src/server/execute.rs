//! The Execute stream: commands in, answers out, hundreds of thousands a second.
//!
//! One state machine, polled by the connection: no task and no queue of its own. It is polled only
//! when the client takes answers, and it reads only when it may take commands; so a client that
//! does not read is not served, and one that sends too much waits, by the flow control of HTTP/2.
//!
//! ```text
//! messages ──> pending ──> ready ──> mailbox ──> writer
//!                                                  |
//! answers <── told <──────── sink <────────────────+
//! ```
//!
//! E1  commands go to the writer in the order sent, in one lane: a command that waits for its
//!     session holds up those behind it, and no other stream.
//! E2  a bad command is answered with a failure, and ends nothing.
//! E3  at most `stream_commands` are under way, `stream_reads` of them reads; a message may carry
//!     1,024 more. What is in memory for a stream is bounded by that.
//! E4  on drain, what is with the writer is answered; what was read and not yet given to it is not.
//!     Then the stream ends DRAINING: what has no answer is sent again elsewhere.

use super::ask::{self, Question, Terms};
use super::counts::Place;
use super::shared::{Shared, Stage};
use super::status;
use super::tokens::{TokenReader, TokenWriter};
use crate::driver::{Answer, Asked as Queued, NotTaken, Outcome, Sink, Slot};
use crate::protocol::Reply;
use pannier_proto::convert::Asked;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::limits::COMMANDS_MAX;
use pannier_proto::v1::answer::Body;
use pannier_proto::v1::{self, executor_server};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

/// Bytes of answers in one message, about: the rest goes into the next.
const ANSWER_BYTES: usize = 512 << 10;

/// The service.
#[derive(Clone)]
pub(super) struct Executor(pub Arc<Shared>);

#[tonic::async_trait]
impl executor_server::Executor for Executor {
    type ExecuteStream = Execution;

    async fn execute(
        &self,
        request: Request<Streaming<v1::ExecuteRequest>>,
    ) -> Result<Response<Execution>, Status> {
        let shared = &self.0;
        let place = shared.enter(&shared.counts.streams, shared.settings.streams, "streams");
        let place = place.map_err(|failure| shared.told(failure))?;
        Ok(Response::new(Execution::new(shared.clone(), place, request.into_inner())))
    }
}

/// A command between its arrival and its answer.
struct UnderWay {
    request_id: u64,
    question: Question,
}

/// Commands under way, by the number that the sink knows them by. Numbers are used again: the
/// client's own need not be unique.
#[derive(Default)]
struct Table {
    places: Vec<Option<UnderWay>>,
    free: Vec<usize>,
    reads: usize,
}

impl Table {
    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn put(&mut self, command: UnderWay) -> u64 {
        self.reads += usize::from(is_read(&command.question));
        match self.free.pop() {
            Some(at) => {
                self.places[at] = Some(command);
                at as u64
            }
            None => {
                self.places.push(Some(command));
                self.places.len() as u64 - 1
            }
        }
    }

    fn take(&mut self, number: u64) -> Option<UnderWay> {
        let command = self.places.get_mut(number as usize)?.take()?;
        self.free.push(number as usize);
        self.reads -= usize::from(is_read(&command.question));
        Some(command)
    }
}

const fn is_read(question: &Question) -> bool {
    matches!(question, Question::Read(_) | Question::List(..))
}

/// One stream. See the file's head.
pub(super) struct Execution {
    shared: Arc<Shared>,
    _place: Place,
    inbound: Streaming<v1::ExecuteRequest>,
    /// How the client's half ended.
    ended: Option<Result<(), Failure>>,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_over: bool,
    is_done: bool,
    /// Of the last message, what there was no room for yet.
    pending: VecDeque<v1::Command>,
    /// Numbered, and not with the writer yet.
    ready: VecDeque<Queued>,
    table: Table,
    sink: Arc<Sink>,
    /// Taken from the sink, and not told yet.
    collected: Vec<(u64, Outcome)>,
    told: Vec<v1::Answer>,
    told_bytes: usize,
    lane: u64,
    reader: TokenReader,
    writer: TokenWriter,
}

impl Execution {
    fn new(shared: Arc<Shared>, place: Place, inbound: Streaming<v1::ExecuteRequest>) -> Self {
        Self {
            over: Box::pin(Shared::over(shared.stages())),
            lane: shared.new_lane(),
            reader: TokenReader::new(shared.cluster),
            writer: TokenWriter::new(shared.cluster, shared.replica.member()),
            shared,
            _place: place,
            inbound,
            ended: None,
            is_over: false,
            is_done: false,
            pending: VecDeque::new(),
            ready: VecDeque::new(),
            table: Table::default(),
            sink: Arc::default(),
            collected: Vec::new(),
            told: Vec::new(),
            told_bytes: 0,
        }
    }

    // === Answers ===

    fn collect(&mut self, context: &Context<'_>) {
        if self.collected.is_empty() {
            self.sink.take(&mut self.collected, context);
            // They are told from the end, which is cheap; the order of answers promises nothing,
            // but in their own order they are easier to follow.
            self.collected.reverse();
        }
        while self.told.len() < COMMANDS_MAX && self.told_bytes < ANSWER_BYTES {
            let Some((number, outcome)) = self.collected.pop() else { return };
            let Some(UnderWay { request_id, question }) = self.table.take(number) else { continue };
            match outcome {
                Ok(reply) => {
                    let (token, fresh) = self.writer.write(reply.vector());
                    if fresh {
                        self.reader.remember(token.clone(), reply.vector().clone());
                    }
                    let body = ask::answer(&question, &reply, &self.shared.origin);
                    if matches!(reply, Reply::Unreplicated(_) | Reply::StockUnreplicated { .. }) {
                        self.shared.counts.count(Reason::NotReplicated);
                    }
                    self.told_bytes += token.len() + ask::size_of(&body);
                    self.told.push(v1::Answer { request_id, token, body: Some(body) });
                }
                Err(why) => self.tell_failure(request_id, status::no_reply(&why)),
            }
        }
    }

    fn tell_failure(&mut self, request_id: u64, failure: Failure) {
        let token = failure.session.as_ref().map(|vector| self.writer.write(vector).0);
        let token = token.unwrap_or_default();
        let body = Body::Failure(self.shared.counts.told(failure).to_wire());
        self.told_bytes += token.len() + ask::size_of(&body);
        self.told.push(v1::Answer { request_id, token, body: Some(body) });
    }

    // === Commands ===

    fn has_room(&self) -> bool {
        let settings = &self.shared.settings;
        self.table.len() < settings.stream_commands
            && self.table.reads < settings.stream_reads
            && self.told.len() < COMMANDS_MAX
    }

    /// Reads and queues, until there is no room or nothing to read.
    fn take_in(&mut self, context: &mut Context<'_>) {
        let now_us = self.shared.replica.now_us();
        loop {
            while self.has_room() {
                let Some(command) = self.pending.pop_front() else { break };
                self.prepare(command, now_us);
            }
            if !self.ready.is_empty() {
                let before = self.ready.len();
                let queued = self.shared.replica.mailbox().commands(&mut self.ready, context);
                let taken = before - self.ready.len();
                self.shared.counts.commands_total.fetch_add(taken as u64, Relaxed);
                match queued {
                    Ok(()) => {}
                    // The mailbox wakes us when it has room.
                    Err(NotTaken::Busy) => return,
                    Err(NotTaken::Closed) => {
                        self.give_up();
                        let closed = status::not_taken(NotTaken::Closed);
                        self.ended = Some(Err(self.shared.refusal().unwrap_or(closed)));
                        return;
                    }
                }
            }
            if !self.pending.is_empty() || self.ended.is_some() || !self.has_room() {
                return;
            }
            match Pin::new(&mut self.inbound).poll_next(context) {
                Poll::Pending => return,
                Poll::Ready(None) => self.ended = Some(Ok(())),
                Poll::Ready(Some(Err(status))) => {
                    // What we do not know is the connection's: then nobody reads what we say.
                    self.ended = Some(status::unreadable(&status).map_or(Ok(()), Err));
                }
                Poll::Ready(Some(Ok(message))) => self.receive(message),
            }
        }
    }

    fn receive(&mut self, message: v1::ExecuteRequest) {
        let count = message.commands.len();
        if count <= COMMANDS_MAX {
            self.pending.extend(message.commands);
            return;
        }
        // Answering each would make an attack cheap: one message, a million answers.
        let what = format!("{count} commands in a message; {COMMANDS_MAX} are allowed");
        let failure = Failure::new(Reason::TooMany, what).with("max", COMMANDS_MAX);
        self.ended = Some(Err(failure));
    }

    fn prepare(&mut self, command: v1::Command, now_us: u64) {
        let v1::Command { request_id, token, timeout_ms, peers, peers_timeout_ms, body } = command;
        let asked = self.reader.read(&token).and_then(|after| Ok((Asked::from_body(body)?, after)));
        let (asked, after) = match asked {
            Ok(asked) => asked,
            Err(failure) => return self.tell_failure(request_id, failure),
        };
        let deadline_us = self.shared.catch_up_by(now_us, timeout_ms.into());
        let page_bytes = self.shared.settings.stream_page_bytes;
        let durability = self.shared.durability(peers, now_us, peers_timeout_ms.into());
        let terms = Terms { after, deadline_us, lane: self.lane, durability, page_bytes };
        let (command, question) = ask::command(asked, terms);
        let number = self.table.put(UnderWay { request_id, question });
        let answer = Answer::Sink(Slot::new(&self.sink, number));
        self.ready.push_back(Queued { command, answer });
    }

    /// Forgets what is not with the writer: it has no answer, so it is sent again.
    fn give_up(&mut self) {
        self.pending.clear();
        for Queued { answer, .. } in self.ready.drain(..) {
            if let Answer::Sink(slot) = answer {
                self.table.take(slot.give_up());
            }
        }
    }

    fn end(&self) -> Option<Status> {
        let failure = match (self.shared.stage(), &self.ended) {
            (_, Some(Err(failure))) => failure.clone(),
            (Stage::Serving, _) => return None,
            // The client was done before the server was.
            (_, Some(Ok(()))) if !self.is_over => return None,
            (_, _) => self.shared.refusal()?,
        };
        Some(self.shared.told(failure))
    }
}

impl Stream for Execution {
    type Item = Result<v1::ExecuteResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.is_done {
            return Poll::Ready(None);
        }
        if !this.is_over && this.over.as_mut().poll(context).is_ready() {
            this.is_over = true;
            this.give_up();
        }
        this.collect(context);
        if !this.is_over {
            this.take_in(context);
        }
        if !this.told.is_empty() {
            this.told_bytes = 0;
            let answers = std::mem::take(&mut this.told);
            return Poll::Ready(Some(Ok(v1::ExecuteResponse { answers })));
        }
        let nothing_more = this.is_over || (this.ended.is_some() && this.pending.is_empty());
        if nothing_more && this.table.len() == 0 {
            this.is_done = true;
            return Poll::Ready(this.end().map(Err));
        }
        Poll::Pending
    }
}
