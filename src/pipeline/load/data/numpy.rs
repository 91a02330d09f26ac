//! `NumPy`'s `.npy` and `.npz`. Source: `numpy.lib.format` (NEP 1).

use super::{Raw, Samples, tokens};
use crate::engine::tensor::{DType, MappedFile, Tensor};
use crate::pipeline::load::error::LoadError;
use std::io::Read;
use std::path::Path;
use zip::ZipArchive;

/// A compressed array may hold this much: it has to be held in memory.
const UNPACKED_LIMIT: usize = 1 << 32;
/// A header is a line of text; `NumPy` itself refuses more than 10,000 characters.
const HEADER_LIMIT: usize = 1 << 16;

/// One array without labels.
pub(super) fn read_npy(path: &Path) -> Result<Raw, LoadError> {
    let map = MappedFile::open(path).map_err(LoadError::io(path))?;
    let array = mapped(path, path.display().to_string().as_str(), &map, 0, map.len())?;
    Ok(Raw { samples: Samples::Array(array), labels: None, classes: Vec::new() })
}

/// Samples in `x`, class numbers in `y` where there is one; or texts, each an array of token ids.
pub(super) fn read_npz(path: &Path) -> Result<Raw, LoadError> {
    let map = MappedFile::open(path).map_err(LoadError::io(path))?;
    let mut archive =
        ZipArchive::new(std::io::Cursor::new(map.as_slice())).map_err(|e| LoadError::corrupt(path, e.to_string()))?;
    let names: Vec<String> =
        archive.file_names().take(20).filter_map(Result::ok).map(|n| n.trim_end_matches(".npy").to_owned()).collect();
    let Some(samples) = member(path, &map, &mut archive, "x")? else {
        let texts = (0..archive.len()).map(|i| at(path, &map, &mut archive, i)).collect::<Result<Vec<Tensor>, _>>()?;
        if tokens::are_sequences(&texts) {
            return Ok(Raw { samples: Samples::Sequences(texts), labels: None, classes: Vec::new() });
        }
        let reason = format!(
            "there is no array x in it, only: {}; save it with numpy.savez(file, x=samples, y=classes), or texts as one row of token ids each",
            names.join(", ")
        );
        return Err(LoadError::data(path, reason));
    };
    if samples.shape().is_empty() {
        return Err(LoadError::data(path, "the array x is a single number; its first axis must count the samples"));
    }
    let labels = member(path, &map, &mut archive, "y")?.map(|y| labels(path, &y)).transpose()?;
    Ok(Raw { samples: Samples::Array(samples), labels, classes: Vec::new() })
}

fn labels(path: &Path, y: &Tensor) -> Result<Vec<i64>, LoadError> {
    let is_row = matches!(y.shape(), [_] | [_, 1]);
    if !is_row || y.dtype().is_float() {
        let reason = format!(
            "the array y must hold one whole class number per sample, but it is {} in shape {:?}; save y.astype(int) (argmax(axis=1) of one-hot rows)",
            y.dtype(),
            y.shape()
        );
        return Err(LoadError::data(path, reason));
    }
    Ok(y.to_i64()?)
}

type Archive<'a> = ZipArchive<std::io::Cursor<&'a [u8]>>;

fn member(path: &Path, map: &MappedFile, archive: &mut Archive<'_>, name: &str) -> Result<Option<Tensor>, LoadError> {
    let Some(index) = archive.index_for_name(&format!("{name}.npy")) else { return Ok(None) };
    at(path, map, archive, index).map(Some)
}

/// The array at a place of the archive.
fn at(path: &Path, map: &MappedFile, archive: &mut Archive<'_>, index: usize) -> Result<Tensor, LoadError> {
    let mut file = archive.by_index(index).map_err(|e| LoadError::corrupt(path, format!("array {index}: {e}")))?;
    let name = file.name().map_err(|e| LoadError::corrupt(path, e.to_string()))?.trim_end_matches(".npy").to_owned();
    let name = name.as_str();
    if file.compression() == zip::CompressionMethod::Stored
        && let Some(start) = file.data_start()
    {
        return mapped(path, name, map, start as usize, (start as usize).saturating_add(file.size() as usize));
    }
    let head = Head::read(path, name, &mut file)?;
    if head.bytes > UNPACKED_LIMIT {
        return Err(LoadError::data(
            path,
            format!("array {name} unpacks to {} bytes, more than fits; save it with numpy.savez", head.bytes),
        ));
    }
    let mut bytes = Vec::new();
    let read = file.take(head.bytes as u64).read_to_end(&mut bytes);
    read.map_err(|e| LoadError::corrupt(path, format!("array {name}: {e}")))?;
    if bytes.len() < head.bytes {
        return Err(head.short(path, name, bytes.len()));
    }
    Ok(Tensor::from_bytes(head.dtype, head.shape, bytes)?)
}

/// An array that lies uncompressed in the file, left where it is.
fn mapped(path: &Path, name: &str, map: &MappedFile, start: usize, end: usize) -> Result<Tensor, LoadError> {
    let all =
        map.as_slice().get(start..end).ok_or_else(|| LoadError::corrupt(path, format!("array {name} lies beyond the end")))?;
    let mut rest = all;
    let head = Head::read(path, name, &mut rest)?;
    if rest.len() < head.bytes {
        return Err(head.short(path, name, rest.len()));
    }
    let start = end - rest.len();
    Ok(Tensor::from_map(head.dtype, head.shape, map, start..start + head.bytes)?)
}

struct Head {
    dtype: DType,
    shape: Vec<usize>,
    bytes: usize,
}

impl Head {
    fn read(path: &Path, name: &str, from: &mut dyn Read) -> Result<Self, LoadError> {
        let fail = |reason: String| LoadError::corrupt(path, format!("array {name}: {reason}"));
        let mut fixed = [0_u8; 8];
        from.read_exact(&mut fixed).map_err(|e| fail(e.to_string()))?;
        let [0x93, b'N', b'U', b'M', b'P', b'Y', major, _] = fixed else {
            return Err(fail("it is no NumPy array".to_owned()));
        };
        let mut size = [0_u8; 4];
        let used = if major == 1 { 2 } else { 4 };
        from.read_exact(&mut size[..used]).map_err(|e| fail(e.to_string()))?;
        let len = u32::from_le_bytes(size) as usize;
        if len > HEADER_LIMIT {
            return Err(fail(format!("the header claims {len} characters")));
        }
        let mut text = vec![0; len];
        from.read_exact(&mut text).map_err(|e| fail(e.to_string()))?;
        let text = String::from_utf8(text).map_err(|e| fail(e.to_string()))?;
        let (dtype, shape) = parse(&text).map_err(fail)?;
        let bytes = Tensor::zeros(dtype, shape.clone()).map_err(|e| fail(e.to_string()))?.size_bytes();
        Ok(Self { dtype, shape, bytes })
    }

    fn short(&self, path: &Path, name: &str, found: usize) -> LoadError {
        LoadError::corrupt(
            path,
            format!("array {name} of shape {:?} needs {} bytes, but {found} are there", self.shape, self.bytes),
        )
    }
}

/// Type and shape from `{'descr': '<f4', 'fortran_order': False, 'shape': (500, 10), }`.
fn parse(header: &str) -> Result<(DType, Vec<usize>), String> {
    let after = |key: &str| {
        let at = header.find(&format!("'{key}'")).ok_or_else(|| format!("the header has no {key}"))?;
        let (_, value) = header[at..].split_once(':').ok_or_else(|| format!("the header gives no value for {key}"))?;
        Ok::<&str, String>(value.trim_start())
    };
    let descr = after("descr")?;
    let code = descr.strip_prefix('\'').and_then(|d| d.split_once('\'')).map(|(code, _)| code);
    let dtype = match code {
        Some("|u1" | "<u1") => DType::U8,
        Some("|i1" | "<i1") => DType::I8,
        Some("<u2") => DType::U16,
        Some("<i2") => DType::I16,
        Some("<i4") => DType::I32,
        Some("<u4") => DType::U32,
        Some("<i8") => DType::I64,
        Some("<f2") => DType::F16,
        Some("<f4") => DType::F32,
        Some("<f8") => DType::F64,
        Some("|b1") => DType::Bool,
        Some(other) => return Err(format!("elements of type {other} are not supported; save numbers in little-endian order")),
        None => return Err("its elements are records, not numbers".to_owned()),
    };
    if !after("fortran_order")?.starts_with("False") {
        return Err("it is in Fortran order; save numpy.ascontiguousarray(array)".to_owned());
    }
    let shape = after("shape")?;
    let inside = shape.strip_prefix('(').and_then(|s| s.split_once(')')).map(|(inside, _)| inside);
    let numbers = inside.ok_or("the header gives no shape")?.split(',').map(str::trim).filter(|n| !n.is_empty());
    let shape =
        numbers.map(|n| n.trim_end_matches('L').parse::<usize>().map_err(|e| format!("shape: {e}"))).collect::<Result<_, _>>()?;
    Ok((dtype, shape))
}
