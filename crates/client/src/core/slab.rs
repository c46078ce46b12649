//! A table whose places are used again: what is under way is found by number, without hashing.
//!
//! The place freed last is taken first, so a busy table stays where the processor has it at hand.
//! A number alone does not tell who holds the place now; whoever hands numbers out to strangers
//! sends a tag along (`Call::tag`).

/// Values by small number. See the file's head.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// Nothing in it.
    pub const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// How many values.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Puts one in and tells its number.
    pub fn insert(&mut self, value: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self.places[number as usize] = Some(value);
            return number;
        }
        self.places.push(Some(value));
        (self.places.len() - 1) as u32
    }

    /// Takes one out.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.places.get_mut(number as usize)?.take();
        if value.is_some() {
            self.free.push(number);
        }
        value
    }

    /// Looks at one.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.places.get(number as usize)?.as_ref()
    }

    /// Changes one.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.places.get_mut(number as usize)?.as_mut()
    }

    /// All, ascending by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let numbered = self.places.iter().enumerate();
        numbered.filter_map(|(number, value)| Some((number as u32, value.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map_that_chooses_its_keys(acts in proptest::collection::vec(0..40_u32, 1..200)) {
            let (mut slab, mut map) = (Slab::new(), BTreeMap::new());
            for (value, act) in acts.into_iter().enumerate() {
                if act < 20 {
                    let number = slab.insert(value);
                    prop_assert_eq!(map.insert(number, value), None);
                } else {
                    prop_assert_eq!(slab.remove(act - 20), map.remove(&(act - 20)));
                }
                prop_assert_eq!(slab.len(), map.len());
                let all: Vec<_> = slab.iter().map(|(number, value)| (number, *value)).collect();
                prop_assert_eq!(all, map.clone().into_iter().collect::<Vec<_>>());
            }
            // No more places than were ever in use at once.
            prop_assert!(slab.places.len() <= 200);
        }
    }
}
