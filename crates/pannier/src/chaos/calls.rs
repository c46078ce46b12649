//! One call: what is asked, as the client library has it.
//!
//! An object is read in one page: objects are small here, since everybody goes on to fresh ones
//! before they grow.

use super::history::Asked;
use super::view::View;
use orset::cart::Seen as Shown;
use orset::{Kind, OpId, OpIdSet, Product};
use pannier_client::{Error, Page, Seen, Session, Written};
use pannier_proto::limits::LINES_MAX;
use std::time::Duration;

/// Where everything is.
const NAMESPACE: &str = "chaos";
/// How long one call may take; more than a replica takes to start again.
const DEADLINE: Duration = Duration::from_millis(1_500);

/// What an object showed, and what the next op on it gives back.
pub struct Look {
    /// See there.
    pub view: View,
    /// What was shown, to look into.
    pub context: Shown,
    /// The same, to give back.
    pub seen: Seen,
}

const DAMAGED: Error = Error::BadAnswer("what was seen is damaged");

/// Reads an object as a session sees it; and whether the session was told that it gave something
/// up.
pub async fn look(session: &Session, kind: Kind, name: &str) -> Result<(Look, bool), Error> {
    let page = Page::first(LINES_MAX);
    let (view, context, seen, regressed) = match kind {
        Kind::Cart => {
            let cart = session.cart(NAMESPACE, name)?.within(DEADLINE);
            let shown = cart.read_page(&page).await?;
            let (view, context) = View::cart(&shown).map_err(|_| DAMAGED)?;
            (view, context, shown.seen, shown.regressed)
        }
        Kind::Set => {
            let set = session.set(NAMESPACE, name)?.within(DEADLINE);
            let shown = set.read_page(&page).await?;
            let (view, context) = View::set(&shown).map_err(|_| DAMAGED)?;
            (view, context, shown.seen, shown.regressed)
        }
        Kind::Counter => {
            let shown = session.counter(NAMESPACE, name)?.within(DEADLINE).read().await?;
            (View::counter(shown.value), Shown::new(), Seen::default(), shown.regressed)
        }
        // No shopper of this harness has one yet.
        Kind::Stock => return Err(DAMAGED),
    };
    Ok((Look { view, context, seen }, regressed))
}

/// What is shown of an object to a session that asks for nothing in particular.
pub async fn shown(session: &Session, kind: Kind, name: &str) -> Result<View, Error> {
    look(session, kind, name).await.map(|(look, _)| look.view)
}

/// Asks for an intent; `guest` names that of a merge.
pub async fn send(
    session: &Session,
    kind: Kind,
    name: &str,
    guest: Option<&str>,
    asked: &Asked,
    op: OpId,
    seen: Option<&Seen>,
) -> Result<Written, Error> {
    let context = seen.cloned().unwrap_or_default();
    let small = |quantity: u64| u32::try_from(quantity).unwrap_or(u32::MAX);
    match (kind, asked) {
        (Kind::Counter, Asked::Count(amount)) => {
            let counter = session.counter(NAMESPACE, name)?.within(DEADLINE).with_op_id(op);
            counter.add(*amount).await
        }
        (Kind::Set, Asked::Add { product, .. }) => {
            let set = session.set(NAMESPACE, name)?.within(DEADLINE).with_op_id(op);
            set.add(product.as_bytes()).await
        }
        (Kind::Set, Asked::End(ends)) => {
            let set = session.set(NAMESPACE, name)?.within(DEADLINE).with_op_id(op);
            let set = set.seen(&context);
            match only(ends, &context)? {
                Some(product) => set.remove(product.as_bytes()).await,
                None => set.clear().await,
            }
        }
        (Kind::Cart, asked) => {
            let cart = session.cart(NAMESPACE, name)?.within(DEADLINE).with_op_id(op);
            match asked {
                Asked::Add { product, quantity } => {
                    cart.add(product.as_bytes(), small(*quantity)).await
                }
                Asked::Set { product, quantity, .. } => {
                    cart.seen(&context).set(product.as_bytes(), small(*quantity)).await
                }
                Asked::Take { product, quantity, .. } => {
                    cart.seen(&context).decrement(product.as_bytes(), small(*quantity)).await
                }
                Asked::End(ends) => match only(ends, &context)? {
                    Some(product) => cart.seen(&context).remove(product.as_bytes()).await,
                    None => cart.seen(&context).clear().await,
                },
                Asked::Merge(_) => {
                    cart.merge(&session.cart(NAMESPACE, guest.unwrap_or_default())?).await
                }
                Asked::Count(_) => Err(DAMAGED),
            }
        }
        (Kind::Set | Kind::Counter | Kind::Stock, _) => Err(DAMAGED),
    }
}

/// The product whose line is to end, or nothing when everything is.
fn only(ends: &OpIdSet, context: &Seen) -> Result<Option<Product>, Error> {
    let context = Shown::from_bytes(context.as_bytes()).map_err(|_| DAMAGED)?;
    if context.all() == *ends && context.iter().count() != 1 {
        return Ok(None);
    }
    Ok(context.iter().find(|(_, ids)| *ids == ends).map(|(product, _)| product.clone()))
}
