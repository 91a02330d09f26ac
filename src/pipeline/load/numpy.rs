//! `NumPy` arrays, and the archives of them. Source: `numpy.lib.format` (NEP 1).

use super::archive::{Archive, Member};
use super::error::LoadError;
use crate::engine::context::Ctx;
use crate::engine::graph::Wire;
use crate::engine::tensor::{DType, MappedFile, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// A header is a line of text; `NumPy` itself refuses more than 10,000 characters.
const HEADER_LIMIT: usize = 1 << 16;
/// `\x93NUMPY` and the version.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The array that lies in a part of a file; it stays there where it lies in row-major order.
///
/// # Errors
/// [`LoadError::Corrupt`] where the bytes are no whole array, [`LoadError::Data`] where it holds what
/// is no number.
pub(super) fn mapped(path: &Path, name: &str, map: &MappedFile, range: Range<usize>) -> Result<Tensor, LoadError> {
    let all = map.as_slice().get(range.clone());
    let all = all.ok_or_else(|| LoadError::corrupt(path, format!("array {name} lies beyond the end")))?;
    let head = Head::read(path, name, all)?;
    if head.fortran {
        return head.turned(path, name, all);
    }
    let start = range.start + head.start;
    Ok(Tensor::from_map(head.dtype, head.shape, map, start..start + head.bytes)?)
}

/// The array that a member of an archive is.
///
/// # Errors
/// As [`mapped`].
pub(super) fn member(path: &Path, name: &str, map: &MappedFile, member: Member) -> Result<Tensor, LoadError> {
    let mut bytes = match member {
        Member::Mapped(range) => return mapped(path, name, map, range),
        Member::Unpacked(bytes) => bytes,
    };
    let head = Head::read(path, name, &bytes)?;
    if head.fortran {
        return head.turned(path, name, &bytes);
    }
    bytes.truncate(head.start + head.bytes);
    bytes.drain(..head.start);
    Ok(Tensor::from_bytes(head.dtype, head.shape, bytes)?)
}

/// Whether an archive with these members holds arrays.
pub(super) fn is_archive(names: &[String]) -> bool {
    names.iter().any(|name| name.strip_suffix(".npy").is_some())
}

/// The arrays of an `.npz` file by their names. What holds no numbers is left out, with a warning.
///
/// # Errors
/// When an array is truncated or corrupt, or the compressed ones do not fit into memory.
pub(super) fn arrays(archive: &mut Archive<'_>, path: &Path, ctx: &Ctx) -> Result<BTreeMap<Wire, Tensor>, LoadError> {
    let mut found = BTreeMap::new();
    for (index, file) in archive.names().iter().enumerate() {
        ctx.check()?;
        let Some(name) = file.strip_suffix(".npy") else {
            ctx.warn(file.clone(), "it is no NumPy array and is left out");
            continue;
        };
        let bytes = archive.member(index)?;
        match member(path, name, archive.map, bytes) {
            Ok(tensor) => drop(found.insert(Wire::from(name), tensor)),
            Err(LoadError::Data { reason, .. }) => ctx.warn(name, format!("{reason}; the array is left out")),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

struct Head {
    dtype: DType,
    shape: Vec<usize>,
    /// Whether the first index runs fastest.
    fortran: bool,
    /// Where the values start.
    start: usize,
    bytes: usize,
}

impl Head {
    /// Reads the header of `all`, and makes sure that the values are there.
    fn read(path: &Path, name: &str, all: &[u8]) -> Result<Self, LoadError> {
        let fail = |reason: &str| LoadError::corrupt(path, format!("array {name}: {reason}"));
        let cut = || fail("it ends within its header");
        let Some([major, _, rest @ ..]) = all.strip_prefix(MAGIC) else { return Err(fail("it is no NumPy array")) };
        let (len, used) = match (major, rest) {
            (1, [a, b, ..]) => (usize::from(u16::from_le_bytes([*a, *b])), 2),
            (2.., [a, b, c, d, ..]) => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 4),
            _ => return Err(cut()),
        };
        if len > HEADER_LIMIT {
            return Err(fail(&format!("the header claims {len} characters")));
        }
        let text = rest.get(used..used + len).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|e| fail(&e.to_string()))?;
        let (descr, fortran, shape) = parse(text).map_err(|reason| fail(&reason))?;
        let dtype = dtype(descr).map_err(|reason| LoadError::data(path, format!("array {name}: {reason}")))?;
        let bytes = Tensor::zeros(dtype, shape.clone()).map_err(|e| fail(&e.to_string()))?.size_bytes();
        let start = MAGIC.len() + 2 + used + len;
        let there = all.len().saturating_sub(start);
        if there < bytes {
            return Err(fail(&format!("shape {shape:?} needs {bytes} bytes, but {there} are there")));
        }
        Ok(Self { dtype, shape, fortran, start, bytes })
    }

    /// An array whose first index runs fastest, in row-major order.
    fn turned(self, path: &Path, name: &str, all: &[u8]) -> Result<Tensor, LoadError> {
        let mut strides = vec![1_usize; self.shape.len()];
        for axis in 1..self.shape.len() {
            strides[axis] = strides[axis - 1].saturating_mul(self.shape[axis - 1].max(1));
        }
        let values = all.get(self.start..self.start + self.bytes).unwrap_or_default();
        Tensor::from_view(self.dtype, self.shape, &strides, values)
            .map_err(|e| LoadError::corrupt(path, format!("array {name}: {e}")))
    }
}

/// Element type, order and shape from `{'descr': '<f4', 'fortran_order': False, 'shape': (500, 10), }`.
fn parse(header: &str) -> Result<(&str, bool, Vec<usize>), String> {
    let after = |key: &str| {
        let (_, rest) = header.split_once(&format!("'{key}'")).ok_or_else(|| format!("the header has no {key}"))?;
        let (_, value) = rest.split_once(':').ok_or_else(|| format!("the header gives no value for {key}"))?;
        Ok::<&str, String>(value.trim_start())
    };
    let fortran = !after("fortran_order")?.starts_with("False");
    let shape = after("shape")?;
    let inside = shape.strip_prefix('(').and_then(|s| s.split_once(')')).map(|(inside, _)| inside);
    let numbers = inside.ok_or("the header gives no shape")?.split(',').map(str::trim).filter(|n| !n.is_empty());
    let shape =
        numbers.map(|n| n.trim_end_matches('L').parse::<usize>().map_err(|e| format!("shape: {e}"))).collect::<Result<_, _>>()?;
    Ok((after("descr")?, fortran, shape))
}

fn dtype(descr: &str) -> Result<DType, String> {
    let code = descr.strip_prefix('\'').and_then(|d| d.split_once('\'')).map(|(code, _)| code);
    Ok(match code {
        Some("|u1" | "<u1") => DType::U8,
        Some("|i1" | "<i1") => DType::I8,
        Some("<u2") => DType::U16,
        Some("<i2") => DType::I16,
        Some("<i4") => DType::I32,
        Some("<u4") => DType::U32,
        Some("<i8") => DType::I64,
        Some("<u8") => DType::U64,
        Some("<f2") => DType::F16,
        Some("<f4") => DType::F32,
        Some("<f8") => DType::F64,
        Some("|b1") => DType::Bool,
        Some(other) => return Err(format!("elements of type {other} are not supported; save numbers in little-endian order")),
        None => return Err("its elements are records, not numbers; save numbers in little-endian order".to_owned()),
    })
}
