//! Our own archive: the ONNX file that would have been written, with its tensors entropy-coded.

use super::ExportError;
use super::place::Pending;
use crate::engine::Ctx;
use crate::engine::graph::Wire;
use crate::engine::tensor::Tensor;
use crate::pipeline::load;
use crate::pipeline::load::lapidary::{self, Gain, Source};

/// Writes the archive of `file`; what lies where in it our own reader says.
pub(super) fn write(file: &[u8], pending: &mut Pending, ctx: &Ctx) -> Result<Gain, ExportError> {
    let mut plain = Pending::new(&pending.target, ".onnx")?;
    plain.put(file)?;
    let loaded = load::model(plain.file.path(), &ctx.fresh())?;
    let place = |(wire, tensor): (&Wire, &Tensor)| {
        Some(Source { name: wire.to_string(), place: tensor.place_in_file()?, tensor: tensor.clone() })
    };
    let sources = loaded.model.constants.iter().filter_map(place).collect();
    let (bytes, gain) = lapidary::write(file, sources, ctx)?;
    pending.put(&bytes)?;
    Ok(gain)
}
