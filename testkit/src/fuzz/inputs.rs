//! Inputs for ordinary tests: random bytes, and seeds that were changed a little.

use crate::dice::Dice;

/// The longest input of random bytes.
const BYTES_MAX: usize = 512;

/// The most changes to a seed.
const CHANGES_MAX: usize = 8;

/// Bytes that mean something to some codec.
const SPECIAL: &[u8] = &[
    0, 1, 0x7F, 0x80, 0xFF, b'0', b'%', b'/', b'.', b'@', b'\\', b'"',
];

/// Inputs without end, the same for the same seeds and number.
#[derive(Debug)]
pub struct Inputs {
    seeds: Vec<Vec<u8>>,
    dice: Dice,
}

impl Inputs {
    /// Inputs made of these seeds.
    #[must_use]
    pub const fn new(seeds: Vec<Vec<u8>>, number: u64) -> Self {
        let dice = Dice::new(number);
        Self { seeds, dice }
    }

    fn random(&mut self) -> Vec<u8> {
        let bytes = self.dice.below(BYTES_MAX);
        // Few different bytes make values that meet; all of them make any.
        let different = if self.dice.one_in(2) { 4 } else { 256 };
        (0..bytes).map(|_| self.byte(different)).collect()
    }

    fn byte(&mut self, different: usize) -> u8 {
        if self.dice.one_in(8) {
            return self.dice.pick(SPECIAL).copied().unwrap_or_default();
        }
        u8::try_from(self.dice.below(different)).unwrap_or_default()
    }

    fn changed(&mut self) -> Option<Vec<u8>> {
        let mut input = self.dice.pick(&self.seeds)?.clone();
        for _ in 0..self.dice.below(CHANGES_MAX) {
            self.change(&mut input);
        }
        Some(input)
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.dice.below(input.len());
        let end = input.len().min(at + self.dice.below(16));
        match self.dice.below(5) {
            0 => {
                input.drain(at..end);
            }
            1 => {
                let copied = input.get(at..end).unwrap_or_default().to_vec();
                let to = self.dice.below(input.len());
                input.splice(to..to, copied);
            }
            2 => {
                let byte = self.byte(256);
                input.insert(at, byte);
            }
            3 => {
                let byte = self.byte(256);
                input.get_mut(at).into_iter().for_each(|old| *old = byte);
            }
            _ => {
                let bit = 1 << self.dice.below(8);
                input.get_mut(at).into_iter().for_each(|old| *old ^= bit);
            }
        }
    }
}

impl Iterator for Inputs {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let random = self.dice.one_in(3);
        let changed = if random { None } else { self.changed() };
        Some(changed.unwrap_or_else(|| self.random()))
    }
}
