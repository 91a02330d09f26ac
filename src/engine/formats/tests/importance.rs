use super::*;

const ROWS: usize = 6;
const COLS: usize = 256;

/// Formats that errors can be weighed in, with the way their ranges are chosen.
fn weighing() -> Vec<(Format, Observer)> {
    let grid = |exponent| Observer::Grid { exponent };
    let mut all = vec![
        (Format::per_channel(4), grid(2.0)),
        (Format::per_channel(3), grid(2.4)),
        (integer(4, Symmetry::Asymmetric, Granularity::Group(50)), grid(2.0)),
        (integer(4, Symmetry::Full, Granularity::Tensor), grid(2.0)),
        (integer(3, Symmetry::Asymmetric, Granularity::Block { rows: 4, cols: 100 }), grid(2.0)),
        (Format::Codebook(scalar(3, Fit::Exact, Zeros::Shared)), Observer::MinMax),
        (Format::Codebook(scalar(2, Fit::Lloyd, Zeros::Apart)), Observer::MinMax),
        (Format::Codebook(Codebook { scope: Scope::Channels(2), ..scalar(3, Fit::Exact, Zeros::Shared) }), Observer::MinMax),
    ];
    all.extend(BlockFormat::ALL.into_iter().filter(|f| f.uses_importance()).map(|f| (Format::Block(f), Observer::MinMax)));
    all
}

/// Two runs of rows, in each of which every seventh column counts much more; never the same one.
fn importance() -> Vec<f32> {
    (0..2 * COLS).map(|at| if (at % COLS + 3 * (at / COLS)).is_multiple_of(7) { 50.0 } else { 0.1 }).collect()
}

fn decoded(format: Format, values: &[f32], range: Observer, importance: Option<Importance<'_>>) -> Vec<f32> {
    let matrix = Matrix::new(values, ROWS, COLS).unwrap();
    let how = How { range, importance, ..How::default() };
    let decoded = format.encode(&matrix, &how, &ctx()).unwrap().decode(&ctx());
    let mut at_once = vec![0.0; values.len()];
    format.approximate(&matrix, &how, &ctx(), &mut at_once).unwrap();
    assert_eq!(decoded, at_once, "{format}");
    decoded
}

#[test]
fn what_counts_more_errs_less() {
    let (values, importance) = (normal(ROWS * COLS, 21), importance());
    let error = |decoded: &[f32]| -> f64 {
        let counts = |at: usize| f64::from(importance[at / COLS / (ROWS / 2) * COLS + at % COLS]);
        values.iter().zip(decoded).enumerate().map(|(at, (x, y))| counts(at) * f64::from(x - y).powi(2)).sum()
    };
    for (format, range) in weighing() {
        assert!(format.weighs(range), "{format}");
        let with = error(&decoded(format, &values, range, Some(Importance::new(&importance, 2))));
        let without = error(&decoded(format, &values, range, None));
        assert!(with < without, "{format}: {with} {without}");
        assert!(with > 0.0);
    }
}

#[test]
fn what_counts_alike_changes_nothing_else() {
    let values = normal(ROWS * COLS, 22);
    for (format, range) in weighing().into_iter().filter(|(f, _)| !matches!(f, Format::Block(_))) {
        let alike = vec![3.0; 3 * COLS];
        let with = decoded(format, &values, range, Some(Importance::new(&alike, 3)));
        assert_eq!(with, decoded(format, &values, range, None), "{format}");
        // Nothing was ever seen: every column counts alike as well.
        let nothing = vec![0.0; COLS];
        assert_eq!(with, decoded(format, &values, range, Some(Importance::new(&nothing, 1))), "{format}");
    }
    // The others have no use for it.
    let importance = importance();
    for (format, _) in all() {
        if !format.weighs(Observer::MinMax) {
            let with = decoded(format, &values, Observer::MinMax, Some(Importance::new(&importance, 2)));
            assert_eq!(with, decoded(format, &values, Observer::MinMax, None), "{format}");
        }
    }
}

#[test]
fn columns_that_were_never_seen_still_count_a_little() {
    let values = normal(ROWS * COLS, 23);
    let mut importance = vec![0.0; COLS];
    importance[..8].fill(1e-30);
    for (format, range) in weighing() {
        let decoded = decoded(format, &values, range, Some(Importance::new(&importance, 1)));
        let error: f32 = values.iter().zip(&decoded).map(|(x, y)| (x - y).powi(2)).sum();
        assert!(error.is_finite() && error < 0.5 * values.iter().map(|x| x * x).sum::<f32>(), "{format}: {error}");
    }
}

#[test]
fn importance_that_does_not_fit_is_refused() {
    let values = normal(ROWS * COLS, 24);
    let matrix = Matrix::new(&values, ROWS, COLS).unwrap();
    let refused = |values: &[f32], runs| {
        let how = How { importance: Some(Importance::new(values, runs)), range: Observer::MSE, ..How::default() };
        Format::per_channel(4).encode(&matrix, &how, &ctx()).unwrap_err().to_string()
    };
    assert!(refused(&vec![1.0; COLS - 1], 1).contains("do not fit"));
    assert!(refused(&vec![1.0; 4 * COLS], 4).contains("do not fit"), "six rows are no four runs");
    let mut bad = vec![1.0; COLS];
    bad[9] = f32::NAN;
    assert!(refused(&bad, 1).contains("column 9"));
    bad[9] = -1.0;
    assert!(refused(&bad, 1).contains("not negative"));
}
