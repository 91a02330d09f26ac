use super::moments::{Beside, Collector, Demand, Moments, Readings, Weights};
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
        let mut collector = Collector::new(weights, (reading.groups(), reading.width()), false, demand);
        for (reading, x, made) in &batches {
            collector.add(Readings { made: reading, original: reading, groups: None, beside: None }, x, made);
        }
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

/// Mean of the products of two values at the same places.
fn mean_product(a: impl Iterator<Item = f32>, b: impl Iterator<Item = f32>) -> f64 {
    let products: Vec<f64> = a.zip(b).map(|(a, b)| f64::from(a) * f64::from(b)).collect();
    products.iter().sum::<f64>() / products.len() as f64
}

/// A layer of 3 → 4 channels of which input 1 and output 2 were lost, by lags, place by place and by rows.
#[test]
fn where_channels_were_lost_outputs_are_held_against_what_is_left() {
    let left = [0, 1, 3];
    let padded: (usize, &[(&str, &[i64])]) = (3, &[("pads", &[1, 1, 1, 1])]);
    let halved: (usize, &[(&str, &[i64])]) = (3, &[("strides", &[2, 2]), ("pads", &[1, 1, 1, 1])]);
    for (side, attributes) in [padded, halved, (1, &[])] {
        let mut random = Random::new(9);
        let mut values = |count: usize| -> Vec<f32> { (0..count).map(|_| random.normal() + 0.5).collect() };
        let (before, after) = (model("Conv", &[4, 3, side, side], attributes), model("Conv", &[3, 2, side, side], attributes));
        let (layer_before, layer) = (layers(&before).remove(0), layers(&after).remove(0));
        let original = Reading::of(&layer_before, &before.nodes[0], &[2, 3, 40, 30]).unwrap();
        let reading = Reading::of(&layer, &after.nodes[0], &[2, 2, 40, 30]).unwrap();
        let (places, plane, taps) = (reading.places(), reading.plane(), side * side);
        let (x, made) = (values(2 * 3 * 40 * 30), values(2 * 2 * 40 * 30));
        let (beside_before, beside_made) = (values(4 * places), values(3 * places));
        let rows = values(3 * 3 * taps);
        let weights = Weights { rows: &rows, tall: 3, width: 3 * taps };
        let demand = Demand { gram: true, cross: true, outputs: false, samples: 0 };
        let mut collector = Collector::new(weights, (1, 2 * taps), true, demand);
        let beside = Beside { original: &beside_before, made: &beside_made, channels: 4, left: &left, plane };
        let readings = Readings { made: &reading, original: &original, groups: Some(&[0]), beside: Some(beside) };
        collector.add(readings, &x, &made);
        let moments = collector.finish().remove(0);

        let seen = |reading: &Reading, data: &[f32]| -> Vec<Vec<f32>> {
            let mut row = vec![0.0; reading.width()];
            (0..places)
                .map(|place| {
                    reading.place(data, 0, place, &mut row);
                    row.clone()
                })
                .collect()
        };
        let (xs, mades) = (seen(&original, &x), seen(&reading, &made));
        let at = |place: usize, channels: usize, channel: usize| (place / plane * channels + channel) * plane + place % plane;
        let output = |row: usize, place: usize| {
            let product: f32 = rows[row * 3 * taps..].iter().zip(&xs[place]).map(|(w, x)| w * x).sum();
            product + beside_before[at(place, 4, left[row])] - beside_made[at(place, 3, row)]
        };
        let near = |what: &str, a: f64, b: f64| assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{attributes:?} {what}: {a} {b}");
        let column = |j: usize| mades.iter().map(move |row| row[j]);
        for row in 0..3 {
            let outputs = || (0..places).map(|place| output(row, place));
            near("output mean", moments.output_mean[row], mean_product(outputs(), std::iter::repeat(1.0)));
            near("output square", moments.output_square[row], mean_product(outputs(), outputs()));
            for j in 0..2 * taps {
                near("towards", moments.towards[row * 2 * taps + j], mean_product(outputs(), column(j)));
            }
        }
        for i in 0..2 * taps {
            near("mean", moments.made_mean[i], mean_product(column(i), std::iter::repeat(1.0)));
            for j in 0..2 * taps {
                near("gram", moments.gram[i * 2 * taps + j], mean_product(column(i), column(j)));
            }
        }
        assert!(moments.is_cut && moments.mean == moments.made_mean && moments.cross == moments.gram);
    }
}
