//! A million carts of five lines: memory held, latency of a read, disk against encoded rows.
//!
//! Memory is looked at in a process of its own that opens the filled directory and reads: the one
//! that has filled it still holds what its allocator keeps of a hundred write buffers.

use super::load::bits;
use super::process::resident_bytes;
use super::{CartArgs, Failure};
use hdrhistogram::Histogram;
use pannier_replica::doors::clock::Clock;
use pannier_replica::{Pending, Replica};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Carts filled, five lines each.
    pub carts: u64,
    /// Resident bytes of a process that opened the filled directory and read; under 400 MB.
    pub resident_bytes: u64,
    /// Resident bytes right after filling, write buffers included.
    pub resident_bytes_after_fill: u64,
    /// Microseconds of a read of a random cart.
    pub read_p50_us: u64,
    /// See `read_p50_us`; under 1,000.
    pub read_p99_us: u64,
    /// Bytes of state on disk after the fill, without the log.
    pub state_disk_bytes: u64,
    /// Bytes of the rows themselves, keys and values.
    pub encoded_row_bytes: u64,
    /// The former by the latter; under 3.
    pub disk_ratio: f64,
}

const LINES: u64 = 5;
const READS: u64 = 100_000;

/// Fills, closes, opens, reads.
pub fn run(args: &CartArgs, dir: &Path) -> Result<Figures, Failure> {
    let replica = Replica::open(dir)?;
    let mut window: VecDeque<Pending<_>> = VecDeque::new();
    for line in 0..LINES {
        for cart in 0..args.carts {
            let cart = replica.cart("shop", format!("user-{cart}"))?;
            window.push_back(cart.add(format!("product-{}", bits(line) % 50_000), 1));
            if window.len() == args.in_flight {
                window.pop_front().map(Pending::wait).transpose()?;
            }
        }
    }
    window.into_iter().try_for_each(|pending| pending.wait().map(drop))?;
    let resident_bytes_after_fill = resident_bytes();
    // Rows of one cart, as they are written: key and value of five entries and their op memory.
    let sample = replica.cart("shop", "user-500000")?;
    let name = sample.object().as_bytes().len() as u64;
    let product = 1 + "product-12345".len() as u64;
    let entry = (1 + name + product + 16) + (3 + 1 + 16 + 3 + 1);
    let memory = 17 + (1 + name + 8 + product);
    let encoded_row_bytes = args.carts * LINES * (entry + memory);
    replica.close()?;
    drop(replica);
    let output = Command::new(std::env::current_exe()?)
        .args(["bench", "cart", "--child", "--only", "reads", "--dir"])
        .arg(dir)
        .args(["--carts", &args.carts.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let found: Found = serde_json::from_slice(&output.stdout)?;
    let state_disk_bytes = folder_bytes(&dir.join("state"))?;
    Ok(Figures {
        carts: args.carts,
        resident_bytes: found.resident_bytes,
        resident_bytes_after_fill,
        read_p50_us: found.read_p50_us,
        read_p99_us: found.read_p99_us,
        state_disk_bytes,
        encoded_row_bytes,
        disk_ratio: state_disk_bytes as f64 / encoded_row_bytes as f64,
    })
}

/// What the child finds.
#[derive(Serialize, Deserialize)]
struct Found {
    resident_bytes: u64,
    read_p50_us: u64,
    read_p99_us: u64,
}

/// The child: opens the filled directory, reads, and says what it holds.
pub fn child(args: &CartArgs, dir: &Path, say: &dyn Fn(&str)) -> Result<(), Failure> {
    let replica = Replica::open(dir)?;
    let clock = Clock::start();
    let mut latencies: Histogram<u64> = Histogram::new(3)?;
    for i in 0..READS {
        let cart = replica.cart("shop", format!("user-{}", bits(i) % args.carts))?;
        let begun = clock.now().mono_us;
        let view = cart.read().wait()?;
        latencies.record((clock.now().mono_us - begun).max(1))?;
        if view.lines.len() as u64 != LINES {
            return Err(
                format!("user-{} has {} lines", bits(i) % args.carts, view.lines.len()).into()
            );
        }
    }
    let found = Found {
        resident_bytes: resident_bytes(),
        read_p50_us: latencies.value_at_quantile(0.5),
        read_p99_us: latencies.value_at_quantile(0.99),
    };
    say(&serde_json::to_string(&found)?);
    Ok(replica.close()?)
}

fn folder_bytes(dir: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for file in std::fs::read_dir(dir)? {
        let file = file?;
        let meta = file.metadata()?;
        // Blocks in use: journals are longer than what they hold.
        bytes += if meta.is_dir() { folder_bytes(&file.path())? } else { meta.blocks() * 512 };
    }
    Ok(bytes)
}
