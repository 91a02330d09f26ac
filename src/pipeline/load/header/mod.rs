//! C headers for microcontrollers: the weights as arrays, with a table that says what belongs together. Every number
//! takes as many characters as any other of its type, so that the size is known before there are values. What the
//! arrays mean is told at the head of each file. C99 (ISO/IEC 9899:1999), `stdint.h` alone.

mod read;

pub use read::{Row, rows};

use crate::engine::graph::{Layer, ScaleLayout, Scales, StoredWeight};
use crate::engine::hash;
use crate::engine::tensor::{DType, Tensor, TensorError};
use std::fmt::Write as _;
use std::path::Path;

/// Text of more than this is for no microcontroller.
const MOST_ELEMENTS: usize = 1 << 28;
/// Numbers of a line.
const ACROSS: usize = 12;
/// Characters of the longest name.
const NAME_WIDTH: usize = 24;
/// Stands for the name until the text is whole; no tensor's name can hold it.
const PLACE: char = '\u{1}';

/// What everything in a header begins with that is its own, so that one program can hold several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// From the name of the file: what C does not take becomes `_`. Where anything of it is lost, a part of its hash
    /// tells it from others.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        const HASH: usize = 6;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit() || c == '_') {
            name.insert(0, 'm');
        }
        if name != stem || name.len() > NAME_WIDTH {
            name.truncate(NAME_WIDTH - HASH - 1);
            name = format!("{name}_{}", hash::of_bytes(stem.as_bytes()).get(..HASH).unwrap_or_default());
        }
        Self(name)
    }

    /// Puts the name in its places; lines are filled up, so that they are as long with any name.
    fn into_text(self, text: &str) -> String {
        let spare = NAME_WIDTH.saturating_sub(self.0.len());
        let mut out = String::with_capacity(text.len() + text.len() / 4);
        for line in text.lines() {
            match line.matches(PLACE).count() {
                0 => out.push_str(line),
                places => {
                    out.push_str(&line.replace(PLACE, &self.0));
                    out.extend(std::iter::repeat_n(' ', places * spare));
                }
            }
            out.push('\n');
        }
        out
    }
}

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
    format!("{PLACE}_t{index}_{plain}")
}

fn text_of(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '?') || c == ' ' { c } else { '_' }).collect()
}

const HEAD: &str = include_str!("../../../../assets/header/head.h");

/// The text of a header: layers, then other tensors (biases and the like). It is as long with any name.
///
/// # Errors
/// When an element type has no counterpart in C, a value is not finite, or there is too much of it.
pub fn text(name: Name, layers: &[HeaderLayer], others: &[Array]) -> Result<String, HeaderError> {
    let mut out = format!("{HEAD}#ifndef LAPIDARY_HEADER_{PLACE}\n#define LAPIDARY_HEADER_{PLACE}\n\n");
    let mut rows = String::new();
    let mut index = 0;
    let shape = |out: &mut String, index: usize, shape: &[usize]| {
        let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let dims = if dims.is_empty() { vec!["1".to_owned()] } else { dims };
        let _ = writeln!(out, "static const uint32_t {PLACE}_t{index}_shape[{}] = {{{}}};", dims.len(), dims.join(", "));
        format!("{}, {PLACE}_t{index}_shape", dims.len())
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
    let _ = write!(out, "\n#define {PLACE}_COUNT {count}\nstatic const lapidary_tensor {PLACE}_tensors[{}] = {{\n", count.max(1));
    out += if count == 0 { "    {\"\", LAPIDARY_F32, 0, 0, 0, 0, LAPIDARY_F32, 0, 0, -1, 0}\n" } else { &rows };
    out += "};\n\n#endif\n";
    Ok(name.into_text(&out))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_c_and_tell_files_apart() {
        let name = |path: &str| Name::of(Path::new(path)).0;
        assert_eq!((name("a/net.h").as_str(), name("small_1.h").as_str()), ("net", "small_1"));
        let odd = [
            "ne t.h",
            "ne-t.h",
            "1net.h",
            "_net.h",
            ".h",
            "größe.h",
            "a_name_that_is_far_too_long_1.h",
            "a_name_that_is_far_too_long_2.h",
        ];
        let names: std::collections::BTreeSet<String> = odd.iter().map(|path| name(path)).collect();
        assert_eq!(names.len(), odd.len(), "{names:?}");
        assert!(names.iter().all(|n| n.len() <= NAME_WIDTH && n.starts_with(|c: char| c.is_ascii_alphabetic())), "{names:?}");
    }

    #[test]
    fn what_is_read_is_what_was_written_and_as_long_with_any_name() {
        let tensor = |values: &[f32]| Tensor::from_f32(vec![values.len()], values).unwrap();
        let array = |name: &str, tensor| Array { name: name.to_owned(), tensor };
        let codes = Tensor::from_integers(DType::I4, vec![2, 2], &[-8, 7, 0, 1]).unwrap();
        let layer = HeaderLayer {
            name: "a, \"b\" {".to_owned(),
            shape: vec![2, 2],
            codes: array("w data", codes),
            scales: Some(array("w scale", tensor(&[0.1, -2.5e-9]))),
            zero_points: None,
            codebook: None,
            axis: 0,
            block: 0,
        };
        let bias = array("bias", tensor(&[1.0, f32::MIN_POSITIVE, -0.0]));
        let write = |name: &str, layer: &HeaderLayer| {
            text(Name::of(Path::new(name)), std::slice::from_ref(layer), std::slice::from_ref(&bias)).unwrap()
        };
        let written = write("net.h", &layer);
        assert_eq!(rows(&written).unwrap(), [Row::of(&layer), Row::of_array(&bias)]);
        assert_eq!(written.len(), write("another name.h", &layer).len());
        // Each part counts.
        let others = [
            HeaderLayer { shape: vec![4], ..layer.clone() },
            HeaderLayer { scales: Some(array("w scale", tensor(&[0.1, 2.5e-9]))), ..layer.clone() },
            HeaderLayer { scales: None, ..layer.clone() },
            HeaderLayer { axis: 1, ..layer.clone() },
        ];
        for other in others {
            assert_ne!(rows(&write("net.h", &other)).unwrap().first(), Some(&Row::of(&layer)));
        }
        assert!(rows(&written.replace("1.0", "1.x")).is_err());
    }
}
