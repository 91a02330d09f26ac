//! IDX, the format of MNIST: big-endian magic (0, 0, type, rank), sizes, values; gzip or plain.
//! Source: <http://yann.lecun.com/exdb/mnist/>, "the IDX file format".

use super::{Raw, Samples};
use crate::engine::tensor::{DType, MappedFile, Tensor};
use crate::pipeline::load::error::LoadError;
use flate2::read::MultiGzDecoder;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A compressed file may hold this much: it has to be held in memory.
const UNPACKED_LIMIT: usize = 1 << 32;

/// The one file with images among the IDX files of a folder; `None` where it has none.
pub(super) fn images_in(folder: &Path) -> Result<Option<PathBuf>, LoadError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(LoadError::io(folder))? {
        let path = entry.map_err(LoadError::io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if path.is_file() && (name.contains("idx3-ubyte") || name.contains("idx4-ubyte") || name.contains("idx3.ubyte")) {
            found.push(path);
        }
    }
    found.sort();
    if found.len() > 1 {
        let names: Vec<_> = found.iter().filter_map(|f| f.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
        return Err(LoadError::data(
            folder,
            format!("several IDX files hold images ({}); point to one of them", names.join(", ")),
        ));
    }
    Ok(found.pop())
}

/// Images, and the labels that lie beside them under the matching name.
pub(super) fn read(path: &Path) -> Result<Raw, LoadError> {
    let images = array(path)?;
    let labels = match labels_beside(path) {
        Some(file) => {
            let labels = array(&file)?;
            if labels.shape().len() != 1 || labels.dtype().is_float() {
                let reason = format!(
                    "labels must be whole numbers in one row, but it holds {} in shape {:?}",
                    labels.dtype(),
                    labels.shape()
                );
                return Err(LoadError::data(&file, reason));
            }
            Some(labels.to_i64()?)
        }
        None => None,
    };
    let samples = match (images.dtype(), images.shape()) {
        (_, [] | [_]) => return Err(LoadError::data(path, "it holds no images but a single row (labels?); point to the images")),
        (DType::U8, [_, _, _] | [_, _, _, 1 | 3]) => Samples::Pixels(images),
        _ => Samples::Array(images),
    };
    Ok(Raw { samples, labels, classes: Vec::new() })
}

fn labels_beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let renamed = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1");
    let other = renamed.strip_suffix(".gz").map_or_else(|| format!("{renamed}.gz"), str::to_owned);
    [renamed.as_str(), other.as_str()].into_iter().filter(|n| *n != name).map(|n| images.with_file_name(n)).find(|p| p.is_file())
}

fn array(path: &Path) -> Result<Tensor, LoadError> {
    let map = MappedFile::open(path).map_err(LoadError::io(path))?;
    if map.as_slice().starts_with(&[0x1f, 0x8b]) {
        return unpacked(path, &mut MultiGzDecoder::new(map.as_slice()));
    }
    let mut rest = map.as_slice();
    let head = Head::read(path, &mut rest)?;
    let start = map.len() - rest.len();
    if head.dtype.bits() == 8 {
        let end = start.saturating_add(head.bytes);
        if end > map.len() {
            return Err(head.short(path, rest.len()));
        }
        return Ok(Tensor::from_map(head.dtype, head.shape, &map, start..end)?);
    }
    unpacked(path, &mut map.as_slice())
}

fn unpacked(path: &Path, from: &mut dyn Read) -> Result<Tensor, LoadError> {
    let head = Head::read(path, from)?;
    if head.bytes > UNPACKED_LIMIT {
        return Err(LoadError::data(path, format!("it unpacks to {} bytes, more than fits; unpack it with gunzip", head.bytes)));
    }
    let mut bytes = Vec::new();
    from.take(head.bytes as u64).read_to_end(&mut bytes).map_err(|e| LoadError::corrupt(path, e.to_string()))?;
    if bytes.len() < head.bytes {
        return Err(head.short(path, bytes.len()));
    }
    bytes.chunks_exact_mut(head.dtype.bits() / 8).for_each(<[u8]>::reverse);
    Ok(Tensor::from_bytes(head.dtype, head.shape, bytes)?)
}

struct Head {
    dtype: DType,
    shape: Vec<usize>,
    bytes: usize,
}

impl Head {
    fn read(path: &Path, from: &mut dyn Read) -> Result<Self, LoadError> {
        let mut word = || -> Result<[u8; 4], LoadError> {
            let mut word = [0; 4];
            from.read_exact(&mut word).map_err(|e| LoadError::corrupt(path, format!("the IDX header cannot be read: {e}")))?;
            Ok(word)
        };
        let [0, 0, kind, rank] = word()? else {
            return Err(LoadError::corrupt(path, "it is no IDX file (which starts with two zero bytes)"));
        };
        let dtype = match kind {
            0x08 => DType::U8,
            0x09 => DType::I8,
            0x0B => DType::I16,
            0x0C => DType::I32,
            0x0D => DType::F32,
            0x0E => DType::F64,
            other => return Err(LoadError::corrupt(path, format!("IDX knows no element type {other:#04x}"))),
        };
        let shape = (0..rank).map(|_| Ok(u32::from_be_bytes(word()?) as usize)).collect::<Result<Vec<usize>, LoadError>>()?;
        let bytes = Tensor::zeros(dtype, shape.clone()).map_err(|e| LoadError::corrupt(path, e.to_string()))?.size_bytes();
        Ok(Self { dtype, shape, bytes })
    }

    fn short(&self, path: &Path, found: usize) -> LoadError {
        LoadError::corrupt(path, format!("shape {:?} needs {} bytes, but {found} are there", self.shape, self.bytes))
    }
}
