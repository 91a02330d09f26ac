//! C headers of our own, read again: what a compiler makes of their tables.

use super::{Array, HeaderLayer, c_type, text_of};
use crate::engine::tensor::Tensor;
use std::collections::BTreeMap;

/// A row of a header's table with the arrays that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    /// The type of the codes, as the header names it.
    kind: String,
    data: Vec<u8>,
    shape: Vec<usize>,
    /// Type and bytes.
    scale: Option<(String, Vec<u8>)>,
    zero: Option<Vec<u8>>,
    codebook: Option<Vec<u8>>,
    axis: i32,
    block: usize,
}

impl Row {
    /// The row that a layer has to have.
    #[must_use]
    pub fn of(layer: &HeaderLayer) -> Self {
        let bytes = |array: &Array| array.tensor.bytes().into_owned();
        Self {
            shape: layer.shape.clone(),
            scale: layer.scales.as_ref().map(|scales| (kind_of(&scales.tensor), bytes(scales))),
            zero: layer.zero_points.as_ref().map(bytes),
            codebook: layer.codebook.as_ref().map(bytes),
            axis: layer.axis,
            block: layer.block,
            ..Self::bare(&layer.name, &layer.codes.tensor)
        }
    }

    /// The row that a tensor has to have which is no layer's.
    #[must_use]
    pub fn of_array(array: &Array) -> Self {
        Self::bare(&array.name, &array.tensor)
    }

    fn bare(name: &str, tensor: &Tensor) -> Self {
        Self {
            name: text_of(name),
            kind: kind_of(tensor),
            data: tensor.bytes().into_owned(),
            shape: if tensor.shape().is_empty() { vec![1] } else { tensor.shape().to_vec() },
            scale: None,
            zero: None,
            codebook: None,
            axis: -1,
            block: 0,
        }
    }
}

fn kind_of(tensor: &Tensor) -> String {
    c_type(tensor.dtype()).map_or_else(String::new, |(_, kind, _)| kind.to_owned())
}

/// The rows of a header's table.
///
/// # Errors
/// What is no number, no row, or no array.
pub fn rows(text: &str) -> Result<Vec<Row>, String> {
    let mut arrays: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some((kind, rest)) = line.strip_prefix("static const ").and_then(|l| l.split_once(' ')) else { continue };
        let Some((id, values)) = rest.split_once('[').and_then(|(id, rest)| Some((id, rest.split_once("] = {")?.1))) else {
            return Err(format!("\"{line}\" is no array"));
        };
        if kind == "lapidary_tensor" {
            return lines.by_ref().take_while(|line| *line != "};").map(|line| row(line, &arrays)).collect();
        }
        let mut bytes = Vec::new();
        // A shape takes one line, numbers take many.
        match values.strip_suffix("};") {
            Some(values) => read(values, kind, &mut bytes)?,
            None => {
                for line in lines.by_ref().take_while(|line| *line != "};") {
                    read(line, kind, &mut bytes)?;
                }
            }
        }
        arrays.insert(id, bytes);
    }
    Err("it has no table".to_owned())
}

/// Appends the bytes of the numbers of a line.
fn read(line: &str, kind: &str, bytes: &mut Vec<u8>) -> Result<(), String> {
    for number in line.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        append(number, kind, bytes).ok_or_else(|| format!("\"{number}\" is no {kind}"))?;
    }
    Ok(())
}

fn append(number: &str, kind: &str, bytes: &mut Vec<u8>) -> Option<()> {
    let pattern = || number.strip_prefix("0x");
    match kind {
        "float" => bytes.extend(number.strip_suffix('f')?.parse::<f32>().ok()?.to_le_bytes()),
        "int8_t" => bytes.extend(number.parse::<i8>().ok()?.to_le_bytes()),
        "int16_t" => bytes.extend(number.parse::<i16>().ok()?.to_le_bytes()),
        "int32_t" => bytes.extend(number.parse::<i32>().ok()?.to_le_bytes()),
        "uint16_t" => bytes.extend(u16::from_str_radix(pattern()?, 16).ok()?.to_le_bytes()),
        "uint8_t" => bytes.push(u8::from_str_radix(pattern()?, 16).ok()?),
        "uint32_t" => bytes.extend(number.parse::<u32>().ok()?.to_le_bytes()),
        _ => return None,
    }
    Some(())
}

/// `{"name", kind, data, rank, shape, scale, scale kind, zero, codebook, axis, block},`
fn row(line: &str, arrays: &BTreeMap<&str, Vec<u8>>) -> Result<Row, String> {
    let parse = || {
        let (name, rest) = line.trim_start().strip_prefix("{\"")?.split_once("\", ")?;
        let fields: Vec<&str> = rest.trim_end().strip_suffix("},")?.split(", ").collect();
        let [kind, data, rank, shape, scale, scale_kind, zero, codebook, axis, block] = *fields.as_slice() else { return None };
        let array = |id: &str| (id != "0").then(|| arrays.get(id).cloned());
        let shape: Vec<usize> = array(shape)??.as_chunks::<4>().0.iter().map(|dim| u32::from_le_bytes(*dim) as usize).collect();
        let optional = |id: &str| array(id).map_or(Some(None), |found| found.map(Some));
        Some(Row {
            name: name.to_owned(),
            kind: kind.to_owned(),
            data: array(data)??,
            shape: (rank.parse() == Ok(shape.len())).then_some(shape)?,
            scale: optional(scale)?.map(|bytes| (scale_kind.to_owned(), bytes)),
            zero: optional(zero)?,
            codebook: optional(codebook)?,
            axis: axis.parse().ok()?,
            block: block.parse().ok()?,
        })
    };
    parse().ok_or_else(|| format!("\"{}\" is no row", line.trim()))
}
