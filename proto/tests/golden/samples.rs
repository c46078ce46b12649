//! One value of each message, every field set; of a oneof, one value for each of its fields.

use bytes::Bytes;
use pannier_proto::v1::{
    AcceptChange, AccountForRequest, AccountForResponse, AddToCart, AddToCounter, AddToSet, Answer,
    BatchGetCarts, BatchGetCounters, BatchGetSets, BatchOfCarts, BatchOfCounters, BatchOfSets,
    Cart, CatchUp, ChangeMembersRequest, ChangeMembersResponse, ClearCart, ClearSet, ClosedEnds,
    Command, Counter, DeadMember, DecrementInCart, Deltas, Dot, Entry, Estate, ExecuteRequest,
    ExecuteResponse, Failure, Frontier, GetCart, GetCounter, GetFrontierRequest, GetSet,
    GetStateHashRequest, GetStatusRequest, Hello, Kind, Line, ListMembersRequest, ListRequest,
    ListResponse, MemberInfo, MemberList, Membership, MergeCarts, MergeSets, NewMember, ObjectRef,
    PeerMessage, Pruned, Pull, RemoveFromCart, RemoveFromSet, ReplicaStatus, SeqRange, Set,
    SetInCart, Snapshot, Standing, StateHash, Status, UnseenSale, VectorEntry, WatchEvent,
    WatchRequest, Written, answer, change_members_response, command::Body, membership,
    peer_message, watch_event,
};
use prost::{DecodeError, Message};

/// One value, and how its bytes are read.
pub struct Sample {
    /// Of the message.
    pub name: &'static str,
    /// As they are written now.
    pub bytes: Vec<u8>,
    /// Decodes and encodes again.
    pub again: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
}

macro_rules! table {
    ($($message:ident $value:expr;)*) => {
        vec![$(Sample {
            name: stringify!($message),
            bytes: Message::encode_to_vec(&$value),
            again: |bytes| Ok($message::decode(bytes)?.encode_to_vec()),
        }),*]
    };
}

mod backup;
mod checkouts;
mod stocks;
mod verify;

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Sixteen times the same byte.
fn id(byte: u8) -> Bytes {
    Bytes::from(vec![byte; 16])
}

/// A version 7 UUID.
fn op() -> Bytes {
    let mut bytes = [9; 16];
    bytes[6] = 0x79;
    bytes[8] = 0x89;
    Bytes::copy_from_slice(&bytes)
}

fn add_to_cart() -> AddToCart {
    AddToCart {
        op_id: op(),
        namespace: b("shop"),
        cart: b("ada"),
        product: b("lamp"),
        quantity: 1_000_000_000,
        attributes: b("red"),
    }
}

fn remove_from_cart() -> RemoveFromCart {
    let (namespace, cart, product) = (b("shop"), b("ada"), b("lamp"));
    RemoveFromCart { op_id: op(), namespace, cart, product, seen: b("seen") }
}

fn set_in_cart() -> SetInCart {
    SetInCart {
        op_id: op(),
        namespace: b("shop"),
        cart: b("ada"),
        product: b("lamp"),
        quantity: 3,
        attributes: b("red"),
        seen: b("seen"),
    }
}

fn decrement_in_cart() -> DecrementInCart {
    let (namespace, cart, product) = (b("shop"), b("ada"), b("lamp"));
    DecrementInCart { op_id: op(), namespace, cart, product, quantity: 2, seen: b("seen") }
}

fn clear_cart() -> ClearCart {
    ClearCart { op_id: op(), namespace: b("shop"), cart: b("ada"), seen: b("seen") }
}

fn merge_carts() -> MergeCarts {
    MergeCarts { op_id: op(), namespace: b("shop"), guest: b("guest"), user: b("ada") }
}

fn get_cart() -> GetCart {
    GetCart {
        namespace: b("shop"),
        cart: b("ada"),
        page_size: 10_000,
        page_token: b("page"),
        allow_stale: true,
    }
}

fn add_to_set() -> AddToSet {
    AddToSet {
        op_id: op(),
        namespace: b("shop"),
        set: b("ada"),
        element: b("lamp"),
        attributes: b("red"),
    }
}

fn remove_from_set() -> RemoveFromSet {
    let (namespace, set, element) = (b("shop"), b("ada"), b("lamp"));
    RemoveFromSet { op_id: op(), namespace, set, element, seen: b("seen") }
}

fn clear_set() -> ClearSet {
    ClearSet { op_id: op(), namespace: b("shop"), set: b("ada"), seen: b("seen") }
}

fn merge_sets() -> MergeSets {
    MergeSets { op_id: op(), namespace: b("shop"), guest: b("guest"), user: b("ada") }
}

fn get_set() -> GetSet {
    GetSet {
        namespace: b("shop"),
        set: b("ada"),
        page_size: 10_000,
        page_token: b("page"),
        allow_stale: true,
    }
}

fn add_to_counter() -> AddToCounter {
    let amount = -1_000_000_000_000;
    AddToCounter { op_id: op(), namespace: b("shop"), counter: b("views"), amount }
}

fn get_counter() -> GetCounter {
    GetCounter { namespace: b("shop"), counter: b("views"), allow_stale: true }
}

fn list_request() -> ListRequest {
    ListRequest { namespace: b("shop"), page_size: 1_000, page_token: b("page") }
}

fn list_response() -> ListResponse {
    ListResponse { ids: vec![b("ada"), b("bob")], next_page_token: b("next") }
}

fn dot() -> Dot {
    Dot { origin: id(1), seq: 300 }
}

fn vector() -> Vec<VectorEntry> {
    vec![VectorEntry { origin: id(1), seq: 300 }, VectorEntry { origin: id(2), seq: 1 }]
}

fn written() -> Written {
    Written { dot: Some(dot()), ended: b("seen"), taken: 2 }
}

fn line() -> Line {
    let entries = vec![Entry { op_id: op(), quantity: 2, attributes: b("red") }];
    Line { product: b("lamp"), quantity: 5, entries }
}

fn cart() -> Cart {
    Cart { lines: vec![line()], seen: b("seen"), next_page_token: b("next"), stale: true }
}

fn set() -> Set {
    let elements = vec![b("lamp"), b("tea")];
    Set { elements, seen: b("seen"), next_page_token: b("next"), stale: true }
}

fn counter() -> Counter {
    Counter { value: i64::MIN, stale: true }
}

fn failure() -> Failure {
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Failure {
        code: 14,
        message: "behind".into(),
        reason: "BEHIND".into(),
        metadata: [entry("have", "1"), entry("need", "2")].into(),
        retry_ms: 50,
        written: None,
        stock_answer: None,
    }
}

fn not_replicated() -> Failure {
    Failure { reason: "NOT_REPLICATED".into(), written: Some(written()), ..Failure::default() }
}

fn command(body: Body) -> Command {
    let (token, body) = (b("token"), Some(body));
    Command { request_id: 7, token, timeout_ms: 250, peers: 0, peers_timeout_ms: 0, body }
}

fn on_peers(body: Body) -> Command {
    Command { peers: 2, peers_timeout_ms: 3_000, ..command(body) }
}

fn answer(body: answer::Body) -> Answer {
    Answer { request_id: 7, token: b("token"), body: Some(body) }
}

fn event(value: watch_event::Value) -> WatchEvent {
    WatchEvent { token: b("token"), value: Some(value) }
}

fn object() -> ObjectRef {
    ObjectRef { kind: Kind::Counter.into(), namespace: b("shop"), id: b("views") }
}

fn hello() -> Hello {
    Hello { version: 1, cluster: "eu".into(), from: id(1), to: id(2) }
}

fn status() -> Status {
    Status { origin: id(1), number: 3, vector: vector(), total: id(7), reply: true, reads: 0 }
}

fn pull() -> Pull {
    Pull { ranges: vec![SeqRange { origin: id(1), from: 5, to: 300 }] }
}

fn pruned() -> Pruned {
    Pruned { origin: id(1), first: 301 }
}

fn catch_up() -> CatchUp {
    CatchUp { origin: id(1) }
}

fn snapshot() -> Snapshot {
    Snapshot { parcel: id(8) }
}

fn standing() -> Standing {
    Standing { origin: id(1), vector: vector() }
}

fn deltas() -> Deltas {
    Deltas { deltas: vec![b("delta"), b("other")] }
}

fn accept() -> AcceptChange {
    AcceptChange { change: 9, origin: id(1), vector: vector() }
}

fn ends() -> ClosedEnds {
    ClosedEnds { change: 9, vector: vector() }
}

fn dead_member() -> DeadMember {
    DeadMember { member: id(2), heir: id(1) }
}

fn account_for() -> AccountForRequest {
    let sales = vec![unseen_sale()];
    AccountForRequest { namespace: b("shop"), stock: b("phone"), member: id(2), sales }
}

fn unseen_sale() -> UnseenSale {
    UnseenSale { op_id: id(8), quantity: 2, customer: b("ada") }
}

fn about(talk: membership::Talk) -> Membership {
    Membership { talk: Some(talk), why: 0 }
}

fn said(body: peer_message::Body) -> PeerMessage {
    PeerMessage { body: Some(body) }
}

fn member() -> MemberInfo {
    MemberInfo {
        member: id(1),
        address: "replica-1:7401".into(),
        connected: true,
        heard_ms_ago: Some(0),
        unacknowledged: 4,
        membership: Some(0),
    }
}

fn replica_status() -> ReplicaStatus {
    ReplicaStatus {
        cluster: "eu".into(),
        member: id(1),
        origin: id(2),
        version: "0.1.0".into(),
        engine: "fjall".into(),
        ready: true,
        not_ready_because: "draining".into(),
        uptime_ms: 1,
        ops: 2,
        duplicates: 3,
        rounds: 4,
        deltas_applied: 5,
        refusals: 6,
        commands_waiting: 7,
        deltas_buffered: 8,
        disk_bytes: 9,
        alarms: 10,
        last_alarms: vec!["clock skew".into()],
        place: "joining".into(),
        lacks_to_join: 11,
        membership: 12,
        format: 0,
        reads: 0,
    }
}

fn new_member() -> NewMember {
    NewMember { member: id(2), address: "replica-2:7401".into() }
}

fn change_members() -> ChangeMembersRequest {
    let (add, remove) = (vec![new_member()], vec![id(1)]);
    ChangeMembersRequest { add, remove, only_ask: true, format: 0, dead: vec![] }
}

fn changing() -> ChangeMembersResponse {
    let state = change_members_response::State::Refused.into();
    let (members, why) = (vec![id(1)], "away".into());
    ChangeMembersResponse { state, members, number: 3, why, try_again: true, estate: None }
}

fn estate() -> Estate {
    Estate { stocks: 2, units: 9, held: 3, partial: true }
}

/// In the order of `golden.txt`.
pub fn samples() -> Vec<Sample> {
    let mut all = table! {
        ObjectRef object();
        Written written();
        Dot dot();
        VectorEntry vector()[0].clone();
        Line line();
        Entry line().entries[0].clone();
        ListRequest list_request();
        ListResponse list_response();
        AddToCart add_to_cart();
        RemoveFromCart remove_from_cart();
        SetInCart set_in_cart();
        DecrementInCart decrement_in_cart();
        ClearCart clear_cart();
        MergeCarts merge_carts();
        GetCart get_cart();
        Cart cart();
        BatchGetCarts BatchGetCarts { carts: vec![get_cart(), GetCart::default()] };
        BatchOfCarts BatchOfCarts { carts: vec![cart(), Cart::default()] };
        AddToSet add_to_set();
        RemoveFromSet remove_from_set();
        ClearSet clear_set();
        MergeSets merge_sets();
        GetSet get_set();
        Set set();
        BatchGetSets BatchGetSets { sets: vec![get_set(), GetSet::default()] };
        BatchOfSets BatchOfSets { sets: vec![set(), Set::default()] };
        AddToCounter add_to_counter();
        GetCounter get_counter();
        Counter counter();
        BatchGetCounters BatchGetCounters { counters: vec![get_counter(), GetCounter::default()] };
        BatchOfCounters BatchOfCounters { counters: vec![counter(), Counter::default()] };
        Command command(Body::AddToCart(add_to_cart()));
        Command on_peers(Body::AddToCart(add_to_cart()));
        Command command(Body::RemoveFromCart(remove_from_cart()));
        Command command(Body::SetInCart(set_in_cart()));
        Command command(Body::DecrementInCart(decrement_in_cart()));
        Command command(Body::ClearCart(clear_cart()));
        Command command(Body::MergeCarts(merge_carts()));
        Command command(Body::GetCart(get_cart()));
        Command command(Body::ListCarts(list_request()));
        Command command(Body::AddToSet(add_to_set()));
        Command command(Body::RemoveFromSet(remove_from_set()));
        Command command(Body::ClearSet(clear_set()));
        Command command(Body::MergeSets(merge_sets()));
        Command command(Body::GetSet(get_set()));
        Command command(Body::ListSets(list_request()));
        Command command(Body::AddToCounter(add_to_counter()));
        Command command(Body::GetCounter(get_counter()));
        Command command(Body::ListCounters(list_request()));
        ExecuteRequest ExecuteRequest { commands: vec![command(Body::GetCounter(get_counter()))] };
        Answer answer(answer::Body::Written(written()));
        Answer answer(answer::Body::Cart(cart()));
        Answer answer(answer::Body::Set(set()));
        Answer answer(answer::Body::Counter(counter()));
        Answer answer(answer::Body::List(list_response()));
        Answer answer(answer::Body::Failure(failure()));
        ExecuteResponse ExecuteResponse { answers: vec![answer(answer::Body::Counter(counter()))] };
        Failure failure();
        Failure not_replicated();
        WatchRequest WatchRequest { object: Some(object()), token: b("token"), orders: false };
    };
    all.extend(rarer());
    all.extend(verify::samples());
    all.extend(stocks::samples());
    all.extend(checkouts::samples());
    all.extend(backup::samples());
    all
}

fn rarer() -> Vec<Sample> {
    table! {
        WatchEvent event(watch_event::Value::Cart(cart()));
        WatchEvent event(watch_event::Value::Set(set()));
        WatchEvent event(watch_event::Value::Counter(counter()));
        Hello hello();
        Status status();
        Status Status { reads: 1, ..status() };
        Pull pull();
        SeqRange pull().ranges[0].clone();
        Deltas deltas();
        PeerMessage said(peer_message::Body::Hello(hello()));
        PeerMessage said(peer_message::Body::Status(status()));
        PeerMessage said(peer_message::Body::Pull(pull()));
        Pruned pruned();
        PeerMessage said(peer_message::Body::Pruned(pruned()));
        CatchUp catch_up();
        PeerMessage said(peer_message::Body::CatchUp(catch_up()));
        Snapshot snapshot();
        PeerMessage said(peer_message::Body::Snapshot(snapshot()));
        Standing standing();
        PeerMessage said(peer_message::Body::Standing(standing()));
        PeerMessage said(peer_message::Body::Deltas(deltas()));
        AcceptChange accept();
        Membership about(membership::Talk::Propose(b("proposal")));
        Membership about(membership::Talk::Accept(accept()));
        Membership about(membership::Talk::Ends(ends()));
        Membership about(membership::Talk::Refuse(9));
        Membership about(membership::Talk::Abandon(9));
        Membership about(membership::Talk::Record(b("record")));
        PeerMessage said(peer_message::Body::Membership(about(membership::Talk::Refuse(9))));
        GetStatusRequest GetStatusRequest {};
        ReplicaStatus replica_status();
        ReplicaStatus ReplicaStatus { format: 1, reads: 2, ..replica_status() };
        ListMembersRequest ListMembersRequest {};
        MemberInfo member();
        MemberList MemberList { number: 3, members: vec![member(), MemberInfo::default()] };
        GetFrontierRequest GetFrontierRequest {};
        Frontier Frontier { vector: vector() };
        GetStateHashRequest GetStateHashRequest::default();
        StateHash StateHash { vector: vector(), total: id(7), ..StateHash::default() };
        Membership Membership { why: 1, ..about(membership::Talk::Refuse(9)) };
        NewMember new_member();
        ChangeMembersRequest change_members();
        ChangeMembersRequest ChangeMembersRequest { format: 1, ..Default::default() };
        ChangeMembersRequest ChangeMembersRequest { dead: vec![dead_member()], ..Default::default() };
        DeadMember dead_member();
        ClosedEnds ends();
        AccountForRequest account_for();
        UnseenSale unseen_sale();
        AccountForResponse AccountForResponse { stock: Some(Default::default()) };
        Estate estate();
        ChangeMembersResponse changing();
        ChangeMembersResponse ChangeMembersResponse { estate: Some(estate()), ..changing() };
    }
}
