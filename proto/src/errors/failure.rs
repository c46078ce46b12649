//! A failure: a reason with its particulars, and its two forms on the wire.

use super::table::{NextMove, Reason, StateChange};
use crate::metadata::{STOCK_ANSWER, WRITTEN, WRITTEN_MAX};
use crate::token::TokenError;
use crate::v1;
use orset::{BoundsError, NotAnOpId, VersionVector};
use prost::Message;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::BinaryMetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain` of every error of ours.
pub const DOMAIN: &str = "pannier";

/// Longest message, in bytes; what is longer is clipped.
pub const MESSAGE_MAX: usize = 512;

/// Most metadata entries; what is more is left out.
pub const METADATA_MAX: usize = 8;

/// Longest key or value of the metadata, in bytes.
const VALUE_MAX: usize = 128;

/// Why one request was not answered; see `TABLE` for what became of the state and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The row of the table.
    pub reason: Reason,
    /// For people; at most `MESSAGE_MAX` bytes.
    pub message: String,
    /// For programs, as the table says: `field`, `origin`, `have`, `need`, ...
    pub metadata: BTreeMap<String, String>,
    /// Wait so long before sending it again, in whole milliseconds, at least 1; `None`: do not send
    /// it again unchanged.
    pub retry: Option<Duration>,
    /// Of NOT_REPLICATED: what the change did.
    pub written: Option<Box<v1::Written>>,
    /// The same, of a call of a stock.
    pub stock_answer: Option<Box<v1::StockAnswer>>,
    /// What its session goes on with, where that is not what it came with. The server makes it the
    /// token that is told with the failure; it is in neither form here.
    pub session: Option<Arc<VersionVector>>,
}

impl Failure {
    /// With the reason's own delay.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let retry = reason.row().retry;
        let message = clip(message.into(), MESSAGE_MAX);
        let metadata = BTreeMap::new();
        Self { reason, message, metadata, retry, written: None, stock_answer: None, session: None }
    }

    /// Adds one entry of metadata. Long values are clipped, and entries beyond the bound left out.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        if self.metadata.len() < METADATA_MAX {
            self.metadata.insert(clip(key.into(), VALUE_MAX), clip(value.to_string(), VALUE_MAX));
        }
        self
    }

    /// Asks for another delay: whole milliseconds, from 1 on.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry = Some(Duration::from_millis(millis(delay).into()));
        self
    }

    /// The gRPC code.
    pub const fn code(&self) -> Code {
        self.reason.code()
    }

    /// What became of the state.
    pub const fn state(&self) -> StateChange {
        self.reason.row().state
    }

    /// What to do.
    pub const fn next(&self) -> NextMove {
        self.reason.row().next
    }

    /// As the status of a call.
    pub fn to_status(&self) -> Status {
        let metadata = self.metadata.iter().map(|(key, value)| (key.clone(), value.clone()));
        let metadata: std::collections::HashMap<_, _> = metadata.collect();
        let mut details = ErrorDetails::with_error_info(self.reason.as_str(), DOMAIN, metadata);
        if self.retry.is_some() {
            details.set_retry_info(self.retry);
        }
        let mut status = Status::with_error_details(self.code(), self.message.clone(), details);
        // Trailers are small: what is larger than they may be is left out, and is read again.
        if let Some(written) = self.written.as_ref().filter(|it| it.encoded_len() <= WRITTEN_MAX) {
            let bytes = BinaryMetadataValue::from_bytes(&written.encode_to_vec());
            status.metadata_mut().insert_bin(WRITTEN, bytes);
        }
        let answer = self.stock_answer.as_ref();
        if let Some(answer) = answer.filter(|it| it.encoded_len() <= WRITTEN_MAX) {
            let bytes = BinaryMetadataValue::from_bytes(&answer.encode_to_vec());
            status.metadata_mut().insert_bin(STOCK_ANSWER, bytes);
        }
        status
    }

    /// From the status of a call; `None` when it is not of ours, or of a reason unknown here: then
    /// go by the code.
    pub fn from_status(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        if info.domain != DOMAIN {
            return None;
        }
        let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let mut failure = Self::new(info.reason.parse().ok()?, status.message());
        for (key, value) in info.metadata.into_iter().collect::<BTreeMap<_, _>>() {
            failure = failure.with(&key, value);
        }
        let written = status.metadata().get_bin(WRITTEN).and_then(|it| it.to_bytes().ok());
        failure.written = written.and_then(|bytes| v1::Written::decode(bytes).ok()).map(Box::new);
        let answer = status.metadata().get_bin(STOCK_ANSWER).and_then(|it| it.to_bytes().ok());
        let answer = answer.and_then(|bytes| v1::StockAnswer::decode(bytes).ok());
        failure.stock_answer = answer.map(Box::new);
        failure.retry = None;
        Some(match retry {
            Some(delay) => failure.retry_after(delay),
            None => failure,
        })
    }

    /// As the answer to one command of a stream.
    pub fn to_wire(&self) -> v1::Failure {
        v1::Failure {
            code: self.code() as i32,
            message: self.message.clone(),
            reason: self.reason.as_str().into(),
            metadata: self.metadata.clone(),
            retry_ms: self.retry.map_or(0, millis),
            written: self.written.as_deref().cloned(),
            stock_answer: self.stock_answer.as_deref().cloned(),
        }
    }

    /// From the answer to one command; `None` when its reason is unknown here.
    pub fn from_wire(wire: &v1::Failure) -> Option<Self> {
        let mut failure = Self::new(wire.reason.parse().ok()?, wire.message.as_str());
        for (key, value) in &wire.metadata {
            failure = failure.with(key, value);
        }
        failure.written = wire.written.clone().map(Box::new);
        failure.stock_answer = wire.stock_answer.clone().map(Box::new);
        failure.retry = (wire.retry_ms > 0).then(|| Duration::from_millis(wire.retry_ms.into()));
        Some(failure)
    }
}

/// Whole milliseconds, rounded up: on the wire, 0 says "not again".
fn millis(delay: Duration) -> u32 {
    let up = delay.as_micros().div_ceil(1_000).max(1);
    u32::try_from(up).unwrap_or(u32::MAX)
}

/// At most `max` bytes of `text`, in whole characters.
fn clip(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        failure.to_status()
    }
}

impl From<BoundsError> for Failure {
    fn from(error: BoundsError) -> Self {
        let field = match &error {
            BoundsError::Empty(what) | BoundsError::TooLong { what, .. } => what,
            BoundsError::Quantity(_) => "quantity",
            BoundsError::Amount(_) => "amount",
            _ => "",
        };
        Self::new(Reason::Bounds, error.to_string()).with("field", field)
    }
}

impl From<NotAnOpId> for Failure {
    fn from(error: NotAnOpId) -> Self {
        Self::new(Reason::OpIdMalformed, error.to_string())
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self::new(Reason::TokenMalformed, format!("the session token: {error}"))
    }
}
