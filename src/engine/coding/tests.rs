use super::*;
use crate::engine::random::Random;

const F32: Element = Element { width: 32, head: 9 };

fn round_trip(bytes: &[u8], count: usize, element: Element, shape: &[usize]) -> Coded {
    let coded = encode(bytes, count, element, shape);
    let decoded = decode(coded.mode, &coded.stream, (count, bytes.len()), element, shape);
    assert_eq!(decoded.as_deref(), Ok(bytes), "{element:?} {shape:?} {:?}", coded.mode);
    coded
}

/// Weights of a layer, most of them zero, the others of few values.
fn pruned(shape: &[usize]) -> Vec<f32> {
    let mut random = Random::new(1);
    let value = |r: f32| if r.abs() < 1.0 { 0.0 } else { (r * 8.0).round() * 0.013 };
    (0..shape.iter().product()).map(|_| value(random.normal())).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn few_values_and_zeros_cost_about_their_entropy() {
    let shape = [64, 32, 3, 3];
    let weights = pruned(&shape);
    let coded = round_trip(&bytes(&weights), weights.len(), F32, &shape);
    let mut counts = std::collections::BTreeMap::new();
    for w in &weights {
        *counts.entry(w.to_bits()).or_insert(0_f64) += 1.0;
    }
    let n = weights.len() as f64;
    let entropy: f64 = counts.values().map(|c| -c * (c / n).log2()).sum::<f64>() / 8.0;
    let (huffman, range) = coded.tried.unwrap();
    assert!(coded.mode == Mode::Range && (range as f64) < 1.04 * entropy + 250.0, "{range} bytes, entropy {entropy}");
    assert!((huffman as f64) < 1.3 * entropy && huffman > range, "{huffman} bytes");
}

#[test]
fn every_width_comes_back() {
    let mut random = Random::new(2);
    let noise: Vec<u8> = (0..1200).map(|_| (random.normal() * 40.0) as i32 as u8).collect();
    for (width, count) in [(2, 4800), (4, 2400), (8, 1200), (16, 600), (32, 300), (64, 150)] {
        for head in [0, 6] {
            round_trip(&noise, count, Element { width, head }, &[count / 10, 10]);
        }
    }
    // Three elements of two bits, and one byte filled up.
    round_trip(&[&[0x39; 63][..], &[0x09]].concat(), 255, Element { width: 2, head: 0 }, &[5, 51]);
    let floats: Vec<f32> = (0..500).map(|_| random.normal()).collect();
    let coded = round_trip(&bytes(&floats), 500, F32, &[500]);
    assert!(coded.mode == Mode::Floats && coded.stream.len() < 1800, "{}", coded.stream.len());
    // Floats that were once of 16 bits.
    let short: Vec<f32> = floats.iter().map(|f| f32::from_bits(f.to_bits() & 0xFFFF_0000)).collect();
    let coded = round_trip(&bytes(&short), 500, F32, &[500]);
    assert!(coded.stream.len() < 950, "{}", coded.stream.len());
    round_trip(&bytes(&[0.0; 100]), 100, F32, &[100]);
    round_trip(&[], 0, F32, &[0]);
}

#[test]
fn damaged_streams_are_refused_or_give_other_numbers_but_nothing_worse() {
    let shape = [8, 4, 3, 3];
    let weights = pruned(&shape);
    let original = bytes(&weights);
    let coded = encode(&original, weights.len(), F32, &shape);
    let mut random = Random::new(3);
    for mode in Mode::ALL {
        for _ in 0..60 {
            let mut stream = coded.stream.clone();
            let at = (random.normal().abs() * 40.0) as usize % stream.len();
            stream[at] ^= 1 << (at % 8);
            stream.truncate(stream.len() - (random.normal().abs() * 3.0) as usize);
            for (count, length) in
                [(weights.len(), original.len()), (usize::MAX, usize::MAX), (weights.len(), 3), (1 << 40, 1 << 42)]
            {
                let _ = decode(mode, &stream, (count, length), F32, &shape);
            }
        }
        assert_eq!(decode(mode, &[], (1 << 30, 1 << 32), F32, &shape), Err(Damaged), "a claim out of nothing");
    }
}

#[test]
fn what_never_changes_is_believed() {
    for value in [0.0_f32, 1.0] {
        let constant = bytes(&vec![value; 2_000_000]);
        let coded = round_trip(&constant, 2_000_000, F32, &[2_000_000]);
        assert!(coded.stream.len() < 200, "{} bytes", coded.stream.len());
    }
}

#[test]
fn a_count_that_its_bytes_do_not_hold_is_refused_before_it_is_read() {
    let stream = vec![0; 32 << 10];
    let told = decode(Mode::Floats, &stream, (1 << 34, 1 << 32), F32, &[1 << 34]);
    assert!(told.is_err());
    let nothing = decode(Mode::Range, &stream, (0, 0), F32, &[0, 1 << 40, 1 << 40]);
    assert!(nothing.is_err() || nothing == Ok(Vec::new()));
}
