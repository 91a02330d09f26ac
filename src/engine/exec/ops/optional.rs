//! Values that may be absent. A value that is there stands for itself; only operators that ask whether
//! one is there meet an absent one, as an input that is left out.

use super::{Call, Operator};
use crate::engine::exec::data::{OpResult, make, unsupported};
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Optional" => optional,
        "OptionalGetElement" => |c| Ok(vec![c.input(0)?.clone()]),
        "OptionalHasElement" => |c| Ok(vec![make(DType::Bool, vec![u8::from(c.optional(0).is_some())], &[])?]),
        _ => return None,
    })
}

fn optional(c: &Call<'_>) -> OpResult<Vec<Value>> {
    match c.optional(0) {
        Some(value) => Ok(vec![value.clone()]),
        None => unsupported("an absent value as the result of an operator is not supported"),
    }
}
