//! What a request means at one member, from what it has: the steps to make, or where to ask.
//!
//! Nothing here looks further than the rows of this member's view, and nothing of it is a guess: a
//! view that is behind makes a member refuse or ask, never sell what it has not (S2). The order of
//! the questions matters, and each has its story in the counterexamples:
//!
//! * a committed record, anyone's, answers a commit even when the own one was released: the owner
//!   had let it go *because* of it (F3);
//! * a live record elsewhere is asked for, not doubled: a second hold takes twice the units;
//! * a tentative hold is sold only when the customer's keeper has allowed *that record*. Were it
//!   enough that the keeper allowed the op id, another record of the same op id could be sold by
//!   the old word, when the one that was meant has lapsed and its place was given away;
//! * an answer that makes no step rests on the records that it reports, wherever they were written
//!   (F1): so it names their dots.

use super::record::{Record, RecordId, Want};
use super::row::{Answered, UNITS_MAX};
use super::settle::{end, ends, settle};
use super::steps::Step;
use super::tally::Tally;
use super::terms::Stamped;
use super::{Heirs, StockRows, available};
use crate::dot::{Dot, Member};
use crate::op_id::OpId;
use alloc::vec::Vec;

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// These steps, in one commit; then this answer, when they and `rests` are as safe as it needs.
    Do {
        /// In this order.
        steps: Vec<Step>,
        /// What to say then.
        answer: Answer,
        /// Commits of records that the answer reports, beside the one that is to be made. A mark
        /// (returned, minted, written off) has no dot of its own: an answer that reports one and
        /// makes no step rests on everything applied here.
        rests: Vec<Dot>,
    },
    /// Its owner must say.
    Ask(Member),
    /// It is a tentative hold, of a stock with a limit: the customer's keeper must allow it first.
    Unallowed(RecordId),
    /// Rights are missing here: borrow, or pass the request on.
    Short {
        /// What there is.
        available: u64,
    },
    /// It cannot be. Nothing is changed.
    Refused(Refused),
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Units are held for it.
    Held {
        /// Until when, in milliseconds since 1970 by the owner's clock.
        until_ms: u64,
    },
    /// It is sold.
    Committed,
    /// It is not held any more, and was not sold.
    Expired,
    /// It is over.
    Returned,
    /// Units were minted, or written off; or the keeper has allowed it.
    Done,
    /// The lender has answered this request.
    Lent(Answered),
}

/// Why a request cannot be. Nothing is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The op id was returned. Buy under another.
    #[error("the op id is over: it was returned")]
    Returned,
    /// The op id names another purchase. Give this one an id of its own.
    #[error("the op id names another quantity or customer")]
    Differs,
    /// Nothing is known of the op id.
    #[error("nothing is held under this op id")]
    Unknown,
    /// The stock has a limit for each customer, and the request names none.
    #[error("this stock has a limit for each customer: say for whom")]
    NoCustomer,
    /// The customer has as many as the stock allows.
    #[error("the customer has {has} already, at most {limit} are allowed")]
    OverLimit {
        /// Purchases that count.
        has: u64,
        /// The bound.
        limit: u64,
    },
    /// The cart does not show what is ordered (any more). Read it again, and order what it shows.
    #[error("the cart does not show what is ordered: read it again")]
    CartChanged,
    /// Lines with a limit are kept by different members, and none of them can say for all. Order
    /// them apart.
    #[error(
        "lines with a limit for each customer that are kept by different members: order them apart"
    )]
    KeptApart,
    /// As many orders are under way over an entry of the cart as may be. Let some go, or wait.
    #[error("too many orders are under way over one entry of the cart")]
    TooManyOrders,
    /// Whoever is to be accounted for was not closed. Only who is gone for good is.
    #[error("that member was not closed, so there is nothing to account for")]
    NotClosed,
    /// Its heir alone accounts for it. Ask that one.
    #[error("the heir of that member is {heir}: ask it")]
    NotHeir {
        /// Who.
        heir: Member,
    },
    /// It is accounted for already, and these sales were not named then. Sell them as any other.
    #[error("it was accounted for without this sale: sell it as any other")]
    AccountedFor,
    /// The sales that are named are more than what it left behind, and what the heir has. Look at
    /// them again; or have units lent to the heir first.
    #[error("the sales that are named need {wanted} units, and there are {available}")]
    MoreThanThereIs {
        /// Units.
        wanted: u64,
        /// Units.
        available: u64,
    },
    /// A sum would grow beyond what is counted. Mend the request.
    #[error("a stock counts up to {UNITS_MAX} units")]
    TooMany,
}

fn done(steps: Vec<Step>, answer: Answer) -> Verdict {
    Verdict::Do { steps, answer, rests: Vec::new() }
}

fn known(answer: Answer, record: &Record) -> Verdict {
    Verdict::Do { steps: Vec::new(), answer, rests: Vec::from([record.changed]) }
}

/// What is known of one op id.
struct Known {
    records: Vec<(RecordId, Record)>,
    returned: bool,
}

impl Known {
    fn of<R: StockRows>(rows: &mut R, op: OpId) -> Result<Self, R::Error> {
        let records = rows.records(op)?.into_iter();
        let records = records.map(|(dot, record)| (RecordId { dot, op }, record)).collect();
        Ok(Self { records, returned: rows.is_returned(op)? })
    }

    fn find(&self, is_it: impl Fn(&Record) -> bool) -> Option<&(RecordId, Record)> {
        self.records.iter().find(|(_, record)| is_it(record))
    }

    /// What is over, is another purchase, or is sold: nothing more is set aside for it.
    fn settled(&self, want: &Want) -> Option<Verdict> {
        if self.returned {
            return Some(Verdict::Refused(Refused::Returned));
        }
        if self.differs(want) {
            return Some(Verdict::Refused(Refused::Differs));
        }
        let (_, record) = self.find(Record::was_committed)?;
        Some(known(Answer::Committed, record))
    }

    /// Nothing is held: it was, or nothing is known.
    fn not_held(&self) -> Verdict {
        match self.records.first() {
            Some((_, record)) => known(Answer::Expired, record),
            None => Verdict::Refused(Refused::Unknown),
        }
    }

    fn differs(&self, want: &Want) -> bool {
        self.records.iter().any(|(_, record)| record.want != *want)
    }
}

/// Sets units aside for `op` until `until_ms`; `tentative`: the customer's keeper was not asked.
pub fn hold<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    op: OpId,
    want: &Want,
    (until_ms, tentative): (u64, bool),
) -> Result<Verdict, R::Error> {
    let known = Known::of(rows, op)?;
    if let Some(verdict) = known.settled(want) {
        return Ok(verdict);
    }
    let is_owned = |record: &Record| heirs.owner_of(record.owner) == me;
    if let Some((_, record)) = known.find(|it| it.is_held() && is_owned(it))
        && let Some(until_ms) = record.held_until_ms()
    {
        return Ok(self::known(Answer::Held { until_ms }, record));
    }
    if let Some((_, record)) = known.find(|it| it.is_held() && !heirs.is_frozen(it.owner)) {
        return Ok(Verdict::Ask(heirs.owner_of(record.owner)));
    }
    if let Some((_, record)) = known.find(Record::is_held)
        && rows.terms()?.terms.limit > 0
    {
        // Of one that is gone: whether it counts for its customer, nobody knows yet.
        return Ok(Verdict::Ask(heirs.owner_of(record.owner)));
    }
    if let Some((_, record)) = known.find(|it| !it.is_held()) {
        // It was held, and let go: one intent is not held twice.
        return Ok(self::known(Answer::Expired, record));
    }
    let hold = if tentative { Step::Tentative } else { Step::Hold };
    let held = done(Vec::from([hold(want.clone(), until_ms)]), Answer::Held { until_ms });
    with_rights(rows, heirs, me, want.quantity.into(), held)
}

/// Sells: what is held for `op`, or, when nothing is known of it, at once.
pub fn commit<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    op: OpId,
    want: &Want,
) -> Result<Verdict, R::Error> {
    let known = Known::of(rows, op)?;
    if known.differs(want) {
        return Ok(Verdict::Refused(Refused::Differs));
    }
    if let Some((_, record)) = known.find(Record::was_committed) {
        let rests = Vec::from([record.changed]);
        let steps = settle(rows, heirs, me, op)?;
        return Ok(Verdict::Do { steps, answer: Answer::Committed, rests });
    }
    if known.returned {
        return Ok(Verdict::Refused(Refused::Returned));
    }
    let is_owned = |record: &Record| heirs.owner_of(record.owner) == me;
    if let Some((id, record)) = known.find(|it| it.is_held() && is_owned(it)) {
        if record.tentative && rows.terms()?.terms.limit > 0 {
            return Ok(Verdict::Unallowed(*id));
        }
        let steps = if record.owner == me {
            Vec::from([Step::Commit(*id)])
        } else {
            // A row is written by its member alone: what is inherited is given back, and sold anew.
            Vec::from([Step::GiveBack(*id), Step::Sell(want.clone())])
        };
        return Ok(done(steps, Answer::Committed));
    }
    if let Some((_, record)) = known.find(|it| it.is_held() && !heirs.is_frozen(it.owner)) {
        return Ok(Verdict::Ask(heirs.owner_of(record.owner)));
    }
    if let Some((_, record)) = known.find(Record::is_held)
        && rows.terms()?.terms.limit > 0
    {
        // Of one that is gone: whether it counts for its customer, nobody knows yet.
        return Ok(Verdict::Ask(heirs.owner_of(record.owner)));
    }
    if let Some((_, record)) = known.find(|it| !it.is_held()) {
        // Its owner says so too, who may not have heard of a sale here: who was told EXPIRED there
        // would void the payment of what was sold.
        return Ok(self::known(Answer::Expired, record));
    }
    commit_here(rows, heirs, me, want)
}

/// Sells from own rights, whatever is held elsewhere: for one whose owner cannot be reached. Of two
/// that are sold so, one is given back (`settle`).
pub fn commit_here<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    want: &Want,
) -> Result<Verdict, R::Error> {
    let sold = done(Vec::from([Step::Sell(want.clone())]), Answer::Committed);
    with_rights(rows, heirs, me, want.quantity.into(), sold)
}

/// Whether a hold for `op` would be one too many for its customer, by the terms that stand. To be
/// asked of the customer's keeper, which counts what it sees; by anybody else's view a tentative
/// hold is refused that could never be sold.
pub fn over_limit<R: StockRows>(
    rows: &mut R,
    op: OpId,
    want: &Want,
) -> Result<Option<Refused>, R::Error> {
    is_over(rows, op, want, (Tally::count, |it| !it.given_back))
}

/// Whether a sale for `op` would be one too many for its customer. To be asked of the customer's
/// keeper alone. Tentative holds of others do not stand in its way: whichever is sold first was
/// let pass.
pub fn sold_over_limit<R: StockRows>(
    rows: &mut R,
    op: OpId,
    want: &Want,
) -> Result<Option<Refused>, R::Error> {
    is_over(rows, op, want, (Tally::counted, Record::counts))
}

fn is_over<R: StockRows>(
    rows: &mut R,
    op: OpId,
    want: &Want,
    (count, counts): (fn(&Tally) -> u64, fn(&Record) -> bool),
) -> Result<Option<Refused>, R::Error> {
    let limit = rows.terms()?.terms.limit;
    if limit == 0 {
        return Ok(None);
    }
    let Some(customer) = &want.customer else { return Ok(Some(Refused::NoCustomer)) };
    let known = Known::of(rows, op)?;
    let is_in = known.find(|it| counts(it) || it.was_committed()).is_some();
    let has = count(&rows.tally(customer)?);
    Ok((!is_in && has >= limit).then_some(Refused::OverLimit { has, limit }))
}

/// The keeper's word on a tentative hold of another: it may be sold, and counts from now on. To be
/// asked of the customer's keeper alone, when it sees the hold.
///
/// The word is about one record, and nobody else moves that on than its owner: so it counts until
/// the keeper sees it given back, and then it is never sold.
pub fn allow<R: StockRows>(
    rows: &mut R,
    op: OpId,
    want: &Want,
    dot: Dot,
) -> Result<Verdict, R::Error> {
    let known = Known::of(rows, op)?;
    if let Some(verdict) = known.settled(want) {
        return Ok(verdict);
    }
    let id = RecordId { dot, op };
    let Some((_, record)) = known.records.iter().find(|(it, _)| *it == id) else {
        return Ok(Verdict::Refused(Refused::Unknown));
    };
    if !record.is_held() {
        return Ok(self::known(Answer::Expired, record));
    }
    if !record.tentative {
        // A mark has no dot of its own.
        return Ok(done(Vec::new(), Answer::Done));
    }
    let refused = sold_over_limit(rows, op, want)?;
    Ok(refused.map_or(done(Vec::from([Step::Allow(id)]), Answer::Done), Verdict::Refused))
}

/// Lets go of what is held for `op`: cancelled by its client, or lapsed by its owner's clock.
pub fn release<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    op: OpId,
) -> Result<Verdict, R::Error> {
    let known = Known::of(rows, op)?;
    if let Some((_, record)) = known.find(Record::was_committed) {
        return Ok(self::known(Answer::Committed, record));
    }
    let is_owned = |record: &Record| heirs.owner_of(record.owner) == me;
    if let Some((id, record)) = known.find(|it| it.is_held() && is_owned(it)) {
        return Ok(done(Vec::from([end(me, *id, record)]), Answer::Expired));
    }
    if let Some((_, record)) = known.find(Record::is_held) {
        return Ok(Verdict::Ask(heirs.owner_of(record.owner)));
    }
    Ok(known.not_held())
}

/// Holds longer what is held for `op`; never shorter.
pub fn extend<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    op: OpId,
    until_ms: u64,
) -> Result<Verdict, R::Error> {
    let known = Known::of(rows, op)?;
    if let Some((_, record)) = known.find(Record::was_committed) {
        return Ok(self::known(Answer::Committed, record));
    }
    let held = known.find(Record::is_held);
    let Some((id, record, until)) = held.and_then(|it| Some((it.0, &it.1, it.1.held_until_ms()?)))
    else {
        return Ok(known.not_held());
    };
    let owner = heirs.owner_of(record.owner);
    Ok(if owner != me {
        Verdict::Ask(owner)
    } else if record.owner != me || until_ms <= until {
        // The deadline of an inherited one is its heir's own to keep, and not in its record.
        self::known(Answer::Held { until_ms: until }, record)
    } else {
        done(Vec::from([Step::Extend(id, until_ms)]), Answer::Held { until_ms })
    })
}

/// Ends `op` everywhere, held, sold or never heard of: a customer's return, or a client that must
/// know that nothing will be sold under it any more. At any member.
pub fn return_op<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    op: OpId,
) -> Result<Verdict, R::Error> {
    let mut steps = if rows.is_returned(op)? { Vec::new() } else { Vec::from([Step::Return]) };
    steps.extend(ends(rows, heirs, me, op, true)?);
    Ok(done(steps, Answer::Returned))
}

/// Creates units here. Never to be passed on or tried elsewhere: two members that mint for one op
/// id mint twice, and what was sold of it cannot be taken back (F9).
pub fn mint<R: StockRows>(
    rows: &mut R,
    me: Member,
    op: OpId,
    units: u64,
) -> Result<Verdict, R::Error> {
    if rows.is_done(op)? {
        return Ok(done(Vec::new(), Answer::Done));
    }
    if rows.row(me)?.minted.saturating_add(units) > UNITS_MAX {
        return Ok(Verdict::Refused(Refused::TooMany));
    }
    Ok(done(Vec::from([Step::Mint(units)]), Answer::Done))
}

/// Sets the terms of the stock.
pub fn agree<R: StockRows>(rows: &mut R, op: OpId, terms: Stamped) -> Result<Verdict, R::Error> {
    let steps = if rows.is_done(op)? { Vec::new() } else { Vec::from([Step::Agree(terms)]) };
    Ok(done(steps, Answer::Done))
}

/// Writes units off, with rights in hand.
pub fn write_off<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    op: OpId,
    units: u64,
) -> Result<Verdict, R::Error> {
    if rows.is_done(op)? {
        return Ok(done(Vec::new(), Answer::Done));
    }
    let gone = done(Vec::from([Step::WriteOff(units)]), Answer::Done);
    with_rights(rows, heirs, me, units, gone)
}

/// Answers the `number`-th request of `to` for rights: half of what is here or what it wants,
/// whichever is more, and not below what is kept for the demand here. A request that was answered
/// is not granted again.
pub fn lend<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    (to, number): (Member, u64),
    want: u64,
    keep: u64,
) -> Result<Verdict, R::Error> {
    let last = rows.row(me)?.answered.get(&to).copied().unwrap_or_default();
    if number <= last.number || to == me || heirs.is_closed(to) {
        return Ok(done(Vec::new(), Answer::Lent(last)));
    }
    let here = u64::try_from(available(rows, heirs, me)?).unwrap_or(0);
    let granted = want.max(here / 2).min(here.saturating_sub(keep));
    let answered = Answered { number, granted };
    Ok(done(Vec::from([Step::Lend(to, answered)]), Answer::Lent(answered)))
}

fn with_rights<R: StockRows>(
    rows: &mut R,
    heirs: &Heirs,
    me: Member,
    units: u64,
    verdict: Verdict,
) -> Result<Verdict, R::Error> {
    let here = u64::try_from(available(rows, heirs, me)?).unwrap_or(0);
    Ok(if here >= units { verdict } else { Verdict::Short { available: here } })
}
