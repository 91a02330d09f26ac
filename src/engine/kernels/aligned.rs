//! Buffers that begin where a cache line does: a vector that lies across two lines costs two loads.

/// Values of a cache line.
const LINE: usize = 16;

/// A buffer of f32 whose first value begins a cache line of 64 bytes.
#[derive(Debug, Default)]
pub struct Aligned {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::default();
        buffer.reach(len);
        buffer
    }

    /// The first `len` values, whatever they are; what is new is zero.
    pub fn reach(&mut self, len: usize) -> &mut [f32] {
        if self.len < len {
            self.data = vec![0.0; len + LINE];
            self.start = self.data.as_ptr().align_offset(4 * LINE).min(LINE);
            self.len = len;
        }
        &mut self.data[self.start..self.start + len]
    }
}

impl std::ops::Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.start..self.start + self.len]
    }
}

impl Clone for Aligned {
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
        let mut buffer = Aligned::zeros(5);
        buffer.reach(1000)[999] = 3.0;
        let copy = buffer.clone();
        assert_eq!((buffer.len(), copy[999]), (1000, 3.0));
        for b in [&buffer, &copy] {
            assert_eq!(b.as_ptr().align_offset(64), 0);
        }
    }
}
