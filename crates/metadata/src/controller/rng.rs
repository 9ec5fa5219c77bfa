//! Chance from a seed: placement and topic ids draw from it, so that a run can be repeated.
//!
//! xoshiro256++ (Blackman and Vigna); not for secrets.

use ottla_types::Uuid;

/// A repeatable source of numbers.
#[derive(Clone, Debug)]
pub(super) struct Rng([u64; 4]);

impl Rng {
    /// Starts from a seed. All zeros would stay zero, so that seed is replaced.
    pub(super) fn new(seed: [u64; 4]) -> Self {
        Self(if seed == [0; 4] { [1, 2, 3, 4] } else { seed })
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let drawn = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }

    /// A number below `bound`, which is above zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "there is no number below zero");
        let wide = u128::from(self.next()) * u128::try_from(bound).expect("a usize fits");
        usize::try_from(wide >> 64).expect("smaller than the bound")
    }

    /// Puts the items in a random order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A random id that may be a topic's.
    pub(super) fn uuid(&mut self) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&self.next().to_be_bytes());
            bytes[8..].copy_from_slice(&self.next().to_be_bytes());
            if let Some(uuid) = Uuid::from_random(bytes) {
                return uuid;
            }
        }
    }
}
