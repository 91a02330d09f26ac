//! The same arithmetic in plain loops: what the kernels' speed is held against.

/// A convolution of one sample without padding rows apart: `[channels, side, side]` to as many
/// channels, 3×3 with padding 1 or 1×1, dense or per channel.
pub struct Conv {
    pub channels: usize,
    pub side: usize,
    pub kernel: usize,
    pub depthwise: bool,
}

impl Conv {
    /// Multiplications and additions.
    pub fn operations(&self) -> f64 {
        let inside = if self.depthwise { 1 } else { self.channels };
        2.0 * (self.channels * inside * self.kernel * self.kernel * self.side * self.side) as f64
    }

    pub fn weights(&self) -> [usize; 4] {
        [self.channels, if self.depthwise { 1 } else { self.channels }, self.kernel, self.kernel]
    }

    pub fn run(&self, x: &[f32], w: &[f32]) -> Vec<f32> {
        let (side, k) = (self.side, self.kernel);
        let [out, inside, ..] = self.weights();
        let pad = k / 2;
        let mut y = vec![0.0; out * side * side];
        for o in 0..out {
            for (at, sum) in y[o * side * side..(o + 1) * side * side].iter_mut().enumerate() {
                let (row, column) = (at / side, at % side);
                for i in 0..inside {
                    let channel = if self.depthwise { o } else { i };
                    for (dy, dx) in (0..k).flat_map(|dy| (0..k).map(move |dx| (dy, dx))) {
                        let (r, c) = ((row + dy).wrapping_sub(pad), (column + dx).wrapping_sub(pad));
                        if r < side && c < side {
                            *sum += x[(channel * side + r) * side + c] * w[((o * inside + i) * k + dy) * k + dx];
                        }
                    }
                }
            }
        }
        y
    }
}

/// `[m, k] × [k, n]`.
pub fn matmul(a: &[f32], b: &[f32], (m, k, n): (usize, usize, usize)) -> Vec<f32> {
    let mut y = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            y[i * n + j] = (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
        }
    }
    y
}

/// Of each row of `n`.
pub fn softmax(x: &[f32], n: usize) -> Vec<f32> {
    x.chunks(n)
        .flat_map(|row| {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = row.iter().map(|v| (v - top).exp()).sum();
            row.iter().map(move |v| (v - top).exp() / sum)
        })
        .collect()
}

/// To 8 bits and back.
pub fn quantize(x: &[f32], scale: f32) -> Vec<f32> {
    x.iter().map(|v| (v / scale).round_ties_even().clamp(-128.0, 127.0) * scale).collect()
}
