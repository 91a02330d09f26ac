//! What lies between the steps of a plan: a value as everyone knows it, or an image of f32 whose
//! channels lie last, in a buffer that goes back to its thread's store when the last reader is done.
//! Fresh memory for every result would cost more than many a step: the system hands it out page by
//! page, zeroed.

use super::data::{OpResult, fail, make_channels_last, with_channels_last};
use crate::engine::tensor::{DType, Value};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Buffers that a thread keeps, and how many bytes at most.
const KEPT: usize = 24;
const KEPT_BYTES: usize = 64 << 20;

thread_local! {
    static STORE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Values for one result. What they are at first is left over from others: write all of them.
#[derive(Debug)]
pub(super) struct Buffer {
    values: Vec<f32>,
    len: usize,
}

impl Buffer {
    /// `len` values; the smallest kept buffer that holds them, else a new one.
    pub fn new(len: usize) -> Self {
        let kept = STORE.with_borrow_mut(|store| {
            let fitting = |v: &Vec<f32>| v.len() >= len && v.len() / 4 <= len;
            let best = store.iter().enumerate().filter(|(_, v)| fitting(v)).min_by_key(|(_, v)| v.len());
            best.map(|(i, _)| i).map(|i| store.swap_remove(i))
        });
        Self { values: kept.unwrap_or_else(|| vec![0.0; len]), len }
    }

    fn into_values(mut self) -> Vec<f32> {
        let mut values = std::mem::take(&mut self.values);
        values.truncate(self.len);
        values
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.values.is_empty() {
            return;
        }
        let values = std::mem::take(&mut self.values);
        // While a thread ends its store is gone.
        let _ = STORE.try_with(|store| {
            let mut store = store.borrow_mut();
            store.push(values);
            while store.len() > KEPT || store.iter().map(|v| 4 * v.len()).sum::<usize>() > KEPT_BYTES {
                store.remove(0);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.len]
    }
}

/// f32 in the order `[batch, spatial axes…, channels]`.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// `[batch, channels, spatial axes…]`
    pub shape: Vec<usize>,
    pub data: Arc<Buffer>,
}

impl Image {
    pub fn new(shape: Vec<usize>, data: Buffer) -> Self {
        Self { shape, data: Arc::new(data) }
    }

    pub fn channels(&self) -> usize {
        self.shape[1]
    }
}

/// A value between two steps.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Value(Value),
    Image(Image),
}

impl Held {
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Value(value) => value.shape(),
            Self::Image(image) => &image.shape,
        }
    }

    pub fn dtype(&self) -> DType {
        match self {
            Self::Value(value) => value.dtype,
            Self::Image(_) => DType::F32,
        }
    }

    /// The value as everyone knows it; a copy where others still read the image.
    pub fn into_value(self) -> OpResult<Value> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Image(Image { shape, data }) => {
                let values = Arc::try_unwrap(data).map_or_else(|shared| shared.to_vec(), Buffer::into_values);
                make_channels_last(DType::F32, values, &shape)
            }
        }
    }

    /// Calls `use_it` with the f32 elements, channels last.
    pub fn with_channels_last<R>(&self, use_it: impl FnOnce(&[f32]) -> R) -> OpResult<R> {
        match self {
            Self::Value(value) if value.data.dtype() == candle_core::DType::F32 => with_channels_last(value, use_it),
            Self::Value(value) => fail(format!("values of type {} are not supported here; cast them to float32", value.dtype)),
            Self::Image(image) => Ok(use_it(&image.data)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back() {
        let first = Buffer::new(1000);
        let place = first.as_ptr();
        drop(first);
        let again = Buffer::new(900);
        assert_eq!((again.as_ptr(), again.len()), (place, 900));
        assert_eq!(Buffer::new(10).len(), 10);
    }

    #[test]
    fn an_image_is_a_value() {
        let mut data = Buffer::new(6);
        data.copy_from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let held = Held::Image(Image::new(vec![1, 2, 1, 3], data));
        let value = held.clone().into_value().unwrap();
        assert_eq!(value.to_f32().unwrap(), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
        assert_eq!(held.shape(), value.shape());
    }
}
