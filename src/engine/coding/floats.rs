//! A model of floats of many values: sign and exponent are learned, and so is each bit of the mantissa by its place, so
//! that numbers which were once shorter cost what they did. The rest is noise, and stays.

use super::mix::{Mix, number};
use super::range::{BitCoder, Damaged};

/// Codes `count` patterns of `width` bits, of which the upper `head` are sign and exponent.
///
/// # Errors
/// When a stream that is read is no such stream.
pub fn floats(coder: &mut impl BitCoder, known: &[u32], count: usize, width: u32, head: u32) -> Result<Vec<u32>, Damaged> {
    let rest = width.saturating_sub(head);
    let mut heads = Mix::<1>::new([1 << head], 1);
    // The first bits behind the head in the context of each other, the others by place.
    let mut bits = Mix::<1>::new([64], 1);
    let mut read: Vec<u32> = Vec::new();
    read.try_reserve_exact(count).map_err(|_| Damaged)?;
    for i in 0..count {
        let this = known.get(i).copied().unwrap_or(0);
        let mut pattern = number(&mut heads, coder, this >> rest, head, 0)?;
        let mut node = 1_usize;
        for place in (0..rest).rev() {
            let slot = if node < 8 { node } else { 16 + place as usize };
            let bit = bits.code(coder, this >> place & 1 == 1, [slot], 0)?;
            node = (node << 1 | usize::from(bit)).min(8);
            pattern = pattern << 1 | u32::from(bit);
        }
        read.push(pattern);
    }
    Ok(read)
}
