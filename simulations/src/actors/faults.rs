//! Those who break things: acts that are not a shopper's.

use crate::checkers::Verdict;
use crate::coverage::Mark;
use crate::scenario::{Act, DiskCall, Doing, Links};
use crate::world::{What, World};
use pannier_replica::store::memory::{Fault, InDoubt, Rot};

impl World<'_> {
    /// Does one act, whoever's it is.
    pub(crate) fn act(&mut self, act: Act) -> Verdict {
        match act.what {
            Doing::Shop { .. } => return self.shop_act(act),
            Doing::Trade { .. } => return self.trade_act(act),
            Doing::Order { .. } => return self.till_act(act),
            Doing::Join { joiner } => return self.wants_in(joiner),
            Doing::Leave { place } => return self.wants_out(place),
            Doing::Bury { heir, returns } => return self.buries(heir, returns),
            Doing::Raise { place } => return self.wants_newest(place),
            Doing::Build { replica, reads, pause_us } => {
                return self.build(replica, reads, pause_us);
            }
            Doing::Ambush { .. } => self.ambushes.push(act),
            Doing::Replace { place, joiner } => return self.wants_instead(place, joiner),
            Doing::Crash { replica, keep_log, keep_state, pause_us } => {
                let in_doubt = self.nodes[replica].disk.in_doubt();
                let part = |n: usize, of_255: u8| n * usize::from(of_255) / 255;
                let keep = InDoubt {
                    appends: part(in_doubt.appends, keep_log),
                    prunings: in_doubt.prunings,
                    writes: part(in_doubt.writes, keep_state),
                };
                self.crash(replica, keep, pause_us)?;
            }
            Doing::Cut { links, for_us } => self.cut(links, for_us),
            Doing::Flap { links, off_us, on_us, for_us } => {
                self.cut(links, off_us);
                let next_us = off_us + on_us.max(1);
                if let Some(left_us) = for_us.checked_sub(next_us).filter(|_| !self.healed) {
                    self.coverage.hit(Mark::Flapped);
                    let what = Doing::Flap { links, off_us, on_us, for_us: left_us };
                    let at_us = self.now_us + next_us;
                    self.queue.put(at_us, What::Act(Act { at_us, what, ..act }));
                }
            }
            Doing::Jump { replica, by_ms } => {
                self.nodes[replica].off_ms += by_ms;
                self.coverage.hit(Mark::ClockJumped);
                self.trace.tell(self.now_us, || format!("r{replica} clock jumps {by_ms} ms"));
            }
            Doing::Slow { replica, by_us, for_us } => {
                self.nodes[replica].slow = (self.now_us + for_us, by_us);
            }
            Doing::Backup { replica } => self.back_up(replica)?,
            Doing::PutBack { replica, marked, pause_us } => {
                self.put_back(replica, marked, pause_us)?;
            }
            Doing::Drain { replica, for_us, pause_us } => self.drain(replica, for_us, pause_us),
            Doing::GatewayCrash { gateway, pause_us } => {
                return self.crash_gateway(gateway % self.gateways.len(), pause_us);
            }
            Doing::FailDisk { replica, call } => {
                if self.nodes[replica].up.is_some() {
                    self.nodes[replica].disk.fail_next(match call {
                        DiskCall::LogWrite => Fault::LogWrite,
                        DiskCall::LogSync => Fault::LogSync,
                        DiskCall::StateWrite => Fault::StateWrite,
                        DiskCall::StateSync => Fault::StateSync,
                    });
                }
            }
            Doing::Full { replica, for_us } => {
                let until_us = self.now_us + for_us;
                let node = &mut self.nodes[replica];
                node.full_until_us = node.full_until_us.max(until_us);
                node.disk.set_full(true);
                self.trace.tell(self.now_us, || format!("r{replica} has no room on its disk"));
                self.queue.put(until_us, What::Room { place: replica });
            }
            Doing::Rot { replica, row, bit } => self.rot(replica, row, bit),
            Doing::Pause { replica, for_us } => {
                let node = &mut self.nodes[replica];
                node.busy_until_us = node.busy_until_us.max(self.now_us + for_us);
                self.coverage.hit(Mark::Paused);
                self.trace.tell(self.now_us, || format!("r{replica} stands still"));
            }
            Doing::Drag { replica, by_us, for_us } => {
                self.nodes[replica].starved = (self.now_us + for_us, by_us);
                self.coverage.hit(Mark::Starved);
                self.trace.tell(self.now_us, || format!("r{replica} is starved"));
            }
        }
        Ok(())
    }

    /// It is stopped, with all that it has on disk, and another build started.
    fn build(&mut self, place: usize, reads: u32, pause_us: u64) -> Verdict {
        let went = std::mem::replace(&mut self.nodes[place].reads, reads);
        self.coverage.add(Mark::BuildWentBack, (reads < went).into());
        if self.nodes[place].up.is_none() {
            return Ok(());
        }
        self.crash(place, InDoubt::EVERYTHING, Some(pause_us))
    }

    fn cut(&mut self, links: Links, for_us: u64) {
        let until_us = self.now_us + for_us;
        self.network.cut(links, until_us);
        if links.iter().any(|(from, to)| !links.has(to, from)) {
            self.coverage.hit(Mark::OneWayCut);
        }
        if until_us < self.scenario.options.duration_us {
            self.coverage.hit(Mark::PartitionHealed);
        }
        self.trace.numbers(&[11, links.0, until_us]);
        self.trace.tell(self.now_us, || format!("cut {}", tell_links(links)));
    }

    /// There is room on a disk again.
    pub(crate) fn room(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        if node.full_until_us <= self.now_us {
            node.disk.set_full(false);
        }
    }

    /// The first row at or after the one named that is on the disk decays.
    fn rot(&mut self, place: usize, row: u64, bit: u64) {
        let node = &mut self.nodes[place];
        let Some(up) = &node.up else { return };
        let rows = up.protocol.dump().unwrap_or_default();
        let from = (row % (rows.len() as u64).max(1)) as usize;
        let mut keys = rows.keys().skip(from).chain(rows.keys().take(from));
        if keys.any(|key| node.disk.rot(key, bit as usize, Rot::Detected)) {
            node.rotten = true;
            self.checks.decayed(place);
            self.trace.tell(self.now_us, || format!("a row of r{place} decays"));
        }
    }

    /// The end of the first phase: what is broken is mended, who is down starts again.
    pub(crate) fn heal(&mut self) -> Verdict {
        self.network.heal();
        self.trace.tell(self.now_us, || "faults end".into());
        for place in 0..self.nodes.len() {
            self.nodes[place].slow = (0, 0);
            self.nodes[place].hears = true;
            self.nodes[place].starved = (0, 0);
            self.nodes[place].full_until_us = 0;
            self.room(place);
            if self.nodes[place].rotten && !self.nodes[place].dead {
                // Nobody may have read the row. Its operator takes the replica out, up or down.
                self.crash(place, InDoubt::EVERYTHING, None)?;
                self.nodes[place].dead = true;
            }
            let start = self.nodes[place].start;
            if self.nodes[place].up.is_none() && !self.nodes[place].dead && !self.nodes[place].gone
            {
                self.queue.put(self.now_us, What::Restart { place, start });
            }
        }
        Ok(())
    }
}

fn tell_links(links: Links) -> String {
    let names: Vec<String> = links.iter().map(|(from, to)| format!("r{from}>r{to}")).collect();
    names.join(" ")
}
