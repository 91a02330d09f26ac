//! Deep Compression's own coding (Han et al. 2016): canonical Huffman codes of the places in a table of values, and of
//! the gaps between those that are not zero. Codes are at most 15 bits long (package-merge: Larmore and Hirschberg 1990).

use super::range::Damaged;

/// The longest code.
const LONGEST: usize = 15;
/// Gaps are numbers of this many bits; the largest says that another gap follows.
const GAP_BITS: u32 = 5;
const FILLER: usize = (1 << GAP_BITS) - 1;

/// Lengths of the codes of symbols that occur so often; 0 for those that do not occur. A lone symbol has one bit.
#[must_use]
pub fn lengths(counts: &[u64]) -> Vec<u8> {
    let mut coins: Vec<(u64, Vec<u16>)> =
        counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(symbol, n)| (*n, vec![symbol as u16])).collect();
    coins.sort();
    let mut lengths = vec![0_u8; counts.len()];
    let mut row = coins.clone();
    for _ in 1..LONGEST {
        let pairs = row.chunks_exact(2).map(|pair| match pair {
            [(a, x), (b, y)] => (a + b, x.iter().chain(y).copied().collect::<Vec<u16>>()),
            _ => (0, Vec::new()),
        });
        let mut next: Vec<_> = coins.iter().cloned().chain(pairs).collect();
        next.sort();
        row = next;
    }
    let taken = if coins.len() == 1 { 1 } else { (2 * coins.len()).saturating_sub(2) };
    for symbol in row.iter().take(taken).flat_map(|(_, symbols)| symbols) {
        if let Some(length) = lengths.get_mut(usize::from(*symbol)) {
            *length += 1;
        }
    }
    lengths
}

/// The code of every symbol: shorter ones first, of one length by symbol.
fn canonical(lengths: &[u8]) -> Vec<u32> {
    let mut codes = vec![0; lengths.len()];
    let mut code = 0_u32;
    for length in 1..=LONGEST as u8 {
        for (symbol, known) in lengths.iter().enumerate() {
            if *known == length {
                if let Some(slot) = codes.get_mut(symbol) {
                    *slot = code;
                }
                code += 1;
            }
        }
        code <<= 1;
    }
    codes
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    held: u32,
    filled: u32,
}

impl BitWriter {
    /// The highest bit first.
    fn put(&mut self, code: u32, length: u8) {
        for place in (0..length).rev() {
            self.held = self.held << 1 | (code >> place & 1);
            self.filled += 1;
            if self.filled == 8 {
                self.bytes.push(self.held as u8);
                (self.held, self.filled) = (0, 0);
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.bytes.push((self.held << (8 - self.filled)) as u8);
        }
        self.bytes
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl BitReader<'_> {
    fn bit(&mut self) -> Result<u32, Damaged> {
        let byte = self.bytes.get(self.at / 8).ok_or(Damaged)?;
        let bit = u32::from(*byte) >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit)
    }
}

/// A code as it is read: how many symbols each length has, and the symbols in the order of their codes.
struct Decoder {
    counts: [u32; LONGEST + 1],
    symbols: Vec<u16>,
}

impl Decoder {
    fn new(lengths: &[u8]) -> Result<Self, Damaged> {
        let mut counts = [0_u32; LONGEST + 1];
        let mut symbols = Vec::new();
        for length in 1..=LONGEST {
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, known)| usize::from(**known) == length) {
                symbols.push(symbol as u16);
                if let Some(count) = counts.get_mut(length) {
                    *count += 1;
                }
            }
        }
        let used: u32 = counts.iter().enumerate().skip(1).map(|(length, count)| count << (LONGEST - length)).sum();
        if used > 1 << LONGEST || lengths.iter().any(|l| usize::from(*l) > LONGEST) {
            return Err(Damaged);
        }
        Ok(Self { counts, symbols })
    }

    fn read(&self, bits: &mut BitReader<'_>) -> Result<usize, Damaged> {
        let (mut code, mut first, mut index) = (0_u32, 0_u32, 0_u32);
        for count in self.counts.iter().skip(1) {
            code |= bits.bit()?;
            if code < first + count {
                let place = index + code - first;
                return self.symbols.get(place as usize).map(|s| usize::from(*s)).ok_or(Damaged);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(Damaged)
    }
}

/// Gaps before the values that are not zero, and the values. What follows the last of them is not coded.
fn relative(codes: &[u8], zero: Option<u8>) -> Vec<(usize, Option<u8>)> {
    let mut pairs = Vec::new();
    let mut gap = 0;
    for code in codes {
        if Some(*code) == zero {
            gap += 1;
            if gap == FILLER {
                pairs.push((FILLER, None));
                gap = 0;
            }
            continue;
        }
        pairs.push((gap, Some(*code)));
        gap = 0;
    }
    while pairs.last().is_some_and(|(_, value)| value.is_none()) {
        pairs.pop();
    }
    pairs
}

/// The stream of places in a table of `values` values: number of pairs (u64), lengths of both codes, pairs.
#[must_use]
pub fn encode(codes: &[u8], values: usize, zero: Option<u8>) -> Vec<u8> {
    let pairs = relative(codes, zero);
    let (mut of_values, mut of_gaps) = (vec![0_u64; values], vec![0_u64; FILLER + 1]);
    for (gap, value) in &pairs {
        if let Some(count) = of_gaps.get_mut(*gap) {
            *count += 1;
        }
        if let Some(count) = value.and_then(|value| of_values.get_mut(usize::from(value))) {
            *count += 1;
        }
    }
    let (value_lengths, gap_lengths) = (lengths(&of_values), lengths(&of_gaps));
    let (value_codes, gap_codes) = (canonical(&value_lengths), canonical(&gap_lengths));
    let mut bits = BitWriter::default();
    let code = |codes: &[u32], lengths: &[u8], at: usize| Some((*codes.get(at)?, *lengths.get(at)?));
    for (gap, value) in &pairs {
        let gap = if zero.is_some() { code(&gap_codes, &gap_lengths, *gap) } else { None };
        let value = value.and_then(|value| code(&value_codes, &value_lengths, usize::from(value)));
        for (code, length) in gap.into_iter().chain(value) {
            bits.put(code, length);
        }
    }
    let mut stream = (pairs.len() as u64).to_le_bytes().to_vec();
    stream.extend(value_lengths);
    stream.extend(gap_lengths);
    stream.extend(bits.finish());
    stream
}

/// `count` places of what [`encode`] made.
///
/// # Errors
/// When it is no such stream.
pub fn decode(stream: &[u8], count: usize, values: usize, zero: Option<u8>) -> Result<Vec<u8>, Damaged> {
    let (pairs, rest) = stream.split_first_chunk::<8>().ok_or(Damaged)?;
    let (of_values, rest) = rest.split_at_checked(values).ok_or(Damaged)?;
    let (of_gaps, rest) = rest.split_at_checked(FILLER + 1).ok_or(Damaged)?;
    let (of_values, of_gaps) = (Decoder::new(of_values)?, Decoder::new(of_gaps)?);
    let mut bits = BitReader { bytes: rest, at: 0 };
    let mut codes: Vec<u8> = Vec::new();
    codes.try_reserve_exact(count).map_err(|_| Damaged)?;
    for _ in 0..u64::from_le_bytes(*pairs) {
        if let Some(zero) = zero {
            let gap = of_gaps.read(&mut bits)?;
            if gap > count - codes.len() {
                return Err(Damaged);
            }
            codes.resize(codes.len() + gap, zero);
            if gap == FILLER {
                continue;
            }
        }
        if codes.len() == count {
            return Err(Damaged);
        }
        codes.push(of_values.read(&mut bits)? as u8);
    }
    match zero {
        Some(zero) => codes.resize(count, zero),
        None if codes.len() < count => return Err(Damaged),
        None => {}
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_textbook_and_never_too_long() {
        assert_eq!(lengths(&[45, 13, 12, 16, 9, 5]), [1, 3, 3, 3, 4, 4]);
        assert_eq!(lengths(&[0, 7, 0]), [0, 1, 0]);
        assert_eq!(lengths(&[0; 3]), [0; 3]);
        let steep: Vec<u64> = (0..40).map(|i| 1 << i).collect();
        let limited = lengths(&steep);
        assert_eq!(limited.iter().max(), Some(&15));
        assert!(limited.iter().map(|l| 2_f64.powi(-i32::from(*l))).sum::<f64>() <= 1.0);
    }

    #[test]
    fn sparse_and_dense_places_come_back() {
        let sparse: Vec<u8> = (0..2000_u32).map(|i| if i % 97 == 5 || i == 40 { (i % 5) as u8 } else { 5 }).collect();
        for (codes, zero) in
            [(sparse.clone(), Some(5)), (sparse, None), (vec![3; 10], Some(3)), (vec![2; 10], None), (vec![], Some(0))]
        {
            let stream = encode(&codes, 6, zero);
            assert_eq!(decode(&stream, codes.len(), 6, zero), Ok(codes.clone()));
            for cut in 0..stream.len() {
                let _ = decode(&stream[..cut], codes.len(), 6, zero);
            }
        }
        assert_eq!(decode(&[], 3, 6, None), Err(Damaged));
    }
}
