//! The right answer, by the shortest program that can be read at a glance.
//!
//! The store under test knows op ids, dots, takes, clocks and merges. This knows none of them: one
//! map per user, one count per product, the rows of the file in their order. It shares no code with
//! the store, for a mistake in something shared would be made on both sides and so never be seen.
//!
//! Why row order is enough. A cart belongs to one user, and one user's ops run one after another,
//! each having seen those before it; between users only views meet, and addition does not mind
//! order. So the file determines the answer, whatever the regions, cuts and retries did on the way.
//! A row that stands twice in the file is two intents and counts twice; an op *sent* twice is one.

use super::events::{Event, Kind};
use std::collections::BTreeMap;

/// One user's cart, computed naively. A run also keeps one of these per session under way, and
/// holds each answer it gets against it: that is "after my k-th op my cart is", at the price of one
/// op.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserCart {
    lines: BTreeMap<Box<str>, u64>,
}

impl UserCart {
    /// One row of the file. A view leaves the cart alone.
    pub fn apply(&mut self, kind: Kind, product: &str) {
        match kind {
            Kind::View => {}
            Kind::Cart => *self.lines.entry(product.into()).or_insert(0) += 1,
            Kind::Remove => {
                self.lines.remove(product);
            }
            Kind::Purchase => {
                if let Some(quantity) = self.lines.get_mut(product) {
                    *quantity -= 1;
                    if *quantity == 0 {
                        self.lines.remove(product);
                    }
                }
            }
        }
    }

    /// The products in the cart with their quantities, none of them 0, by product.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        self.lines.iter().map(|(product, quantity)| (&**product, *quantity))
    }

    /// How many of one product are in the cart.
    pub fn quantity(&self, product: &str) -> u64 {
        self.lines.get(product).copied().unwrap_or(0)
    }

    /// How many units are in the cart.
    #[cfg(test)]
    pub fn units(&self) -> u64 {
        self.lines.values().sum()
    }

    /// Nothing in it.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// All carts and all view counts that a log of events leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oracle {
    carts: BTreeMap<Box<str>, UserCart>,
    views: BTreeMap<Box<str>, u64>,
}

impl Oracle {
    /// One event, in the order of the file.
    pub fn apply(&mut self, event: &Event) {
        match event.kind {
            Kind::View => match self.views.get_mut(&event.product) {
                Some(count) => *count += 1,
                None => {
                    self.views.insert(event.product.clone(), 1);
                }
            },
            Kind::Cart | Kind::Remove | Kind::Purchase => {
                if !self.carts.contains_key(&event.user) {
                    self.carts.insert(event.user.clone(), UserCart::default());
                }
                if let Some(cart) = self.carts.get_mut(&event.user) {
                    cart.apply(event.kind, &event.product);
                }
            }
        }
    }

    /// Every user who ever touched a cart, by user; the cart may be empty by now, and must then be
    /// empty in the store too.
    pub fn carts(&self) -> impl ExactSizeIterator<Item = (&str, &UserCart)> {
        self.carts.iter().map(|(user, cart)| (&**user, cart))
    }

    /// One user's cart; `None` if that user never touched one.
    pub fn cart(&self, user: &str) -> Option<&UserCart> {
        self.carts.get(user)
    }

    /// Every product that was ever viewed, with its count, by product.
    pub fn views(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        self.views.iter().map(|(product, count)| (&**product, *count))
    }
}

impl<'a> Extend<&'a Event> for Oracle {
    fn extend<T: IntoIterator<Item = &'a Event>>(&mut self, events: T) {
        events.into_iter().for_each(|event| self.apply(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Kind::{Cart, Purchase, Remove, View};

    fn cart(ops: &[(Kind, &str)]) -> Vec<(String, u64)> {
        let mut cart = UserCart::default();
        ops.iter().for_each(|(kind, product)| cart.apply(*kind, product));
        cart.lines().map(|(product, quantity)| (product.to_owned(), quantity)).collect()
    }

    fn event(kind: Kind, user: &str, product: &str) -> Event {
        Event {
            line: 2,
            time_ms: 0,
            kind,
            product: product.into(),
            user: user.into(),
            session: "".into(),
        }
    }

    #[test]
    fn one_row_is_one_unit_and_twins_count_twice() {
        assert_eq!(
            cart(&[(Cart, "a"), (Cart, "b"), (Cart, "a")]),
            [("a".into(), 2), ("b".into(), 1)]
        );
    }

    #[test]
    fn a_removal_takes_all_and_a_later_add_starts_at_one() {
        assert_eq!(cart(&[(Cart, "a"), (Cart, "a"), (Remove, "a")]), []);
        assert_eq!(
            cart(&[(Cart, "a"), (Remove, "a"), (Remove, "a"), (Cart, "a")]),
            [("a".into(), 1)]
        );
    }

    #[test]
    fn a_purchase_takes_one_and_never_goes_below_zero() {
        assert_eq!(cart(&[(Cart, "a"), (Cart, "a"), (Purchase, "a")]), [("a".into(), 1)]);
        assert_eq!(cart(&[(Purchase, "a"), (Purchase, "a"), (Cart, "a")]), [("a".into(), 1)]);
        assert_eq!(cart(&[(Cart, "a"), (Purchase, "a"), (Purchase, "a")]), []);
    }

    #[test]
    fn what_was_never_added_is_removed_in_peace() {
        assert_eq!(cart(&[(Remove, "a"), (Cart, "b"), (Remove, "c")]), [("b".into(), 1)]);
    }

    #[test]
    fn a_view_counts_for_the_product_and_touches_no_cart() {
        let mut oracle = Oracle::default();
        oracle.extend(&[event(View, "u", "a"), event(View, "v", "a"), event(View, "v", "b")]);
        assert_eq!(oracle.views().collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
        assert_eq!(oracle.carts().len(), 0);
    }

    #[test]
    fn users_are_apart_sorted_and_kept_when_empty() {
        let mut oracle = Oracle::default();
        oracle.extend(&[
            event(Cart, "v", "a"),
            event(Cart, "u", "a"),
            event(Remove, "v", "a"),
            event(Purchase, "w", "a"),
        ]);
        let units: Vec<_> = oracle.carts().map(|(user, cart)| (user, cart.units())).collect();
        assert_eq!(units, [("u", 1), ("v", 0), ("w", 0)]);
        assert_eq!(oracle.cart("u").map(|cart| cart.quantity("a")), Some(1));
        assert!(oracle.cart("v").is_some_and(UserCart::is_empty));
        assert_eq!(oracle.cart("x"), None);
    }

    /// The per-user instance and the whole oracle are one rule: they agree after any history.
    #[test]
    fn a_users_own_cart_ends_as_the_oracle_says() {
        bolero::check!().with_type::<Vec<(u8, u8, u8)>>().for_each(|ops| {
            let mut oracle = Oracle::default();
            let mut own = BTreeMap::<String, UserCart>::new();
            for (kind, user, product) in ops {
                let kind = Kind::ALL[usize::from(kind % 4)];
                let (user, product) = ((user % 3).to_string(), (product % 4).to_string());
                oracle.apply(&event(kind, &user, &product));
                own.entry(user).or_default().apply(kind, &product);
            }
            for (user, cart) in oracle.carts() {
                assert_eq!(own.get(user), Some(cart));
                assert!(cart.lines().all(|(_, quantity)| quantity > 0));
            }
            assert!(own.iter().all(|(user, cart)| cart.is_empty() || oracle.cart(user).is_some()));
        });
    }
}
