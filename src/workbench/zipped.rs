//! How small `zip -9` would make a file: what compression has to beat.

use crate::engine::Ctx;
use crate::engine::context::Cancelled;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

/// Counts what is written to it.
#[derive(Default)]
struct Count(u64);

impl Write for Count {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        self.0 += part.len() as u64;
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const CHUNK: usize = 1 << 20;

/// Bytes of a file's content, deflated as hard as zip does.
///
/// # Errors
/// When it cannot be read, or on cancel.
pub fn zipped(path: &Path, ctx: &Ctx) -> Result<u64, ZipError> {
    let failed = |source| ZipError::Io { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(failed)?;
    let chunks = file.metadata().map_err(failed)?.len().div_ceil(CHUNK as u64);
    ctx.start(format!("Zipping {}", path.display()), chunks as usize);
    let mut encoder = DeflateEncoder::new(Count::default(), Compression::best());
    let mut chunk = vec![0; CHUNK];
    loop {
        ctx.check()?;
        let read = file.read(&mut chunk).map_err(failed)?;
        if read == 0 {
            return Ok(encoder.finish().map_err(failed)?.0);
        }
        encoder.write_all(&chunk[..read]).map_err(failed)?;
        ctx.advance(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_becomes_small_and_noise_does_not() {
        let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
        let path = folder.path().join("f");
        std::fs::write(&path, vec![7_u8; 3 << 20]).unwrap();
        assert!(zipped(&path, &ctx).unwrap() < 10_000);
        let mut random = crate::engine::random::Random::new(1);
        let noise: Vec<u8> = (0..100_000).map(|_| random.range(0.0, 256.0) as u8).collect();
        std::fs::write(&path, &noise).unwrap();
        assert!((99_000..=101_000).contains(&zipped(&path, &ctx).unwrap()));
        assert!(zipped(&folder.path().join("none"), &ctx).unwrap_err().to_string().contains("none"));
    }
}
