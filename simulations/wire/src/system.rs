//! The system's clock and entropy, while a run is played: both come from its seed.
//!
//! The obvious way is to give a clock and dice to whoever asks. Our own crates have such doors, but
//! the stack below does not: tokio seeds its scheduler, the standard library its hash maps, h2 and
//! hyper look at `Instant`. One of them is enough to make two runs differ after minutes. So the two
//! calls by which all of them reach the kernel are defined here, and the linker takes these instead
//! of libc's, in the test's binary and nowhere else.
//!
//! Y1  a thread that plays no run gets the kernel's own answers;
//! Y2  within a run `CLOCK_REALTIME` and the monotonic clocks are simulated time: the clock of the
//!     turmoil host that asks, or, between hosts, of the world; those of processor time stay real;
//! Y3  within a run random bytes are a function of the seed and of how many were asked for.
#![expect(unsafe_code, reason = "to stand in for a function of libc is to say what its symbol is")]

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::time::{Duration, Instant};

/// Simulated time begins at the start of 2026: so op ids and stamps look as they do in production.
const EPOCH_S: u64 = 1_767_225_600;

/// The monotonic clock begins here. Not at 0: some subtract from it.
const BEGAN: Duration = Duration::from_secs(1_000);

thread_local! {
    // All of them are plain values, made without an allocation and dropped without code: they are
    // used within calls that may come from anywhere, also while a thread ends.
    static PLAYS: Cell<bool> = const { Cell::new(false) };
    static DICE: Cell<u64> = const { Cell::new(0) };
    /// Simulated time, outside of a host.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// What `BEGAN` is as a value of the standard library, which says no numbers.
    static ANCHOR: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Asking tokio for the time may ask for the time.
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread plays the run of a seed, until the value is dropped.
#[must_use]
pub fn play(seed: u64) -> Playing {
    DICE.set(seed ^ 0x9e37_79b9_7f4a_7c15);
    NOW.set(Duration::ZERO);
    ANCHOR.set(None);
    PLAYS.set(true);
    #[expect(clippy::disallowed_methods, reason = "by now the clock is ours")]
    ANCHOR.set(Some(Instant::now()));
    Playing(())
}

/// A run that is played. See `play`.
#[derive(Debug)]
pub struct Playing(());

impl Drop for Playing {
    fn drop(&mut self) {
        PLAYS.set(false);
    }
}

/// Simulated time has come so far, for all that is no host's.
pub fn set_now(elapsed: Duration) {
    NOW.set(elapsed);
}

/// Simulated time since the run began.
pub fn now() -> Duration {
    host_now().unwrap_or_else(|| NOW.get())
}

/// Lets this thread see the system's own entropy although it plays: a planted leak.
pub fn leak_entropy() {
    DICE.set(u64::from_le_bytes(std::array::from_fn(|_| {
        let mut byte = [0];
        kernel_random(&mut byte);
        byte[0]
    })));
}

/// Processor time of this process so far, by the kernel.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` to where one is.
    unsafe {
        libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time)
    };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// By the paused clock of the runtime that asks, which is its host's. Where there is no runtime,
/// tokio asks the system in its turn, and so comes back here: then it is the world's time.
fn host_now() -> Option<Duration> {
    let anchor = ANCHOR.get()?;
    if ASKING.replace(true) {
        return None;
    }
    let now = tokio::time::Instant::now().into_std();
    ASKING.set(false);
    Some(now.saturating_duration_since(anchor))
}

fn simulated(clock: libc::clockid_t) -> Option<Duration> {
    if !PLAYS.try_with(Cell::get).unwrap_or(false) {
        return None;
    }
    match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
            Some(Duration::from_secs(EPOCH_S) + now())
        }
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_BOOTTIME => Some(BEGAN + now()),
        _ => None,
    }
}

/// splitmix64.
fn roll() -> u64 {
    let state = DICE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    DICE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn kernel_random(bytes: &mut [u8]) {
    // SAFETY: the kernel writes at most `len` bytes to where the slice is.
    unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), 0) };
}

/// Stands in for libc's.
///
/// # Safety
///
/// As libc's: `out` must be valid for a write, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, out: *mut libc::timespec) -> c_int {
    let Some(time) = simulated(clock) else {
        // SAFETY: the caller's promise is the kernel's condition.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) } as c_int;
    };
    if !out.is_null() {
        let time = libc::timespec {
            tv_sec: time.as_secs() as libc::time_t,
            tv_nsec: c_long::from(time.subsec_nanos()),
        };
        // SAFETY: it is not null, so it is valid for a write, as the caller promises.
        unsafe { out.write(time) };
    }
    0
}

/// Stands in for libc's.
///
/// # Safety
///
/// As libc's: `buffer` must be valid for writes of `len` bytes; it may be anything when `len` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, len: usize, flags: c_uint) -> isize {
    if !PLAYS.try_with(Cell::get).unwrap_or(false) {
        // SAFETY: the caller's promise is the kernel's condition.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, len, flags) } as isize;
    }
    if len > 0 {
        // SAFETY: valid for writes of so many bytes, as the caller promises; and bytes are written
        // before any is read.
        let bytes = unsafe {
            buffer.cast::<u8>().write_bytes(0, len);
            std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len)
        };
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&roll().to_le_bytes()[..chunk.len()]);
        }
    }
    len.cast_signed()
}
