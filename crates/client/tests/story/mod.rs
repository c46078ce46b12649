//! One core, one place for a stream, and whoever tells the story.
#![allow(dead_code, reason = "each test uses its part")]

use bytes::Bytes;
use orset::{Dot, Origin};
use pannier_client::core::{
    Answered, Ask, Body, Core, CoreSettings, Effect, Envelope, Event, Mode,
};
use pannier_client::error::Error;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::{self, answer::Body as Said, command::Body as Asked};
use pannier_proto::{Token, convert};

pub const A: Origin = Origin::from_bytes([1; 16]);
pub const B: Origin = Origin::from_bytes([2; 16]);
pub const LATER: u64 = 1_000_000_000;

pub type Result = std::result::Result<Answered, Error>;

/// See the file's head.
pub struct Story {
    pub core: Core<u32>,
    pub now: u64,
    pub epoch: u64,
    pub endpoint: usize,
    pub opened: usize,
    pub done: Vec<(u32, Result)>,
}

impl Story {
    pub fn of(settings: CoreSettings) -> Self {
        let core = Core::new(settings, 7, 0);
        let mut story = Self { core, now: 0, epoch: 0, endpoint: 0, opened: 0, done: Vec::new() };
        story.effects();
        story.open();
        story
    }

    pub fn new() -> Self {
        Self::of(CoreSettings { streams: 1, ..CoreSettings::new(2) })
    }

    pub fn effects(&mut self) {
        while let Some(effect) = self.core.poll() {
            match effect {
                Effect::Open { epoch, endpoint, .. } => {
                    (self.epoch, self.endpoint) = (epoch, endpoint);
                    self.opened += 1;
                }
                Effect::Close { .. } | Effect::Send { .. } => {}
                Effect::Done(call, result) => self.done.push((call, result)),
            }
        }
    }

    pub fn event(&mut self, event: Event) {
        self.core.handle(event, self.now);
        self.effects();
    }

    pub fn open(&mut self) {
        self.event(Event::Opened { stream: 0, epoch: self.epoch });
    }

    pub fn lose(&mut self) {
        self.event(Event::Lost { stream: 0, epoch: self.epoch, why: None });
    }

    /// Time passes until the core wants to be told, and no further than that.
    pub fn wait(&mut self) {
        self.now = self.core.wake_us();
        self.event(Event::Tick);
    }

    pub fn session(&mut self, mode: Mode) -> u32 {
        self.core.begin(&[], mode).unwrap()
    }

    pub fn ask(&mut self, session: u32, call: u32, body: Asked, deadline_us: u64) {
        self.ask_on(session, call, body, deadline_us, 0);
    }

    pub fn ask_on(&mut self, session: u32, call: u32, body: Asked, deadline_us: u64, peers: u32) {
        let ask = Ask {
            session: Some(session),
            body: body.into(),
            deadline_us,
            peers,
            slots: 1,
            done: call,
        };
        self.core.submit(ask, self.now);
        self.effects();
    }

    pub fn sent(&mut self) -> Vec<Envelope> {
        let sent = self.core.take(0, self.epoch, self.now).unwrap();
        self.effects();
        sent
    }

    pub fn one(&mut self) -> Envelope {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    pub fn answer(&mut self, to: &Envelope, token: &Bytes, body: Said) {
        let answers =
            vec![v1::Answer { request_id: to.request_id, token: token.clone(), body: Some(body) }];
        self.event(Event::Answers { stream: 0, epoch: self.epoch, answers });
    }

    /// The one command that goes out next: this write, asking for `needs`. It is answered at `dot`.
    pub fn answer_next(&mut self, write: Asked, needs: &[Dot], dot: Dot) {
        let sent = self.one();
        assert_eq!(sent.body, Body::from(write).bytes);
        assert_eq!(sent.token, token(needs));
        let all: Vec<Dot> = needs.iter().copied().chain([dot]).collect();
        self.answer(&sent, &token(&all), at(dot));
    }

    pub fn refuse(&mut self, to: &Envelope, failure: Failure) {
        self.answer(to, &Bytes::new(), Said::Failure(failure.to_wire()));
    }

    /// A write that is answered at `dot`.
    pub fn written(&mut self, session: u32, call: u32, dot: Dot) {
        self.ask(session, call, add(call), LATER);
        let sent = self.one();
        let mut token = Token::decode(&sent.token).unwrap_or_default();
        token.vector.raise(dot.origin, dot.seq);
        self.answer(&sent, &token.encode().into(), at(dot));
        assert!(matches!(self.done.pop(), Some((done, Ok(_))) if done == call));
    }

    /// A read that is answered by a replica that stands at `dots`.
    pub fn shown(&mut self, session: u32, call: u32, dots: &[Dot]) {
        self.ask(session, call, read(), LATER);
        let sent = self.one();
        self.answer(&sent, &token(dots), counter());
        assert!(matches!(self.done.pop(), Some((done, Ok(_))) if done == call));
    }
}

pub fn token(dots: &[Dot]) -> Bytes {
    Token { vector: dots.iter().copied().collect(), ..Token::default() }.encode().into()
}

pub fn dot(origin: Origin, seq: u64) -> Dot {
    Dot::new(origin, seq)
}

pub fn op(call: u32) -> Bytes {
    vec![call as u8; 16].into()
}

pub fn add(call: u32) -> Asked {
    Asked::AddToCounter(v1::AddToCounter { op_id: op(call), ..Default::default() })
}

pub fn remove(call: u32) -> Asked {
    Asked::RemoveFromCart(v1::RemoveFromCart { op_id: op(call), ..Default::default() })
}

pub fn read() -> Asked {
    Asked::GetCounter(v1::GetCounter::default())
}

pub fn counter() -> Said {
    Said::Counter(v1::Counter::default())
}

pub fn at(dot: Dot) -> Said {
    Said::Written(v1::Written { dot: Some(convert::dot(dot)), ..Default::default() })
}

pub fn behind(origin: Origin, have: u64, need: u64) -> Failure {
    let failure = Failure::new(Reason::Behind, "x").with("origin", origin);
    failure.with("have", have).with("need", need)
}

pub fn bodies(sent: &[Envelope]) -> Vec<Bytes> {
    sent.iter().map(|envelope| envelope.body.clone()).collect()
}

pub fn bytes(asked: &[Asked]) -> Vec<Bytes> {
    asked.iter().map(|asked| Body::from(asked.clone()).bytes).collect()
}
