//! Those who break things: acts that are not a shopper's.

use crate::checkers::Verdict;
use crate::coverage::Mark;
use crate::scenario::{Act, Doing, REPLICAS_MAX};
use crate::world::{What, World};
use pannier_replica::store::memory::{Fault, InDoubt};

impl World<'_> {
    /// Does one act, whoever's it is.
    pub(crate) fn act(&mut self, act: Act) -> Verdict {
        match act.what {
            Doing::Shop { .. } => return self.shop_act(act),
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
            Doing::Cut { links, for_us } => {
                let until_us = self.now_us + for_us;
                self.network.cut(links, until_us);
                let link = |from: usize, to: usize| links >> (from * REPLICAS_MAX + to) & 1;
                let places = 0..REPLICAS_MAX;
                if places.clone().any(|a| places.clone().any(|b| link(a, b) > link(b, a))) {
                    self.coverage.hit(Mark::OneWayCut);
                }
                if until_us < self.scenario.options.duration_us {
                    self.coverage.hit(Mark::PartitionHealed);
                }
                self.trace.numbers(&[11, links, until_us]);
                self.trace.tell(self.now_us, || format!("cut {}", tell_links(links)));
            }
            Doing::Jump { replica, by_ms } => {
                self.nodes[replica].off_ms += by_ms;
                self.coverage.hit(Mark::ClockJumped);
                self.trace.tell(self.now_us, || format!("r{replica} clock jumps {by_ms} ms"));
            }
            Doing::Slow { replica, by_us, for_us } => {
                self.nodes[replica].slow = (self.now_us + for_us, by_us);
            }
            Doing::Drain { replica, for_us, pause_us } => self.drain(replica, for_us, pause_us),
            Doing::GatewayCrash { gateway, pause_us } => {
                return self.crash_gateway(gateway % self.gateways.len(), pause_us);
            }
            Doing::FailSync { replica } => {
                if self.nodes[replica].up.is_some() {
                    self.nodes[replica].disk.fail_next(Fault::LogSync);
                }
            }
        }
        Ok(())
    }

    /// The end of the first phase: what is broken is mended, who is down starts again.
    pub(crate) fn heal(&mut self) -> Verdict {
        self.network.heal();
        self.trace.tell(self.now_us, || "faults end".into());
        for place in 0..self.nodes.len() {
            self.nodes[place].slow = (0, 0);
            let start = self.nodes[place].start;
            if self.nodes[place].up.is_none() && !self.nodes[place].dead {
                self.queue.put(self.now_us, What::Restart { place, start });
            }
        }
        Ok(())
    }
}

fn tell_links(links: u64) -> String {
    let all = 0..REPLICAS_MAX * REPLICAS_MAX;
    let cut = all.filter(|link| links >> link & 1 == 1);
    let names: Vec<String> =
        cut.map(|link| format!("r{}>r{}", link / REPLICAS_MAX, link % REPLICAS_MAX)).collect();
    names.join(" ")
}
