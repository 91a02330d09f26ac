//! Quantized matrices in the layouts of compressed-tensors, which vLLM reads.
//!
//! Sources: vllm-project/compressed-tensors `compressors/pack_quantized/{base,helpers}.py`,
//! `compressors/naive_quantized/base.py` and `quantization/quant_args.py` (names, shapes, packing, configuration);
//! vLLM's `compressed_tensors_wNa16.py` (4 and 8 bits, by group or channel) and `compressed_tensors_w8a8_int8.py`
//! (symmetric weights; one range for all data, or one per token found while the model runs).

mod read;
pub(super) mod sparse;

use crate::engine::graph::{Channels, Layer, LayerKind, ScaleLayout, Scales, StoredWeight};
use crate::engine::tensor::{DType, Tensor, TensorError};
use serde_json::{Value, json};

/// How a layer's data are rounded, as far as the layouts know it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Inputs {
    Float,
    /// One grid that was found beforehand; codes of 8 bits, those without a sign counted from −128.
    Static {
        symmetric: bool,
    },
    /// One range per token.
    Token {
        symmetric: bool,
    },
    /// What no layout holds.
    Other,
}

/// Which of the layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// `pack-quantized`: codes without a sign, the first in the lowest bits of 32-bit words that no two rows share.
    Words { bits: u8 },
    /// `int-quantized`: signed bytes.
    Bytes,
    /// `float-quantized`: float8 E4M3.
    Floats,
    /// `sparse-24-bitmask`: floats, two of every four inputs.
    Sparse { dtype: DType },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    Tensor,
    Channel,
    Group(usize),
}

/// How one layer's weight lies in the file.
#[derive(Debug, Clone)]
pub struct PackedWeight {
    pub packing: Packing,
    strategy: Strategy,
    symmetric: bool,
    inputs: Inputs,
    rows: usize,
    cols: usize,
    /// Scales as they are stored: as many as the strategy has.
    scales: DType,
}

/// What one tensor of a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Codes,
    Scales,
    ZeroPoints,
    /// The two sizes of the matrix.
    Shape,
    /// A bit for each weight: whether it is there.
    Mask,
    InputScale,
    InputZeroPoint,
}

impl PackedWeight {
    /// The layout of a weight; its tensors need no values yet.
    ///
    /// # Errors
    /// A sentence on what none of the layouts holds.
    pub fn of(stored: &StoredWeight, layer: &Layer, inputs: Inputs) -> Result<Self, String> {
        if !matches!(layer.kind, LayerKind::Gemm | LayerKind::MatMul | LayerKind::Linear) || layer.shape.len() != 2 {
            return Err(format!("the layouts hold matrices of linear layers, and it is a {}", layer.kind.name().to_lowercase()));
        }
        let StoredWeight::Scaled { codes, scales: Scales::Plain(scales), zero_points, layout } = stored else {
            return Err("the layouts hold integers and float8 with plain scales".to_owned());
        };
        if !matches!(scales.dtype(), DType::F32 | DType::F16) {
            return Err(format!("the layouts have no scales of type {}", scales.dtype()));
        }
        let rows = layer.out_channels();
        let cols = layer.parameters() / rows.max(1);
        let strategy = match *layout {
            ScaleLayout::Tensor => Strategy::Tensor,
            ScaleLayout::Axis(_) => Strategy::Channel,
            ScaleLayout::Blocked { size } if !cols.is_multiple_of(size.max(1)) => {
                return Err(format!("rows of {cols} do not divide into groups of {size}"));
            }
            ScaleLayout::Blocked { size } => Strategy::Group(size),
        };
        let symmetric = zero_points.is_none();
        let packing = packing(codes.dtype(), symmetric, strategy, inputs)?;
        // Kernels for words read one scale per row or group: one for all is written for each row.
        let strategy = match (packing, strategy) {
            (Packing::Words { .. }, Strategy::Tensor) => Strategy::Channel,
            _ => strategy,
        };
        Ok(Self { packing, strategy, symmetric, inputs, rows, cols, scales: scales.dtype() })
    }

    /// The layout of floats of which two in every four inputs are left; they need no values yet.
    ///
    /// # Errors
    /// A sentence on what it does not hold.
    pub fn sparse(stored: &StoredWeight, layer: &Layer) -> Result<Self, String> {
        let (StoredWeight::Float32(floats) | StoredWeight::Half(floats)) = stored else {
            return Err("the layout holds floats".to_owned());
        };
        let rows = layer.out_channels();
        let cols = layer.parameters() / rows.max(1);
        let is_linear = matches!(layer.kind, LayerKind::Gemm | LayerKind::MatMul | LayerKind::Linear) && layer.shape.len() == 2;
        if !is_linear || cols == 0 || !cols.is_multiple_of(4) {
            return Err(format!("rows of {cols} of a {} do not divide into fours", layer.kind.name().to_lowercase()));
        }
        let dtype = floats.dtype();
        let packing = Packing::Sparse { dtype };
        Ok(Self { packing, strategy: Strategy::Tensor, symmetric: true, inputs: Inputs::Float, rows, cols, scales: dtype })
    }

    /// What is written for the layer: a name's end, an element type and a shape each.
    #[must_use]
    pub fn parts(&self) -> Vec<(Part, &'static str, DType, Vec<usize>)> {
        let (rows, cols) = (self.rows, self.cols);
        let groups = match self.strategy {
            Strategy::Tensor | Strategy::Channel => 1,
            Strategy::Group(size) => cols / size.max(1),
        };
        let scales = if self.strategy == Strategy::Tensor { vec![1] } else { vec![rows, groups] };
        let mut parts = match self.packing {
            Packing::Sparse { dtype } => {
                return vec![
                    (Part::Codes, "compressed", dtype, vec![rows, cols / 2]),
                    (Part::Mask, "bitmask", DType::U8, vec![rows, cols.div_ceil(8)]),
                    (Part::Shape, "shape", DType::I64, vec![2, 1]),
                ];
            }
            Packing::Words { bits } => vec![
                (Part::Codes, "weight_packed", DType::I32, vec![rows, words(cols, bits)]),
                (Part::Shape, "weight_shape", DType::I64, vec![2]),
            ],
            Packing::Bytes => vec![(Part::Codes, "weight", DType::I8, vec![rows, cols])],
            Packing::Floats => vec![(Part::Codes, "weight", DType::F8E4M3FN, vec![rows, cols])],
        };
        parts.push((Part::Scales, "weight_scale", self.scales, scales));
        if let (false, Packing::Words { bits }) = (self.symmetric, self.packing) {
            parts.push((Part::ZeroPoints, "weight_zero_point", DType::I32, vec![words(rows, bits), groups]));
        }
        if let Inputs::Static { symmetric } = self.inputs {
            parts.push((Part::InputScale, "input_scale", DType::F32, vec![1]));
            if !symmetric {
                parts.push((Part::InputZeroPoint, "input_zero_point", DType::I8, vec![1]));
            }
        }
        parts
    }

    /// The layer's entry in `config_groups`, but for its targets; `None` for floats.
    #[must_use]
    pub fn scheme(&self) -> Option<Value> {
        let (kind, bits) = match self.packing {
            Packing::Sparse { .. } => return None,
            Packing::Words { bits } => ("int", bits),
            Packing::Bytes => ("int", 8),
            Packing::Floats => ("float", 8),
        };
        let (strategy, group) = match self.strategy {
            Strategy::Tensor => ("tensor", None),
            Strategy::Channel => ("channel", None),
            Strategy::Group(size) => ("group", Some(size)),
        };
        let weights = json!({
            "num_bits": bits, "type": kind, "symmetric": self.symmetric, "strategy": strategy, "group_size": group,
            "dynamic": false,
        });
        let data = |strategy: &str, symmetric: bool, dynamic: bool| json!({ "num_bits": 8, "type": kind, "symmetric": symmetric, "strategy": strategy, "dynamic": dynamic });
        let inputs = match self.inputs {
            Inputs::Float | Inputs::Other => Value::Null,
            Inputs::Static { symmetric } => data("tensor", symmetric, false),
            Inputs::Token { symmetric } => data("token", symmetric, true),
        };
        Some(json!({
            "weights": weights, "input_activations": inputs, "output_activations": null, "format": self.packing.name(),
        }))
    }

    /// The bytes of one part of some rows of the matrix (all of them, or a multiple of 32 that other rows follow);
    /// `stored` and `layer` are of these rows alone.
    ///
    /// # Errors
    /// When `stored` is not what the layout was made for.
    pub fn bytes(&self, part: Part, stored: &StoredWeight, layer: &Layer) -> Result<Vec<u8>, TensorError> {
        if let (Packing::Sparse { .. }, Part::Codes | Part::Mask) = (self.packing, part) {
            return self.left(part, stored, layer);
        }
        if part == Part::Shape {
            return Ok([self.rows, self.cols].iter().flat_map(|n| (*n as i64).to_le_bytes()).collect());
        }
        let StoredWeight::Scaled { codes, scales: Scales::Plain(scales), zero_points, .. } = stored else {
            return Err(TensorError::Type { dtype: stored.dtype(), wanted: "integers or float8 with plain scales" });
        };
        let rows = layer.out_channels();
        Ok(match part {
            Part::Codes => self.codes(codes, layer),
            Part::Scales if self.strategy == Strategy::Channel && scales.len() == 1 => scales.bytes().repeat(rows),
            Part::Scales => scales.bytes().into_owned(),
            Part::ZeroPoints => match (self.packing, zero_points) {
                (Packing::Words { bits }, Some(zeros)) => {
                    let zeros = unpacked(zeros);
                    // One for all is written for each row, as scales are.
                    let zeros = if zeros.len() == 1 { zeros.repeat(rows) } else { zeros };
                    zero_words(&zeros, rows, bits)
                }
                _ => Vec::new(),
            },
            // Data are no part of a stored weight: they are written by who knows them.
            Part::InputScale | Part::InputZeroPoint | Part::Shape | Part::Mask => Vec::new(),
        })
    }

    /// What pruning left of rows of floats, or where it lies.
    fn left(&self, part: Part, stored: &StoredWeight, layer: &Layer) -> Result<Vec<u8>, TensorError> {
        let dense = TensorError::Type { dtype: stored.dtype(), wanted: "floats with two weights in every four" };
        let (StoredWeight::Float32(floats) | StoredWeight::Half(floats)) = stored else { return Err(dense) };
        let (bytes, width) = (floats.bytes(), floats.dtype().bits() / 8);
        let turn = || Channels::new(&layer.shape, layer.out_axis);
        let rows = match (layer.out_axis, width) {
            (0, _) => bytes,
            (_, 2) => turn().gather(bytes.as_chunks::<2>().0).concat().into(),
            _ => turn().gather(bytes.as_chunks::<4>().0).concat().into(),
        };
        let (left, mask) = sparse::pack(&rows, self.cols, width).map_err(|_| dense)?;
        Ok(if part == Part::Mask { mask } else { left })
    }

    /// Rows of codes, whatever way the layer's weight lies.
    fn codes(&self, codes: &Tensor, layer: &Layer) -> Vec<u8> {
        // Codes with scales by group lie as rows already, whatever way the weight lies.
        let turned = layer.out_axis != 0 && !matches!(self.strategy, Strategy::Group(_));
        let rows = || {
            let codes = unpacked(codes);
            if turned { Channels::new(&layer.shape, layer.out_axis).gather(&codes) } else { codes }
        };
        let Packing::Words { bits } = self.packing else {
            return if turned || codes.dtype().bits() != 8 { rows() } else { codes.bytes().into_owned() };
        };
        // Codes with a sign are counted from the lowest.
        let lift = if self.symmetric { 1_u8 << (bits - 1) } else { 0 };
        let fills_words = (self.cols * usize::from(bits)).is_multiple_of(32);
        if !turned && fills_words && codes.dtype().bits() == usize::from(bits) {
            let lift = if bits == 4 { lift | lift << 4 } else { lift };
            return codes.bytes().iter().map(|byte| byte ^ lift).collect();
        }
        let mask = u8::MAX >> (8 - bits);
        let mut bytes = Vec::new();
        for row in rows().chunks(self.cols.max(1)) {
            let lifted: Vec<u8> = row.iter().map(|code| code.wrapping_add(lift) & mask).collect();
            pack(&lifted, bits, &mut bytes);
        }
        bytes
    }
}

impl Packing {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Words { .. } => "pack-quantized",
            Self::Bytes => "int-quantized",
            Self::Floats => "float-quantized",
            Self::Sparse { .. } => "sparse-24-bitmask",
        }
    }
}

fn packing(codes: DType, symmetric: bool, strategy: Strategy, inputs: Inputs) -> Result<Packing, String> {
    let integer = matches!(codes, DType::I2 | DType::U2 | DType::I4 | DType::U4 | DType::I8 | DType::U8);
    match (codes, inputs) {
        (_, Inputs::Other) => {
            Err("its data are rounded as no layout has it; take `Static` or `DynamicWith(per: Token)` with 8 bits, or None"
                .to_owned())
        }
        (DType::F8E4M3FN, Inputs::Float) if !matches!(strategy, Strategy::Group(_)) => Ok(Packing::Floats),
        (DType::F8E4M3FN, _) => Err("float8 is held per tensor or channel, with data left in floats".to_owned()),
        (_, Inputs::Float) if integer => Ok(Packing::Words { bits: if codes.bits() == 8 { 8 } else { 4 } }),
        _ if !integer => Err(format!("the layouts have no codes of type {codes}")),
        _ if !symmetric => Err("where data are rounded too, the weights must be symmetric".to_owned()),
        _ if matches!(strategy, Strategy::Group(_)) => {
            Err("where data are rounded too, weights have one scale per channel or tensor".to_owned())
        }
        _ => Ok(Packing::Bytes),
    }
}

/// 32-bit words of so many codes.
fn words(count: usize, bits: u8) -> usize {
    (count * usize::from(bits)).div_ceil(32)
}

/// Appends codes of 4 or 8 bits, filled up with zeros to whole words.
fn pack(codes: &[u8], bits: u8, out: &mut Vec<u8>) {
    let start = out.len();
    match bits {
        8 => out.extend(codes),
        _ => out.extend(codes.chunks(2).map(|pair| pair.iter().rev().fold(0, |byte, code| byte << 4 | code & 15))),
    }
    out.resize(start + words(codes.len(), bits) * 4, 0);
}

/// One byte per code; those of signed types keep their sign.
fn unpacked(codes: &Tensor) -> Vec<u8> {
    let bytes = codes.bytes();
    let bits = codes.dtype().bits();
    if bits >= 8 {
        return bytes.into_owned();
    }
    let (per_byte, mask) = (8 / bits, u8::MAX >> (8 - bits));
    let signed = matches!(codes.dtype(), DType::I4 | DType::I2);
    let code = |byte: u8, place: usize| {
        let code = byte >> (place * bits) & mask;
        if signed && code >> (bits - 1) == 1 { code | !mask } else { code }
    };
    bytes.iter().flat_map(|byte| (0..per_byte).map(|place| code(*byte, place))).take(codes.len()).collect()
}

/// Zero points [rows, groups], packed down the rows: [words, groups].
fn zero_words(zeros: &[u8], rows: usize, bits: u8) -> Vec<u8> {
    let groups = zeros.len() / rows.max(1);
    let columns: Vec<Vec<u8>> = (0..groups)
        .map(|group| {
            let mut packed = Vec::new();
            pack(&zeros.iter().skip(group).step_by(groups.max(1)).copied().collect::<Vec<_>>(), bits, &mut packed);
            packed
        })
        .collect();
    let count = words(rows, bits);
    let word = |word: usize, column: &Vec<u8>| column.iter().skip(word * 4).take(4).copied().collect::<Vec<_>>();
    (0..count).flat_map(|at| columns.iter().flat_map(move |column| word(at, column))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(dtype: DType, codes: &[i64], shape: &[usize], zeros: Option<&[i64]>, layout: ScaleLayout) -> StoredWeight {
        let count = match layout {
            ScaleLayout::Tensor => 1,
            ScaleLayout::Axis(_) => 2,
            ScaleLayout::Blocked { size } => codes.len() / size,
        };
        let scales: Vec<f32> = (0..count).map(|i| i as f32 + 0.5).collect();
        let zero_points = zeros.map(|z| Tensor::from_integers(dtype, vec![z.len()], z).unwrap());
        let codes = Tensor::from_integers(dtype, shape.to_vec(), codes).unwrap();
        StoredWeight::Scaled {
            codes,
            scales: Scales::Plain(Tensor::from_f32(vec![count], &scales).unwrap()),
            zero_points,
            layout,
        }
    }

    #[test]
    fn four_bits_lie_eight_to_a_word_and_rows_apart() {
        let layer = Layer::lone(LayerKind::Linear, &[2, 3]);
        let weight = stored(DType::I4, &[-8, 0, 7, 1, -1, 2], &[2, 3], None, ScaleLayout::Axis(0));
        let packed = PackedWeight::of(&weight, &layer, Inputs::Float).unwrap();
        assert_eq!(packed.bytes(Part::Codes, &weight, &layer).unwrap(), [0x80, 0x0F, 0, 0, 0x79, 0x0A, 0, 0]);
        assert_eq!(packed.parts()[0].3, [2, 1]);
        assert_eq!(packed.bytes(Part::Shape, &weight, &layer).unwrap(), [2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(packed.scheme().unwrap()["weights"]["strategy"], "channel");
    }

    #[test]
    fn matrices_that_lie_across_are_turned_and_narrow_codes_widened() {
        let mut layer = Layer::lone(LayerKind::MatMul, &[2, 3]);
        layer.out_axis = 1;
        let weight = stored(DType::I2, &[-2, 0, 1, -1, 1, 0], &[2, 3], None, ScaleLayout::Tensor);
        let packed = PackedWeight::of(&weight, &layer, Inputs::Float).unwrap();
        let rows = packed.bytes(Part::Codes, &weight, &layer).unwrap();
        assert_eq!(rows, [0x76, 0, 0, 0, 0x98, 0, 0, 0, 0x89, 0, 0, 0]);
        assert_eq!(packed.bytes(Part::Scales, &weight, &layer).unwrap(), 0.5_f32.to_le_bytes().repeat(3));
    }

    #[test]
    fn rows_of_groups_are_not_turned_though_the_matrix_is_square() {
        let mut layer = Layer::lone(LayerKind::MatMul, &[2, 2]);
        layer.out_axis = 1;
        let weight = stored(DType::I4, &[1, 2, 3, 4], &[2, 2], None, ScaleLayout::Blocked { size: 2 });
        let packed = PackedWeight::of(&weight, &layer, Inputs::Float).unwrap();
        assert_eq!(packed.bytes(Part::Codes, &weight, &layer).unwrap(), [0xA9, 0, 0, 0, 0xCB, 0, 0, 0]);
    }

    #[test]
    fn zero_points_are_packed_down_the_rows() {
        let layer = Layer::lone(LayerKind::Linear, &[2, 4]);
        let weight = stored(DType::U8, &[9; 8], &[2, 4], Some(&[1, 2, 3, 4]), ScaleLayout::Blocked { size: 2 });
        let packed = PackedWeight::of(&weight, &layer, Inputs::Float).unwrap();
        assert_eq!(packed.bytes(Part::ZeroPoints, &weight, &layer).unwrap(), [1, 3, 0, 0, 2, 4, 0, 0]);
        assert_eq!(packed.bytes(Part::Codes, &weight, &layer).unwrap(), [9; 8], "no sign: nothing is lifted");
    }

    #[test]
    fn what_no_layout_holds_is_said() {
        let layer = Layer::lone(LayerKind::Linear, &[2, 4]);
        let zeros = Some(&[1, 2][..]);
        let asymmetric = stored(DType::U8, &[9; 8], &[2, 4], zeros, ScaleLayout::Axis(0));
        let refused = PackedWeight::of(&asymmetric, &layer, Inputs::Token { symmetric: true }).unwrap_err();
        assert!(refused.contains("symmetric"), "{refused}");
        let bytes = stored(DType::I8, &[-1; 8], &[2, 4], None, ScaleLayout::Axis(0));
        let packed = PackedWeight::of(&bytes, &layer, Inputs::Token { symmetric: true }).unwrap();
        assert_eq!(packed.bytes(Part::Codes, &bytes, &layer).unwrap(), [0xFF; 8]);
        let grouped = stored(DType::I8, &[-1; 8], &[2, 4], None, ScaleLayout::Blocked { size: 3 });
        assert!(PackedWeight::of(&grouped, &layer, Inputs::Float).unwrap_err().contains("groups of 3"));
        let conv = Layer::lone(LayerKind::Conv, &[2, 4, 1, 1]);
        assert!(PackedWeight::of(&bytes, &conv, Inputs::Float).unwrap_err().contains("conv"));
    }
}
