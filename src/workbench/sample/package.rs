//! The sample as it comes with the program, and how it gets to where the person can play with it.

use std::io::{self, Write as _};
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

/// Writes a file beside its place first, then moves it there; makes its folder.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let part = path.with_added_extension("part");
    let mut file = std::fs::File::create(&part)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // The first error is the one to tell; what was half written is of no use.
        let _ = std::fs::remove_file(&part);
    }
    written
}
