//! Stocks: units that are sold, and never more than there are.

use crate::call::Call;
use crate::client::Client;
use crate::core::Answered;
use crate::error::Error;
use crate::handles::{Handle, common};
use crate::session::Session;
use crate::view::{FromAnswer, KIND};
use crate::watch::Watch;
use orset::stock::{
    Account, Ask, CUSTOMER_MAX, Customer, Hold, HoldsOf, Outcome, Served, Sheet, Terms, Want,
};
use orset::{BoundsError, Dot, Kind, Member, ObjectKey, OpId, check_name, check_quantity};
use pannier_proto::convert::{Asked, Page, hold_from, outcome_from, served_from};
use pannier_proto::limits::HOLDS_MAX;
use pannier_proto::v1;
use pannier_proto::v1::answer::Body as Said;
use std::time::Duration;

/// What a call of a stock came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockAnswer {
    /// What.
    pub outcome: Outcome,
    /// How it came by its units.
    pub served: Served,
    /// The commit that did it, if one was made for this call at the replica that answered.
    pub dot: Option<Dot>,
    /// Whether the session had to give up something it had read, since its last answer.
    pub regressed: bool,
}

/// Where all units of a stock are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockView {
    /// The units.
    pub sheet: Sheet,
    /// Whether it lacks some of what the session has seen (only when that was allowed).
    pub stale: bool,
    /// As of `StockAnswer`.
    pub regressed: bool,
}

/// One page of who has units of a stock set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldsView {
    /// Ascending by op id. May be fewer than asked for, even none, before the last page.
    pub holds: Vec<Hold>,
    /// What goes into the `after` of the next page; `None`: that was all.
    pub next: Option<OpId>,
    /// As of `StockView`.
    pub stale: bool,
    /// As of `StockAnswer`.
    pub regressed: bool,
}

/// A stock. One op id names one purchase: give the same (`with_op_id`) to its hold, its commit, its
/// release, and every retry of these. Without one, each call is of a purchase of its own.
#[derive(Clone)]
pub struct Stock(pub(crate) Handle);
common!(Stock, Kind::Stock);

/// What is wanted: 1 to `QUANTITY_MAX` units, and for whom; an empty customer is nobody.
pub fn want(quantity: u32, customer: impl AsRef<[u8]>) -> Result<Want, BoundsError> {
    check_quantity(quantity)?;
    let customer = match customer.as_ref() {
        [] => None,
        bytes => {
            check_name("customer", bytes, CUSTOMER_MAX)?;
            Some(Customer::new(bytes)?)
        }
    };
    Ok(Want { quantity, customer })
}

impl Stock {
    /// Creates units at one member; every retry names the same.
    pub fn restock(&self, units: u64, at: Member) -> Call<StockAnswer> {
        self.ask(Ask::Restock { units, at })
    }

    /// Writes units off at one member: gone without a sale. Every retry names the same.
    pub fn write_off(&self, units: u64, at: Member) -> Call<StockAnswer> {
        self.ask(Ask::WriteOff { units, at })
    }

    /// Sets units aside for so long.
    pub fn hold(&self, want: Want, ttl: Duration) -> Call<StockAnswer> {
        self.ask(Ask::Hold { want, ttl_ms: millis(ttl) })
    }

    /// Sells what is held under the op id; when nothing is known of it, sells at once.
    pub fn commit(&self, want: Want) -> Call<StockAnswer> {
        self.ask(Ask::Commit { want })
    }

    /// Frees what is held.
    pub fn release(&self) -> Call<StockAnswer> {
        self.ask(Ask::Release)
    }

    /// Holds it so long from now, and never shorter than before.
    pub fn extend(&self, ttl: Duration) -> Call<StockAnswer> {
        self.ask(Ask::Extend { ttl_ms: millis(ttl) })
    }

    /// Ends the op id, whatever became of it.
    pub fn return_op(&self) -> Call<StockAnswer> {
        self.ask(Ask::Return)
    }

    /// Sets the terms of the stock.
    pub fn set_terms(&self, terms: Terms) -> Call<StockAnswer> {
        self.ask(Ask::Agree(terms))
    }

    /// Where all its units are.
    pub fn read(&self) -> Call<StockView> {
        let object = match self.object() {
            Ok(object) => object,
            Err(error) => return Call::failed(error.into()),
        };
        let allow_stale = self.0.allow_stale;
        match (Asked::Read { object, page: Page::WHOLE, allow_stale }).to_body() {
            Ok(body) => self.0.call(body, None, 0),
            Err(failure) => Call::failed(failure.into()),
        }
    }

    /// One page of who has units set aside: so many holds (1 to 1,000), ascending by op id.
    pub fn holds(&self, of: HoldsOf, size: u32) -> Call<HoldsView> {
        if !(1..=HOLDS_MAX).contains(&size) {
            return Call::failed(Error::BadAsk { what: "the size of a page of holds" });
        }
        let object = match self.object() {
            Ok(object) => object,
            Err(error) => return Call::failed(error.into()),
        };
        let allow_stale = self.0.allow_stale;
        match (Asked::Holds { object, of, size, allow_stale }).to_body() {
            Ok(body) => self.0.call(body, None, 0),
            Err(failure) => Call::failed(failure.into()),
        }
    }

    fn object(&self) -> Result<ObjectKey, BoundsError> {
        ObjectKey::new(Kind::Stock, &self.0.namespace, &self.0.id)
    }

    /// Any of these.
    pub fn ask(&self, ask: Ask) -> Call<StockAnswer> {
        self.0.ask(ask)
    }
}

impl Handle {
    /// A call of a stock, or of a cart's order, under the handle's op id.
    pub(crate) fn ask(&self, ask: Ask) -> Call<StockAnswer> {
        self.change(|op_id| {
            ask.check(u64::MAX).map_err(|what| Error::BadAsk { what })?;
            let op: [u8; 16] = op_id.as_ref().try_into().unwrap_or_default();
            let op = OpId::from_bytes(op).map_err(|_| Error::BadAsk { what: "op id" })?;
            let object = ObjectKey::new(self.kind, &self.namespace, &self.id)?;
            Ok(Asked::Stock { op, object, ask }.to_body()?)
        })
    }
}

pub(crate) fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}

impl FromAnswer for StockAnswer {
    fn from_answer(Answered { body, regressed }: Answered, _: u32) -> Result<Self, Error> {
        let Said::StockAnswer(wire) = body else { return Err(KIND) };
        let outcome = outcome_from(&wire);
        let outcome = outcome.ok_or(Error::BadAnswer("an outcome from tomorrow"))?;
        let served = served_from(&wire);
        Ok(Self { outcome, served, dot: wire.dot.as_ref().and_then(crate::core::dot), regressed })
    }
}

impl FromAnswer for StockView {
    fn from_answer(Answered { body, regressed }: Answered, _: u32) -> Result<Self, Error> {
        let Said::Stock(wire) = body else { return Err(KIND) };
        let account = |it: &v1::StockAccount| {
            let member: [u8; 16] = it.member.as_ref().try_into().ok()?;
            let account = Account { available: it.available, minted: it.minted };
            Some((Member::from_bytes(member), account))
        };
        let accounts = wire.accounts.iter().map(account).collect::<Option<Vec<_>>>();
        let accounts = accounts.ok_or(Error::BadAnswer("a member's id in it is none"))?;
        let peers = u8::try_from(wire.peers).unwrap_or(u8::MAX);
        let sheet = Sheet {
            terms: Terms { limit: wire.limit, tentative: wire.tentative, peers },
            accounts,
            minted: wire.minted,
            available: wire.available,
            held: wire.held,
            sold: wire.sold,
            written_off: wire.written_off,
            frozen: wire.frozen,
        };
        Ok(Self { sheet, stale: wire.stale, regressed })
    }
}

/// Behind which op id the next page begins; empty: there is none.
pub(crate) fn next_op(next: &[u8]) -> Result<Option<OpId>, Error> {
    if next.is_empty() {
        return Ok(None);
    }
    let next = next.try_into().ok().map(OpId::from_bytes).and_then(Result::ok);
    next.map(Some).ok_or(Error::BadAnswer("where the next page begins is no op id"))
}

impl FromAnswer for HoldsView {
    fn from_answer(Answered { body, regressed }: Answered, _: u32) -> Result<Self, Error> {
        let Said::StockHolds(wire) = body else { return Err(KIND) };
        let holds = wire.holds.iter().map(hold_from).collect::<Result<_, _>>();
        let holds = holds.map_err(|_| Error::BadAnswer("a hold in it is none"))?;
        Ok(Self { holds, next: next_op(&wire.next)?, stale: wire.stale, regressed })
    }
}
