//! Operators by example: cases that the ONNX suite leaves out.

use crate::engine::exec::evaluate_node;
use crate::engine::graph::{Attribute, Node, NodeId};
use crate::engine::tensor::{DType, Value};

fn node(op: &str, attributes: &[(&str, Attribute)]) -> Node {
    Node {
        id: NodeId(0),
        name: "n".into(),
        op: op.to_owned(),
        domain: String::new(),
        inputs: Vec::new(),
        outputs: vec![Some("y".into())],
        attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
    }
}

fn floats(values: &[f32], shape: &[usize]) -> Value {
    Value::from_f32(values.to_vec(), shape).unwrap()
}

fn ints(values: &[i64]) -> Value {
    Value::from_i64(values.to_vec(), &[values.len()]).unwrap()
}

fn run(node: &Node, opset: i64, inputs: &[Value]) -> Result<Vec<Value>, String> {
    let inputs: Vec<Option<Value>> = inputs.iter().cloned().map(Some).collect();
    evaluate_node(node, &inputs, opset, None).map_err(|e| e.to_string())
}

#[test]
fn before_operator_set_7_an_axis_aligned_the_second_operand() {
    let old = node("Add", &[("broadcast", Attribute::Int(1)), ("axis", Attribute::Int(0))]);
    let inputs = [floats(&[0.0; 6], &[2, 3]), floats(&[1.0, 2.0], &[2])];
    assert_eq!(run(&old, 6, &inputs).unwrap()[0].to_f32().unwrap(), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    assert!(run(&old, 7, &inputs).is_err());
    let slopes = [floats(&[-1.0; 4], &[1, 2, 1, 2]), floats(&[0.5, 2.0], &[2])];
    assert_eq!(run(&node("PRelu", &[]), 6, &slopes).unwrap()[0].to_f32().unwrap(), [-0.5, -0.5, -2.0, -2.0]);
}

#[test]
fn integers_divide_as_in_c_and_never_by_zero() {
    let divide = |a: &[i64], b: &[i64]| run(&node("Div", &[]), 14, &[ints(a), ints(b)]);
    assert_eq!(divide(&[7, -7, i64::MIN], &[2, 2, -1]).unwrap()[0].to_i64().unwrap(), [3, -3, i64::MIN]);
    assert!(divide(&[1], &[0]).unwrap_err().contains("zero"));
    let unsigned = |v: i64| Value { dtype: DType::U64, ..ints(&[v]) };
    let half = run(&node("Div", &[]), 14, &[unsigned(-1), unsigned(2)]).unwrap();
    assert_eq!(half[0].to_i64().unwrap(), [i64::MAX]);
}

#[test]
fn scatters_add_where_indices_repeat_and_refuse_what_is_outside() {
    let add = node("ScatterND", &[("reduction", Attribute::Text("add".into()))]);
    let at = |v: &[i64]| Value::from_i64(v.to_vec(), &[v.len(), 1]).unwrap();
    let inputs = |i: &[i64]| [floats(&[1.0; 3], &[3]), at(i), floats(&vec![2.0; i.len()], &[i.len()])];
    assert_eq!(run(&add, 18, &inputs(&[0, -1, 0])).unwrap()[0].to_f32().unwrap(), [5.0, 1.0, 3.0]);
    assert!(run(&add, 18, &inputs(&[3])).unwrap_err().contains("outside"));
}

#[test]
fn the_first_of_equals_comes_first() {
    let x = floats(&[1.0, 3.0, 3.0, f32::NAN], &[4]);
    let top = |k: i64, largest: i64| {
        let outputs = run(&node("TopK", &[("largest", Attribute::Int(largest))]), 11, &[x.clone(), ints(&[k])]).unwrap();
        outputs[1].to_i64().unwrap()
    };
    assert_eq!(top(3, 1), [3, 1, 2]);
    assert_eq!(top(3, 0), [0, 1, 2]);
    assert_eq!(top(0, 1), [0_i64; 0]);
    assert!(run(&node("TopK", &[]), 11, &[x, ints(&[5])]).is_err());
}

#[test]
fn half_precision_sums_are_rounded() {
    let half = |v: f32| Value { dtype: DType::F16, ..floats(&[v], &[1]) };
    let sum = run(&node("Add", &[]), 14, &[half(2048.0), half(1.0)]).unwrap();
    assert_eq!(sum[0].to_f32().unwrap(), [2048.0]);
}

#[test]
fn sampling_a_grid_of_the_own_places_gives_the_image() {
    let image = floats(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2]);
    let size = ints(&[1, 1, 2, 2]);
    let identity = floats(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], &[1, 2, 3]);
    for align in [0, 1] {
        let align = [("align_corners", Attribute::Int(align))];
        let grid = run(&node("AffineGrid", &align), 20, &[identity.clone(), size.clone()]).unwrap().swap_remove(0);
        for mode in ["nearest", "linear", "cubic"] {
            let attributes = [align[0].clone(), ("mode", Attribute::Text(mode.into()))];
            let out = run(&node("GridSample", &attributes), 20, &[image.clone(), grid.clone()]).unwrap();
            assert_eq!(out[0].to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0], "{mode}");
        }
    }
}

#[test]
fn the_inverse_transform_gives_the_signal_back() {
    let signal: Vec<f32> = (0..7).map(|v| (v * v % 5) as f32).collect();
    let x = floats(&signal, &[1, 7, 1]);
    let flags = |inverse| [("inverse", Attribute::Int(inverse)), ("onesided", Attribute::Int(1))];
    let there = run(&node("DFT", &flags(0)), 20, &[x]).unwrap().swap_remove(0);
    assert_eq!(there.shape(), [1, 4, 2]);
    let back = run(&node("DFT", &flags(1)), 20, &[there, ints(&[7])]).unwrap().swap_remove(0);
    assert_eq!(back.shape(), [1, 7, 1]);
    assert!(back.to_f32().unwrap().iter().zip(&signal).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn columns_sum_where_windows_overlap() {
    // Two windows of two elements over three places.
    let x = floats(&[1.0, 2.0, 10.0, 20.0], &[1, 2, 2]);
    let image = run(&node("Col2Im", &[]), 18, &[x, ints(&[3]), ints(&[2])]).unwrap();
    assert_eq!(image[0].shape(), [1, 1, 3]);
    assert_eq!(image[0].to_f32().unwrap(), [1.0, 12.0, 20.0]);
}

#[test]
fn doubles_and_integers_multiply_as_matrices() {
    let doubles = |values: &[f64], shape: &[usize]| {
        let data = candle_core::Tensor::from_vec(values.to_vec(), shape, &candle_core::Device::Cpu).unwrap();
        Value { dtype: DType::F64, data }
    };
    let (a, b) = (doubles(&[1e17, 1.0, -1e17, 0.5], &[2, 2]), doubles(&[1.0, 1.0], &[2]));
    let product = run(&node("MatMul", &[]), 13, &[a.clone(), b]).unwrap();
    assert_eq!(product[0].data.to_vec1::<f64>().unwrap(), [1e17 + 1.0, -1e17 + 0.5]);
    let turned = node("Gemm", &[("transA", Attribute::Int(1)), ("alpha", Attribute::Float(0.5))]);
    let product = run(&turned, 13, &[a, doubles(&[1.0, 2.0], &[2, 1]), doubles(&[0.25], &[1])]).unwrap();
    assert_eq!(product[0].data.flatten_all().unwrap().to_vec1::<f64>().unwrap(), [-5e16 + 0.25, 1.25]);
    let bytes = |values: &[i64], shape: &[usize]| Value { dtype: DType::U8, ..Value::from_i64(values.to_vec(), shape).unwrap() };
    let product = run(&node("MatMul", &[]), 13, &[bytes(&[200, 100], &[1, 2]), bytes(&[1, 1], &[2, 1])]).unwrap();
    assert_eq!(product[0].to_i64().unwrap(), [44]);
    assert!(run(&node("MatMul", &[]), 13, &[bytes(&[1], &[1]), floats(&[1.0], &[1])]).unwrap_err().contains("one type"));
}

#[test]
fn quantization_to_narrow_floats() {
    let scale = floats(&[2.0], &[]);
    let to = |dtype: DType, saturate: i64| {
        let attributes = [("output_dtype", Attribute::Int(dtype.onnx_code().into())), ("saturate", Attribute::Int(saturate))];
        node("QuantizeLinear", &attributes)
    };
    let x = [floats(&[0.0, 2.2, -1000.0, 1e6], &[4]), scale.clone()];
    let codes = run(&to(DType::F8E4M3FN, 1), 23, &x).unwrap();
    assert_eq!((codes[0].dtype, codes[0].to_f32().unwrap()), (DType::F8E4M3FN, vec![0.0, 1.125, -448.0, 448.0]));
    let back = run(&node("DequantizeLinear", &[]), 23, &[codes[0].clone(), scale]).unwrap();
    assert_eq!(back[0].to_f32().unwrap(), [0.0, 2.25, -896.0, 896.0]);
    assert!(run(&to(DType::F8E4M3FN, 0), 23, &x).unwrap()[0].to_f32().unwrap()[3].is_nan());
    assert_eq!(run(&to(DType::F4E2M1, 0), 23, &x).unwrap()[0].to_f32().unwrap(), [0.0, 1.0, -6.0, 6.0]);
    assert!(run(&to(DType::F32, 1), 23, &x).unwrap_err().contains("not supported"));
}

#[test]
fn numbers_are_divided_in_the_type_of_their_scale() {
    // 204.85 / 0.099975586 is 2049 in f32; half floats hold 204.875 instead, and no odd number there.
    let x = floats(&[100.4], &[1]);
    let half = Value { dtype: DType::F16, ..floats(&[0.099_975_586], &[]) };
    let signed = ("output_dtype", Attribute::Int(DType::I16.onnx_code().into()));
    let plain = node("QuantizeLinear", std::slice::from_ref(&signed));
    assert_eq!(run(&plain, 23, &[x.clone(), floats(&[0.1], &[])]).unwrap()[0].to_i64().unwrap(), [1004]);
    assert_eq!(run(&plain, 23, &[floats(&[204.85], &[1]), half.clone()]).unwrap()[0].to_i64().unwrap(), [2050]);
    let wide = node("QuantizeLinear", &[signed, ("precision", Attribute::Int(1))]);
    assert_eq!(run(&wide, 23, &[floats(&[204.85], &[1]), half]).unwrap()[0].to_i64().unwrap(), [2049]);
    assert!(run(&plain, 23, &[x, floats(&[0.1, 0.2], &[2])]).is_err());
}

#[test]
fn casts_between_bits_and_types() {
    let to = |op: &str, dtype: DType| node(op, &[("to", Attribute::Int(dtype.onnx_code().into()))]);
    let bits = run(&to("BitCast", DType::I32), 26, &[floats(&[1.0], &[1])]).unwrap();
    assert_eq!(bits[0].to_i64().unwrap(), [0x3F80_0000]);
    assert!(run(&to("BitCast", DType::I64), 26, &[floats(&[1.0], &[1])]).unwrap_err().contains("32 bits"));
    let power = run(&to("Cast", DType::F8E8M0), 24, &[floats(&[3.0, 0.25], &[2])]).unwrap();
    assert_eq!(power[0].to_f32().unwrap(), [4.0, 0.25]);
    assert!(run(&node("Cast", &[]), 24, &[floats(&[1.0], &[1])]).is_err());
}
