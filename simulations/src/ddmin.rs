//! Delta debugging: of a list that makes something fail, the few items that do it.
//!
//! Pieces are left out, large ones first (half of what is left, a quarter, ... one), and what still
//! fails without a piece goes on without it. At single items the passes are repeated until one of
//! them leaves nothing out: dropping a late item often frees an earlier one.
//!
//! Law: the result is a subsequence of the list; it fails, if the list did; and unless the budget
//! ran out it is 1-minimal: leave any one item out, and it fails no more. (Not the smallest of all:
//! two items that must go together stay, when neither halving nor quartering takes both at once.)
//!
//! It helps as far as an item keeps its meaning when its neighbours go. Draw what happens to an
//! item from its own key (`chance.rs`), never from a stream that all of them share, nor from its
//! place in the list: measured here, one fate keyed by place left 48 acts where 4 were the bug.

/// The items that `still_fails` needs, in their order, after at most `budget` calls of it.
///
/// `items` itself is not tried: that it fails is what the caller has seen. A result is never worse
/// than `items`; with a budget of 0 it is `items`.
///
/// ```
/// use pannier_simulations::ddmin::ddmin;
///
/// let acts: Vec<u32> = (0..1_000).collect();
/// let fails = |kept: &[u32]| kept.contains(&71) && kept.contains(&640);
/// assert_eq!(ddmin(&acts, fails, 1_000), [71, 640]);
/// ```
pub fn ddmin<T: Clone>(
    items: &[T],
    mut still_fails: impl FnMut(&[T]) -> bool,
    budget: usize,
) -> Vec<T> {
    let mut left = budget;
    let mut kept = items.to_vec();
    let mut piece = kept.len().div_ceil(2);
    while piece > 0 {
        let before = kept.len();
        // From the end: what comes late is most often the noise after the failure.
        let mut end = kept.len();
        while end > 0 {
            if left == 0 {
                return kept;
            }
            left -= 1;
            let start = end.saturating_sub(piece);
            let mut fewer = Vec::with_capacity(kept.len());
            fewer.extend_from_slice(&kept[..start]);
            fewer.extend_from_slice(&kept[end..]);
            if still_fails(&fewer) {
                kept = fewer;
            }
            end = start;
        }
        let changed = kept.len() < before;
        piece = match piece {
            1 if changed => 1,
            _ => (piece / 2).min(kept.len().div_ceil(2)),
        };
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::ddmin;
    use crate::chance::{Dice, Purpose};

    #[test]
    fn one_culprit_is_found_alone_in_few_calls() {
        for culprit in [0_usize, 1, 499, 998, 999] {
            let calls = Cell::new(0);
            let items: Vec<usize> = (0..1_000).collect();
            let fails = |kept: &[usize]| {
                calls.set(calls.get() + 1);
                kept.contains(&culprit)
            };
            assert_eq!(ddmin(&items, fails, usize::MAX), [culprit]);
            assert!(calls.get() < 40, "{} calls for one item of a thousand", calls.get());
        }
    }

    #[test]
    fn culprits_keep_their_order_and_each_is_needed() {
        let mut dice = Dice::new(4, Purpose::Acts);
        for round in 0..200 {
            let len = 1 + dice.index(200);
            let items: Vec<usize> = (0..len).collect();
            let mut needed: Vec<usize> = (0..1 + dice.index(6)).map(|_| dice.index(len)).collect();
            needed.sort_unstable();
            needed.dedup();
            let fails = |kept: &[usize]| needed.iter().all(|item| kept.contains(item));
            assert_eq!(ddmin(&items, fails, usize::MAX), needed, "round {round}");
        }
    }

    #[test]
    fn an_item_freed_by_a_later_one_goes_too() {
        // 8 may go only when 3 has gone, and 3 only when 5 has.
        let fails = |kept: &[u32]| {
            let has = |item| kept.contains(&item);
            has(1) && (has(8) || !has(3)) && (has(3) || !has(5))
        };
        let items: Vec<u32> = (0..10).collect();
        assert!(fails(&items));
        assert_eq!(ddmin(&items, fails, usize::MAX), [1]);
    }

    #[test]
    fn the_result_is_one_minimal_on_failures_that_are_not_monotone() {
        // An odd number of multiples of 7, and 11 among them or 40 after 20: removing more may
        // heal.
        let fails = |kept: &[u32]| {
            let at = |item| kept.iter().position(|one| *one == item);
            let odd = kept.iter().filter(|item| *item % 7 == 0).count() % 2 == 1;
            odd && (at(11).is_some() || matches!((at(20), at(40)), (Some(a), Some(b)) if a < b))
        };
        let items: Vec<u32> = (0..60).collect();
        assert!(fails(&items));
        let small = ddmin(&items, fails, usize::MAX);
        assert!(fails(&small), "{small:?}");
        for out in 0..small.len() {
            let mut fewer = small.clone();
            fewer.remove(out);
            assert!(!fails(&fewer), "{small:?} fails without {}", small[out]);
        }
    }

    #[test]
    fn the_budget_is_kept_and_what_is_returned_fails() {
        let items: Vec<u32> = (0..300).collect();
        for budget in [0, 1, 2, 5, 17, 60, 200] {
            let calls = Cell::new(0);
            let predicate = |kept: &[u32]| [13, 14, 77, 250].iter().all(|item| kept.contains(item));
            let fails = |kept: &[u32]| {
                calls.set(calls.get() + 1);
                predicate(kept)
            };
            let small = ddmin(&items, fails, budget);
            assert!(calls.get() <= budget);
            assert!(predicate(&small));
            assert!(budget > 0 || small == items);
        }
    }

    #[test]
    fn what_fails_whatever_is_left_ends_empty_and_nothing_stays_nothing() {
        assert!(ddmin(&[1, 2, 3, 4, 5], |_| true, usize::MAX).is_empty());
        assert!(ddmin(&[0_u8; 0], |_| true, usize::MAX).is_empty());
        assert_eq!(ddmin(&[1, 2, 3], |_| false, usize::MAX), [1, 2, 3]);
    }
}
