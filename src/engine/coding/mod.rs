//! Entropy coding of tensors, without loss: places in a table of few values by Huffman codes of gaps and values as in
//! Deep Compression, or by an adaptive range coder, whichever is smaller; floats of many values by their bits.

pub mod floats;
pub mod huffman;
pub mod mix;
pub mod range;
pub mod symbols;
#[cfg(test)]
mod tests;
pub mod weights;

pub use range::Damaged;

use range::{Reader, Writer};
use symbols::{MOST_VALUES, Symbols};
use weights::Geometry;

/// One byte of a stream stands for no more than so many of a tensor: what claims more is refused unread.
pub const MOST_PER_BYTE: u64 = 1 << 17;
/// A claim of so little is always believed.
pub const ALWAYS_BELIEVED: u64 = 1 << 12;
/// Fewer bytes are not worth a code.
const LEAST_BYTES: usize = 64;

/// How the elements of a tensor are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// Bits: 2, 4, 8, 16 or 32; others are not coded.
    pub width: u8,
    /// Of 16 and 32 bits those at the top that are learned together, as sign and exponent are; 0 where none are.
    pub head: u8,
}

/// The code of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Raw,
    Huffman,
    Range,
    Floats,
}

impl Mode {
    pub const ALL: [Self; 4] = [Self::Raw, Self::Huffman, Self::Range, Self::Floats];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "as it is",
            Self::Huffman => "Huffman",
            Self::Range => "range",
            Self::Floats => "range, floats",
        }
    }
}

/// A tensor as a stream.
#[derive(Debug, Clone)]
pub struct Coded {
    pub mode: Mode,
    pub stream: Vec<u8>,
    /// Bytes as Huffman codes and by the range coder, where both were tried.
    pub tried: Option<(usize, usize)>,
}

/// The smallest stream of a tensor's bytes.
#[must_use]
pub fn encode(bytes: &[u8], count: usize, element: Element, shape: &[usize]) -> Coded {
    let raw = || Coded { mode: Mode::Raw, stream: bytes.to_vec(), tried: None };
    if bytes.len() < LEAST_BYTES {
        return raw();
    }
    let coded = match Symbols::of(bytes, count, element.width) {
        Some(symbols) => of_table(&symbols, shape),
        None => of_floats(bytes, count, element),
    };
    let coded = coded.map(|coded| filled(coded, bytes.len()));
    coded.filter(|coded| coded.stream.len() < bytes.len()).unwrap_or_else(raw)
}

/// What stands for very much is filled up with zeros, which no decoder reads, until [`decode`] believes it.
fn filled(mut coded: Coded, length: usize) -> Coded {
    let least = (length as u64).div_ceil(MOST_PER_BYTE) as usize;
    if coded.stream.len() < least {
        // Behind the size of the table the range coder's words are whole.
        let head = usize::from(coded.mode == Mode::Range);
        coded.stream.resize(head + least.next_multiple_of(4), 0);
    }
    coded
}

fn of_table(symbols: &Symbols, shape: &[usize]) -> Option<Coded> {
    let head = u8::try_from(symbols.table.len().checked_sub(1)?).ok()?;
    let table: Vec<u8> =
        symbols.table.iter().flat_map(|p| p.to_le_bytes().into_iter().take(entry_bytes(symbols.width))).collect();
    let mut huffman = vec![head];
    huffman.extend(table);
    huffman.extend(huffman::encode(&symbols.codes, symbols.table.len(), symbols.zero));
    let mut writer = Writer::default();
    symbols::table(&mut writer, &symbols.table, symbols.table.len(), symbols.width).ok()?;
    let values = (symbols.table.len(), symbols.zero);
    weights::codes(&mut writer, &symbols.codes, symbols.codes.len(), values, Geometry::of(shape)).ok()?;
    let mut range = vec![head];
    range.extend(writer.finish());
    let tried = Some((huffman.len(), range.len()));
    let huffman_wins = huffman.len() < range.len();
    let (mode, stream) = if huffman_wins { (Mode::Huffman, huffman) } else { (Mode::Range, range) };
    Some(Coded { mode, stream, tried })
}

fn of_floats(bytes: &[u8], count: usize, element: Element) -> Option<Coded> {
    if element.head == 0 {
        return None;
    }
    let patterns: Vec<u32> = match element.width {
        32 => bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect(),
        16 => bytes.as_chunks::<2>().0.iter().map(|b| u32::from(u16::from_le_bytes(*b))).collect(),
        _ => return None,
    };
    if patterns.len() != count {
        return None;
    }
    let mut writer = Writer::default();
    floats::floats(&mut writer, &patterns, count, u32::from(element.width), u32::from(element.head)).ok()?;
    Some(Coded { mode: Mode::Floats, stream: writer.finish(), tried: None })
}

/// Bytes of an entry of a table that is not coded.
fn entry_bytes(width: u8) -> usize {
    usize::from(width.div_ceil(8))
}

/// The bytes that a stream stands for; `length` of them are awaited.
///
/// # Errors
/// When nobody wrote such a stream for such a tensor.
pub fn decode(
    mode: Mode,
    stream: &[u8],
    (count, length): (usize, usize),
    element: Element,
    shape: &[usize],
) -> Result<Vec<u8>, Damaged> {
    let believable = (stream.len() as u64).saturating_mul(MOST_PER_BYTE).saturating_add(ALWAYS_BELIEVED);
    let packed = count.checked_mul(usize::from(element.width)).map(|bits| bits.div_ceil(8));
    if length as u64 > believable || packed != Some(length) {
        return Err(Damaged);
    }
    let known = matches!((mode, element.width), (Mode::Raw, _) | (Mode::Huffman | Mode::Range, 2 | 4 | 8 | 16 | 32))
        || mode == Mode::Floats
            && matches!(element.width, 16 | 32)
            && (1..element.width).contains(&element.head)
            && element.head <= 16;
    let bytes = match mode {
        _ if !known => return Err(Damaged),
        Mode::Raw => stream.to_vec(),
        Mode::Floats => {
            let mut reader = Reader::new(stream)?;
            let patterns = floats::floats(&mut reader, &[], count, u32::from(element.width), u32::from(element.head))?;
            let wide = usize::from(element.width / 8);
            patterns.into_iter().flat_map(|p| p.to_le_bytes().into_iter().take(wide)).collect()
        }
        Mode::Huffman | Mode::Range => from_table(mode, stream, count, element.width, shape)?.bytes(),
    };
    if bytes.len() == length { Ok(bytes) } else { Err(Damaged) }
}

fn from_table(mode: Mode, stream: &[u8], count: usize, width: u8, shape: &[usize]) -> Result<Symbols, Damaged> {
    let (head, rest) = stream.split_first().ok_or(Damaged)?;
    let values = usize::from(*head) + 1;
    debug_assert!(values <= MOST_VALUES);
    if mode == Mode::Range {
        let mut reader = Reader::new(rest)?;
        let table = symbols::table(&mut reader, &[], values, width)?;
        let zero = Symbols::zero_of(&table);
        let codes = weights::codes(&mut reader, &[], count, (values, zero), Geometry::of(shape))?;
        return Ok(Symbols { width, table, zero, codes });
    }
    let (table, rest) = rest.split_at_checked(values * entry_bytes(width)).ok_or(Damaged)?;
    let pattern = |entry: &[u8]| entry.iter().rev().fold(0, |pattern, byte| pattern << 8 | u32::from(*byte));
    let table: Vec<u32> = table.chunks(entry_bytes(width)).map(pattern).collect();
    let zero = Symbols::zero_of(&table);
    let codes = huffman::decode(rest, count, values, zero)?;
    Ok(Symbols { width, table, zero, codes })
}
