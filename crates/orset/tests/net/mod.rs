//! Three members of a stock, each with its own view: what one does comes to the others late, in any
//! causal order. After each step the view that has taken it in must keep its invariants.

use orset::stock::{Heirs, Step, apply};
use orset::{Dot, Member, OpId, OpIdSession, Origin, Stock};

pub const MEMBERS: usize = 3;

pub fn member(at: usize) -> Member {
    Member::from_bytes([at as u8 + 1; 16])
}

pub fn op(n: u8) -> OpId {
    OpIdSession::new(1_700_000_000, n.into()).next_id().unwrap()
}

#[derive(Clone)]
struct Delta {
    by: usize,
    op: OpId,
    steps: Vec<Step>,
    dot: Dot,
    deps: [u64; MEMBERS],
}

pub struct Net {
    pub views: Vec<Stock>,
    pub heirs: Heirs,
    has: [[u64; MEMBERS]; MEMBERS],
    log: [Vec<Delta>; MEMBERS],
}

impl Net {
    pub fn new() -> Self {
        let (has, log) = Default::default();
        Self { views: vec![Stock::new(); MEMBERS], heirs: Heirs::new(), has, log }
    }

    /// A member commits; its dot, unless there is nothing to commit.
    pub fn does(&mut self, at: usize, op: OpId, steps: &[Step]) -> Result<Option<Dot>, String> {
        if steps.is_empty() {
            return Ok(None);
        }
        let seq = self.log[at].len() as u64 + 1;
        let dot = Dot::new(Origin::of(member(at), 7), seq);
        let delta = Delta { by: at, op, steps: steps.to_vec(), dot, deps: self.has[at] };
        self.log[at].push(delta.clone());
        self.take(at, &delta)?;
        Ok(Some(dot))
    }

    fn take(&mut self, at: usize, delta: &Delta) -> Result<(), String> {
        let view = &mut self.views[at];
        let Ok(applied) =
            apply(view, &self.heirs, member(delta.by), delta.op, &delta.steps, delta.dot);
        self.has[at][delta.by] += 1;
        if applied.is_short || applied.is_odd {
            return Err(format!("{applied:?} at {at}, of {:?}", delta.steps));
        }
        view.check_invariants(&self.heirs).map_err(Into::into)
    }

    /// The next of one member's deltas comes to another, if its causes have.
    pub fn hears(&mut self, at: usize, of: usize) -> Result<bool, String> {
        let Some(delta) = self.log[of].get(self.has[at][of] as usize).cloned() else {
            return Ok(false);
        };
        if at == of || (0..MEMBERS).any(|it| delta.deps[it] > self.has[at][it]) {
            return Ok(false);
        }
        self.take(at, &delta)?;
        Ok(true)
    }

    /// Whether a commit is in a member's view.
    pub fn knows(&self, at: usize, dot: Dot) -> bool {
        (0..MEMBERS)
            .any(|of| dot.origin == Origin::of(member(of), 7) && dot.seq <= self.has[at][of])
    }
}
