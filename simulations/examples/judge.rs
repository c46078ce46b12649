//! Two types of the `crdts` crate on trial as a shopping cart: a map of counters, which is what
//! everybody builds first, and an add-wins set.

use crdts::{CmRDT, CvRDT, Map, Orswot, PNCounter};
use pannier_simulations::kit::{
    At, Dice, Lattice, Past, Plan, PlanError, Verdict, by_state, judge,
};
use std::collections::{BTreeMap, BTreeSet};

type Basket = Map<&'static str, PNCounter<At>, At>;
type Shelf = Orswot<&'static str, At>;

/// `("tea", 2)` adds two, `("tea", 0)` removes what the replica has.
type Op = (&'static str, u64);

fn draw(dice: &mut Dice) -> Op {
    (dice.pick(&["tea", "jam"]), dice.below(4))
}

/// What ought to be shown: every unit that was added, but for those whose remover had seen it.
fn right(past: &Past<'_, Op>) -> BTreeMap<&'static str, u64> {
    let mut lines = BTreeMap::new();
    for add in past.unseen(|op| op.1 > 0, |end, add| end.1 == 0 && end.0 == add.0) {
        *lines.entry(add.op.0).or_default() += add.op.1;
    }
    lines
}

/// The verdicts on the map and on the set.
pub fn trial(plan: &Plan) -> Result<(Verdict, Verdict), PlanError> {
    let act = |basket: &mut Basket, at: At, (product, n): &Op| {
        let add = |line: &PNCounter<At>, _| line.inc_many(at, *n);
        basket.apply(match n {
            0 => basket.rm(*product, basket.get(product).derive_rm_ctx()),
            _ => basket.update(*product, basket.read_ctx().derive_add_ctx(at), add),
        });
    };
    let units = |line: &PNCounter<At>| line.read().try_into().unwrap_or(u64::MAX);
    let lines = move |map: &Basket| map.iter().map(|it| (*it.val.0, units(it.val.1))).collect();
    let map = by_state(Map::new, CvRDT::merge, draw, act, lines).specified(right);

    let act = |shelf: &mut Shelf, at: At, (product, n): &Op| {
        shelf.apply(match n {
            0 => shelf.rm(*product, shelf.contains(product).derive_rm_ctx()),
            _ => shelf.add(*product, shelf.read_ctx().derive_add_ctx(at)),
        });
    };
    let elements = |shelf: &Shelf| shelf.iter().map(|it| *it.val).collect::<BTreeSet<_>>();
    let set = by_state(Orswot::new, CvRDT::merge, draw, act, elements)
        .specified(|past| right(past).into_keys().collect());
    Ok((judge(&Lattice(map), plan)?, judge(&Lattice(set), plan)?))
}

/// Prints both.
pub fn main() -> Result<(), PlanError> {
    let (map, set) = trial(&Plan::default())?;
    println!("crdts::Map<_, PNCounter>\n{map}\n\ncrdts::Orswot\n{set}");
    Ok(())
}
