//! Two replicas by hand, one of which was away for longer than the other kept its log: what is
//! joined is what replaying would have made, wherever the taker crashes meanwhile.

use orset::cart::{Content, Seen};
use orset::{Kind, Member, ObjectKey, OpId, OpIdSession, Origin, Product, Request};
use pannier_replica::protocol::snapshot::Parcel;
use pannier_replica::protocol::{
    Alarm, Canary, Command, Durability, Effect, Event, Message, NO_LANE, Now, Protocol,
    ProtocolSettings, Read, Refusal, Reply, Start, Value, Write,
};
use pannier_replica::store::memory::{InDoubt, MemoryDisk, MemoryStore};
use pannier_replica::store::{StateBatch, Store};
use std::sync::Arc;

const NAMES: [Member; 2] = [Member::from_bytes([1; 16]), Member::from_bytes([2; 16])];
const WALL_MS: u64 = 1_700_000_000_000;
const WINDOW_MS: u64 = 60_000;

struct One {
    protocol: Protocol<Arc<MemoryStore>>,
    store: Arc<MemoryStore>,
    disk: MemoryDisk,
    starts: u64,
    alarms: Vec<Alarm>,
    said: Vec<Message>,
    replies: Vec<Result<Reply, Refusal>>,
    /// What its disk has done while a snapshot was joined, and it was not told of yet.
    due: Vec<Event>,
    /// Events it has been fed while a snapshot was being taken in.
    taking: u64,
}

struct Two {
    ones: [One; 2],
    now: Now,
    ids: OpIdSession,
    cut: bool,
    holds: bool,
    /// No commit or state of the first arrives at the second.
    deaf: bool,
    canary: Canary,
    /// Of a replica's time, that it takes a snapshot in for.
    share: u64,
}

fn settings() -> ProtocolSettings {
    let mut settings = ProtocolSettings::new(NAMES.to_vec());
    settings.checkpoint_rows = 4;
    settings.log_tail = 1;
    settings.log_most = 3;
    settings.message_bytes = 300;
    settings.window_ms = WINDOW_MS;
    settings
}

fn started(
    disk: &MemoryDisk,
    place: usize,
    starts: u64,
    canary: Canary,
    snapshot_share: u64,
) -> (Arc<MemoryStore>, Protocol<Arc<MemoryStore>>) {
    let store = Arc::new(disk.open().unwrap());
    let (member, origin) = (NAMES[place], Origin::of(NAMES[place], starts));
    let extents = store.log_extents().unwrap();
    let start = Start { member, origin, previous: None, extents, restored: false };
    let write = |batch: &StateBatch| store.write_state(batch);
    let settings = ProtocolSettings { snapshot_share, ..settings() };
    let made = Protocol::with_canary(start, settings, store.clone(), write, canary).unwrap();
    (store.clone(), made)
}

impl Two {
    fn new() -> Self {
        Self::with(Canary::None)
    }

    fn with(canary: Canary) -> Self {
        Self::with_share(canary, 1_000)
    }

    fn with_share(canary: Canary, share: u64) -> Self {
        let now = Now { mono_us: 1, wall_ms: WALL_MS };
        let ones = [0, 1].map(|place| {
            let disk = MemoryDisk::new();
            let (store, mut protocol) = started(&disk, place, 1, canary, share);
            let first = crate::rig::there_is_nothing(NAMES[1 - place], protocol.origin());
            protocol.handle(first, now).unwrap();
            let (alarms, said, replies, due) = Default::default();
            One { protocol, store, disk, starts: 1, alarms, said, replies, due, taking: 0 }
        });
        let ids = OpIdSession::new(WALL_MS / 1_000, 7);
        Self { ones, now, ids, cut: false, holds: false, deaf: false, canary, share }
    }

    fn crash(&mut self, place: usize) {
        let one = &mut self.ones[place];
        one.disk.crash(InDoubt::NOTHING);
        one.starts += 1;
        one.due.clear();
        let (starts, canary) = (one.starts, self.canary);
        (one.store, one.protocol) = started(&one.disk, place, starts, canary, self.share);
    }

    /// One event, and what its disk makes of it. Checkpoints are not durable.
    fn feed(&mut self, place: usize, event: Event) {
        let one = &mut self.ones[place];
        let mut events = vec![event, Event::Commit];
        while !events.is_empty() {
            for event in std::mem::take(&mut events) {
                one.protocol.handle(event, self.now).unwrap();
            }
            while let Some(effect) = one.protocol.poll() {
                match effect {
                    Effect::Persist { round, records } => {
                        one.store.append(&records).unwrap();
                        events.push(Event::Synced(round));
                    }
                    Effect::Checkpoint(batch) => {
                        one.store.write_state(&batch).unwrap();
                        if one.protocol.is_installing() {
                            one.due.push(Event::Checkpointed { durable: false });
                        } else {
                            one.store.sync_state().unwrap();
                            events.push(Event::Checkpointed { durable: true });
                        }
                    }
                    Effect::Skip(upto) => {
                        one.store.sync_state().unwrap();
                        one.store.skip_log(&upto).unwrap();
                        one.due.push(Event::Skipped);
                    }
                    Effect::Prune(list) => {
                        list.iter().for_each(|(o, upto)| one.store.prune_log(*o, *upto).unwrap());
                    }
                    Effect::Alarm(alarm) => one.alarms.push(alarm),
                    Effect::Reply(_, reply) => one.replies.push(reply),
                    Effect::Send(_, message) => one.said.push(message),
                    Effect::Changed(_)
                    | Effect::Membership(_)
                    | Effect::Survey(_)
                    | Effect::CatchingUp(_)
                    | Effect::Place(..) => {}
                }
            }
        }
    }

    /// Time passes, and what was said arrives; the taker crashes after its `crash`-th event.
    fn run(&mut self, steps: u64, crash: Option<u64>) {
        for step in 0..steps {
            self.now.mono_us += 60_000;
            self.now.wall_ms += 60;
            for (place, from) in NAMES.into_iter().enumerate() {
                self.feed(place, Event::Tick { chance: step });
                for event in std::mem::take(&mut self.ones[place].due) {
                    self.feed(place, event);
                    self.one_more(place, crash);
                }
                for message in std::mem::take(&mut self.ones[place].said) {
                    // What the taker has and nobody else reaches the giver only when it is joined.
                    let is_deltas = matches!(message, Message::Deltas { .. });
                    let is_first = self.ones[1].protocol.stats().snapshots_taken == 0;
                    let is_held = self.holds && place == 1 && is_first;
                    let is_state = matches!(message, Message::Snapshot(_));
                    let is_unheard = self.deaf && place == 0 && (is_deltas || is_state);
                    if self.cut || is_unheard || (is_held && is_deltas) {
                        continue;
                    }
                    self.feed(1 - place, Event::Message { from, message });
                    if is_state {
                        self.one_more(1 - place, crash);
                    }
                }
            }
        }
    }

    /// The taker has been fed something of a snapshot.
    fn one_more(&mut self, place: usize, crash: Option<u64>) {
        if place == 1 {
            self.ones[1].taking += 1;
            if Some(self.ones[1].taking) == crash {
                self.crash(1);
            }
        }
    }

    fn ask(&mut self, place: usize, command: Command) -> Result<Reply, Refusal> {
        self.ones[place].replies.clear();
        self.feed(place, Event::Command(1, command));
        self.ones[place].replies.pop().unwrap()
    }

    fn write(&mut self, place: usize, object: ObjectKey, request: Request) -> OpId {
        let op = self.ids.next_id().unwrap();
        let seen = matches!(request, Request::Remove(_)).then(|| self.seen(place, &object));
        let (after, deadline_us) = (Arc::default(), u64::MAX);
        let (lane, durability) = (NO_LANE, Durability::Local);
        let write = Write { op, object, request, seen, after, deadline_us, lane, durability };
        self.ask(place, Command::Write(write)).unwrap();
        op
    }

    fn read(&mut self, place: usize, object: &ObjectKey) -> Value {
        let (object, after, lane) = (object.clone(), Arc::default(), NO_LANE);
        let (page, deadline_us, allow_stale) = (None, u64::MAX, false);
        let read = Read { object, page, after, deadline_us, allow_stale, lane };
        match self.ask(place, Command::Read(read)) {
            Ok(Reply::Shown(shown)) => shown.value,
            other => panic!("{other:?}"),
        }
    }

    fn seen(&mut self, place: usize, object: &ObjectKey) -> Seen {
        match self.read(place, object) {
            Value::Cart(_, seen) => seen,
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, place: usize, product: &str) -> OpId {
        let product = Product::new(product.as_bytes()).unwrap();
        self.write(place, cart(), Request::Add(Content::added(product, 1, b"")))
    }

    fn remove(&mut self, place: usize, product: &str) {
        self.write(place, cart(), Request::Remove(Product::new(product.as_bytes()).unwrap()));
    }

    fn count(&mut self, place: usize, amount: i64) {
        self.write(place, counter(), Request::Count(amount));
    }

    fn products(&mut self, place: usize) -> Vec<String> {
        match self.read(place, &cart()) {
            Value::Cart(shown, _) => shown.iter().map(|line| line.product.to_string()).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Both have the same, by vectors, sums and rows.
    fn agree(&mut self) {
        let [one, other] = &self.ones;
        assert_eq!(one.protocol.synced(), other.protocol.synced());
        assert_eq!(one.protocol.synced_total(), other.protocol.synced_total());
        assert_eq!(one.protocol.dump().unwrap(), other.protocol.dump().unwrap());
        let is_due = |alarm: &Alarm| !matches!(alarm, Alarm::NeedsSnapshot { .. });
        assert!(!self.ones.iter().any(|one| one.alarms.iter().any(is_due)), "no other alarm");
    }

    /// The first one writes more than it keeps a log of, while the second is away.
    fn much_happens(&mut self) {
        for n in 0..24 {
            self.add(0, &format!("p{n:02}"));
            self.run(1, None);
        }
    }
}

fn cart() -> ObjectKey {
    ObjectKey::new(Kind::Cart, b"shop", b"ann").unwrap()
}

fn counter() -> ObjectKey {
    ObjectKey::new(Kind::Counter, b"shop", b"views").unwrap()
}

/// Both know of `kept`, `there` and `here`; then the second is away, each removes one, adds one and
/// counts.
fn story(two: &mut Two) {
    for product in ["kept", "there", "here"] {
        two.add(0, product);
    }
    two.count(0, 5);
    two.run(20, None);
    two.agree();
    two.cut = true;
    two.remove(0, "there");
    two.remove(1, "here");
    two.add(1, "unseen");
    two.count(0, 7);
    two.count(1, -2);
    two.much_happens();
    (two.cut, two.holds) = (false, true);
}

fn ends_well(two: &mut Two) {
    two.agree();
    let taken: u64 = two.ones.iter().map(|one| one.protocol.stats().snapshots_taken).sum();
    assert!(taken <= 2, "{taken}");
    for place in 0..2 {
        let products = two.products(place);
        for (product, is_there) in
            [("kept", true), ("unseen", true), ("p23", true), ("there", false), ("here", false)]
        {
            assert_eq!(products.iter().any(|it| it == product), is_there, "{product}");
        }
        assert_eq!(two.read(place, &counter()), Value::Counter(10));
    }
}

#[test]
fn what_nobody_has_seen_survives_and_what_was_missed_comes() {
    let mut two = Two::new();
    story(&mut two);
    two.run(120, None);
    ends_well(&mut two);
    assert_eq!(two.ones[1].protocol.stats().snapshots_taken, 1);
    assert_eq!(two.ones[0].protocol.stats().snapshots_given, 1);
    // Its log goes on behind the snapshot, and survives a restart.
    two.add(0, "later");
    two.run(20, None);
    two.crash(1);
    two.run(40, None);
    two.agree();
    assert!(two.products(1).iter().any(|it| it == "later"));
}

#[test]
fn a_crash_after_any_event_goes_on_or_begins_anew() {
    let mut points = 0;
    for crash in 1.. {
        let mut two = Two::new();
        story(&mut two);
        two.run(300, Some(crash));
        ends_well(&mut two);
        if two.ones[1].starts == 1 {
            break;
        }
        points = crash;
    }
    assert!(points > 10, "{points} places to crash at");
}

#[test]
fn a_taker_that_replaces_its_state_loses_what_nobody_has_seen() {
    let mut two = Two::with(Canary::SnapshotReplaces);
    story(&mut two);
    two.run(120, None);
    assert!(!two.products(1).iter().any(|it| it == "unseen"), "the planted bug shows");
}

/// A giver that starts anew has lost its view: the taker begins again with another.
#[test]
fn a_giver_that_starts_anew_is_asked_anew() {
    let mut two = Two::new();
    story(&mut two);
    for _ in 0..200 {
        two.run(1, None);
        if two.ones[1].protocol.stats().snapshot_rows > 0 {
            break;
        }
    }
    two.crash(0);
    two.run(200, None);
    ends_well(&mut two);
    let stats = two.ones[1].protocol.stats();
    assert_eq!((stats.snapshots_given_up, stats.snapshots_taken), (1, 1));
}

/// One that may spend a tenth of its time on it takes several times as long, and ends as well.
#[test]
fn a_snapshot_is_taken_in_for_its_share_of_the_time() {
    let took = [1_000, 100].map(|share| {
        let mut two = Two::with_share(Canary::None, share);
        story(&mut two);
        let stats = |two: &Two| *two.ones[1].protocol.stats();
        let steps = (0..2_000).take_while(|_| {
            two.run(1, None);
            stats(&two).snapshots_taken == 0
        });
        let steps = steps.count();
        two.run(20, None);
        ends_well(&mut two);
        assert_eq!(stats(&two).snapshots_given_up, 0);
        assert_eq!(stats(&two).snapshot_rests > 0, share < 1_000);
        steps
    });
    assert!(took[1] > 4 * took[0] && took[1] < 40 * took[0], "{took:?}");
}

/// While rows are joined nothing is answered; before and after that, everything.
#[test]
fn doors_are_closed_while_rows_are_joined() {
    let mut two = Two::new();
    story(&mut two);
    let (mut open, mut shut) = (0, 0);
    for _ in 0..200 {
        two.run(1, None);
        let is_installing = two.ones[1].protocol.is_installing();
        let (object, after, lane) = (cart(), Arc::default(), NO_LANE);
        let read = Read { object, page: None, after, deadline_us: 0, allow_stale: true, lane };
        match two.ask(1, Command::Read(read)) {
            Err(Refusal::CatchingUp) if is_installing => shut += 1,
            Ok(_) if !is_installing => open += 1,
            other => panic!("installing: {is_installing}, {other:?}"),
        }
    }
    ends_well(&mut two);
    assert!(open > 0 && shut > 2, "{open} {shut}");
}

/// Time passes in great steps, and both write: so each tells cuts, and forgets by those it hears.
fn a_while(two: &mut Two, steps: u64) {
    for step in 0..steps {
        two.now.wall_ms += WINDOW_MS / 20;
        two.ids = OpIdSession::new(two.now.wall_ms / 1_000, 100 + step);
        for place in 0..2 {
            two.count(place, 1);
        }
        two.run(30, None);
    }
}

/// Each side is the base once: the one that has forgotten further, and the other.
#[test]
fn a_counter_is_the_same_whichever_side_has_forgotten_further() {
    for is_deaf in [true, false] {
        let mut two = Two::new();
        two.count(0, 500);
        two.count(1, 30);
        a_while(&mut two, 10);
        two.agree();
        // The second goes on telling its cuts, and hears none of the first's.
        two.deaf = is_deaf;
        a_while(&mut two, 30);
        two.deaf = false;
        two.cut = true;
        let forgotten = [0, 1].map(|place| two.ones[place].protocol.forgotten().greatest());
        assert_eq!(forgotten[0] > forgotten[1], is_deaf, "{forgotten:?}");
        let counts = two.ones[0].protocol.stats().counts_forgotten;
        assert!(forgotten[0] > WALL_MS && counts > 10, "{counts}");
        two.count(0, 7);
        two.count(1, -2);
        two.much_happens();
        (two.cut, two.holds) = (false, true);
        two.run(200, None);
        two.agree();
        assert_eq!(two.ones[1].protocol.stats().snapshots_taken, 1);
        assert_eq!(two.read(1, &counter()), Value::Counter(500 + 30 + 80 + 7 - 2));
    }
}

/// What the giver's state of long ago has, and the taker has removed and forgotten since, ends.
#[test]
fn what_was_removed_and_forgotten_here_does_not_come_back() {
    let mut two = Two::new();
    story(&mut two);
    two.run(200, None);
    ends_well(&mut two);
    // A state in which the entry lives, on its way for long.
    let ask = Parcel::Ask { name: None, after: Some(Vec::new()), credit: 16 };
    two.feed(0, Event::Message { from: NAMES[1], message: Message::Snapshot(ask) });
    let mut pages = Vec::new();
    for step in 0..16 {
        two.now.mono_us += 1_000;
        two.feed(0, Event::Tick { chance: step });
        let said = std::mem::take(&mut two.ones[0].said);
        pages.extend(said.into_iter().filter(|message| matches!(message, Message::Snapshot(_))));
    }
    assert!(pages.len() > 2);
    let taken = two.ones[1].protocol.stats().snapshots_taken;
    two.remove(1, "kept");
    a_while(&mut two, 60);
    let idle = two.ones[1].protocol.remembered(two.now.wall_ms - 2 * WINDOW_MS).unwrap().1;
    assert_eq!(idle, 0, "what has ended is forgotten");
    two.cut = true;
    two.much_happens();
    two.cut = false;
    let mut looked = 0;
    for step in 0..400 {
        two.now.mono_us += 60_000;
        for (place, from) in NAMES.into_iter().enumerate() {
            two.feed(place, Event::Tick { chance: step });
            for event in std::mem::take(&mut two.ones[place].due) {
                two.feed(place, event);
            }
            for message in std::mem::take(&mut two.ones[place].said) {
                let is_first = two.ones[1].protocol.stats().snapshots_taken == taken;
                match message {
                    Message::Snapshot(Parcel::Ask { .. }) if place == 1 && is_first => {
                        for page in std::mem::take(&mut pages) {
                            two.feed(1, Event::Message { from: NAMES[0], message: page });
                        }
                    }
                    Message::Snapshot(_) if place == 0 && is_first => {}
                    message => two.feed(1 - place, Event::Message { from, message }),
                }
            }
        }
        // A younger state would mend what the old one had brought back.
        let one = &two.ones[1].protocol;
        if one.stats().snapshots_taken > taken && !one.is_installing() {
            assert!(!two.products(1).iter().any(|it| it == "kept"), "it is back");
            looked += u64::from(two.ones[1].protocol.stats().snapshots_taken == taken + 1);
        }
    }
    two.agree();
    let taken = two.ones[1].protocol.stats().snapshots_taken - taken;
    assert!(taken > 1 && looked > 0, "the old one, and one that helps: {taken}, {looked}");
}

/// Each has dropped what the other lacks (counterexample 6, E2): only the join of their states can
/// bring them together, and each takes one.
#[test]
fn two_that_have_both_dropped_what_the_other_lacks_come_together() {
    let mut two = Two::new();
    two.add(0, "kept");
    two.run(20, None);
    two.cut = true;
    for n in 0..24 {
        two.add(0, &format!("there{n:02}"));
        two.add(1, &format!("here{n:02}"));
        two.count(n % 2, 1);
        two.run(1, None);
    }
    two.cut = false;
    two.run(300, None);
    two.agree();
    assert_eq!(two.products(0).len(), 49);
    assert_eq!(two.read(0, &counter()), Value::Counter(24));
    assert!(two.ones.iter().all(|one| one.protocol.stats().snapshots_taken > 0));
}
