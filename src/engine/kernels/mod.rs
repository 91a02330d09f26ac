//! Arithmetic on slices. Nothing here knows layers, names, files or candle; rayon is used as it is
//! found, so that whoever calls decides on which threads. Every fast kernel has a plain twin that
//! the tests compare it with. Sums run in one fixed order, whatever the number of threads.

pub mod affine;
pub mod aligned;
pub mod attention;
pub mod convolve;
pub mod fourier;
pub mod integer;
pub mod isa;
pub mod layout;
pub mod map;
pub mod matmul;
pub mod normalize;
pub mod plain;
pub mod pool;
pub mod quantize;
pub mod recurrent;
pub mod resample;
pub mod softmax;
pub mod summary;
pub mod tile;
pub mod transcendental;
pub(in crate::engine) mod widest;

use std::cell::Cell;

thread_local! {
    static SERIAL: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` with every kernel in it on the calling thread alone: for those who share out whole
/// pieces of work themselves.
pub fn serial<R>(work: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            SERIAL.set(self.0);
        }
    }
    let _restore = Restore(SERIAL.replace(true));
    work()
}

/// Whether a kernel should keep to the calling thread.
fn is_serial() -> bool {
    SERIAL.get() || rayon::current_num_threads() <= 1
}
