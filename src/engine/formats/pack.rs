//! Dense streams of codes of 1 to 16 bits: no bit is left between two codes, the first one lies in the
//! least significant bits, and the last byte is filled up with zeros (as ONNX packs its narrow integers).

use super::error::FormatError;
use super::matrix::Shape;
use crate::engine::Ctx;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

/// Codes that one task takes, about.
const TILE: usize = 1 << 16;

/// Bytes that `count` codes of `bits` bits take.
#[must_use]
pub fn packed_len(count: u64, bits: u8) -> u64 {
    (u128::from(count) * u128::from(bits)).div_ceil(8).min(u128::from(u64::MAX)) as u64
}

/// Appends the low `bits` bits of every code.
pub fn pack(codes: &[u16], bits: u8, out: &mut Vec<u8>) {
    match bits {
        8 => out.extend(codes.iter().map(|c| *c as u8)),
        16 => out.extend(codes.iter().flat_map(|c| c.to_le_bytes())),
        4 => out.extend(codes.chunks(2).map(|pair| pair.iter().rev().fold(0, |byte, c| byte << 4 | (c & 15) as u8))),
        _ => {
            let mask = (1_u64 << bits) - 1;
            let (mut held, mut filled) = (0_u64, 0_u32);
            for code in codes {
                held |= (u64::from(*code) & mask) << filled;
                filled += u32::from(bits);
                while filled >= 8 {
                    out.push(held as u8);
                    held >>= 8;
                    filled -= 8;
                }
            }
            if filled > 0 {
                out.push(held as u8);
            }
        }
    }
}

/// Reads codes until `codes` is full; what `bytes` lacks is read as zeros.
pub fn unpack(bytes: &[u8], bits: u8, codes: &mut [u16]) {
    match bits {
        8 => codes.iter_mut().zip(bytes).for_each(|(c, b)| *c = u16::from(*b)),
        16 => codes.iter_mut().zip(bytes.chunks_exact(2)).for_each(|(c, b)| *c = u16::from(b[0]) | u16::from(b[1]) << 8),
        4 => codes.chunks_mut(2).zip(bytes).for_each(|(pair, byte)| {
            for (c, b) in pair.iter_mut().zip([byte & 15, byte >> 4]) {
                *c = u16::from(b);
            }
        }),
        _ => {
            let mask = (1_u64 << bits) - 1;
            let (mut held, mut filled, mut bytes) = (0_u64, 0_u32, bytes.iter());
            for code in codes {
                while filled < u32::from(bits) {
                    held |= u64::from(bytes.next().copied().unwrap_or(0)) << filled;
                    filled += 8;
                }
                *code = (held & mask) as u16;
                held >>= bits;
                filled -= u32::from(bits);
            }
        }
    }
}

/// The code of this number; 0 beyond the end.
pub(super) fn code_at(bytes: &[u8], bits: u8, index: usize) -> u16 {
    let first = index * usize::from(bits);
    // Seven bits before it and 16 of its own reach into three bytes.
    let held = (0..3).map(|i| u32::from(bytes.get(first / 8 + i).copied().unwrap_or(0)) << (8 * i)).sum::<u32>();
    (held >> (first % 8)) as u16 & (u16::MAX >> (16 - bits.clamp(1, 16)))
}

/// The low `bits` bits as a number of two's complement.
#[inline]
#[must_use]
pub fn signed(code: u16, bits: u8) -> i32 {
    let spare = 32 - u32::from(bits.clamp(1, 16));
    ((u32::from(code) << spare) as i32) >> spare
}

/// Lines of codes, one after the other; the last line may be short.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    pub(super) count: usize,
    pub(super) length: usize,
    pub(super) bits: u8,
}

impl Lines {
    /// The rows of a matrix, each filled up to a multiple of `block` codes.
    pub(super) fn of_rows(shape: Shape, block: usize, bits: u8) -> Self {
        let length = shape.cols().div_ceil(block) * block;
        Self { count: shape.rows() * length, length, bits }
    }

    pub(super) fn bytes(self) -> u64 {
        packed_len(self.count as u64, self.bits)
    }

    /// Lines per task: a multiple of 8, so that every task fills whole bytes.
    fn share(self) -> usize {
        TILE.div_ceil(self.length.max(1)).next_multiple_of(8)
    }

    /// The stream whose codes `fill` writes, some whole lines at a time: it is given the number of the
    /// first one. Codes that it leaves alone are 0.
    pub(super) fn write(
        self,
        ctx: &Ctx,
        fill: impl Fn(usize, &mut [u16]) -> Result<(), FormatError> + Sync,
    ) -> Result<Vec<u8>, FormatError> {
        let mut bytes = vec![0_u8; self.bytes() as usize];
        if bytes.is_empty() {
            return Ok(bytes);
        }
        let (lines, share) = (self.share(), self.share() * self.length);
        let per_task = packed_len(share as u64, self.bits) as usize;
        bytes.par_chunks_mut(per_task).enumerate().try_for_each(|(task, bytes)| {
            ctx.check()?;
            let mut codes = vec![0_u16; share.min(self.count - task * share)];
            fill(task * lines, &mut codes)?;
            let mut packed = Vec::with_capacity(bytes.len());
            pack(&codes, self.bits, &mut packed);
            for (to, from) in bytes.iter_mut().zip(packed) {
                *to = from;
            }
            ctx.advance(codes.len());
            Ok::<_, FormatError>(())
        })?;
        Ok(bytes)
    }

    /// Reads the stream and has `read` turn some whole lines at a time into what stands in `out`,
    /// whose lines hold `width` values.
    pub(super) fn read(self, bytes: &[u8], width: usize, out: &mut [f32], read: impl Fn(usize, &[u16], &mut [f32]) + Sync) {
        if out.is_empty() || self.count == 0 || width == 0 {
            return;
        }
        let (lines, share) = (self.share(), self.share() * self.length);
        let per_task = packed_len(share as u64, self.bits) as usize;
        bytes.par_chunks(per_task).zip(out.par_chunks_mut(lines * width)).enumerate().for_each(|(task, (bytes, out))| {
            let mut codes = vec![0_u16; share.min(self.count.saturating_sub(task * share))];
            unpack(bytes, self.bits, &mut codes);
            read(task * lines, &codes, out);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_code_lies_lowest() {
        let bytes = |codes: &[u16], bits| {
            let mut out = Vec::new();
            pack(codes, bits, &mut out);
            out
        };
        assert_eq!(bytes(&[1, 2, 15], 4), [0x21, 0x0F]);
        assert_eq!(bytes(&[3, 0, 1, 2, 1], 2), [0b1001_0011, 1]);
        assert_eq!(bytes(&[5, 7, 1], 3), [0b0111_1101, 0]);
        assert_eq!(bytes(&[0x1234], 16), [0x34, 0x12]);
    }

    #[test]
    fn every_width_comes_back() {
        for bits in (1..=8).chain([16]) {
            for count in [0_usize, 1, 7, 8, 9, 1000] {
                let mask = ((1_u32 << bits) - 1) as u16;
                let codes: Vec<u16> = (0..count).map(|i| (i * 40_503 + 7) as u16 & mask).collect();
                let mut bytes = Vec::new();
                pack(&codes, bits, &mut bytes);
                assert_eq!(bytes.len() as u64, packed_len(count as u64, bits));
                let mut back = vec![0; count];
                unpack(&bytes, bits, &mut back);
                assert_eq!(back, codes, "{bits} bits");
                assert!(codes.iter().enumerate().all(|(i, c)| code_at(&bytes, bits, i) == *c), "{bits} bits");
            }
        }
    }

    #[test]
    fn signs_are_extended() {
        assert_eq!([signed(0b111, 3), signed(0b011, 3), signed(0xFF80, 8), signed(0xFFFF, 16)], [-1, 3, -128, -1]);
    }
}
