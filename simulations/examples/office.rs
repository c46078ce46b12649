//! A state machine on trial: an office whose replicas hand out numbers, no number twice, and tell
//! each other the highest. One that answers before its number is on disk, and one that tells it
//! once and takes delivery for granted, are found out.

use pannier_simulations::kit::*;
use std::collections::{BTreeSet, VecDeque};

struct Office {
    waits_for_sync: bool,
    repeats: bool,
}

struct Clerk {
    at: At,
    replicas: usize,
    given: u64,
    highest: u64,
    records: usize,
    /// Record that must be synced, request, number.
    waiting: VecDeque<(usize, u64, u64)>,
}

impl Clerk {
    fn tell(&self, out: &mut EffectsOf<Office>) {
        (0..self.replicas).for_each(|peer| out.send(peer, self.highest));
    }
}

impl Machine for Office {
    type Node = Clerk;
    type Request = &'static str;
    type Reply = u64;
    type Message = u64;
    type Record = u64;
    type Evidence = ();

    fn start(&self, at: At, replicas: usize, disk: &[u64], out: &mut EffectsOf<Self>) -> Clerk {
        let (given, records) = (disk.last().map_or(0, |given| *given), disk.len());
        let highest = given * replicas as u64;
        out.timer(50_000, 0);
        Clerk { at, replicas, given, highest, records, waiting: VecDeque::new() }
    }

    fn handle(&self, clerk: &mut Clerk, event: EventOf<Self>, _: u64, out: &mut EffectsOf<Self>) {
        match event {
            Event::Request(id, _) => {
                clerk.given += 1;
                clerk.records += 1;
                out.persist(clerk.given);
                let number = clerk.given * clerk.replicas as u64 + clerk.at.replica as u64;
                clerk.waiting.push_back((clerk.records, id, number));
            }
            Event::Message { message, .. } => clerk.highest = clerk.highest.max(message),
            Event::Timer(_) => {
                out.timer(50_000, 0);
                if self.repeats {
                    clerk.tell(out);
                }
            }
            Event::Synced(_) => {}
        }
        let synced = if let Event::Synced(records) = event { records } else { 0 };
        let is_due = |(record, ..): &(usize, u64, u64)| *record <= synced || !self.waits_for_sync;
        while clerk.waiting.front().is_some_and(is_due) {
            let Some((_, id, number)) = clerk.waiting.pop_front() else { break };
            out.reply(id, number);
            clerk.highest = clerk.highest.max(number);
            clerk.tell(out);
        }
    }

    fn draw(&self, _: &mut Dice) -> &'static str {
        "a number, please"
    }

    fn check_history(
        &self,
        history: &HistoryOf<Self>,
        _: &Nodes<Clerk>,
        _: &(),
    ) -> Result<(), Violation> {
        let mut given = BTreeSet::new();
        for (_, number) in history.iter().filter_map(|asked| asked.answer) {
            let twice = || format!("{number} was handed out twice");
            ensure(given.insert(number), "no number twice", twice)?;
        }
        Ok(())
    }

    fn settled(&self, nodes: &Nodes<Clerk>) -> Result<(), String> {
        let known: BTreeSet<u64> = nodes.up().map(|(_, clerk)| clerk.highest).collect();
        if known.len() == 1 { Ok(()) } else { Err(format!("the highest is {known:?}")) }
    }
}

/// The verdicts on the honest office, the hasty one, and the one that trusts the wire.
pub fn trial(plan: &Plan) -> Result<[Verdict; 3], PlanError> {
    let office = |waits_for_sync, repeats| judge(&Office { waits_for_sync, repeats }, plan);
    Ok([office(true, true)?, office(false, true)?, office(true, false)?])
}

/// Prints all three.
pub fn main() -> Result<(), PlanError> {
    let [honest, hasty, trusting] = trial(&Plan::default())?;
    println!("honest\n{honest}\n\nhasty\n{hasty}\n\ntrusting\n{trusting}");
    Ok(())
}
