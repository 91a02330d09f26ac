use super::moments::{Collector, Demand, Moments, Weights};
use super::reading::{Reading, Way};
use super::reading_tests::model;
use crate::engine::graph::{Channels, layers};
use crate::engine::random::Random;

/// How images of a layer are read: by lags, by rows, or place by place.
#[derive(Debug, PartialEq)]
enum Kind {
    Lags,
    Rows,
    Places,
}

/// Operator, shape of the weights, attributes, shapes of the batches (channels second), how they are read.
type Case = (&'static str, &'static [usize], &'static [(&'static str, &'static [i64])], &'static [&'static [usize]], Kind);

const CASES: [Case; 15] = [
    ("Conv", &[4, 3, 3, 3], &[("pads", &[1, 1, 1, 1])], &[&[3, 3, 8, 9], &[2, 3, 8, 9]], Kind::Lags),
    ("Conv", &[4, 3, 3, 3], &[("pads", &[1, 1, 1, 1])], &[&[2, 3, 8, 9], &[2, 3, 10, 8]], Kind::Lags),
    ("Conv", &[2, 9, 5, 5], &[("pads", &[2, 2, 2, 2])], &[&[2, 9, 12, 14]], Kind::Lags),
    ("Conv", &[4, 3, 3, 3], &[], &[&[2, 3, 20, 20]], Kind::Lags),
    ("Conv", &[4, 3, 3, 3], &[("pads", &[0, 1, 3, 2])], &[&[1, 3, 9, 9]], Kind::Lags),
    ("Conv", &[4, 3, 3, 3], &[("dilations", &[2, 2]), ("pads", &[2, 2, 2, 2])], &[&[1, 3, 16, 16]], Kind::Lags),
    ("Conv", &[4, 3, 5], &[("pads", &[2, 2])], &[&[2, 3, 30]], Kind::Lags),
    ("Conv", &[4, 3, 3, 3], &[("strides", &[2, 2]), ("pads", &[1, 1, 1, 1])], &[&[2, 3, 8, 9]], Kind::Places),
    ("Conv", &[6, 1, 3, 3], &[("group", &[3]), ("pads", &[1, 1, 1, 1])], &[&[2, 3, 7, 5]], Kind::Places),
    ("Conv", &[4, 3, 3, 3], &[("pads", &[1, 1, 1, 1])], &[&[2, 3, 2, 1]], Kind::Lags),
    ("Conv", &[2, 2, 5, 5], &[], &[&[2, 2, 7, 6]], Kind::Places),
    ("Conv", &[2, 2, 2, 2, 2], &[], &[&[1, 2, 3, 4, 3]], Kind::Places),
    ("ConvTranspose", &[3, 4, 3, 3], &[("strides", &[2, 2])], &[&[2, 3, 4, 3]], Kind::Places),
    ("Conv", &[4, 5, 1, 1], &[], &[&[2, 5, 6, 7]], Kind::Rows),
    ("MatMul", &[5, 3], &[], &[&[2, 4, 5]], Kind::Rows),
];

/// The same, place by place.
fn plain(reading: &Reading, group: usize, rows: &[f32], batches: &[(Reading, Vec<f32>, Vec<f32>)]) -> Moments {
    let k = reading.width();
    let mut sums = Moments { width: k, gram: vec![0.0; k * k], cross: vec![0.0; k * k], ..Moments::default() };
    (sums.mean, sums.made_mean) = (vec![0.0; k], vec![0.0; k]);
    (sums.output_mean, sums.output_square) = (vec![0.0; rows.len() / k], vec![0.0; rows.len() / k]);
    let n = batches.iter().map(|b| b.0.places()).sum::<usize>() as f64;
    let (mut x, mut made) = (vec![0.0; k], vec![0.0; k]);
    for (reading, original, compressed) in batches {
        for place in 0..reading.places() {
            reading.place(original, group, place, &mut x);
            reading.place(compressed, group, place, &mut made);
            for i in 0..k {
                sums.mean[i] += f64::from(x[i]) / n;
                sums.made_mean[i] += f64::from(made[i]) / n;
                for j in 0..k {
                    sums.gram[i * k + j] += f64::from(made[i]) * f64::from(made[j]) / n;
                    sums.cross[i * k + j] += f64::from(x[i]) * f64::from(made[j]) / n;
                }
            }
            for (row, w) in rows.chunks(k).enumerate() {
                let y: f64 = w.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                sums.output_mean[row] += y / n;
                sums.output_square[row] += y * y / n;
            }
        }
    }
    sums.count = n as usize;
    sums
}

#[test]
fn moments_are_those_of_all_places_one_by_one() {
    let mut random = Random::new(4);
    for (op, weight, attributes, shapes, kind) in CASES {
        let model = model(op, weight, attributes);
        let layer = layers(&model).remove(0);
        let rows = Channels::new(&layer.shape, layer.out_axis).gather(&model.constants["w"].to_f32().unwrap());
        let mut values = |shape: &[usize]| -> Vec<f32> { (0..shape.iter().product()).map(|_| random.normal() + 0.5).collect() };
        let batches: Vec<(Reading, Vec<f32>, Vec<f32>)> = shapes
            .iter()
            .map(|shape| (Reading::of(&layer, &model.nodes[0], shape).unwrap(), values(shape), values(shape)))
            .collect();
        let reading = &batches[0].0;
        let found = match reading.way() {
            Way::Rows => Kind::Rows,
            Way::Steps(..) => Kind::Lags,
            Way::Scattered => Kind::Places,
        };
        assert_eq!(found, kind, "{op} {weight:?} {attributes:?}");
        let weights = Weights { rows: &rows, tall: layer.out_channels() / reading.groups(), width: reading.width() };
        let demand = Demand { gram: true, cross: true, outputs: true, samples: 0 };
        let mut collector = Collector::new(weights, reading.groups(), demand);
        batches.iter().for_each(|(reading, x, made)| collector.add(reading, x, made));
        for (group, made) in collector.finish().iter().enumerate() {
            let exact =
                plain(reading, group, &rows[group * weights.tall * weights.width..][..weights.tall * weights.width], &batches);
            let near = |what: &str, made: &[f64], exact: &[f64]| {
                assert_eq!(made.len(), exact.len(), "{what}");
                for (i, (a, b)) in made.iter().zip(exact).enumerate() {
                    assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{op} {weight:?} {attributes:?}: {what} {i}: {a} {b}");
                }
            };
            assert_eq!(made.count, exact.count);
            near("mean", &made.mean, &exact.mean);
            near("mean of what is made", &made.made_mean, &exact.made_mean);
            near("gram", &made.gram, &exact.gram);
            near("cross", &made.cross, &exact.cross);
            near("output mean", &made.output_mean, &exact.output_mean);
            near("output square", &made.output_square, &exact.output_square);
        }
    }
}
