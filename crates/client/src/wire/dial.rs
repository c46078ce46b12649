//! Who makes connections: the system, or what stands for it.

use tonic::codegen::BoxFuture;
use tonic::transport::{self, Channel, Endpoint};

/// Makes connections; asked once for each.
pub trait Dial: Send + Sync + 'static {
    /// Connects, as the endpoint's settings say.
    fn dial(&self, endpoint: &Endpoint) -> BoxFuture<Channel, transport::Error>;

    /// The same when it is first used.
    fn dial_lazily(&self, endpoint: &Endpoint) -> Channel;
}

/// The system's sockets.
pub(crate) struct Tcp;

impl Dial for Tcp {
    fn dial(&self, endpoint: &Endpoint) -> BoxFuture<Channel, transport::Error> {
        let endpoint = endpoint.clone();
        Box::pin(async move { endpoint.connect().await })
    }

    fn dial_lazily(&self, endpoint: &Endpoint) -> Channel {
        endpoint.connect_lazy()
    }
}
