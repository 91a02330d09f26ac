//! Loops compiled for the widest vectors that the processor has.

#[cfg(target_arch = "x86_64")]
use super::isa::Isa;

/// Something to run. A trait instead of a closure, because `#[inline(always)]` can be asked of its
/// method: what is not inlined would be compiled for the oldest processors.
pub(in crate::engine) trait Work {
    fn run(self);
}

/// Runs `work` compiled for AVX-512 or AVX2 where they are there. No sum is reordered and no product fused
/// by that, so that the results are the same everywhere.
pub(in crate::engine) fn widest(work: impl Work) {
    #[cfg(target_arch = "x86_64")]
    {
        #[expect(unsafe_code, reason = "a function compiled for more than every processor has")]
        #[target_feature(enable = "avx512f,avx2,fma")]
        unsafe fn with_avx512(work: impl Work) {
            work.run();
        }
        #[expect(unsafe_code, reason = "as above")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn with_avx2(work: impl Work) {
            work.run();
        }
        match Isa::best() {
            #[expect(unsafe_code, reason = "as above")]
            // SAFETY: this kind is only made where the processor has AVX-512, AVX2 and fused multiply-add.
            Isa::Avx512 => return unsafe { with_avx512(work) },
            #[expect(unsafe_code, reason = "as above")]
            // SAFETY: this kind is only made where the processor has AVX2 and fused multiply-add.
            Isa::Avx2 => return unsafe { with_avx2(work) },
            Isa::Plain => {}
        }
    }
    work.run();
}
