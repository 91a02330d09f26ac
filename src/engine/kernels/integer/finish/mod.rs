//! What becomes of a tile's sums: integers, floats, bytes of the next layer, or the last two at once.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Column;

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

impl Sink<'_> {
    /// Number of results.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Sums(v) => v.len(),
            Self::Floats(v) => v.len(),
            Self::Bytes(v) => v.len(),
            Self::Both(v, b) => v.len().min(b.len()),
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
    assert!(sums.len() >= target.places * target.width, "sums are missing");
    let channels = target.channel + target.channels;
    assert!(channels <= target.of && finish.offset.len() >= channels, "an offset is missing");
    let scaled = finish.scale.len() >= channels && finish.bias.len() >= channels;
    assert!(scaled || matches!(sink, Sink::Sums(_)), "a scale is missing");
    let end = (target.at + target.places) * target.of;
    assert!(end <= sink.len(), "results reach beyond their place");
    assert!(finish.residual.is_none_or(|r| end + target.before * target.of <= r.len()), "what is added is missing");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Vnni => avx512::finish(sums, target, finish, sink),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::finish(sums, target, finish, sink),
        Isa::Plain => each_place(sums, target, finish, sink),
    }
}

/// Writes bytes straight from the registers that hold the sums of up to 16 channels, where bytes alone are
/// wanted, and packing limits them enough.
#[derive(Debug)]
pub(super) enum Direct {
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Column),
}

impl Direct {
    /// For `count` channels from `first` on; `apart`: their lanes lie as [`super::words::lane_of`] says.
    pub fn new(isa: Isa, finish: &Finish<'_>, sink: &Sink<'_>, [first, count]: [usize; 2], apart: bool) -> Option<Self> {
        let bytes_alone = matches!(sink, Sink::Bytes(_)) && finish.residual.is_none();
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if bytes_alone => avx2::Column::packing(finish, [first, count], apart).map(Self::Avx2),
            _ => None,
        }
    }

    /// Channels of the column.
    pub fn count(&self) -> usize {
        match *self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(ref column) => column.count(),
        }
    }
}

/// 1.5·2²³: adding it rounds a small number to a whole one, which then stands in the low bits.
pub(super) const MAGIC: f32 = 12_582_912.0;

fn each_place(sums: &[i32], target: Target, finish: &Finish<'_>, sink: &mut Sink<'_>) {
    for lane in (0..target.channels).step_by(LANES) {
        let count = LANES.min(target.channels - lane);
        let first = target.channel + lane;
        let column = PlainColumn { lane, first, count, target };
        let offset = lanes(&finish.offset[first..first + count]);
        match sink {
            Sink::Sums(out) => column.sums(sums, offset, out),
            Sink::Floats(out) => column.real(sums, offset, finish, |at, row| put(out, at, count, &row)),
            Sink::Bytes(out) => {
                column.real(sums, offset, finish, |at, row| put(out, at, count, &round(&row, finish.rounding)));
            }
            Sink::Both(floats, bytes) => column.real(sums, offset, finish, |at, row| {
                put(floats, at, count, &row);
                put(bytes, at, count, &round(&row, finish.rounding));
            }),
        }
    }
}

/// Up to 16 values as 16.
fn lanes<T: Copy + Default>(values: &[T]) -> [T; LANES] {
    if let Ok(whole) = values.try_into() {
        return whole;
    }
    let mut out = [T::default(); LANES];
    out[..values.len()].copy_from_slice(values);
    out
}

/// The first `count` of a vector to `out[at..]`.
fn put<T: Copy>(out: &mut [T], at: usize, count: usize, row: &[T; LANES]) {
    // Of a length known beforehand where it can be: one store.
    if count == LANES {
        out[at..at + LANES].copy_from_slice(row);
    } else {
        out[at..at + count].copy_from_slice(&row[..count]);
    }
}

/// One vector of output channels of a tile.
struct PlainColumn {
    lane: usize,
    /// First output channel.
    first: usize,
    count: usize,
    target: Target,
}

impl PlainColumn {
    fn sums(&self, sums: &[i32], offset: [i32; LANES], out: &mut [i32]) {
        for place in 0..self.target.places {
            let sums = lanes(&sums[place * self.target.width + self.lane..][..LANES]);
            let row: [i32; LANES] = std::array::from_fn(|i| sums[i].wrapping_add(offset[i]));
            put(out, (self.target.at + place) * self.target.of + self.first, self.count, &row);
        }
    }

    fn real(&self, sums: &[i32], offset: [i32; LANES], finish: &Finish<'_>, mut put: impl FnMut(usize, [f32; LANES])) {
        let channels = self.first..self.first + self.count;
        let (scale, bias) = (lanes(&finish.scale[channels.clone()]), lanes(&finish.bias[channels]));
        let (low, high) = (finish.low, finish.high);
        for place in 0..self.target.places {
            let sums = lanes(&sums[place * self.target.width + self.lane..][..LANES]);
            let at = (self.target.at + place) * self.target.of + self.first;
            let mut row = [0.0_f32; LANES];
            for i in 0..LANES {
                row[i] = sums[i].wrapping_add(offset[i]) as f32 * scale[i] + bias[i];
            }
            if let Some(residual) = finish.residual {
                let residual = lanes(&residual[at + self.target.before * self.target.of..][..self.count]);
                for i in 0..LANES {
                    row[i] += residual[i];
                }
            }
            for v in &mut row {
                let raised = if *v < low { low } else { *v };
                *v = if raised > high { high } else { raised };
            }
            put(at, row);
        }
    }
}

fn round(row: &[f32; LANES], r: Rounding) -> [u8; LANES] {
    // The limits are whole numbers: limiting first and rounding then is the same.
    let (low, high) = ((r.range.0 - r.zero) as f32, (r.range.1 - r.zero) as f32);
    let zero = r.zero.wrapping_sub(MAGIC.to_bits().cast_signed());
    let mut out = [0; LANES];
    for (out, v) in out.iter_mut().zip(row) {
        let q = v * r.inverse;
        let q = if q >= low { q } else { low };
        let q = if q <= high { q } else { high };
        *out = (q + MAGIC).to_bits().cast_signed().wrapping_add(zero) as u8;
    }
    out
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

    #[test]
    fn bytes_alone_are_the_bytes_beside_floats() {
        let (of, places) = (24, 7);
        let mut random = Random::new(9);
        let mut sums: Vec<i32> = (0..places * 2 * LANES).map(|_| random.range(-40_000.0, 40_000.0) as i32).collect();
        sums[..4].copy_from_slice(&[i32::MIN, i32::MAX, 0, 1]);
        let [mut scale, mut bias] =
            [(0.001, 0.02), (-9.0, 9.0)].map(|(a, b)| (0..of).map(|_| random.range(a, b)).collect::<Vec<f32>>());
        (scale[5], bias[6], bias[7]) = (1e30, f32::NAN, f32::NEG_INFINITY);
        let offset = vec![0; of];
        let target = Target { channel: 0, channels: of, width: 2 * LANES, of, places, at: 0, before: 0 };
        let none = (f32::NEG_INFINITY, f32::INFINITY);
        for (zero, range, (low, high)) in [
            (0, (0, 255), (0.0, f32::INFINITY)),
            (0, (0, 255), (0.0, 6.0)),
            (117, (0, 255), none),
            (117, (0, 255), (-2.0, 3.0)),
            (255, (0, 255), none),
            (-5, (-128, 127), none),
        ] {
            let rounding = Rounding { inverse: 255.0 / 6.0, zero, range };
            let how = Finish { low, high, rounding, ..Finish::scaled(&offset, &scale, &bias) };
            let (mut floats, mut expected) = (vec![0.0; places * of], vec![0; places * of]);
            finish(Isa::Plain, &sums, target, &how, &mut Sink::Both(&mut floats, &mut expected));
            for isa in Isa::all() {
                let mut alone = vec![0; places * of];
                finish(isa, &sums, target, &how, &mut Sink::Bytes(&mut alone));
                assert_eq!(alone, expected, "{isa:?} {zero} {low} {high}");
            }
        }
    }
}
