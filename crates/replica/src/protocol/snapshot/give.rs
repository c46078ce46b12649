//! Giving a snapshot: pages of a view that is held, at the taker's pace, a page a tick at most.
//!
//! A page (`message_bytes`) is read on the writer's thread, and clients wait that long, at most
//! once a tick. The taker says how many pages may be under way, so neither side buffers more than
//! these. A view that the store has let go, or a taker that is not heard of any more, ends it; the
//! taker then asks anew.

use super::{Name, Parcel};
use crate::protocol::message::Message;
use crate::protocol::rows::{Base, COUNTER, ENTRY, MEMORY, ORDER, STOCK, decode_vector, meta_key};
use crate::protocol::settings::ProtocolSettings;
use crate::protocol::time::{Now, Number};
use crate::protocol::{Canary, Effect, Protocol};
use crate::store::{Row, StateView, StoreError};
use orset::{Member, Origin, VersionVector};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Snapshots given at once, at most.
const GIVEN_MAX: usize = 2;

/// Pages that may be under way at most, whatever a taker says.
const CREDIT_MAX: u32 = 16;

/// What is sent, in this order: its kinds of rows.
const KINDS: [u8; 5] = [ENTRY, MEMORY, COUNTER, STOCK, ORDER];

/// One snapshot on its way.
#[derive(Clone)]
struct Given {
    name: Name,
    number: Number,
    view: Arc<dyn StateView>,
    /// What the view stands for; all the log behind it is kept meanwhile.
    vector: VersionVector,
    /// The last key sent.
    sent: Vec<u8>,
    credit: u32,
    is_over: bool,
    heard_us: u64,
}

/// The view is what its name says.
impl Hash for Given {
    fn hash<H: Hasher>(&self, into: &mut H) {
        let Self { name, number, view: _, vector, sent, credit, is_over, heard_us } = self;
        (name, number, vector, sent, credit, is_over, heard_us).hash(into);
    }
}

/// All that are given. See the file's head.
#[derive(Clone, Default, Hash)]
pub(in crate::protocol) struct Giving {
    given: BTreeMap<Member, Given>,
    count: u64,
}

impl Giving {
    /// Up to where the log of an origin may be dropped for their sake; `limit` of it is kept for
    /// them at most, of `applied`.
    pub fn keeps(&self, origin: Origin, applied: u64, limit: u64) -> u64 {
        let needed = self.given.values().map(|given| given.vector.get(origin)).min();
        needed.map_or(u64::MAX, |needed| needed.max(applied.saturating_sub(limit)))
    }
}

impl<B: Base> Protocol<B> {
    /// A member wants a snapshot, or more of it.
    pub(super) fn asked_for_snapshot(
        &mut self,
        from: Member,
        name: Option<Name>,
        after: Option<Vec<u8>>,
        credit: u32,
        now: Now,
    ) -> Result<(), StoreError> {
        let Some(name) = name else { return self.begin_giving(from, credit, now) };
        let Some(given) = self.giving.given.get_mut(&from).filter(|it| it.name == name) else {
            self.parcel(from, Parcel::Gone { name: Some(name) });
            return Ok(());
        };
        given.heard_us = now.mono_us;
        given.credit = credit.min(CREDIT_MAX);
        if let Some(after) = after {
            given.sent = after;
            given.is_over = false;
        }
        Ok(())
    }

    fn begin_giving(&mut self, to: Member, credit: u32, now: Now) -> Result<(), StoreError> {
        self.giving.given.remove(&to);
        let view = if self.giving.given.len() < GIVEN_MAX && !self.is_installing() {
            self.rows.base.view()
        } else {
            Err(StoreError::Refused("too many snapshots are given already".into()))
        };
        let view = match view {
            Ok(view) => view,
            Err(StoreError::Refused(_)) => {
                self.parcel(to, Parcel::Gone { name: None });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let Some(bytes) = view.get(&meta_key(b"vector"))? else {
            // It has never written a checkpoint, so its log is whole.
            self.parcel(to, Parcel::Gone { name: None });
            return Ok(());
        };
        let vector = decode_vector(&bytes).map_err(super::super::apply::corrupted("vector"))?.0;
        self.giving.count += 1;
        let name = Name { start: self.origin, count: self.giving.count };
        let (number, sent) = (self.number(), Vec::new());
        let (credit, heard_us) = (credit.min(CREDIT_MAX), now.mono_us);
        let given = Given { name, number, view, vector, sent, credit, is_over: false, heard_us };
        self.giving.given.insert(to, given);
        self.stats.snapshots_given += 1;
        Ok(())
    }

    /// A page to each that may have one; ends those that nobody asks for any more.
    pub(in crate::protocol) fn tick_giving(&mut self, now: Now) -> Result<(), StoreError> {
        let patience_us = patience_us(&self.settings);
        self.giving.given.retain(|_, it| now.mono_us <= it.heard_us.saturating_add(patience_us));
        let most = self.settings.message_bytes;
        let mut parcels = Vec::new();
        for (to, given) in &mut self.giving.given {
            if given.credit == 0 || given.is_over {
                continue;
            }
            let page = match given.page(most, self.canary) {
                Ok(page) => page,
                Err(StoreError::ViewTooOld { .. }) => Parcel::Gone { name: Some(given.name) },
                Err(error) => return Err(error),
            };
            parcels.push((*to, page));
        }
        for (to, parcel) in parcels {
            if matches!(parcel, Parcel::Gone { .. }) {
                self.giving.given.remove(&to);
            }
            self.parcel(to, parcel);
        }
        Ok(())
    }

    pub(super) fn parcel(&mut self, to: Member, parcel: Parcel) {
        self.effect(Effect::Send(to, Message::Snapshot(parcel)));
    }
}

/// How long one side waits for a word of the other.
pub(super) fn patience_us(settings: &ProtocolSettings) -> u64 {
    settings.pull_timeout_us.saturating_mul(40)
}

impl Given {
    /// The next page; credit and place move on.
    fn page(&mut self, most: usize, canary: Canary) -> Result<Parcel, StoreError> {
        let after = self.sent.clone();
        let mut rows: Vec<Row> = Vec::new();
        if after.is_empty() {
            for name in [&b"cuts"[..], b"vector"] {
                let key = meta_key(name);
                if let Some(value) = self.view.get(&key)? {
                    rows.push((key, value));
                }
            }
        }
        let mut left = most;
        for kind in KINDS {
            let forgets = canary == Canary::SnapshotWithoutMemory && kind == MEMORY;
            let is_behind = after.first().is_some_and(|first| *first > kind);
            if left == 0 || is_behind || forgets {
                continue;
            }
            let behind = (after.first() == Some(&kind)).then_some(&after[..]);
            let found = self.view.scan(&[kind], behind, usize::MAX, left)?;
            let bytes: usize = found.iter().map(|(key, value)| key.len() + value.len()).sum();
            left = left.saturating_sub(bytes);
            rows.extend(found);
        }
        // A page that is not full has met the end of every kind.
        self.is_over = left > 0;
        self.credit -= 1;
        if let Some((key, _)) = rows.last() {
            self.sent.clone_from(key);
        }
        let (name, number, is_last) = (self.name, self.number, self.is_over);
        Ok(Parcel::Page { name, number, after, rows, is_last })
    }
}
