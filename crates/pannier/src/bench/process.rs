//! What the operating system says of processes: CPU time and memory.

use super::Failure;

/// Clock ticks a second in /proc, the same on every Linux we run on.
const TICKS: f64 = 100.0;

/// CPU seconds used so far, user and system; 0 where /proc does not exist.
pub fn cpu_seconds() -> Result<f64, Failure> {
    spent("self")
}

/// The same of another process; 0 when it is gone.
pub fn cpu_seconds_of(process: u32) -> Result<f64, Failure> {
    spent(&process.to_string())
}

fn spent(process: &str) -> Result<f64, Failure> {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return Ok(0.0) };
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|word| word.parse::<f64>().ok());
    Ok((field(11).ok_or("utime")? + field(12).ok_or("stime")?) / TICKS)
}

/// Resident bytes now; 0 where /proc does not exist.
pub fn resident_bytes() -> u64 {
    resident("self", "VmRSS:")
}

/// The same of another process, and the most that it ever had; 0 when it is gone.
pub fn resident_bytes_of(process: u32) -> (u64, u64) {
    let process = process.to_string();
    (resident(&process, "VmRSS:"), resident(&process, "VmHWM:"))
}

fn resident(process: &str, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}
