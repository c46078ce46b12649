//! From a message to what is asked.

use super::{Asked, Page};
use crate::errors::{Failure, Reason};
use crate::limits::BATCH_MAX;
use crate::token::Token;
use crate::v1::{self, command::Body};
use bytes::Bytes;
use orset::cart::{Content, Seen};
use orset::{
    ATTRIBUTES_MAX, BoundsError, Kind, NAMESPACE_MAX, ObjectKey, OpId, Product, Request,
    check_amount, check_name, check_quantity,
};

impl Asked {
    /// From the body of a command on an Execute stream; COMMAND_UNKNOWN when it has none, or one
    /// that only newer versions know (which looks the same).
    pub fn from_body(body: Option<Body>) -> Result<Self, Failure> {
        match body {
            None => Err(Failure::new(Reason::CommandUnknown, "the command is empty or unknown")),
            Some(Body::AddToCart(ask)) => ask.try_into(),
            Some(Body::RemoveFromCart(ask)) => ask.try_into(),
            Some(Body::SetInCart(ask)) => ask.try_into(),
            Some(Body::DecrementInCart(ask)) => ask.try_into(),
            Some(Body::ClearCart(ask)) => ask.try_into(),
            Some(Body::MergeCarts(ask)) => ask.try_into(),
            Some(Body::GetCart(ask)) => ask.try_into(),
            Some(Body::ListCarts(ask)) => Self::list(Kind::Cart, ask),
            Some(Body::AddToSet(ask)) => ask.try_into(),
            Some(Body::RemoveFromSet(ask)) => ask.try_into(),
            Some(Body::ClearSet(ask)) => ask.try_into(),
            Some(Body::MergeSets(ask)) => ask.try_into(),
            Some(Body::GetSet(ask)) => ask.try_into(),
            Some(Body::ListSets(ask)) => Self::list(Kind::Set, ask),
            Some(Body::AddToCounter(ask)) => ask.try_into(),
            Some(Body::GetCounter(ask)) => ask.try_into(),
            Some(Body::ListCounters(ask)) => Self::list(Kind::Counter, ask),
            Some(Body::RestockStock(ask)) => ask.try_into(),
            Some(Body::WriteOffStock(ask)) => ask.try_into(),
            Some(Body::HoldStock(ask)) => ask.try_into(),
            Some(Body::CommitStock(ask)) => ask.try_into(),
            Some(Body::ReleaseStock(ask)) => ask.try_into(),
            Some(Body::ExtendStock(ask)) => ask.try_into(),
            Some(Body::ReturnStock(ask)) => ask.try_into(),
            Some(Body::SetStockTerms(ask)) => ask.try_into(),
            Some(Body::GetStock(ask)) => ask.try_into(),
            Some(Body::ListStocks(ask)) => Self::list(Kind::Stock, ask),
            Some(Body::ListStockHolds(ask)) => ask.try_into(),
            Some(Body::CheckoutCart(ask)) => ask.try_into(),
            Some(Body::ConfirmOrder(ask)) => ask.try_into(),
            Some(Body::CancelOrder(ask)) => ask.try_into(),
            Some(Body::ExtendOrder(ask)) => ask.try_into(),
            Some(Body::ListCartOrders(ask)) => ask.try_into(),
            Some(Body::ListCustomerHolds(ask)) => ask.try_into(),
            Some(Body::GetOrder(ask)) => ask.try_into(),
            Some(Body::ReturnOrder(ask)) => ask.try_into(),
        }
    }

    /// From a listing's request, which does not say of what kind: the service does.
    pub fn list(kind: Kind, ask: v1::ListRequest) -> Result<Self, Failure> {
        check_name("namespace", &ask.namespace, NAMESPACE_MAX)?;
        let page = Page::of_list(kind, &ask.namespace, ask.page_size, &ask.page_token)?;
        Ok(Self::List { kind, namespace: ask.namespace, page })
    }
}

/// The reads of a batch, in its order. One that is refused refuses all: `index` says which.
pub fn batch<T: TryInto<Asked, Error = Failure>>(asks: Vec<T>) -> Result<Vec<Asked>, Failure> {
    if asks.is_empty() || asks.len() > BATCH_MAX {
        let message = format!("a batch of {} reads; 1 to {BATCH_MAX} are allowed", asks.len());
        return Err(Failure::new(Reason::TooMany, message).with("max", BATCH_MAX));
    }
    let asks = asks.into_iter().enumerate();
    asks.map(|(index, ask)| ask.try_into().map_err(|failure| failure.with("index", index)))
        .collect()
}

/// What a watch is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// What an object shows.
    Object(ObjectKey),
    /// The orders of a cart.
    Orders(ObjectKey),
}

/// What a watch is on; WRONG_KIND for orders of what is no cart.
pub fn watched(ask: &v1::WatchRequest) -> Result<Watched, Failure> {
    let unknown = |what: &str| Failure::new(Reason::CommandUnknown, what).with("field", "object");
    let object = ask.object.as_ref().ok_or_else(|| unknown("the watch names no object"))?;
    let kind = match object.kind() {
        v1::Kind::Cart => Kind::Cart,
        v1::Kind::Set => Kind::Set,
        v1::Kind::Counter => Kind::Counter,
        v1::Kind::Stock => Kind::Stock,
        v1::Kind::Unspecified => return Err(unknown("the object's kind is not given or unknown")),
    };
    let object = ObjectKey::new(kind, &object.namespace, &object.id)?;
    match (ask.orders, kind) {
        (false, _) => Ok(Watched::Object(object)),
        (true, Kind::Cart) => Ok(Watched::Orders(object)),
        (true, _) => {
            let message = format!("nothing is ordered of {object}");
            Err(Failure::new(Reason::WrongKind, message).with("field", "orders"))
        }
    }
}

/// The session that a message carries, for a server of `cluster` (a fingerprint; 0: of any). Empty
/// bytes are a session that has seen nothing.
pub fn session(token: &[u8], cluster: u64) -> Result<Token, Failure> {
    if token.is_empty() {
        return Ok(Token::default());
    }
    let token = Token::decode(token)?;
    if token.is_foreign(cluster) {
        return Err(Failure::new(Reason::TokenForeign, "the token is of another cluster"));
    }
    Ok(token)
}

pub(super) fn op_id(bytes: &[u8]) -> Result<OpId, Failure> {
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| {
        let message = format!("op_id has {} bytes, not 16", bytes.len());
        Failure::new(Reason::OpIdMalformed, message)
    })?;
    Ok(OpId::from_bytes(bytes)?)
}

pub(super) fn context(bytes: &[u8]) -> Result<Option<Seen>, Failure> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let seen = Seen::from_bytes(bytes);
    let seen = seen.map_err(|error| Failure::new(Reason::SeenMalformed, error.to_string()))?;
    Ok(Some(seen))
}

fn attributes(bytes: &[u8]) -> Result<&[u8], BoundsError> {
    let len = bytes.len();
    if len > ATTRIBUTES_MAX {
        return Err(BoundsError::TooLong { what: "attributes", len, max: ATTRIBUTES_MAX });
    }
    Ok(bytes)
}

fn element(bytes: &[u8]) -> Result<Product, BoundsError> {
    check_name("element", bytes, orset::PRODUCT_MAX)?;
    Product::new(bytes)
}

fn merge(
    kind: Kind,
    op: &[u8],
    namespace: &[u8],
    guest: &[u8],
    user: &[u8],
) -> Result<Asked, Failure> {
    let op = op_id(op)?;
    let key = |id: &[u8], what: &'static str| {
        let key = ObjectKey::new(kind, namespace, id);
        key.map_err(|error| Failure::from(error).with("which", what))
    };
    let (guest, user) = (key(guest, "guest")?, key(user, "user")?);
    if guest == user {
        let message = "guest and user are the same";
        return Err(Failure::new(Reason::Bounds, message).with("field", "guest"));
    }
    let request = Request::Merge { guest, user: user.clone() };
    Ok(Asked::Write { op, object: user, request, seen: None })
}

/// Writes: message, kind, field of the object's id, request, what it was shown.
macro_rules! writes {
    ($($message:ident $kind:ident $id:ident |$ask:ident| $request:expr, $seen:expr;)*) => {$(
        impl TryFrom<v1::$message> for Asked {
            type Error = Failure;

            fn try_from($ask: v1::$message) -> Result<Self, Failure> {
                let op = op_id(&$ask.op_id)?;
                let object = ObjectKey::new(Kind::$kind, &$ask.namespace, &$ask.$id)?;
                Ok(Self::Write { op, object, request: $request, seen: $seen })
            }
        }
    )*};
}

writes! {
    AddToCart Cart cart |ask| {
        check_quantity(ask.quantity)?;
        let product = Product::new(&ask.product)?;
        Request::Add(Content::added(product, ask.quantity, attributes(&ask.attributes)?))
    }, None;
    RemoveFromCart Cart cart |ask| Request::Remove(Product::new(&ask.product)?), context(&ask.seen)?;
    SetInCart Cart cart |ask| {
        if ask.quantity > 0 {
            check_quantity(ask.quantity)?;
        }
        Request::Set {
            product: Product::new(&ask.product)?,
            quantity: ask.quantity,
            attributes: attributes(&ask.attributes)?.into(),
        }
    }, context(&ask.seen)?;
    DecrementInCart Cart cart |ask| {
        check_quantity(ask.quantity)?;
        Request::Decrement(Product::new(&ask.product)?, ask.quantity)
    }, context(&ask.seen)?;
    ClearCart Cart cart |ask| Request::Clear, context(&ask.seen)?;
    AddToSet Set set |ask| {
        Request::Add(Content::added(element(&ask.element)?, 1, attributes(&ask.attributes)?))
    }, None;
    RemoveFromSet Set set |ask| Request::Remove(element(&ask.element)?), context(&ask.seen)?;
    ClearSet Set set |ask| Request::Clear, context(&ask.seen)?;
    AddToCounter Counter counter |ask| {
        check_amount(ask.amount)?;
        Request::Count(ask.amount)
    }, None;
}

impl TryFrom<v1::MergeCarts> for Asked {
    type Error = Failure;

    fn try_from(ask: v1::MergeCarts) -> Result<Self, Failure> {
        merge(Kind::Cart, &ask.op_id, &ask.namespace, &ask.guest, &ask.user)
    }
}

impl TryFrom<v1::MergeSets> for Asked {
    type Error = Failure;

    fn try_from(ask: v1::MergeSets) -> Result<Self, Failure> {
        merge(Kind::Set, &ask.op_id, &ask.namespace, &ask.guest, &ask.user)
    }
}

/// A read in pages.
fn paged(
    kind: Kind,
    namespace: &[u8],
    id: &[u8],
    size: u32,
    token: &Bytes,
    allow_stale: bool,
) -> Result<Asked, Failure> {
    let object = ObjectKey::new(kind, namespace, id)?;
    let page = Page::of(&object, size, token)?;
    Ok(Asked::Read { object, page, allow_stale })
}

impl TryFrom<v1::GetCart> for Asked {
    type Error = Failure;

    fn try_from(ask: v1::GetCart) -> Result<Self, Failure> {
        let v1::GetCart { namespace, cart, page_size, page_token, allow_stale } = ask;
        paged(Kind::Cart, &namespace, &cart, page_size, &page_token, allow_stale)
    }
}

impl TryFrom<v1::GetSet> for Asked {
    type Error = Failure;

    fn try_from(ask: v1::GetSet) -> Result<Self, Failure> {
        let v1::GetSet { namespace, set, page_size, page_token, allow_stale } = ask;
        paged(Kind::Set, &namespace, &set, page_size, &page_token, allow_stale)
    }
}

impl TryFrom<v1::GetCounter> for Asked {
    type Error = Failure;

    fn try_from(ask: v1::GetCounter) -> Result<Self, Failure> {
        let object = ObjectKey::new(Kind::Counter, &ask.namespace, &ask.counter)?;
        Ok(Self::Read { object, page: Page::WHOLE, allow_stale: ask.allow_stale })
    }
}
