//! The table at the head of an archive: what the file was that it stands for, and where each tensor lay in it.

use crate::engine::coding::{Element, Mode};
use crate::engine::tensor::DType;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use std::io::{Read as _, Write as _};

pub const MAGIC: &[u8; 8] = b"LAPIDARY";
pub const VERSION: u32 = 1;
/// Magic, version, bytes of the table packed and unpacked, its CRC-32.
pub const HEAD_BYTES: usize = 24;
/// A table takes some tens of bytes for each tensor.
const TABLE_LIMIT: usize = 1 << 26;
/// ONNX has tensors of any number of dimensions; nobody has so many.
const MOST_DIMS: usize = 64;

/// One tensor of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Where its bytes lay in the file, and how many there were.
    pub place: u64,
    pub length: u64,
    pub mode: Mode,
    /// Bytes of its stream. Streams follow each other in the order of the table.
    pub stream: u64,
    /// Of its bytes as they lay in the file.
    pub crc: u32,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Bytes of the file that the archive stands for, and their SHA-256.
    pub length: u64,
    pub sha256: [u8; 32],
    /// Bytes of the stream of all that is no tensor.
    pub shell: u64,
    /// In the order of their places.
    pub entries: Vec<Entry>,
}

/// How elements are coded; `None` for those that are left among what is no tensor.
pub fn element(dtype: DType) -> Option<Element> {
    let (width, head) = match dtype {
        DType::F32 => (32, 9),
        DType::BF16 => (16, 9),
        DType::F16 => (16, 6),
        DType::I32 | DType::U32 => (32, 16),
        DType::I16 | DType::U16 => (16, 8),
        known if matches!(known.bits(), 2 | 4 | 8) && !matches!(known, DType::Block(_) | DType::Other(_) | DType::Bool) => {
            (known.bits() as u8, 0)
        }
        _ => return None,
    };
    Some(Element { width, head })
}

impl Index {
    /// The head of a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut table = self.length.to_le_bytes().to_vec();
        table.extend(self.sha256);
        table.extend(self.shell.to_le_bytes());
        table.extend((self.entries.len() as u32).to_le_bytes());
        for entry in &self.entries {
            table.extend((entry.name.len() as u32).to_le_bytes());
            table.extend(entry.name.as_bytes());
            table.extend(entry.dtype.onnx_code().to_le_bytes());
            table.extend((entry.shape.len() as u32).to_le_bytes());
            table.extend(entry.shape.iter().flat_map(|d| (*d as u64).to_le_bytes()));
            table.extend([entry.place, entry.length, entry.stream].iter().flat_map(|n| n.to_le_bytes()));
            table.extend(entry.crc.to_le_bytes());
            table.push(Mode::ALL.iter().position(|m| *m == entry.mode).unwrap_or(0) as u8);
        }
        let packed = deflate(&table);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((packed.len() as u32).to_le_bytes());
        bytes.extend((table.len() as u32).to_le_bytes());
        bytes.extend(crc(&table).to_le_bytes());
        bytes.extend(packed);
        bytes
    }

    /// The table of a file, and where its streams begin.
    ///
    /// # Errors
    /// A sentence on what is wrong.
    pub fn read(file: &[u8]) -> Result<(Self, usize), String> {
        if !file.starts_with(MAGIC) {
            return Err("it is no Lapidary archive".to_owned());
        }
        let cut = || "it ends within its table".to_owned();
        let mut head = Cursor(file.get(MAGIC.len()..HEAD_BYTES).ok_or_else(cut)?);
        let version = head.u32()?;
        if version != VERSION {
            return Err(format!("it has version {version} of the format, and this program reads {VERSION}"));
        }
        let (packed, length, sum) = (head.u32()? as usize, head.u32()? as usize, head.u32()?);
        let end = HEAD_BYTES.checked_add(packed).ok_or_else(cut)?;
        let table = inflate(file.get(HEAD_BYTES..end).ok_or_else(cut)?, length, TABLE_LIMIT)?;
        if crc(&table) != sum {
            return Err("its table is not what was written".to_owned());
        }
        let mut table = Cursor(&table);
        let (length, sha256, shell) = (table.u64()?, *table.take(32)?.first_chunk().ok_or_else(cut)?, table.u64()?);
        let count = table.u32()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(entry(&mut table)?);
        }
        let index = Self { length, sha256, shell, entries };
        index.check(file.len() as u64, end as u64)?;
        Ok((index, end))
    }

    /// That places ascend within the file, and streams within the archive.
    fn check(&self, bytes: u64, head: u64) -> Result<(), String> {
        let mut free = 0;
        for entry in &self.entries {
            if entry.place < free {
                return Err(format!("tensor \"{}\" lies where another one does", entry.name));
            }
            free = entry.place.checked_add(entry.length).ok_or("a tensor has no end")?;
        }
        let streams =
            self.entries.iter().try_fold(self.shell, |sum, e| sum.checked_add(e.stream)).ok_or("streams have no end")?;
        if free > self.length || head.checked_add(streams) != Some(bytes) {
            return Err("its table does not fit its length".to_owned());
        }
        Ok(())
    }
}

fn entry(table: &mut Cursor<'_>) -> Result<Entry, String> {
    let length = table.u32()? as usize;
    let name = std::str::from_utf8(table.take(length)?).map_err(|_| "a name is no text")?.to_owned();
    let dtype = DType::from_onnx(table.u32()? as i32);
    let dims = table.u32()? as usize;
    if dims > MOST_DIMS {
        return Err(format!("tensor \"{name}\" has {dims} dimensions"));
    }
    let shape = (0..dims).map(|_| Ok(table.u64()? as usize)).collect::<Result<Vec<_>, String>>()?;
    let (place, length, stream, crc) = (table.u64()?, table.u64()?, table.u64()?, table.u32()?);
    let mode = table.take(1)?.first().and_then(|m| Mode::ALL.get(usize::from(*m)));
    let mode = *mode.ok_or_else(|| format!("tensor \"{name}\" has a code that is not known"))?;
    Ok(Entry { name, dtype, shape, place, length, mode, stream, crc })
}

/// Bytes that are read one after the other.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends within its table")?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(self.take(4)?.first_chunk().map_or(0, |b| u32::from_le_bytes(*b)))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(self.take(8)?.first_chunk().map_or(0, |b| u64::from_le_bytes(*b)))
    }
}

pub fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let written = encoder.write_all(bytes);
    written.and_then(|()| encoder.finish()).unwrap_or_default()
}

/// Unpacks to exactly `length` bytes.
///
/// # Errors
/// When the claim is beyond `limit` or beyond belief, or wrong.
pub fn inflate(packed: &[u8], length: usize, limit: usize) -> Result<Vec<u8>, String> {
    // Deflate packs 258 bytes into two bits at best.
    if length > limit || length > packed.len().saturating_mul(1032).saturating_add(64) {
        return Err(format!("{} bytes cannot unpack to the {length} that are claimed", packed.len()));
    }
    let mut bytes = Vec::new();
    let read = DeflateDecoder::new(packed).take(length as u64 + 1).read_to_end(&mut bytes);
    match read {
        Ok(_) if bytes.len() == length => Ok(bytes),
        Ok(_) => Err("a packed part has another length than is claimed".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}
