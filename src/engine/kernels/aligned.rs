//! Buffers that begin where a cache line does: a vector that lies across two lines costs two loads.

/// Bytes of a cache line.
const LINE: usize = 64;

/// A buffer whose first value begins a cache line.
#[derive(Debug, Default)]
pub struct Aligned<T = f32> {
    data: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::default();
        buffer.reach(len);
        buffer
    }

    /// The first `len` values, whatever they are; what is new is zero.
    pub fn reach(&mut self, len: usize) -> &mut [T] {
        if self.len < len {
            let line = LINE / size_of::<T>().max(1);
            self.data = vec![T::default(); len + line];
            self.start = self.data.as_ptr().align_offset(LINE).min(line);
            self.len = len;
        }
        &mut self.data[self.start..self.start + len]
    }
}

impl<T> std::ops::Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.data[self.start..self.start + self.len]
    }
}

impl<T: Copy + Default> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len);
        copy.reach(self.len).copy_from_slice(self);
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_a_line_also_when_copied() {
        let mut buffer = Aligned::<f32>::zeros(5);
        buffer.reach(1000)[999] = 3.0;
        let copy = buffer.clone();
        assert_eq!((buffer.len(), copy[999]), (1000, 3.0));
        for b in [&buffer, &copy] {
            assert_eq!(b.as_ptr().align_offset(64), 0);
        }
        assert_eq!(Aligned::<u8>::zeros(7).as_ptr().align_offset(64), 0);
    }
}
