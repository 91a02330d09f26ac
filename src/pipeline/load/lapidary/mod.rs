//! Archives (`.lapidary`): an ONNX file with its tensors entropy-coded one by one, all else deflated. What comes out
//! is the file that went in, byte for byte; each tensor can be read alone. The format is described in
//! `assets/manual/archive.md`.

mod index;
#[cfg(test)]
mod tests;

pub use index::{Entry, Index, MAGIC};

use super::LoadError;
use crate::engine::Ctx;
use crate::engine::coding::{self, ALWAYS_BELIEVED, MOST_PER_BYTE, Mode};
use crate::engine::hash;
use crate::engine::tensor::Tensor;
use index::{crc, deflate, element, inflate};
use rayon::prelude::*;
use std::ops::Range;
use std::path::Path;

/// What an archive stands for has to be held in memory.
const LENGTH_LIMIT: u64 = 1 << 32;
/// Smaller tensors are left among what is no tensor.
const LEAST_BYTES: usize = 64;

/// A tensor in a file that is to be archived.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    pub tensor: Tensor,
    /// Its bytes in the file.
    pub place: Range<usize>,
}

/// What was gained, and by which code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gain {
    /// Tensors of few values, and how many of them Huffman's codes suit better.
    pub tables: usize,
    pub by_huffman: usize,
    /// Bytes of the tensors of few values as Huffman codes, by the range coder, and as the better of the two.
    pub huffman: usize,
    pub range: usize,
    pub better: usize,
    /// Bytes of all that is no tensor, and of the table.
    pub shell: usize,
    pub table: usize,
}

/// The archive of a file whose tensors are known. Of places that meet, the first counts.
///
/// # Errors
/// On cancel.
pub fn write(file: &[u8], mut sources: Vec<Source>, ctx: &Ctx) -> Result<(Vec<u8>, Gain), LoadError> {
    sources.sort_by_key(|s| s.place.start);
    let mut free = 0;
    sources.retain(|source| {
        let kept = source.place.start >= free
            && source.place.end <= file.len()
            && source.place.len() >= LEAST_BYTES
            && element(source.tensor.dtype()).is_some();
        if kept {
            free = source.place.end;
        }
        kept
    });
    let coded: Vec<_> = ctx.pool().install(|| {
        let code = |source: &Source| {
            ctx.check()?;
            let bytes = file.get(source.place.clone()).unwrap_or_default();
            let element = element(source.tensor.dtype()).unwrap_or(coding::Element { width: 8, head: 0 });
            Ok(coding::encode(bytes, source.tensor.len(), element, source.tensor.shape()))
        };
        sources.par_iter().map(code).collect::<Result<_, LoadError>>()
    })?;
    let shell = deflate(&between(file, sources.iter().map(|s| s.place.clone())));
    let mut gain = Gain { shell: shell.len(), ..Gain::default() };
    let mut entries = Vec::new();
    for (source, coded) in sources.iter().zip(&coded) {
        if let Some((huffman, range)) = coded.tried {
            gain.tables += 1;
            gain.by_huffman += usize::from(coded.mode == Mode::Huffman);
            gain.huffman += huffman;
            gain.range += range;
            gain.better += coded.stream.len();
        }
        entries.push(Entry {
            name: source.name.clone(),
            dtype: source.tensor.dtype(),
            shape: source.tensor.shape().to_vec(),
            place: source.place.start as u64,
            length: source.place.len() as u64,
            mode: coded.mode,
            stream: coded.stream.len() as u64,
            crc: crc(file.get(source.place.clone()).unwrap_or_default()),
        });
    }
    let sha256 = hash::digest(file);
    let mut bytes = Index { length: file.len() as u64, sha256, shell: shell.len() as u64, entries }.to_bytes();
    gain.table = bytes.len();
    bytes.extend(shell);
    bytes.extend(coded.into_iter().flat_map(|c| c.stream));
    Ok((bytes, gain))
}

/// The bytes of a file that lie in none of the places.
fn between(file: &[u8], places: impl Iterator<Item = Range<usize>>) -> Vec<u8> {
    let mut all = Vec::new();
    let mut from = 0;
    for place in places.chain(std::iter::once(file.len()..file.len())) {
        all.extend(file.get(from..place.start).unwrap_or_default());
        from = place.end;
    }
    all
}

/// An archive that was opened: its table has been read, and nothing else.
#[derive(Debug)]
pub struct Archive<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    index: Index,
    /// Where the stream of all that is no tensor begins.
    streams: usize,
}

impl<'a> Archive<'a> {
    /// # Errors
    /// When it is no archive, of another version, or its table is damaged.
    pub fn open(path: &'a Path, bytes: &'a [u8]) -> Result<Self, LoadError> {
        let (index, streams) = Index::read(bytes).map_err(|reason| LoadError::corrupt(path, reason))?;
        if index.length > LENGTH_LIMIT {
            let reason = format!("it stands for {} bytes, more than the {LENGTH_LIMIT} that are held in memory", index.length);
            return Err(LoadError::data(path, reason));
        }
        Ok(Self { path, bytes, index, streams })
    }

    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// One tensor, without reading the others.
    ///
    /// # Errors
    /// When there is none of that name, or its stream is damaged.
    pub fn tensor(&self, name: &str) -> Result<Tensor, LoadError> {
        let fail = |reason: String| LoadError::Tensor { path: self.path.to_owned(), tensor: name.to_owned(), reason };
        let at = self.index.entries.iter().position(|e| e.name == name).ok_or_else(|| fail("there is none".to_owned()))?;
        let entry = self.index.entries.get(at).ok_or_else(|| fail("there is none".to_owned()))?;
        let start = self.index.entries.iter().take(at).map(|e| e.stream as usize).sum::<usize>() + self.index.shell as usize;
        let bytes = self.bytes_of(entry, self.streams + start)?;
        Tensor::from_bytes(entry.dtype, entry.shape.clone(), bytes).map_err(|e| fail(e.to_string()))
    }

    fn bytes_of(&self, entry: &Entry, start: usize) -> Result<Vec<u8>, LoadError> {
        let fail = |reason: &str| LoadError::Tensor {
            path: self.path.to_owned(),
            tensor: entry.name.clone(),
            reason: reason.to_owned(),
        };
        let stream =
            self.bytes.get(start..start.saturating_add(entry.stream as usize)).ok_or_else(|| fail("its stream is cut"))?;
        let shape = entry.shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        let (count, element) =
            shape.zip(element(entry.dtype)).ok_or_else(|| fail("it has a type or a shape that is not possible"))?;
        let bytes = coding::decode(entry.mode, stream, (count, entry.length as usize), element, &entry.shape)
            .map_err(|e| fail(&e.to_string()))?;
        if crc(&bytes) != entry.crc {
            return Err(fail("its values are not what was written"));
        }
        Ok(bytes)
    }

    /// The file that the archive stands for.
    ///
    /// # Errors
    /// When a stream is damaged, or what comes out is not what went in.
    pub fn file(&self, ctx: &Ctx) -> Result<Vec<u8>, LoadError> {
        let corrupt = |reason: &str| LoadError::corrupt(self.path, reason);
        let believable = (self.bytes.len() as u64).saturating_mul(MOST_PER_BYTE).saturating_add(ALWAYS_BELIEVED);
        if self.index.length > believable {
            return Err(corrupt("so few bytes cannot stand for as many as it claims"));
        }
        let tensors: u64 = self.index.entries.iter().map(|e| e.length).sum();
        let shell_end = self.streams.saturating_add(self.index.shell as usize);
        let packed = self.bytes.get(self.streams..shell_end).ok_or_else(|| corrupt("it is cut"))?;
        let length = self.index.length.saturating_sub(tensors) as usize;
        let shell = inflate(packed, length, LENGTH_LIMIT as usize).map_err(|reason| corrupt(&reason))?;
        let mut starts = Vec::new();
        let mut at = shell_end;
        for entry in &self.index.entries {
            starts.push(at);
            at = at.saturating_add(entry.stream as usize);
        }
        let decoded: Vec<Vec<u8>> = ctx.pool().install(|| {
            let decode = |(entry, start): (&Entry, &usize)| {
                ctx.check()?;
                self.bytes_of(entry, *start)
            };
            self.index.entries.par_iter().zip(&starts).map(decode).collect::<Result<_, LoadError>>()
        })?;
        let mut file = Vec::new();
        let mut shell = shell.as_slice();
        for (entry, bytes) in self.index.entries.iter().zip(decoded) {
            let before = (entry.place as usize).saturating_sub(file.len());
            let (part, rest) = shell.split_at_checked(before).ok_or_else(|| corrupt("its parts do not fit each other"))?;
            file.extend(part);
            file.extend(bytes);
            shell = rest;
        }
        file.extend(shell);
        if hash::digest(&file) != self.index.sha256 {
            return Err(corrupt("the file that comes out is not the one that went in"));
        }
        Ok(file)
    }
}
