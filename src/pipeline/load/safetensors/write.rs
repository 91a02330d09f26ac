//! safetensors files: where each tensor will lie, known before there are values; then the values, in any
//! order and piece by piece. Source: the format section of the safetensors README.

use super::TYPES;
use crate::engine::tensor::{DType, Tensor, TensorError};
use flate2::Crc;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};

/// Readers refuse longer headers.
const LONGEST_HEADER: usize = 100_000_000;

/// Why tensors could not be written as safetensors.
#[derive(Debug, thiserror::Error)]
pub enum SafetensorsError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("tensor \"{tensor}\" cannot be written as safetensors: {reason}")]
    Entry { tensor: String, reason: String },
    #[error("the names of the tensors take {bytes} bytes, more than the {LONGEST_HEADER} that readers take")]
    Header { bytes: usize },
}

/// A tensor that a file is to hold.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
}

impl Entry {
    fn refuse(&self, reason: impl Into<String>) -> SafetensorsError {
        SafetensorsError::Entry { tensor: self.name.clone(), reason: reason.into() }
    }
}

/// Where tensors lie in a file.
#[derive(Debug, Clone)]
pub struct Sheet {
    head: Vec<u8>,
    /// Place of each tensor, counted from the start of the file.
    places: BTreeMap<String, (u64, u64)>,
    bytes: u64,
}

impl Sheet {
    /// Tensors of wide elements come first, so that each lies at a multiple of its element's size; of equal
    /// width by name.
    ///
    /// # Errors
    /// When an element type has no name in the format, two tensors have one name, or sizes overflow.
    pub fn new(mut entries: Vec<Entry>, metadata: &BTreeMap<String, String>) -> Result<Self, SafetensorsError> {
        entries.sort_by(|a, b| b.dtype.bits().cmp(&a.dtype.bits()).then_with(|| a.name.cmp(&b.name)));
        let mut table = serde_json::Map::new();
        let mut order = Vec::new();
        let mut at = 0_u64;
        for entry in &entries {
            let known = TYPES.iter().find(|row| row.1 == entry.dtype);
            let kind = known.ok_or_else(|| entry.refuse(format!("it has no type {}", entry.dtype)))?.0;
            if entry.name == METADATA {
                return Err(entry.refuse("the name is taken by the format"));
            }
            let end = at + Tensor::zeros(entry.dtype, entry.shape.clone())?.size_bytes() as u64;
            let place = serde_json::json!({ "dtype": kind.to_string(), "shape": entry.shape, "data_offsets": [at, end] });
            if table.insert(entry.name.clone(), place).is_some() {
                return Err(entry.refuse("there are two of that name"));
            }
            order.push((entry.name.clone(), (at, end)));
            at = end;
        }
        let text = header(&order, &table, metadata);
        if text.len() > LONGEST_HEADER {
            return Err(SafetensorsError::Header { bytes: text.len() });
        }
        let mut head = (text.len() as u64).to_le_bytes().to_vec();
        head.extend(text.as_bytes());
        let start = head.len() as u64;
        let places = order.into_iter().map(|(name, (from, to))| (name, (start + from, start + to))).collect();
        Ok(Self { head, places, bytes: start + at })
    }

    /// Bytes of the whole file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

const METADATA: &str = "__metadata__";

/// The header in the order of the data, filled up with spaces to a multiple of 8.
fn header(
    order: &[(String, (u64, u64))],
    table: &serde_json::Map<String, serde_json::Value>,
    metadata: &BTreeMap<String, String>,
) -> String {
    let pair = |name: &str, value: &serde_json::Value| format!("{}:{value}", serde_json::Value::from(name));
    let about = (!metadata.is_empty()).then(|| pair(METADATA, &serde_json::json!(metadata)));
    let tensors = order.iter().filter_map(|(name, _)| Some(pair(name, table.get(name)?)));
    let mut text = format!("{{{}}}", about.into_iter().chain(tensors).collect::<Vec<_>>().join(","));
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    text
}

/// What is known of a tensor's bytes while they are written.
#[derive(Default)]
struct Filled {
    bytes: u64,
    crc: Crc,
}

/// A file that is being filled.
pub struct Filler<'a> {
    sheet: &'a Sheet,
    file: &'a mut File,
    filled: BTreeMap<String, Filled>,
}

impl<'a> Filler<'a> {
    /// # Errors
    /// What the disk says.
    pub fn new(sheet: &'a Sheet, file: &'a mut File) -> io::Result<Self> {
        file.set_len(sheet.bytes)?;
        file.rewind()?;
        file.write_all(&sheet.head)?;
        Ok(Self { sheet, file, filled: BTreeMap::new() })
    }

    /// The next bytes of a tensor.
    ///
    /// # Errors
    /// When there is no such tensor or it is full, or what the disk says.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), SafetensorsError> {
        let refuse = |reason: &str| SafetensorsError::Entry { tensor: name.to_owned(), reason: reason.to_owned() };
        let &(start, end) = self.sheet.places.get(name).ok_or_else(|| refuse("no place was kept for it"))?;
        let filled = self.filled.entry(name.to_owned()).or_default();
        if filled.bytes + bytes.len() as u64 > end - start {
            return Err(refuse("it has more bytes than were planned"));
        }
        self.file.seek(SeekFrom::Start(start + filled.bytes))?;
        self.file.write_all(bytes)?;
        filled.crc.update(bytes);
        filled.bytes += bytes.len() as u64;
        Ok(())
    }

    /// CRC-32 of every tensor, and where it lies in the file.
    ///
    /// # Errors
    /// When a tensor lacks bytes.
    pub fn finish(self) -> Result<Vec<Written>, SafetensorsError> {
        let mut written = Vec::new();
        for (name, &(start, end)) in &self.sheet.places {
            let filled = self.filled.get(name).map_or((0, Crc::new().sum()), |f| (f.bytes, f.crc.sum()));
            if filled.0 != end - start {
                let reason = format!("{} of its {} bytes were made", filled.0, end - start);
                return Err(SafetensorsError::Entry { tensor: name.clone(), reason });
            }
            written.push(Written { name: name.clone(), start, end, crc: filled.1 });
        }
        Ok(written)
    }
}

/// A tensor that lies in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub name: String,
    pub start: u64,
    pub end: u64,
    /// CRC-32 of its bytes as they were made.
    pub crc: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, dtype: DType, shape: &[usize]) -> Entry {
        Entry { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn readers_find_what_was_written_and_everything_is_aligned() {
        let entries = vec![
            entry("b", DType::I8, &[3]),
            entry("ü \"x\"", DType::F32, &[1]),
            entry("a", DType::F16, &[1]),
            entry("n", DType::F32, &[0, 4]),
        ];
        let about = [("format".to_owned(), "pt".to_owned())].into();
        let sheet = Sheet::new(entries, &about).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut filler = Filler::new(&sheet, &mut file).unwrap();
        filler.add("b", &[1, 2]).unwrap();
        filler.add("ü \"x\"", &1.5_f32.to_le_bytes()).unwrap();
        assert!(filler.add("b", &[3, 4]).is_err(), "more than it holds");
        filler.add("b", &[3]).unwrap();
        filler.add("a", &[0, 0x3C]).unwrap();
        assert!(filler.add("c", &[]).is_err());
        let written = filler.finish().unwrap();
        assert!(written.iter().all(|w| w.name == "b" || w.start.is_multiple_of(2)));
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, sheet.bytes());
        let read = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(read.tensor("b").unwrap().data(), [1, 2, 3]);
        assert_eq!(read.tensor("ü \"x\"").unwrap().data(), 1.5_f32.to_le_bytes());
        let (_, head) = ::safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(head.metadata().as_ref().unwrap()["format"], "pt");
    }

    #[test]
    fn holes_and_names_twice_are_refused() {
        assert!(Sheet::new(vec![entry("a", DType::I8, &[1]), entry("a", DType::I8, &[1])], &BTreeMap::new()).is_err());
        assert!(Sheet::new(vec![entry("a", DType::I4, &[1])], &BTreeMap::new()).is_err());
        let sheet = Sheet::new(vec![entry("a", DType::I8, &[1])], &BTreeMap::new()).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        assert!(Filler::new(&sheet, &mut file).unwrap().finish().is_err());
    }
}
