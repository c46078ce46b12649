//! turmoil's sockets, in the places that production fills with the system's.

use hyper_util::rt::TokioIo;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tonic::codegen::BoxFuture;
use tonic::transport::{self, Channel, Endpoint, Uri};
use turmoil::net::{TcpListener, TcpStream};

/// A listener on all addresses of the host that makes it.
pub struct Bound(TcpListener);

impl Bound {
    /// Binds a port.
    ///
    /// # Errors
    ///
    /// turmoil's: the port is taken.
    pub async fn to(port: u16) -> io::Result<Self> {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.map(Self)
    }
}

impl pannier_replica::server::Listener for Bound {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        self.0.accept().await.map(|(stream, _)| stream)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl pannier_gateway::Listener for Bound {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        self.0.accept().await.map(|(stream, _)| stream)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Makes connections.
#[derive(Clone, Copy, Debug)]
pub struct Wire;

impl pannier_gateway::Dial for Wire {
    type Stream = TcpStream;

    async fn dial(&self, address: &str) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }
}

impl pannier_replica::transport::grpc::Dial for Wire {
    fn dial(&self, endpoint: &Endpoint) -> BoxFuture<Channel, transport::Error> {
        let endpoint = endpoint.clone();
        Box::pin(async move { endpoint.connect_with_connector(connector()).await })
    }
}

impl pannier_client::Dial for Wire {
    fn dial(&self, endpoint: &Endpoint) -> BoxFuture<Channel, transport::Error> {
        pannier_replica::transport::grpc::Dial::dial(self, endpoint)
    }

    fn dial_lazily(&self, endpoint: &Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(connector())
    }
}

fn connector()
-> impl tower::Service<Uri, Response = TokioIo<TcpStream>, Error = io::Error, Future: Send>
+ Send
+ 'static {
    tower::service_fn(|uri: Uri| async move {
        let address = (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(0));
        TcpStream::connect(address).await.map(TokioIo::new)
    })
}
