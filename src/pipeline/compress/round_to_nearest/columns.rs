//! From what the channels of a layer's input are like to what the columns of its weights count.

use crate::engine::formats::Importance;
use crate::engine::graph::{Layer, LayerKind};
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::compress::CompressError;
use crate::pipeline::configure::{ImportanceSource, LayerPlan};

/// One number for each column of the matrix of a layer's weights: a row per output channel, the columns the
/// flattened rest.
pub(in crate::pipeline::compress) struct Columns {
    values: Vec<f32>,
    /// Runs of rows that read inputs of their own, as in grouped convolutions.
    runs: usize,
}

impl Columns {
    /// `None` where errors count alike.
    ///
    /// # Errors
    /// When the channels that calibration saw are not those that the weights are for.
    pub(super) fn of(plan: &LayerPlan, statistics: &Statistics) -> Result<Option<Self>, CompressError> {
        match &plan.importance {
            ImportanceSource::None => Ok(None),
            ImportanceSource::File(values) => Ok(Some(Self { values: values.to_vec(), runs: 1 })),
            ImportanceSource::Calibrated => {
                let (values, runs) = Self::calibrated(&plan.layer, statistics)?;
                Ok(Some(Self { values, runs }))
            }
        }
    }

    /// Mean squares of what the columns are multiplied with, and how many runs of rows have columns of their own.
    ///
    /// # Errors
    /// As [`Columns::of`].
    pub(in crate::pipeline::compress) fn calibrated(
        layer: &Layer,
        statistics: &Statistics,
    ) -> Result<(Vec<f32>, usize), CompressError> {
        let sums = statistics.wire(&layer.input).and_then(|seen| seen.channels.as_ref());
        let columns = sums.and_then(|sums| spread(layer, &sums.mean_squares()));
        columns.map(|found| (found.values, found.runs)).ok_or_else(|| CompressError::NoImportance {
            layer: layer.name.clone(),
            wire: layer.input.to_string(),
            shape: layer.shape.clone(),
        })
    }

    /// A number for each column, given one for each channel of the layer's input, and how many runs of rows have columns
    /// of their own; `None` where the channels are not those of the layer.
    pub(in crate::pipeline::compress) fn spread_over(layer: &Layer, channels: &[f64]) -> Option<(Vec<f32>, usize)> {
        spread(layer, channels).map(|found| (found.values, found.runs))
    }

    pub(super) fn importance(&self) -> Importance<'_> {
        Importance::new(&self.values, self.runs)
    }
}

/// `None` where the channels are not those of the layer.
fn spread(layer: &Layer, channels: &[f64]) -> Option<Columns> {
    let (rows, count) = (layer.out_channels(), channels.len());
    let columns = layer.parameters().checked_div(rows)?;
    // The axis of the weights along which inputs lie; of a convolution, those of one group.
    let inputs = match (layer.kind, layer.out_axis) {
        (LayerKind::Conv | LayerKind::Depthwise, _) => *layer.shape.get(1)?,
        // Depthwise: each row is the kernel of one input.
        (LayerKind::ConvTranspose, 0) => 1,
        (LayerKind::ConvTranspose, _) => *layer.shape.first()?,
        _ => columns,
    };
    let (taps, runs) = (columns.checked_div(inputs)?, count.checked_div(inputs)?);
    let fits = runs > 0 && runs * inputs == count && taps * inputs == columns && rows.is_multiple_of(runs);
    let values = channels.iter().flat_map(|square| std::iter::repeat_n(square.min(f64::from(f32::MAX)) as f32, taps));
    fits.then(|| Columns { values: values.collect(), runs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::{NodeId, Wire};

    fn spread_over(kind: LayerKind, shape: &[usize], out_axis: usize, channels: &[f64]) -> Option<(Vec<f32>, usize)> {
        let wire = Wire::from("w");
        let layer = Layer {
            name: "l".to_owned(),
            node: Some(NodeId(0)),
            kind,
            input: wire.clone(),
            output: wire.clone(),
            weight: wire,
            bias: None,
            shape: shape.to_vec(),
            out_axis,
            macs: None,
        };
        spread(&layer, channels).map(|c| (c.values, c.runs))
    }

    #[test]
    fn every_column_counts_as_the_channel_that_it_reads() {
        let matrix = spread_over(LayerKind::Gemm, &[3, 2], 0, &[1.0, 4.0]);
        assert_eq!(matrix, Some((vec![1.0, 4.0], 1)));
        assert_eq!(spread_over(LayerKind::MatMul, &[2, 3], 1, &[1.0, 4.0]), matrix);
        let taps = spread_over(LayerKind::Conv, &[6, 2, 1, 2], 0, &[1.0, 4.0]);
        assert_eq!(taps, Some((vec![1.0, 1.0, 4.0, 4.0], 1)));
        // Two groups: the first three rows read the first two channels.
        let grouped = spread_over(LayerKind::Conv, &[6, 2, 1, 1], 0, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(grouped, Some((vec![1.0, 2.0, 3.0, 4.0], 2)));
        let depthwise = spread_over(LayerKind::Depthwise, &[4, 1, 1, 2], 0, &[5.0, 6.0]);
        assert_eq!(depthwise, Some((vec![5.0, 5.0, 6.0, 6.0], 2)));
        let transposed = spread_over(LayerKind::ConvTranspose, &[2, 3, 1, 2], 1, &[1.0, 4.0]);
        assert_eq!(transposed, Some((vec![1.0, 1.0, 4.0, 4.0], 1)));
    }

    #[test]
    fn channels_of_something_else_are_refused() {
        assert_eq!(spread_over(LayerKind::Gemm, &[3, 2], 0, &[1.0; 3]), None);
        assert_eq!(spread_over(LayerKind::Conv, &[6, 4, 3, 3], 0, &[1.0; 6]), None);
        assert_eq!(spread_over(LayerKind::Conv, &[5, 2, 3, 3], 0, &[1.0; 4]), None, "five rows are no two groups");
        assert_eq!(spread_over(LayerKind::Gemm, &[0, 2], 0, &[1.0; 2]), None);
        assert_eq!(spread_over(LayerKind::Gemm, &[3, 2], 0, &[]), None);
    }
}
