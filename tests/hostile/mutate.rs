//! Changes a model at random, the same way for the same seed.

use super::corpus::Case;
use lapidary::engine::graph::{Attribute, Fact, Node, Wire};
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{DType, Tensor, Value};

/// Either small, so that results stay small, or too large for any machine.
const NUMBERS: [i64; 14] = [0, 1, -1, 2, -2, 3, 4, 7, 17, -9, 1 << 40, i64::MAX, i64::MIN, i64::MAX - 1];
const REALS: [f32; 9] = [0.0, -0.0, 1.0, -1.5, 0.3, 1e30, -1e30, f32::NAN, f32::INFINITY];
const TYPES: [DType; 9] =
    [DType::F32, DType::F64, DType::F16, DType::I8, DType::U8, DType::I32, DType::I64, DType::U64, DType::Bool];

fn pick<T: Clone>(from: &[T], random: &mut Random) -> T {
    from[random.below(from.len())].clone()
}

/// A number that `dtype` holds: the ends of narrow types are sizes that a machine may well have room for.
fn number(dtype: DType, random: &mut Random) -> i64 {
    let number = pick(&NUMBERS, random);
    let unsigned = matches!(dtype, DType::U8 | DType::U64);
    if number < 0 && unsigned || dtype.bits() < 64 && number.unsigned_abs() > 100 { 1 } else { number }
}

/// The case with one to three changes, and what they are.
pub fn mutate(case: &Case, all: &[Case], random: &mut Random) -> (Case, Vec<String>) {
    let mut changed = case.clone();
    let mut what = Vec::new();
    for _ in 0..=random.below(3) {
        what.push(match random.below(10) {
            0..=3 => attribute(&mut changed, random),
            4 => feed(&mut changed, random),
            5 | 6 => values(&mut changed, random),
            7 => wire(&mut changed, random),
            8 => operator(&mut changed, all, random),
            _ => {
                let version = 1 + random.below(26) as i64;
                changed.model.opsets.insert(String::new(), version);
                format!("operator set {version}")
            }
        });
    }
    (changed, what)
}

fn node<'a>(case: &'a mut Case, random: &mut Random) -> Option<&'a mut Node> {
    let count = case.model.nodes.len();
    case.model.nodes.get_mut(random.below(count))
}

fn any_attribute(random: &mut Random) -> Attribute {
    match random.below(7) {
        0 | 1 => Attribute::Int(pick(&NUMBERS, random)),
        2 => Attribute::Ints((0..random.below(5)).map(|_| pick(&NUMBERS, random)).collect()),
        3 => Attribute::Float(pick(&REALS, random)),
        4 => Attribute::Floats((0..random.below(4)).map(|_| pick(&REALS, random)).collect()),
        5 => Attribute::Text(pick(&["", "constant", "SAME_UPPER", "max", "Ω"], random).to_owned()),
        _ => Attribute::Tensor(tensor(random)),
    }
}

fn attribute(case: &mut Case, random: &mut Random) -> String {
    const NAMES: [&str; 8] = ["axis", "axes", "pads", "strides", "kernel_shape", "group", "mode", "keepdims"];
    let Some(node) = node(case, random) else { return "nothing".into() };
    let own: Vec<String> = node.attributes.keys().cloned().collect();
    let name = if own.is_empty() || random.below(6) == 0 { pick(&NAMES, random).to_owned() } else { pick(&own, random) };
    if random.below(5) == 0 {
        node.attributes.remove(&name);
        return format!("{} without {name}", node.op);
    }
    let new = match node.attributes.get(&name) {
        // Mostly another value of the same kind: other kinds are refused early.
        Some(Attribute::Int(_)) if random.below(4) > 0 => Attribute::Int(pick(&NUMBERS, random)),
        Some(Attribute::Ints(old)) if random.below(4) > 0 => {
            let mut new = old.clone();
            match random.below(4) {
                0 => new.push(pick(&NUMBERS, random)),
                1 => new.truncate(new.len() / 2),
                _ => new.iter_mut().for_each(|v| *v = if random.below(2) == 0 { pick(&NUMBERS, random) } else { *v }),
            }
            Attribute::Ints(new)
        }
        Some(Attribute::Float(_)) if random.below(4) > 0 => Attribute::Float(pick(&REALS, random)),
        _ => any_attribute(random),
    };
    let told = format!("{}.{name} = {new:?}", node.op).chars().take(200).collect();
    node.attributes.insert(name, new);
    told
}

fn shape(random: &mut Random) -> Vec<usize> {
    (0..random.below(6)).map(|_| pick(&[0, 1, 1, 2, 3, 5], random)).collect()
}

/// A small tensor of any shape and type, with extreme numbers in it.
fn tensor(random: &mut Random) -> Tensor {
    let shape = shape(random);
    let count: usize = shape.iter().product();
    match pick(&TYPES, random) {
        DType::F64 => {
            let bytes: Vec<u8> = (0..count).flat_map(|_| f64::from(pick(&REALS, random)).to_le_bytes()).collect();
            Tensor::from_bytes(DType::F64, shape, bytes).unwrap()
        }
        DType::F16 => Tensor::from_bytes(DType::F16, shape, vec![0x3C; count * 2]).unwrap(),
        DType::F32 => Tensor::from_f32(shape, &(0..count).map(|_| pick(&REALS, random)).collect::<Vec<_>>()).unwrap(),
        DType::Bool => Tensor::from_bytes(DType::Bool, shape, vec![1; count]).unwrap(),
        dtype => {
            let values: Vec<i64> = (0..count).map(|_| number(dtype, random)).collect();
            Tensor::from_integers(dtype, shape, &values).unwrap()
        }
    }
}

/// An input of another shape and type.
fn feed(case: &mut Case, random: &mut Random) -> String {
    let index = random.below(case.feeds.len());
    let Some((wire, value)) = case.feeds.get_mut(index) else { return "nothing".into() };
    let new = tensor(random);
    let told = format!("input \"{wire}\" is {} {:?}", new.dtype(), new.shape());
    *value = Value::from_stored(&new).unwrap();
    for port in case.model.inputs.iter_mut().filter(|p| p.wire == *wire) {
        port.fact = Fact::default();
    }
    told
}

/// Other numbers of the same type and shape in an input or a constant; or a constant of any kind.
fn values(case: &mut Case, random: &mut Random) -> String {
    let constants: Vec<Wire> = case.model.constants.keys().cloned().collect();
    if !constants.is_empty() && random.below(2) == 0 {
        let wire = pick(&constants, random);
        let new = tensor(random);
        let told = format!("constant \"{wire}\" is {} {:?}", new.dtype(), new.shape());
        case.model.constants.insert(wire, new);
        return told;
    }
    let index = random.below(case.feeds.len());
    let Some((wire, value)) = case.feeds.get_mut(index) else { return "nothing".into() };
    let mut stored = value.to_stored().unwrap();
    let one = random.below(3) > 0;
    if stored.dtype() == DType::F32 {
        let mut numbers = stored.to_f32().unwrap();
        for v in &mut numbers {
            *v = if one && random.below(3) > 0 { *v } else { pick(&REALS, random) };
        }
        stored = Tensor::from_f32(stored.shape().to_vec(), &numbers).unwrap();
    } else if matches!(stored.dtype(), DType::I64 | DType::I32) {
        let mut numbers = stored.to_i64().unwrap();
        let dtype = stored.dtype();
        for v in &mut numbers {
            *v = if one && random.below(3) > 0 { *v } else { number(dtype, random) };
        }
        stored = Tensor::from_integers(stored.dtype(), stored.shape().to_vec(), &numbers).unwrap();
    }
    *value = Value::from_stored(&stored).unwrap();
    format!("other numbers in \"{wire}\"")
}

fn wire(case: &mut Case, random: &mut Random) -> String {
    let model = &case.model;
    let mut wires: Vec<Wire> = model.inputs.iter().map(|p| p.wire.clone()).chain(model.constants.keys().cloned()).collect();
    wires.extend(model.nodes.iter().flat_map(|n| n.outputs.iter().flatten().cloned()));
    wires.push("nowhere".into());
    let kind = random.below(6);
    let Some(node) = node(case, random) else { return "nothing".into() };
    let (inputs, outputs) = (node.inputs.len(), node.outputs.len());
    match kind {
        0 | 1 if inputs > 0 => node.inputs[random.below(inputs)] = Some(pick(&wires, random)),
        2 if inputs > 0 => node.inputs[random.below(inputs)] = None,
        3 if inputs > 0 => node.inputs.truncate(random.below(inputs)),
        4 if outputs > 0 => node.outputs[random.below(outputs)] = Some(pick(&wires, random)),
        _ => node.inputs.push(Some(pick(&wires, random))),
    }
    format!("{} reads {:?} and makes {:?}", node.op, node.inputs, node.outputs)
}

/// The inputs of one operator given to another.
fn operator(case: &mut Case, all: &[Case], random: &mut Random) -> String {
    let other = pick(all, random);
    let op = other.model.nodes.first().map_or_else(|| "Relu".to_owned(), |n| n.op.clone());
    let Some(node) = node(case, random) else { return "nothing".into() };
    let told = format!("{} becomes {op}", node.op);
    node.op = op;
    told
}
