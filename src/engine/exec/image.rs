//! What lies between the steps of a plan: a value as everyone knows it, or an image of f32 whose
//! channels lie last, or bytes between integer layers, in a buffer that goes back to its thread's store
//! when the last reader is done.
//! Fresh memory for every result would cost more than many a step: the system hands it out page by
//! page, zeroed.

use super::data::{OpResult, fail, make, make_channels_last, with_channels_last};
use crate::engine::kernels::aligned::Aligned;
use crate::engine::tensor::{DType, Value};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread::LocalKey;

/// Buffers that a thread keeps, and how many bytes at most.
const KEPT: usize = 24;
const KEPT_BYTES: usize = 64 << 20;

thread_local! {
    static FLOATS: RefCell<Vec<Aligned>> = const { RefCell::new(Vec::new()) };
    static BYTES: RefCell<Vec<Aligned<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What buffers are kept of.
pub(super) trait Kept: Copy + Default + 'static {
    fn store() -> &'static LocalKey<RefCell<Vec<Aligned<Self>>>>;
}

impl Kept for f32 {
    fn store() -> &'static LocalKey<RefCell<Vec<Aligned<Self>>>> {
        &FLOATS
    }
}

impl Kept for u8 {
    fn store() -> &'static LocalKey<RefCell<Vec<Aligned<Self>>>> {
        &BYTES
    }
}

/// Values for one result. What they are at first is left over from others: write all of them.
#[derive(Debug)]
pub(super) struct Reused<T: Kept> {
    values: Aligned<T>,
    len: usize,
}

pub(super) type Buffer = Reused<f32>;

impl<T: Kept> Reused<T> {
    /// `len` values; the smallest kept buffer that holds them, else a new one.
    pub fn new(len: usize) -> Self {
        let kept = T::store().with_borrow_mut(|store| {
            let fitting = |v: &Aligned<T>| v.len() >= len && v.len() / 4 <= len;
            let best = store.iter().enumerate().filter(|(_, v)| fitting(v)).min_by_key(|(_, v)| v.len());
            best.map(|(i, _)| i).map(|i| store.swap_remove(i))
        });
        Self { values: kept.unwrap_or_else(|| Aligned::zeros(len)), len }
    }
}

impl<T: Kept> Drop for Reused<T> {
    fn drop(&mut self) {
        if self.values.is_empty() {
            return;
        }
        let values = std::mem::take(&mut self.values);
        // While a thread ends its store is gone.
        let _ = T::store().try_with(|store| {
            let mut store = store.borrow_mut();
            store.push(values);
            while store.len() > KEPT || store.iter().map(|v| size_of::<T>() * v.len()).sum::<usize>() > KEPT_BYTES {
                store.remove(0);
            }
        });
    }
}

impl<T: Kept> Deref for Reused<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[..self.len]
    }
}

impl<T: Kept> DerefMut for Reused<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.values.reach(self.len)
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

    pub fn places(&self) -> usize {
        self.shape[2..].iter().product()
    }
}

/// How elements lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Rows,
    ChannelsLast,
}

/// Quantized data between steps on integers.
#[derive(Debug, Clone)]
pub(super) struct Bytes {
    /// As a value's, whatever the order.
    pub shape: Vec<usize>,
    pub order: Order,
    pub data: Arc<Reused<u8>>,
}

/// A value between two steps.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Value(Value),
    Image(Image),
    Bytes(Bytes),
}

impl Held {
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Value(value) => value.shape(),
            Self::Image(image) => &image.shape,
            Self::Bytes(bytes) => &bytes.shape,
        }
    }

    pub fn dtype(&self) -> DType {
        match self {
            Self::Value(value) => value.dtype,
            Self::Image(_) => DType::F32,
            Self::Bytes(_) => DType::U8,
        }
    }

    /// The value as everyone knows it; of an image or of bytes a copy.
    pub fn into_value(self) -> OpResult<Value> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Image(image) => make_channels_last(DType::F32, image.data.to_vec(), &image.shape),
            Self::Bytes(Bytes { shape, order, data }) => {
                let integers = data.iter().map(|v| i64::from(*v)).collect();
                match order {
                    Order::Rows => make(DType::U8, integers, &shape),
                    Order::ChannelsLast => make_channels_last(DType::U8, integers, &shape),
                }
            }
        }
    }

    /// Calls `use_it` with the f32 elements, channels last.
    pub fn with_channels_last<R>(&self, use_it: impl FnOnce(&[f32]) -> R) -> OpResult<R> {
        match self {
            Self::Value(value) if value.data.dtype() == candle_core::DType::F32 => with_channels_last(value, use_it),
            Self::Image(image) => Ok(use_it(&image.data)),
            other => fail(format!("values of type {} are not supported here; cast them to float32", other.dtype())),
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
    fn bytes_are_a_value() {
        let mut data = Reused::new(6);
        data.copy_from_slice(&[0_u8, 1, 2, 3, 4, 255]);
        let bytes = |order| Held::Bytes(Bytes { shape: vec![1, 3, 2], order, data: Arc::new(Reused::new(0)) });
        assert_eq!((bytes(Order::Rows).dtype(), bytes(Order::Rows).shape()), (DType::U8, &[1, 3, 2][..]));
        let held = Held::Bytes(Bytes { shape: vec![1, 3, 2], order: Order::ChannelsLast, data: Arc::new(data) });
        assert_eq!(held.into_value().unwrap().to_i64().unwrap(), [0, 3, 1, 4, 2, 255]);
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
