//! `TensorProto` → [`Tensor`]: every field that data can lie in, and data outside the file.

use super::proto::{SparseTensorProto, TensorProto};
use crate::engine::tensor::{DType, MappedFile, Tensor};
use crate::pipeline::load::error::LoadError;
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// A sparse tensor may be this large once it is dense: a few bytes of file must not fill the memory.
const SPARSE_LIMIT_BYTES: usize = 1 << 28;
/// `TensorProto.DataLocation.EXTERNAL`.
pub(super) const EXTERNAL: i32 = 1;

/// Reads tensors of one file, from its map where it has one.
pub(super) struct TensorReader<'a> {
    /// The file, for messages.
    pub path: &'a Path,
    pub map: Option<&'a MappedFile>,
    /// Files with external data, by their place.
    pub externals: BTreeMap<PathBuf, MappedFile>,
}

/// One tensor in a file of its own (`TensorProto`, as the test data of ONNX is stored).
///
/// # Errors
/// When the bytes are no such message or the tensor is not valid. `path` is only for messages.
pub fn tensor_from_bytes(bytes: &[u8], path: &Path) -> Result<(String, Tensor), LoadError> {
    let proto = TensorProto::decode(bytes).map_err(|e| LoadError::corrupt(path, e.to_string()))?;
    let tensor = TensorReader { path, map: None, externals: BTreeMap::new() }.tensor(&proto)?;
    Ok((proto.name().to_owned(), tensor))
}

impl TensorReader<'_> {
    fn fail(&self, proto: &TensorProto, reason: impl std::fmt::Display) -> LoadError {
        LoadError::Tensor { path: self.path.to_owned(), tensor: proto.name().to_owned(), reason: reason.to_string() }
    }

    pub(super) fn tensor(&mut self, proto: &TensorProto) -> Result<Tensor, LoadError> {
        if proto.segment.is_some() {
            return Err(self.fail(proto, "it is split into segments, which no ONNX release defines"));
        }
        let dtype = match proto.data_type() {
            0 => return Err(self.fail(proto, "it has no element type")),
            code => DType::from_onnx(code),
        };
        let shape = dims(&proto.dims).ok_or_else(|| self.fail(proto, format!("the shape {:?} is not possible", proto.dims)))?;
        if dtype == DType::Other(8) {
            return Tensor::zeros(dtype, shape).map_err(|e| self.fail(proto, e)); // strings stay in the source
        }
        if proto.data_location() == EXTERNAL {
            return self.external(proto, dtype, shape);
        }
        match &proto.raw_data {
            Some(raw) if !raw.is_empty() => self.raw(proto, dtype, shape, raw),
            _ => Tensor::from_bytes(dtype, shape, typed_bytes(proto, dtype)).map_err(|e| self.fail(proto, e)),
        }
    }

    /// A range of the map where the bytes lie in it, else a copy.
    fn raw(&self, proto: &TensorProto, dtype: DType, shape: Vec<usize>, raw: &[u8]) -> Result<Tensor, LoadError> {
        let inside = self.map.and_then(|map| {
            let start = (raw.as_ptr() as usize).checked_sub(map.as_slice().as_ptr() as usize)?;
            (start + raw.len() <= map.len()).then_some((map, start..start + raw.len()))
        });
        match inside {
            Some((map, range)) => Tensor::from_map(dtype, shape, map, range),
            None => Tensor::from_bytes(dtype, shape, raw.to_vec()),
        }
        .map_err(|e| self.fail(proto, e))
    }

    fn external(&mut self, proto: &TensorProto, dtype: DType, shape: Vec<usize>) -> Result<Tensor, LoadError> {
        let fail = |reason: String| LoadError::External { path: self.path.to_owned(), tensor: proto.name().to_owned(), reason };
        let entry = |key: &str| proto.external_data.iter().find(|e| e.key() == key).map(|e| e.value().to_owned());
        let number = |key: &str| {
            entry(key)
                .map(|text| text.trim().parse::<usize>().map_err(|_| fail(format!("{key} \"{text}\" is not a number"))))
                .transpose()
        };
        let location = entry("location").ok_or_else(|| fail("no location is given".to_owned()))?;
        let file = inside_folder(self.path, &location).map_err(fail)?;
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let length = match length {
            Some(length) => length,
            None => Tensor::zeros(dtype, shape.clone()).map_err(|e| fail(e.to_string()))?.size_bytes(),
        };
        let end = offset.checked_add(length).ok_or_else(|| fail("offset and length overflow".to_owned()))?;
        if !self.externals.contains_key(&file) {
            let map = MappedFile::open(&file).map_err(|e| fail(format!("{}: {e}", file.display())))?;
            self.externals.insert(file.clone(), map);
        }
        let Some(map) = self.externals.get(&file) else { return Err(fail("the file is gone".to_owned())) };
        if end > map.len() {
            let has = map.len();
            return Err(fail(format!(
                "bytes {offset}..{end} are asked of \"{location}\", which has {has}; fetch that file again"
            )));
        }
        Tensor::from_map(dtype, shape, map, offset..end).map_err(|e| fail(e.to_string()))
    }

    /// A sparse initializer, dense: values and the places they lie at (flat, or one index per axis).
    pub(super) fn sparse(&mut self, proto: &SparseTensorProto) -> Result<Tensor, LoadError> {
        let (Some(values_proto), Some(indices_proto)) = (&proto.values, &proto.indices) else {
            return Err(LoadError::corrupt(self.path, "a sparse initializer lacks its values or its indices"));
        };
        let fail = |reason: String| LoadError::Tensor {
            path: self.path.to_owned(),
            tensor: values_proto.name().to_owned(),
            reason: format!("sparse: {reason}"),
        };
        let shape = dims(&proto.dims).ok_or_else(|| fail(format!("the shape {:?} is not possible", proto.dims)))?;
        let values = self.tensor(values_proto)?;
        let indices = self.tensor(indices_proto)?;
        let (dtype, width) = (values.dtype(), values.dtype().bits() / 8);
        let size = Tensor::zeros(dtype, shape.clone())?.size_bytes();
        if indices.dtype() != DType::I64 || width == 0 || size > SPARSE_LIMIT_BYTES {
            return Err(fail(format!("{size} bytes of {dtype} at {} indices are not supported", indices.dtype())));
        }
        let places = flat_places(&indices.to_i64()?, indices.shape().len(), values.len(), &shape)
            .ok_or_else(|| fail("the indices do not fit the values or the shape".to_owned()))?;
        let mut dense = vec![0_u8; size];
        let bytes = values.bytes();
        for (place, value) in places.into_iter().zip(bytes.chunks_exact(width)) {
            if let Some(slot) = dense.get_mut(place * width..(place + 1) * width) {
                slot.copy_from_slice(value);
            }
        }
        Ok(Tensor::from_bytes(dtype, shape, dense)?)
    }
}

/// Row-major places of `count` values from indices of shape `[count]` or `[count, rank]`.
fn flat_places(indices: &[i64], index_rank: usize, count: usize, shape: &[usize]) -> Option<Vec<usize>> {
    let total = shape.iter().product::<usize>();
    let axes: &[usize] = if index_rank == 1 { std::slice::from_ref(&total) } else { shape };
    if axes.is_empty() || indices.len() != count.checked_mul(axes.len())? {
        return None;
    }
    indices
        .chunks_exact(axes.len())
        .map(|index| {
            index.iter().zip(axes).try_fold(0_usize, |flat, (&i, &size)| {
                let i = usize::try_from(i).ok().filter(|i| *i < size)?;
                Some(flat * size + i)
            })
        })
        .collect()
}

pub(super) fn dims(dims: &[i64]) -> Option<Vec<usize>> {
    dims.iter().map(|d| usize::try_from(*d).ok()).collect()
}

/// The packed bytes of a tensor whose data is not raw. Narrow types lie in `int32_data`: one value
/// to an entry, except below 8 bits, where an entry is one packed byte (`onnx.proto`).
fn typed_bytes(proto: &TensorProto, dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F32 | DType::Other(14) => proto.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::F64 | DType::Other(15) => proto.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::I64 => proto.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::U64 => proto.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::U32 => proto.uint64_data.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
        _ => {
            let width = (dtype.bits() / 8).clamp(1, 4);
            proto.int32_data.iter().flat_map(|v| v.to_le_bytes().into_iter().take(width)).collect()
        }
    }
}

/// The file that `location` names, if it lies in the folder of `model` or below.
fn inside_folder(model: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    if location.is_empty() || !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(format!(
            "the location \"{location}\" leaves the folder of the model, which is refused; put the file beside the model"
        ));
    }
    let folder = match model.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let find = |path: &Path| path.canonicalize().map_err(|e| format!("{}: {e}; put the file beside the model", path.display()));
    let (folder, file) = (find(folder)?, find(&folder.join(relative))?);
    if !file.starts_with(&folder) {
        return Err(format!(
            "\"{location}\" is a link out of the folder of the model, which is refused; put the file itself there"
        ));
    }
    if !file.is_file() {
        return Err(format!("\"{location}\" is not a file"));
    }
    Ok(file)
}
