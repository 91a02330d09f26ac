//! safetensors, plain or in the layouts of compressed-tensors. A layer is made, written and forgotten before the
//! next one, where the model is a file of weights; then memory holds a few rows of one layer at a time.

use super::place::{self, Pending};
use super::{ExportError, Format, Source};
use crate::engine::Ctx;
use crate::engine::formats::{self, Float, Fp8Scale, Granularity, Integer, Micro};
use crate::engine::graph::{Layer, Model, StoredWeight};
use crate::engine::tensor::{DType, Tensor, TensorError};
use crate::pipeline::compress::{CompressError, CompressedLayer, alone};
use crate::pipeline::configure::{
    Held, ImportanceSource, LayerPlan, Plan, Rounding, Sparsity, WeightsFile, module, weights_file, weights_of,
};
use crate::pipeline::load::Subject;
use crate::pipeline::load::safetensors::packed::{PackedWeight, Part};
use crate::pipeline::load::safetensors::write::{Filler, SafetensorsError, Written};
use flate2::Crc;
use rayon::prelude::*;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// Bytes of weights that are worked on at once, about.
const SLAB_BYTES: usize = 4 << 20;
/// Zero points of so many rows fill whole words.
const ROWS_OF_WORDS: usize = 32;

/// What a file holds, and what belongs beside it.
pub(super) struct Wrote {
    pub(super) written: Vec<Written>,
    pub(super) config: Option<Value>,
}

pub(super) fn write(
    format: Format,
    source: Source<'_>,
    plan: &Plan,
    subject: &Subject,
    file: &mut File,
    ctx: &Ctx,
) -> Result<Wrote, ExportError> {
    let forms: Vec<Option<StoredWeight>> =
        plan.layers.iter().map(|layer| layer.form(format)).collect::<Result<_, TensorError>>()?;
    let WeightsFile { sheet, held, config } = weights_file(&plan.recipe, subject, &plan.layers, &forms, format)?;
    let places: BTreeMap<_, _> = plan.layers.iter().enumerate().map(|(i, l)| (&l.layer.weight, i)).collect();
    let mut to = Writer { filler: Filler::new(&sheet, file).map_err(SafetensorsError::from)? };
    for (wire, tensor) in weights_of(subject) {
        ctx.check()?;
        let treated = places.get(wire).and_then(|i| Some((*i, plan.layers.get(*i)?, held.get(*i)?)));
        match treated {
            None | Some((_, _, Held::Original)) => to.copy(wire, tensor)?,
            Some((i, layer, held)) => match source {
                Source::Streamed => to.stream(layer, held, tensor, ctx)?,
                Source::Made(variant) => to.made(layer, held, variant.layers.get(i), &variant.model)?,
            },
        }
        tensor.forget();
    }
    Ok(Wrote { written: to.filler.finish()?, config })
}

struct Writer<'a> {
    filler: Filler<'a>,
}

impl Writer<'_> {
    /// A tensor as it is.
    fn copy(&mut self, name: &str, tensor: &Tensor) -> Result<(), ExportError> {
        if matches!(tensor.dtype(), DType::Block(_)) {
            return Ok(self.filler.add(name, &floats(&tensor.to_f32()?))?);
        }
        for part in tensor.bytes().chunks(SLAB_BYTES) {
            self.filler.add(name, part)?;
        }
        Ok(())
    }

    /// A layer that has been compressed.
    fn made(&mut self, plan: &LayerPlan, held: &Held, made: Option<&CompressedLayer>, model: &Model) -> Result<(), ExportError> {
        let name = &*plan.layer.weight;
        let missing = || ExportError::CheckFailed { name: "layer made".to_owned(), value: plan.layer.name.clone() };
        let made = made.ok_or_else(missing)?;
        match held {
            Held::Values => self.copy(name, made.dense.as_ref().ok_or_else(missing)?),
            _ => {
                let stored = made.stored.as_ref().ok_or_else(missing)?;
                self.piece(&plan.layer, held, stored, true)?;
                let Held::Packed(packed) = held else { return Ok(()) };
                self.inputs(plan, packed, model)
            }
        }
    }

    /// A layer, compressed a few rows at a time where rows do not depend on each other.
    fn stream(&mut self, plan: &LayerPlan, held: &Held, tensor: &Tensor, ctx: &Ctx) -> Result<(), ExportError> {
        let slabs = slabs(plan, tensor);
        for slabs in slabs.chunks(ctx.pool().current_num_threads().max(1)) {
            ctx.check()?;
            let made: Vec<_> = ctx
                .pool()
                .install(|| slabs.par_iter().map(|rows| make(plan, tensor, rows, ctx)).collect::<Result<_, ExportError>>())?;
            for (rows, (layer, made)) in slabs.iter().zip(made) {
                match held {
                    Held::Values => self.filler.add(&plan.layer.weight, &floats(&made.weights))?,
                    _ => {
                        let stored = made.stored.as_ref().ok_or_else(|| no_weights(plan))?;
                        self.piece(&layer, held, stored, rows.start == 0)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What is stored of a layer, or of some of its rows.
    fn piece(&mut self, layer: &Layer, held: &Held, stored: &StoredWeight, first: bool) -> Result<(), ExportError> {
        let Held::Packed(packed) = held else {
            let whole = stored.whole().ok_or(TensorError::Type { dtype: stored.dtype(), wanted: "a whole tensor" })?;
            return Ok(self.filler.add(&layer.weight, &whole.bytes())?);
        };
        for (part, end, _, _) in packed.parts() {
            if part != Part::Shape || first {
                let name = format!("{}.{end}", module(&layer.weight));
                self.filler.add(&name, &packed.bytes(part, stored, layer)?)?;
            }
        }
        Ok(())
    }

    /// The grid of a layer's data: that of the node which rounds them.
    fn inputs(&mut self, plan: &LayerPlan, packed: &PackedWeight, model: &Model) -> Result<(), ExportError> {
        let Some([scale, zero]) = rounding_of(plan, model) else { return Ok(()) };
        for (part, end, _, _) in packed.parts() {
            let name = format!("{}.{end}", module(&plan.layer.weight));
            match part {
                Part::InputScale => self.filler.add(&name, &scale.bytes())?,
                Part::InputZeroPoint => {
                    // Codes without a sign are counted from −128.
                    let lift = if zero.dtype() == DType::U8 { 128 } else { 0 };
                    let zeros: Vec<u8> = zero.to_i64()?.iter().map(|z| (z - lift) as i8 as u8).collect();
                    self.filler.add(&name, &zeros)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn no_weights(plan: &LayerPlan) -> ExportError {
    ExportError::CheckFailed { name: "layer made".to_owned(), value: plan.layer.name.clone() }
}

/// Scale and zero point that a layer's data are rounded with.
fn rounding_of<'a>(plan: &LayerPlan, model: &'a Model) -> Option<[&'a Tensor; 2]> {
    let rounded = model.node(plan.layer.node?)?.input(0)?;
    let node = model.nodes.iter().find(|n| n.op == "DequantizeLinear" && n.output(0) == Some(rounded))?;
    Some([model.constants.get(node.input(1)?)?, model.constants.get(node.input(2)?)?])
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Rows that are compressed together: all, unless each row's storage depends on that row alone.
fn slabs(plan: &LayerPlan, tensor: &Tensor) -> Vec<Range<usize>> {
    let count = plan.layer.shape.first().copied().unwrap_or(0);
    if count == 0 || plan.layer.out_axis != 0 || !rows_are_apart(plan) || tensor.rows(0..1).is_err() {
        return std::iter::once(0..count).collect();
    }
    let row_bytes = 4 * (plan.layer.parameters() / count).max(1);
    let tall = (SLAB_BYTES / row_bytes).max(1).next_multiple_of(ROWS_OF_WORDS);
    (0..count).step_by(tall).map(|start| start..(start + tall).min(count)).collect()
}

fn rows_are_apart(plan: &LayerPlan) -> bool {
    let treatment = &plan.treatment;
    let format = treatment.weights.format().is_none_or(|format| match format {
        formats::Format::Integer(Integer { granularity, .. }) => {
            matches!(granularity, Granularity::Channel | Granularity::Group(_))
        }
        formats::Format::Float(float) => !matches!(float, Float::Fp8 { scale: Fp8Scale::Tensor, .. }),
        formats::Format::Micro(micro) => micro != Micro::NvFp4,
        formats::Format::Block(_) => true,
        _ => false,
    });
    // What stochastic rounding draws depends on the place in the whole.
    let rounding = !matches!(treatment.rounding, Rounding::Stochastic { .. });
    let sparsity = matches!(treatment.sparsity, Sparsity::Dense | Sparsity::Threshold(_) | Sparsity::Pattern { .. });
    let importance = matches!(plan.importance, ImportanceSource::None | ImportanceSource::File(_));
    format && rounding && sparsity && importance
}

/// Some rows of a layer, and the layer that they would be.
fn make(
    plan: &LayerPlan,
    tensor: &Tensor,
    rows: &Range<usize>,
    ctx: &Ctx,
) -> Result<(Layer, crate::pipeline::compress::Alone), ExportError> {
    let part =
        if rows.len() == plan.layer.shape.first().copied().unwrap_or(0) { tensor.clone() } else { tensor.rows(rows.clone())? };
    let mut plan = plan.clone();
    plan.layer.shape = part.shape().to_vec();
    let weights = part.to_f32()?;
    part.forget();
    let made = alone(&plan, weights, ctx).map_err(|e: CompressError| ExportError::Compress(Box::new(e)))?;
    Ok((plan.layer, made))
}

/// Whether every tensor of a file is what was made: its bytes are read again.
///
/// # Errors
/// What the disk says.
pub(super) fn same_bytes(file: &mut File, written: &[Written]) -> io::Result<Result<usize, String>> {
    let mut buffer = vec![0; 1 << 20];
    for tensor in written {
        file.seek(SeekFrom::Start(tensor.start))?;
        let mut crc = Crc::new();
        let mut left = tensor.end - tensor.start;
        while left > 0 {
            let size = left.min(buffer.len() as u64) as usize;
            let part = buffer.get_mut(..size).unwrap_or_default();
            file.read_exact(part)?;
            crc.update(part);
            left -= size as u64;
        }
        if crc.sum() != tensor.crc {
            return Ok(Err(tensor.name.clone()));
        }
    }
    Ok(Ok(written.len()))
}

/// `config.json` beside the file: that of the original, with how the weights are packed. Where nothing is packed, none
/// is needed; one that still says how the file's older weights were packed is set right.
pub(super) fn config(out: &Path, config: Option<&Value>, subject: &Subject) -> Result<Option<Pending>, ExportError> {
    const NAME: &str = "config.json";
    const HOW: &str = "quantization_config";
    let target = place::folder(out).join(NAME);
    let read = |path: &Path| -> Option<Map<String, Value>> { serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok() };
    let there = read(&target);
    let ours =
        there.as_ref().and_then(|c| c.get(HOW)).and_then(|c| c.get("quant_method")).is_some_and(|m| m == "compressed-tensors");
    let original = place::folder(&subject.loaded.path).join(NAME);
    let own = match (target.canonicalize(), original.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    };
    let others = own || has_other_weights(out);
    let all = match (config, there) {
        (Some(config), there) => {
            place::check(&target, &subject.loaded)?;
            if target.exists() && (others || there.is_none() || !ours) {
                return Err(ExportError::Beside { path: target });
            }
            let mut all = if subject.loaded.has_graph() { None } else { read(&original) }.unwrap_or_default();
            all.insert(HOW.to_owned(), config.clone());
            all
        }
        (None, Some(mut there)) if ours && !others => {
            there.remove(HOW);
            there
        }
        (None, _) => return Ok(None),
    };
    let mut pending = Pending::new(&target, ".json")?;
    pending.put(format!("{:#}\n", Value::Object(all)).as_bytes())?;
    Ok(Some(pending))
}

/// Whether other weights lie in the folder: a configuration that is there speaks of them.
fn has_other_weights(out: &Path) -> bool {
    std::fs::read_dir(place::folder(out)).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let is_weights = Path::new(&name).extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
        is_weights && !name.to_string_lossy().starts_with('.') && Some(name.as_os_str()) != out.file_name()
    })
}
