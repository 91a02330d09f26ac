//! The members of a zip archive: left in the map where they lie uncompressed, else unpacked within
//! limits. Source: APPNOTE.TXT 6.3.

use super::error::LoadError;
use crate::engine::tensor::MappedFile;
use std::io::{Cursor, Read as _};
use std::ops::Range;
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// What compressed members may hold together: it has to be held in memory.
const UNPACKED_LIMIT: u64 = 1 << 32;
/// Deflate packs 258 bytes into two bits at best.
const MOST_PER_BYTE: u64 = 1032;
/// A claim of so little is always believed.
const ALWAYS_BELIEVED: u64 = 4096;

/// Where the bytes of a member are.
pub(super) enum Member {
    Mapped(Range<usize>),
    Unpacked(Vec<u8>),
}

impl Member {
    pub(super) fn as_slice<'a>(&'a self, map: &'a MappedFile) -> &'a [u8] {
        match self {
            // The range was held against the map when it was made.
            Self::Mapped(range) => map.as_slice().get(range.clone()).unwrap_or_default(),
            Self::Unpacked(bytes) => bytes,
        }
    }
}

/// An archive in a memory map.
pub(super) struct Archive<'a> {
    path: &'a Path,
    pub(super) map: &'a MappedFile,
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Bytes that may still be unpacked.
    left: u64,
    /// Bytes that members may still lie in: no two share any.
    unclaimed: u64,
}

impl<'a> Archive<'a> {
    pub(super) fn open(path: &'a Path, map: &'a MappedFile) -> Result<Self, LoadError> {
        let zip = ZipArchive::new(Cursor::new(map.as_slice())).map_err(|e| LoadError::corrupt(path, e.to_string()))?;
        Ok(Self { path, map, zip, left: UNPACKED_LIMIT, unclaimed: map.len() as u64 })
    }

    /// Names in the order of the archive; what is no text is replaced by its place.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.zip.file_names().enumerate();
        names.map(|(i, name)| name.map_or_else(|_| format!("member {i}"), std::borrow::Cow::into_owned)).collect()
    }

    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.zip.index_for_name(name)
    }

    /// The member at a place of the archive; each is to be asked for once.
    pub(super) fn member(&mut self, index: usize) -> Result<Member, LoadError> {
        let path = self.path;
        let fail = |reason: String| LoadError::corrupt(path, format!("member {index} of the archive: {reason}"));
        let file = self.zip.by_index(index).map_err(|e| fail(e.to_string()))?;
        let (size, packed) = (file.size(), file.compressed_size());
        let unclaimed = self.unclaimed.checked_sub(packed);
        self.unclaimed = unclaimed.ok_or_else(|| fail("it lies where other members lie".to_owned()))?;
        if file.compression() == CompressionMethod::Stored
            && let Some(start) = file.data_start()
        {
            if size != packed {
                return Err(fail(format!("it claims {size} bytes, but takes {packed}")));
            }
            let range = usize::try_from(start).ok().zip(start.checked_add(size).and_then(|end| usize::try_from(end).ok()));
            return match range {
                Some((start, end)) if end <= self.map.len() => Ok(Member::Mapped(start..end)),
                _ => Err(fail("it lies beyond the end of the file".to_owned())),
            };
        }
        if size > packed.saturating_mul(MOST_PER_BYTE).saturating_add(ALWAYS_BELIEVED) {
            return Err(fail(format!("{packed} bytes cannot unpack to the {size} that it claims")));
        }
        if size > self.left {
            let reason = format!(
                "the compressed arrays in it unpack to more than the {UNPACKED_LIMIT} bytes that are held in memory; \
                 save it uncompressed (as numpy.savez and torch.save do), so that they stay in the file"
            );
            return Err(LoadError::data(path, reason));
        }
        self.left -= size;
        let mut bytes = Vec::new();
        file.take(size).read_to_end(&mut bytes).map_err(|e| fail(e.to_string()))?;
        Ok(Member::Unpacked(bytes))
    }
}
