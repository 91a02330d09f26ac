//! What becomes of a tile's sums: integers, floats, bytes of the next layer, or the last two at once.

use super::{Isa, LANES};

/// Real numbers to bytes: `saturate(round(v · inverse) + zero)`, half to even.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rounding {
    /// One over the scale.
    pub inverse: f32,
    pub zero: i32,
    /// Smallest and largest result. Signed bytes are written as their two's complement.
    pub range: (i32, i32),
}

/// How sums become results: `clamp((sum + offset) · scale + bias + residual, low, high)`.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a> {
    /// Added to the sum: the zero point's part and an integer bias. One per output channel.
    pub offset: &'a [i32],
    /// One per output channel; empty where sums are wanted.
    pub scale: &'a [f32],
    /// As `scale`.
    pub bias: &'a [f32],
    /// As large as the output, channels last.
    pub residual: Option<&'a [f32]>,
    pub low: f32,
    pub high: f32,
    pub rounding: Rounding,
}

impl<'a> Finish<'a> {
    /// The sums themselves.
    #[must_use]
    pub fn sums(offset: &'a [i32]) -> Self {
        Self::scaled(offset, &[], &[])
    }

    /// Floats without limits.
    #[must_use]
    pub fn scaled(offset: &'a [i32], scale: &'a [f32], bias: &'a [f32]) -> Self {
        let rounding = Rounding { inverse: 1.0, zero: 0, range: (0, 255) };
        Self { offset, scale, bias, residual: None, low: f32::NEG_INFINITY, high: f32::INFINITY, rounding }
    }
}

/// Where results go; all channels last.
#[derive(Debug)]
pub enum Sink<'a> {
    Sums(&'a mut [i32]),
    Floats(&'a mut [f32]),
    Bytes(&'a mut [u8]),
    Both(&'a mut [f32], &'a mut [u8]),
}

impl<'a> Sink<'a> {
    /// Number of results.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Sums(v) => v.len(),
            Self::Floats(v) | Self::Both(v, _) => v.len(),
            Self::Bytes(v) => v.len(),
        }
    }

    /// Pieces of `size` results, the last one shorter.
    pub(super) fn split(self, size: usize) -> Vec<Self> {
        match self {
            Self::Sums(v) => v.chunks_mut(size).map(Self::Sums).collect(),
            Self::Floats(v) => v.chunks_mut(size).map(Self::Floats).collect(),
            Self::Bytes(v) => v.chunks_mut(size).map(Self::Bytes).collect(),
            Self::Both(v, b) => v.chunks_mut(size).zip(b.chunks_mut(size)).map(|(v, b)| Self::Both(v, b)).collect(),
        }
    }
}

/// Where the sums of a tile belong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// First output channel, and how many of them are real.
    pub channel: usize,
    pub channels: usize,
    /// Lanes between the sums of one place and of the next.
    pub width: usize,
    /// All output channels.
    pub of: usize,
    pub places: usize,
    /// First place within the sink.
    pub at: usize,
    /// Places before the sink's first.
    pub before: usize,
}

/// Writes `sums` (`[place][width]`) to where they belong.
pub(super) fn finish(isa: Isa, sums: &[i32], target: Target, finish: &Finish<'_>, sink: &mut Sink<'_>) {
    assert!(target.width.is_multiple_of(LANES) && target.channels <= target.width, "sums do not fit their lanes");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Vnni => x86::finish_avx512(sums, target, finish, sink),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => x86::finish_avx2(sums, target, finish, sink),
        Isa::Plain => each_place(sums, target, finish, sink),
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the same loops, compiled for wider vectors")]
mod x86 {
    use super::{Finish, Sink, Target, each_place};

    pub(super) fn finish_avx512(sums: &[i32], target: Target, finish: &Finish<'_>, sink: &mut Sink<'_>) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
        fn inner(sums: &[i32], target: Target, finish: &Finish<'_>, sink: &mut Sink<'_>) {
            each_place(sums, target, finish, sink);
        }
        // SAFETY: this kernel is chosen where the processor has these features.
        unsafe { inner(sums, target, finish, sink) }
    }

    pub(super) fn finish_avx2(sums: &[i32], target: Target, finish: &Finish<'_>, sink: &mut Sink<'_>) {
        #[target_feature(enable = "avx2")]
        fn inner(sums: &[i32], target: Target, finish: &Finish<'_>, sink: &mut Sink<'_>) {
            each_place(sums, target, finish, sink);
        }
        // SAFETY: this kernel is chosen where the processor has this feature.
        unsafe { inner(sums, target, finish, sink) }
    }
}

/// 1.5·2²³: adding it rounds a small number to a whole one, which then stands in the low bits.
pub(super) const MAGIC: f32 = 12_582_912.0;

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled anew for each kind of vector")]
fn each_place(sums: &[i32], target: Target, finish: &Finish<'_>, sink: &mut Sink<'_>) {
    let channels = target.channel..target.channel + target.channels;
    let offset = &finish.offset[channels.clone()];
    if let Sink::Sums(out) = sink {
        for (place, sums) in sums.chunks_exact(target.width).take(target.places).enumerate() {
            let at = (target.at + place) * target.of + target.channel;
            for ((out, sum), offset) in out[at..at + target.channels].iter_mut().zip(sums).zip(offset) {
                *out = sum.wrapping_add(*offset);
            }
        }
        return;
    }
    let (scale, bias) = (&finish.scale[channels.clone()], &finish.bias[channels]);
    let mut row = [0.0_f32; 4 * LANES];
    for (place, sums) in sums.chunks_exact(target.width).take(target.places).enumerate() {
        let at = (target.at + place) * target.of + target.channel;
        let row = &mut row[..target.channels];
        for ((((out, sum), offset), scale), bias) in row.iter_mut().zip(sums).zip(offset).zip(scale).zip(bias) {
            *out = sum.wrapping_add(*offset) as f32 * scale + bias;
        }
        if let Some(residual) = finish.residual {
            let from = at + target.before * target.of;
            for (out, r) in row.iter_mut().zip(&residual[from..from + target.channels]) {
                *out += r;
            }
        }
        let (low, high) = (finish.low, finish.high);
        for out in row.iter_mut() {
            let v = if *out < low { low } else { *out };
            *out = if v > high { high } else { v };
        }
        match sink {
            Sink::Sums(_) => {}
            Sink::Floats(out) => out[at..at + row.len()].copy_from_slice(row),
            Sink::Bytes(out) => round(row, finish.rounding, &mut out[at..at + row.len()]),
            Sink::Both(floats, bytes) => {
                floats[at..at + row.len()].copy_from_slice(row);
                round(row, finish.rounding, &mut bytes[at..at + row.len()]);
            }
        }
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled anew for each kind of vector")]
fn round(row: &[f32], r: Rounding, out: &mut [u8]) {
    // The limits are whole numbers: limiting first and rounding then is the same.
    let (low, high) = ((r.range.0 - r.zero) as f32, (r.range.1 - r.zero) as f32);
    let zero = r.zero.wrapping_sub(MAGIC.to_bits().cast_signed());
    for (out, v) in out.iter_mut().zip(row) {
        let q = v * r.inverse;
        let q = if q >= low { q } else { low };
        let q = if q <= high { q } else { high };
        *out = (q + MAGIC).to_bits().cast_signed().wrapping_add(zero) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    #[test]
    fn every_sink_gets_what_the_words_say() {
        let mut random = Random::new(8);
        let (of, channel, channels, places) = (40, 16, 19, 3);
        let sums: Vec<i32> = (0..places * 2 * LANES).map(|_| random.range(-3000.0, 3000.0) as i32).collect();
        let offset: Vec<i32> = (0..of).map(|_| random.range(-50.0, 50.0) as i32).collect();
        let [scale, bias] = [(0.01, 0.2), (-9.0, 9.0)].map(|(a, b)| (0..of).map(|_| random.range(a, b)).collect::<Vec<f32>>());
        let residual: Vec<f32> = (0..10 * of).map(|_| random.normal()).collect();
        let rounding = Rounding { inverse: 0.7, zero: 3, range: (-128, 127) };
        let how =
            Finish { residual: Some(&residual), low: -20.0, high: 90.0, rounding, ..Finish::scaled(&offset, &scale, &bias) };
        let target = Target { channel, channels, width: 2 * LANES, of, places, at: 1, before: 4 };
        for isa in Isa::all() {
            let (mut whole, mut floats, mut bytes) = (vec![0; 6 * of], vec![0.0; 6 * of], vec![0; 6 * of]);
            finish(isa, &sums, target, &how, &mut Sink::Sums(&mut whole));
            finish(isa, &sums, target, &how, &mut Sink::Both(&mut floats, &mut bytes));
            for p in 0..places {
                for c in 0..channels {
                    let (at, oc) = ((1 + p) * of + channel + c, channel + c);
                    let sum = sums[p * 2 * LANES + c] + offset[oc];
                    let real = (sum as f32 * scale[oc] + bias[oc] + residual[at + 4 * of]).clamp(-20.0, 90.0);
                    let byte = ((real * 0.7).round_ties_even() as i32 + 3).clamp(-128, 127) as u8;
                    assert_eq!((whole[at], floats[at].to_bits(), bytes[at]), (sum, real.to_bits(), byte), "{isa:?}");
                }
            }
            assert!(whole[..of + channel].iter().all(|v| *v == 0) && bytes[of + channel + channels] == 0);
        }
    }
}
