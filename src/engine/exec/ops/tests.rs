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
