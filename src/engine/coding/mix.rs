//! What the next bit will be, from what several contexts have seen: their adaptive probabilities are mixed in the
//! logistic domain, with weights that learn which of them to trust (Mahoney 2005, "Adaptive weighing of context models
//! for lossless data compression"). Integers alone: the same on every machine.

use super::range::{BitCoder, Damaged};

/// 4096 / (1 + e^(−x / 256)) for x from −2048 to 2048 in steps of 128, within 1 and 4095.
const LOGISTIC: [i32; 33] = [
    1, 2, 4, 6, 10, 17, 27, 45, 74, 120, 194, 311, 488, 747, 1102, 1546, 2048, 2550, 2994, 3349, 3608, 3785, 3902, 3976, 4022,
    4051, 4069, 4079, 4086, 4090, 4092, 4094, 4095,
];

/// Probability in 4096ths of a logit in 256ths.
fn squash(x: i32) -> i32 {
    let x = x.clamp(-2047, 2047) + 2048;
    let (step, part) = ((x >> 7) as usize, x & 127);
    let at = |i: usize| LOGISTIC.get(i).copied().unwrap_or(4095);
    (at(step) * (128 - part) + at(step + 1) * part + 64) >> 7
}

/// Logits in 256ths of probabilities in 4096ths: [`squash`] turned around.
struct Stretch(Vec<i16>);

impl Stretch {
    fn new() -> Self {
        let mut table = vec![2047_i16; 4096];
        let mut next = 0_usize;
        for x in -2047..=2047 {
            let p = squash(x) as usize;
            while next <= p {
                if let Some(slot) = table.get_mut(next) {
                    *slot = x as i16;
                }
                next += 1;
            }
        }
        Self(table)
    }

    fn of(&self, p: u16) -> i32 {
        self.0.get(usize::from(p >> 4)).map_or(0, |x| i32::from(*x))
    }
}

/// The share of ones that a context has seen, in 65536ths, and how often it was asked.
#[derive(Clone, Copy)]
struct Slot {
    p: u16,
    seen: u8,
}

impl Slot {
    const NEW: Self = Self { p: 1 << 15, seen: 0 };

    /// The first bits count much; later ones less, down to one part in [`SLOWEST`] + 1.5.
    fn learn(&mut self, bit: bool) {
        let target = if bit { 65535 } else { 0 };
        let step = (target - i32::from(self.p)) * 2 / (2 * i32::from(self.seen) + 3);
        self.p = (i32::from(self.p) + step).clamp(32, 65503) as u16;
        self.seen = self.seen.saturating_add(1).min(SLOWEST);
    }
}

/// A model of bits with `N` contexts at a time.
pub struct Mix<const N: usize> {
    stretch: Stretch,
    /// One table for each context.
    slots: [Vec<Slot>; N],
    weights: Vec<[i32; N]>,
}

/// The weight of a model that is trusted wholly, in 65536ths.
const WHOLE: i32 = 1 << 16;
/// Weights learn by input times error over two to this.
const RATE: u32 = 11;
/// Slots learn no slower than by one part in this and a half.
const SLOWEST: u8 = 254;

impl<const N: usize> Mix<N> {
    /// Tables of so many slots, and so many sets of weights.
    pub fn new(sizes: [usize; N], sets: usize) -> Self {
        let start = WHOLE * 2 / (N as i32 + 1);
        Self {
            stretch: Stretch::new(),
            slots: sizes.map(|size| vec![Slot::NEW; size.max(1)]),
            weights: vec![[start; N]; sets.max(1)],
        }
    }

    /// Codes one bit: `places` is the slot of each context, `set` chooses the weights. Places beyond a table share its
    /// last slot.
    ///
    /// # Errors
    /// When a stream that is read is no such stream.
    pub fn code(&mut self, coder: &mut impl BitCoder, bit: bool, places: [usize; N], set: usize) -> Result<bool, Damaged> {
        let set = set.min(self.weights.len().saturating_sub(1));
        let mut inputs = [0_i32; N];
        for ((input, table), place) in inputs.iter_mut().zip(&self.slots).zip(places) {
            let slot = table.get(place.min(table.len() - 1)).copied().unwrap_or(Slot::NEW);
            *input = self.stretch.of(slot.p);
        }
        let Some(weights) = self.weights.get_mut(set) else { return Err(Damaged) };
        let sum: i64 = weights.iter().zip(&inputs).map(|(w, x)| i64::from(*w) * i64::from(*x)).sum();
        let p = squash((sum >> 16).clamp(-2047, 2047) as i32).clamp(1, 4095);
        let bit = coder.bit(bit, p as u32)?;
        let error = (i32::from(bit) << 12) - p;
        for (weight, input) in weights.iter_mut().zip(inputs) {
            *weight = (*weight + ((input * error + (1 << (RATE - 1))) >> RATE)).clamp(-8 * WHOLE, 8 * WHOLE);
        }
        for (table, place) in self.slots.iter_mut().zip(places) {
            let last = table.len() - 1;
            if let Some(slot) = table.get_mut(place.min(last)) {
                slot.learn(bit);
            }
        }
        Ok(bit)
    }
}

/// A number of `bits` bits, the highest first, each in the context of those above it.
///
/// # Errors
/// When a stream that is read is no such stream.
pub fn number(mix: &mut Mix<1>, coder: &mut impl BitCoder, value: u32, bits: u32, context: usize) -> Result<u32, Damaged> {
    let mut node = 1_u32;
    for place in (0..bits).rev() {
        let bit = mix.code(coder, value >> place & 1 == 1, [(context << bits) + node as usize], 0)?;
        node = node << 1 | u32::from(bit);
    }
    Ok(node - (1 << bits))
}

/// The low `bits` bits of a number, taken for noise.
///
/// # Errors
/// When a stream that is read is no such stream.
pub fn noise(coder: &mut impl BitCoder, value: u32, bits: u32) -> Result<u32, Damaged> {
    (0..bits).rev().try_fold(0, |read, place| Ok(read << 1 | u32::from(coder.bit(value >> place & 1 == 1, 2048)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::coding::range::{Reader, Writer};

    #[test]
    fn probabilities_and_logits_are_one_another_turned_around() {
        let table = Stretch::new();
        for p in 1..4096_i32 {
            let back = squash(table.of((p << 4) as u16));
            assert!((back - p).abs() <= 1 + p.min(4096 - p) / 16, "{p} became {back}");
        }
        assert_eq!((squash(0), table.of(1 << 15).abs() < 8), (2048, true));
    }

    #[test]
    fn what_a_context_tells_costs_next_to_nothing() {
        // The bit is that of one of the two contexts; the other is noise.
        let bits: Vec<(bool, usize)> = (0..4000_usize).map(|i| (i % 7 < 3, i.wrapping_mul(2_654_435_761) >> 9 & 15)).collect();
        let mut writer = Writer::default();
        let mut mix = Mix::<2>::new([7, 16], 1);
        for (i, (bit, other)) in bits.iter().enumerate() {
            mix.code(&mut writer, *bit, [i % 7, *other], 0).unwrap();
        }
        let stream = writer.finish();
        assert!(stream.len() < 60, "{} bytes for 4000 bits that are known beforehand", stream.len());
        let (mut reader, mut mix) = (Reader::new(&stream).unwrap(), Mix::<2>::new([7, 16], 1));
        for (i, (bit, other)) in bits.iter().enumerate() {
            assert_eq!(mix.code(&mut reader, false, [i % 7, *other], 0), Ok(*bit));
        }
    }
}
