//! Tensors as a pickle describes them: calls that would have put them together again.

use super::TYPES;
use super::pickle::{Heap, Object, Value};
use crate::engine::tensor::DType;

/// So many wrappers may lie around a tensor (`Parameter`, subclasses).
const WRAPPERS_LIMIT: usize = 8;
/// Complex numbers and the storages of quantized tensors: name and bytes per element.
const OTHER_STORAGES: [(&str, i32); 6] = [
    ("ComplexFloatStorage", 14),
    ("ComplexDoubleStorage", 15),
    ("QInt8Storage", 3),
    ("QUInt8Storage", 2),
    ("QInt32Storage", 6),
    ("UntypedStorage", 2),
];

/// Raw elements outside the pickle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: DType,
    /// Number of elements.
    pub(super) len: usize,
    /// Elements that all views of it start after.
    offset: usize,
}

/// A tensor: part of a storage. Sizes and strides are in elements.
#[derive(Debug, Clone)]
pub(super) struct View<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What a value of a pickle is to us.
pub(super) enum Found<'a> {
    Tensor(View<'a>),
    /// A tensor of a kind that is not read, and which.
    Unsupported(String),
    Else,
}

/// The storages that a pickle refers to.
pub(super) fn storages<'h, 'a: 'h>(heap: &'h Heap<'a>) -> impl Iterator<Item = Storage<'a>> + 'h {
    heap.objects().filter_map(|object| if let Object::Persistent(id) = object { storage_of(heap, *id) } else { None })
}

/// `("storage", class, key, device, elements, part)`.
fn storage_of<'a>(heap: &Heap<'a>, id: Value<'a>) -> Option<Storage<'a>> {
    let [Value::Text("storage"), class, Value::Text(key), _, Value::Int(len), rest @ ..] = heap.elements(id)? else {
        return None;
    };
    let (_, class) = heap.global(*class)?;
    let known = TYPES.iter().find(|(name, ..)| *name == class).map(|(_, _, dtype)| *dtype);
    let dtype =
        known.or_else(|| OTHER_STORAGES.iter().find(|(name, _)| *name == class).map(|(_, code)| DType::from_onnx(*code)))?;
    // Older files: the part of a storage that is one of its own, `(key, offset, elements)`.
    let offset = match rest.first().and_then(|part| heap.elements(*part)) {
        Some([_, Value::Int(offset), _]) => usize::try_from(*offset).ok()?,
        _ => 0,
    };
    Some(Storage { key, dtype, len: usize::try_from(*len).ok()?, offset })
}

/// What `value` is.
///
/// # Errors
/// When it is a tensor whose description makes no sense.
pub(super) fn find<'a>(heap: &Heap<'a>, value: Value<'a>) -> Result<Found<'a>, String> {
    let Some(Object::Call { callable, arguments, .. }) = heap.object(value) else { return Ok(Found::Else) };
    let (mut callable, mut arguments) = (*callable, *arguments);
    for _ in 0..WRAPPERS_LIMIT {
        let Some((module, name)) = heap.global(callable) else { return Ok(Found::Else) };
        let given = heap.elements(arguments).unwrap_or_default();
        match (module, name, given) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2", [storage, offset, size, stride, ..]) => {
                return view(heap, [*storage, *offset, *size, *stride], None);
            }
            ("torch._utils", "_rebuild_tensor_v3", [storage, offset, size, stride, _, _, dtype, ..]) => {
                return view(heap, [*storage, *offset, *size, *stride], heap.global(*dtype));
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", [data, ..]) => {
                let Some(Object::Call { callable: inner, arguments: given, .. }) = heap.object(*data) else {
                    return Err("a parameter holds no tensor".to_owned());
                };
                (callable, arguments) = (*inner, *given);
            }
            ("torch._tensor", "_rebuild_from_type_v2", [inner, _, given, ..]) => (callable, arguments) = (*inner, *given),
            ("torch._utils" | "torch._tensor" | "torch", name, _) if name.starts_with("_rebuild") => {
                return Ok(Found::Unsupported(format!("tensors made by {name} are not supported")));
            }
            _ => return Ok(Found::Else),
        }
    }
    Err("a tensor is wrapped too often".to_owned())
}

fn view<'a>(heap: &Heap<'a>, parts: [Value<'a>; 4], dtype: Option<(&str, &str)>) -> Result<Found<'a>, String> {
    let [storage, offset, size, stride] = parts;
    let storage = match heap.object(storage) {
        Some(Object::Persistent(id)) => storage_of(heap, *id),
        _ => None,
    };
    let mut storage = storage.ok_or("a tensor has no storage that can be read")?;
    if let Some((_, name)) = dtype {
        let Some((_, _, dtype)) = TYPES.iter().find(|(_, known, _)| *known == name) else {
            return Ok(Found::Unsupported(format!("element type {name} is not supported")));
        };
        // Such a storage counts bytes.
        storage = Storage { dtype: *dtype, len: storage.len / (dtype.bits() / 8).max(1), ..storage };
    } else if matches!(storage.dtype, DType::Other(_)) {
        return Ok(Found::Unsupported("complex numbers are not supported".to_owned()));
    }
    let offset = match offset {
        Value::Int(offset) => usize::try_from(offset).ok().and_then(|o| o.checked_add(storage.offset)),
        _ => None,
    };
    let (shape, strides) = (sizes(heap, size)?, sizes(heap, stride)?);
    if shape.len() != strides.len() {
        return Err(format!("a tensor has {} sizes and {} strides", shape.len(), strides.len()));
    }
    Ok(Found::Tensor(View { storage, offset: offset.ok_or("the offset of a tensor is no number")?, shape, strides }))
}

/// A tuple of sizes; `torch.Size` wraps one.
fn sizes<'a>(heap: &Heap<'a>, value: Value<'a>) -> Result<Vec<usize>, String> {
    let given = match heap.object(value) {
        Some(Object::Call { arguments, .. }) => heap.elements(*arguments).and_then(|all| heap.elements(*all.first()?)),
        _ => heap.elements(value),
    };
    let numbers = given.ok_or("the sizes of a tensor are no tuple")?.iter().map(|size| match size {
        Value::Int(n) => usize::try_from(*n).map_err(|_| format!("a tensor has the size {n}")),
        _ => Err("a size of a tensor is no number".to_owned()),
    });
    numbers.collect()
}
