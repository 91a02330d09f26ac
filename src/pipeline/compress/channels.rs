//! A weight seen as rows: one per output channel, wherever that axis lies.

/// Shape [outer, channels, inner] of a weight around its channel axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channels {
    outer: usize,
    pub(crate) count: usize,
    inner: usize,
}

impl Channels {
    pub(crate) fn new(shape: &[usize], axis: usize) -> Self {
        let count = shape.get(axis).copied().unwrap_or(1);
        let outer = shape.iter().take(axis).product();
        let inner = shape.iter().skip(axis + 1).product();
        Self { outer, count, inner }
    }

    pub(crate) fn row_len(self) -> usize {
        self.outer * self.inner
    }

    /// Places of one channel's weights in the whole, in order.
    pub(crate) fn places(self, channel: usize) -> impl Iterator<Item = usize> {
        (0..self.outer).flat_map(move |o| {
            let start = (o * self.count + channel) * self.inner;
            start..start + self.inner
        })
    }

    pub(crate) fn gather(self, all: &[f32], channel: usize, row: &mut Vec<f32>) {
        row.clear();
        row.extend(self.places(channel).map(|i| all[i]));
    }
}

#[cfg(test)]
mod tests {
    use super::Channels;

    #[test]
    fn finds_columns_and_rows() {
        let all: Vec<f32> = (0..6_u8).map(f32::from).collect();
        let mut row = Vec::new();
        Channels::new(&[2, 3], 1).gather(&all, 1, &mut row);
        assert_eq!(row, [1.0, 4.0]);
        Channels::new(&[2, 3], 0).gather(&all, 1, &mut row);
        assert_eq!(row, [3.0, 4.0, 5.0]);
    }
}
