//! The dialling side: one task a peer that keeps a link to it for as long as the replica is open.

use super::codec::{FRAME_MAX, LinkCodec};
use super::convert::{Said, hello_to_wire};
use super::outbox::Gate;
use super::redial::{End, Redial, Rules, Standing};
use super::settings::LinkSettings;
use super::{Frame, Peer, Recipient, Shared};
use crate::doors::chance::Dice;
use orset::Member;
use pannier_proto::errors::{Failure, NextMove, Reason};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::timeout;
use tonic::codegen::BoxFuture;
use tonic::codegen::http::uri::{Authority, PathAndQuery};
use tonic::transport::{self, Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// The call.
pub const LINK: &str = "/pannier.v1.Replication/Link";

/// Where and how to dial; `None` when the address is not host:port.
pub fn endpoint(address: &str, settings: &LinkSettings) -> Option<Endpoint> {
    let authority: Authority = address.parse().ok()?;
    authority.port_u16().filter(|port| *port > 0)?;
    if authority.host().is_empty() || address.contains('@') {
        return None;
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    Some(
        endpoint
            // An acknowledgement of twenty bytes must not wait for more to go with it.
            .tcp_nodelay(true)
            .connect_timeout(settings.handshake)
            .http2_keep_alive_interval(settings.keep_alive)
            .keep_alive_timeout(settings.keep_alive_timeout)
            .keep_alive_while_idle(true),
    )
}

/// Who makes a connection: the system, or what stands for it. Asked once for each link.
pub trait Dial: Send + Sync + 'static {
    /// Connects, as the endpoint's settings say.
    fn dial(&self, endpoint: &Endpoint) -> BoxFuture<Channel, transport::Error>;
}

/// The system's sockets.
pub struct Tcp;

impl Dial for Tcp {
    fn dial(&self, endpoint: &Endpoint) -> BoxFuture<Channel, transport::Error> {
        let endpoint = endpoint.clone();
        Box::pin(async move { endpoint.connect().await })
    }
}

/// Why there is no link, for the log and for the next attempt.
struct Ended {
    end: End,
    why: String,
}

impl Ended {
    fn lost(why: impl ToString) -> Self {
        Self { end: End::Lost, why: why.to_string() }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        let end = match failure.next() {
            NextMove::MendSettings | NextMove::MendRequest => End::Refused,
            _ => End::Lost,
        };
        Self { end, why: failure.to_string() }
    }
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        match Failure::from_status(&status) {
            Some(failure) => failure.into(),
            None => Self::lost(format!("{:?}: {}", status.code(), status.message())),
        }
    }
}

/// Dials, speaks and listens, waits, for ever; whoever has its handle ends it.
pub async fn keep_dialling(shared: Arc<Shared>, to: Member, peer: Arc<Peer>, recipient: Recipient) {
    let Some(endpoint) = &peer.endpoint else {
        // It dials us, and may say so later where it is.
        return std::future::pending().await;
    };
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let mut redial = Redial::new(Rules {
        first_us: us(shared.settings.redial_first),
        max_us: us(shared.settings.redial_max),
        steady_us: us(shared.settings.steady),
    });
    let mut dice = Dice::new().ok();
    loop {
        let Ended { end, why } =
            link(&shared, to, (&peer, endpoint), &recipient, &mut redial).await;
        let chance = dice.as_mut().map_or(0, Dice::roll);
        let (wait_us, news) = redial.ended(end, shared.clock.now().mono_us, chance);
        let earlier = peer.failure().replace(why.clone());
        if let Some(standing) = news {
            tell(to, &peer.address, standing, &why);
        } else if end == End::Refused && earlier.is_some_and(|earlier| earlier != why) {
            tell(to, &peer.address, Standing::Refused, &why);
        }
        let wait = Duration::from_micros(wait_us);
        if redial.is_eager() {
            // Either will do: the time is over, or the peer is there.
            drop(timeout(wait, peer.called.notified()).await);
        } else {
            tokio::time::sleep(wait).await;
        }
    }
}

fn tell(peer: Member, address: &str, standing: Standing, why: &str) {
    match standing {
        Standing::Open => tracing::info!(%peer, address, "linked"),
        Standing::Away => tracing::warn!(%peer, address, why, "no link; dialling again"),
        Standing::Refused => tracing::error!(%peer, address, why, "no link; mend the settings"),
    }
}

/// One link, from the first packet to the last.
async fn link(
    shared: &Shared,
    to: Member,
    (peer, endpoint): (&Peer, &Endpoint),
    recipient: &Recipient,
    redial: &mut Redial,
) -> Ended {
    let opening = timeout(shared.settings.handshake, open(shared, to, peer, endpoint)).await;
    let (mut incoming, gate) = match opening {
        Ok(Ok(opened)) => opened,
        Ok(Err(ended)) => return ended,
        Err(_) => return Ended::lost("no answer to the greeting in time"),
    };
    peer.counters.opened.fetch_add(1, Relaxed);
    if let Some(standing) = redial.opened(shared.clock.now().mono_us) {
        tell(to, &peer.address, standing, "");
    }
    gate.open();
    loop {
        match incoming.message().await {
            Ok(Some(frame)) => {
                if let Err(failure) = shared.take(to, recipient, frame) {
                    return failure.into();
                }
            }
            Ok(None) => return Ended::lost("the peer has ended the link"),
            Err(status) => return shared.broken(to, status).into(),
        }
    }
}

/// Connects and greets, until the peer has greeted back and is who it should be.
async fn open(
    shared: &Shared,
    to: Member,
    peer: &Peer,
    endpoint: &Endpoint,
) -> Result<(Streaming<Frame>, Gate), Ended> {
    let channel = shared.dial.dial(endpoint).await;
    let channel = channel.map_err(|error| Ended::lost(chain(&error)))?;
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(FRAME_MAX);
    grpc.ready().await.map_err(|error| Ended::lost(chain(&error)))?;
    let hello = hello_to_wire(&shared.identity.greet(to));
    let (outgoing, gate) = peer.outbox.link(hello);
    let path = PathAndQuery::from_static(LINK);
    let response = grpc.streaming(Request::new(outgoing), path, LinkCodec).await?;
    let mut incoming = response.into_inner();
    let Some(frame) = incoming.message().await? else {
        return Err(Ended::lost("the peer has ended the link before its greeting"));
    };
    match frame.said {
        Ok(Said::Hello(hello)) => shared.identity.check_answer(&hello, to)?,
        Ok(Said::Message(_) | Said::Unknown) => return Err(no_greeting().into()),
        Err(malformed) => return Err(Failure::from(malformed).into()),
    }
    peer.counters.heard(&shared.clock, frame.bytes);
    Ok((incoming, gate))
}

/// For one who begins without a greeting.
pub fn no_greeting() -> Failure {
    Failure::new(Reason::CommandUnknown, "a link begins with a greeting")
}

/// An error with its causes: a transport's own text says only that it failed.
fn chain(error: &dyn std::error::Error) -> String {
    let (mut text, mut at) = (error.to_string(), error.source());
    while let Some(cause) = at {
        text = format!("{text}: {cause}");
        at = cause.source();
    }
    text
}
