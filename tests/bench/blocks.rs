//! Block formats beside candle's quantizers of the same names, on as many threads: 16 M weights.

use super::{Amount, best, normal};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use lapidary::engine::Ctx;
use lapidary::engine::formats::blocks::BlockFormat;
use std::hint::black_box;

const COUNT: usize = 1 << 24;
const COLS: usize = 4096;

const PAIRS: [(BlockFormat, GgmlDType); 4] = [
    (BlockFormat::Q4K, GgmlDType::Q4K),
    (BlockFormat::Q6K, GgmlDType::Q6K),
    (BlockFormat::Q4_0, GgmlDType::Q4_0),
    (BlockFormat::Q8_0, GgmlDType::Q8_0),
];

/// One line per format whose line is wanted.
pub fn measure(contexts: &[Ctx], wanted: impl Fn(&str) -> bool) {
    for (format, candle) in PAIRS {
        let name = format!("{format}, 16 M weights");
        if !wanted(&name) {
            continue;
        }
        let values = normal(COUNT, 1);
        let tensor = Tensor::from_slice(&values, (COUNT / COLS, COLS), &Device::Cpu).unwrap();
        let mut out = vec![0; usize::try_from(format.bytes(COUNT / COLS, COLS).unwrap()).unwrap()];
        let amount = Amount::Bytes(4.0 * COUNT as f64);
        let mut text = format!("{name:32}");
        for ctx in contexts {
            let (ours, theirs) = ctx.pool().install(|| {
                let ours = best(&mut || format.quantize(black_box(&values), COLS, None, &mut out).unwrap());
                (ours, best(&mut || drop(black_box(QTensor::quantize(&tensor, candle)))))
            });
            text += &format!(" {} ({:.1} × candle)", amount.rate(ours), theirs / ours);
        }
        println!("{text}");
    }
}
