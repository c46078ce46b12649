//! What is counted, as Prometheus reads it (text format 0.0.4).
//!
//! By hand: nearly everything is counted elsewhere already (the protocol's `Stats`, the links, the
//! rooms) and read when it is asked for. A registry would hold a second copy of each, moved on a
//! timer or by collectors as long as this file; the format itself is thirty lines, and a test reads
//! it back.

use super::admin::not_ready_because;
use super::shared::Shared;
use crate::embed::Snapshot;
use orset::stock::Moved;
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

/// Everything, at this moment. Of a replica that has ended, what the server knows.
pub(super) async fn text(shared: &Shared) -> String {
    let mut page = Page::default();
    let (replica, counts) = (&shared.replica, &shared.counts);
    let is_ready = not_ready_because(shared).is_none();
    page.gauge("ready", "1 when requests are taken.", u64::from(is_ready));
    let uptime_us = replica.now_us().saturating_sub(shared.began_us);
    page.gauge("uptime_seconds", "Since the server began.", uptime_us / 1_000_000);
    let (commands, messages) = replica.mailbox().waiting();
    page.gauge("commands_queued", "Commands that wait for the writer.", commands);
    page.gauge("messages_queued", "Messages of peers that wait for the writer.", messages);
    page.gauge("connections", "Open connections of clients.", counts.connections.open());
    page.gauge("inner_connections", "Open inner connections.", counts.inner_connections.open());
    page.gauge("calls", "Unary calls under way.", counts.calls.open());
    page.gauge("streams", "Open Execute streams.", counts.streams.open());
    page.gauge("watches", "Open watches.", counts.watches.open());
    let calls = counts.calls_total.load(Relaxed);
    page.counter("calls_total", "Unary calls taken in.", calls);
    let commands = counts.commands_total.load(Relaxed);
    page.counter("stream_commands_total", "Commands of streams taken in.", commands);
    let events = counts.events_total.load(Relaxed);
    page.counter("watch_events_total", "Values sent to watchers.", events);
    let broken = counts.broken.load(Relaxed);
    page.counter("connections_broken_total", "Connections that broke or never spoke.", broken);
    page.begin("refusals_total", "counter", "Errors told to clients, by reason.");
    for (reason, count) in counts.refusals() {
        page.line("refusals_total", &[("reason", reason.as_str())], count);
    }
    if let Ok(bytes) = replica.disk_bytes_soon().await {
        page.gauge("disk_bytes", "Bytes on disk, log and state.", bytes);
    }
    links(&mut page, shared);
    let Ok(standing) = replica.status_soon().await else { return page.text };
    let stats = &standing.stats;
    page.gauge("commands_waiting", "Commands that wait for their session.", standing.waiting);
    let waiting = standing.waiting_for_peers;
    page.gauge("writes_waiting_for_peers", "Writes that wait for peers.", waiting);
    let help = "1 while it takes in no change: its disk went back, and it catches up.";
    page.gauge("catching_up", help, u64::from(standing.catching_up));
    page.gauge("deltas_buffered", "Deltas that wait for their causes.", standing.buffered);
    for (name, help, value) in [
        ("ops_total", "Own ops committed.", stats.ops),
        ("duplicates_total", "Own ops that were known already.", stats.duplicates),
        ("rounds_total", "Own and others' rounds closed.", stats.rounds),
        ("deltas_applied_total", "Deltas of others applied.", stats.deltas_applied),
        ("deltas_dropped_total", "Deltas dropped for want of room.", stats.deltas_dropped),
        ("payload_received_bytes_total", "Bytes of deltas received.", stats.payload_received),
        ("payload_missing_bytes_total", "Of them, what was missing.", stats.payload_missing),
        ("checkpoints_total", "Checkpoints handed out.", stats.checkpoints),
        ("totals_compared_total", "State sums compared with a peer's.", stats.totals_compared),
        ("waits_total", "Commands that waited for their session.", stats.waited),
        ("reads_after_sync_total", "Reads that waited for a sync.", stats.reads_after_sync),
        ("pulls_served_total", "Pulls of peers answered.", stats.pulls_served),
        ("pushes_paused_total", "Times pushing to a peer paused.", stats.pushes_paused),
        ("memberships_total", "Memberships that came into force.", stats.changes),
        ("changes_abandoned_total", "Changes proposed here and given up.", stats.changes_abandoned),
        ("peers_waits_total", "Writes that waited for peers.", stats.waited_for_peers),
        ("peers_short_total", "Of them, not on all peers in time.", stats.unreplicated),
        ("op_ids_forgotten_total", "Op ids forgotten.", stats.op_ids_forgotten),
        ("deltas_pruned_total", "Deltas dropped from the log.", stats.deltas_pruned),
        ("snapshots_given_total", "Snapshots begun for others.", stats.snapshots_given),
        ("snapshots_taken_total", "Snapshots joined here.", stats.snapshots_taken),
        (
            "snapshots_given_up_total",
            "Snapshots dropped here unfinished.",
            stats.snapshots_given_up,
        ),
        ("snapshot_bytes_total", "Bytes of snapshots that came in.", stats.snapshot_bytes),
        ("pruned_told_total", "Pulls answered with \"no longer here\".", stats.pruned_told),
        ("surveys_total", "Times everything stored was read.", stats.surveys),
        ("buckets_differing_total", "Buckets unlike a peer's.", stats.buckets_differing),
        ("buckets_mended_total", "Buckets mended from a peer.", stats.buckets_mended),
        ("rights_waits_total", "Purchases that waited for rights.", stats.waited_for_rights),
        (
            "rights_asked_ahead_total",
            "Times rights were asked for before they were wanted.",
            stats.asked_ahead,
        ),
        ("rights_granted_total", "Times units were lent to another member.", stats.grants),
        ("sold_out_total", "Purchases answered \"sold out\".", stats.sold_out),
        ("unavailable_total", "Purchases for which nobody was heard.", stats.unavailable),
        ("holds_lapsed_total", "Holds that lapsed here.", stats.lapsed),
        ("holds_not_allowed_total", "Tentative holds over the limit.", stats.holds_not_allowed),
        ("alarms_total", "Alarms: look at the log.", standing.alarms.count),
    ] {
        page.counter(name, help, value);
    }
    let Moved { minted, held, sold, given_back, lent, written_off } = stats.units;
    let help = "Units of all stocks that were moved here, by what became of them.";
    page.begin("units_total", "counter", help);
    for (what, units) in [
        ("minted", minted),
        ("held", held),
        ("sold", sold),
        ("given_back", given_back),
        ("lent", lent),
        ("written_off", written_off),
    ] {
        page.line("units_total", &[("what", what)], units);
    }
    let number = standing.membership.number;
    page.gauge("membership_number", "Number of the membership in force.", number);
    let lacks = standing.lacks_to_join;
    page.gauge("lacks_to_join", "Commits that a joiner lacks until it serves.", lacks);
    let help = "Own commits that a peer has not acknowledged.";
    page.begin("peer_unacknowledged", "gauge", help);
    for (member, count) in &standing.unacknowledged {
        page.line("peer_unacknowledged", &[("peer", &member.to_string())], count);
    }
    page.histogram("sync_seconds", "Appending and syncing a round.", &standing.sync_times);
    page.text
}

fn links(page: &mut Page, shared: &Shared) {
    let Some(links) = &shared.links else { return };
    let peers: Vec<_> =
        links.peers().into_iter().map(|peer| (peer.member.to_string(), peer)).collect();
    page.begin("peer_connected", "gauge", "1 when what is sent to the peer may arrive.");
    for (name, peer) in &peers {
        page.line("peer_connected", &[("peer", name)], u64::from(peer.connected));
    }
    page.begin("peer_heard_seconds", "gauge", "Since a message of the peer came.");
    for (name, peer) in &peers {
        if let Some(ms) = peer.heard_ms_ago {
            page.line("peer_heard_seconds", &[("peer", name)], Thousandths(ms));
        }
    }
    page.begin("peer_silent", "gauge", "1 when nothing was heard of the peer for 3 s.");
    for (name, peer) in &peers {
        page.line("peer_silent", &[("peer", name)], u64::from(peer.is_silent()));
    }
    page.begin("peer_queued_bytes", "gauge", "Bytes that wait to be sent to the peer.");
    for (name, peer) in &peers {
        page.line("peer_queued_bytes", &[("peer", name)], peer.queued_bytes);
    }
    page.begin("peer_bytes_total", "counter", "Bytes to and from the peer.");
    for (name, peer) in &peers {
        page.line("peer_bytes_total", &[("peer", name), ("way", "out")], peer.bytes_out);
        page.line("peer_bytes_total", &[("peer", name), ("way", "in")], peer.bytes_in);
    }
    page.begin("peer_dropped_total", "counter", "Messages lost for want of room or link.");
    for (name, peer) in &peers {
        page.line("peer_dropped_total", &[("peer", name), ("way", "out")], peer.dropped_out);
        page.line("peer_dropped_total", &[("peer", name), ("way", "in")], peer.dropped_in);
    }
    page.begin("peer_reconnects_total", "counter", "Times the link to the peer was opened again.");
    for (name, peer) in &peers {
        page.line("peer_reconnects_total", &[("peer", name)], peer.reconnects);
    }
}

/// Thousandths of a second, in seconds.
struct Thousandths(u64);

impl Display for Thousandths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// Millionths of a second, in seconds.
struct Millionths(u64);

impl Display for Millionths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The text as it grows. Every name begins with `pannier_`.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP pannier_{name} {help}\n# TYPE pannier_{name} {kind}\n");
    }

    /// One value; label values are plain words and ids, which need no escapes.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "pannier_{name}");
        for (at, (label, of)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"{of}\"", if at == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.begin(name, "gauge", help);
        self.line(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.begin(name, "counter", help);
        self.line(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, snapshot: &Snapshot) {
        self.begin(name, "histogram", help);
        let (bucket, mut count) = (format!("{name}_bucket"), 0);
        for (end, up_to) in &snapshot.steps {
            let end = end.map_or_else(|| "+Inf".to_owned(), |us| Millionths(us).to_string());
            self.line(&bucket, &[("le", &end)], up_to);
            count = *up_to;
        }
        self.line(&format!("{name}_sum"), &[], Millionths(snapshot.sum_us));
        self.line(&format!("{name}_count"), &[], count);
    }
}
