//! What a stock shows: where its units are, and who has some set aside.
//!
//! Question: a page of the holds of a stock that has sold a million; what must be looked at?
//! Answer: the notes of what is held (`notes.rs`), which lie in the order of op ids, and the record
//! of each. The records themselves lie in the order of the logs, sales and all.
//!
//! H1  a page shows what is held in this view, also by others, and also what has lapsed and its
//!     owner has not let go yet: nobody else knows that owner's clock.
//! H2  an op id is never split between two pages, so it says where the next one begins.
//! H3  a page looks at no more than `LOOKED_AT` records, and those of one op id: for a customer
//!     with few holds among many it comes back short, even empty, and says where to go on.

use super::head::Head;
use super::notes::parse_held;
use super::rows::{HEAD, key_of, record_key, whole};
use crate::protocol::apply::corrupted;
use crate::protocol::parts::HoldsPage;
use crate::protocol::rows::{Base, HELD, Rows, object_key};
use crate::protocol::walk::Walk;
use crate::store::StoreError;
use orset::stock::{Account, Hold, Holds, Record, Row, Sheet};
use orset::{Member, ObjectKey, OpId};

/// Records that a page of holds looks at: each is a look-up, on the writer's thread.
pub(super) const LOOKED_AT: usize = 1_024;

/// Whether the row of a record says that it holds units.
pub(in crate::protocol) fn is_held(record: &[u8]) -> bool {
    whole(record, Record::decode).is_ok_and(|record| record.is_held())
}

/// What a stock shows; `None`: nothing was ever done to it.
pub(in crate::protocol) fn shown<B: Base>(
    rows: &Rows<B>,
    object: &ObjectKey,
) -> Result<Sheet, StoreError> {
    let Some(stored) = rows.get(&key_of(object, HEAD, 0))? else { return Ok(Sheet::default()) };
    let head = Head::decode(&stored).map_err(corrupted("head of a stock"))?;
    let heirs = head.heirs(&rows.closed);
    let Head { terms, rows, .. } = head;
    let sum = |of: fn(&Row) -> u64| rows.values().map(of).fold(0, u64::saturating_add);
    let held = sum(|row| row.held).saturating_sub(sum(|row| row.ended));
    let taken = sum(|row| row.taken).saturating_sub(sum(|row| row.given));
    let mut members: Vec<Member> = rows.keys().copied().collect();
    members.extend(rows.values().flat_map(|row| row.lent.keys().copied()));
    // An heir may have nothing of its own.
    let owners: Vec<Member> = members.iter().map(|member| heirs.owner_of(*member)).collect();
    members.extend(owners);
    members.sort_unstable();
    members.dedup();
    let balance = |member: &Member| {
        let lent = rows.values().filter_map(|row| row.lent.get(member)).copied();
        rows.get(member).map_or(0, Row::own) + lent.map(i128::from).sum::<i128>()
    };
    let units = |units: i128| u64::try_from(units).unwrap_or(0);
    let account = |member: &Member| {
        let owned = members.iter().filter(|it| heirs.owner_of(**it) == *member);
        let available = units(owned.map(balance).sum());
        let is_frozen = heirs.is_frozen(*member);
        let minted = rows.get(member).map_or(0, |row| row.minted);
        (*member, Account { available: if is_frozen { 0 } else { available }, minted })
    };
    let frozen = members.iter().filter(|it| heirs.is_frozen(**it)).map(balance).sum();
    let accounts: Vec<(Member, Account)> = members.iter().map(account).collect();
    Ok(Sheet {
        terms: terms.terms,
        minted: sum(|row| row.minted),
        available: accounts.iter().map(|(_, it)| it.available).fold(0, u64::saturating_add),
        held,
        sold: taken.saturating_sub(held),
        written_off: sum(|row| row.written_off),
        accounts,
        frozen: units(frozen),
    })
}

/// A page of what is held of a stock (H1 to H3).
pub(in crate::protocol) fn holds<B: Base>(
    rows: &Rows<B>,
    object: &ObjectKey,
    page: &HoldsPage,
) -> Result<Holds, StoreError> {
    let prefix = object_key(HELD, object);
    // Behind every note of that op id.
    let after = page.of.after.map(|op| [prefix.as_slice(), op.as_bytes(), &[0xff; 25]].concat());
    let mut notes = Walk::new(rows, &prefix, after.as_deref(), page.holds.saturating_add(1));
    let (mut holds, mut last): (Vec<Hold>, Option<OpId>) = (Vec::new(), None);
    let (mut looked_at, mut bytes) = (0, 0);
    while let Some((key, _)) = notes.next()? {
        let id = parse_held(&key[prefix.len()..]).map_err(corrupted("note of a hold"))?;
        let is_full = holds.len() >= page.holds || bytes >= page.bytes || looked_at >= LOOKED_AT;
        if is_full && last != Some(id.op) {
            return Ok(Holds { holds, next: last });
        }
        (looked_at, last) = (looked_at + 1, Some(id.op));
        // What is stored of a record is what counts; a row that was mended may have none.
        let Some(stored) = rows.get(&record_key(object, id))? else { continue };
        let record = whole(&stored, Record::decode).map_err(corrupted("record of a stock"))?;
        let is_meant = page.of.customer.is_none() || page.of.customer == record.want.customer;
        if let Some(until_ms) = record.held_until_ms().filter(|_| is_meant) {
            bytes += key.len() + stored.len();
            let Record { owner, want, .. } = record;
            holds.push(Hold { op: id.op, want, owner, until_ms });
        }
    }
    Ok(Holds { holds, next: None })
}
