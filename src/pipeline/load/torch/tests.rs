use super::*;
use crate::engine::Ctx;
use std::io::Write as _;

/// A pickle, opcode by opcode.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    fn int(self, n: i32) -> Self {
        self.raw(b"J").raw(&n.to_le_bytes())
    }

    fn ints(self, all: &[i32]) -> Self {
        all.iter().fold(self.raw(b"("), |w, n| w.int(*n)).raw(b"t")
    }

    /// `_rebuild_tensor_v2` of a float storage.
    fn tensor(self, key: &str, len: i32, offset: i32, shape: &[i32], strides: &[i32]) -> Self {
        self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((")
            .text("storage")
            .raw(b"ctorch\nFloatStorage\n")
            .text(key)
            .text("cpu")
            .int(len)
            .raw(b"tQ")
            .int(offset)
            .ints(shape)
            .ints(strides)
            .raw(b"\x89NtR")
    }

    fn end(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

fn dictionary(fill: impl FnOnce(Writer) -> Writer) -> Vec<u8> {
    fill(Writer::default().raw(b"\x80\x02}(")).raw(b"u").end()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// An archive as `torch.save` writes it.
fn archive(data: &[u8], storages: &[(&str, Vec<u8>)], compression: zip::CompressionMethod) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(compression);
    let members = storages.iter().map(|(key, bytes)| (format!("archive/data/{key}"), bytes.as_slice()));
    for (name, bytes) in std::iter::once(("archive/data.pkl".to_owned(), data)).chain(members) {
        out.start_file(name, options).unwrap();
        out.write_all(bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

/// An older file of one object.
fn legacy(object: &[u8], storages: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = [b"\x80\x02", MAGIC, b"\x80\x02M\xe9\x03.", b"\x80\x02}(X\x0d\0\0\0little_endian\x88u."].concat();
    bytes.extend(object);
    let keys = storages.iter().fold(Writer::default().raw(b"\x80\x02]("), |w, (key, _)| w.text(key)).raw(b"e").end();
    bytes.extend(keys);
    for (_, storage) in storages {
        bytes.extend((storage.len() as u64 / 4).to_le_bytes());
        bytes.extend(storage);
    }
    bytes
}

fn opened(bytes: &[u8], ctx: &Ctx) -> Result<BTreeMap<Wire, Tensor>, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pt");
    std::fs::write(&path, bytes).unwrap();
    let map = MappedFile::open(&path).unwrap();
    if is_legacy(bytes) {
        return read_legacy(&path, &map, ctx);
    }
    read_archive(&mut Archive::open(&path, &map)?, &path, ctx)
}

fn ctx() -> Ctx {
    Ctx::new(1).unwrap()
}

fn values(found: &BTreeMap<Wire, Tensor>, name: &str) -> Vec<f32> {
    found[name].to_f32().unwrap()
}

#[test]
fn views_share_a_storage_in_any_order() {
    let data = dictionary(|w| {
        let w = w.text("a").tensor("0", 6, 0, &[2, 3], &[3, 1]).text("turned").tensor("0", 6, 0, &[3, 2], &[1, 3]);
        w.text("part").tensor("0", 6, 4, &[2], &[1]).text("none").tensor("0", 6, 6, &[0, 4], &[4, 1])
    });
    let storages = [("0", floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))];
    let stored = archive(&data, &storages, zip::CompressionMethod::Stored);
    let deflated = archive(&data, &storages, zip::CompressionMethod::Deflated);
    for bytes in [stored, deflated, legacy(&data, &storages)] {
        let found = opened(&bytes, &ctx()).unwrap();
        assert_eq!(values(&found, "a"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(values(&found, "turned"), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(values(&found, "part"), [5.0, 6.0]);
        assert_eq!(found["none"].shape(), [0, 4]);
    }
}

#[test]
fn the_state_of_the_training_is_left_aside() {
    let one = |w: Writer| w.tensor("0", 1, 0, &[1], &[1]);
    let data = dictionary(|w| {
        let w = w.text("state_dict").raw(b"ccollections\nOrderedDict\n)R(");
        let w = one(one(w.text("module.a")).text("module.b.c")).raw(b"u");
        let w = one(w.text("optimizer").raw(b"}(").text("momentum")).raw(b"u");
        one(w.text("cuda_rng_state")).text("epoch").int(3)
    });
    let context = ctx();
    let found = opened(&legacy(&data, &[("0", floats(&[2.0]))]), &context).unwrap();
    assert_eq!(found.keys().map(|w| &**w).collect::<Vec<_>>(), ["a", "b.c"]);
    let said = context.take_warnings();
    assert!(said.len() == 1 && said[0].message.contains("optimizer, cuda_rng_state"), "{said:?}");
}

#[test]
fn several_networks_keep_their_names() {
    let one = |w: Writer| w.tensor("0", 1, 0, &[1], &[1]);
    let data =
        dictionary(|w| one(one(w.text("model").raw(b"}(").text("a")).raw(b"u").text("model_ema").raw(b"}(").text("a")).raw(b"u"));
    let found = opened(&legacy(&data, &[("0", floats(&[2.0]))]), &ctx()).unwrap();
    assert_eq!(found.keys().map(|w| &**w).collect::<Vec<_>>(), ["model.a", "model_ema.a"]);
}

#[test]
fn a_whole_module_gives_its_weights() {
    // A class of somebody's own: never looked for, its state is read.
    let module = |w: Writer| w.raw(b"cmy.net\nNet\n)\x81}(");
    let data = module(Writer::default().raw(b"\x80\x02")).text("training").raw(b"\x88").text("_modules").raw(b"}(").text("conv");
    let data = module(data).text("_parameters").raw(b"}(").text("weight").raw(b"ctorch._utils\n_rebuild_parameter\n(");
    let data = data
        .tensor("0", 2, 0, &[2], &[1])
        .raw(b"\x88ccollections\nOrderedDict\n)RtR")
        .text("bias")
        .raw(b"Nuub")
        .raw(b"uub")
        .end();
    let found = opened(&legacy(&data, &[("0", floats(&[2.0, 3.0]))]), &ctx()).unwrap();
    assert_eq!(values(&found, "conv.weight"), [2.0, 3.0]);
    assert_eq!(found.len(), 1);
}

#[test]
fn what_does_not_fit_its_storage_is_refused_by_name() {
    for (shape, strides, offset) in [
        (&[2, 4][..], &[4, 1][..], 0),
        (&[2, 3], &[3, 1], 1),
        (&[7], &[0], 0),
        (&[2], &[i32::MAX], 0),
        (&[-1], &[1], 0),
        (&[2], &[1, 1], 0),
        (&[i32::MAX, i32::MAX, i32::MAX, i32::MAX], &[0, 0, 0, 0], 0),
        (&[2], &[1], -1),
    ] {
        let data = dictionary(|w| w.text("a").tensor("0", 6, offset, shape, strides));
        let error = opened(&legacy(&data, &[("0", floats(&[0.0; 6]))]), &ctx()).unwrap_err().to_string();
        assert!(error.contains("\"a\""), "{error}");
    }
    // The pickle promises more than the archive holds.
    let data = dictionary(|w| w.text("a").tensor("0", 60, 0, &[60], &[1]));
    assert!(opened(&archive(&data, &[("0", floats(&[0.0; 6]))], zip::CompressionMethod::Stored), &ctx()).is_err());
    assert!(opened(&archive(&data, &[], zip::CompressionMethod::Stored), &ctx()).unwrap_err().to_string().contains("storage 0"));
}

#[test]
fn dictionaries_that_hold_themselves_end() {
    // d = {"d": d}, and one that doubles with every level.
    assert!(opened(&legacy(b"\x80\x02}q\x00(X\x01\0\0\0dh\x00u.", &[]), &ctx()).is_err());
    let mut doubling = b"\x80\x02}q\x00".to_vec();
    for _ in 0..60 {
        doubling.extend(b"0}(X\x01\0\0\0ah\x00X\x01\0\0\0bh\x00uq\x00");
    }
    doubling.push(b'.');
    assert!(opened(&legacy(&doubling, &[]), &ctx()).is_err());
}

#[test]
fn broken_files_are_refused_and_never_panic() {
    let data = dictionary(|w| w.text("a").tensor("0", 6, 0, &[2, 3], &[3, 1]).text("b").tensor("0", 6, 0, &[3, 2], &[1, 3]));
    let storages = [("0", floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))];
    let stored = archive(&data, &storages, zip::CompressionMethod::Stored);
    let deflated = archive(&data, &storages, zip::CompressionMethod::Deflated);
    let old = legacy(&data, &storages);
    for end in 0..old.len() {
        assert!(opened(&old[..end], &ctx()).is_err(), "{end}");
    }
    for whole in [stored, deflated, old] {
        for at in 0..whole.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                // It opens or says why not.
                let _ = opened(&bytes, &ctx());
            }
        }
    }
}
