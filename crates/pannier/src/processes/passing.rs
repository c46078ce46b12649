//! Bytes on their way through a link, in whatever weather.
//!
//! Each way is a reader, a short queue and a writer. The reader notes of each chunk when it may
//! leave; the writer waits for that, for the thaw, and for its share of a narrow way. The queue is
//! bounded, and so is what can be on its way: a sender that would send more is held back by TCP.

use pannier_replica::doors::chance::Dice;
use pannier_replica::doors::clock::Clock;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

/// Chunks under way in one direction of one connection.
const HELD: usize = 64;
/// Bytes of a chunk.
const CHUNK: usize = 16 << 10;
/// A narrow way is taken in steps of this, so that a better one is soon noticed.
const STEP: usize = 1 << 10;

/// How one direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Nothing passes.
    pub is_frozen: bool,
    /// Everything comes so much later.
    pub delay_us: u64,
    /// And up to so much on top.
    pub jitter_us: u64,
    /// No more than this passes.
    pub bytes_per_second: Option<NonZeroU32>,
}

/// How a link is; `out` is from who dialled it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// What passes ends, and nothing new begins.
    pub is_refused: bool,
    /// From who dialled.
    pub out: Way,
    /// To who dialled.
    pub back: Way,
}

/// The weather, and how often lightning has struck.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sky {
    pub weather: Weather,
    /// Both ways are frozen, whatever the weather.
    pub is_held: bool,
    pub resets: u64,
}

impl Sky {
    fn is_frozen(&self, way: fn(&Weather) -> Way) -> bool {
        self.is_held || way(&self.weather).is_frozen
    }
}

/// Bytes that a link has handed on since it was opened, over all its connections.
#[derive(Debug, Default)]
pub struct Carried {
    /// From who dialled.
    pub out: AtomicU64,
    /// To who dialled.
    pub back: AtomicU64,
}

/// Passes bytes both ways until a side ends, or the sky says so.
pub async fn pass(
    mut near: TcpStream,
    to: SocketAddr,
    sky: watch::Receiver<Sky>,
    carried: Arc<Carried>,
) {
    let resets = sky.borrow().resets;
    let mut lightning = sky.clone();
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    // Without it bytes come later than the weather says, which spoils nothing.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let was_reset = {
        let ((near_read, near_write), (far_read, far_write)) = (near.split(), far.split());
        let out = pump((near_read, far_write), sky.clone(), |weather| weather.out, &carried.out);
        let back = pump((far_read, near_write), sky.clone(), |weather| weather.back, &carried.back);
        tokio::select! {
            // However it ends, both sides see a connection that ended.
            _ = async { tokio::try_join!(out, back) } => false,
            _ = lightning.wait_for(|sky| sky.resets != resets) => true,
            _ = refused(sky.clone()) => false,
        }
    };
    if was_reset {
        // Unread and unsent bytes are dropped, and the other end is told in the rudest way.
        let _ = (near.set_zero_linger(), far.set_zero_linger());
    }
}

async fn refused(mut sky: watch::Receiver<Sky>) {
    // Who could refuse is gone: the link is, and this task with it.
    let _ = sky.wait_for(|sky| sky.weather.is_refused).await;
}

async fn pump(
    (mut read, mut write): (ReadHalf<'_>, WriteHalf<'_>),
    mut sky: watch::Receiver<Sky>,
    way: fn(&Weather) -> Way,
    carried: &AtomicU64,
) -> io::Result<()> {
    let clock = Clock::start();
    let mut dice = Dice::new().map_err(io::Error::other)?;
    let (send, mut held) = mpsc::channel::<(u64, Vec<u8>)>(HELD);
    let reader_sky = sky.clone();
    let reading = async move {
        let mut last_us = 0;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            if read.read_buf(&mut chunk).await? == 0 {
                return io::Result::Ok(());
            }
            let Way { delay_us, jitter_us, .. } = way(&reader_sky.borrow().weather);
            let late_us = delay_us + dice.roll() % (jitter_us + 1);
            // Later than what is before it: a stream has an order.
            last_us = last_us.max(clock.now().mono_us + late_us);
            if send.send((last_us, chunk)).await.is_err() {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((due_us, chunk)) = held.recv().await {
            let wait = clock.until(due_us);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let mut left = &chunk[..];
            while !left.is_empty() {
                let thawed = sky.wait_for(|sky| !sky.is_frozen(way)).await;
                let narrow = thawed
                    .map_err(io::Error::other)
                    .map(|sky| way(&sky.weather).bytes_per_second)?;
                // A wide way takes all at once: a call of the system for each step costs whoever
                // measures here more than what is measured.
                let (step, rest) =
                    left.split_at(narrow.map_or(left.len(), |_| left.len().min(STEP)));
                if let Some(rate) = narrow {
                    let us = step.len() as u64 * 1_000_000 / u64::from(rate.get());
                    tokio::time::sleep(Duration::from_micros(us)).await;
                }
                write.write_all(step).await?;
                carried.fetch_add(step.len() as u64, Ordering::Relaxed);
                left = rest;
            }
        }
        write.shutdown().await
    };
    tokio::try_join!(reading, writing).map(|_| ())
}
