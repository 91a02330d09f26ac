//! The values that packed matrices stand for.

use super::{PackedWeight, Packing, Strategy, unpacked};
use crate::engine::graph::{Channels, Layer};
use crate::engine::tensor::{DType, Tensor, TensorError};

impl PackedWeight {
    /// The layer's weights, as the layer reads them, from the tensors of a file: `part` gives one by its name's end.
    ///
    /// # Errors
    /// What is missing, or does not have the layout.
    pub fn values<'a>(&self, layer: &Layer, part: &dyn Fn(&str) -> Option<&'a Tensor>) -> Result<Vec<f32>, String> {
        let need = |end: &str| part(end).ok_or_else(|| format!("there is no {end}"));
        let fail = |e: TensorError| e.to_string();
        let rows = match self.packing {
            // The reader of the file has put it together.
            Packing::Sparse { .. } => need("weight")?.to_f32().map_err(fail)?,
            Packing::Words { bits } => {
                let codes = self.codes_of_words(need("weight_packed")?, bits)?;
                let scales = need("weight_scale")?.to_f32().map_err(fail)?;
                let zeros = if self.symmetric { None } else { Some(self.zeros(need("weight_zero_point")?, bits)?) };
                let middle = 1 << (bits - 1);
                self.scaled(&codes, &scales, |group| zeros.as_ref().map_or(Some(middle), |z| z.get(group).copied()))?
            }
            Packing::Bytes | Packing::Floats => {
                let codes = need("weight")?.to_f32().map_err(fail)?;
                let scales = need("weight_scale")?.to_f32().map_err(fail)?;
                self.scaled(&codes, &scales, |_| Some(0))?
            }
        };
        Ok(if layer.out_axis == 0 { rows } else { Channels::new(&layer.shape, layer.out_axis).scatter(&rows) })
    }

    fn codes_of_words(&self, words: &Tensor, bits: u8) -> Result<Vec<f32>, String> {
        let bytes = unpacked(&as_codes(words, bits)?);
        let across = bytes.len() / self.rows.max(1);
        Ok(bytes.chunks(across.max(1)).flat_map(|row| row.iter().take(self.cols)).map(|code| f32::from(*code)).collect())
    }

    /// One per group; in the file they lie down the rows.
    fn zeros(&self, words: &Tensor, bits: u8) -> Result<Vec<i32>, String> {
        let &[tall, groups] = words.shape() else { return Err("zero points are no matrix".to_owned()) };
        let per_word = 32 / usize::from(bits);
        let turned = words.transposed().map_err(|e| e.to_string())?;
        let codes = unpacked(&as_codes(&turned, bits)?);
        let at = |row: usize, group: usize| codes.get(group * tall * per_word + row).map(|code| i32::from(*code));
        let all = (0..self.rows).flat_map(|row| (0..groups).map(move |group| at(row, group)));
        all.collect::<Option<_>>().ok_or_else(|| "zero points are missing".to_owned())
    }

    /// (code − zero) · scale, in float32 as the operator `DequantizeLinear` has it.
    fn scaled(&self, codes: &[f32], scales: &[f32], zero: impl Fn(usize) -> Option<i32>) -> Result<Vec<f32>, String> {
        if codes.len() != self.rows * self.cols {
            return Err(format!("{} codes are no [{}, {}]", codes.len(), self.rows, self.cols));
        }
        let group = |i: usize| match self.strategy {
            Strategy::Tensor => 0,
            Strategy::Channel => i / self.cols.max(1),
            Strategy::Group(size) => i / self.cols.max(1) * (self.cols / size.max(1)) + i % self.cols.max(1) / size.max(1),
        };
        let value = |(i, code): (usize, &f32)| Some((code - zero(group(i))? as f32) * scales.get(group(i))?);
        codes.iter().enumerate().map(value).collect::<Option<_>>().ok_or_else(|| "scales are missing".to_owned())
    }
}

/// Words as the codes in them.
fn as_codes(words: &Tensor, bits: u8) -> Result<Tensor, String> {
    let dtype = if bits == 8 { DType::U8 } else { DType::U4 };
    let count = words.size_bytes() * 8 / usize::from(bits);
    Tensor::from_bytes(dtype, vec![count], words.bytes().into_owned()).map_err(|e| e.to_string())
}
