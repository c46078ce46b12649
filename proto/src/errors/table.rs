//! The table of reasons. `docs/client-protocol.md` prints it; a test compares the two.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tonic::Code;

/// What became of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateChange {
    /// Nothing changed.
    None,
    /// The op may or may not have been done; the same op id may be sent again.
    Unknown,
    /// The op was done, and is synced at the replica that answers.
    Done,
}

impl StateChange {
    /// As the table in the docs prints it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Unknown => "UNKNOWN",
            Self::Done => "DONE",
        }
    }
}

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextMove {
    /// Mend the request: sent again unchanged it fails again.
    MendRequest,
    /// Give the request an op id of its own: this one names another, or is too old to tell (then
    /// read first: it may have been done before).
    NewOpId,
    /// Mend the clock that made the op id, then make another.
    MendClock,
    /// Mend the address or the settings: this is not the cluster that was meant.
    MendSettings,
    /// Begin a new session, with an empty token.
    NewSession,
    /// Read again from the first page.
    StartOver,
    /// Send it again after the delay, with the same op id; another replica may do at once.
    Retry,
    /// Watch again, with the last event's token.
    Resume,
    /// Go on with the token that came with the error.
    GoOn,
}

impl NextMove {
    /// As the table in the docs prints it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MendRequest => "mend the request",
            Self::NewOpId => "new op id",
            Self::MendClock => "mend the clock",
            Self::MendSettings => "mend the settings",
            Self::NewSession => "new session",
            Self::StartOver => "start over",
            Self::Retry => "retry",
            Self::Resume => "resume",
            Self::GoOn => "go on",
        }
    }
}

/// One row: what is promised of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub reason: Reason,
    /// `ErrorInfo.reason`.
    pub name: &'static str,
    /// The status.
    pub code: Code,
    /// What became of the state.
    pub state: StateChange,
    /// What to do.
    pub next: NextMove,
    /// Wait this long before sending again, unless the failure says otherwise; `None`: sending
    /// again unchanged is no use.
    pub retry: Option<Duration>,
    /// One line for people.
    pub doc: &'static str,
}

macro_rules! reasons {
    ($($variant:ident $name:literal $code:ident $state:ident $next:ident $retry:expr, $doc:literal;)*) => {
        /// Why a request was not answered. The numbers are of no meaning; names travel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $doc] $variant,)*
        }

        /// Every reason, each once, in the order of `Reason`.
        pub const TABLE: &[Row] = &[$(Row {
            reason: Reason::$variant,
            name: $name,
            code: Code::$code,
            state: StateChange::$state,
            next: NextMove::$next,
            retry: $retry,
            doc: $doc,
        },)*];
    };
}

const NEVER: Option<Duration> = None;

const fn ms(delay: u64) -> Option<Duration> {
    Some(Duration::from_millis(delay))
}

reasons! {
    Bounds "BOUNDS" InvalidArgument None MendRequest NEVER,
        "A name, number or size is out of its bounds; `field` says which.";
    OpIdMalformed "OP_ID_MALFORMED" InvalidArgument None NewOpId NEVER,
        "The op id is not 16 bytes of a version 7 or 8 UUID.";
    SeenMalformed "SEEN_MALFORMED" InvalidArgument None MendRequest NEVER,
        "`seen` is not what a read or a write returned; read again.";
    TokenMalformed "TOKEN_MALFORMED" InvalidArgument None NewSession NEVER,
        "The session token is damaged, or of a newer version.";
    TokenForeign "TOKEN_FOREIGN" FailedPrecondition None NewSession NEVER,
        "The session token is of another cluster.";
    PageTokenMalformed "PAGE_TOKEN_MALFORMED" InvalidArgument None StartOver NEVER,
        "The page token is damaged, or of another object, kind or namespace.";
    CommandUnknown "COMMAND_UNKNOWN" InvalidArgument None MendRequest NEVER,
        "The command is empty, or of a kind that this server does not know.";
    WrongKind "WRONG_KIND" InvalidArgument None MendRequest NEVER,
        "The request does not go with this kind of object.";
    TooLarge "TOO_LARGE" InvalidArgument None MendRequest NEVER,
        "The message or the op is larger than allowed; split it.";
    TooMany "TOO_MANY" InvalidArgument None MendRequest NEVER,
        "More items than one request may have; `max` says how many it may.";
    TooManyTakes "TOO_MANY_TAKES" FailedPrecondition None MendRequest NEVER,
        "An entry of the line was decremented too often; set the line's quantity instead.";
    OpIdReused "OP_ID_REUSED" AlreadyExists None NewOpId NEVER,
        "The op id already names another request.";
    FromTheFuture "FROM_THE_FUTURE" FailedPrecondition None MendClock NEVER,
        "The op id was born ahead of the replica's clock, by `ahead_ms`.";
    TooOld "TOO_OLD" FailedPrecondition None NewOpId NEVER,
        "The op id was born at or before `cut_ms`, and is not known: it may have been done before.";
    Behind "BEHIND" Unavailable None Retry ms(50),
        "The replica has not caught up: of `origin` it has `have`, the session needs `need`.";
    Lost "LOST" DataLoss None GoOn NEVER,
        "`count` commits of `origin` that the session saw are gone; the token is cut.";
    Resume "RESUME" Aborted None Resume ms(1),
        "The reader of a watch took nothing for too long.";
    NotReplicated "NOT_REPLICATED" DeadlineExceeded Done GoOn ms(100),
        "The change stands here, and on `reached` of the `peers` asked for; sent again, it waits on.";
    TooFewPeers "TOO_FEW_PEERS" FailedPrecondition None MendRequest NEVER,
        "More `peers` are asked for than there are other members, which are `others`.";
    Overloaded "OVERLOADED" ResourceExhausted None Retry ms(100),
        "Too much waits here already.";
    Draining "DRAINING" Unavailable None Retry ms(1),
        "The server is shutting down and takes nothing new.";
    Closed "CLOSED" Unavailable None Retry ms(250),
        "The replica is closed.";
    StorageFailed "STORAGE_FAILED" Unavailable Unknown Retry ms(1_000),
        "Storage failed; the replica stops until it is opened again.";
    NoReplica "NO_REPLICA" Unavailable None Retry ms(250),
        "The gateway knows no replica that could serve this, and has sent it to none.";
    ReplicaLost "REPLICA_LOST" Unavailable Unknown Retry ms(50),
        "The replica went away while the request was under way.";
    Deadline "DEADLINE" DeadlineExceeded Unknown Retry ms(1),
        "The deadline passed before the answer.";
    WrongCluster "WRONG_CLUSTER" FailedPrecondition None MendSettings NEVER,
        "A peer, replica or gateway of another cluster, or another member than was dialled.";
    Internal "INTERNAL" Internal Unknown Retry ms(1_000),
        "A bug in the server.";
    Returned "RETURNED" FailedPrecondition None NewOpId NEVER,
        "The op id is over: it was returned. Buy under another.";
    NothingHeld "NOTHING_HELD" NotFound None MendRequest NEVER,
        "Nothing is held under the op id, and nothing was.";
    NoCustomer "NO_CUSTOMER" InvalidArgument None MendRequest NEVER,
        "The stock has a limit for each customer, and the request names none.";
    OverLimit "OVER_LIMIT" FailedPrecondition None MendRequest NEVER,
        "The customer has `has` purchases of this stock, of the `limit` that one may have.";
    TooManyUnits "TOO_MANY_UNITS" FailedPrecondition None MendRequest NEVER,
        "The stock would have more units than are counted.";
    CartChanged "CART_CHANGED" FailedPrecondition None MendRequest NEVER,
        "The cart does not show what is ordered. Read it again, and order what it shows.";
    KeptApart "KEPT_APART" FailedPrecondition None MendRequest NEVER,
        "Lines with a limit for each customer are kept by different members. Order them apart.";
    TooManyOrders "TOO_MANY_ORDERS" ResourceExhausted None Retry ms(1_000),
        "As many orders are under way over an entry of the cart as may be. Let some go, or wait.";
    NotAccountable "NOT_ACCOUNTABLE" FailedPrecondition None MendRequest NEVER,
        "What a closed member left of a stock is not accounted for like this. Read the message.";
    CatchingUp "CATCHING_UP" Unavailable None Retry ms(250),
        "The replica must catch up with its peers first; it takes this in when it has.";
}

impl Reason {
    /// Its row.
    pub const fn row(self) -> &'static Row {
        // One row a variant, in the same order: both come from one macro.
        &TABLE[self as usize]
    }

    /// `ErrorInfo.reason`.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The gRPC code.
    pub const fn code(self) -> Code {
        self.row().code
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reason that this build does not know. Go by the gRPC code; take the state as unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason")]
pub struct UnknownReason;

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, UnknownReason> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.reason).ok_or(UnknownReason)
    }
}
