//! Number formats on 16 million weights; beside those that only move memory, a copy of the same memory.

use super::{Amount, Case, Work, normal};
use lapidary::engine::formats::observe::{Accumulator, Histogram, Observer, absmax};
use lapidary::engine::formats::{Codebook, Encoded, Entries, Fit, Float, Format, How, Matrix, Micro, NormalScales, Scope, Zeros};
use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

const ROWS: usize = 1 << 12;
const COLS: usize = 1 << 12;

fn copy(weights: &Rc<Vec<f32>>) -> Box<dyn Fn()> {
    let (weights, out) = (Rc::clone(weights), RefCell::new(vec![0.0; weights.len()]));
    Box::new(move || out.borrow_mut().copy_from_slice(black_box(&weights)))
}

/// Quantized and dequantized in one go.
fn both_ways(name: &str, format: Format, range: Observer, weights: &Rc<Vec<f32>>) -> Case {
    let (held, out) = (Rc::clone(weights), RefCell::new(vec![0.0; weights.len()]));
    let call = move |ctx: &lapidary::engine::Ctx| {
        let values = &held[..];
        let matrix = ctx.pool().install(|| Matrix::new(values, ROWS, COLS)).unwrap();
        format.approximate(&matrix, &How { range, ..How::default() }, ctx, &mut out.borrow_mut()).unwrap();
    };
    let amount = Amount::Bytes(8.0 * weights.len() as f64);
    Case { name: name.to_owned(), amount, work: Work::Call(Box::new(call)), plain: Some(copy(weights)) }
}

fn encode(format: Format, rows: usize, weights: &Rc<Vec<f32>>) -> Case {
    let held = Rc::clone(weights);
    let call = move |ctx: &lapidary::engine::Ctx| {
        let matrix = Matrix::new(&held[..rows * COLS], rows, COLS).unwrap();
        let encoded: Encoded = format.encode(&matrix, &How::default(), ctx).unwrap();
        black_box(encoded);
    };
    let amount = Amount::Operations((rows * COLS) as f64);
    Case { name: format!("{format}, {rows}×{COLS}"), amount, work: Work::Call(Box::new(call)), plain: None }
}

fn watch(name: &str, weights: &Rc<Vec<f32>>, watch: impl Fn(&[f32]) + Send + Sync + 'static) -> Case {
    let held = Rc::clone(weights);
    let call = move |ctx: &lapidary::engine::Ctx| {
        let values = &held[..];
        ctx.pool().install(|| watch(values));
    };
    let amount = Amount::Operations(weights.len() as f64);
    Case { name: name.to_owned(), amount, work: Work::Call(Box::new(call)), plain: Some(copy(weights)) }
}

pub fn cases() -> Vec<Case> {
    let weights = Rc::new(normal(ROWS * COLS, 9));
    let largest = absmax(&weights);
    let book = |bits, fit| Codebook { bits, scope: Scope::Layer, entries: Entries::Scalar { fit, zeros: Zeros::Shared } };
    vec![
        both_ways("int8 both ways", Format::per_channel(8), Observer::MinMax, &weights),
        both_ways("int4 least squares", Format::per_channel(4), Observer::MSE, &weights),
        watch("histogram", &weights, move |values| {
            let mut histogram = Histogram::default();
            histogram.add(values, largest);
            black_box(histogram);
        }),
        watch("observe", &weights, |values| {
            let mut seen = Accumulator::default();
            seen.add(values);
            black_box(seen);
        }),
        encode(Format::Codebook(book(4, Fit::Exact)), ROWS / 16, &weights),
        encode(Format::Codebook(book(4, Fit::Lloyd)), ROWS / 16, &weights),
        encode(Format::per_channel(4), ROWS, &weights),
        encode(Format::Float(Float::F16), ROWS, &weights),
        encode(Format::Micro(Micro::MxFp4), ROWS, &weights),
        encode(Format::Normal(NormalScales::F32), ROWS, &weights),
    ]
}
