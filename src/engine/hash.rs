//! Content hashes: what a cache is keyed by and a file is known by.

use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::path::Path;

/// Collects bytes and numbers into one SHA-256.
#[derive(Default, Clone)]
pub struct Hasher(Sha256);

impl Hasher {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Length first, so that two neighbours never run together.
    pub fn add(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    #[must_use]
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 of one byte string.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 of one byte string, as hex.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of one byte string, as hex. `between` is called before each part of 16 MiB and may stop it.
///
/// # Errors
/// What `between` says.
pub fn of_parts<E>(bytes: &[u8], mut between: impl FnMut() -> Result<(), E>) -> Result<String, E> {
    let mut sha = Sha256::new();
    for part in bytes.chunks(16 << 20) {
        between()?;
        sha.update(part);
    }
    Ok(hex(&sha.finalize()))
}

/// SHA-256 of a file, as hex, read in pieces.
///
/// # Errors
/// What reading the file says.
pub fn of_file(path: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&sha.finalize())),
            n => sha.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_digest() {
        assert_eq!(super::of_parts(b"abc", || Ok::<(), ()>(())), Ok(super::of_bytes(b"abc")));
        assert_eq!(super::of_parts(b"abc", || Err(())), Err(()));
        assert_eq!(super::of_bytes(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
