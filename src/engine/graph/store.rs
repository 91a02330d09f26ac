//! A weight in a number format → the tensors that hold it in a file. The plan makes them without values
//! and the compression with them, in one function: what is foretold is what is written.

use super::channels::Channels;
use super::layers::Layer;
use super::stored::{Book, ScaleLayout, Scales, StoredWeight};
use crate::engine::formats::pack::{pack, signed, unpack};
use crate::engine::formats::{
    Codebook, Encoded, Entries, Float, Format, Fp8, Fp8Scale, Granularity, Integer, Micro, NORMAL_BLOCK, NORMAL_LEVELS,
    NORMAL_SUPER, NormalScales, Parts, ScaleType, Scope, Sharing, Symmetry, Zeros,
};
use crate::engine::tensor::{DType, MiniFloat, Tensor, TensorError};

type Made<T> = Result<T, TensorError>;

impl StoredWeight {
    /// How `format` is stored for a layer: with the values that `encoded` holds (rows are the layer's output
    /// channels), or with none, where only sizes matter.
    ///
    /// # Errors
    /// When the layer's sizes overflow, or `encoded` is of another layer.
    pub fn of(format: Format, layer: &Layer, encoded: Option<&Encoded>) -> Made<Self> {
        let rows = layer.out_channels();
        let cols = layer.parameters() / rows.max(1);
        let store = Store { layer, rows, cols, parts: encoded.map(Encoded::parts) };
        match format {
            Format::Integer(integer) => store.integer(integer),
            Format::Float(Float::F16) => store.half(DType::F16),
            Format::Float(Float::BF16) => store.half(DType::BF16),
            Format::Float(Float::Fp8 { kind, scale }) => store.fp8(kind, scale),
            Format::Micro(micro) => store.micro(micro),
            Format::Normal(scales) => store.normal(scales),
            Format::Codebook(codebook) => store.codebook(codebook),
            Format::Ternary(sharing) => store.signs(2, sharing == Sharing::Filter, |code| code),
            // −1 and 1, as ONNX has no type of one bit that is not bool.
            Format::Binary => store.signs(1, true, |code| if code == 0 { 0b11 } else { 0b01 }),
            Format::Block(block) => {
                Ok(Self::Blocks(store.tensor(DType::Block(block), vec![rows, cols], |parts| parts.values.clone())?))
            }
        }
    }
}

/// A layer and, where there are values, its parts.
struct Store<'a> {
    layer: &'a Layer,
    rows: usize,
    cols: usize,
    parts: Option<&'a Parts>,
}

/// Whether codes lie as the layer's weight does, or row by row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Own,
    Rows,
}

impl Store<'_> {
    fn tensor(&self, dtype: DType, shape: Vec<usize>, bytes: impl FnOnce(&Parts) -> Vec<u8>) -> Made<Tensor> {
        match self.parts {
            Some(parts) => Tensor::from_bytes(dtype, shape, bytes(parts)),
            None => Tensor::zeros(dtype, shape),
        }
    }

    /// The codes of all weights, one per weight: those that fill up a line of `length` are left out.
    fn weights(&self, parts: &Parts, bits: u8, length: usize) -> Vec<u16> {
        let mut codes = vec![0; self.rows * length];
        unpack(&parts.values, bits, &mut codes);
        if length == self.cols {
            return codes;
        }
        codes.chunks(length.max(1)).flat_map(|line| line.iter().take(self.cols)).copied().collect()
    }

    /// Codes of `bits` bits as a tensor of `dtype`, through `map`.
    fn codes(&self, dtype: DType, bits: u8, length: usize, order: Order, map: impl Fn(u16) -> u16) -> Made<Tensor> {
        let shape = if order == Order::Own { self.layer.shape.clone() } else { vec![self.rows, self.cols] };
        self.tensor(dtype, shape, |parts| {
            let mut codes = self.weights(parts, bits, length);
            for code in &mut codes {
                *code = map(*code);
            }
            if order == Order::Own && self.layer.out_axis != 0 {
                codes = Channels::new(&self.layer.shape, self.layer.out_axis).scatter(&codes);
            }
            packed(&codes, dtype)
        })
    }

    fn half(&self, dtype: DType) -> Made<StoredWeight> {
        Ok(StoredWeight::Half(self.codes(dtype, 16, self.cols, Order::Own, |code| code)?))
    }

    fn fp8(&self, kind: Fp8, scale: Fp8Scale) -> Made<StoredWeight> {
        let dtype = if kind == Fp8::E4M3 { DType::F8E4M3FN } else { DType::F8E5M2 };
        let codes = self.codes(dtype, 8, self.cols, Order::Own, |code| code)?;
        self.scaled(codes, scale == Fp8Scale::Channel)
    }

    /// Codes −1, 0 and 1 of two bits, and an α for the layer or each filter.
    fn signs(&self, bits: u8, per_filter: bool, map: impl Fn(u16) -> u16) -> Made<StoredWeight> {
        let codes = self.codes(DType::I2, bits, self.cols, Order::Own, map)?;
        self.scaled(codes, per_filter)
    }

    /// f32 scales for the whole tensor or for each output channel.
    fn scaled(&self, codes: Tensor, per_channel: bool) -> Made<StoredWeight> {
        let (layout, shape) = if per_channel {
            (ScaleLayout::Axis(self.layer.out_axis), vec![self.rows])
        } else {
            (ScaleLayout::Tensor, Vec::new())
        };
        let scales = Scales::Plain(self.tensor(DType::F32, shape, |parts| parts.scales.clone())?);
        Ok(StoredWeight::Scaled { codes, scales, zero_points: None, layout })
    }

    fn integer(&self, integer: Integer) -> Made<StoredWeight> {
        let Integer { bits, symmetry, granularity, scales } = integer;
        let dtype = integer_type(bits, symmetry);
        let (layout, shape, repeat) = match granularity {
            Granularity::Tensor => (ScaleLayout::Tensor, Vec::new(), None),
            Granularity::Channel => (ScaleLayout::Axis(self.layer.out_axis), vec![self.rows], None),
            Granularity::Group(size) => (ScaleLayout::Blocked { size }, vec![self.rows, self.cols.div_ceil(size.max(1))], None),
            // ONNX has blocks along one axis: what rows share is written for each of them.
            Granularity::Block { rows, cols } => {
                let across = self.cols.div_ceil(cols.max(1));
                (ScaleLayout::Blocked { size: cols }, vec![self.rows, across], Some((rows.max(1), across)))
            }
        };
        let order = if matches!(layout, ScaleLayout::Blocked { .. }) { Order::Rows } else { Order::Own };
        let extend = |code| if symmetry == Symmetry::Asymmetric { code } else { signed(code, bits) as u16 };
        let codes = self.codes(dtype, bits, self.cols, order, extend)?;
        let scale_type = scale_type(scales);
        let stored_scales = self.tensor(scale_type, shape.clone(), |parts| match (repeat, scale_type.bits() / 8) {
            (None, _) => parts.scales.clone(),
            (Some((tall, across)), width) => {
                let items: Vec<&[u8]> = parts.scales.chunks(width).collect();
                spread(&items, self.rows, tall, across).concat()
            }
        })?;
        let zero_points = match symmetry {
            Symmetry::Restricted | Symmetry::Full | Symmetry::Wide => None,
            Symmetry::Asymmetric => Some(self.tensor(dtype, shape, |parts| {
                let tiles = parts.scales.len() / (scale_type.bits() / 8);
                let mut zeros = vec![0; tiles];
                unpack(&parts.zero_points, bits, &mut zeros);
                let zeros = repeat.map_or_else(|| zeros.clone(), |(tall, across)| spread(&zeros, self.rows, tall, across));
                packed(&zeros, dtype)
            })?),
        };
        Ok(StoredWeight::Scaled { codes, scales: Scales::Plain(stored_scales), zero_points, layout })
    }

    /// Narrow numbers in blocks along the rows. Numbers of 6 bits are all numbers of float8 as well.
    fn micro(&self, micro: Micro) -> Made<StoredWeight> {
        let size = micro.block();
        let (across, length) = (self.cols.div_ceil(size), self.cols.next_multiple_of(size));
        let (dtype, six) = match micro {
            Micro::MxFp4 | Micro::NvFp4 => (DType::F4E2M1, None),
            Micro::MxFp6E2M3 => (DType::F8E4M3FN, Some(&MiniFloat::E2M3)),
            Micro::MxFp6E3M2 => (DType::F8E4M3FN, Some(&MiniFloat::E3M2)),
            Micro::MxFp8E4M3 => (DType::F8E4M3FN, None),
            Micro::MxFp8E5M2 => (DType::F8E5M2, None),
            Micro::MxInt8 => (DType::I8, None),
        };
        let shape = vec![self.rows, self.cols];
        let codes = match six {
            None => self.codes(dtype, micro.bits(), length, Order::Rows, |code| code)?,
            Some(element) => match self.parts {
                None => Tensor::zeros(dtype, shape)?,
                Some(parts) => {
                    let codes = self.weights(parts, micro.bits(), length);
                    Tensor::from_floats(dtype, shape, &codes.iter().map(|code| element.decode(*code)).collect::<Vec<_>>())?
                }
            },
        };
        let blocks = self.rows * across;
        let scale_type = if micro == Micro::NvFp4 { DType::F8E4M3FN } else { DType::F8E8M0 };
        let head = |parts: &Parts| parts.scales.iter().take(blocks).copied().collect();
        let values = self.tensor(scale_type, vec![self.rows, across], head)?;
        let scales = match micro {
            Micro::NvFp4 => {
                let tail = |parts: &Parts| parts.scales.iter().skip(blocks).copied().collect();
                Scales::Product { values, by: self.tensor(DType::F32, Vec::new(), tail)? }
            }
            // Elements count in 64ths.
            Micro::MxInt8 => Scales::Product { values, by: Tensor::scalar_f32(1.0 / 64.0) },
            _ => Scales::Plain(values),
        };
        Ok(StoredWeight::Scaled { codes, scales, zero_points: None, layout: ScaleLayout::Blocked { size } })
    }

    fn normal(&self, normal: NormalScales) -> Made<StoredWeight> {
        let len = self.rows * self.cols;
        let blocks = len.div_ceil(NORMAL_BLOCK);
        let codes = self.tensor(DType::U4, vec![blocks, NORMAL_BLOCK], |parts| {
            let mut bytes = parts.values.clone();
            bytes.resize(blocks * NORMAL_BLOCK / 2, 0);
            bytes
        })?;
        let scales = match normal {
            NormalScales::F32 => Scales::Plain(self.tensor(DType::F32, vec![blocks, 1], |parts| parts.scales.clone())?),
            NormalScales::Double => {
                let supers = blocks.div_ceil(NORMAL_SUPER);
                let part = |from: usize, count: usize| {
                    move |parts: &Parts| parts.scales.iter().skip(from).take(count).copied().collect()
                };
                Scales::Affine {
                    codes: self.tensor(DType::I8, vec![blocks, 1], part(0, blocks))?,
                    steps: self.tensor(DType::F32, vec![supers, 1], part(blocks, 4 * supers))?,
                    mean: self.tensor(DType::F32, Vec::new(), part(blocks + 4 * supers, 4))?,
                    size: NORMAL_SUPER,
                }
            }
        };
        let entries = self.tensor(DType::F32, vec![NORMAL_LEVELS.len()], |_| f32_bytes(&NORMAL_LEVELS))?;
        Ok(StoredWeight::Book(Book { codes, entries, offsets: None, scales: Some(scales), lines: Some((1, len)) }))
    }

    fn codebook(&self, codebook: Codebook) -> Made<StoredWeight> {
        let width = codebook.entries.width();
        let apart = matches!(codebook.entries, Entries::Scalar { zeros: Zeros::Apart, .. });
        let tall = match codebook.scope {
            Scope::Layer => self.rows,
            Scope::Channels(count) => count,
        };
        let tall = tall.clamp(1, self.rows.max(1));
        let books = self.rows.div_ceil(tall);
        let count = codebook.stored() + usize::from(apart);
        let shape = if width == 1 { vec![books * count] } else { vec![books * count, width] };
        let entries = self.tensor(DType::F32, shape, |parts| {
            let book = codebook.stored() * width * 4;
            let zero: &[u8] = if apart { &[0; 4] } else { &[] };
            parts.codebook.chunks(book.max(1)).flat_map(|book| zero.iter().chain(book)).copied().collect()
        })?;
        let dtype = match codebook.bits {
            ..=2 => DType::U2,
            3..=4 => DType::U4,
            _ => DType::U8,
        };
        if books <= 1 && width == 1 {
            let codes = self.codes(dtype, codebook.bits, self.cols, Order::Own, |code| code)?;
            return Ok(StoredWeight::Book(Book { codes, entries, offsets: None, scales: None, lines: None }));
        }
        let length = self.cols.div_ceil(width);
        let codes = self.tensor(dtype, vec![self.rows, length], |parts| {
            let mut codes = vec![0; self.rows * length];
            unpack(&parts.values, codebook.bits, &mut codes);
            packed(&codes, dtype)
        })?;
        let offsets = match books {
            ..=1 => None,
            _ => Some(self.tensor(DType::I32, vec![self.rows, 1], |_| {
                (0..self.rows).flat_map(|row| ((row / tall * count) as i32).to_le_bytes()).collect()
            })?),
        };
        Ok(StoredWeight::Book(Book { codes, entries, offsets, scales: None, lines: Some((self.rows, self.cols)) }))
    }
}

/// The narrowest ONNX type that holds the values: 2, 4, 8 or 16 bits, signed where symmetric.
fn integer_type(bits: u8, symmetry: Symmetry) -> DType {
    match (bits, symmetry == Symmetry::Asymmetric) {
        (..=2, false) => DType::I2,
        (..=2, true) => DType::U2,
        (3..=4, false) => DType::I4,
        (3..=4, true) => DType::U4,
        (5..=8, false) => DType::I8,
        (5..=8, true) => DType::U8,
        (_, false) => DType::I16,
        (_, true) => DType::U16,
    }
}

fn scale_type(scales: ScaleType) -> DType {
    match scales {
        ScaleType::F32 => DType::F32,
        ScaleType::F16 => DType::F16,
        ScaleType::PowerOfTwo => DType::F8E8M0,
    }
}

fn packed(codes: &[u16], dtype: DType) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((codes.len() * dtype.bits()).div_ceil(8));
    pack(codes, dtype.bits() as u8, &mut bytes);
    bytes
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// What `tall` rows share, `across` items of it, for each of `rows` rows.
fn spread<T: Copy>(items: &[T], rows: usize, tall: usize, across: usize) -> Vec<T> {
    (0..rows).flat_map(|row| items.iter().skip(row / tall * across).take(across)).copied().collect()
}
