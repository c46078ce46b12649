//! The way from one process to another, as a TCP proxy over which the weather can be bad.
//!
//! What cuts regions off, slows them down and confuses them is the network between them; so each
//! dials a proxy of its own for each other, and what is done here is done to nobody else.
//!
//! | weather | what is seen at both ends |
//! | --- | --- |
//! | refused | connections end, and new ones at once: the machine is there, its port is not |
//! | a way is frozen | nothing passes that way, and nobody is told: a cable, a firewall; both ways frozen are a partition, one is half of one |
//! | a way delays | each chunk comes later, by up to the jitter more, never out of order |
//! | a way is throttled | so many bytes a second; what waits is held back at its sender |
//! | a reset | connections end in the middle of whatever they were carrying |
//!
//! What was frozen is not lost: it passes when the weather is good again, as TCP would have it, to
//! whoever is still there. Loss and reordering of packets are the business of the simulator: below
//! TCP they look like delay.

use super::passing::{Carried, Sky, Weather, pass};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Connections at once: a peer holds one, a gateway a few, and under a frozen sky those that both
/// ends have given up pile up here.
const CONNECTIONS_MAX: usize = 64;

/// One direction of one pair: `out` is from who dials. Its connections end when it is dropped.
pub struct Link {
    address: SocketAddr,
    sky: watch::Sender<Sky>,
    carried: Arc<Carried>,
    task: AbortHandle,
}

impl Link {
    /// A way to that address, in good weather.
    pub async fn open(to: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (sky, seen) = watch::channel(Sky::default());
        let carried = Arc::new(Carried::default());
        let task = tokio::spawn(accept(listener, to, seen, carried.clone())).abort_handle();
        Ok(Self { address, sky, carried, task })
    }

    /// What the one that dials is told.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes handed on since it was opened: from who dialled, and to who dialled. All that TCP
    /// carried, the frames of what is spoken over it included.
    pub fn carried(&self) -> (u64, u64) {
        let Carried { out, back } = &*self.carried;
        (out.load(Ordering::Relaxed), back.load(Ordering::Relaxed))
    }

    /// How it is from now on.
    pub fn set(&self, weather: Weather) {
        self.sky.send_modify(|sky| sky.weather = weather);
    }

    /// Freezes both ways, whatever the weather is meanwhile; then what was held is not passed on
    /// but dropped, with a reset: whoever sent it is thought to be gone.
    pub fn hold(&self, is_held: bool) {
        self.sky.send_modify(|sky| {
            sky.resets += u64::from(sky.is_held && !is_held);
            sky.is_held = is_held;
        });
    }

    /// What passes now ends with a reset, both ways.
    pub fn reset(&self) {
        self.sky.send_modify(|sky| sky.resets += 1);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    to: SocketAddr,
    sky: watch::Receiver<Sky>,
    carried: Arc<Carried>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                // One that is dropped here is closed: the peer learns at once that nobody is there.
                if let (Ok((stream, _)), false) = (accepted, sky.borrow().weather.is_refused) {
                    connections.spawn(pass(stream, to, sky.clone(), carried.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::passing::Way;
    use super::*;
    use pannier_replica::doors::clock::Clock;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// What comes back from an echo behind a link.
    async fn echo() -> (Link, SocketAddr) {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = echo.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let link = Link::open(to).await.unwrap();
        let address = link.address();
        (link, address)
    }

    async fn echoes(stream: &mut TcpStream) -> bool {
        let mut byte = [0];
        stream.write_all(b"x").await.is_ok() && stream.read_exact(&mut byte).await.is_ok()
    }

    async fn dial(at: SocketAddr) -> TcpStream {
        TcpStream::connect(at).await.unwrap()
    }

    #[tokio::test]
    async fn it_passes_is_refused_and_heals() {
        let (link, at) = echo().await;
        let mut stream = dial(at).await;
        assert!(echoes(&mut stream).await && echoes(&mut stream).await);
        link.set(Weather { is_refused: true, ..Weather::default() });
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "what passed has ended");
        assert!(!echoes(&mut dial(at).await).await, "nothing new passes");
        link.set(Weather::default());
        assert!(echoes(&mut dial(at).await).await);
    }

    #[tokio::test]
    async fn what_is_frozen_passes_later_each_way_by_itself() {
        let frozen = Way { is_frozen: true, ..Way::default() };
        for weather in [
            Weather { out: frozen, ..Weather::default() },
            Weather { back: frozen, ..Weather::default() },
        ] {
            let (link, at) = echo().await;
            let mut stream = dial(at).await;
            assert!(echoes(&mut stream).await);
            link.set(weather);
            stream.write_all(b"late").await.unwrap();
            let mut late = [0; 4];
            let within = Duration::from_millis(50);
            assert!(tokio::time::timeout(within, stream.read_exact(&mut late)).await.is_err());
            link.set(Weather::default());
            stream.read_exact(&mut late).await.unwrap();
            assert_eq!(&late, b"late");
        }
    }

    #[tokio::test]
    async fn what_is_held_is_dropped_in_the_end_whatever_the_weather() {
        let (link, at) = echo().await;
        let mut stream = dial(at).await;
        assert!(echoes(&mut stream).await);
        link.hold(true);
        stream.write_all(b"lost").await.unwrap();
        link.set(Weather::default());
        let within = Duration::from_millis(50);
        assert!(tokio::time::timeout(within, stream.read(&mut [0])).await.is_err());
        link.hold(false);
        assert!(stream.read(&mut [0]).await.is_err());
        assert!(echoes(&mut dial(at).await).await);
    }

    #[tokio::test]
    async fn delay_and_throttle_take_time_and_keep_the_order() {
        let (link, at) = echo().await;
        let slow = Way { delay_us: 20_000, jitter_us: 20_000, ..Way::default() };
        link.set(Weather { out: slow, back: slow, ..Weather::default() });
        let (clock, mut stream) = (Clock::start(), dial(at).await);
        for byte in 0..5 {
            stream.write_all(&[byte]).await.unwrap();
        }
        let mut back = [9; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, [0, 1, 2, 3, 4]);
        // Never sooner than the weather says; how much later is the machine's affair.
        assert!(clock.now().mono_us >= 40_000);
        let narrow = Way { bytes_per_second: std::num::NonZeroU32::new(40_000), ..Way::default() };
        link.set(Weather { out: narrow, ..Weather::default() });
        let clock = Clock::start();
        stream.write_all(&[7; 4_000]).await.unwrap();
        stream.read_exact(&mut [0; 4_000]).await.unwrap();
        assert!(clock.now().mono_us >= 90_000);
    }

    #[tokio::test]
    async fn what_is_carried_is_counted_each_way_over_all_connections() {
        let (link, at) = echo().await;
        assert_eq!(link.carried(), (0, 0));
        for times in 1..=2 {
            let mut stream = dial(at).await;
            stream.write_all(&[3; 40_000]).await.unwrap();
            stream.read_exact(&mut [0; 40_000]).await.unwrap();
            // The last chunk has arrived before it is counted.
            while link.carried() != (times * 40_000, times * 40_000) {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn a_reset_is_no_end() {
        let (link, at) = echo().await;
        let mut stream = dial(at).await;
        assert!(echoes(&mut stream).await);
        link.reset();
        let ended = stream.read(&mut [0]).await.map_err(|error| error.kind());
        assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset));
        assert!(echoes(&mut dial(at).await).await, "the next one is a new one");
    }
}
