use super::lanes::{Lanes, gather, nearest};
use super::search::{self, Loss, Tries};
use super::{BlockFormat, FormatError};
use crate::engine::random::Random;
use sha2::{Digest, Sha256};

/// Two rows of cubes: exact in f32, asymmetric, of different size.
fn oracle_rows() -> Vec<f32> {
    let row: Vec<f32> = (0..256).map(|i| ((37 * i + 11) % 256 - 128) as f32 / 128.0).map(|t| t * t * t).collect();
    row.iter().copied().chain(row.iter().map(|v| v / 4.0)).collect()
}

fn oracle_importance() -> Vec<f32> {
    (0..256).map(|j| ((29 * j + 7) % 64 + 1) as f32 / 64.0).collect()
}

fn quantized(format: BlockFormat, values: &[f32], cols: usize, importance: Option<&[f32]>) -> Vec<u8> {
    let mut out = vec![0xAA; format.bytes(values.len() / cols, cols).unwrap() as usize];
    format.quantize(values, cols, importance, &mut out).unwrap();
    out
}

fn decoded(format: BlockFormat, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![f32::NAN; bytes.len() / format.block_bytes() * format.block_len()];
    format.dequantize(bytes, &mut out).unwrap();
    out
}

fn rmse(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (sum / a.len() as f64).sqrt()
}

fn prefix(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).fold(String::new(), |text, b| text + &format!("{b:02x}"))
}

/// Format, SHA-256 without and with importance, root mean square error without: what ggml's C code gives.
const ORACLE: [(BlockFormat, &str, &str, f64); 15] = [
    (BlockFormat::Q4_0, "0ef08a961b01e762", "a11081cc1960dddf", 0.021831661462783813),
    (BlockFormat::Q4_1, "031f0740a868d34e", "311018c740f85620", 0.02403886616230011),
    (BlockFormat::Q5_0, "8fb7a9339de11f1f", "f21de421b171a51c", 0.010961754247546196),
    (BlockFormat::Q5_1, "7c532aa5696b9e1c", "5d4e70fc77837ae0", 0.010810197331011295),
    (BlockFormat::Q8_0, "7a0d08ba0a6fa37d", "7a0d08ba0a6fa37d", 0.0013832811964675784),
    (BlockFormat::Q2K, "c2714c152f19f61c", "a0c1bf9d0df53be7", 0.08483245223760605),
    (BlockFormat::Q3K, "a25609f593d7e188", "fae92051e1bf3147", 0.03763209283351898),
    (BlockFormat::Q4K, "20a8120e15bcf694", "e553948cb56c3b3a", 0.021113496273756027),
    (BlockFormat::Q5K, "1bc3f4305459848a", "89a104dda6d6bed6", 0.009347391314804554),
    (BlockFormat::Q6K, "3a3aa5146ce74350", "ef3ee62a5c838b5d", 0.004727200139313936),
    (BlockFormat::Iq4Nl, "5635e7ccd2fc1cc5", "c1fe155a75475ba5", 0.020564330741763115),
    (BlockFormat::Iq4Xs, "17db476b43270c7b", "b1a83cf1943e1ce8", 0.02064211294054985),
    (BlockFormat::Tq1_0, "47aa0411a749b899", "47aa0411a749b899", 0.15897560119628906),
    (BlockFormat::Tq2_0, "7c94288a72538f3b", "7c94288a72538f3b", 0.15897560119628906),
    (BlockFormat::MxFp4, "d82e0c685998d846", "d82e0c685998d846", 0.035540975630283356),
];

#[test]
fn bytes_are_those_of_ggml() {
    let (x, importance) = (oracle_rows(), oracle_importance());
    for (format, plain, weighed, error) in ORACLE {
        let bytes = quantized(format, &x, 256, None);
        assert_eq!(prefix(&bytes), plain, "{format}");
        assert_eq!(prefix(&quantized(format, &x, 256, Some(&importance))), weighed, "{format} with importance");
        let found = rmse(&x, &decoded(format, &bytes));
        assert!((found / error - 1.0).abs() < 1e-4, "{format}: {found}");
    }
}

/// Matrices of many kinds: [8, 512] each.
fn samples() -> Vec<(&'static str, Vec<f32>)> {
    let mut random = Random::new(7);
    let mut many = |f: &mut dyn FnMut(&mut Random, usize) -> f32| (0..4096).map(|i| f(&mut random, i)).collect::<Vec<f32>>();
    vec![
        ("normal", many(&mut |r, _| r.normal() * 0.05)),
        ("heavy", many(&mut |r, _| r.normal() / r.range(0.05, 1.0))),
        ("positive", many(&mut |r, _| r.normal().abs() + 1.0)),
        ("negative", many(&mut |r, _| -r.uniform() - 0.5)),
        ("sparse", many(&mut |r, _| if r.uniform() < 0.9 { 0.0 } else { r.normal() })),
        ("uneven", many(&mut |r, i| r.normal() * [1.0, 0.01, 3.0, 1e-4][i / 32 % 4])),
    ]
}

/// No error is larger than what the worst group's span, cut into the format's steps, allows; and none
/// is as small as if nothing had been done.
#[test]
fn errors_lie_within_the_format() {
    // Largest error over the largest magnitude of its row's 256, and least error of normal weights over their size.
    let bounds = |format| match format {
        BlockFormat::Q8_0 => (0.006, 0.002),
        BlockFormat::Q6K => (0.05, 0.008),
        BlockFormat::Q5K | BlockFormat::Q5_0 | BlockFormat::Q5_1 => (0.09, 0.02),
        BlockFormat::Q4_0 | BlockFormat::Q4_1 | BlockFormat::Q4K | BlockFormat::Iq4Nl | BlockFormat::Iq4Xs => (0.2, 0.04),
        BlockFormat::Q3K => (0.3, 0.1),
        BlockFormat::Q2K => (0.5, 0.2),
        BlockFormat::MxFp4 => (0.26, 0.08),
        BlockFormat::Tq1_0 | BlockFormat::Tq2_0 => (0.51, 0.3),
    };
    for format in BlockFormat::ALL {
        let (most, least) = bounds(format);
        for (name, x) in samples() {
            let y = decoded(format, &quantized(format, &x, 512, None));
            for (x, y) in x.chunks(256).zip(y.chunks(256)) {
                let size = x.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
                let error = x.iter().zip(y).fold(0.0, |m: f32, (x, y)| m.max((x - y).abs()));
                assert!(error <= most * size, "{format}, {name}: {error} of {size}");
            }
            if name == "normal" {
                let relative = rmse(&x, &y) / rmse(&x, &vec![0.0; x.len()]);
                assert!(relative > least, "{format}: {relative}");
            }
        }
    }
}

/// What has been through a format goes through it again (nearly) unharmed; through the plain ones unchanged.
#[test]
fn a_second_time_changes_little() {
    for format in BlockFormat::ALL {
        for (name, x) in samples() {
            let once = decoded(format, &quantized(format, &x, 512, None));
            let twice = decoded(format, &quantized(format, &once, 512, None));
            let (first, second) = (rmse(&x, &once), rmse(&once, &twice));
            let exact = matches!(format, BlockFormat::Tq1_0 | BlockFormat::Tq2_0 | BlockFormat::MxFp4);
            assert!(if exact { second == 0.0 } else { second <= first * 0.7 }, "{format}, {name}: {first} then {second}");
        }
    }
}

#[test]
fn order_is_kept_among_weights_that_share_a_scale() {
    for format in BlockFormat::ALL {
        for (name, x) in samples() {
            let y = decoded(format, &quantized(format, &x, 512, None));
            // Every format has one scale, or a finer one, for each run of 16.
            for (x, y) in x.chunks(16).zip(y.chunks(16)) {
                for (i, j) in (0..16).flat_map(|i| (0..16).map(move |j| (i, j))) {
                    assert!(x[i] > x[j] || y[i] <= y[j], "{format}, {name}: {} < {} became {} > {}", x[i], x[j], y[i], y[j]);
                }
            }
        }
    }
}

#[test]
fn importance_moves_errors_to_where_they_count_less() {
    let importance: Vec<f32> = (0..512).map(|j| if j % 7 < 2 { 40.0 } else { 0.1 }).collect();
    for format in BlockFormat::ALL {
        let (_, x) = samples().remove(0);
        let weighed_error = |importance: Option<&[f32]>| {
            let y = decoded(format, &quantized(format, &x, 512, importance));
            x.iter()
                .zip(y)
                .zip(self::repeat(&[40.0, 40.0, 0.1, 0.1, 0.1, 0.1, 0.1]))
                .map(|((x, y), w)| w * (x - y).powi(2))
                .sum::<f32>()
        };
        let (without, with) = (weighed_error(None), weighed_error(Some(&importance)));
        if format.uses_importance() {
            assert!(with < without * 0.95, "{format}: {without} → {with}");
        } else {
            assert!(with == without, "{format}");
        }
    }
}

/// Weights of columns in rows of 512.
fn repeat(pattern: &[f32]) -> impl Iterator<Item = f32> {
    (0..8).flat_map(move |_| (0..512).map(move |j| pattern[j % pattern.len()]))
}

#[test]
fn columns_that_calibration_never_saw_are_kept_all_the_same() {
    let (_, x) = samples().remove(0);
    let importance: Vec<f32> = (0..512).map(|j| if j < 256 { 0.0 } else { 1e-30 }).collect();
    for format in BlockFormat::ALL {
        let plain = rmse(&x, &decoded(format, &quantized(format, &x, 512, None)));
        for importance in [&importance[..], &[0.0; 512]] {
            let y = decoded(format, &quantized(format, &x, 512, Some(importance)));
            assert!(rmse(&x, &y) < plain * 1.5, "{format}");
        }
    }
}

#[test]
fn odd_rows_have_defined_results() {
    for format in BlockFormat::ALL {
        for (value, most) in [(0.0, 0.0), (-0.0, 0.0), (1e-40, 1e-40), (-1e-38, 1e-38), (1e-20, 1e-20)] {
            let y = decoded(format, &quantized(format, &[value; 512], 256, None));
            assert!(y.iter().all(|y| y.abs() <= most * 2.0), "{format} of {value}: {:?}", &y[..4]);
        }
        for value in [0.75_f32, -3.0, 1e-3, 1000.0] {
            let y = decoded(format, &quantized(format, &[value; 512], 256, None));
            assert!(y.iter().all(|y| (y / value - 1.0).abs() < 0.26), "constant {value} in {format}: {:?}", &y[..4]);
        }
        let mut mixed = [1e-40_f32; 256];
        mixed[3] = 0.5;
        mixed[200] = -2e-39;
        let y = decoded(format, &quantized(format, &mixed, 256, None));
        assert!((y[3] - 0.5).abs() < 0.05 && y.iter().enumerate().all(|(i, y)| i == 3 || y.abs() < 0.06), "{format}");
    }
}

#[test]
fn what_cannot_be_stored_is_refused() {
    for format in BlockFormat::ALL {
        let mut out = vec![0; format.bytes(2, 256).unwrap() as usize];
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [0.5_f32; 512];
            x[256 + 17] = bad;
            x[300] = f32::NAN;
            let error = format.quantize(&x, 256, None, &mut out).unwrap_err();
            assert!(matches!(error, FormatError::NotFinite { row: 1, column: 17, .. }), "{format}: {error}");
        }
        let mut x = [0.5_f32; 512];
        for huge in [3e38, 1e11, 4e9] {
            x[256 + 255] = huge;
            let outcome = format.quantize(&x, 256, None, &mut out);
            match format {
                BlockFormat::MxFp4 => assert!((decoded(format, &out)[511] / huge - 1.0).abs() < 0.3),
                _ => assert!(matches!(outcome, Err(FormatError::TooLarge { row: 1, .. })), "{format} of {huge}: {outcome:?}"),
            }
        }
        let width = format.quantize(&x[..240], 240 / 5, None, &mut out).unwrap_err();
        assert!(matches!(width, FormatError::Width { cols: 48, .. }), "{format}: {width}");
        assert!(matches!(format.quantize(&[0.5; 512], 256, None, &mut out[1..]), Err(FormatError::Length { .. })));
        assert!(matches!(format.quantize(&[0.5; 500], 256, None, &mut out), Err(FormatError::Length { .. })));
        assert!(matches!(format.bytes(usize::MAX, 1 << 20), Err(FormatError::Overflow { .. })));
        assert!(format.dequantize(&out[1..], &mut [0.0; 512]).is_err() && format.dequantize(&out, &mut [0.0; 500]).is_err());
        assert_eq!(format.quantize(&[], 0, None, &mut []), Ok(()));
        if format.uses_importance() {
            for bad in [-1.0, f32::NAN] {
                let mut importance = [1.0; 256];
                importance[9] = bad;
                let error = format.quantize(&[0.5; 512], 256, Some(&importance), &mut out).unwrap_err();
                assert!(matches!(error, FormatError::Importance { column: 9, .. }));
            }
            assert!(format.quantize(&[0.5; 512], 256, Some(&[1.0; 255]), &mut out).is_err());
        }
    }
}

#[test]
fn any_bytes_decode() {
    let mut random = Random::new(3);
    for format in BlockFormat::ALL {
        let bytes: Vec<u8> = (0..format.block_bytes() * 64).map(|_| random.next_u64() as u8).collect();
        let y = decoded(format, &bytes);
        assert!(y.iter().any(|v| v.is_finite() && *v != 0.0), "{format}");
        decoded(format, &vec![0xFF; format.block_bytes()]);
    }
    assert!(decoded(BlockFormat::MxFp4, &[255; 17]).iter().all(|v| v.is_nan()));
}

#[test]
fn threads_and_pieces_change_nothing() {
    let mut random = Random::new(5);
    // More than one piece to a row, and blocks left over in the last tile of eight.
    let cols = (1 << 14) + 256;
    let x: Vec<f32> = (0..2 * cols).map(|_| random.normal()).collect();
    let importance: Vec<f32> = (0..cols).map(|_| random.uniform() + 0.1).collect();
    for format in BlockFormat::ALL {
        let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let run = |n| pool(n).install(|| quantized(format, &x, cols, Some(&importance)));
        let (one, three) = (run(1), run(3));
        assert!(one == three, "{format}");
        // The second row on its own is what it is below the first.
        assert!(quantized(format, &x[cols..], cols, Some(&importance)) == one[one.len() / 2..], "{format}");
    }
    let odd: Vec<f32> = x[..32 * 11].to_vec();
    let whole = quantized(BlockFormat::Iq4Nl, &odd, 32 * 11, None);
    let single: Vec<u8> = odd.chunks(32).flat_map(|x| quantized(BlockFormat::Iq4Nl, x, 32, None)).collect();
    assert_eq!(whole, single);
}

#[test]
fn formats_know_their_names_and_sizes() {
    for format in BlockFormat::ALL {
        assert_eq!(BlockFormat::parse(&format.name().to_lowercase()), Some(format));
        assert_eq!(BlockFormat::from_ggml_type(format.ggml_type()), Some(format));
        assert_eq!(format.bytes(3, 512).unwrap() as f64 * 8.0, format.bits_per_weight() * 1536.0);
    }
    assert_eq!(BlockFormat::parse("Q9"), None);
    assert_eq!((BlockFormat::Q6K.bits_per_weight(), BlockFormat::Tq1_0.bits_per_weight()), (6.5625, 1.6875));
}

#[test]
fn rounding_is_to_even_within_limits() {
    let n = |v| nearest(v, -8.0, 7.0);
    assert_eq!([n(0.5), n(1.5), n(-2.5), n(6.5), n(7.9), n(-1e30), n(f32::INFINITY)], [0.0, 2.0, -2.0, 6.0, 7.0, -8.0, 7.0]);
    assert_eq!(n(f32::NAN), -8.0);
}

/// The search for eight groups at once is the search for each alone.
#[test]
fn lanes_do_not_mix() {
    let mut random = Random::new(11);
    let x: Vec<f32> = (0..256).map(|_| random.normal()).collect();
    let tries = Tries { first: -1.0, step: 0.1, last: 20, loss: Loss::Square };
    let all = search::affine::<8, 32>(&gather(&x), &[Lanes([1.0; 8]); 32], 15.0, tries);
    for (l, group) in x.chunks(32).enumerate() {
        let one = search::affine::<1, 32>(&gather(group), &[Lanes([1.0]); 32], 15.0, tries);
        assert_eq!((one.scale.0[0], one.offset.0[0]), (all.scale.0[l], all.offset.0[l]));
        assert!(one.codes.iter().zip(&all.codes).all(|(a, b)| a.0[0] == b.0[l]));
    }
}
