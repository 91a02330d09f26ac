//! What several test files need.

use std::path::{Path, PathBuf};

/// The corpus of real models (`LAPIDARY_CORPUS`, else `../shared/data`); where it is not there, the test
/// skips, and this says so.
pub fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("LAPIDARY_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    if folder.join("models.json").is_file() {
        return Some(folder);
    }
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    {
        eprintln!("skipped: no corpus at {}; set LAPIDARY_CORPUS", folder.display());
    }
    None
}
