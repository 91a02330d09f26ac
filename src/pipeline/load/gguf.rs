//! GGUF, versions 2 and 3: named weights and metadata in one file, as ggml's tools read and write it.
//!
//! Magic `GGUF`, version u32, number of tensors u64, number of keys u64; per key its name, the type of its
//! value and the value; per tensor name, number of dimensions u32, dimensions u64 (the innermost first),
//! type u32 and place u64; then, from the next multiple of `general.alignment` on, the data. All little-endian;
//! texts are a length u64 and UTF-8 (`docs/gguf.md` of ggml).

pub mod write;

use super::error::LoadError;
use crate::engine::context::Ctx;
use crate::engine::formats::blocks::BlockFormat;
use crate::engine::graph::Model;
use crate::engine::tensor::{DType, MappedFile, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

pub const MAGIC: &[u8; 4] = b"GGUF";

/// The key that says to what multiples data is laid out.
pub const ALIGNMENT_KEY: &str = "general.alignment";

/// Where the key is missing.
pub const ALIGNMENT: u64 = 32;

/// ggml holds tensors of as many dimensions.
pub const MOST_DIMS: usize = 4;

/// What the metadata that is kept may take in memory. Vocabularies are a few MB.
const METADATA_BYTES: usize = 256 << 20;

/// Arrays of arrays of arrays are nobody's metadata.
const DEEPEST: u8 = 3;

/// The value of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(String),
    /// Text that is not UTF-8, as tokens of a vocabulary may be: it stays as it is.
    Bytes(Vec<u8>),
    /// The number of its items' type (which an empty one has too), and the items, all of that type.
    Array(u32, Vec<Value>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    pub const ARRAY: u32 = 9;

    /// The number of its type in the file (`enum gguf_type`).
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::Text(_) | Self::Bytes(_) => 8,
            Self::Array(..) => Self::ARRAY,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A whole number of any width that is not negative.
    #[must_use]
    pub fn unsigned(&self) -> Option<u64> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::U64(v) => Some(v),
            Self::I8(v) => v.try_into().ok(),
            Self::I16(v) => v.try_into().ok(),
            Self::I32(v) => v.try_into().ok(),
            Self::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }
}

/// Keys and their values.
pub type Metadata = BTreeMap<String, Value>;

/// What a file holds.
#[derive(Debug, Clone)]
pub struct Gguf {
    pub version: u32,
    pub metadata: Metadata,
    /// The tensors as constants, shapes turned round to [rows, columns]; no nodes. The bytes stay in the map.
    pub model: Model,
}

/// The element type of a number of `enum ggml_type`, where it is one that we compute with.
#[must_use]
pub fn dtype(code: u32) -> Option<DType> {
    PLAIN.iter().find(|row| row.0 == code).map(|row| row.1).or_else(|| BlockFormat::from_ggml_type(code).map(DType::Block))
}

/// The number that GGUF has for an element type, if it has one.
#[must_use]
pub fn code(dtype: DType) -> Option<u32> {
    match dtype {
        DType::Block(format) => Some(format.ggml_type()),
        _ => PLAIN.iter().find(|row| row.1 == dtype).map(|row| row.0),
    }
}

const PLAIN: [(u32, DType); 8] = [
    (0, DType::F32),
    (1, DType::F16),
    (24, DType::I8),
    (25, DType::I16),
    (26, DType::I32),
    (27, DType::I64),
    (28, DType::F64),
    (30, DType::BF16),
];

/// Types that files hold and we do not: to say which one it was.
const FOREIGN: [(u32, &str); 13] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (29, "IQ1_M"),
    (36, "IQ4_NL_4_4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
    (42, "Q2_0"),
];

/// Opens a file without reading its weights.
///
/// # Errors
/// When the file cannot be read, is of another version, truncated or corrupt.
pub fn open(path: &Path, ctx: &Ctx) -> Result<Gguf, LoadError> {
    let map = MappedFile::open(path).map_err(LoadError::io(path))?;
    read(path, &map, ctx)
}

pub(super) fn read(path: &Path, map: &MappedFile, ctx: &Ctx) -> Result<Gguf, LoadError> {
    let mut cursor = Cursor::new(path, map.as_slice());
    if cursor.take(4)? != MAGIC {
        return Err(cursor.corrupt("it does not start with GGUF"));
    }
    let version = cursor.u32()?;
    if !(2..=3).contains(&version) {
        let what = if version.swap_bytes() <= 3 {
            "its numbers are big-endian".to_owned()
        } else {
            format!("it is GGUF version {version}")
        };
        let reason = format!("{what}, and versions 2 and 3 in little-endian are read; convert it with ggml's tools");
        return Err(LoadError::Unrecognized { path: path.to_owned(), reason });
    }
    // Whatever is counted takes bytes: a count that the file is too short for is a lie.
    let tensors = cursor.count(24, "tensors")?;
    let keys = cursor.count(13, "keys")?;
    let metadata = cursor.metadata(keys, ctx)?;
    let infos = (0..tensors).map(|_| cursor.info()).collect::<Result<Vec<_>, _>>()?;
    let alignment = alignment(&metadata).ok_or_else(|| cursor.corrupt("its alignment is not a power of two"))?;
    let start = (cursor.at as u64).next_multiple_of(alignment);
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut model = Model { name, ..Model::default() };
    let mut places = Vec::new();
    for info in infos {
        ctx.check()?;
        let bad = |reason: String| LoadError::Tensor { path: path.to_owned(), tensor: info.name.clone(), reason };
        if info.place % alignment != 0 {
            return Err(bad(format!("its place {} is no multiple of {alignment}", info.place)));
        }
        let Some(dtype) = dtype(info.code) else {
            let known = FOREIGN.iter().find(|row| row.0 == info.code).map_or("", |row| row.1);
            ctx.warn(&info.name, format!("element type {known} (number {}) is not supported; the tensor is left out", info.code));
            continue;
        };
        let size = Tensor::zeros(dtype, info.shape.clone()).map_err(|e| bad(e.to_string()))?.size_bytes();
        let begin = start.checked_add(info.place).and_then(|at| usize::try_from(at).ok());
        let range = begin.and_then(|at| Some(at..at.checked_add(size)?)).filter(|r| r.end <= map.len());
        let range = range.ok_or_else(|| bad(format!("its {size} bytes lie outside the file")))?;
        places.push((range.start, range.end, info.name.clone()));
        let tensor = Tensor::from_map(dtype, info.shape.clone(), map, range).map_err(|e| bad(e.to_string()))?;
        if model.constants.insert(info.name.as_str().into(), tensor).is_some() {
            return Err(bad("there are two of that name".to_owned()));
        }
    }
    refuse_overlaps(path, places)?;
    Ok(Gguf { version, metadata, model })
}

/// What data is aligned to: a power of two of at most 1 MiB, as mapped pages allow.
#[must_use]
pub fn alignment(metadata: &Metadata) -> Option<u64> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Some(ALIGNMENT),
        Some(value) => value.unsigned().filter(|v| v.is_power_of_two() && *v <= 1 << 20),
    }
}

fn refuse_overlaps(path: &Path, mut places: Vec<(usize, usize, String)>) -> Result<(), LoadError> {
    places.retain(|(start, end, _)| start < end);
    places.sort();
    for pair in places.windows(2) {
        if let [(_, end, first), (start, _, second)] = pair
            && start < end
        {
            let reason = format!("it overlaps \"{first}\"");
            return Err(LoadError::Tensor { path: path.to_owned(), tensor: second.clone(), reason });
        }
    }
    Ok(())
}

/// What the file says of a tensor.
struct Info {
    name: String,
    /// The outermost dimension first.
    shape: Vec<usize>,
    code: u32,
    /// From the start of the data.
    place: u64,
}

/// Walks through bytes that may be lies.
pub(super) struct Cursor<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
    /// Bytes that metadata may still take.
    budget: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self { path, bytes, at: 0, budget: METADATA_BYTES }
    }

    pub fn corrupt(&self, reason: impl Into<String>) -> LoadError {
        LoadError::corrupt(self.path, reason)
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], LoadError> {
        let end = self.at.checked_add(count);
        let Some(taken) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return Err(self.corrupt(format!("it ends where {count} more bytes are needed at byte {}", self.at)));
        };
        self.at += count;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let taken = self.take(N)?;
        Ok(std::array::from_fn(|i| taken.get(i).copied().unwrap_or_default()))
    }

    pub fn u32(&mut self) -> Result<u32, LoadError> {
        Ok(u32::from_le_bytes(self.number()?))
    }

    fn u64(&mut self) -> Result<u64, LoadError> {
        Ok(u64::from_le_bytes(self.number()?))
    }

    /// A number of things that take at least `least` bytes each.
    fn count(&mut self, least: usize, what: &str) -> Result<usize, LoadError> {
        let count = self.u64()?;
        let room = (self.bytes.len() - self.at) / least;
        usize::try_from(count)
            .ok()
            .filter(|n| *n <= room)
            .ok_or_else(|| self.corrupt(format!("it claims {count} {what}, more than its length allows")))
    }

    fn raw_text(&mut self) -> Result<&'a [u8], LoadError> {
        let len = self.count(1, "bytes of text")?;
        self.take(len)
    }

    /// A name, which has to be text.
    fn name(&mut self) -> Result<String, LoadError> {
        let raw = self.raw_text()?;
        String::from_utf8(raw.to_vec()).map_err(|_| self.corrupt("a name in it is not UTF-8"))
    }

    fn metadata(&mut self, keys: usize, ctx: &Ctx) -> Result<Metadata, LoadError> {
        let mut metadata = Metadata::new();
        for _ in 0..keys {
            ctx.check()?;
            let key = self.name()?;
            let code = self.u32()?;
            match self.value(code, DEEPEST)? {
                Some(value) => {
                    if metadata.insert(key.clone(), value).is_some() {
                        return Err(self.corrupt(format!("it has the key \"{key}\" twice")));
                    }
                }
                None => ctx.warn(&key, "the value is too large to be kept; it is left out"),
            }
        }
        Ok(metadata)
    }

    /// `None` where the value is too large to be kept; it is passed over all the same.
    fn value(&mut self, code: u32, depth: u8) -> Result<Option<Value>, LoadError> {
        let value = match code {
            0 => Value::U8(u8::from_le_bytes(self.number()?)),
            1 => Value::I8(i8::from_le_bytes(self.number()?)),
            2 => Value::U16(u16::from_le_bytes(self.number()?)),
            3 => Value::I16(i16::from_le_bytes(self.number()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.number()?)),
            6 => Value::F32(f32::from_le_bytes(self.number()?)),
            7 => Value::Bool(self.number::<1>()? != [0]),
            8 => {
                let raw = self.raw_text()?;
                if !self.spend(raw.len()) {
                    return Ok(None);
                }
                String::from_utf8(raw.to_vec()).map_or_else(|e| Value::Bytes(e.into_bytes()), Value::Text)
            }
            Value::ARRAY => return self.array(depth),
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.number()?)),
            12 => Value::F64(f64::from_le_bytes(self.number()?)),
            _ => return Err(self.corrupt(format!("it has a value of unknown type {code} at byte {}", self.at))),
        };
        Ok(self.spend(size_of::<Value>()).then_some(value))
    }

    fn spend(&mut self, bytes: usize) -> bool {
        let left = self.budget.checked_sub(bytes);
        self.budget = left.unwrap_or(self.budget);
        left.is_some()
    }

    fn array(&mut self, depth: u8) -> Result<Option<Value>, LoadError> {
        let of = self.u32()?;
        // The least that an item takes.
        let least = match of {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            Value::ARRAY if depth > 0 => 12,
            Value::ARRAY => return Err(self.corrupt(format!("it nests arrays too deeply at byte {}", self.at))),
            _ => return Err(self.corrupt(format!("it has an array of unknown type {of} at byte {}", self.at))),
        };
        let count = self.count(least, "items of an array")?;
        // Made as it is filled: no memory is asked for that the file has no bytes for.
        let mut items = Some(Vec::new());
        for _ in 0..count {
            match (self.value(of, depth.saturating_sub(1))?, &mut items) {
                (Some(item), Some(items)) => items.push(item),
                _ => items = None,
            }
        }
        Ok(items.map(|items| Value::Array(of, items)))
    }

    fn info(&mut self) -> Result<Info, LoadError> {
        let name = self.name()?;
        let dims = self.u32()? as usize;
        if dims > MOST_DIMS {
            return Err(self.corrupt(format!("tensor \"{name}\" has {dims} dimensions, more than {MOST_DIMS}")));
        }
        let mut shape = Vec::with_capacity(dims);
        for _ in 0..dims {
            let dim = self.u64()?;
            let dim = usize::try_from(dim).map_err(|_| self.corrupt(format!("tensor \"{name}\" has a dimension of {dim}")))?;
            shape.push(dim);
        }
        shape.reverse();
        Ok(Info { name, shape, code: self.u32()?, place: self.u64()? })
    }
}
