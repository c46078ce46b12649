//! Asks a replica over one of its lanes whether it serves: `grpc.health.v1.Health/Check`.
//!
//! Over the lane itself, not over a connection of its own: what is to be known is whether requests
//! that go this way are answered.

use crate::body::{BoxError, Outgoing};
use crate::decide::Heard;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http2::SendRequest;
use prost::Message;
use std::time::Duration;
use tonic::Code;
use tonic_health::pb::HealthCheckResponse;
use tonic_health::pb::health_check_response::ServingStatus;

/// A `HealthCheckRequest` for the server as a whole, which is empty, in its gRPC frame.
const WHOLE: [u8; 5] = [0; 5];

/// The longest answer; a longer one is none.
const ANSWER_BYTES: usize = 1_024;

/// Asks once.
pub async fn probe<B>(send: &SendRequest<Outgoing<B>>, host: &str, timeout: Duration) -> Heard
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    match tokio::time::timeout(timeout, check(send.clone(), host)).await {
        Ok(Ok(heard)) => heard,
        // A lane that breaks is told as such by its own end; until then this is no answer.
        Ok(Err(_)) | Err(_) => Heard::Missed,
    }
}

async fn check<B>(mut send: SendRequest<Outgoing<B>>, host: &str) -> Result<Heard, BoxError>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{host}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Outgoing::Kept(Bytes::from_static(&WHOLE)))?;
    let response = send.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Ok(Heard::NotServing);
    }
    if let Some(code) = status(response.headers()) {
        return Ok(without_message(code));
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await?;
    match body.trailers().and_then(status) {
        Some(Code::Ok) => {}
        Some(code) => return Ok(without_message(code)),
        None => return Err("the answer to a probe broke off".into()),
    }
    let bytes = body.to_bytes();
    let answer = HealthCheckResponse::decode(bytes.get(WHOLE.len()..).unwrap_or_default())?;
    Ok(match answer.status() {
        ServingStatus::Serving => Heard::Serving,
        ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
            Heard::NotServing
        }
    })
}

/// A server without a health service is alive, and says no more.
fn without_message(code: Code) -> Heard {
    if code == Code::Unimplemented { Heard::Serving } else { Heard::NotServing }
}

fn status(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(HeaderValue::as_bytes).map(Code::from_bytes)
}
