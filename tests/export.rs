//! Files of weights: what is packed stands for the values that the plain file has, whichever way it was written;
//! what a file cannot hold is refused before one is there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lapidary::engine::Ctx;
use lapidary::engine::exec::{Executor, Request};
use lapidary::engine::graph::Model;
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{DType, Value};
use lapidary::pipeline::compress;
use lapidary::pipeline::configure::{self, FileFormat, Recipe, presets};
use lapidary::pipeline::export::{self, ExportError, Source};
use lapidary::pipeline::load::{self, LoadedModel, Subject};
use lapidary::workbench::sample;
use lapidary::workbench::work::{self, Split, Writing};
use safetensors::tensor::{Dtype, TensorView};
use std::fs;
use std::path::{Path, PathBuf};

const LINEAR: &str = "model.layers.0.self_attn.q_proj.weight";
const NARROW: &str = "model.layers.0.self_attn.o_proj.weight";

/// Weights of a language model as they lie in a folder: two matrices, an embedding, a norm and integers.
fn model(folder: &Path) -> PathBuf {
    let mut random = Random::new(7);
    let mut normal = |count: usize| (0..count).flat_map(|_| random.normal().to_le_bytes()).collect::<Vec<u8>>();
    // So many rows that they are made in several pieces.
    let tensors = [
        (LINEAR, Dtype::F32, vec![2100, 1022], normal(2100 * 1022)),
        (NARROW, Dtype::F32, vec![33, 80], normal(33 * 80)),
        ("model.embed_tokens.weight", Dtype::F32, vec![40, 64], normal(40 * 64)),
        ("model.norm.weight", Dtype::F32, vec![64], normal(64)),
        ("model.ids", Dtype::I64, vec![3], vec![1; 24]),
    ];
    let views = tensors.iter().map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    let about = [("by".to_owned(), "me".to_owned())].into();
    let path = folder.join("modèl 1.safetensors");
    fs::write(&path, safetensors::serialize(views, Some(about)).unwrap()).unwrap();
    fs::write(folder.join("config.json"), "{\"model_type\": \"toy\"}").unwrap();
    path
}

fn subject(path: &Path, ctx: &Ctx) -> Subject {
    Subject::new(load::model(path, ctx).unwrap()).unwrap()
}

fn integers(bits: u8, symmetric: bool, granularity: &str) -> Recipe {
    let text = format!(
        "(format: \"lapidary-recipe\", version: 1, name: \"i{bits}\", \
         default: (weights: Integer(bits: {bits}, symmetric: {symmetric}, granularity: {granularity})))"
    );
    Recipe::from_ron(&text, "test").unwrap()
}

/// Writes the model both ways there are; gives the file.
fn both_ways(file: FileFormat, recipe: &Recipe, subject: &Subject, folder: &Path, ctx: &Ctx) -> LoadedModel {
    let plan = configure::plan_for(recipe, subject, Some(file)).unwrap();
    let variant = compress::run(&plan, subject, &|_, _| Ok(None), ctx).unwrap();
    let out = |name: &str| folder.join(name).join("öut.safetensors");
    let made = export::run(file, Source::Made(&variant), &plan, subject, &out("a"), ctx).unwrap().publish().unwrap();
    let streamed = export::run(file, Source::Streamed, &plan, subject, &out("b"), ctx).unwrap().publish().unwrap();
    assert_eq!((made.bytes, &made.sha256), (plan.bytes, &streamed.sha256), "{}", recipe.name);
    let alone = export::run(file, Source::Streamed, &plan, subject, &out("c"), &Ctx::new(1).unwrap()).unwrap();
    assert_eq!(alone.sha256, streamed.sha256, "threads make no difference");
    assert_eq!(fs::read_dir(folder.join("b")).unwrap().count(), 1 + usize::from(folder.join("b/config.json").exists()));
    load::model(&streamed.path, ctx).unwrap()
}

/// The values of a matrix that was packed in words, read as compressed-tensors documents it.
fn unpacked(model: &LoadedModel, weight: &str, bits: usize, group: usize) -> Vec<f32> {
    let module = weight.strip_suffix(".weight").unwrap();
    let tensor = |end: &str| &model.model.constants[format!("{module}.{end}").as_str()];
    let shape = tensor("weight_shape").to_i64().unwrap();
    let (rows, cols) = (shape[0] as usize, shape[1] as usize);
    let code = |word: i64, place: usize| (word as u32 >> (place % (32 / bits) * bits) & ((1 << bits) - 1)) as i32;
    let (words, scales) = (tensor("weight_packed"), tensor("weight_scale"));
    let (across, per_word) = (words.shape()[1], 32 / bits);
    let (words, scales) = (words.to_i64().unwrap(), scales.to_f32().unwrap());
    let zeros = model.model.constants.get(format!("{module}.weight_zero_point").as_str()).map(|z| z.to_i64().unwrap());
    let groups = cols / group;
    let half = 1 << (bits - 1);
    let value = |i: usize| {
        let (row, col) = (i / cols, i % cols);
        let zero = zeros.as_ref().map_or(half, |z| code(z[row / per_word * groups + col / group], row));
        (code(words[row * across + col / per_word], col) - zero) as f32 * scales[row * groups + col / group]
    };
    (0..rows * cols).map(value).collect()
}

#[test]
fn packed_weights_stand_for_the_values_of_the_plain_file() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(&model(folder.path()), &ctx);
    for (bits, symmetric, granularity, held) in [
        (8, true, "Channel", 8),
        (4, true, "Channel", 4),
        (3, false, "Channel", 4),
        (4, false, "Group(16)", 4),
        (2, true, "Tensor", 4),
    ] {
        let recipe = integers(bits, symmetric, granularity);
        let narrow_alone = granularity.starts_with("Group");
        let recipe = if narrow_alone { over(&recipe, LINEAR) } else { recipe };
        let place = |name: &str| folder.path().join(format!("{bits} {granularity} {name}"));
        let packed = both_ways(FileFormat::CompressedTensors, &recipe, &subject, &place("packed"), &ctx);
        let plain = both_ways(FileFormat::Safetensors, &recipe, &subject, &place("plain"), &ctx);
        for (weight, cols) in [(LINEAR, 1022), (NARROW, 80)].into_iter().skip(usize::from(narrow_alone)) {
            let group = if narrow_alone { 16 } else { cols };
            let values = plain.model.constants[weight].to_f32().unwrap();
            assert!(unpacked(&packed, weight, held, group) == values, "{weight} {bits} {granularity}");
        }
        assert_eq!(packed.model.constants["model.ids"].bytes(), subject.folded.constants["model.ids"].bytes());
        let about = load::safetensors::metadata(&packed.path);
        assert_eq!((about["by"].as_str(), about["format"].as_str()), ("me", "pt"));
        let config = fs::read_to_string(place("packed").join("b/config.json")).unwrap();
        assert!(config.contains("\"model_type\": \"toy\"") && config.contains("\"pack-quantized\""), "{config}");
        assert!(!place("plain").join("b/config.json").exists());
    }
}

#[test]
fn two_weights_of_every_four_take_little_more_than_half_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(&model(folder.path()), &ctx);
    for (weights, dtype) in [("Float(F32)", DType::F32), ("Float(F16)", DType::F16), ("Float(BF16)", DType::BF16)] {
        let text = format!(
            "(format: \"lapidary-recipe\", version: 1, name: \"half\", \
             default: (weights: {weights}, sparsity: Pattern(keep: 2, of: 4)))"
        );
        // Rows of 1022 do not divide into fours.
        let recipe = over(&Recipe::from_ron(&text, "test").unwrap(), LINEAR);
        let place = |name: &str| folder.path().join(format!("{dtype} {name}"));
        let sparse = both_ways(FileFormat::CompressedTensors, &recipe, &subject, &place("sparse"), &ctx);
        let plain = both_ways(FileFormat::Safetensors, &recipe, &subject, &place("plain"), &ctx);
        let [read, whole] = [&sparse, &plain].map(|file| &file.model.constants[NARROW]);
        assert_eq!((read.dtype(), read.shape()), (dtype, &[33, 80][..]));
        assert!(read.bytes() == whole.bytes(), "{dtype}");
        let width = dtype.bits() as u64 / 8;
        // Half the weights and a bit for each; the headers differ by a few names.
        let saved = 33 * 80 * width / 2 - 33 * 80 / 8;
        assert!(plain.bytes - sparse.bytes + 400 > saved, "{dtype}: {} of {}", sparse.bytes, plain.bytes);
        let config = fs::read_to_string(place("sparse").join("b/config.json")).unwrap();
        assert!(config.contains("\"sparse-24-bitmask\"") && config.contains("\"2:4\""), "{config}");
    }
}

/// Writes and opens again; what the file holds, in the graph or the file that it was made from.
fn graphed(file: FileFormat, recipe: &Recipe, subject: &Subject, out: &Path, ctx: &Ctx) -> (compress::Variant, Model) {
    let plan = configure::plan_for(recipe, subject, Some(file)).unwrap();
    let variant = compress::run(&plan, subject, &|_, _| Ok(None), ctx).unwrap();
    let draft = export::run(file, Source::Made(&variant), &plan, subject, out, ctx).unwrap();
    let model = export::graphed(file, &plan, &variant, subject, draft.reopened.as_ref().unwrap()).unwrap();
    (variant, model)
}

#[test]
fn packed_weights_are_read_back_as_what_they_stand_for() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(&model(folder.path()), &ctx);
    let float8 =
        "(format: \"lapidary-recipe\", version: 1, name: \"f8\", default: (weights: Float(Fp8(kind: E4M3, scale: Channel))))";
    let recipes = [
        integers(8, true, "Tensor"),
        integers(4, true, "Channel"),
        integers(3, false, "Channel"),
        integers(5, false, "Tensor"),
        over(&integers(4, false, "Group(16)"), LINEAR),
        Recipe::from_ron(float8, "test").unwrap(),
    ];
    for recipe in recipes {
        let out = folder.path().join(&recipe.name).join("x.safetensors");
        let (_, packed) = graphed(FileFormat::CompressedTensors, &recipe, &subject, &out, &ctx);
        let (_, plain) = graphed(FileFormat::Safetensors, &recipe, &subject, &out, &ctx);
        for weight in [LINEAR, NARROW, "model.embed_tokens.weight", "model.norm.weight"] {
            let [a, b] = [&packed, &plain].map(|model| model.constants[weight].to_f32().unwrap());
            assert!(a == b, "{}: {weight}", recipe.name);
        }
        assert!(packed.constants[NARROW].bytes() != subject.folded.constants[NARROW].bytes() || recipe.overrides.len() > 1);
    }
}

#[test]
fn weights_in_their_graph_again_compute_what_was_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(Path::new(SAMPLE), &ctx);
    let port = subject.original.data_input().unwrap();
    let dims: Vec<usize> = port.fact.shape.as_ref().unwrap().iter().map(|d| d.known().unwrap_or(1)).collect();
    let mut random = Random::new(4);
    let sample = Value::from_f32((0..dims.iter().product()).map(|_| random.normal()).collect(), &dims).unwrap();
    let outputs = |model: &Model| {
        let executor = Executor::new(model, &Request::default()).unwrap();
        let outputs = executor.run(&[(port.wire.clone(), sample.clone())], &ctx, &mut |_, _| {}).unwrap();
        outputs[0].1.to_f32().unwrap()
    };
    for (file, name) in [
        (FileFormat::Safetensors, "w4-g32"),
        (FileFormat::Safetensors, "fp16"),
        (FileFormat::Gguf, "q8_0"),
        (FileFormat::Gguf, "q4_0"),
    ] {
        let recipe = presets::preset(name).unwrap();
        let out = folder.path().join(format!("x{}", file.suffix()));
        let (variant, model) = graphed(file, &recipe, &subject, &out, &ctx);
        let (ours, again, original) = (outputs(&variant.model), outputs(&model), outputs(&subject.folded));
        assert!(ours.iter().zip(&again).all(|(a, b)| (a - b).abs() <= 1e-4), "{name}: {ours:?} {again:?}");
        assert_ne!(again, original, "{name}");
    }
    // A layer that lies elsewhere in the file is found to be missing.
    let plan = configure::plan_for(&presets::preset("w8").unwrap(), &subject, Some(FileFormat::Safetensors)).unwrap();
    let variant = compress::run(&plan, &subject, &|_, _| Ok(None), &ctx).unwrap();
    let mut other = load::model(Path::new(SAMPLE), &ctx).unwrap();
    other.model.constants.clear();
    assert!(export::graphed(FileFormat::Safetensors, &plan, &variant, &subject, &other).unwrap_err().contains("not in the file"));
}

/// The recipe, with one layer left as it is.
fn over(recipe: &Recipe, layer: &str) -> Recipe {
    let text = recipe.to_ron().unwrap();
    let rest = format!(", overrides: [(layers: \"{}\", weights: Some(Float(F32)))])", layer.strip_suffix(".weight").unwrap());
    let cut = text.rfind("overrides").map_or(text.rfind(')').unwrap(), |at| text[..at].rfind(',').unwrap());
    Recipe::from_ron(&(text[..cut].trim_end_matches([',', '\n', ' ']).to_owned() + &rest), "test").unwrap()
}

#[test]
fn what_a_file_cannot_hold_is_said_before_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    let path = model(folder.path());
    let subject = subject(&path, &ctx);
    for (recipe, words) in
        [(presets::preset("codebook4").unwrap(), "plain scales"), (integers(4, true, "Group(32)"), "groups of 32")]
    {
        let refused = configure::plan_for(&recipe, &subject, Some(FileFormat::CompressedTensors)).unwrap_err().to_string();
        assert!(refused.contains(words) && refused.contains("o_proj") || refused.contains("q_proj"), "{refused}");
    }
    let recipe = integers(8, true, "Channel");
    let plan = configure::plan_for(&recipe, &subject, Some(FileFormat::CompressedTensors)).unwrap();
    let run = |out: PathBuf| export::run(FileFormat::CompressedTensors, Source::Streamed, &plan, &subject, &out, &ctx);
    assert!(matches!(run(path.clone()), Err(ExportError::OverSource { .. })));
    assert!(matches!(run(folder.path().to_path_buf()), Err(ExportError::Folder { .. })));
    // The folder's config.json is that of the original.
    assert!(matches!(run(folder.path().join("other.safetensors")), Err(ExportError::Beside { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing was left behind");
    assert_eq!(fs::read_to_string(folder.path().join("config.json")).unwrap(), "{\"model_type\": \"toy\"}");
}

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/sample/sample.onnx");

#[test]
fn an_archive_gives_back_the_file_that_would_have_been_written() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(Path::new(SAMPLE), &ctx);
    let at = |name: &str| folder.path().join(name);
    for name in ["fp32", "w4", "codebook4", "fp16", "w4-g32", "prune50"] {
        let recipe = presets::preset(name).unwrap();
        let write = |file: FileFormat, threads: usize| {
            let ctx = Ctx::new(threads).unwrap();
            let plan = configure::plan_for(&recipe, &subject, Some(file)).unwrap();
            let variant = compress::run(&plan, &subject, &|_, _| Ok(None), &ctx).unwrap();
            let out = at(&format!("{name}{}", file.suffix()));
            let draft = export::run(file, Source::Made(&variant), &plan, &subject, &out, &ctx).unwrap();
            draft.publish().unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        let onnx = write(FileFormat::Onnx, 2);
        let archive = write(FileFormat::Lapidary, 2);
        assert_eq!(archive.sha256, write(FileFormat::Lapidary, 1).sha256, "threads make no difference");
        assert!(archive.bytes < onnx.bytes, "{name}: {} of {}", archive.bytes, onnx.bytes);
        let back = export::unpack(&archive.path, &at("back.onnx"), &ctx).unwrap();
        assert_eq!((back.bytes, &back.sha256), (onnx.bytes, &onnx.sha256), "{name}");
        let (opened, original) = (load::model(&archive.path, &ctx).unwrap(), load::model(&onnx.path, &ctx).unwrap());
        assert!(opened.format == load::Format::Lapidary && opened.has_graph());
        assert!(opened.model.constants.iter().all(|(wire, tensor)| original.model.constants[wire].bytes() == tensor.bytes()));
    }
    assert!(export::unpack(&at("w4.lapidary"), &at("w4.lapidary"), &ctx).is_err(), "over itself");
    assert!(export::unpack(Path::new(SAMPLE), &at("x.onnx"), &ctx).is_err(), "no archive");
}

/// Compiles a program of C99 in a folder and runs it; `None` where there is no compiler.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn compiled(folder: &Path, program: &str) -> Option<String> {
    fs::write(folder.join("main.c"), program).unwrap();
    let compile = std::process::Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "main.c", "-o", "main"])
        .current_dir(folder)
        .output();
    let Ok(compiled) = compile else {
        eprintln!("skipped: there is no cc here");
        return None;
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let ran = std::process::Command::new(folder.join("main")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    Some(String::from_utf8(ran.stdout).unwrap())
}

/// Writes the sample as a header of that name; gives how many layers it has.
fn header(recipe: &str, out: &Path, ctx: &Ctx) -> usize {
    let subject = subject(Path::new(SAMPLE), ctx);
    let plan = configure::plan_for(&presets::preset(recipe).unwrap(), &subject, Some(FileFormat::CHeader)).unwrap();
    let variant = compress::run(&plan, &subject, &|_, _| Ok(None), ctx).unwrap();
    let draft = export::run(FileFormat::CHeader, Source::Made(&variant), &plan, &subject, out, ctx).unwrap();
    assert_eq!(draft.bytes, plan.bytes, "{recipe}");
    draft.publish().unwrap_or_else(|e| panic!("{recipe}: {e}"));
    plan.layers.len()
}

#[test]
fn a_header_is_c99_and_holds_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    for name in ["w8", "w4", "w4-g32", "fp16", "codebook4", "fp32", "w16"] {
        let layers = header(name, &folder.path().join("model.h"), &ctx);
        let program = format!(
            "#include \"model.h\"\n#include <stdio.h>\nint main(void) {{\n  uint32_t i, n = 0;\n  \
             for (i = 0; i < model_COUNT; i++) {{ n += model_tensors[i].rank; }}\n  \
             printf(\"%u %u\\n\", (unsigned)model_COUNT, (unsigned)n);\n  return model_COUNT < {layers};\n}}\n"
        );
        let Some(said) = compiled(folder.path(), &program) else { return };
        assert!(said.starts_with("24 "), "{name}: {said}");
    }
    let (int8, subject) = (presets::preset("int8").unwrap(), subject(Path::new(SAMPLE), &ctx));
    assert!(configure::plan_for(&int8, &subject, Some(FileFormat::CHeader)).unwrap_err().to_string().contains("inputs"));
}

#[test]
fn a_program_can_hold_two_headers() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    header("w8", &folder.path().join("first.h"), &ctx);
    header("w4", &folder.path().join("second.h"), &ctx);
    let program = "#include \"first.h\"\n#include \"second.h\"\n#include \"first.h\"\n#include <stdio.h>\n\
                   int main(void) {\n  printf(\"%d %d\\n\", first_COUNT + second_COUNT,\n    \
                   (int)(first_tensors[0].type == LAPIDARY_I8 && second_tensors[0].type == LAPIDARY_I4));\n  return 0;\n}\n";
    let Some(said) = compiled(folder.path(), program) else { return };
    assert_eq!(said, "48 1\n");
}

#[test]
fn an_archive_gives_back_weights_that_are_stored_as_codes() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(Path::new(SAMPLE), &ctx);
    let at = |name: &str| folder.path().join(name);
    for name in ["w4", "w4-g32", "codebook4", "fp16", "nf4"] {
        let recipe = presets::preset(name).unwrap();
        let write = |file: FileFormat, out: &Path| {
            let plan = configure::plan_for(&recipe, &subject, Some(file)).unwrap();
            let variant = compress::run(&plan, &subject, &|_, _| Ok(None), &ctx).unwrap();
            export::run(file, Source::Made(&variant), &plan, &subject, out, &ctx).unwrap().publish().unwrap();
        };
        write(FileFormat::Lapidary, &at("net.lapidary"));
        write(FileFormat::Safetensors, &at("plain.safetensors"));
        work::unpack(&at("net.lapidary"), &at("back.safetensors"), &ctx).unwrap_or_else(|e| panic!("{name}: {e}"));
        let [back, plain] = ["back.safetensors", "plain.safetensors"].map(|file| load::model(&at(file), &ctx).unwrap());
        let mut compared = 0;
        for (wire, tensor) in &plain.model.constants {
            let found = back.model.constants.get(wire).unwrap_or_else(|| panic!("{name}: {wire} is missing"));
            assert!(found.to_f32().unwrap() == tensor.to_f32().unwrap(), "{name}: {wire}");
            compared += 1;
        }
        assert!(compared > 10, "{compared}");
    }
    for name in ["x.gguf", "x.h", "x.lapidary"] {
        let refused = work::unpack(&at("net.lapidary"), &at(name), &ctx).unwrap_err().to_string();
        assert!(refused.contains(".safetensors") && !at(name).exists(), "{refused}");
    }
    assert!(work::unpack(Path::new(SAMPLE), &at("y.safetensors"), &ctx).is_err(), "no archive");
}

#[test]
fn floats_over_packed_weights_take_the_packing_out_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(&model(folder.path()), &ctx);
    let write = |recipe: &Recipe, out: PathBuf| {
        let file = FileFormat::CompressedTensors;
        let plan = configure::plan_for(recipe, &subject, Some(file)).unwrap();
        export::run(file, Source::Streamed, &plan, &subject, &out, &ctx).unwrap().publish().unwrap();
        fs::read_to_string(out.with_file_name("config.json"))
    };
    let (packed, floats) = (integers(8, true, "Channel"), presets::preset("fp32").unwrap());
    let out = folder.path().join("out").join("model.safetensors");
    assert!(write(&packed, out.clone()).unwrap().contains("quantization_config"));
    let left = write(&floats, out).unwrap();
    assert!(left.contains("\"model_type\": \"toy\"") && !left.contains("quantization_config"), "{left}");
    // Where other weights are packed, their configuration stays.
    let beside = folder.path().join("two");
    assert!(write(&packed, beside.join("a.safetensors")).unwrap().contains("quantization_config"));
    assert!(write(&floats, beside.join("b.safetensors")).unwrap().contains("quantization_config"));
    assert!(write(&floats, folder.path().join("new").join("c.safetensors")).is_err(), "floats alone need none");
}

#[test]
fn weights_without_a_sign_stand_for_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(Path::new(SAMPLE), &ctx);
    let write = |file: FileFormat, recipe: &str, ctx: &Ctx| {
        let plan = configure::plan_for(&presets::preset(recipe).unwrap(), &subject, Some(file)).unwrap();
        let variant = compress::run(&plan, &subject, &|_, _| Ok(None), ctx).unwrap();
        let out = folder.path().join(format!("{file:?}.onnx"));
        let written = export::run(file, Source::Made(&variant), &plan, &subject, &out, ctx).unwrap().publish().unwrap();
        assert_eq!(written.bytes, plan.bytes, "{file:?} {recipe}");
        written
    };
    let signed = write(FileFormat::Onnx, "int8-dynamic", &ctx);
    let alone = write(FileFormat::Onnx, "int8-dynamic", &Ctx::new(1).unwrap());
    assert_eq!(signed.sha256, alone.sha256, "threads make no difference");
    let unsigned = write(FileFormat::OnnxUnsigned, "int8-dynamic", &ctx);
    let [signed, unsigned] = [signed, unsigned].map(|file| load::model(&file.path, &ctx).unwrap().model);
    let mut compared = 0;
    for (wire, codes) in signed.constants.iter().filter(|(_, t)| t.dtype() == DType::I8) {
        let lifted: Vec<i64> = codes.to_i64().unwrap().iter().map(|code| code + 128).collect();
        let other = &unsigned.constants[wire];
        assert_eq!((other.dtype(), other.to_i64().unwrap()), (DType::U8, lifted), "{wire}");
        compared += 1;
    }
    assert!(compared > 5, "{compared}");
    // Where data stay floats there is nothing to saturate.
    let plain = write(FileFormat::Onnx, "w8", &ctx);
    assert_eq!(plain.sha256, write(FileFormat::OnnxUnsigned, "w8", &ctx).sha256);
}

#[test]
fn a_file_in_two_is_the_same_network() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(Path::new(SAMPLE), &ctx);
    let at = |name: &str| folder.path().join(name);
    let write = |limit: u64, recipe: &str, out: &Path| {
        let file = FileFormat::Onnx;
        let plan = configure::plan_for(&presets::preset(recipe).unwrap(), &subject, Some(file)).unwrap();
        let variant = compress::run(&plan, &subject, &|_, _| Ok(None), &ctx).unwrap();
        export::run_within(limit, file, Source::Made(&variant), &plan, &subject, out, &ctx)
    };
    for recipe in ["w8", "fp32"] {
        let one = write(export::FILE_LIMIT_BYTES, recipe, &at("one.onnx")).unwrap();
        let two = write(1000, recipe, &at("two.onnx")).unwrap();
        assert!(two.checks.iter().all(|c| c.passed), "{:?}", two.checks);
        let [one, two] = [one.reopened.unwrap().model, two.reopened.unwrap().model];
        assert!(one.constants.iter().all(|(wire, tensor)| two.constants[wire].bytes() == tensor.bytes()), "{recipe}");
    }
    assert!(fs::read_dir(folder.path()).unwrap().count() == 0, "drafts that are dropped leave nothing behind");
    // The tensors of the source are no target either.
    fs::copy(SAMPLE, at("net.onnx")).unwrap();
    let mut loaded = load::model(&at("net.onnx"), &ctx).unwrap();
    fs::write(at("out.onnx.data"), "the source's").unwrap();
    loaded.externals.push(at("out.onnx.data"));
    let source = Subject::new(loaded).unwrap();
    let plan = configure::plan_for(&presets::preset("w8").unwrap(), &source, Some(FileFormat::Onnx)).unwrap();
    let variant = compress::run(&plan, &source, &|_, _| Ok(None), &ctx).unwrap();
    let made = Source::Made(&variant);
    let refused = export::run_within(1000, FileFormat::Onnx, made, &plan, &source, &at("out.onnx"), &ctx);
    assert!(matches!(refused, Err(ExportError::OverSource { .. })));
    assert_eq!(fs::read(at("out.onnx.data")).unwrap(), b"the source's");
}

/// How many layers of `own` add codes; each of these is within half a step of the float that `plain` adds.
fn biases_on_the_grid_of_sums(own: &Model, plain: &Model) -> usize {
    let floats = |model: &Model, wire: &lapidary::engine::graph::Wire| model.constants.get(wire).map(|t| t.to_f32().unwrap());
    let mut found = 0;
    for layer in own.nodes.iter().filter(|n| matches!(n.op.as_str(), "Conv" | "Gemm")) {
        let rounded = own.nodes.iter().find(|n| n.output(0) == layer.input(2) && n.op == "DequantizeLinear");
        let Some(rounded) = rounded else { continue };
        let twin = plain.nodes.iter().find(|n| n.output(0) == layer.output(0)).unwrap();
        let wanted = floats(plain, twin.input(2).unwrap()).unwrap();
        let codes = own.constants[rounded.input(0).unwrap()].to_i64().unwrap();
        let scales = floats(own, rounded.input(1).unwrap()).unwrap();
        assert_eq!(codes.len(), wanted.len());
        for (i, (code, wanted)) in codes.iter().zip(&wanted).enumerate() {
            let scale = f64::from(scales[if scales.len() == 1 { 0 } else { i }]);
            let error = (*code as f64 * scale - f64::from(*wanted)).abs();
            assert!(error <= 0.500_001 * scale, "{:?}: {error} above half of {scale}", layer.output(0));
        }
        found += 1;
    }
    found
}

#[test]
fn onnx_runtime_gets_its_own_operators() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let (_, opened) = work::open(&sample::install(Some(folder.path())).unwrap(), &ctx).unwrap();
    // Accuracy is measured elsewhere; what calibrates is there.
    let mut document = (*opened.document).clone();
    document.calibrate = document.calibrate.or(document.evaluate.clone());
    document.evaluate = None;
    let opened = opened.with_document(document.into());
    let port = opened.subject.original.data_input().unwrap().wire.clone();
    let data = opened.dataset(Split::Calibrate, Some(8), &ctx).unwrap();
    let batch = data.batch(&(0..data.len()).collect::<Vec<_>>(), &ctx).unwrap();
    // What a runtime makes of a file is said after it is there, and does not take it away.
    let how = Writing { check_runtime: true, ..Writing::new(FileFormat::Onnx) };
    let exported = opened.export_with(how, &presets::preset("w4").unwrap(), &folder.path().join("said.onnx"), &ctx).unwrap();
    let last = exported.checks.last().unwrap();
    assert!(exported.path.exists() && last.name == "in ONNX Runtime" && last.value.contains("no evaluation data"), "{last:?}");
    for name in ["int8", "w4-g32", "w8"] {
        let recipe = presets::preset(name).unwrap();
        let write = |file: FileFormat| {
            let out = folder.path().join(format!("{file:?}.onnx"));
            let exported = opened.export_as(file, &recipe, &out, &ctx).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(exported.bytes, opened.plan_for(&recipe, Some(file)).unwrap().bytes, "{name}");
            load::model(&out, &ctx).unwrap().model
        };
        let [plain, own] = [FileFormat::Onnx, FileFormat::OnnxRuntime].map(write);
        let count = |model: &Model, op: &str| model.nodes.iter().filter(|n| n.op == op).count();
        let integers = own.constants.values().filter(|t| t.dtype() == DType::I32).count();
        match name {
            "int8" => {
                assert_eq!(biases_on_the_grid_of_sums(&own, &plain), integers, "each is held against its float");
                assert!(integers > 5 && integers <= count(&own, "Conv") + count(&own, "Gemm"), "{integers}");
            }
            "w4-g32" => {
                assert!(count(&own, "MatMulNBits") > 0 && count(&own, "Conv") == count(&plain, "Conv"));
                assert_eq!((own.opsets["com.microsoft"], count(&own, "Gemm")), (1, 0));
            }
            _ => assert_eq!((own.nodes.len(), integers), (plain.nodes.len(), 0)),
        }
        let [a, b, whole] = [&plain, &own, &*opened.subject.original].map(|model| {
            let executor = Executor::new(model, &Request::default()).unwrap();
            executor.run(&[(port.clone(), batch.clone())], &ctx, &mut |_, _| {}).unwrap()[0].1.to_f32().unwrap()
        });
        let worst = |other: &[f32]| a.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Biases on the grid of sums let single data behind them fall on the next of 256 levels: noise as that of the
        // rounding itself, and less.
        let tolerance = match name {
            "int8" => 0.5 * worst(&whole),
            "w4-g32" => 1e-4,
            _ => 0.0,
        };
        assert!(worst(&b) <= tolerance, "{name}: {} above {tolerance}", worst(&b));
    }
}
