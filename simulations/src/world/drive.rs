//! The driver of the world: starts a replica, feeds it, does its effects. How it ends is in
//! `ends.rs`.

use super::{Up, What, World};
use crate::canary::Canary;
use crate::chance::{Dice, Purpose};
use crate::checkers::Verdict;
use crate::coverage::Mark;
use orset::Origin;
use pannier_replica::protocol::membership::format::FORMAT_MAX;
use pannier_replica::protocol::{Alarm, Effect, Event, Protocol, Start};
use pannier_replica::store::{StateBatch, Store, StoreError};
use std::collections::VecDeque;
use std::sync::Arc;

impl World<'_> {
    /// Opens the disk and recovers, under a fresh origin.
    pub(crate) fn start(&mut self, place: usize) -> Verdict {
        let options = &self.scenario.options;
        let seed = options.seed;
        let start = self.nodes[place].start + 1;
        self.nodes[place].start = start;
        let put_back = std::mem::take(&mut self.nodes[place].is_put_back);
        let named = match self.canary {
            Canary::OriginReused => 1,
            Canary::BackupUnderOldOrigin if put_back => start - 1,
            _ => start,
        };
        let origin = self.names.origin(seed, place, named);
        let (settings, planted) = (self.settings(place), self.canary.of_protocol());
        let opened = self.nodes[place].disk.open().and_then(|store| {
            let store = Arc::new(store);
            let extents = store.log_extents()?;
            let begin = Start {
                member: self.nodes[place].member,
                origin,
                previous: self.nodes[place].previous,
                extents: extents.clone(),
                restored: self.nodes[place].marked,
            };
            let write = |batch: &StateBatch| store.write_state(batch);
            let base = store.clone();
            let protocol = Protocol::with_canary(begin, settings, base, write, planted)?;
            Ok((store, extents, protocol))
        });
        let (store, extents, protocol) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.cannot_start(place, &error),
        };
        self.trace.numbers(&[3, place as u64, self.now_us, start]);
        self.trace.tell(self.now_us, || {
            format!(
                "r{place} starts as r{place}.{start}, recovered {}",
                self.names.vector(protocol.applied())
            )
        });
        let mut ticks = Dice::keyed(seed, Purpose::Tick, place as u64, start);
        let first_us = ticks.between(options.tick_us);
        self.queue.put(self.now_us + first_us, What::Tick { place, start });
        self.nodes[place].previous = Some(origin);
        let (names, coverage) = (&self.names, &mut self.coverage);
        let recovered = self.checks.started(place, &extents, &protocol, &store, names, coverage);
        self.nodes[place].up = Some(Up {
            protocol,
            store,
            staged: VecDeque::new(),
            sync: None,
            checkpoint: None,
            commit_due: false,
            held: VecDeque::new(),
            since_us: self.now_us,
            ticks,
        });
        recovered?;
        if self.nodes[place].marked {
            self.checks.starts_marked(place);
        }
        let watched = std::mem::take(&mut self.nodes[place].watched);
        let first = self.shop.objects[0].first().cloned();
        self.nodes[place].watched =
            if watched.is_empty() { Vec::from_iter(first) } else { watched };
        for object in self.nodes[place].watched.clone() {
            self.feed(place, Event::Watch(object))?;
        }
        Ok(())
    }

    /// One event for a replica, and all that follows from it. Lost when the replica is down.
    pub(crate) fn feed(&mut self, place: usize, event: Event) -> Verdict {
        let Some(up) = &mut self.nodes[place].up else { return Ok(()) };
        let may_be_held = matches!(event, Event::Command(..) | Event::Message { .. });
        if may_be_held && (up.protocol.must_wait_for_checkpoint() || !up.held.is_empty()) {
            self.coverage.hit(Mark::HeldForCheckpoint);
            up.held.push_back(event);
            return Ok(());
        }
        self.handle(place, event)
    }

    fn handle(&mut self, place: usize, event: Event) -> Verdict {
        self.trace.event(place, self.now_us, &event, &self.names);
        let now = self.nodes[place].now(self.now_us);
        self.checks.before(place, &event, &self.nodes, &self.history, &mut self.coverage);
        let Some(up) = &mut self.nodes[place].up else { return Ok(()) };
        if let Err(error) = up.protocol.handle(event, now) {
            return self.cannot_read(place, &error);
        }
        while let Some(effect) = self.nodes[place].up.as_mut().and_then(|up| up.protocol.poll()) {
            self.trace.effect(place, self.now_us, &effect, &self.names);
            self.checks.effect(
                place,
                &effect,
                &self.nodes,
                &self.history,
                &self.names,
                &mut self.coverage,
            )?;
            self.perform(place, effect)?;
        }
        self.checks.after(place, self.steps, &self.nodes, &self.names)?;
        self.spring(place);
        self.schedule_commit(place);
        Ok(())
    }

    fn perform(&mut self, place: usize, effect: Effect) -> Verdict {
        let start = self.nodes[place].start;
        match effect {
            Effect::Persist { round, records } => {
                let Some(up) = &mut self.nodes[place].up else { return Ok(()) };
                match up.store.stage(&records) {
                    Ok(number) => up.staged.push_back((round, number)),
                    Err(StoreError::Poisoned(_)) => return self.storage_failed(place),
                    Err(error) => {
                        let what = format!("r{place} made a round that cannot be stored: {error}");
                        return self.breach("storage", vec![format!("r{place}")], what);
                    }
                }
                if up.staged.len() > 1 {
                    self.coverage.hit(Mark::RoundsInFlight);
                }
                self.begin_sync(place);
            }
            Effect::Reply(ticket, reply) => return self.replied(place, ticket, reply),
            Effect::Send(member, message) => {
                let Some(to) = self.place_of(member) else { return Ok(()) };
                self.messages += 1;
                if self.is_selling() {
                    // What is asked then is whether there are units, not how patient one is.
                    let at_us = self.now_us + self.scenario.options.delay_us.0;
                    self.queue.put(at_us, What::Deliver { from: place, to, message });
                    return Ok(());
                }
                let (link, scenario) = ((place, to), self.scenario);
                let copies =
                    self.network.send(link, message, self.now_us, scenario, &mut self.coverage);
                for (at_us, message) in copies {
                    self.queue.put(at_us, What::Deliver { from: place, to, message });
                }
            }
            Effect::Checkpoint(batch) => {
                let options = &self.scenario.options;
                let after_us = self.nodes[place].disk_us(place, false, self.now_us, options);
                let Some(up) = &mut self.nodes[place].up else { return Ok(()) };
                up.checkpoint = Some(batch);
                self.queue.put(self.now_us + after_us, What::StateDone { place, start });
            }
            Effect::Membership(record) => self.note_membership(&record),
            Effect::Place(..) => {
                if self.nodes[place].is_shut() {
                    self.streams_of_replica_end(place, true);
                }
            }
            Effect::CatchingUp(true) => {}
            Effect::CatchingUp(false) => {
                self.coverage.hit(Mark::CaughtUp);
                self.nodes[place].marked = false;
            }
            Effect::Prune(list) => {
                let Some(up) = &self.nodes[place].up else { return Ok(()) };
                let pruned =
                    list.iter().try_for_each(|(origin, upto)| up.store.prune_log(*origin, *upto));
                self.coverage.hit(Mark::LogPruned);
                if pruned.is_err() {
                    return self.storage_failed(place);
                }
            }
            Effect::Skip(upto) => {
                let options = &self.scenario.options;
                let after_us = self.nodes[place].disk_us(place, false, self.now_us, options);
                let at_us = self.now_us + after_us;
                self.queue.put(at_us, What::Skip { place, start, upto });
            }
            Effect::Changed(_) => self.coverage.hit(Mark::WatcherTold),
            Effect::Alarm(alarm) => return self.alarm(place, &alarm),
            // No operator of this world asks for it (`simulations/tests/rot.rs` has one).
            Effect::Survey(_) => {}
        }
        Ok(())
    }

    fn alarm(&mut self, place: usize, alarm: &Alarm) -> Verdict {
        let options = &self.scenario.options;
        match alarm {
            Alarm::Damaged { .. } if options.damaged > 0 => Ok(()),
            Alarm::ClockSkew { .. } if options.skew_ms > 0 || self.scenario.clocks_jump() => {
                self.coverage.hit(Mark::ClockSkewAlarm);
                Ok(())
            }
            Alarm::NeedsSnapshot { .. } if options.prunes_early() => Ok(()),
            // Of one who is taken in, and waits for its newer build.
            Alarm::Unreadable { .. } if self.nodes[place].reads < FORMAT_MAX => {
                self.coverage.hit(Mark::JoinerTooOld);
                Ok(())
            }
            Alarm::Closed { unseen, .. } if self.nodes[place].dead => {
                let is_news = unseen.iter().any(|(end, last)| *last > end.seq + 1);
                self.coverage.add(Mark::BuriedUnseen, is_news.into());
                Ok(())
            }
            Alarm::WentBack { .. } if self.nodes[place].went_back => {
                self.coverage.hit(Mark::WentBackTold);
                Ok(())
            }
            // Where one replica has not heard of what the other has taken.
            Alarm::OpIdReused { .. } if self.scenario.reuses_op_ids() => Ok(()),
            alarm => {
                let what = format!("r{place} raised {alarm:?}");
                self.breach("alarms", vec![format!("r{place}")], what)
            }
        }
    }

    /// One sync at a time; it covers what is staged when it begins.
    fn begin_sync(&mut self, place: usize) {
        let (now_us, options) = (self.now_us, &self.scenario.options);
        let node = &mut self.nodes[place];
        let start = node.start;
        if let Some(up) = &mut node.up
            && up.sync.is_none()
            && let Some(last) = up.staged.back()
        {
            up.sync = Some(*last);
            let after_us = node.disk_us(place, true, now_us, options);
            self.queue.put(now_us + after_us, What::SyncDone { place, start });
        }
    }

    /// The sync under way returns.
    pub(crate) fn synced(&mut self, place: usize) -> Verdict {
        let Some(up) = &mut self.nodes[place].up else { return Ok(()) };
        let Some((round, number)) = up.sync.take() else { return Ok(()) };
        if up.store.sync_upto(number).is_err() {
            return self.storage_failed(place);
        }
        let issued = up.staged.back().map_or(round, |(last, _)| *last);
        up.staged.retain(|(_, staged)| *staged > number);
        self.checks.durable(place, round);
        let told = if self.canary == Canary::SyncCoversLater { issued } else { round };
        self.handle(place, Event::Synced(told))?;
        self.begin_sync(place);
        Ok(())
    }

    fn schedule_commit(&mut self, place: usize) {
        let options = &self.scenario.options;
        let node = &mut self.nodes[place];
        let start = node.start;
        if let Some(up) = &mut node.up
            && !up.commit_due
            && up.protocol.has_open_round()
            && up.protocol.rounds_in_flight() < options.knobs.pipeline
        {
            up.commit_due = true;
            let batch_us = up.ticks.between(options.knobs.batch_us);
            self.queue.put(self.now_us + batch_us, What::Commit { place, start });
        }
    }

    pub(crate) fn close(&mut self, place: usize) -> Verdict {
        let Some(up) = &mut self.nodes[place].up else { return Ok(()) };
        up.commit_due = false;
        if up.protocol.rounds_in_flight() < self.scenario.options.knobs.pipeline {
            self.handle(place, Event::Commit)
        } else {
            Ok(())
        }
    }

    /// The checkpoint is written, durable or not.
    pub(crate) fn checkpointed(&mut self, place: usize) -> Verdict {
        let Some(up) = &mut self.nodes[place].up else { return Ok(()) };
        let Some(batch) = up.checkpoint.take() else { return Ok(()) };
        let written = up.store.write_state(&batch);
        let durable = up.ticks.chance(500);
        let synced = if durable { up.store.sync_state() } else { Ok(()) };
        match written.and(synced) {
            Ok(()) => {}
            Err(StoreError::Poisoned(_)) => return self.storage_failed(place),
            Err(error) => {
                let what = format!("r{place} made a checkpoint that cannot be stored: {error}");
                return self.breach("storage", vec![format!("r{place}")], what);
            }
        }
        self.coverage.hit(Mark::CheckpointWritten);
        self.handle(place, Event::Checkpointed { durable })?;
        loop {
            let Some(up) = &mut self.nodes[place].up else { return Ok(()) };
            if up.protocol.must_wait_for_checkpoint() {
                return Ok(());
            }
            let Some(event) = up.held.pop_front() else { return Ok(()) };
            self.handle(place, event)?;
        }
    }

    /// A snapshot is joined and its state made durable: logs go on behind it.
    pub(crate) fn skip(&mut self, place: usize, upto: &[(Origin, u64)]) -> Verdict {
        let Some(up) = &mut self.nodes[place].up else { return Ok(()) };
        match up.store.sync_state().and_then(|()| up.store.skip_log(upto)) {
            Ok(()) => {}
            Err(StoreError::Poisoned(_)) => return self.storage_failed(place),
            Err(error) => {
                let what = format!("r{place} cannot skip its log: {error}");
                return self.breach("storage", vec![format!("r{place}")], what);
            }
        }
        let circle = up.protocol.circle();
        let brings_closed = upto.iter().any(|(origin, _)| circle.final_of(*origin).is_some());
        self.coverage.hit(Mark::SnapshotJoined);
        let is_joiner = self.joins_from(place).is_some();
        self.coverage.add(Mark::JoinedBySnapshot, is_joiner.into());
        self.coverage.add(Mark::ClosedBySnapshot, (is_joiner && brings_closed).into());
        self.checks.skipped(place, upto, &self.names)?;
        self.handle(place, Event::Skipped)
    }

    pub(crate) fn ticked(&mut self, place: usize) -> Verdict {
        let start = self.nodes[place].start;
        let Some(up) = &mut self.nodes[place].up else { return Ok(()) };
        let chance = up.ticks.roll();
        let next_us = up.ticks.between(self.scenario.options.tick_us);
        self.queue.put(self.now_us + next_us, What::Tick { place, start });
        self.handle(place, Event::Tick { chance })
    }
}
