//! The limits of a replica: every knob of the library, under the library's own name.
//!
//! One table says of each key its bounds and what it sets; the names carry the unit where the
//! library has a type for it. Members and addresses are no limits.

use super::DAY_MS;
use super::key::{Key, Takes};
use pannier_replica::Settings;
use pannier_replica::protocol::WINDOW_MAX_MS;
use pannier_replica::store::{EngineKind, MAX_RECORD_BYTES, UnknownEngine};
use std::time::Duration;

const COUNT_MAX: u64 = 1 << 32;
const BYTES: u64 = 1 << 40;
/// A round is one record of the log, which may be four times what closes the round.
const ROUND_BYTES: u64 = MAX_RECORD_BYTES as u64 / 4;

/// Every limit.
pub fn keys() -> Vec<Key<Settings>> {
    let key = Key::<Settings>::number;
    let mut keys = vec![
        key("commands_max", 1, COUNT_MAX, |s, v| s.commands_max = v as usize),
        key("messages_max", 1, COUNT_MAX, |s, v| s.messages_max = v as usize),
        key("watchers_max", 0, COUNT_MAX, |s, v| s.watchers_max = v as usize),
        key("catch_up_ms", 0, DAY_MS, |s, v| s.catch_up = Duration::from_millis(v)),
        key("durable_peers", 0, 255, |s, v| s.peers = v as u32),
        key("durable_wait_ms", 0, DAY_MS, |s, v| s.peers_wait = Duration::from_millis(v)),
        key("tick_ms", 1, DAY_MS, |s, v| s.tick = Duration::from_millis(v)),
        key("protocol.gossip_us", 1, DAY_MS * 1_000, |s, v| s.protocol.gossip_us = v),
        key("protocol.change_us", 1, DAY_MS * 1_000, |s, v| s.protocol.change_us = v),
        key("protocol.pull_delay_us", 0, DAY_MS * 1_000, |s, v| s.protocol.pull_delay_us = v),
        key("protocol.pull_timeout_us", 1, DAY_MS * 1_000, |s, v| s.protocol.pull_timeout_us = v),
        key("protocol.push_window", 1, COUNT_MAX, |s, v| s.protocol.push_window = v),
        key("protocol.push_timeout_us", 1, DAY_MS * 1_000, |s, v| s.protocol.push_timeout_us = v),
        key("protocol.message_bytes", 1, BYTES, |s, v| s.protocol.message_bytes = v as usize),
        key("protocol.buffer_deltas", 1, COUNT_MAX, |s, v| s.protocol.buffer_deltas = v as usize),
        key("protocol.buffer_bytes", 1, BYTES, |s, v| s.protocol.buffer_bytes = v as usize),
        key("protocol.checkpoint_rows", 1, COUNT_MAX, |s, v| {
            s.protocol.checkpoint_rows = v as usize
        }),
        key("protocol.skew_ms", 0, DAY_MS * 365, |s, v| s.protocol.skew_ms = v),
        key("protocol.round_ops", 1, COUNT_MAX, |s, v| s.protocol.round_ops = v as usize),
        key("protocol.round_bytes", 1, ROUND_BYTES, |s, v| s.protocol.round_bytes = v as usize),
        key("protocol.waiting_max", 1, COUNT_MAX, |s, v| s.protocol.waiting_max = v as usize),
        key("protocol.durable_max", 1, COUNT_MAX, |s, v| s.protocol.durable_max = v as usize),
        key("protocol.window_ms", 1, WINDOW_MAX_MS, |s, v| s.protocol.window_ms = v),
        key("protocol.hold_max_ms", 1, DAY_MS * 365, |s, v| s.protocol.hold_max_ms = v),
        key("protocol.rights_us", 1, DAY_MS * 1_000, |s, v| s.protocol.rights_us = v),
        key("protocol.tend_us", 1, DAY_MS * 1_000, |s, v| s.protocol.tend_us = v),
        key("protocol.log_tail", 1, COUNT_MAX, |s, v| s.protocol.log_tail = v),
        key("protocol.log_most", 1, COUNT_MAX, |s, v| s.protocol.log_most = v),
        key("protocol.snapshot_share", 1, 1_000, |s, v| s.protocol.snapshot_share = v),
        key("fjall.cache_bytes", 0, BYTES, |s, v| s.fjall.cache_bytes = v),
        key("fjall.log_memtable_bytes", 1, BYTES, |s, v| s.fjall.log_memtable_bytes = v),
        key("fjall.entries_memtable_bytes", 1, BYTES, |s, v| s.fjall.entries_memtable_bytes = v),
        key("fjall.ops_memtable_bytes", 1, BYTES, |s, v| s.fjall.ops_memtable_bytes = v),
        key("fjall.journal_bytes", 64 << 20, BYTES, |s, v| s.fjall.journal_bytes = v),
        key("fjall.ring_bytes", 64 << 10, 1 << 28, |s, v| s.fjall.ring_bytes = v),
        key("fjall.view_bytes", 0, BYTES, |s, v| s.fjall.view_bytes = v),
        key("fjall.workers", 1, 256, |s, v| s.fjall.workers = v as usize),
        key("sled.cache_bytes", 4 << 20, BYTES, |s, v| s.sled.cache_bytes = v),
        key("sled.segment_bytes", 2 << 20, 16 << 20, |s, v| s.sled.segment_bytes = v as usize),
        key("sled.view_bytes", 0, BYTES, |s, v| s.sled.view_bytes = v),
    ];
    keys.push(Key::new("protocol.windows", Takes::List, |s: &mut Settings, value| {
        s.protocol.windows =
            value.list().iter().map(|item| window(item)).collect::<Result<_, _>>()?;
        Ok(())
    }));
    keys.push(Key::new("engine", Takes::Text, |s: &mut Settings, value| {
        let engine: EngineKind =
            value.text().parse().map_err(|it: UnknownEngine| it.to_string())?;
        if !engine.is_built() {
            return Err(format!("this build has no engine {engine}"));
        }
        s.engine = Some(engine);
        Ok(())
    }));
    keys
}

/// A namespace and its window, as NAMESPACE=MILLISECONDS.
fn window(item: &str) -> Result<(Box<[u8]>, u64), String> {
    let wrong = || format!("{item:?} is not NAMESPACE=MILLISECONDS");
    let (namespace, window_ms) = item.rsplit_once('=').ok_or_else(wrong)?;
    let window_ms = window_ms.trim().parse().map_err(|_| wrong())?;
    Ok((namespace.trim().as_bytes().into(), window_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::{self, Value};
    use pannier_replica::protocol::ProtocolSettings;
    use pannier_replica::store::SledSettings;
    use pannier_replica::store::fjall::FjallSettings;

    #[test]
    fn every_knob_has_its_key() {
        // A knob that is added to one of these and not to the table fails to compile here.
        let Settings {
            protocol,
            commands_max: _,
            messages_max: _,
            watchers_max: _,
            catch_up: _,
            peers: _,
            peers_wait: _,
            tick: _,
            engine: _,
            fjall,
            sled,
        } = Settings::default();
        let ProtocolSettings {
            members: _,
            addresses: _,
            gossip_us: _,
            change_us: _,
            pull_delay_us: _,
            pull_timeout_us: _,
            push_window: _,
            push_timeout_us: _,
            message_bytes: _,
            buffer_deltas: _,
            buffer_bytes: _,
            checkpoint_rows: _,
            skew_ms: _,
            round_ops: _,
            round_bytes: _,
            waiting_max: _,
            durable_max: _,
            window_ms: _,
            windows: _,
            hold_max_ms: _,
            rights_us: _,
            tend_us: _,
            log_tail: _,
            log_most: _,
            snapshot_share: _,
            format_most: _,
        } = protocol;
        let FjallSettings {
            cache_bytes: _,
            log_memtable_bytes: _,
            entries_memtable_bytes: _,
            ops_memtable_bytes: _,
            journal_bytes: _,
            ring_bytes: _,
            view_bytes: _,
            workers: _,
        } = fjall;
        let SledSettings { cache_bytes: _, segment_bytes: _, view_bytes: _ } = sled;
        assert_eq!(keys().len(), 8 + 23 + 8 + 3);
    }

    #[test]
    fn every_key_sets_its_own() {
        key::each_sets_its_own(keys());
        let engine = keys().into_iter().find(|key| key.name == "engine").unwrap();
        let mut settings = Settings::default();
        for (word, good) in [("fjall", true), ("sled", true), ("rocks", false), ("", false)] {
            let set = engine.set(&mut settings, &Value::Text(word.into()));
            assert_eq!(set.is_ok(), good, "{word}");
        }
        assert_eq!(settings.engine, Some(EngineKind::Sled));
        let windows = keys().into_iter().find(|key| key.name == "protocol.windows").unwrap();
        let list = |items: &[&str]| Value::List(items.iter().map(|it| (*it).to_owned()).collect());
        windows.set(&mut settings, &list(&["views=60000", "a=b = 7"])).unwrap();
        let named = |name: &[u8], ms| (Box::from(name), ms);
        assert_eq!(settings.protocol.windows, [named(b"views", 60_000), named(b"a=b", 7)]);
        for bad in ["views", "views=", "views=-1", "views=soon"] {
            assert!(windows.set(&mut settings, &list(&[bad])).is_err(), "{bad}");
        }
    }
}
