//! What opening a large file of weights costs: time until its layers are known, and memory.

use lapidary::engine::Ctx;
use lapidary::pipeline::load::{self, Subject};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

pub const NAME: &str = "open 1 GB of safetensors";
/// Matrices of the file, and the length of their sides.
const LAYERS: usize = 64;
const SIDE: usize = 2048;

/// Writes numbers that differ: a hole in the file would be no file.
fn write(path: &Path) -> std::io::Result<()> {
    let bytes = SIDE * SIDE * 4;
    let entry = |i: usize| {
        let (start, end) = (i * bytes, (i + 1) * bytes);
        format!("\"layers.{i}.proj.weight\":{{\"dtype\":\"F32\",\"shape\":[{SIDE},{SIDE}],\"data_offsets\":[{start},{end}]}}")
    };
    let header = format!("{{{}}}", (0..LAYERS).map(entry).collect::<Vec<_>>().join(","));
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for row in 0..LAYERS * SIDE {
        let values: Vec<u8> = (0..SIDE).flat_map(|i| ((row * 31 + i * 7) as f32 * 1e-6).to_le_bytes()).collect();
        file.write_all(&values)?;
    }
    file.flush()
}

/// Bytes of memory that the process holds now; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Seconds and bytes that opening takes.
pub fn measure() -> Result<(f64, u64), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let path = folder.path().join("large.safetensors");
    write(&path).map_err(|e| e.to_string())?;
    let ctx = Ctx::new(1).map_err(|e| e.to_string())?;
    let (before, started) = (resident_bytes(), Instant::now());
    let subject = load::model(&path, &ctx).and_then(Subject::new).map_err(|e| e.to_string())?;
    let seconds = started.elapsed().as_secs_f64();
    if subject.layers.len() != LAYERS {
        return Err(format!("{} layers instead of {LAYERS}", subject.layers.len()));
    }
    Ok((seconds, resident_bytes().saturating_sub(before)))
}
