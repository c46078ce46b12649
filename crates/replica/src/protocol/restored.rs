//! A start whose disk knows less than its member has promised: it takes nothing in before it has
//! caught up with a peer.
//!
//! Every start takes a new origin, so no dot is used twice, whatever a disk was put back from. A
//! disk that went back has lost something else: what its member *promised*. It told cuts, and
//! others have forgotten op ids by them; it had applied the end of an entry, and others have
//! forgotten that end since. Such a start would take a request in for the second time, or merge
//! what everybody knows to be over.
//!
//! ```text
//! Asking    marked, or found out: CatchUp to all, again and again     (no command that writes)
//! Cutting   all that a peer had is synced here; the own cut goes to disk
//! Done      the mark is taken off, commands that write are taken in
//! ```
//!
//! B1  While it is catching up it takes in no command that writes (`Refusal::CatchingUp`), whatever
//!     the command's session has seen.
//! B2  It has caught up when one peer has answered *this* start's question with what it had synced,
//!     and all of that is applied and synced here. A status would not do: it may have been under
//!     way since before the member promised what its disk has lost. The answer names the start.
//! B3  Nobody answers who is catching up: two disks of one backup must not vouch for each other.
//!     And nobody answers one whom it has promised to let go: it may be gone already, by what its
//!     lost disk had promised, and what it made now nobody would count (`membership/place.rs`, L1).
//! B4  Then its own cut rises to every cut that is applied here, stands in its log, synced; only
//!     then is the mark taken off. A crash in between begins anew.
//! B5  A disk that went back and nobody marked is found out by the first peer that has commits of
//!     this member which are not here: an alarm, and as if it were marked. (Once in a start: where
//!     a copy of the directory runs elsewhere, the next commit of that one is no news.)
//! B6  A peer that has more of *this start* than it has made proves that the process itself was
//!     taken back, memory and all, or runs twice. It answers nothing more: a dot that it made now
//!     could be one that it has made before.
//! B7  As long as no peer was heard, op ids from before this start (less the skew limit) that are
//!     not known here are not taken in (`Refusal::Unheard`): nobody could have told yet that the
//!     disk went back, and they may have been done.
//!
//! B8  An empty disk nobody marks, and it may stand where one was lost. So a start whose disk holds
//!     nothing that its member has written does, where there are others, as B1 to B4 say; or takes
//!     the word of one who has nothing either. Its member may have promised to go, and that be
//!     decided by what the start before had accepted: then nobody would count what it made. Until
//!     it is told that its member was there before (B5) it answers others, or the first start of a
//!     cluster would wait for ever. And its commands wait a little for that first word.
//!
//! Reads go on. State at a vector is a function of the vector, so what an old disk shows is right
//! for whoever has seen no more; who has, is told `Behind` as everywhere.
//!
//! Known hole: between the start of an unmarked disk and the first word of a peer, what others have
//! forgotten the end of may be merged again, or what nobody will count be made. That is what the
//! mark is for. And two whose disks were lost during one change vouch for each other.

use super::canary::Canary;
use super::membership::Place;
use super::message::Message;
use super::rows::Base;
use super::time::Now;
use super::{Alarm, Effect, Protocol, Refusal};
use crate::store::StoreError;
use orset::{Dot, Member, OpId, Origin, VersionVector};
use std::collections::{BTreeMap, BTreeSet};

/// Origins that one start is warned of, at most.
const WARNED_MAX: usize = 64;

/// How far a start is. See the file's head.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
enum Stage {
    /// Nothing speaks against its disk.
    #[default]
    Sound,
    /// Peers are asked. Of each that answered, what it had.
    Asking(BTreeMap<Member, VersionVector>),
    /// All of one of them is synced here; up to this own seq is to be.
    Cutting(u64),
    /// It has caught up.
    Done,
}

/// See the file's head.
#[derive(Clone, Default, Hash)]
pub(super) struct Restoring {
    stage: Stage,
    /// When to ask again.
    next_us: u64,
    /// Origins of this member that peers know more of, as far as an alarm was raised.
    warned: BTreeSet<Origin>,
    /// Its disk held nothing that its member wrote, and nobody has told that there was more (B8).
    blank: bool,
    /// Until then its commands wait for a peer's word; 0: it has not been told the time yet.
    patience_us: u64,
}

/// Intervals of gossip for which commands wait for the first word that a blank start gets; and no
/// shorter than between two looks at the membership.
const PATIENCE: u64 = 10;

impl<B: Base> Protocol<B> {
    /// At a start, from a directory with the mark or without, in which starts before wrote or not.
    pub(super) fn begin_restored(&mut self, marked: bool, wrote: bool) {
        let others = self.membership().members.iter().any(|member| *member != self.member);
        if marked {
            self.begin_asking();
        } else if !wrote && others {
            self.restoring.stage = Stage::Asking(BTreeMap::new());
            self.restoring.blank = true;
        }
        if self.canary == Canary::RestoredTakesIn && self.takes_nothing_in().is_some() {
            self.caught_up();
        }
    }

    fn begin_asking(&mut self) {
        self.restoring.stage = Stage::Asking(BTreeMap::new());
        self.restoring.blank = false;
        self.effect(Effect::CatchingUp(true));
    }

    /// Whether this start is known to lack what its member had, and takes in nothing before it has
    /// caught up with a peer.
    pub fn is_catching_up(&self) -> bool {
        self.takes_nothing_in().is_some() && !self.restoring.blank
    }

    /// Whether peers are asked, and none has answered whom it has caught up with.
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.restoring.stage, Stage::Asking(_))
    }

    /// Why no command that writes is taken in, if none is.
    pub(super) const fn takes_nothing_in(&self) -> Option<Refusal> {
        match self.restoring.stage {
            Stage::Asking(_) | Stage::Cutting(_) => Some(Refusal::CatchingUp),
            Stage::Sound | Stage::Done => None,
        }
    }

    /// This start is told the time; one that joins has patience from when it serves.
    pub(super) fn begin_patience(&mut self, now: Now) {
        let is_first = self.restoring.blank && self.restoring.patience_us == 0;
        if is_first && self.place() == Place::Member {
            let gossip_us = PATIENCE.saturating_mul(self.settings.gossip_us);
            let most_us = gossip_us.max(self.settings.change_us);
            self.restoring.patience_us = now.mono_us.saturating_add(most_us);
        }
    }

    /// Whether a command that is not taken in may be so in a moment (B8).
    pub(super) fn awaits_first_word(&self, deadline_us: u64, now: Now) -> bool {
        self.restoring.blank && now.mono_us < deadline_us.max(self.restoring.patience_us)
    }

    /// Why an op id that is not known here is not taken in yet (B7).
    pub(super) fn unheard(&self, op: OpId) -> Option<Refusal> {
        let began_ms = self.cuts.began_ms()?.saturating_sub(self.settings.skew_ms);
        let mut peers = self.peers.heard().peekable();
        let alone = peers.peek().is_none();
        let unheard = !alone && peers.all(|peer| peer.origin.is_none());
        (unheard && op.born_ms() < began_ms).then_some(Refusal::Unheard { op })
    }

    /// Whether the own delta of the round that is being closed must carry the cut. Who is to go, or
    /// has gone, makes none (L1 in `membership/place.rs`).
    pub(super) fn tells_cut(&self) -> bool {
        matches!(self.restoring.stage, Stage::Cutting(seq) if self.applied.get(self.origin) < seq)
            && self.may_commit()
    }

    /// Now and then.
    pub(super) fn tick_restored(&mut self, now: Now) {
        // A round that was closed while this member was about to leave went without it.
        self.open.cut |= self.tells_cut();
        if self.restoring.blank && self.place() == Place::Member && self.peers.is_empty() {
            // The others have left since.
            self.caught_up();
        }
        if matches!(self.restoring.stage, Stage::Asking(_)) && now.mono_us >= self.restoring.next_us
        {
            self.restoring.next_us = now.mono_us.saturating_add(self.settings.gossip_us);
            let peers: Vec<Member> = self.peers.members().collect();
            for peer in peers {
                self.effect(Effect::Send(peer, Message::CatchUp { start: self.origin }));
            }
        }
    }

    /// A start of another member asks what there is.
    pub(super) fn asked_to_catch_up(&mut self, from: Member, start: Origin) {
        let takes_part = matches!(self.place(), Place::Member | Place::Leaving);
        let may_vouch = takes_part && !self.is_catching_up() && !self.membership.is_over();
        if may_vouch && !self.membership.lets_go(from) {
            let vector = (*self.synced).clone();
            self.effect(Effect::Send(from, Message::Standing { start, vector }));
        }
    }

    /// A peer answers. The first answer of each stays: one that moved on all the time would never
    /// be reached, and any of them will do.
    pub(super) fn stands(
        &mut self,
        from: Member,
        start: Origin,
        vector: VersionVector,
        now: Now,
    ) -> Result<(), StoreError> {
        if start == self.origin {
            self.note_own(from, &vector);
            if let Stage::Asking(answers) = &mut self.restoring.stage {
                answers.entry(from).or_insert(vector);
            }
            self.settle_restored(now);
        }
        self.settle_waiting(now)
    }

    /// What is synced may have grown.
    pub(super) fn settle_restored(&mut self, now: Now) {
        let has = |dot: Dot| {
            self.synced.contains(dot) || self.membership().final_of(dot.origin).is_some()
        };
        match &self.restoring.stage {
            Stage::Asking(answers)
                if self.restoring.blank && answers.values().any(VersionVector::is_empty) =>
            {
                // There is nothing: so no cut has been told either.
                self.caught_up();
            }
            Stage::Asking(answers) if answers.values().any(|it| it.iter().all(has)) => {
                self.restoring.stage = Stage::Cutting(self.applied.get(self.origin) + 1);
                if self.cuts.raise_to_applied(&self.settings, now) {
                    self.open.cut = true;
                } else {
                    self.caught_up();
                }
            }
            Stage::Cutting(seq) if self.synced.get(self.origin) >= *seq => self.caught_up(),
            _ => {}
        }
    }

    fn caught_up(&mut self) {
        if std::mem::take(&mut self.restoring.blank) {
            self.restoring.stage = Stage::Sound;
        } else {
            self.restoring.stage = Stage::Done;
            self.effect(Effect::CatchingUp(false));
        }
    }

    /// What a peer has of this member's own commits (B5, B6).
    pub(super) fn note_own(&mut self, peer: Member, vector: &VersionVector) {
        let made = self.applied.get(self.origin);
        if vector.get(self.origin) > made {
            let dot = Dot::new(self.origin, vector.get(self.origin));
            if !self.membership.is_over() {
                self.effect(Effect::Alarm(Alarm::WentBack { peer, dot, have: made }));
            }
            self.membership.end_for_good(dot);
            return;
        }
        // One that is marked, or was found out, knows that.
        let suspects_nothing = self.restoring.stage == Stage::Sound || self.restoring.blank;
        if !suspects_nothing && self.restoring.warned.is_empty() {
            return;
        }
        let is_here = |dot: &Dot| self.applied.contains(*dot) || self.membership().covers(*dot);
        let own = vector.iter().filter(|dot| dot.origin != Origin::MEMBERSHIP && !is_here(dot));
        let own: Vec<Dot> = own.filter(|dot| dot.origin.is_of(self.member)).collect();
        for dot in own {
            if self.restoring.warned.len() < WARNED_MAX && self.restoring.warned.insert(dot.origin)
            {
                let have = self.applied.get(dot.origin);
                self.effect(Effect::Alarm(Alarm::WentBack { peer, dot, have }));
            }
        }
        if suspects_nothing && !self.restoring.warned.is_empty() {
            self.begin_asking();
        }
    }
}
