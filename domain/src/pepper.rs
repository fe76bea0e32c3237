//! The peppers: keys of the token verifiers, by generation. A token names the
//! generation that its verifier was made with, so that a new pepper can be
//! brought in without ending a single token, and an old one goes when no token
//! needs it any more.

use std::collections::BTreeMap;

use crate::secret::Key32;

/// Generation of the first pepper, and of tokens that name none.
pub const FIRST_GENERATION: u32 = 1;

/// Peppers at one time. Each costs nothing; so many mean that nobody ever
/// rotates the tokens of the old ones.
pub const MAX_PEPPERS: usize = 16;

/// The peppers by generation; there is always at least one. The newest is
/// never removed, so that no number is used twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peppers(BTreeMap<u32, Key32>);

impl Peppers {
    /// One pepper, the first.
    pub fn first(pepper: Key32) -> Self {
        Self(BTreeMap::from([(FIRST_GENERATION, pepper)]))
    }

    /// From pairs of generation and key; `None` when there is none, a number
    /// is 0 or comes twice, or there are more than [`MAX_PEPPERS`].
    pub fn from_pairs(pairs: impl IntoIterator<Item = (u32, Key32)>) -> Option<Self> {
        let mut peppers = BTreeMap::new();
        for (generation, key) in pairs {
            if generation == 0 || peppers.insert(generation, key).is_some() || peppers.len() > MAX_PEPPERS {
                return None;
            }
        }
        (!peppers.is_empty()).then_some(Self(peppers))
    }

    /// The pepper of a generation; `None` once it was removed.
    pub fn get(&self, generation: u32) -> Option<&Key32> {
        self.0.get(&generation)
    }

    /// The generation that new tokens are made with, and its pepper.
    ///
    /// # Panics
    /// Never: there is always one.
    pub fn newest(&self) -> (u32, &Key32) {
        let (generation, pepper) = self.0.last_key_value().expect("there is always a pepper");
        (*generation, pepper)
    }

    /// Brings in a new pepper and gives its generation; `None` when there is
    /// no room for another one.
    pub fn add(&mut self, pepper: Key32) -> Option<u32> {
        let generation = self.newest().0.checked_add(1)?;
        if self.0.len() >= MAX_PEPPERS {
            return None;
        }
        self.0.insert(generation, pepper);
        Some(generation)
    }

    /// Forgets a pepper; false when there is none of that generation, or it is
    /// the newest.
    pub fn remove(&mut self, generation: u32) -> bool {
        generation != self.newest().0 && self.0.remove(&generation).is_some()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Key32)> {
        self.0.iter().map(|(generation, pepper)| (*generation, pepper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key32 {
        Key32::new([byte; 32])
    }

    #[test]
    fn the_newest_stays_and_numbers_are_used_once() {
        let mut peppers = Peppers::first(key(1));
        assert!(!peppers.remove(1), "the only one");
        assert_eq!(peppers.add(key(2)), Some(2));
        assert_eq!(peppers.newest(), (2, &key(2)));
        assert!(peppers.remove(1) && !peppers.remove(1) && !peppers.remove(2));
        assert_eq!((peppers.get(1), peppers.get(2)), (None, Some(&key(2))));
        assert_eq!(peppers.add(key(3)), Some(3));
        while peppers.add(key(9)).is_some() {}
        assert_eq!(peppers.iter().count(), MAX_PEPPERS);
    }

    #[test]
    fn pairs() {
        let cases: [(&[u32], bool); 5] = [(&[], false), (&[0], false), (&[1], true), (&[2, 5], true), (&[3, 3], false)];
        for (generations, accepted) in cases {
            let pairs = generations.iter().map(|generation| (*generation, key(1)));
            assert_eq!(Peppers::from_pairs(pairs).is_some(), accepted, "{generations:?}");
        }
        assert!(Peppers::from_pairs((1..=17).map(|generation| (generation, key(1)))).is_none());
    }

    #[test]
    fn debug_output_shows_no_pepper() {
        assert_eq!(format!("{:?}", Peppers::first(key(7))), "Peppers({1: [redacted]})");
    }
}
