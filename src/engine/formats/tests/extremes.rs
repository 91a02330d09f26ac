use super::*;

fn approximate(format: Format, values: &[f32], rows: usize) -> Vec<f32> {
    let matrix = Matrix::new(values, rows, values.len() / rows).unwrap();
    format.encode(&matrix, &How::default(), &ctx()).unwrap_or_else(|e| panic!("{format}: {e}")).decode(&ctx())
}

#[test]
fn zeros_stay_zeros() {
    for (format, _) in all() {
        assert!(approximate(format, &[0.0; 96], 2).iter().all(|v| *v == 0.0), "{format}");
    }
}

#[test]
fn a_constant_stays_about_itself() {
    for (format, _) in all() {
        for constant in [0.37_f32, -12.5] {
            for value in approximate(format, &[constant; 96], 3) {
                let one_bit = matches!(format, Format::Integer(Integer { bits: 1, .. }));
                // A power of two is at most a third of the value away from it; a coarse scale as well.
                assert!(one_bit || (value / constant - 1.0).abs() < 0.34, "{format}: {constant} became {value}");
            }
        }
    }
}

#[test]
fn the_tiniest_and_the_largest_numbers_stay_finite() {
    let tiny: Vec<f32> = (0..96).map(|i| f32::from_bits(i * 77) * if i % 3 == 0 { -1.0 } else { 1.0 }).collect();
    let huge: Vec<f32> = normal(96, 1).iter().map(|v| (v * 2e38).clamp(f32::MIN, f32::MAX)).collect();
    let mixed: Vec<f32> = (0..96).map(|i| if i == 40 { f32::MAX } else { 1e-42 * i as f32 }).collect();
    for (format, _) in all() {
        let small_scales = matches!(format, Format::Integer(Integer { scales: ScaleType::F16, .. }));
        for values in [&tiny, &huge, &mixed] {
            if small_scales && values != &tiny {
                let matrix = Matrix::new(values, 2, 48).unwrap();
                let refused = format.encode(&matrix, &How::default(), &ctx());
                assert!(matches!(refused, Err(FormatError::ScaleTooLarge { .. })), "{format}");
                continue;
            }
            for (x, y) in values.iter().zip(approximate(format, values, 2)) {
                assert!(y.is_finite(), "{format}: {x} became {y}");
            }
        }
        // Not all is lost where the numbers are huge.
        if !small_scales && !matches!(format, Format::Float(Float::F16) | Format::Integer(Integer { bits: 1, .. })) {
            let (mut signal, mut error) = (0.0, 0.0);
            for (x, y) in huge.iter().zip(approximate(format, &huge, 2)) {
                signal += (f64::from(*x) * 1e-38).powi(2);
                error += ((f64::from(*x) - f64::from(y)) * 1e-38).powi(2);
            }
            assert!(error < 0.7 * signal, "{format}: {error} of {signal}");
        }
    }
}

#[test]
fn every_observer_copes_with_them() {
    let tiny: Vec<f32> = (0..96).map(|i| f32::from_bits(i * 77)).collect();
    let huge: Vec<f32> = normal(96, 1).iter().map(|v| (v * 2e38).clamp(f32::MIN, f32::MAX)).collect();
    let observers = [
        Observer::MovingAverage,
        Observer::Percentile(99.0),
        Observer::Entropy,
        Observer::MSE,
        Observer::Grid { exponent: 2.4 },
        Observer::Histogram,
        Observer::Gaussian,
        Observer::HalfQuadratic,
    ];
    for range in observers {
        for symmetry in [Symmetry::Restricted, Symmetry::Full, Symmetry::Asymmetric] {
            for values in [&tiny, &huge, &vec![0.0; 96], &vec![1.5; 96], &vec![-1.5; 96]] {
                let matrix = Matrix::new(values, 2, 48).unwrap();
                let format = integer(4, symmetry, Granularity::Channel);
                let encoded = format.encode(&matrix, &How { range, ..How::default() }, &ctx()).unwrap();
                assert!(encoded.decode(&ctx()).iter().all(|v| v.is_finite()), "{range:?} {symmetry:?}");
            }
        }
    }
}

#[test]
fn what_is_no_number_is_refused_with_its_place() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = vec![1.0; 200_000];
        values[123_456] = bad;
        let matrix = Matrix::new(&values, 200, 1000).unwrap();
        let named = |found: &FormatError| matches!(found, FormatError::NotFinite { row: 123, col: 456, .. });
        for granularity in [Granularity::Channel, Granularity::Tensor, Granularity::Block { rows: 2, cols: 8 }] {
            let format = integer(8, Symmetry::Restricted, granularity);
            let (how, mut out) = (How::default(), vec![0.0; values.len()]);
            assert!(named(&format.encode(&matrix, &how, &ctx()).unwrap_err()), "{format} of {bad}");
            assert!(named(&format.approximate(&matrix, &how, &ctx(), &mut out).unwrap_err()), "{format} of {bad}");
        }
        let float = Format::Float(Float::F16);
        assert!(named(&float.approximate(&matrix, &How::default(), &ctx(), &mut vec![0.0; values.len()]).unwrap_err()));
    }
    assert!(matches!(Matrix::new(&[1.0; 5], 2, 3), Err(FormatError::Shape { given: 5, rows: 2, cols: 3 })));
    assert!(matches!(Matrix::new(&[], usize::MAX, usize::MAX), Err(FormatError::TooLarge { .. })));
}

#[test]
fn settings_without_sense_are_refused() {
    let refused = |format: Format| matches!(format.bytes(4, 4), Err(FormatError::Impossible { .. }));
    assert!(refused(integer(9, Symmetry::Full, Granularity::Tensor)));
    assert!(refused(integer(0, Symmetry::Asymmetric, Granularity::Tensor)));
    assert!(refused(integer(1, Symmetry::Full, Granularity::Tensor)));
    assert!(refused(integer(4, Symmetry::Full, Granularity::Group(0))));
    assert!(refused(integer(4, Symmetry::Full, Granularity::Block { rows: 2, cols: 0 })));
    assert!(refused(Format::Codebook(scalar(0, Fit::Exact, Zeros::Shared))));
    assert!(refused(Format::Codebook(scalar(9, Fit::Exact, Zeros::Shared))));
    assert!(refused(Format::Codebook(Codebook { scope: Scope::Channels(0), ..scalar(2, Fit::Exact, Zeros::Shared) })));
    assert!(matches!(Format::per_channel(8).bytes(usize::MAX, 2), Err(FormatError::TooLarge { .. })));
    assert!(Observer::Percentile(0.0).validate().is_err() && Observer::Percentile(f32::NAN).validate().is_err());
    let how = How { range: Observer::Grid { exponent: -1.0 }, ..How::default() };
    let matrix = Matrix::new(&[1.0], 1, 1).unwrap();
    assert!(matches!(Format::per_channel(4).encode(&matrix, &how, &ctx()), Err(FormatError::Impossible { .. })));
}

#[test]
fn a_group_longer_than_the_row_is_the_row() {
    let values = normal(5 * 9, 2);
    let channel = approximate(Format::per_channel(4), &values, 5);
    assert_eq!(approximate(integer(4, Symmetry::Restricted, Granularity::Group(128)), &values, 5), channel);
    let block = Granularity::Block { rows: 1, cols: usize::MAX };
    assert_eq!(approximate(integer(4, Symmetry::Restricted, block), &values, 5), channel);
}

#[test]
fn foreign_bytes_do_no_harm() {
    let mut random = Random::new(5);
    for (format, _) in all() {
        let (rows, cols) = (5, 70);
        let storage = format.bytes(rows, cols).unwrap();
        let mut bytes = |count: u64| (0..count).map(|_| random.next_u64() as u8).collect::<Vec<u8>>();
        let parts = Parts {
            values: bytes(storage.values + storage.padding),
            scales: bytes(storage.scales),
            zero_points: bytes(storage.zero_points),
            codebook: bytes(storage.codebook),
        };
        let shape = Shape::new(rows, cols).unwrap();
        let encoded = Encoded::new(format, shape, parts.clone()).unwrap();
        assert_eq!(encoded.decode(&ctx()).len(), rows * cols, "{format}");
        let _ = encoded.levels(4, 69);
        assert!(encoded.levels(5, 0).is_empty());
        let short = Parts { values: parts.values[1..].to_vec(), ..parts };
        assert!(matches!(Encoded::new(format, shape, short), Err(FormatError::Damaged { part: "values", .. })), "{format}");
    }
}

#[test]
fn it_can_be_cancelled() {
    let values = normal(64, 3);
    let matrix = Matrix::new(&values, 8, 8).unwrap();
    let ctx = ctx();
    ctx.cancel();
    for (format, _) in all() {
        assert!(matches!(format.encode(&matrix, &How::default(), &ctx), Err(FormatError::Cancelled(_))), "{format}");
    }
}
