//! State machines, each broken in one way that the kit must name.

use crate::convicted;
use pannier_simulations::kit::{
    At, Dice, EffectsOf, Event, EventOf, Machine, Nodes, Plan, Violation, ensure, judge,
};

/// What is wrong with it.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Every message is answered with a message.
    Storm,
    /// It panics at the fifth request.
    Panic,
    /// It trusts that messages keep their order.
    Order,
    /// It forgets what it had synced.
    Amnesia,
}

/// A list of numbers that grows at replica 0 and is followed by the others.
struct List(Fault);

#[derive(Default)]
struct Node {
    at: usize,
    replicas: usize,
    numbers: Vec<u64>,
    synced: usize,
}

impl Machine for List {
    type Node = Node;
    type Request = u64;
    type Reply = ();
    type Message = u64;
    type Record = u64;
    /// The longest that was ever safe.
    type Evidence = usize;

    fn start(&self, at: At, replicas: usize, disk: &[u64], _: &mut EffectsOf<Self>) -> Node {
        let kept = if self.0 == Fault::Amnesia { disk.len().min(1) } else { disk.len() };
        let synced = disk.len();
        Node { at: at.replica, replicas, numbers: disk[..kept].to_vec(), synced }
    }

    fn handle(&self, node: &mut Node, event: EventOf<Self>, _: u64, out: &mut EffectsOf<Self>) {
        match event {
            Event::Request(_, number) => {
                node.numbers.push(number);
                out.persist(number);
                let next = node.numbers.len() as u64;
                assert!(self.0 != Fault::Panic || next < 5, "no more than four");
                (0..node.replicas).for_each(|peer| out.send(peer, next));
            }
            Event::Message { from, message } => {
                if self.0 == Fault::Storm {
                    out.send(from, message);
                }
                if self.0 == Fault::Order && from == 0 && node.at != 0 {
                    node.numbers.push(message);
                }
            }
            Event::Synced(records) => node.synced = records,
            Event::Timer(_) => {}
        }
    }

    fn draw(&self, dice: &mut Dice) -> u64 {
        dice.below(100)
    }

    fn check(&self, nodes: &Nodes<Node>, touched: usize, _: &mut usize) -> Result<(), Violation> {
        let Some(node) = nodes.get(touched) else { return Ok(()) };
        if self.0 == Fault::Order && node.at != 0 {
            let followed = node.numbers.is_sorted();
            ensure(followed, "order is kept", || format!("r{touched}: {:?}", node.numbers))?;
        }
        ensure(node.numbers.len() >= node.synced, "synced stays", || {
            format!("r{touched} has {}, and had synced {}", node.numbers.len(), node.synced)
        })
    }
}

fn try_it(fault: Fault) -> pannier_simulations::kit::Verdict {
    judge(&List(fault), &Plan { events: 3_000, ..Plan::default() }).unwrap()
}

#[test]
fn a_storm_is_bounded_and_named() {
    convicted(&try_it(Fault::Storm), "events are bounded", 1, 0);
}

#[test]
fn a_panic_is_a_violation_with_its_words() {
    let story = convicted(&try_it(Fault::Panic), "no panic", 5, 0);
    assert!(story.contains("no more than four"), "{story}");
}

#[test]
fn trust_in_order_takes_two_acts_and_the_messages_that_broke_it() {
    convicted(&try_it(Fault::Order), "order is kept", 2, 1);
}

#[test]
fn forgetting_what_was_synced_is_found_at_the_next_start() {
    convicted(&try_it(Fault::Amnesia), "synced stays", 3, 0);
}
