//! safetensors: weights without a graph, in one file or in shards that an index names.

pub mod packed;
pub mod write;

use super::error::LoadError;
use crate::engine::context::Ctx;
use crate::engine::graph::Wire;
use crate::engine::tensor::{DType, MappedFile, Tensor};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

/// The tensors of one file, named as in it; the bytes stay in the map.
pub(super) fn read(path: &Path, map: &MappedFile, ctx: &Ctx) -> Result<BTreeMap<Wire, Tensor>, LoadError> {
    let corrupt = |e: safetensors::SafeTensorError| LoadError::corrupt(path, e.to_string());
    SafeTensors::deserialize(map.as_slice()).map_err(corrupt)?;
    let (header, metadata) = SafeTensors::read_metadata(map.as_slice()).map_err(corrupt)?;
    let mut found = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let Some(dtype) = dtype(info.dtype) else {
            ctx.warn(name, format!("element type {:?} is not supported; the tensor is left out", info.dtype));
            continue;
        };
        let (start, end) = info.data_offsets;
        let range = header.saturating_add(8).saturating_add(start)..header.saturating_add(8).saturating_add(end);
        let tensor = Tensor::from_map(dtype, info.shape.clone(), map, range).map_err(|e| LoadError::Tensor {
            path: path.to_owned(),
            tensor: name.clone(),
            reason: e.to_string(),
        })?;
        found.insert(name.as_str().into(), tensor);
    }
    packed::sparse::join(&mut found);
    Ok(found)
}

/// Element types of both sides.
const TYPES: [(Dtype, DType); 18] = [
    (Dtype::BOOL, DType::Bool),
    (Dtype::U8, DType::U8),
    (Dtype::I8, DType::I8),
    (Dtype::I16, DType::I16),
    (Dtype::U16, DType::U16),
    (Dtype::I32, DType::I32),
    (Dtype::U32, DType::U32),
    (Dtype::I64, DType::I64),
    (Dtype::U64, DType::U64),
    (Dtype::F16, DType::F16),
    (Dtype::BF16, DType::BF16),
    (Dtype::F32, DType::F32),
    (Dtype::F64, DType::F64),
    (Dtype::F8_E4M3, DType::F8E4M3FN),
    (Dtype::F8_E4M3FNUZ, DType::F8E4M3FNUZ),
    (Dtype::F8_E5M2, DType::F8E5M2),
    (Dtype::F8_E5M2FNUZ, DType::F8E5M2FNUZ),
    (Dtype::F8_E8M0, DType::F8E8M0),
];

fn dtype(dtype: Dtype) -> Option<DType> {
    TYPES.iter().find(|row| row.0 == dtype).map(|row| row.1)
}

/// What a file says beside its tensors; nothing where it cannot be read.
#[must_use]
pub fn metadata(path: &Path) -> BTreeMap<String, String> {
    let read = || {
        let map = MappedFile::open(path).ok()?;
        let (_, metadata) = SafeTensors::read_metadata(map.as_slice()).ok()?;
        Some(metadata.metadata().as_ref()?.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    };
    read().unwrap_or_default()
}
