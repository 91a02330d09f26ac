use super::*;
use crate::engine::random::Random;
use crate::engine::tensor::DType;

/// A file with two tensors in it, and something around them.
fn file() -> (Vec<u8>, Vec<Source>) {
    let mut random = Random::new(4);
    let weights: Vec<f32> = (0..900).map(|_| if random.normal() > 0.5 { 0.25 } else { 0.0 }).collect();
    let codes: Vec<i64> = (0..301).map(|_| (random.normal() * 2.0) as i64).collect();
    let weights = Tensor::from_f32(vec![10, 90], &weights).unwrap();
    let codes = Tensor::from_integers(DType::I4, vec![301], &codes).unwrap();
    let mut file = b"before the tensors".to_vec();
    let mut sources = Vec::new();
    for (name, tensor) in [("ü", weights), ("codes", codes)] {
        let start = file.len();
        file.extend_from_slice(&tensor.bytes());
        sources.push(Source { name: name.to_owned(), place: start..file.len(), tensor });
        file.extend(b"between");
    }
    (file, sources)
}

fn archive() -> (Vec<u8>, Vec<u8>) {
    let (file, sources) = file();
    let (bytes, gain) = write(&file, sources, &Ctx::new(1).unwrap()).unwrap();
    assert_eq!(gain.tables, 2);
    assert!(bytes.len() < 800, "{}", bytes.len());
    (file, bytes)
}

#[test]
fn the_file_comes_out_and_each_tensor_alone() {
    let (file, bytes) = archive();
    let path = Path::new("a.lapidary");
    let archive = Archive::open(path, &bytes).unwrap();
    assert_eq!(archive.file(&Ctx::new(2).unwrap()).unwrap(), file);
    for source in self::file().1 {
        let tensor = archive.tensor(&source.name).unwrap();
        assert_eq!((tensor.bytes(), tensor.shape()), (source.tensor.bytes(), source.tensor.shape()));
    }
    assert!(archive.tensor("other").is_err());
    let ctx = Ctx::new(1).unwrap();
    assert_eq!(write(b"no tensors", Vec::new(), &ctx).unwrap().0, write(b"no tensors", Vec::new(), &ctx).unwrap().0);
}

#[test]
fn every_damage_is_found() {
    let (file, bytes) = archive();
    let (path, ctx) = (Path::new("a.lapidary"), Ctx::new(1).unwrap());
    let opened = |bytes: &[u8]| Archive::open(path, bytes).and_then(|a| a.file(&ctx));
    for cut in 0..bytes.len() {
        assert!(opened(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for at in 8..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x24;
        // The last bits of a stream may say nothing.
        assert!(opened(&bytes).map_or(true, |out| out == file), "changed at {at}");
    }
}

#[test]
fn claims_out_of_nothing_are_refused() {
    let entry = |length: u64, stream: u64| Entry {
        name: "w".to_owned(),
        dtype: DType::F32,
        shape: vec![(length / 4) as usize],
        place: 0,
        length,
        mode: Mode::Range,
        stream,
        crc: 0,
    };
    let path = Path::new("a.lapidary");
    for (length, shell, entries) in [
        (1 << 40, 0, vec![]),
        (1 << 31, 0, vec![entry(1 << 31, 0)]),
        (u64::MAX, 0, vec![entry(u64::MAX, 0), entry(u64::MAX, 0)]),
        (100, u64::MAX, vec![entry(8, 9)]),
    ] {
        let bytes = Index { length, sha256: [0; 32], shell, entries }.to_bytes();
        assert!(Archive::open(path, &bytes).and_then(|a| a.file(&Ctx::new(1).unwrap())).is_err(), "{length}");
    }
}
