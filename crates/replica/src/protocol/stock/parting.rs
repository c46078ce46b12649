//! Who is to leave parts with its rights first.
//!
//! Rights that leave with their member are sold by nobody. So one that is asked to leave lends what
//! it has to the member that asks, and refuses until it has nothing left, holds nothing, and waits
//! for nothing; it is asked again. Holds are sold, released or lapse.
//!
//! Meanwhile it begins nothing that would keep it: whoever wants units held, or more than are here,
//! is told that they are unavailable here, also by those for whom it keeps a limit. Else it would
//! leave when nobody buys for a while, and not before. When it is not asked any more, that ends. An
//! order that is confirmed here with lines that are short is the exception: it waits for its units.
//!
//! What is granted to it by a request that is still under way when it has promised stays with it.

use super::rows::nobodys;
use super::{Sort, sort_of};
use crate::protocol::Protocol;
use crate::protocol::apply::corrupted;
use crate::protocol::rows::{Base, STOCK};
use crate::protocol::time::Now;
use crate::store::StoreError;
use orset::stock::{Answered, Step, StockRows, available};
use orset::{Member, ObjectKey};

/// Stocks whose rights are lent away at once, at most; the rest when it is asked again.
const AT_ONCE: usize = 256;
/// For so many spans of `change_us` it begins nothing, since it was asked last and kept something:
/// whoever wishes it away asks again sooner.
const ASKED_AGAIN: u64 = 4;

impl<B: Base> Protocol<B> {
    /// Lends what is here to `to`. Whether there was, or is, anything that must not leave.
    pub(in crate::protocol) fn parts_with_stock(
        &mut self,
        to: Member,
        now: Now,
    ) -> Result<bool, StoreError> {
        let (mut keeps, mut lent) = (self.waiting_for_rights() > 0, 0);
        let mut at: Option<ObjectKey> = None;
        while let Some(object) = self.stock_behind(at.as_ref())? {
            let (own, Some(op)) = (self.member, nobodys()) else { return Ok(true) };
            let mut rows = self.stock(&object, op)?;
            let row = rows.row(own)?;
            let heirs = rows.heirs();
            let here = u64::try_from(available(&mut rows, &heirs, own)?).unwrap_or(0);
            keeps |= here > 0 || row.held > row.ended;
            if here > 0 && self.may_tend() && lent < AT_ONCE {
                lent += 1;
                let number = row.answered.get(&to).copied().unwrap_or_default().number + 1;
                let answered = Answered { number, granted: here };
                self.make(&object, op, vec![Step::Lend(to, answered)])?;
            }
            at = Some(object);
        }
        if keeps {
            let lasts_us = self.settings.change_us.saturating_mul(ASKED_AGAIN);
            self.lending.parts_until_us = now.mono_us.saturating_add(lasts_us);
        }
        Ok(keeps)
    }

    /// Whether it has been asked to leave, and may begin nothing that would keep it.
    pub(in crate::protocol) const fn is_parting(&self, now: Now) -> bool {
        now.mono_us < self.lending.parts_until_us
    }

    /// The next stock, by name.
    pub(super) fn stock_behind(
        &self,
        at: Option<&ObjectKey>,
    ) -> Result<Option<ObjectKey>, StoreError> {
        let behind = at.map(|object| {
            let mut key = vec![STOCK];
            key.extend_from_slice(object.as_bytes());
            // Behind each of its rows, and before those of any other.
            key.push(0xff);
            key
        });
        let found = self.rows.behind(&[STOCK], behind.as_deref(), 1)?;
        let Some((key, _)) = found.first() else { return Ok(None) };
        let named = sort_of(key).map_err(corrupted("key of a row of a stock"));
        named.map(|(object, _): (ObjectKey, Sort)| Some(object))
    }
}
