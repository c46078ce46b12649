//! What a stock shows, as a naive function of the steps one has: no row, no sum that is kept, every
//! step looked at anew.
//!
//! ```text
//! taken(m)      units of all records that m ever made          given(m)   of those given back by m
//! available(m)  minted(m) - written off(m) + lent to m - lent by m - taken(m) + given(m)
//! frozen        available of members that were closed, until a step of an heir's inherits it; and
//!               of those whose heir, or that one's heir, is such a one
//! held          units of records that are held, and not given back
//! holds         of each of those: the op id, the want, who made it, its latest deadline
//! sold          what was taken, less what was given back, less what is held
//! ```

use super::ledger::Ledger;
use super::spec::View;
use orset::stock::{Account, Hold, Holds, RecordId, Sheet, Stamped, Step};
use orset::{Effect, Member, ObjectKey};
use std::collections::{BTreeMap, BTreeSet};

struct Rec {
    units: i128,
    held: bool,
    back: bool,
    hold: Option<Hold>,
}

#[derive(Default)]
struct Sums {
    minted: i128,
    gone: i128,
    moved: i128,
}

/// What `stock` shows to one who has exactly the commits of `view`.
pub fn sheet(ledger: &Ledger, stock: &ObjectKey, view: &View<'_>) -> Sheet {
    under(ledger, stock, view, &BTreeMap::new())
}

/// The same, where these are closed, each with its heir.
pub fn under(
    ledger: &Ledger,
    stock: &ObjectKey,
    view: &View<'_>,
    closed: &BTreeMap<Member, Member>,
) -> Sheet {
    let (mut sheet, _, has, inherited) = look(ledger, stock, view);
    if closed.is_empty() {
        return sheet;
    }
    let mut owned: BTreeMap<Member, i128> = BTreeMap::new();
    let mut frozen = 0;
    for (member, units) in has {
        let (mut at, mut is_frozen) = (member, false);
        while let Some(heir) = closed.get(&at) {
            is_frozen |= !inherited.contains(&at);
            at = *heir;
        }
        if is_frozen { frozen += units } else { *owned.entry(at).or_default() += units }
    }
    let count = |units: i128| u64::try_from(units).unwrap_or(0);
    for (member, account) in &mut sheet.accounts {
        account.available = count(owned.remove(member).unwrap_or(0));
    }
    let rest = owned.into_iter();
    sheet.accounts.extend(
        rest.map(|(member, units)| (member, Account { available: count(units), minted: 0 })),
    );
    sheet.accounts.sort_unstable_by_key(|(member, _)| *member);
    sheet.available = sheet.accounts.iter().map(|(_, it)| it.available).sum();
    sheet.frozen = count(frozen);
    plain(sheet)
}

/// Who has units of it set aside, by the same commits; all on one page.
pub fn holds(ledger: &Ledger, stock: &ObjectKey, view: &View<'_>) -> Holds {
    let records = look(ledger, stock, view).1.into_iter();
    let held = records.filter(|(_, it)| it.held && !it.back);
    let mut held: Vec<_> = held.filter_map(|(id, it)| Some((id, it.hold?))).collect();
    held.sort_unstable_by_key(|(id, _)| (id.op, id.dot));
    Holds { holds: held.into_iter().map(|(_, hold)| hold).collect(), next: None }
}

type Looked = (Sheet, BTreeMap<RecordId, Rec>, BTreeMap<Member, i128>, BTreeSet<Member>);

fn look(ledger: &Ledger, stock: &ObjectKey, view: &View<'_>) -> Looked {
    let mut inherited = BTreeSet::new();
    let mut records: BTreeMap<RecordId, Rec> = BTreeMap::new();
    let mut sums: BTreeMap<Member, Sums> = BTreeMap::new();
    let mut answered: BTreeMap<(Member, Member), u64> = BTreeMap::new();
    let mut terms = Stamped::default();
    for (dot, _, op) in ledger.of_object(stock).filter(|(dot, at, _)| view.has(*dot, *at)) {
        let Some(by) = ledger.get(dot).and_then(|it| it.delta.member) else { continue };
        let Effect::Stock(steps) = &op.effect else { continue };
        for step in steps {
            let own = sums.entry(by).or_default();
            let mut back = |id: &RecordId| {
                if let Some(it) = records.get_mut(id).filter(|it| !it.back) {
                    (it.held, it.back) = (false, true);
                    own.moved += it.units;
                }
            };
            match step {
                Step::Mint(units) => own.minted += i128::from(*units),
                Step::WriteOff(units) => own.gone += i128::from(*units),
                Step::Hold(want, _) | Step::Tentative(want, _) | Step::Sell(want) => {
                    let (units, held) = (want.quantity.into(), step.is_hold());
                    own.moved -= units;
                    let id = RecordId { dot, op: op.id };
                    let hold = match step {
                        Step::Hold(_, until_ms) | Step::Tentative(_, until_ms) => {
                            let (owner, until_ms) = (by, *until_ms);
                            Some(Hold { op: op.id, want: want.clone(), owner, until_ms })
                        }
                        _ => None,
                    };
                    records.insert(id, Rec { units, held, back: false, hold });
                }
                Step::Commit(id) => {
                    if let Some(it) = records.get_mut(id) {
                        it.held = false;
                    }
                }
                Step::Release(id) | Step::GiveBack(id) => back(id),
                Step::Lend(to, it) => {
                    let last = answered.entry((by, *to)).or_insert(0);
                    if it.number > *last {
                        *last = it.number;
                        own.moved -= i128::from(it.granted);
                        sums.entry(*to).or_default().moved += i128::from(it.granted);
                    }
                }
                Step::Agree(fresh) => terms = terms.max(*fresh),
                Step::Extend(id, until_ms) => {
                    let hold = records.get_mut(id).and_then(|it| it.hold.as_mut());
                    if let Some(hold) = hold {
                        hold.until_ms = hold.until_ms.max(*until_ms);
                    }
                }
                Step::Inherit(of, _) => {
                    inherited.insert(*of);
                }
                Step::Return | Step::Fold(_) | Step::Allow(_) => {}
            }
        }
    }
    let count = |units: i128| u64::try_from(units).unwrap_or(0);
    let account = |(member, it): (&Member, &Sums)| {
        let available = count(it.minted - it.gone + it.moved);
        (*member, Account { available, minted: count(it.minted) })
    };
    let of = |is: fn(&Rec) -> bool| records.values().filter(move |it| is(it)).map(|it| it.units);
    let mut sheet = Sheet {
        terms: terms.terms,
        accounts: sums.iter().map(account).collect(),
        minted: count(sums.values().map(|it| it.minted).sum()),
        available: 0,
        held: count(of(|it| it.held).sum()),
        sold: count(of(|it| !it.held && !it.back).sum()),
        written_off: count(sums.values().map(|it| it.gone).sum()),
        frozen: 0,
    };
    sheet.available = sheet.accounts.iter().map(|(_, it)| it.available).sum();
    let has = sums.iter().map(|(member, it)| (*member, it.minted - it.gone + it.moved));
    (plain(sheet), records, has.collect(), inherited)
}

/// Without the members that have nothing: who is listed is nobody's promise.
pub fn plain(mut sheet: Sheet) -> Sheet {
    sheet.accounts.retain(|(_, it)| *it != Account::default());
    sheet
}
