//! ONNX: the variant's graph as it is, on top of the file it came from, so that what a recipe does
//! not touch (names, metadata, other operator sets) stays.

use crate::pipeline::compress::Variant;
use crate::pipeline::load::onnx::{encode, to_bytes};
use crate::pipeline::load::{LoadError, Subject};

/// The bytes of the file. An untouched model is its own file, where that is one file.
pub(super) fn bytes(variant: &Variant, subject: &Subject) -> Result<Vec<u8>, LoadError> {
    let path = &subject.loaded.path;
    if variant.unchanged {
        if subject.loaded.is_own_export() {
            return std::fs::read(path).map_err(LoadError::io(path));
        }
        return Ok(to_bytes(&encode(&subject.loaded.model, &subject.loaded.source)?));
    }
    Ok(to_bytes(&encode(&variant.model, &subject.loaded.source)?))
}
