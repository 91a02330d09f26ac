//! What holds for every format, reference values of other tools, and input that means no good.

mod extremes;
mod importance;
mod observers;
mod oracles;
mod properties;

use super::*;
use crate::engine::random::Random;

fn ctx() -> Ctx {
    Ctx::new(2).unwrap()
}

fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.normal()).collect()
}

fn integer(bits: u8, symmetry: Symmetry, granularity: Granularity) -> Format {
    Format::Integer(Integer { bits, symmetry, granularity, scales: ScaleType::F32 })
}

fn scalar(bits: u8, fit: Fit, zeros: Zeros) -> Codebook {
    Codebook { bits, scope: Scope::Layer, entries: Entries::Scalar { fit, zeros } }
}

/// Formats of every kind, each with the signal-to-noise ratios (dB) that normal weights may have in it:
/// one that does nothing has too high a ratio, one that loses too much too low a one.
fn all() -> Vec<(Format, std::ops::Range<f64>)> {
    use Symmetry::{Asymmetric, Full, Restricted};
    let mut all = Vec::new();
    for bits in 2..=8 {
        // Six decibels per bit, less what min–max ranges of 192 normal weights cost.
        let ideal = 6.02 * f64::from(bits) - 5.5;
        all.push((integer(bits, Asymmetric, Granularity::Channel), ideal - 3.0..ideal + 3.5));
        all.push((integer(bits, Full, Granularity::Channel), ideal - 3.0..ideal + 3.0));
        all.push((integer(bits, Restricted, Granularity::Channel), ideal - if bits < 4 { 7.0 } else { 3.0 }..ideal + 3.0));
    }
    let micro = |micro, low, high| (Format::Micro(micro), low..high);
    let book = |bits, fit, zeros, low: f64, high: f64| (Format::Codebook(scalar(bits, fit, zeros)), low..high);
    all.extend([
        (integer(1, Asymmetric, Granularity::Channel), 0.0..6.0),
        (integer(16, Restricted, Granularity::Channel), 86.0..94.0),
        (integer(16, Asymmetric, Granularity::Tensor), 70.0..94.0),
        (integer(8, Restricted, Granularity::Tensor), 30.0..44.0),
        (integer(4, Restricted, Granularity::Group(32)), 19.0..24.0),
        (integer(4, Asymmetric, Granularity::Group(50)), 19.0..25.0),
        (integer(4, Full, Granularity::Block { rows: 3, cols: 48 }), 14.0..24.0),
        (
            Format::Integer(Integer {
                bits: 4,
                symmetry: Asymmetric,
                granularity: Granularity::Group(32),
                scales: ScaleType::F16,
            }),
            20.0..26.0,
        ),
        (
            Format::Integer(Integer {
                bits: 8,
                symmetry: Full,
                granularity: Granularity::Channel,
                scales: ScaleType::PowerOfTwo,
            }),
            36.0..44.0,
        ),
        (
            Format::Integer(Integer {
                bits: 5,
                symmetry: Asymmetric,
                granularity: Granularity::Group(16),
                scales: ScaleType::PowerOfTwo,
            }),
            24.0..32.0,
        ),
        (Format::Float(Float::F16), 68.0..78.0),
        (Format::Float(Float::BF16), 50.0..58.0),
        (Format::Float(Float::Fp8 { kind: Fp8::E4M3, scale: Fp8Scale::Tensor }), 29.0..34.0),
        (Format::Float(Float::Fp8 { kind: Fp8::E4M3, scale: Fp8Scale::Channel }), 29.0..34.0),
        (Format::Float(Float::Fp8 { kind: Fp8::E5M2, scale: Fp8Scale::Channel }), 23.0..28.0),
        micro(Micro::MxFp4, 16.0, 20.5),
        micro(Micro::MxFp6E2M3, 29.0, 33.0),
        micro(Micro::MxFp6E3M2, 23.0, 28.0),
        micro(Micro::MxFp8E4M3, 29.0, 33.0),
        micro(Micro::MxFp8E5M2, 23.0, 28.0),
        micro(Micro::MxInt8, 38.0, 45.0),
        micro(Micro::NvFp4, 18.5, 22.5),
        (Format::Normal(NormalScales::F32), 19.0..22.0),
        (Format::Normal(NormalScales::Double), 19.0..22.0),
        book(1, Fit::Exact, Zeros::Shared, 3.0, 5.5),
        book(3, Fit::Exact, Zeros::Shared, 12.5, 15.5),
        book(4, Fit::Exact, Zeros::Apart, 17.0, 21.5),
        book(4, Fit::Lloyd, Zeros::Shared, 17.0, 22.0),
        book(8, Fit::Lloyd, Zeros::Shared, 36.0, 50.0),
        book(4, Fit::EqualMass, Zeros::Shared, 12.0, 19.0),
        book(4, Fit::PowerOfTwo, Zeros::Shared, 11.0, 17.0),
        book(4, Fit::PowerOfTwo, Zeros::Apart, 11.0, 17.0),
        (Format::Codebook(Codebook { scope: Scope::Channels(2), ..scalar(3, Fit::Exact, Zeros::Shared) }), 13.0..17.0),
        (Format::Codebook(Codebook { bits: 8, scope: Scope::Layer, entries: Entries::Pair }), 22.0..29.0),
        (Format::Codebook(Codebook { bits: 6, scope: Scope::Channels(4), entries: Entries::Quad }), 7.0..13.0),
        (Format::Ternary(Sharing::Layer), 5.5..8.0),
        (Format::Ternary(Sharing::Filter), 5.5..8.0),
        (Format::Binary, 3.5..5.5),
    ]);
    all
}
