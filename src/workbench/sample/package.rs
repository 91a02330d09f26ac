//! The sample as it comes with the program, and how it gets to where the person can play with it.

use crate::workbench::project::write_atomically;
use std::io;
use std::path::Path;

/// Name of the network's file.
pub const MODEL: &str = "sample.onnx";
/// Folders of the two sets; each holds a pair of IDX files.
pub const EVALUATE: &str = "evaluate";
pub const CALIBRATE: &str = "calibrate";

/// The files of the sample: path below its folder (with `/`), and content.
#[must_use]
pub fn files() -> [(&'static str, &'static [u8]); 5] {
    macro_rules! embedded {
        ($name:literal) => {
            ($name, include_bytes!(concat!("../../../assets/sample/", $name)).as_slice())
        };
    }
    [
        embedded!("sample.onnx"),
        embedded!("evaluate/images-idx3-ubyte.gz"),
        embedded!("evaluate/labels-idx1-ubyte.gz"),
        embedded!("calibrate/images-idx3-ubyte.gz"),
        embedded!("calibrate/labels-idx1-ubyte.gz"),
    ]
}

/// Writes those files of the sample that are missing or differ.
///
/// # Errors
/// What the file system says; a file is there whole or not at all.
pub fn write_to(folder: &Path) -> io::Result<()> {
    for (name, bytes) in files() {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|found| found == bytes) {
            continue;
        }
        write_whole(&path, bytes)?;
    }
    Ok(())
}

/// Writes a file whole or not at all; makes its folder.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    write_atomically(path, bytes, false)
}
