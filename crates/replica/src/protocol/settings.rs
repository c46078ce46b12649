//! The knobs of the protocol, with what smaller and larger values cost.

use super::membership::format::FORMAT_MAX;
use super::snapshot::WHOLE_SHARE;
use orset::{Member, NAMESPACE_MAX, check_name};
use std::collections::{BTreeMap, BTreeSet};

/// Plain data; `validate` is called where a replica is opened.
#[derive(Clone, Debug)]
pub struct ProtocolSettings {
    /// Every member of the cluster as it was founded, this one included (a cluster of one is fine
    /// for ever); of one that is to join, those that are there. The membership on disk, once there
    /// is a later one than the first, overrules it.
    pub members: Vec<Member>,
    /// Microseconds between two rounds of gossip (one random peer each). Smaller heals faster
    /// after a loss and costs one small message each time.
    pub gossip_us: u64,
    /// Microseconds between two looks at whether origins of earlier starts can be closed, and two
    /// tries to have that accepted. Smaller keeps vectors shorter after restarts.
    pub change_us: u64,
    /// Microseconds to wait for a push already under way before pulling what gossip says is
    /// missing. Smaller pulls what would have arrived anyway (bandwidth); larger delays repair.
    pub pull_delay_us: u64,
    /// Microseconds after which an unanswered pull is sent again, perhaps elsewhere.
    pub pull_timeout_us: u64,
    /// Deltas pushed to a peer beyond its last acknowledgement. Smaller stalls on long links.
    pub push_window: u64,
    /// Microseconds without an acknowledgement after which pushing to a peer pauses until it is
    /// heard again. Smaller resends sooner and more.
    pub push_timeout_us: u64,
    /// Bytes of deltas in one message; at least one delta is always sent.
    pub message_bytes: usize,
    /// Deltas that may wait for their causes; beyond it the newest are dropped and pulled later.
    pub buffer_deltas: usize,
    /// Bytes of deltas that may wait for their causes.
    pub buffer_bytes: usize,
    /// Rows changed since the last checkpoint at which the next begins. Smaller shortens recovery
    /// and memory; larger coalesces more writes of hot rows.
    pub checkpoint_rows: usize,
    /// Milliseconds that an op id's birth or a stamp may be ahead of this clock.
    pub skew_ms: u64,
    /// Ops in one round at most.
    pub round_ops: usize,
    /// Bytes of encoded ops at which a round is closed, and the bound of a single op: so a round
    /// has less than twice as many.
    pub round_bytes: usize,
    /// Commands that may wait for this replica to catch up with their session.
    pub waiting_max: usize,
    /// Writes that may wait for peers (`Durability::Peers`).
    pub durable_max: usize,
    /// Milliseconds for which an op id is remembered, and so for how long a request may be sent
    /// again (`TooOld` from then on). Smaller keeps less; larger forgives longer absences of
    /// clients.
    pub window_ms: u64,
    /// Namespaces with a window of their own.
    pub windows: Vec<(Box<[u8]>, u64)>,
    /// Longest time that units of a stock are set aside at once, in milliseconds. Smaller frees
    /// sooner what buyers leave behind.
    pub hold_max_ms: u64,
    /// Microseconds that a purchase waits for other members: for rights to units, or for who must
    /// decide it. Smaller answers "unavailable" sooner when a region is cut off; larger waits out
    /// longer round trips.
    pub rights_us: u64,
    /// Microseconds between two looks at holds that have lapsed. Smaller frees units sooner and
    /// costs a look-up each time.
    pub tend_us: u64,
    /// Deltas of each origin that stay in the log though every member has them. Smaller keeps
    /// less; larger spares a restored member a snapshot.
    ///
    /// The default is `LOG_WHOLE`: what to keep is the operator's to say.
    pub log_tail: u64,
    /// Deltas of each origin that stay in the log for members that lack them. One that lacks more
    /// fetches a snapshot. Smaller keeps less; larger spares snapshots after long absences.
    pub log_most: u64,
    /// Thousandths of its time that this replica spends on taking a snapshot in, at most 1,000.
    /// Smaller leaves more of the machine to those who share it, and takes as much longer; one that
    /// is outgrown by the giver's log meanwhile is begun anew with twice the share. The default is
    /// all of it: under heavy writes whoever rests may not catch up.
    pub snapshot_share: u64,
    /// The newest format that this replica reads, and may agree to write. Less than all that its
    /// build knows: it stands in for an older build, and the others cannot raise theirs.
    pub format_most: u32,
    /// Where members are reached (host:port), as far as is known here; for the first membership. A
    /// later one says so itself.
    pub addresses: BTreeMap<Member, String>,
}

/// Of `log_tail` and `log_most`: nothing is dropped from the log.
pub const LOG_WHOLE: u64 = u64::MAX;

/// Namespaces that may have a window of their own.
pub const WINDOWS_MAX: usize = 64;

/// Longest window: a hundred years.
pub const WINDOW_MAX_MS: u64 = 100 * 31_557_600_000;

impl ProtocolSettings {
    /// Defaults for `members` in one process or region.
    pub fn new(members: Vec<Member>) -> Self {
        Self {
            members,
            gossip_us: 100_000,
            change_us: 1_000_000,
            pull_delay_us: 50_000,
            pull_timeout_us: 300_000,
            push_window: 256,
            push_timeout_us: 1_000_000,
            message_bytes: 256 << 10,
            buffer_deltas: 4_096,
            buffer_bytes: 32 << 20,
            checkpoint_rows: 32_768,
            skew_ms: 300_000,
            round_ops: 4_096,
            round_bytes: 4 << 20,
            waiting_max: 4_096,
            durable_max: 16_384,
            window_ms: 7 * 86_400_000,
            windows: Vec::new(),
            hold_max_ms: 86_400_000,
            rights_us: 1_000_000,
            tend_us: 50_000,
            log_tail: LOG_WHOLE,
            log_most: LOG_WHOLE,
            snapshot_share: WHOLE_SHARE,
            format_most: FORMAT_MAX,
            addresses: BTreeMap::new(),
        }
    }

    /// Says which knob is out of bounds.
    pub fn validate(&self) -> Result<(), String> {
        let positive = [
            ("gossip_us", self.gossip_us),
            ("change_us", self.change_us),
            ("push_window", self.push_window),
            ("pull_timeout_us", self.pull_timeout_us),
            ("push_timeout_us", self.push_timeout_us),
            ("message_bytes", self.message_bytes as u64),
            ("buffer_deltas", self.buffer_deltas as u64),
            ("buffer_bytes", self.buffer_bytes as u64),
            ("checkpoint_rows", self.checkpoint_rows as u64),
            ("round_ops", self.round_ops as u64),
            ("round_bytes", self.round_bytes as u64),
            ("waiting_max", self.waiting_max as u64),
            ("durable_max", self.durable_max as u64),
            ("window_ms", self.window_ms),
            ("hold_max_ms", self.hold_max_ms),
            ("rights_us", self.rights_us),
            ("tend_us", self.tend_us),
            ("log_tail", self.log_tail),
            ("log_most", self.log_most),
            ("snapshot_share", self.snapshot_share),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        if self.snapshot_share > WHOLE_SHARE {
            return Err(format!("snapshot_share must be at most {WHOLE_SHARE}"));
        }
        if self.round_bytes > crate::store::MAX_RECORD_BYTES / 4 {
            return Err(format!(
                "round_bytes must be at most {}",
                crate::store::MAX_RECORD_BYTES / 4
            ));
        }
        if self.format_most > FORMAT_MAX {
            return Err(format!("format_most must be at most {FORMAT_MAX}"));
        }
        self.validate_windows()?;
        let mut members = self.members.clone();
        members.sort_unstable();
        members.dedup();
        if members.len() != self.members.len() {
            return Err("members names a member twice".into());
        }
        Ok(())
    }

    fn validate_windows(&self) -> Result<(), String> {
        if self.windows.len() > WINDOWS_MAX {
            return Err(format!("windows must name at most {WINDOWS_MAX} namespaces"));
        }
        let mut names = BTreeSet::new();
        for (namespace, window_ms) in &self.windows {
            let name = namespace.escape_ascii();
            if let Err(error) = check_name("namespace", namespace, NAMESPACE_MAX) {
                return Err(format!("windows: {error}"));
            }
            if !names.insert(namespace) {
                return Err(format!("windows names {name} twice"));
            }
            if *window_ms == 0 {
                return Err(format!("windows: that of {name} must be at least 1"));
            }
        }
        let windows = self.windows.iter().map(|(_, window_ms)| *window_ms);
        if windows.chain([self.window_ms]).any(|window_ms| window_ms > WINDOW_MAX_MS) {
            return Err(format!("window_ms and windows must be at most {WINDOW_MAX_MS}"));
        }
        Ok(())
    }
}
