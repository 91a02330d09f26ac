use super::{Format, LoadError, model};
use crate::engine::Ctx;
use crate::engine::tensor::DType;
use safetensors::tensor::{Dtype, TensorView};

fn written(bytes: &[u8], name: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn ctx() -> Ctx {
    Ctx::new(1).unwrap()
}

#[test]
fn what_is_no_model_is_told_by_its_kind() {
    for (bytes, says) in [
        (&b""[..], "empty"),
        (b"GGUF\x03\0\0\0", "corrupt"),
        (b"PK\x03\x04....", "corrupt"),
        (b"\x80\x02}q\0.", "pickle"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"hello, this is no model at all", "it is a text"),
        ("# Größe\nimport torch\n".as_bytes(), "it is a text"),
        (b"\x89PNG\r\n\x1a\n", "it is a picture (PNG)"),
        (b"\xff\xd8\xff\xe0", "it is a picture (JPEG)"),
        (b"\x08\x07", "no graph"),
    ] {
        let (_folder, path) = written(bytes, "model.onnx");
        let text = model(&path, &ctx()).unwrap_err().to_string();
        assert!(text.contains(says) && text.contains("model.onnx"), "{text}");
    }
    assert!(matches!(model(std::path::Path::new("nowhere.onnx"), &ctx()), Err(LoadError::Io { .. })));
    assert!(model(tempfile::tempdir().unwrap().path(), &ctx()).is_err());
}

#[test]
fn the_length_of_a_header_may_look_like_another_format() {
    for length in [u64::from(u16::from_le_bytes(*b"<!")), 0x280] {
        let mut header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.to_owned();
        header.push_str(&" ".repeat(length as usize - header.len()));
        let (_folder, path) = written(&[&length.to_le_bytes()[..], header.as_bytes(), &[7]].concat(), "weights.bin");
        assert_eq!(model(&path, &ctx()).unwrap().format, Format::Safetensors, "{length}");
    }
}

#[test]
fn safetensors_open_whole_and_are_refused_cut() {
    let values: Vec<u8> = [1.0_f32, f32::NAN, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![3], &values).unwrap();
    let bytes = safetensors::serialize([("a.weight", view)], None).unwrap();
    let (_folder, path) = written(&bytes, "weights.bin");
    let context = ctx();
    let loaded = model(&path, &context).unwrap();
    assert_eq!((loaded.format, loaded.bytes), (Format::Safetensors, bytes.len() as u64));
    let tensor = &loaded.model.constants["a.weight"];
    assert_eq!((tensor.dtype(), tensor.shape()), (DType::F32, &[3][..]));
    let warnings = context.take_warnings();
    assert!(warnings.iter().any(|w| w.subject == "a.weight" && w.message.contains("1 of 3")), "{warnings:?}");
    for end in 0..bytes.len() {
        let (_folder, path) = written(&bytes[..end], "weights.safetensors");
        assert!(model(&path, &ctx()).is_err(), "{end}");
    }
}
