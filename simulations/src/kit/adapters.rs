//! Types as they come: functions in, a [`Replicated`] out.
//!
//! `merge` and `apply` are given as functions, so any crate's will do, by its name:
//! `crdts::CvRDT::merge`, `crdts::CmRDT::apply`, `|a, b| orset::Lattice::join(a, &b)`. Nothing here
//! depends on any of them.

use super::machine::At;
use super::replicated::{Order, Past, Replicated, Travels};
use crate::chance::Dice;
use std::fmt::Debug;

/// A replicated value made of functions; see [`by_state`] and [`by_op`].
pub struct Adapted<State, Op, Message, Value> {
    bottom: Box<dyn Fn() -> State>,
    draw: Box<dyn Fn(&mut Dice) -> Op>,
    act: Box<dyn Fn(&mut State, At, &Op) -> Message>,
    receive: Box<dyn Fn(&mut State, Message)>,
    whole: Option<fn(&State) -> Message>,
    value: Box<dyn Fn(&State) -> Value>,
    travels: Travels,
    specification: Option<Box<dyn Fn(&Past<'_, Op>) -> Value>>,
    invariant: Option<Box<dyn Fn(&State) -> Result<(), String>>>,
}

/// A type whose states travel and join: a `CvRDT`, a lattice.
///
/// `act` changes the state of one replica; whoever needs a name of its own for each life of a
/// replica makes it of `At`.
pub fn by_state<State: Clone, Op, Value>(
    bottom: impl Fn() -> State + 'static,
    merge: impl Fn(&mut State, State) + 'static,
    draw: impl Fn(&mut Dice) -> Op + 'static,
    act: impl Fn(&mut State, At, &Op) + 'static,
    value: impl Fn(&State) -> Value + 'static,
) -> Adapted<State, Op, State, Value> {
    Adapted {
        bottom: Box::new(bottom),
        draw: Box::new(draw),
        act: Box::new(move |state, at, op| {
            act(state, at, op);
            state.clone()
        }),
        receive: Box::new(merge),
        whole: Some(State::clone),
        value: Box::new(value),
        travels: Travels::States,
        specification: None,
        invariant: None,
    }
}

/// A type whose mutations return a delta, which is a state and joins as one: `orset::Cart`.
///
/// `act` says what an op adds to the state of a replica, and changes nothing.
pub fn by_delta<State: Clone, Op, Value>(
    order: Order,
    bottom: impl Fn() -> State + 'static,
    merge: impl Fn(&mut State, State) + Clone + 'static,
    draw: impl Fn(&mut Dice) -> Op + 'static,
    act: impl Fn(&State, At, &Op) -> State + 'static,
    value: impl Fn(&State) -> Value + 'static,
) -> Adapted<State, Op, State, Value> {
    let adapted = by_op(order, bottom, merge, draw, act, value);
    Adapted { travels: Travels::Deltas(order), whole: Some(State::clone), ..adapted }
}

/// A type whose ops travel: a `CmRDT`.
///
/// `act` says what an op means at a replica, and changes nothing; what it says is applied there and
/// at all others, in the order that is asked for.
pub fn by_op<State, Op, Message: Clone, Value>(
    order: Order,
    bottom: impl Fn() -> State + 'static,
    apply: impl Fn(&mut State, Message) + Clone + 'static,
    draw: impl Fn(&mut Dice) -> Op + 'static,
    act: impl Fn(&State, At, &Op) -> Message + 'static,
    value: impl Fn(&State) -> Value + 'static,
) -> Adapted<State, Op, Message, Value> {
    let apply_here = apply.clone();
    Adapted {
        bottom: Box::new(bottom),
        draw: Box::new(draw),
        act: Box::new(move |state, at, op| {
            let message = act(state, at, op);
            apply_here(state, message.clone());
            message
        }),
        receive: Box::new(apply),
        whole: None,
        value: Box::new(value),
        travels: Travels::Ops(order),
        specification: None,
        invariant: None,
    }
}

impl<State, Op, Message, Value> Adapted<State, Op, Message, Value> {
    /// With a naive function from what a replica knows to what it ought to show.
    #[must_use]
    pub fn specified(mut self, right: impl Fn(&Past<'_, Op>) -> Value + 'static) -> Self {
        self.specification = Some(Box::new(right));
        self
    }

    /// With what must hold of every state.
    #[must_use]
    pub fn with_invariant(
        mut self,
        holds: impl Fn(&State) -> Result<(), String> + 'static,
    ) -> Self {
        self.invariant = Some(Box::new(holds));
        self
    }
}

impl<State, Op, Message, Value> Replicated for Adapted<State, Op, Message, Value>
where
    State: Clone + PartialEq + Debug,
    Op: Clone + Debug,
    Message: Clone + Debug,
    Value: Clone + PartialEq + Debug,
{
    type State = State;
    type Op = Op;
    type Message = Message;
    type Value = Value;

    fn bottom(&self) -> State {
        (self.bottom)()
    }

    fn draw(&self, dice: &mut Dice) -> Op {
        (self.draw)(dice)
    }

    fn act(&self, state: &mut State, at: At, op: &Op) -> Message {
        (self.act)(state, at, op)
    }

    fn receive(&self, state: &mut State, message: &Message) {
        (self.receive)(state, message.clone());
    }

    fn whole(&self, state: &State) -> Option<Message> {
        self.whole.map(|whole| whole(state))
    }

    fn travels(&self) -> Travels {
        self.travels
    }

    fn value(&self, state: &State) -> Value {
        (self.value)(state)
    }

    fn specification(&self, past: &Past<'_, Op>) -> Option<Value> {
        self.specification.as_ref().map(|right| right(past))
    }

    fn invariant(&self, state: &State) -> Result<(), String> {
        self.invariant.as_ref().map_or(Ok(()), |holds| holds(state))
    }
}
