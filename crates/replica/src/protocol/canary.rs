//! Bugs planted on purpose, to prove that the simulator would find them.
//!
//! A checker that has never failed proves nothing. Each canary is a value given to
//! `Protocol::with_canary`, which only the simulator calls; no setting, flag or environment
//! variable reaches it, and `Protocol::new` plants none.

/// Which bug is planted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Canary {
    /// None: the code that ships.
    #[default]
    None,
    /// A remove also ends entries that it has not seen.
    RemoveEndsUnseen,
    /// Writes are acknowledged before they are synced.
    AckBeforeSync,
    /// Deltas are pushed, and the vector told, before they are synced.
    GossipBeforeSync,
    /// Reads are answered from rounds that are not synced.
    ReadBeforeSync,
    /// Deltas are applied in the order of their origin, but before their causes.
    BufferSkipped,
    /// The op id of a removed entry is forgotten.
    OpIdForgotten,
    /// The state sum does not cover decrements.
    HashSkipsTakes,
    /// Commands are answered whatever their session has seen.
    SessionIgnored,
    /// Of a set with two stamps (a retry elsewhere) the higher one counts.
    RetryGrowsYounger,
    /// A decrement that ran at two replicas (a retry elsewhere) takes twice.
    DecrementTwice,
    /// What was not pushed is not asked for.
    PullForgotten,
    /// Every status is answered, also one that is an answer.
    StatusStorm,
    /// Requests out of bounds are taken.
    BoundsUnchecked,
    /// An origin is closed where the proposer has it, whatever others have.
    ClosedWhereItStands,
    /// What is closed is forgotten: a late delta of it looks like one of a new origin.
    ClosedForgotten,
    /// A write counts as standing at every peer that it was sent to.
    PeersMerelySent,
    /// A retry that finds its op known is answered before peers have it.
    RetryRestsOnNobody,
    /// What is told to peers is applied, and not all of it synced.
    FrontierBeforeSync,
    /// An op id whose entry has ended everywhere is forgotten, whoever may still send it.
    ForgottenWhenStable,
    /// A change of a counter that is everywhere is forgotten, whoever may still send it.
    CountForgottenWhenStable,
    /// An op id below every cut is forgotten, whichever move of its entry may be under way.
    ForgottenBeforeSettled,
    /// The log is dropped up to the checkpoint, whoever lacks it.
    PrunedUnheard,
    /// Whoever takes a snapshot in ends what is not in it, also its own unseen writes.
    SnapshotReplaces,
    /// A snapshot is given without the memory of op ids.
    SnapshotWithoutMemory,
    /// Whoever joins a snapshot answers reads meanwhile.
    SnapshotShown,
    /// A bucket is mended with whatever rows a peer had when it was asked. (Not in `ALL`: a drawn
    /// run has no operator who mends; `simulations/tests/rot.rs` is made for it.)
    RowsOfAnyVector,
    /// A directory that is marked as put back takes everything in at once.
    RestoredTakesIn,
    /// A session's vector leaves out what every member has.
    StableLeftOut,
    /// A joiner serves, and counts as a peer, before it has what it must have.
    JoinedTooSoon,
    /// Who is to leave takes writes after it has accepted that.
    LeaverWrites,
    /// Who is to leave is not asked: the change is decided without it.
    LeaverUnasked,
    /// Somebody leaves while what an earlier start of it left is not closed. (Not in `ALL`: drawn
    /// runs meet it once in thousands; the simulator keeps a scenario.)
    LeavesUnclosed,
    /// What others' commits stir up in a stock is not settled: of two sales of one op id both stay.
    DoublesStay,
    /// A request for rights that comes again is granted again.
    GrantedAgain,
    /// Units are lent that are not there.
    GrantedFromNothing,
    /// "Sold out" is said by an old view, and nobody is asked.
    SoldOutUnasked,
    /// What was held and has lapsed is not released.
    HoldsStay,
    /// A customer's limit is held against whatever is known here.
    KeeperUnasked,
    /// A tentative hold is sold, and the customer's keeper is not asked.
    SoldTentatively,
    /// A keeper allows a hold to be sold, and its log does not say so: whoever asked writes it
    /// down when it hears the answer. (Not in `ALL`: a customer must pay for two at once; the
    /// simulator keeps a scenario.)
    AllowedUncounted,
    /// Who has promised that a member is dead goes on taking in what that one writes. (This and
    /// the next three are not in `ALL`: tests of the core are made for them.)
    SealedTaken,
    /// Where the dead end says one member alone, and not the most of all.
    EndAsOneSees,
    /// A dead member is closed before all who stay have what it wrote up to its end.
    ClosedTooSoon,
    /// What a dead member had of a stock is its heir's at once.
    FrostForgotten,
    /// A member writes the newest format that it reads, whatever the others do.
    FormatUnagreed,
    /// An order is done with those of its lines that there are units for.
    OrderInPart,
    /// What is bought ends all of its products in the cart, also what its buyer was not shown.
    OrderEndsUnseen,
    /// What an order is over is looked for in the cart at every call, not only at the first.
    CartAskedAgain,
    /// Of an order that is let go one line is.
    LinesLetGoApart,
    /// Who confirmed an order and lost it to another is told that it is bought.
    ConflictUntold,
    /// The units of a confirmed order that has lost do not come back.
    ConflictStays,
    /// An order that has lost is returned, also one that may be confirmed elsewhere and win.
    OpenReturned,
    /// An order is answered on no more members than its call asks for, whatever its stocks want.
    OrderRestsHere,
    /// An order is forgotten when it is old, whatever about its rivals is under way. (Not in `ALL`:
    /// who buys by so old a view must be heard and hear nobody; the simulator keeps a scenario.)
    OrderForgottenUnsettled,
    /// An order is forgotten when it is old, whatever orders it has beaten. (Not in `ALL`: drawn
    /// runs meet it once in hundreds; the simulator keeps a scenario.)
    OrderForgottenAlone,
}

impl Canary {
    /// Every planted bug that a drawn run can meet.
    pub const ALL: [Self; 46] = [
        Self::RemoveEndsUnseen,
        Self::AckBeforeSync,
        Self::GossipBeforeSync,
        Self::ReadBeforeSync,
        Self::BufferSkipped,
        Self::OpIdForgotten,
        Self::HashSkipsTakes,
        Self::SessionIgnored,
        Self::RetryGrowsYounger,
        Self::DecrementTwice,
        Self::PullForgotten,
        Self::StatusStorm,
        Self::BoundsUnchecked,
        Self::ClosedWhereItStands,
        Self::ClosedForgotten,
        Self::PeersMerelySent,
        Self::RetryRestsOnNobody,
        Self::FrontierBeforeSync,
        Self::ForgottenWhenStable,
        Self::CountForgottenWhenStable,
        Self::ForgottenBeforeSettled,
        Self::PrunedUnheard,
        Self::SnapshotReplaces,
        Self::SnapshotWithoutMemory,
        Self::SnapshotShown,
        Self::RestoredTakesIn,
        Self::StableLeftOut,
        Self::JoinedTooSoon,
        Self::LeaverWrites,
        Self::LeaverUnasked,
        Self::DoublesStay,
        Self::GrantedAgain,
        Self::GrantedFromNothing,
        Self::SoldOutUnasked,
        Self::HoldsStay,
        Self::KeeperUnasked,
        Self::SoldTentatively,
        Self::FormatUnagreed,
        Self::OrderInPart,
        Self::OrderEndsUnseen,
        Self::CartAskedAgain,
        Self::LinesLetGoApart,
        Self::ConflictUntold,
        Self::ConflictStays,
        Self::OpenReturned,
        Self::OrderRestsHere,
    ];

    /// Whether it forgets what nobody has promised to refuse.
    pub(super) const fn ignores_cuts(self) -> bool {
        matches!(self, Self::ForgottenWhenStable | Self::CountForgottenWhenStable)
    }
}
