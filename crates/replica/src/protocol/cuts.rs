//! Cuts: how far back a member has promised to take in no op id that it does not know.
//!
//! "Stable" says that a delta is everywhere; it does not say that its request will not come again
//! (counterexamples 4 and 5). So each member writes into its log, now and then, `Cut(t)`: its clock
//! less the idempotency window. From then on it refuses op ids born at or before `t` that it does
//! not know (`Refusal::TooOld`), and everybody else may reason from its log alone.
//!
//! C1  a member's cut never falls: not in a start, not from start to start (a start begins with the
//!     highest cut that it finds of its member), not when its clock goes back.
//! C2  a start refuses by at least what it has told: a cut is in force before it is in the log.
//! C3  so when cuts at or past an id's birth of *every* origin that is not closed, and of every
//!     member, are applied here, then every delta that takes the id in is applied here: those of
//!     an origin stand before its cut in its log, and later starts begin with it.
//! C4  receivers apply every well-formed delta, and look neither at a clock nor at an age.
//!
//! What is applied of an origin includes its cuts: they belong to the state at a vector, and are
//! written with it. They are no rows of any object, so they are not in the sums. A bad clock
//! refuses (ahead) or delays (behind) and counts nothing twice.
//!
//! A namespace may have a window of its own; then cuts name it. What is not named has the cut of
//! "everything else", so that two sets of cuts can be compared whatever each names.

use super::round::Open;
use super::rows::Base;
use super::settings::ProtocolSettings;
use super::{Now, Protocol};
use orset::codec::{Reader, put_bytes, put_u64};
use orset::{DecodeError, Member, NAMESPACE_MAX, ObjectKey, Origin, Request};
use std::collections::{BTreeMap, BTreeSet};

/// Namespaces that one set of cuts names, at most.
pub(super) const CUTS_MAX: usize = 256;

/// Latest moment of a cut (some four thousand years on), so that reckoning with it is safe.
const MS_MAX: u64 = 1 << 47;

/// As a delta carries them: ascending by namespace; the empty one is everything not named.
pub type CutList = Vec<(Box<[u8]>, u64)>;

/// A moment (milliseconds since 1970) for each namespace. See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cuts {
    rest: u64,
    named: BTreeMap<Box<[u8]>, u64>,
}

impl Cuts {
    /// From what a delta carries.
    pub fn of(list: &[(Box<[u8]>, u64)]) -> Self {
        let mut cuts = Self::default();
        for (namespace, ms) in list {
            if namespace.is_empty() {
                cuts.rest = *ms;
            } else {
                cuts.named.insert(namespace.clone(), *ms);
            }
        }
        cuts
    }

    /// As a delta carries them; nothing where there is no cut at all.
    pub fn list(&self) -> CutList {
        if self.greatest() == 0 {
            return Vec::new();
        }
        let named = self.named.iter().map(|(namespace, ms)| (namespace.clone(), *ms));
        std::iter::once((Box::default(), self.rest)).chain(named).collect()
    }

    /// The cut of one namespace.
    pub fn get(&self, namespace: &[u8]) -> u64 {
        self.named.get(namespace).copied().unwrap_or(self.rest)
    }

    /// Below it lies no namespace's.
    pub fn least(&self) -> u64 {
        self.named.values().copied().min().map_or(self.rest, |least| least.min(self.rest))
    }

    /// Above it lies no namespace's.
    pub fn greatest(&self) -> u64 {
        self.named.values().copied().max().map_or(self.rest, |most| most.max(self.rest))
    }

    /// Whether in some namespace it is later than `other`.
    pub fn exceeds(&self, other: &Self) -> bool {
        let names = self.named.keys().chain(other.named.keys());
        self.rest > other.rest || names.into_iter().any(|name| self.get(name) > other.get(name))
    }

    /// In each namespace the later. Beyond `CUTS_MAX` names all get the latest: it is the side on
    /// which an error refuses, and counts nothing twice.
    pub fn raise(&mut self, other: &Self) {
        self.combine(other, u64::max);
        if self.named.len() > CUTS_MAX {
            *self = Self { rest: self.greatest(), named: BTreeMap::new() };
        }
    }

    /// In each namespace the earlier. Beyond `CUTS_MAX` names all get the earliest: the side on
    /// which an error keeps.
    pub fn lower(&mut self, other: &Self) {
        self.combine(other, u64::min);
        if self.named.len() > CUTS_MAX {
            *self = Self { rest: self.least(), named: BTreeMap::new() };
        }
    }

    fn combine(&mut self, other: &Self, choose: fn(u64, u64) -> u64) {
        for (namespace, theirs) in &other.named {
            let mine = self.get(namespace);
            self.named.insert(namespace.clone(), choose(mine, *theirs));
        }
        for (namespace, mine) in &mut self.named {
            if !other.named.contains_key(namespace) {
                *mine = choose(*mine, other.rest);
            }
        }
        self.rest = choose(self.rest, other.rest);
    }

    /// Appends canonical bytes: count, then namespace and moment of each.
    pub fn encode_list(list: &[(Box<[u8]>, u64)], out: &mut Vec<u8>) {
        put_u64(out, list.len() as u64);
        for (namespace, ms) in list {
            put_bytes(out, namespace);
            put_u64(out, *ms);
        }
    }

    /// Reads what `encode_list` wrote, and nothing else.
    pub fn decode_list(from: &mut Reader<'_>) -> Result<CutList, DecodeError> {
        let count = from.count(2)?;
        if count > CUTS_MAX + 1 {
            return Err(DecodeError::Bounds("cuts"));
        }
        let mut list: CutList = Vec::with_capacity(count);
        for _ in 0..count {
            let namespace: Box<[u8]> = from.bytes()?.into();
            if namespace.len() > NAMESPACE_MAX {
                return Err(DecodeError::Bounds("namespace of a cut"));
            }
            if list.last().is_some_and(|(last, _)| *last >= namespace) {
                return Err(DecodeError::NotCanonical("cuts out of order"));
            }
            let ms = from.u64()?;
            if ms > MS_MAX {
                return Err(DecodeError::Bounds("moment of a cut"));
            }
            list.push((namespace, ms));
        }
        Ok(list)
    }
}

/// The cuts that are applied here, and the one that this start refuses by.
#[derive(Clone, Default, Hash)]
pub(super) struct Cutting {
    /// Of each origin, what its applied deltas tell.
    by_origin: BTreeMap<Origin, Cuts>,
    /// What this start refuses by, told or not.
    own: Cuts,
    /// The wall clock when this start was first told the time.
    began_ms: Option<u64>,
}

impl Cutting {
    /// A delta of `origin` is applied.
    pub fn apply(&mut self, origin: Origin, list: &[(Box<[u8]>, u64)]) {
        if !list.is_empty() {
            self.by_origin.entry(origin).or_default().raise(&Cuts::of(list));
        }
    }

    /// What another has applied is taken in, and what it has forgotten: an id that it may have
    /// forgotten must be refused here, too.
    pub fn join(&mut self, other: &Self, forgotten: &Cuts) {
        for (origin, cuts) in &other.by_origin {
            self.by_origin.entry(*origin).or_default().raise(cuts);
        }
        self.own.raise(forgotten);
    }

    /// The wall clock when this start was first told the time.
    pub const fn began_ms(&self) -> Option<u64> {
        self.began_ms
    }

    /// What this start refuses by is now at least every cut that is applied here, and what its
    /// clock says. Whether there is anything to tell.
    pub fn raise_to_applied(&mut self, settings: &ProtocolSettings, now: Now) -> bool {
        self.own.raise(&by_clock(settings, now.wall_ms));
        self.by_origin.values().for_each(|cuts| self.own.raise(cuts));
        self.own.greatest() > 0
    }

    /// As a row of the checkpoint has it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Cuts::encode_list(&self.own.list(), out);
        put_u64(out, self.by_origin.len() as u64);
        for (origin, cuts) in &self.by_origin {
            out.extend_from_slice(origin.as_bytes());
            Cuts::encode_list(&cuts.list(), out);
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let own = Cuts::of(&Cuts::decode_list(from)?);
        let mut by_origin = BTreeMap::new();
        for _ in 0..from.count(17)? {
            let origin = Origin::from_bytes(from.id()?);
            by_origin.insert(origin, Cuts::of(&Cuts::decode_list(from)?));
        }
        Ok(Self { own, by_origin, ..Self::default() })
    }
}

/// What a clock says that may be cut.
fn by_clock(settings: &ProtocolSettings, wall_ms: u64) -> Cuts {
    let cut = |window_ms: u64| wall_ms.saturating_sub(window_ms).min(MS_MAX);
    let named = settings.windows.iter();
    Cuts {
        rest: cut(settings.window_ms),
        named: named.map(|(namespace, window_ms)| (namespace.clone(), cut(*window_ms))).collect(),
    }
}

/// How much a cut rises before a delta that goes anyway carries it: this part of the window.
const STEP: u64 = 64;

/// How much, before a delta is made for it alone.
const IDLE_STEP: u64 = 8;

impl<B: Base> Protocol<B> {
    /// Whether a cut has risen by a part of its window since it was told.
    fn has_risen(&self, part: u64, wall_ms: u64) -> bool {
        let (next, settings) = (by_clock(&self.settings, wall_ms), &self.settings);
        let began = by_clock(settings, self.cuts.began_ms.unwrap_or(wall_ms));
        let windows = settings.windows.iter().map(|(name, window)| (&**name, *window));
        let mut all = windows.chain(std::iter::once((&[][..], settings.window_ms)));
        all.any(|(namespace, window_ms)| {
            let of = |cuts: &Cuts| match namespace {
                [] => cuts.rest,
                name => cuts.get(name),
            };
            // Of a member that has told none yet: since it began.
            let told = if of(&self.cuts.own) == 0 { of(&began) } else { of(&self.cuts.own) };
            of(&next).saturating_sub(told) >= (window_ms / part).max(1)
        })
    }

    /// At a start, when the log is read: no lower than before (C1).
    pub(super) fn begin_cuts(&mut self) {
        let (member, forgotten) = (self.member, self.forgotten().clone());
        let own: Vec<Origin> = self
            .cuts
            .by_origin
            .keys()
            .filter(|origin| self.member_of(**origin) == Some(member))
            .copied()
            .collect();
        for origin in own {
            if let Some(cuts) = self.cuts.by_origin.get(&origin) {
                self.cuts.own.raise(cuts);
            }
        }
        self.cuts.own.raise(&forgotten);
    }

    /// A member takes part that has written nothing yet: others may have forgotten by any cut that
    /// it has applied, so it refuses by all of them.
    pub(super) fn begin_as_high_as_any(&mut self) {
        let own = self.cuts.by_origin.keys().any(|it| self.member_of(*it) == Some(self.member));
        if !own && self.number() > 0 {
            let all: Vec<Cuts> = self.cuts.by_origin.values().cloned().collect();
            all.iter().for_each(|cuts| self.cuts.own.raise(cuts));
        }
    }

    /// This start is told the time for the first time: from now on it refuses by its clock, before
    /// it has told anybody. Its disk may be new, or one of long ago, and others have forgotten by
    /// cuts of this member that it knows nothing of.
    pub(super) fn refuse_by_clock(&mut self, now: Now) {
        if self.cuts.began_ms.is_none() {
            self.cuts.began_ms = Some(now.wall_ms);
            self.cuts.own.raise(&by_clock(&self.settings, now.wall_ms));
        }
    }

    /// Time passes: a member that writes nothing holds up everybody's forgetting.
    pub(super) fn tick_cut(&mut self, now: Now) {
        if self.may_commit() && self.open.ops == 0 && self.has_risen(IDLE_STEP, now.wall_ms) {
            self.open.cut = true;
        }
    }

    /// What the own delta of the round that is being closed carries, if there is to be one; in
    /// force from now on.
    pub(super) fn next_cut(&mut self, open: &Open, now: Now) -> CutList {
        let wanted = if self.tells_cut() {
            true
        } else if open.ops == 0 {
            open.cut && self.may_commit() && self.has_risen(IDLE_STEP, now.wall_ms)
        } else {
            self.applied.get(self.origin) == 0 || self.has_risen(STEP, now.wall_ms)
        };
        if !wanted {
            return Vec::new();
        }
        self.cuts.own.raise(&by_clock(&self.settings, now.wall_ms));
        self.cuts.own.list()
    }

    /// The cut that an op falls to, if it is not known here.
    pub(super) fn cut_of(&self, object: &ObjectKey, request: &Request) -> u64 {
        let cut = self.cuts.own.get(object.namespace());
        match request {
            Request::Merge { guest, .. } => cut.max(self.cuts.own.get(guest.namespace())),
            _ => cut,
        }
    }

    /// Whose an origin is, as far as it is known.
    pub(super) fn member_of(&self, origin: Origin) -> Option<Member> {
        if origin == self.origin {
            return Some(self.member);
        }
        self.membership().member_of(origin)
    }

    /// Up to where no delta can come any more that takes an op id in (C3).
    pub(super) fn forgettable(&self) -> Cuts {
        let mut least: Option<Cuts> = None;
        let mut met = BTreeSet::new();
        // Of a closed origin no delta can come any more: it is not in the vector.
        for dot in self.applied.iter().filter(|dot| dot.origin != Origin::MEMBERSHIP) {
            let Some(cuts) = self.cuts.by_origin.get(&dot.origin) else { return Cuts::default() };
            met.extend(self.member_of(dot.origin));
            match &mut least {
                None => least = Some(cuts.clone()),
                Some(least) => least.lower(cuts),
            }
        }
        if self.canary.ignores_cuts() {
            return Cuts { rest: MS_MAX, ..Cuts::default() };
        }
        let all = self.membership().members.iter().all(|member| met.contains(member));
        // Whoever is about to be taken in need not have what is forgotten from here on.
        least.filter(|_| all && !self.membership.takes_in()).unwrap_or_default()
    }

    /// Up to where this start refuses op ids that it does not know.
    pub const fn own_cut(&self) -> &Cuts {
        &self.cuts.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_cuts() -> impl Strategy<Value = Cuts> {
        let named = proptest::collection::btree_map(0_u8..4, 0_u64..20, 0..4);
        (0_u64..20, named).prop_map(|(rest, named)| Cuts {
            rest,
            named: named.into_iter().map(|(name, ms)| (vec![b'a' + name].into(), ms)).collect(),
        })
    }

    const NAMES: [&[u8]; 6] = [b"a", b"b", b"c", b"d", b"e", b"z"];

    proptest! {
        #[test]
        fn each_namespace_is_compared_by_itself(one in any_cuts(), other in any_cuts()) {
            let (mut later, mut earlier) = (one.clone(), one.clone());
            later.raise(&other);
            earlier.lower(&other);
            for name in NAMES {
                prop_assert_eq!(later.get(name), one.get(name).max(other.get(name)));
                prop_assert_eq!(earlier.get(name), one.get(name).min(other.get(name)));
                prop_assert!(one.least() <= one.get(name) && one.get(name) <= one.greatest());
            }
        }

        #[test]
        fn what_is_written_is_read_back(cuts in any_cuts()) {
            let list = cuts.list();
            let mut bytes = Vec::new();
            Cuts::encode_list(&list, &mut bytes);
            let mut from = Reader::new(&bytes);
            prop_assert_eq!(Cuts::decode_list(&mut from).unwrap(), list.clone());
            from.finish().unwrap();
            let read = Cuts::of(&list);
            for name in NAMES {
                prop_assert_eq!(read.get(name), cuts.get(name));
            }
        }
    }

    #[test]
    fn too_many_names_refuse_more_or_keep_more() {
        let many = |from: u64| Cuts {
            rest: 5,
            named: (0..200_u64).map(|n| (Box::from((from + n).to_be_bytes()), 10 + n)).collect(),
        };
        let (mut later, mut earlier) = (many(0), many(0));
        later.raise(&many(1_000));
        earlier.lower(&many(1_000));
        assert_eq!((later.get(b"x"), earlier.get(b"x")), (209, 5));
    }

    #[test]
    fn any_bytes_as_cuts() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut from = Reader::new(bytes);
            if let Ok(list) = Cuts::decode_list(&mut from) {
                let mut again = Vec::new();
                Cuts::encode_list(&list, &mut again);
                assert_eq!(again, bytes[..bytes.len() - from.remaining()]);
            }
            drop(Cutting::decode(&mut Reader::new(bytes)));
        });
    }
}
