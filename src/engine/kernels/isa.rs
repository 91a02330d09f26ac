//! What vector instructions the processor offers.

use std::sync::OnceLock;

/// The widest family of float instructions to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

impl Isa {
    /// The widest that this processor has. `LAPIDARY_ISA` (`avx2` or `plain`) asks for less, so that
    /// what runs on smaller machines can be tried on this one.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let wish = std::env::var("LAPIDARY_ISA").unwrap_or_default();
            let all = Self::all();
            all.iter().copied().find(|isa| isa.name() == wish).unwrap_or(all[0])
        })
    }

    /// Every one that this processor has, the widest first.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
            if avx2 && std::arch::is_x86_feature_detected!("avx512f") {
                all.push(Self::Avx512);
            }
            if avx2 {
                all.push(Self::Avx2);
            }
        }
        all.push(Self::Plain);
        all
    }

    fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            Self::Plain => "plain",
        }
    }

    /// Values in one vector.
    pub fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 16,
            _ => 8,
        }
    }
}

/// Runs `work` compiled for the vectors that this processor has: loops in it that the compiler can
/// turn into vector instructions use AVX2 where it is there. No sum is reordered and no product fused
/// by that, so that the results are the same everywhere.
#[inline]
pub fn wide<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[expect(unsafe_code, reason = "a function compiled for more than every processor has")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        if Isa::best() != Isa::Plain {
            #[expect(unsafe_code, reason = "as above")]
            // SAFETY: both other kinds are only made where the processor has AVX2 and fused multiply-add.
            return unsafe { with_avx2(work) };
        }
    }
    work()
}
