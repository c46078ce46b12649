//! A command's body, encoded once: what is sent, sent again, and kept are the same bytes.
//!
//! A call may cross the wire several times and its op may be kept for an hour. Holding it as a tree
//! of messages would mean to clone and encode that tree each time; so it is encoded when it is
//! made, and from then on it is one counted slice. Beside it stands the little that the core must
//! know:
//!
//! B1  two calls of one class do not disturb each other, in whatever order they take effect, unless
//!     the class is `Alone`: adds commute, and reads change nothing.
//! B2  a retry means what the first try meant. So a write that came without `seen` is amended with
//!     what its answer says it ended, before it is kept.

use bytes::{Bytes, BytesMut};
use orset::cart::Seen;
use pannier_proto::v1::command::Body as Wire;
use pannier_proto::v1::{Command, Written};
use prost::Message;

/// Which calls of a session may be under way together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Adds: they commute, so any number.
    Add,
    /// Reads, likewise.
    Read,
    /// Anything else, whose meaning hangs on what was there: by itself.
    Alone,
}

/// One command. See the file's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The field of `Command.body`, encoded.
    pub bytes: Bytes,
    /// What may be under way beside it.
    pub class: Class,
    /// Whether its answer shows its caller something of what is there. What was shown must not be
    /// unseen; what was only written can be written again.
    pub shows: bool,
    /// Whether it means "what the replica has", and a retry must therefore be amended.
    pub blind: bool,
}

impl Body {
    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        self.class != Class::Read
    }

    /// Its op id, for people and tests. Decodes it.
    pub fn op_id(&self) -> Bytes {
        decode(&self.bytes).as_ref().map(op_id).unwrap_or_default()
    }

    /// The same write as it took effect, so that sent again it means the same (B2).
    pub fn amended(&self, written: &Written) -> Bytes {
        // Without a dot the answer speaks of an earlier try, and does not know what that one ended.
        if !self.blind || written.dot.is_none() {
            return self.bytes.clone();
        }
        let Some(mut body) = decode(&self.bytes) else { return self.bytes.clone() };
        let nothing = || Bytes::from(Seen::new().to_bytes());
        let ended = if written.ended.is_empty() { nothing() } else { written.ended.clone() };
        if let Some(seen) = seen_of(&mut body) {
            *seen = ended;
        }
        encode(&body)
    }
}

impl From<Wire> for Body {
    fn from(mut wire: Wire) -> Self {
        use Wire as W;
        let class = match &wire {
            W::AddToCart(_) | W::AddToSet(_) | W::AddToCounter(_) => Class::Add,
            W::GetCart(_) | W::GetSet(_) | W::GetCounter(_) => Class::Read,
            W::ListCarts(_) | W::ListSets(_) | W::ListCounters(_) => Class::Read,
            W::RemoveFromCart(_) | W::SetInCart(_) | W::DecrementInCart(_) => Class::Alone,
            W::ClearCart(_) | W::MergeCarts(_) => Class::Alone,
            W::RemoveFromSet(_) | W::ClearSet(_) | W::MergeSets(_) => Class::Alone,
            W::GetStock(_) | W::ListStocks(_) | W::ListStockHolds(_) => Class::Read,
            W::ListCartOrders(_) | W::ListCustomerHolds(_) => Class::Read,
            // A hold and its commit must not overtake each other.
            W::RestockStock(_) | W::WriteOffStock(_) | W::SetStockTerms(_) => Class::Alone,
            W::HoldStock(_) | W::CommitStock(_) | W::ReleaseStock(_) => Class::Alone,
            W::ExtendStock(_) | W::ReturnStock(_) => Class::Alone,
            W::CheckoutCart(_) | W::ConfirmOrder(_) | W::CancelOrder(_) => Class::Alone,
            W::ExtendOrder(_) | W::GetOrder(_) | W::ReturnOrder(_) => Class::Alone,
        };
        // What a call of a stock came to is something seen, and not one's own to write again.
        let shows = match class {
            Class::Read => true,
            Class::Add => false,
            Class::Alone => matches!(wire, W::DecrementInCart(_)) || is_of_stock(&wire),
        };
        let blind = seen_of(&mut wire).is_some_and(|seen| seen.is_empty());
        Self { bytes: encode(&wire), class, shows, blind }
    }
}

const fn is_of_stock(body: &Wire) -> bool {
    matches!(
        body,
        Wire::RestockStock(_)
            | Wire::WriteOffStock(_)
            | Wire::SetStockTerms(_)
            | Wire::HoldStock(_)
            | Wire::CommitStock(_)
            | Wire::ReleaseStock(_)
            | Wire::ExtendStock(_)
            | Wire::ReturnStock(_)
            | Wire::CheckoutCart(_)
            | Wire::ConfirmOrder(_)
            | Wire::CancelOrder(_)
            | Wire::ExtendOrder(_)
            | Wire::GetOrder(_)
            | Wire::ReturnOrder(_)
    )
}

fn encode(body: &Wire) -> Bytes {
    let mut out = BytesMut::with_capacity(body.encoded_len());
    body.encode(&mut out);
    out.freeze()
}

fn decode(bytes: &Bytes) -> Option<Wire> {
    // The field of a oneof is a whole message with that field alone.
    Command::decode(bytes.clone()).ok()?.body
}

/// Where `seen` stands, in the commands that have one.
fn seen_of(body: &mut Wire) -> Option<&mut Bytes> {
    match body {
        Wire::RemoveFromCart(command) => Some(&mut command.seen),
        Wire::SetInCart(command) => Some(&mut command.seen),
        Wire::DecrementInCart(command) => Some(&mut command.seen),
        Wire::ClearCart(command) => Some(&mut command.seen),
        Wire::RemoveFromSet(command) => Some(&mut command.seen),
        Wire::ClearSet(command) => Some(&mut command.seen),
        Wire::AddToCart(_) | Wire::MergeCarts(_) | Wire::GetCart(_) | Wire::ListCarts(_) => None,
        Wire::AddToSet(_) | Wire::MergeSets(_) | Wire::GetSet(_) | Wire::ListSets(_) => None,
        Wire::AddToCounter(_) | Wire::GetCounter(_) | Wire::ListCounters(_) => None,
        Wire::RestockStock(_) | Wire::WriteOffStock(_) | Wire::SetStockTerms(_) => None,
        Wire::HoldStock(_) | Wire::CommitStock(_) | Wire::ReleaseStock(_) => None,
        Wire::ExtendStock(_) | Wire::ReturnStock(_) => None,
        // It is part of what the op id names, and must be given.
        Wire::CheckoutCart(_) | Wire::ConfirmOrder(_) | Wire::ReturnOrder(_) => None,
        Wire::CancelOrder(_) | Wire::ExtendOrder(_) | Wire::GetOrder(_) => None,
        Wire::GetStock(_) | Wire::ListStocks(_) | Wire::ListStockHolds(_) => None,
        Wire::ListCartOrders(_) | Wire::ListCustomerHolds(_) => None,
    }
}

fn op_id(body: &Wire) -> Bytes {
    match body {
        Wire::AddToCart(command) => command.op_id.clone(),
        Wire::RemoveFromCart(command) => command.op_id.clone(),
        Wire::SetInCart(command) => command.op_id.clone(),
        Wire::DecrementInCart(command) => command.op_id.clone(),
        Wire::ClearCart(command) => command.op_id.clone(),
        Wire::MergeCarts(command) => command.op_id.clone(),
        Wire::AddToSet(command) => command.op_id.clone(),
        Wire::RemoveFromSet(command) => command.op_id.clone(),
        Wire::ClearSet(command) => command.op_id.clone(),
        Wire::MergeSets(command) => command.op_id.clone(),
        Wire::AddToCounter(command) => command.op_id.clone(),
        Wire::GetCart(_) | Wire::ListCarts(_) | Wire::GetSet(_) | Wire::ListSets(_) => Bytes::new(),
        Wire::GetCounter(_) | Wire::ListCounters(_) => Bytes::new(),
        Wire::RestockStock(command) => command.op_id.clone(),
        Wire::WriteOffStock(command) => command.op_id.clone(),
        Wire::HoldStock(command) => command.op_id.clone(),
        Wire::CommitStock(command) => command.op_id.clone(),
        Wire::ReleaseStock(command) => command.op_id.clone(),
        Wire::ExtendStock(command) => command.op_id.clone(),
        Wire::ReturnStock(command) => command.op_id.clone(),
        Wire::SetStockTerms(command) => command.op_id.clone(),
        Wire::CheckoutCart(command) => command.op_id.clone(),
        Wire::ConfirmOrder(command) => command.op_id.clone(),
        Wire::CancelOrder(command) => command.op_id.clone(),
        Wire::ExtendOrder(command) => command.op_id.clone(),
        Wire::GetOrder(command) => command.op_id.clone(),
        Wire::ReturnOrder(command) => command.op_id.clone(),
        Wire::GetStock(_) | Wire::ListStocks(_) | Wire::ListStockHolds(_) => Bytes::new(),
        Wire::ListCartOrders(_) | Wire::ListCustomerHolds(_) => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pannier_proto::v1;

    fn remove(seen: &'static [u8]) -> Body {
        let command = v1::RemoveFromCart {
            op_id: vec![7; 16].into(),
            namespace: "shop".into(),
            cart: "ada".into(),
            product: "lamp".into(),
            seen: seen.into(),
        };
        Wire::RemoveFromCart(command).into()
    }

    fn seen_in(bytes: &Bytes) -> Bytes {
        decode(bytes).and_then(|mut body| seen_of(&mut body).cloned()).unwrap()
    }

    fn written(ended: &'static [u8]) -> Written {
        let dot = Some(v1::Dot { origin: vec![1; 16].into(), seq: 3 });
        Written { dot, ended: ended.into(), taken: 0 }
    }

    #[test]
    fn a_blind_write_is_kept_with_what_it_ended() {
        let blind = remove(b"");
        assert!(blind.blind && blind.is_write() && !blind.shows);
        assert_eq!(blind.op_id(), vec![7; 16]);
        assert_eq!(seen_in(&blind.amended(&written(b"ids"))), "ids");
        // It ended nothing: sent again it must end nothing, whatever has come since.
        let nothing = seen_in(&blind.amended(&written(b"")));
        assert_eq!(Seen::from_bytes(&nothing), Ok(Seen::new()));
        // The answer to a retry does not know what the first try ended.
        let unknown = Written { dot: None, ..written(b"") };
        assert_eq!(blind.amended(&unknown), blind.bytes);
    }

    #[test]
    fn a_write_with_its_context_is_kept_as_it_is() {
        let seeing = remove(b"what I saw");
        assert!(!seeing.blind);
        assert_eq!(seeing.amended(&written(b"other")), seeing.bytes);
    }

    #[test]
    fn what_a_class_is() {
        let add = Body::from(Wire::AddToCounter(v1::AddToCounter::default()));
        assert_eq!((add.class, add.shows, add.blind), (Class::Add, false, false));
        let less = Body::from(Wire::DecrementInCart(v1::DecrementInCart::default()));
        assert_eq!((less.class, less.shows, less.blind), (Class::Alone, true, true));
        let list = Body::from(Wire::ListSets(v1::ListRequest::default()));
        assert_eq!((list.class, list.shows, list.is_write()), (Class::Read, true, false));
        let merge = Body::from(Wire::MergeCarts(v1::MergeCarts::default()));
        assert_eq!((merge.class, merge.shows, merge.blind), (Class::Alone, false, false));
    }
}
