//! C headers for microcontrollers: the weights as arrays, with a table that says what belongs together. Every number
//! takes as many characters as any other of its type, so that the size is known before there are values. What the
//! arrays mean is told at the head of each file. C99 (ISO/IEC 9899:1999), `stdint.h` alone.

use crate::engine::graph::{Layer, ScaleLayout, Scales, StoredWeight};
use crate::engine::tensor::{DType, Tensor, TensorError};
use std::fmt::Write as _;

/// Text of more than this is for no microcontroller.
const MOST_ELEMENTS: usize = 1 << 28;
/// Numbers of a line.
const ACROSS: usize = 12;

/// Why a header could not be written.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("tensor \"{tensor}\" cannot be written as a C array: {reason}")]
    Tensor { tensor: String, reason: String },
    #[error(transparent)]
    Values(#[from] TensorError),
}

/// An array of a header.
#[derive(Debug, Clone)]
pub struct Array {
    pub name: String,
    pub tensor: Tensor,
}

/// A layer of a header: its arrays, and how they make weights.
#[derive(Debug, Clone)]
pub struct HeaderLayer {
    pub name: String,
    pub shape: Vec<usize>,
    /// The codes or values first; what is missing is not there.
    pub codes: Array,
    pub scales: Option<Array>,
    pub zero_points: Option<Array>,
    pub codebook: Option<Array>,
    /// The axis of the scales, −1 for one scale, −2 for scales of blocks along rows.
    pub axis: i32,
    pub block: usize,
}

impl HeaderLayer {
    /// # Errors
    /// When the header has no layout for what is stored.
    pub fn of(layer: &Layer, stored: &StoredWeight) -> Result<Self, HeaderError> {
        let name = &*layer.weight;
        let fail = |reason: &str| HeaderError::Tensor { tensor: name.to_owned(), reason: reason.to_owned() };
        let array = |what: &str, tensor: &Tensor| Array { name: format!("{name} {what}"), tensor: tensor.clone() };
        let plain = |scales: &Scales| match scales {
            Scales::Plain(values) => Ok(array("scale", values)),
            Scales::Product { .. } | Scales::Affine { .. } => Err(fail("its scales have scales of their own; take plain ones")),
        };
        let bare = |codes: &Tensor| Self {
            name: layer.name.clone(),
            shape: layer.shape.clone(),
            codes: array("data", codes),
            scales: None,
            zero_points: None,
            codebook: None,
            axis: -1,
            block: 0,
        };
        Ok(match stored {
            StoredWeight::Float32(tensor) | StoredWeight::Half(tensor) => bare(tensor),
            StoredWeight::Scaled { codes, scales, zero_points, layout } => {
                let (axis, block) = match *layout {
                    ScaleLayout::Tensor => (-1, 0),
                    ScaleLayout::Axis(axis) => (axis as i32, 0),
                    ScaleLayout::Blocked { size } => (-2, size),
                };
                let zero_points = zero_points.as_ref().map(|z| array("zero", z));
                Self { scales: Some(plain(scales)?), zero_points, axis, block, ..bare(codes) }
            }
            StoredWeight::Book(book) if book.offsets.is_none() && book.entries.shape().len() == 1 && book.lines.is_none() => {
                Self { codebook: Some(array("codebook", &book.entries)), ..bare(&book.codes) }
            }
            StoredWeight::Book(_) => return Err(fail("of codebooks it holds those of single weights and whole layers")),
            StoredWeight::Blocks(_) => return Err(fail("it has no blocks of GGUF; take integers")),
        })
    }

    fn arrays(&self) -> impl Iterator<Item = &Array> {
        std::iter::once(&self.codes).chain(&self.scales).chain(&self.zero_points).chain(&self.codebook)
    }
}

/// How C knows an element type: its own type, the name of the format, characters of a number.
fn c_type(dtype: DType) -> Option<(&'static str, &'static str, usize)> {
    Some(match dtype {
        DType::F32 => ("float", "LAPIDARY_F32", 16),
        DType::F16 => ("uint16_t", "LAPIDARY_F16", 6),
        DType::BF16 => ("uint16_t", "LAPIDARY_BF16", 6),
        DType::I8 => ("int8_t", "LAPIDARY_I8", 4),
        DType::U8 => ("uint8_t", "LAPIDARY_U8", 4),
        DType::I16 => ("int16_t", "LAPIDARY_I16", 6),
        DType::U16 => ("uint16_t", "LAPIDARY_U16", 6),
        DType::I32 => ("int32_t", "LAPIDARY_I32", 11),
        DType::I4 => ("uint8_t", "LAPIDARY_I4", 4),
        DType::U4 => ("uint8_t", "LAPIDARY_U4", 4),
        DType::I2 => ("uint8_t", "LAPIDARY_I2", 4),
        DType::U2 => ("uint8_t", "LAPIDARY_U2", 4),
        DType::F8E4M3FN => ("uint8_t", "LAPIDARY_F8E4M3", 4),
        DType::F8E5M2 => ("uint8_t", "LAPIDARY_F8E5M2", 4),
        DType::F8E8M0 => ("uint8_t", "LAPIDARY_E8M0", 4),
        DType::F4E2M1 => ("uint8_t", "LAPIDARY_F4E2M1", 4),
        _ => return None,
    })
}

/// The numbers of an array as text, each as wide as any.
fn numbers(tensor: &Tensor, kind: &str) -> Vec<String> {
    let bytes = tensor.bytes();
    let pairs = || bytes.as_chunks::<2>().0.iter();
    let fours = || bytes.as_chunks::<4>().0.iter();
    match kind {
        "float" => fours().map(|b| format!("{:>16}", format!("{:.8e}f", f32::from_le_bytes(*b)))).collect(),
        "int8_t" => bytes.iter().map(|b| format!("{:>4}", *b as i8)).collect(),
        "int16_t" => pairs().map(|b| format!("{:>6}", i16::from_le_bytes(*b))).collect(),
        "uint16_t" => pairs().map(|b| format!("0x{:04X}", u16::from_le_bytes(*b))).collect(),
        "int32_t" => fours().map(|b| format!("{:>11}", i32::from_le_bytes(*b))).collect(),
        _ => bytes.iter().map(|b| format!("0x{b:02X}")).collect(),
    }
}

/// A name that C takes: what is no letter or digit becomes `_`.
fn identifier(index: usize, name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(40).collect();
    format!("t{index}_{plain}")
}

fn text_of(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '?') || c == ' ' { c } else { '_' }).collect()
}

const HEAD: &str = include_str!("../../../assets/header/head.h");

/// The text of a header: layers, then other tensors (biases and the like).
///
/// # Errors
/// When an element type has no counterpart in C, a value is not finite, or there is too much of it.
pub fn text(layers: &[HeaderLayer], others: &[Array]) -> Result<String, HeaderError> {
    let mut out = HEAD.to_owned();
    let mut rows = String::new();
    let mut index = 0;
    let shape = |out: &mut String, index: usize, shape: &[usize]| {
        let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let dims = if dims.is_empty() { vec!["1".to_owned()] } else { dims };
        let _ = writeln!(out, "static const uint32_t t{index}_shape[{}] = {{{}}};", dims.len(), dims.join(", "));
        format!("{}, t{index}_shape", dims.len())
    };
    for layer in layers {
        let mut ids = Vec::new();
        let first = index;
        for array in layer.arrays() {
            ids.push((
                array.name.rsplit(' ').next().unwrap_or_default().to_owned(),
                put(&mut out, index, array)?,
                array.tensor.dtype(),
            ));
            index += 1;
        }
        let shape = shape(&mut out, first, &layer.shape);
        let id = |what: &str| ids.iter().find(|(end, ..)| end == what).map_or("0", |(_, id, _)| id.as_str());
        let kind = |at: usize| ids.get(at).and_then(|(.., dtype)| c_type(*dtype)).map_or("LAPIDARY_F32", |t| t.1);
        let scale_kind =
            ids.iter().find(|(end, ..)| end == "scale").and_then(|(.., d)| c_type(*d)).map_or("LAPIDARY_F32", |t| t.1);
        let _ = writeln!(
            rows,
            "    {{\"{}\", {}, {}, {shape}, {}, {scale_kind}, {}, {}, {}, {}}},",
            text_of(&layer.name),
            kind(0),
            id("data"),
            id("scale"),
            id("zero"),
            id("codebook"),
            layer.axis,
            layer.block
        );
    }
    for array in others {
        let id = put(&mut out, index, array)?;
        let shape = shape(&mut out, index, array.tensor.shape());
        let kind = c_type(array.tensor.dtype()).map_or("LAPIDARY_F32", |t| t.1);
        let _ = writeln!(rows, "    {{\"{}\", {kind}, {id}, {shape}, 0, LAPIDARY_F32, 0, 0, -1, 0}},", text_of(&array.name));
        index += 1;
    }
    let count = layers.len() + others.len();
    let _ =
        write!(out, "\n#define LAPIDARY_COUNT {count}\nstatic const lapidary_tensor lapidary_tensors[{}] = {{\n", count.max(1));
    out += if count == 0 { "    {\"\", LAPIDARY_F32, 0, 0, 0, 0, LAPIDARY_F32, 0, 0, -1, 0}\n" } else { &rows };
    out += "};\n\n#endif\n";
    Ok(out)
}

/// Writes an array and gives its identifier.
fn put(out: &mut String, index: usize, array: &Array) -> Result<String, HeaderError> {
    let fail = |reason: String| HeaderError::Tensor { tensor: array.name.clone(), reason };
    let dtype = array.tensor.dtype();
    let (kind, ..) = c_type(dtype).ok_or_else(|| fail(format!("it has no type {dtype}")))?;
    if array.tensor.is_empty() || array.tensor.len() > MOST_ELEMENTS {
        return Err(fail(format!("{} elements are no array for a microcontroller", array.tensor.len())));
    }
    if dtype == DType::F32 && array.tensor.to_f32()?.iter().any(|v| !v.is_finite()) {
        return Err(fail("it holds NaN or infinity".to_owned()));
    }
    let id = identifier(index, &array.name);
    let numbers = numbers(&array.tensor, kind);
    let _ = writeln!(out, "static const {kind} {id}[{}] = {{", numbers.len());
    for line in numbers.chunks(ACROSS) {
        let _ = writeln!(out, "{},", line.join(","));
    }
    out.push_str("};\n");
    Ok(id)
}

/// The bytes of the arrays of a header, in their order: what a compiler makes of it.
///
/// # Errors
/// The place of what is no number.
pub fn arrays(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut all = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("static const ").filter(|l| l.ends_with("] = {")).and_then(|l| l.split(' ').next())
        else {
            continue;
        };
        if kind == "lapidary_tensor" {
            break;
        }
        let mut bytes = Vec::new();
        for number in lines.by_ref().take_while(|line| *line != "};").flat_map(|line| line.split(',')) {
            let number = number.trim();
            if !number.is_empty() {
                bytes.extend(number_bytes(number, kind).ok_or_else(|| format!("\"{number}\" is no {kind}"))?);
            }
        }
        all.push(bytes);
    }
    Ok(all)
}

fn number_bytes(text: &str, kind: &str) -> Option<Vec<u8>> {
    Some(match kind {
        "float" => text.strip_suffix('f')?.parse::<f32>().ok()?.to_le_bytes().to_vec(),
        "int8_t" => text.parse::<i8>().ok()?.to_le_bytes().to_vec(),
        "int16_t" => text.parse::<i16>().ok()?.to_le_bytes().to_vec(),
        "int32_t" => text.parse::<i32>().ok()?.to_le_bytes().to_vec(),
        "uint16_t" => u16::from_str_radix(text.strip_prefix("0x")?, 16).ok()?.to_le_bytes().to_vec(),
        "uint8_t" => vec![u8::from_str_radix(text.strip_prefix("0x")?, 16).ok()?],
        _ => return None,
    })
}
