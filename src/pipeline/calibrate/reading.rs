//! What each weight of a layer is multiplied with: the columns of its weight's matrix, place by place of its output.

use super::lags::{Axis, pays};
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

/// A kernel on images of up to three axes, in the order [samples, axes…, channels]; unused axes are 1.
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
    /// Per axis what [`Window::source`] gives for each output and tap.
    sources: [Vec<Option<usize>>; 3],
}

/// How the places that a layer reads go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Each place reads a row of the data as they lie.
    Rows,
    /// Places that lie side by side read the same values, a step further: images of so many channels.
    Steps([Axis; 2], usize),
    /// Neither.
    Scattered,
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

    /// Whether data, and outputs, are images: their channels lie along the second axis in the model, and last where
    /// they are read.
    pub fn is_of_images(&self) -> bool {
        matches!(self, Self::Window(_))
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

    pub fn way(&self) -> Way {
        match self {
            Self::Rows { .. } => Way::Rows,
            Self::Window(window) => window.way(),
        }
    }

    /// What all columns of a group are multiplied with at one place.
    pub fn place(&self, data: &[f32], group: usize, place: usize, out: &mut [f32]) {
        match self {
            Self::Rows { width, .. } => out.copy_from_slice(&data[place * width..][..*width]),
            Self::Window(window) => window.place(data, group, place, out),
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
        let mut window = Self {
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
            sources: Default::default(),
        };
        window.sources = [0, 1, 2].map(|axis| {
            let all = (0..window.output[axis]).flat_map(|output| (0..window.kernel[axis]).map(move |tap| (output, tap)));
            all.map(|(output, tap)| window.source(axis, output, tap)).collect()
        });
        Ok(window)
    }

    fn way(&self) -> Way {
        let is_stepwise = self.groups == 1 && self.stride == [1; 3] && !self.is_transposed;
        let axis = |i: usize| Axis {
            input: self.input[i],
            output: self.output[i],
            taps: self.kernel[i],
            dilation: self.dilation[i],
            pad: self.pad[i],
        };
        let [above, axes @ ..] = [0, 1, 2].map(axis);
        match () {
            () if !is_stepwise => Way::Scattered,
            () if self.kernel == [1; 3] && self.pad == [0; 3] && self.input == self.output => Way::Rows,
            () if above == (Axis { input: 1, output: 1, taps: 1, pad: 0, ..above }) && pays(axes) => {
                Way::Steps(axes, self.channels)
            }
            () => Way::Scattered,
        }
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

    fn place(&self, data: &[f32], group: usize, place: usize, out: &mut [f32]) {
        let [depth, high, wide] = self.output;
        let at = [place / (high * wide) % depth, place / wide % high, place % wide];
        let [above, along, across] =
            [0, 1, 2].map(|axis| &self.sources[axis][at[axis] * self.kernel[axis]..][..self.kernel[axis]]);
        let sample = place / (depth * high * wide) * self.input[0];
        let (taps, all) = (self.kernel.iter().product::<usize>(), self.channels * self.groups);
        let mut tap = 0;
        for d in above {
            for row in along {
                for column in across {
                    let values = out.iter_mut().skip(tap).step_by(taps);
                    tap += 1;
                    let (Some(d), Some(row), Some(column)) = (d, row, column) else {
                        values.for_each(|o| *o = 0.0);
                        continue;
                    };
                    let from = ((sample + d) * self.input[1] + row) * self.input[2] + column;
                    let read = &data[from * all + group * self.channels..][..self.channels];
                    values.zip(read).for_each(|(o, x)| *o = *x);
                }
            }
        }
    }
}
