//! The unary services: carts, sets, counters and stocks, one command or read a call.
//!
//! For convenience: the same commands go some thirty times cheaper over an Execute stream. A call
//! is a place in the room, a session from the metadata, a command, and a session back.

use super::shared::Shared;
use orset::{Kind, Lattice, VersionVector};
use pannier_proto::convert::{self, Asked};
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::limits::PAGE_BYTES;
use pannier_proto::metadata::{self, TOKEN};
use pannier_proto::v1::answer::Body;
use pannier_proto::v1::{
    self, carts_server, checkouts_server, counters_server, sets_server, stocks_server,
};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tonic::{Request, Response, Status};

/// An answer of the kind that the method gives.
trait OfBody: Sized {
    fn of(body: Body) -> Option<Self>;
}

macro_rules! of_body {
    ($($message:ident $variant:ident;)*) => {$(
        impl OfBody for v1::$message {
            fn of(body: Body) -> Option<Self> {
                match body {
                    Body::$variant(it) => Some(it),
                    _ => None,
                }
            }
        }
    )*};
}

of_body! {
    Written Written;
    Cart Cart;
    Set Set;
    Counter Counter;
    ListResponse List;
    StockAnswer StockAnswer;
    Stock Stock;
    StockHolds StockHolds;
    CartOrders CartOrders;
    CustomerHolds CustomerHolds;
}

/// An answer of another kind: the driver never lets it happen.
pub(super) fn other_kind() -> Failure {
    Failure::new(Reason::Internal, "an answer to something else")
}

/// One service's methods, and what they go to.
#[derive(Clone)]
pub(super) struct Unary(pub Arc<Shared>);

impl Unary {
    async fn one<W, T: OfBody>(
        &self,
        request: Request<W>,
        asked: impl FnOnce(W) -> Result<Asked, Failure>,
    ) -> Result<Response<T>, Status> {
        let shared = &self.0;
        let done = async {
            let _place = shared.enter(&shared.counts.calls, shared.settings.calls, "calls")?;
            shared.counts.calls_total.fetch_add(1, Relaxed);
            let (after, time) =
                (shared.session(request.metadata())?, shared.time(request.metadata()));
            let time = time.on_peers(metadata::peers(request.metadata())?);
            let asked = asked(request.into_inner())?;
            shared.ask(asked, after, time, PAGE_BYTES).await
        };
        match done.await {
            // It was done: its session goes on from there, whatever is said of it.
            Ok((Body::Failure(failure), vector)) => Err(self.done_but(&failure, &vector)),
            Ok((body, vector)) => {
                self.response(T::of(body).ok_or_else(other_kind).map(|body| (body, vector)))
            }
            Err(failure) => self.response(Err(failure)),
        }
    }

    async fn many<W, B, R, T>(
        &self,
        request: Request<W>,
        asks: impl FnOnce(W) -> Vec<R>,
        batch: impl FnOnce(Vec<T>) -> B,
    ) -> Result<Response<B>, Status>
    where
        R: TryInto<Asked, Error = Failure>,
        T: OfBody,
    {
        let shared = &self.0;
        let done = async {
            let _place = shared.enter(&shared.counts.calls, shared.settings.calls, "calls")?;
            shared.counts.calls_total.fetch_add(1, Relaxed);
            let (after, time) =
                (shared.session(request.metadata())?, shared.time(request.metadata()));
            let asked = convert::batch(asks(request.into_inner()))?;
            let page_bytes = PAGE_BYTES / asked.len().max(1);
            // All are queued before the first is awaited: they share rounds and waits.
            let one = |asked| {
                let terms = time.terms(after.clone(), page_bytes);
                let (command, question) = super::ask::command(asked, terms);
                Ok((shared.queue(command)?, question))
            };
            let queued: Vec<_> = asked.into_iter().map(one).collect::<Result<_, Failure>>()?;
            let (mut all, mut vector) = (Vec::with_capacity(queued.len()), after.clone());
            for (index, (outcome, question)) in queued.into_iter().enumerate() {
                let done = shared.finish(outcome, &question, time).await;
                let (body, seen) = done.map_err(|failure| failure.with("index", index))?;
                all.push(T::of(body).ok_or_else(other_kind)?);
                join(&mut vector, &seen);
            }
            Ok((batch(all), vector))
        };
        self.response(done.await)
    }

    /// The failure of a change that stands, with the session's token.
    fn done_but(&self, failure: &v1::Failure, vector: &Arc<VersionVector>) -> Status {
        let failure = Failure::from_wire(failure).unwrap_or_else(other_kind);
        self.0.told(Failure { session: Some(vector.clone()), ..failure })
    }

    fn response<T>(
        &self,
        done: Result<(T, Arc<VersionVector>), Failure>,
    ) -> Result<Response<T>, Status> {
        let (answer, vector) = done.map_err(|failure| self.0.told(failure))?;
        let mut response = Response::new(answer);
        response.metadata_mut().insert_bin(TOKEN, self.0.token(&vector));
        Ok(response)
    }
}

/// What a session has seen after one answer more.
pub(super) fn join(vector: &mut Arc<VersionVector>, seen: &Arc<VersionVector>) {
    if Arc::ptr_eq(vector, seen) {
        return;
    }
    if seen.covers(vector) {
        *vector = seen.clone();
    } else {
        Arc::make_mut(vector).join(seen);
    }
}

macro_rules! service {
    (
        $service:path, $kind:ident, $batch:ident { $field:ident } -> $batched:ident of $one:ident:
        $($method:ident $ask:ident -> $answer:ident;)*
    ) => {
        #[tonic::async_trait]
        impl $service for Unary {
            $(
                async fn $method(
                    &self,
                    request: Request<v1::$ask>,
                ) -> Result<Response<v1::$answer>, Status> {
                    self.one(request, TryInto::try_into).await
                }
            )*

            async fn batch_get(
                &self,
                request: Request<v1::$batch>,
            ) -> Result<Response<v1::$batched>, Status> {
                let batch = |all: Vec<v1::$one>| v1::$batched { $field: all };
                self.many(request, |asks| asks.$field, batch).await
            }

            async fn list(
                &self,
                request: Request<v1::ListRequest>,
            ) -> Result<Response<v1::ListResponse>, Status> {
                self.one(request, |ask| Asked::list(Kind::$kind, ask)).await
            }
        }
    };
}

service! {
    carts_server::Carts, Cart, BatchGetCarts { carts } -> BatchOfCarts of Cart:
    add AddToCart -> Written;
    remove RemoveFromCart -> Written;
    set SetInCart -> Written;
    decrement DecrementInCart -> Written;
    clear ClearCart -> Written;
    merge MergeCarts -> Written;
    get GetCart -> Cart;
}

service! {
    sets_server::Sets, Set, BatchGetSets { sets } -> BatchOfSets of Set:
    add AddToSet -> Written;
    remove RemoveFromSet -> Written;
    clear ClearSet -> Written;
    merge MergeSets -> Written;
    get GetSet -> Set;
}

macro_rules! calls {
    ($($method:ident $ask:ident -> $answer:ident;)*) => {
        #[tonic::async_trait]
        impl stocks_server::Stocks for Unary {
            $(
                async fn $method(
                    &self,
                    request: Request<v1::$ask>,
                ) -> Result<Response<v1::$answer>, Status> {
                    self.one(request, TryInto::try_into).await
                }
            )*

            async fn list(
                &self,
                request: Request<v1::ListRequest>,
            ) -> Result<Response<v1::ListResponse>, Status> {
                self.one(request, |ask| Asked::list(Kind::Stock, ask)).await
            }

            async fn bulk(
                &self,
                request: Request<v1::BulkStocks>,
            ) -> Result<Response<v1::BulkOfStocks>, Status> {
                self.response(super::bulk::bulk(&self.0, request).await)
            }
        }
    };
}

calls! {
    restock RestockStock -> StockAnswer;
    write_off WriteOffStock -> StockAnswer;
    hold HoldStock -> StockAnswer;
    commit CommitStock -> StockAnswer;
    release ReleaseStock -> StockAnswer;
    extend ExtendStock -> StockAnswer;
    r#return ReturnStock -> StockAnswer;
    set_terms SetStockTerms -> StockAnswer;
    get GetStock -> Stock;
    list_holds ListStockHolds -> StockHolds;
    list_customer_holds ListHoldsOfCustomer -> CustomerHolds;
}

macro_rules! orders {
    ($($method:ident $ask:ident -> $answer:ident;)*) => {
        #[tonic::async_trait]
        impl checkouts_server::Checkouts for Unary {
            $(
                async fn $method(
                    &self,
                    request: Request<v1::$ask>,
                ) -> Result<Response<v1::$answer>, Status> {
                    self.one(request, TryInto::try_into).await
                }
            )*
        }
    };
}

orders! {
    checkout CheckoutCart -> StockAnswer;
    confirm ConfirmOrder -> StockAnswer;
    extend ExtendOrder -> StockAnswer;
    cancel CancelOrder -> StockAnswer;
    r#return ReturnOrder -> StockAnswer;
    get GetOrder -> StockAnswer;
    list_orders ListCartOrders -> CartOrders;
}

service! {
    counters_server::Counters, Counter,
    BatchGetCounters { counters } -> BatchOfCounters of Counter:
    add AddToCounter -> Written;
    get GetCounter -> Counter;
}
