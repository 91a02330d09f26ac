//! How much memory a tensor may take. Sizes come from models, and a model can be wrong or hostile: an
//! operator asks here before it makes its output.

use super::data::{OpResult, fail};
use crate::engine::units::bytes;

/// Tensors up to this size are not worth a look at the machine.
const SMALL: usize = 64 << 20;
/// What is taken for free where the system does not say.
const UNKNOWN: usize = 16 << 30;

/// How many elements a tensor of `shape` has, once it is certain that this machine can hold them as `T`.
///
/// # Errors
/// When the number overflows or the bytes exceed half of the memory that is free.
pub(super) fn room<T>(shape: &[usize]) -> OpResult<usize> {
    // Axes of length 0 count as 1: operators go along the others, and strides must not overflow.
    let most = shape.iter().try_fold(size_of::<T>().max(1), |n, &d| n.checked_mul(d.max(1)));
    let Some(most) = most.filter(|n| isize::try_from(*n).is_ok()) else {
        return fail(format!("a tensor of shape {shape:?} has more elements than a machine can hold"));
    };
    if most > SMALL {
        // What an operator reads, and what it puts down in between, needs room as well.
        let free = free_memory().unwrap_or(UNKNOWN);
        if most > free / 2 {
            let (needed, free) = (bytes(most as u64), bytes(free as u64));
            let reason = "one tensor may take half";
            return fail(format!("a tensor of shape {shape:?} would need {needed}, this machine has {free} free; {reason}"));
        }
    }
    Ok(if shape.contains(&0) { 0 } else { most / size_of::<T>().max(1) })
}

/// Bytes that can be had without swapping: what Linux estimates, and what a container may still take. `None` where the
/// system does not say.
#[must_use]
pub fn free_memory() -> Option<usize> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let container =
        number("/sys/fs/cgroup/memory.max").map(|most| most.saturating_sub(number("/sys/fs/cgroup/memory.current").unwrap_or(0)));
    machine.into_iter().chain(container).min()
}

/// `MemAvailable` of a meminfo text, in bytes.
fn available(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_fits_and_refuses_what_does_not() {
        assert_eq!(room::<f32>(&[2, 3]).unwrap(), 6);
        assert_eq!(room::<f32>(&[]).unwrap(), 1);
        assert_eq!(room::<f32>(&[0, 5]).unwrap(), 0);
        assert!(room::<f32>(&[1 << 40, 1 << 40]).is_err());
        assert!(room::<f32>(&[0, 1 << 40, 1 << 40]).is_err());
        let message = room::<f64>(&[1 << 45]).unwrap_err().to_string();
        assert!(message.contains("would need") && message.contains("free"), "{message}");
    }

    #[test]
    fn reads_what_linux_says() {
        assert_eq!(available("MemTotal:  10 kB\nMemAvailable:    3 kB\n"), Some(3072));
        assert_eq!(available("MemTotal:  10 kB\n"), None);
    }
}
