//! A weight seen as rows: one per output channel, wherever that axis lies.

/// Shape [outer, channels, inner] of a weight around its channel axis.
#[derive(Debug, Clone, Copy)]
pub struct Channels {
    outer: usize,
    pub count: usize,
    inner: usize,
}

impl Channels {
    #[must_use]
    pub fn new(shape: &[usize], axis: usize) -> Self {
        let count = shape.get(axis).copied().unwrap_or(1);
        let outer = shape.iter().take(axis).product();
        let inner = shape.iter().skip(axis + 1).product();
        Self { outer, count, inner }
    }

    #[must_use]
    pub fn row_len(self) -> usize {
        self.outer * self.inner
    }

    /// Places of one channel's weights in the whole, in order.
    pub fn places(self, channel: usize) -> impl Iterator<Item = usize> {
        (0..self.outer).flat_map(move |o| {
            let start = (o * self.count + channel) * self.inner;
            start..start + self.inner
        })
    }

    /// Elements that lie as the weight does, row by row; `all` holds one for each place.
    #[must_use]
    pub fn gather<T: Copy>(self, all: &[T]) -> Vec<T> {
        (0..self.count).flat_map(|channel| self.places(channel)).filter_map(|place| all.get(place).copied()).collect()
    }

    /// The way back: rows, one after the other, to where the weight has them.
    #[must_use]
    pub fn scatter<T: Copy + Default>(self, rows: &[T]) -> Vec<T> {
        let mut all = vec![T::default(); self.count * self.row_len()];
        for (place, value) in (0..self.count).flat_map(|channel| self.places(channel)).zip(rows) {
            if let Some(to) = all.get_mut(place) {
                *to = *value;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::Channels;

    #[test]
    fn finds_columns_and_rows() {
        let all = [0, 1, 2, 3, 4, 5];
        let (columns, rows) = (Channels::new(&[2, 3], 1), Channels::new(&[2, 3], 0));
        assert_eq!(columns.gather(&all), [0, 3, 1, 4, 2, 5]);
        assert_eq!(rows.gather(&all), all);
        assert_eq!(columns.scatter(&columns.gather(&all)), all);
        let middle = Channels::new(&[2, 2, 2], 1);
        assert_eq!(middle.gather(&[0, 1, 2, 3, 4, 5, 6, 7]), [0, 1, 4, 5, 2, 3, 6, 7]);
    }
}
