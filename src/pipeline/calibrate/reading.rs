//! What each weight of a layer is multiplied with: the columns of its weight's matrix, place by place of its output.

use crate::engine::graph::{Auto, Layer, Node, WindowAxes, transposed_axes, window_axes};

/// How a layer reads data of one shape. A place is where a kernel stands, or a row of a matrix; at every place each
/// group of output channels reads `width` values.
#[derive(Debug, Clone)]
pub(super) enum Reading {
    /// […, width].
    Rows {
        places: usize,
        width: usize,
    },
    Window(Box<Window>),
}

/// A kernel on images [samples, channels, up to three axes]; unused axes are 1.
#[derive(Debug, Clone)]
pub(super) struct Window {
    samples: usize,
    groups: usize,
    /// Of one group.
    channels: usize,
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    pad: [isize; 3],
    input: [usize; 3],
    output: [usize; 3],
    /// Whether the image is spread out by the stride first, as transposed convolutions have it.
    is_transposed: bool,
}

impl Reading {
    /// # Errors
    /// Why the layer cannot read data of this shape.
    pub fn of(layer: &Layer, node: &Node, shape: &[usize]) -> Result<Self, String> {
        match node.op.as_str() {
            "Conv" | "ConvTranspose" => Ok(Self::Window(Box::new(Window::of(layer, node, shape)?))),
            "Gemm" | "MatMul" => {
                let width = layer.parameters() / layer.out_channels().max(1);
                if shape.last() != Some(&width) {
                    return Err(format!("data of shape {shape:?} do not fit {width} inputs"));
                }
                Ok(Self::Rows { places: shape.iter().rev().skip(1).product(), width })
            }
            other => Err(format!("what {other} reads is not known")),
        }
    }

    pub fn groups(&self) -> usize {
        match self {
            Self::Rows { .. } => 1,
            Self::Window(window) => window.groups,
        }
    }

    /// Values that a group reads at a place.
    pub fn width(&self) -> usize {
        match self {
            Self::Rows { width, .. } => *width,
            Self::Window(window) => window.channels * window.kernel.iter().product::<usize>(),
        }
    }

    pub fn places(&self) -> usize {
        match self {
            Self::Rows { places, .. } => *places,
            Self::Window(window) => window.samples * window.output.iter().product::<usize>(),
        }
    }

    /// Places of one channel of one sample next to each other, as the outputs lie.
    pub fn plane(&self) -> usize {
        match self {
            Self::Rows { .. } => 1,
            Self::Window(window) => window.output.iter().product(),
        }
    }

    /// Whether channels of the outputs lie along the second axis and not along the last.
    pub fn has_channels_second(&self) -> bool {
        matches!(self, Self::Window(_))
    }

    /// What column `column` of a group is multiplied with at the places from `first` on.
    pub fn line(&self, data: &[f32], group: usize, column: usize, first: usize, out: &mut [f32]) {
        match self {
            Self::Rows { width, .. } => {
                let values = data[first * width..].iter().skip(column).step_by(*width);
                out.iter_mut().zip(values).for_each(|(o, x)| *o = *x);
            }
            Self::Window(window) => window.line(data, group, column, first, out),
        }
    }

    /// What all columns of a group are multiplied with at one place.
    pub fn place(&self, data: &[f32], group: usize, place: usize, out: &mut [f32]) {
        match self {
            Self::Rows { width, .. } => out.copy_from_slice(&data[place * width..][..*width]),
            Self::Window(_) => {
                for (column, o) in out.iter_mut().enumerate() {
                    self.line(data, group, column, place, std::slice::from_mut(o));
                }
            }
        }
    }
}

/// Up to three numbers, as many ones (or what else fills) before them.
fn three<T: Copy>(of: &[T], fill: T) -> [T; 3] {
    let mut out = [fill; 3];
    let skipped = 3_usize.saturating_sub(of.len());
    out.iter_mut().skip(skipped).zip(of).for_each(|(o, x)| *o = *x);
    out
}

impl Window {
    fn of(layer: &Layer, node: &Node, shape: &[usize]) -> Result<Self, String> {
        let (Some(&[samples, all]), Some(input)) = (shape.first_chunk::<2>(), shape.get(2..)) else {
            return Err(format!("data of shape {shape:?} are no images"));
        };
        let kernel = layer.shape.get(2..).unwrap_or_default();
        let groups = node.int("group").unwrap_or(1).max(1) as usize;
        let is_transposed = node.op == "ConvTranspose";
        let axes =
            if is_transposed { transposed_axes(node, input, kernel)? } else { window_axes(node, input, kernel, Auto::Conv)? };
        let WindowAxes { stride, dilation, pad_before, output, .. } = axes;
        let channels = all / groups;
        let width = channels * kernel.iter().product::<usize>();
        let rows = layer.out_channels();
        if input.len() > 3 || channels * groups != all || width * rows != layer.parameters() || !rows.is_multiple_of(groups) {
            return Err(format!("data of shape {shape:?} do not fit weights of shape {:?}", layer.shape));
        }
        // How far the first tap of the kernel stands before the image; of a transposed convolution how many of its
        // outputs are cut away.
        let pad = pad_before.iter().zip(kernel).zip(&dilation).map(|((pad, kernel), dilation)| {
            let reach = (kernel - 1) * dilation;
            if is_transposed { reach as isize - pad } else { *pad }
        });
        Ok(Self {
            samples,
            groups,
            channels,
            kernel: three(kernel, 1),
            stride: three(&stride, 1),
            dilation: three(&dilation, 1),
            pad: three(&pad.collect::<Vec<_>>(), 0),
            input: three(input, 1),
            output: three(&output, 1),
            is_transposed,
        })
    }

    /// Where along an axis a tap of the kernel reads for one output, if within the image.
    fn source(&self, axis: usize, output: usize, tap: usize) -> Option<usize> {
        let (stride, tap) = (self.stride[axis] as isize, (tap * self.dilation[axis]) as isize);
        let at = if self.is_transposed {
            let spread = output as isize + self.pad[axis] - tap;
            if spread % stride != 0 {
                return None;
            }
            spread / stride
        } else {
            output as isize * stride + tap - self.pad[axis]
        };
        usize::try_from(at).ok().filter(|at| *at < self.input[axis])
    }

    fn line(&self, data: &[f32], group: usize, column: usize, first: usize, out: &mut [f32]) {
        let [_, high, wide] = self.kernel;
        let taps: usize = self.kernel.iter().product();
        let (channel, tap) = (column / taps, column % taps);
        let tap = [tap / (high * wide), tap / wide % high, tap % wide];
        let [_, rows, length] = self.output;
        let plane = self.output.iter().product::<usize>();
        let (mut place, mut rest) = (first, out);
        while !rest.is_empty() {
            let (sample, at) = (place / plane, place % plane);
            let (depth, row, from) = (at / (rows * length), at / length % rows, at % length);
            let (now, later) = rest.split_at_mut((length - from).min(rest.len()));
            place += now.len();
            rest = later;
            let lines = self.source(0, depth, tap[0]).zip(self.source(1, row, tap[1]));
            let Some((depth, row)) = lines else {
                now.fill(0.0);
                continue;
            };
            let image = (sample * self.groups + group) * self.channels + channel;
            let start = ((image * self.input[0] + depth) * self.input[1] + row) * self.input[2];
            self.row(&data[start..start + self.input[2]], tap[2], from, now);
        }
    }

    /// One row of an image as one tap sees it, from output `from` on.
    fn row(&self, image: &[f32], tap: usize, from: usize, out: &mut [f32]) {
        if self.stride[2] != 1 || self.is_transposed {
            for (i, o) in out.iter_mut().enumerate() {
                *o = self.source(2, from + i, tap).map_or(0.0, |at| image[at]);
            }
            return;
        }
        let shift = (tap * self.dilation[2]) as isize - self.pad[2] + from as isize;
        let before = usize::try_from(-shift).unwrap_or(0).min(out.len());
        let start = usize::try_from(shift).unwrap_or(0);
        let inside = image.len().saturating_sub(start).min(out.len() - before);
        out[..before].fill(0.0);
        out[before..before + inside].copy_from_slice(&image[start.min(image.len())..][..inside]);
        out[before + inside..].fill(0.0);
    }
}
