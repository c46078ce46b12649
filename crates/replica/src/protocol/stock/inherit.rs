//! What a member that is gone for good left of a stock: frozen until it is accounted for, then its
//! heir's.
//!
//! Those who stay may have seen less than it sold. What it had is therefore nobody's (*frozen*)
//! from the moment on that it is closed, and its holds are only evidence: a commit for one is made
//! elsewhere, from own rights. When its process is known to have stopped for good, an operator
//! names the sales that nobody else knew. They become sales of its heir, and the rest the heir's to
//! sell.
//!
//! I1  the sales that are named and the end of the frost are one commit: in between nobody can sell
//!     what was sold already.
//! I2  what is named must be there: more than it left behind, and the heir has, is refused.
//! I3  who asks again is answered as before; a sale that was not named then is refused, since its
//!     units may be sold by now.
//! I4  what it held its heir lets go, unless it is sold before; and of each op id that it had a
//!     record of, its heir settles what it owns now: the dead one may have heard neither of another
//!     sale nor of a return. The notes of that are written where the commit is applied at the heir,
//!     so a crash finds them again in the log. (All of its records are looked at once: an act of an
//!     operator, which may take a second of the writer where there are a million.)
//!
//! To give an heir the balance as it is seen sells twice what was sold unseen (counterexample F2).

use super::calls::Tried;
use super::head::Head;
use super::notes::parse_held;
use super::rows::{HEAD, RECORD, deadline_key, key_of, nobodys, record_key, whole};
use super::{Call, StockView};
use super::{Sort, sort_of, stirred_key};
use crate::protocol::Protocol;
use crate::protocol::apply::corrupted;
use crate::protocol::command::{Refusal, Ticket};
use crate::protocol::rows::{Base, HELD, Rows, object_key};
use crate::protocol::walk::Walk;
use crate::store::StoreError;
use orset::stock::{Outcome, Record, RecordId, Refused, Row, Step, StockRows, Want, available};
use orset::{Member, ObjectKey, OpId};
use std::collections::BTreeMap;

/// The step by which `own` frees what is held by `owner`, itself or one that it inherits from.
pub(super) fn let_go_step(own: Member, owner: Member, id: RecordId) -> Step {
    if owner == own { Step::Release(id) } else { Step::GiveBack(id) }
}

/// I4: of own steps that inherit.
pub(super) fn arm<B: Base>(
    rows: &mut Rows<B>,
    object: &ObjectKey,
    steps: &[Step],
) -> Result<(), StoreError> {
    for step in steps {
        let Step::Inherit(of, until_ms) = step else { continue };
        let prefix = object_key(HELD, object);
        let mut notes = Vec::new();
        let mut held = Walk::new(rows, &prefix, None, 1_024);
        while let Some((key, _)) = held.next()? {
            let id = parse_held(&key[prefix.len()..]).map_err(corrupted("note of a hold"))?;
            let Some(stored) = rows.get(&record_key(object, id))? else { continue };
            let record = whole(&stored, Record::decode).map_err(corrupted("record of a stock"))?;
            if record.owner == *of && record.is_held() {
                notes.push(deadline_key(*until_ms, object, id));
            }
        }
        let mut records = Walk::new(rows, &key_of(object, RECORD, 0), None, 1_024);
        while let Some((key, stored)) = records.next()? {
            let (_, sort) = sort_of(&key).map_err(corrupted("key of a row of a stock"))?;
            let Sort::Record(id) = sort else { continue };
            if !id.dot.origin.is_of(*of) {
                continue;
            }
            let record = whole(&stored, Record::decode).map_err(corrupted("record of a stock"))?;
            if !record.given_back {
                notes.push(stirred_key(object, id.op));
            }
        }
        notes.into_iter().for_each(|key| rows.put_plain(key, Some(Vec::new())));
    }
    Ok(())
}

/// What members have of all stocks, and leave behind when they are closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estate {
    /// Stocks of which they have something.
    pub stocks: u64,
    /// Units that would be frozen.
    pub units: u64,
    /// Units that they have set aside.
    pub held: u64,
    /// There are more stocks than were looked at.
    pub is_partial: bool,
}

/// Stocks that are looked at for an estate: each is a look-up, on the writer's thread.
const LOOKED_AT: usize = 10_000;

/// What becomes of one sale that is named.
enum Named {
    /// It is sold already.
    Known,
    /// It was held there.
    Held(RecordId),
    /// Nobody knew.
    Unknown,
}

impl<B: Base> Protocol<B> {
    /// What these would leave behind, as it is seen here.
    pub(in crate::protocol) fn estate_of(
        &self,
        dead: &BTreeMap<Member, Member>,
    ) -> Result<Estate, StoreError> {
        let (mut estate, mut at) = (Estate::default(), None::<ObjectKey>);
        for _ in 0..LOOKED_AT {
            let Some(object) = self.stock_behind(at.as_ref())? else { return Ok(estate) };
            let stored = self.rows.get(&key_of(&object, HEAD, 0))?.unwrap_or_default();
            let head = Head::decode(&stored).map_err(corrupted("head of a stock"))?;
            let (mut units, mut held) = (0_i128, 0_u64);
            for member in dead.keys() {
                let row = head.rows.get(member);
                let lent = head.rows.values().filter_map(|row| row.lent.get(member)).copied();
                units += row.map_or(0, Row::own) + lent.map(i128::from).sum::<i128>();
                held += row.map_or(0, |row| row.held.saturating_sub(row.ended));
            }
            estate.stocks += u64::from(units > 0 || held > 0);
            estate.units = estate.units.saturating_add(u64::try_from(units).unwrap_or(0));
            estate.held = estate.held.saturating_add(held);
            at = Some(object);
        }
        Ok(Estate { is_partial: true, ..estate })
    }

    /// Accounts for what a closed member left behind.
    pub(super) fn account_for(
        &mut self,
        ticket: Ticket,
        call: &Call,
        of: Member,
        sales: &[(OpId, Want)],
    ) -> Result<Tried, StoreError> {
        match self.accounting(&call.object, of, sales)? {
            Err(refused) => self.refuse(ticket, Refusal::Stock(refused)),
            Ok(None) => self.answer_call(ticket, Outcome::Done, None),
            Ok(Some(named)) => {
                let Some(op) = nobodys() else { return Ok(Tried::Over) };
                let mut dot = self.make(&call.object, op, vec![Step::Inherit(of, 0)])?;
                for ((op, want), named) in sales.iter().zip(named) {
                    let sell = Step::Sell(want.clone());
                    let steps = match named {
                        Named::Known => continue,
                        Named::Held(id) => vec![Step::GiveBack(id), sell],
                        Named::Unknown => vec![sell],
                    };
                    dot = self.make(&call.object, *op, steps)?;
                }
                self.answer_call(ticket, Outcome::Done, Some(dot));
            }
        }
        Ok(Tried::Over)
    }

    /// What is to be done for each sale; `None`: it has been done.
    fn accounting(
        &mut self,
        object: &ObjectKey,
        of: Member,
        sales: &[(OpId, Want)],
    ) -> Result<Result<Option<Vec<Named>>, Refused>, StoreError> {
        let own = self.member;
        let Some(nobodys) = nobodys() else { return Ok(Ok(None)) };
        let mut view = self.stock(object, nobodys)?;
        let heirs = view.heirs();
        if !heirs.is_closed(of) {
            return Ok(Err(Refused::NotClosed));
        }
        let heir = heirs.last_heir(of);
        if heir != own {
            return Ok(Err(Refused::NotHeir { heir }));
        }
        let is_done = view.has_inherited(of);
        let here = available(&mut view, &heirs, own)? + view.balance_of(of)?;
        let (mut named, mut wanted) = (Vec::new(), 0_u64);
        for (op, want) in sales {
            let mut view = self.stock(object, *op)?;
            let records = view.records(*op)?;
            if records.iter().any(|(_, it)| it.want != *want) {
                return Ok(Err(Refused::Differs));
            }
            let held = records.iter().find(|(_, it)| it.owner == of && it.is_held());
            let one = if records.iter().any(|(_, it)| it.was_committed()) {
                Named::Known
            } else if view.is_returned(*op)? {
                return Ok(Err(Refused::Returned));
            } else if is_done {
                return Ok(Err(Refused::AccountedFor));
            } else if let Some((dot, _)) = held {
                Named::Held(RecordId { dot: *dot, op: *op })
            } else {
                wanted = wanted.saturating_add(want.quantity.into());
                Named::Unknown
            };
            named.push(one);
        }
        if is_done {
            return Ok(Ok(None));
        }
        let there = u64::try_from(here).unwrap_or(0);
        if wanted > there {
            return Ok(Err(Refused::MoreThanThereIs { wanted, available: there }));
        }
        Ok(Ok(Some(named)))
    }
}

impl<B: Base> Rows<B> {
    /// Closed members whose share of a stock is not accounted for. (Mostly nobody is closed.)
    pub(super) fn frozen_of(&self, object: &ObjectKey) -> Vec<Member> {
        if self.closed.is_empty() {
            return Vec::new();
        }
        let stored = self.get(&key_of(object, HEAD, 0)).ok().flatten();
        // A head that cannot be read is told of by whoever decides about it.
        let head = stored.and_then(|stored| Head::decode(&stored).ok()).unwrap_or_default();
        let is_frozen = |member: &&Member| !head.inherited.contains_key(*member);
        self.closed.keys().filter(is_frozen).copied().collect()
    }
}

impl<B: Base> StockView<'_, B> {
    /// Whether what a closed member left behind is accounted for.
    fn has_inherited(&self, of: Member) -> bool {
        self.head().inherited.contains_key(&of)
    }

    /// What a member would have to spend, if it were there.
    fn balance_of(&mut self, of: Member) -> Result<i128, StoreError> {
        let mut balance = 0;
        self.each_row(&mut |member, row| {
            if member == of {
                balance += row.own();
            }
            balance += row.lent.get(&of).copied().map_or(0, i128::from);
        })?;
        Ok(balance)
    }
}
