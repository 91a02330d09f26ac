use crate::engine::exec::evaluate_node;
use crate::engine::graph::{Attribute, Node, NodeId};
use crate::engine::random::Random;
use crate::engine::tensor::{DType, Value};

fn run(domain: &str, op: &str, inputs: &[Option<Value>], ints: &[(&str, &[i64])]) -> Result<Value, String> {
    let attribute = |v: &[i64]| if let [one] = v { Attribute::Int(*one) } else { Attribute::Ints(v.to_vec()) };
    let node = Node {
        id: NodeId(0),
        name: String::new(),
        op: op.to_owned(),
        domain: domain.to_owned(),
        inputs: (0..inputs.len()).map(|i| inputs[i].is_some().then(|| format!("i{i}").into())).collect(),
        outputs: vec![Some("y".into())],
        attributes: ints.iter().map(|(k, v)| ((*k).to_owned(), attribute(v))).collect(),
    };
    evaluate_node(&node, inputs, 17, None).map(|mut v| v.remove(0)).map_err(|e| e.to_string())
}

fn integers(dtype: DType, values: &[i64], shape: &[usize]) -> Value {
    Value { dtype, ..Value::from_i64(values.to_vec(), shape).unwrap() }
}

fn random(dtype: DType, shape: &[usize], seed: u64) -> Value {
    let (low, high) = dtype.integer_range().unwrap();
    let mut random = Random::new(seed);
    let values: Vec<i64> =
        (0..shape.iter().product()).map(|_| random.range(low as f32, high as f32 + 1.0).floor() as i64).collect();
    integers(dtype, &values, shape)
}

const TYPES: [DType; 2] = [DType::U8, DType::I8];

#[test]
fn products_take_off_every_zero_point() {
    for (a, b) in TYPES.into_iter().flat_map(|a| TYPES.map(|b| (a, b))) {
        let (x, w) = (random(a, &[2, 3, 5], 1), random(b, &[5, 4], 2));
        let (xz, wz) = (random(a, &[], 3), random(b, &[4], 4));
        let found = run("", "MatMulInteger", &[&x, &w, &xz, &wz].map(|v| Some(v.clone())), &[]).unwrap();
        assert_eq!((found.dtype, found.shape()), (DType::I32, [2, 3, 4].as_slice()));
        let [x, w, xz, wz] = [x, w, xz, wz].map(|v| v.to_i64().unwrap());
        for (i, sum) in found.to_i64().unwrap().into_iter().enumerate() {
            let (row, column) = (i / 4, i % 4);
            let expected: i64 = (0..5).map(|k| (x[row * 5 + k] - xz[0]) * (w[k * 4 + column] - wz[column])).sum();
            assert_eq!(sum, expected, "{a} {b}");
        }
    }
}

#[test]
fn convolutions_take_off_every_zero_point() {
    for (a, b) in TYPES.into_iter().flat_map(|a| TYPES.map(|b| (a, b))) {
        let (x, w) = (random(a, &[1, 4, 5, 5], 5), random(b, &[6, 2, 3, 3], 6));
        let (xz, wz) = (random(a, &[], 7), random(b, &[6], 8));
        let how: [(&str, &[i64]); 2] = [("group", &[2]), ("pads", &[1, 1, 1, 1])];
        let found = run("", "ConvInteger", &[&x, &w, &xz, &wz].map(|v| Some(v.clone())), &how).unwrap();
        assert_eq!(found.shape(), [1, 6, 5, 5]);
        let [x, w, xz, wz] = [x, w, xz, wz].map(|v| v.to_i64().unwrap());
        for (i, sum) in found.to_i64().unwrap().into_iter().enumerate() {
            let (oc, at) = (i / 25, [i / 5 % 5, i % 5]);
            let mut expected = 0;
            for (tap, c) in (0..9).flat_map(|t| (0..2).map(move |c| (t, c))) {
                let from = [at[0] + tap / 3, at[1] + tap % 3];
                if from.iter().all(|v| (1..=5).contains(v)) {
                    let place = ((oc / 3 * 2 + c) * 5 + from[0] - 1) * 5 + from[1] - 1;
                    expected += (x[place] - xz[0]) * (w[(oc * 2 + c) * 9 + tap] - wz[oc]);
                }
            }
            assert_eq!(sum, expected, "{a} {b}");
        }
    }
}

#[test]
fn weights_of_four_bits_are_unpacked_from_the_low_end() {
    let a = Value::from_f32((0..20).map(|v| v as f32).collect(), &[1, 20]).unwrap();
    let codes = random(DType::U8, &[3, 2, 8], 9);
    let scales = Value::from_f32(vec![0.5, 1.0, 2.0, 0.25, 4.0, 0.125], &[6]).unwrap();
    let zeros = integers(DType::U8, &[0x37, 0xf0, 0x19], &[3]);
    let how: [(&str, &[i64]); 4] = [("K", &[20]), ("N", &[3]), ("bits", &[4]), ("block_size", &[16])];
    let inputs = [Some(a), Some(codes.clone()), Some(scales.clone()), Some(zeros)];
    let found = run("com.microsoft", "MatMulNBits", &inputs, &how).unwrap().to_f32().unwrap();
    let (codes, scales, zeros) = (codes.to_i64().unwrap(), scales.to_f32().unwrap(), [[7, 3], [0, 15], [9, 1]]);
    for n in 0..3 {
        let weight = |k: usize| {
            let code = codes[n * 16 + k / 2] >> (k % 2 * 4) & 15;
            (code - zeros[n][k / 16]) as f32 * scales[n * 2 + k / 16]
        };
        let expected: f32 = (0..20).map(|k| k as f32 * weight(k)).sum();
        assert!((found[n] - expected).abs() < 1e-3 * expected.abs().max(1.0), "{n}");
    }
}

#[test]
fn sums_of_quantized_tensors_are_rounded_once() {
    let scale = |v: f32| Some(Value::from_f32(vec![v], &[]).unwrap());
    let zero = |v: i64| Some(integers(DType::U8, &[v], &[]));
    let inputs = [
        Some(integers(DType::U8, &[0, 10, 200, 255], &[4])),
        scale(0.5),
        zero(10),
        Some(integers(DType::U8, &[7], &[1])),
        scale(1.0),
        zero(4),
        scale(1.0),
        zero(2),
    ];
    let found = run("com.microsoft", "QLinearAdd", &inputs, &[]).unwrap();
    // −5 + 3, 0 + 3, 95 + 3, 122.5 + 3 (half to even), each + 2.
    assert_eq!(found.to_i64().unwrap(), [0, 5, 100, 128]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let word = |dtype, shape: &[usize]| Some(random(dtype, shape, 1));
    let refused = |inputs: &[Option<Value>]| run("", "MatMulInteger", inputs, &[]).unwrap_err();
    assert!(refused(&[word(DType::I16, &[2, 2]), word(DType::I8, &[2, 2])]).contains("not supported"));
    assert!(refused(&[word(DType::U8, &[2, 3]), word(DType::I8, &[2, 2])]).contains("cannot be multiplied"));
    assert!(refused(&[word(DType::U8, &[2, 2]), word(DType::I8, &[2, 2]), word(DType::I8, &[])]).contains("zero point"));
    let conv = run("", "ConvInteger", &[word(DType::U8, &[1, 3, 4, 4]), word(DType::I8, &[2, 2, 1, 1])], &[]);
    assert!(conv.unwrap_err().contains("does not fit"));
    assert!(run("com.microsoft", "Attention", &[], &[]).unwrap_err().contains("cannot run"));
}
