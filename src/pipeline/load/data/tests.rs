use super::picture::luma;
use super::{Channels, Dataset, Layout, Picture, Preprocess, open};
use crate::engine::Ctx;
use crate::engine::graph::{Dim, Fact, Port};
use crate::engine::tensor::DType;
use crate::pipeline::load::error::LoadError;
use std::io::Write;
use std::path::{Path, PathBuf};

fn ctx() -> Ctx {
    Ctx::new(2).unwrap()
}

/// An input `[N, dims…]`.
fn input(dims: &[usize], dtype: DType) -> Port {
    let shape = std::iter::once(Dim::Named("N".into())).chain(dims.iter().map(|d| Dim::Known(*d))).collect();
    Port { wire: "x".into(), fact: Fact { dtype: Some(dtype), shape: Some(shape) } }
}

fn opened(path: &Path, preprocess: &Preprocess, dims: &[usize]) -> Result<Dataset, LoadError> {
    open(path, preprocess, &input(dims, DType::F32), &ctx())
}

fn refusal(result: Result<Dataset, LoadError>, says: &str) {
    let text = result.unwrap_err().to_string();
    assert!(text.contains(says), "\"{text}\" does not say \"{says}\"");
}

/// A picture in which each pixel tells its place and channel.
fn save(path: PathBuf, width: u32, height: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 200])).save(path).unwrap();
}

fn values(set: &Dataset, indices: &[usize]) -> Vec<f32> {
    set.batch(indices, &ctx()).unwrap().to_f32().unwrap()
}

#[test]
fn resizing_gives_what_pillow_gives() {
    let rgb: Vec<u8> = (0..5 * 7 * 3).map(|i| (i * 37 % 251) as u8).collect();
    let picture = Picture { width: 7, height: 5, rgb };
    let small = [
        68, 93, 130, 171, 77, 114, 144, 125, 87, 128, 160, 134, 97, 131, 144, 107, 115, 141, 153, 88, 125, 163, 162, 96, 132,
        169, 99, 116, 153, 100, 89, 126, 123, 116, 97, 134,
    ];
    assert_eq!(picture.resized_to(4, 3).rgb, small);
    let large = picture.resized_to(11, 8).rgb;
    let first_rows = [
        0, 37, 74, 50, 87, 124, 121, 135, 172, 192, 46, 83, 171, 48, 85, 82, 119, 156, 153, 190, 67, 155, 192, 46, 66, 103, 117,
        114, 151, 188, 164, 201, 238, 11, 48, 85, 61, 98, 135, 132, 146, 183, 203, 57, 94, 182, 59, 96,
    ];
    assert_eq!(large[..first_rows.len()], first_rows);
    let gray: Vec<u8> = picture.rgb.as_chunks::<3>().0[..7].iter().map(|p| luma(*p)).collect();
    assert_eq!(gray, [30, 141, 76, 112, 195, 83, 194]);
}

#[test]
fn folders_are_classes_in_alphabetical_order() {
    let folder = tempfile::tempdir().unwrap();
    for (class, file) in [("cat", "1.png"), ("ant", "2.png"), ("cat", "0.png"), ("bee", "5.PNG")] {
        save(folder.path().join(class).join(file), 4, 4);
    }
    std::fs::write(folder.path().join("cat/notes.txt"), "no picture").unwrap();
    let set = opened(folder.path(), &Preprocess::default(), &[3, 4, 4]).unwrap();
    assert_eq!(set.classes, ["ant", "bee", "cat"]);
    assert_eq!(set.labels.as_deref(), Some(&[0, 1, 2, 2][..]));
    let batch = values(&set, &[0]);
    assert_eq!(batch[..6], [0.0, 1.0, 2.0, 3.0, 0.0, 1.0]);
    assert_eq!(batch[16..22], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(batch[32], 200.0);
    let some = set.subset(vec![3, 1, 99]);
    assert_eq!((some.len(), some.labels.as_deref()), (2, Some(&[2, 1][..])));
    assert_ne!(some.key(), set.key());
    assert_eq!(set.picture(0).unwrap().rgb[..3], [0, 0, 200]);
}

#[test]
fn preprocessing_is_applied_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path().join("7_a.png"), 6, 4);
    let settings = Preprocess {
        crop: Some(2),
        channels: Some(Channels::Bgr),
        scale: Some(2.0),
        mean: vec![1.0, 2.0, 3.0],
        std: vec![0.5],
        layout: Layout::Nhwc,
        label_offset: 1,
        ..Preprocess::default()
    };
    let set = opened(folder.path(), &settings, &[2, 2, 3]).unwrap();
    assert_eq!(set.labels.as_deref(), Some(&[8][..]));
    assert_eq!(set.classes.len(), 9);
    // The middle starts at x = 2, y = 1; blue is 200, green y, red x.
    assert_eq!(values(&set, &[0])[..6], [198.0, -3.0, -4.0, 198.0, -3.0, -3.0]);
}

#[test]
fn what_does_not_fit_is_refused_with_the_flag_that_helps() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path().join("0_a.png"), 6, 4);
    let with = |settings: Preprocess, dims: &[usize]| opened(folder.path(), &settings, dims);
    refusal(with(Preprocess::default(), &[3, 2, 2]), "--crop 2");
    refusal(with(Preprocess { crop: Some(5), ..Preprocess::default() }, &[3, 5, 5]), "--resize 5");
    refusal(with(Preprocess::default(), &[4, 6, 3]), "--layout nhwc");
    refusal(with(Preprocess { channels: Some(Channels::Rgb), ..Preprocess::default() }, &[1, 4, 6]), "--channels gray");
    refusal(with(Preprocess { mean: vec![1.0, 2.0], ..Preprocess::default() }, &[3, 4, 6]), "--mean has 2 values");
    refusal(with(Preprocess { scale: Some(0.0), ..Preprocess::default() }, &[3, 4, 6]), "--scale");
    refusal(with(Preprocess { label_offset: -1, ..Preprocess::default() }, &[3, 4, 6]), "--label-offset");
    save(folder.path().join("1_b.png"), 5, 4);
    let set = with(Preprocess::default(), &[3, 4, 6]).unwrap();
    assert!(set.batch(&[0, 1], &ctx()).unwrap_err().to_string().contains("1_b.png"));
    assert!(set.batch(&[2], &ctx()).is_err());
}

#[test]
fn flat_folders_take_labels_from_names_or_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save(at("b.png"), 2, 2);
    save(at("a.png"), 2, 2);
    let plain = opened(folder.path(), &Preprocess::default(), &[3, 2, 2]).unwrap();
    assert!(plain.labels.is_none() && plain.len() == 2);
    save(at("3_c.png"), 2, 2);
    refusal(opened(folder.path(), &Preprocess::default(), &[3, 2, 2]), "a.png");
    std::fs::write(at("labels.csv"), "file,class_index,name\nb.png,2,\"two, too\"\n3_c.png,0,none\n").unwrap();
    let set = opened(folder.path(), &Preprocess::default(), &[3, 2, 2]).unwrap();
    assert_eq!((set.len(), set.labels.as_deref()), (2, Some(&[2, 0][..])));
    assert_eq!(set.classes, ["none", "1", "two, too"]);
    for (row, says) in
        [("b.png,-1", "negative"), ("gone.png,1", "gone.png"), ("b.png,x", "line 2"), ("b.png", "class number is missing")]
    {
        std::fs::write(at("labels.csv"), format!("file,class_index\n{row}\n")).unwrap();
        refusal(opened(folder.path(), &Preprocess::default(), &[3, 2, 2]), says);
    }
    std::fs::write(at("labels.csv"), "a,b\n").unwrap();
    refusal(opened(folder.path(), &Preprocess::default(), &[3, 2, 2]), "class_index");
}

#[test]
fn unreadable_and_empty_data_is_named() {
    let folder = tempfile::tempdir().unwrap();
    refusal(opened(folder.path(), &Preprocess::default(), &[3, 2, 2]), "no pictures");
    refusal(opened(&folder.path().join("nowhere"), &Preprocess::default(), &[3, 2, 2]), "nowhere");
    save(folder.path().join("0_a.png"), 2, 2);
    std::fs::write(folder.path().join("0_b.png"), b"\x89PNG\r\n\x1a\nbroken").unwrap();
    let set = opened(folder.path(), &Preprocess::default(), &[3, 2, 2]).unwrap();
    assert!(set.batch(&[0, 1], &ctx()).unwrap_err().to_string().contains("0_b.png"));
    let ctx = ctx();
    ctx.cancel();
    assert!(matches!(set.batch(&[0], &ctx), Err(LoadError::Cancelled(_))));
}

fn idx(kind: u8, shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|d| d.to_be_bytes()));
    bytes.extend(data);
    bytes
}

#[test]
fn idx_pairs_open_plain_and_compressed_by_file_and_by_folder() {
    let folder = tempfile::tempdir().unwrap();
    let images = idx(8, &[2, 2, 3], &(0..12).collect::<Vec<u8>>());
    let file = folder.path().join("t-images-idx3-ubyte");
    std::fs::write(&file, &images).unwrap();
    assert!(opened(&file, &Preprocess::default(), &[1, 2, 3]).unwrap().labels.is_none());
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&idx(8, &[2], &[7, 3])).unwrap();
    std::fs::write(folder.path().join("t-labels-idx1-ubyte.gz"), gz.finish().unwrap()).unwrap();
    for path in [file.as_path(), folder.path()] {
        let set = opened(path, &Preprocess { scale: Some(2.0), ..Preprocess::default() }, &[1, 2, 3]).unwrap();
        assert_eq!(set.labels.as_deref(), Some(&[7, 3][..]));
        assert_eq!(set.batch(&[1, 0], &ctx()).unwrap().shape(), [2, 1, 2, 3]);
        assert_eq!(values(&set, &[1]), [3.0, 3.5, 4.0, 4.5, 5.0, 5.5]);
    }
    let flat = opened(&file, &Preprocess::default(), &[6]).unwrap();
    assert_eq!(flat.batch(&[0], &ctx()).unwrap().shape(), [1, 6]);
    assert_eq!(flat.picture(0).unwrap().rgb[3..6], [1, 1, 1]);
    std::fs::write(folder.path().join("t-labels-idx1-ubyte"), idx(8, &[3], &[0, 1, 2])).unwrap();
    refusal(opened(&file, &Preprocess::default(), &[6]), "2 samples but 3 labels");
    for end in 0..images.len() {
        std::fs::write(&file, &images[..end]).unwrap();
        assert!(opened(&file, &Preprocess::default(), &[6]).is_err(), "{end}");
    }
    std::fs::write(&file, idx(8, &[u32::MAX, u32::MAX, u32::MAX], &[1])).unwrap();
    assert!(opened(&file, &Preprocess::default(), &[6]).is_err());
}

fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn npz(path: &Path, compression: zip::CompressionMethod, members: &[(&str, Vec<u8>)]) {
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default().compression_method(compression)).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn arrays_are_fed_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.npz");
    let x = npy("<f4", "False", "(3, 2, 2)", &floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]));
    let y = npy("<i8", "False", "(3,)", &[2_i64, 0, 1].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    for compression in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        npz(&path, compression, &[("x.npy", x.clone()), ("y.npy", y.clone())]);
        let set = opened(&path, &Preprocess::default(), &[1, 2, 2]).unwrap();
        assert_eq!(set.labels.as_deref(), Some(&[2, 0, 1][..]));
        let batch = set.batch(&[2, 0], &ctx()).unwrap();
        assert_eq!(batch.shape(), [2, 1, 2, 2]);
        assert_eq!(batch.to_f32().unwrap(), [8.0, 9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 3.0]);
        assert_eq!(
            set.picture(0).unwrap(),
            Picture { width: 2, height: 2, rgb: [0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255].to_vec() }
        );
    }
    let scaled = Preprocess { scale: Some(2.0), mean: vec![1.0], ..Preprocess::default() };
    assert_eq!(values(&opened(&path, &scaled, &[4]).unwrap(), &[0]), [-1.0, -0.5, 0.0, 0.5]);
    let per_channel = Preprocess { mean: vec![0.0, 1.0], ..Preprocess::default() };
    assert_eq!(values(&opened(&path, &per_channel, &[2, 2]).unwrap(), &[0]), [0.0, 1.0, 1.0, 2.0]);
    refusal(opened(&path, &Preprocess::default(), &[3, 2]), "[N, 3, 2]");
    refusal(opened(&path, &Preprocess { crop: Some(2), ..Preprocess::default() }, &[2, 2]), "--crop");
    assert_eq!(opened(&path, &Preprocess { limit: Some(2), ..Preprocess::default() }, &[4]).unwrap().labels.unwrap(), [2, 0]);
    npz(&path, zip::CompressionMethod::Stored, &[("data.npy", x.clone())]);
    refusal(opened(&path, &Preprocess::default(), &[4]), "no array x");
    npz(&path, zip::CompressionMethod::Stored, &[("x.npy", x), ("y.npy", npy("<f4", "False", "(3,)", &floats(&[0.0; 3])))]);
    refusal(opened(&path, &Preprocess::default(), &[4]), "whole class number");
}

#[test]
fn integers_reach_models_that_take_integers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.npy");
    std::fs::write(&path, npy("<i2", "False", "(2, 3)", &[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 255, 255])).unwrap();
    let set = open(&path, &Preprocess::default(), &input(&[3], DType::I64), &ctx()).unwrap();
    let batch = set.batch(&[1], &ctx()).unwrap();
    assert_eq!((batch.dtype, batch.to_i64().unwrap()), (DType::I64, vec![4, 5, -1]));
    assert_eq!(values(&opened(&path, &Preprocess::default(), &[3]).unwrap(), &[0]), [1.0, 2.0, 3.0]);
    std::fs::write(&path, npy("<f4", "False", "(1, 3)", &floats(&[0.0; 3]))).unwrap();
    refusal(open(&path, &Preprocess::default(), &input(&[3], DType::I64), &ctx()), "takes integers");
}

#[test]
fn texts_are_sequences_of_their_own_lengths() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("texts.npz");
    let row = |values: &[i64]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        npy("<i8", "False", &format!("({},)", values.len()), &bytes)
    };
    let free = Port {
        wire: "ids".into(),
        fact: Fact { dtype: Some(DType::I64), shape: Some(vec![Dim::Named("B".into()), Dim::Named("T".into())]) },
    };
    let (long, short) = (row(&[1, 5, 6, 7]), row(&[1, 8]));
    npz(&path, zip::CompressionMethod::Deflated, &[("a.npy", long.clone()), ("b.npy", short.clone())]);
    let set = open(&path, &Preprocess::default(), &free, &ctx()).unwrap();
    assert!(set.is_text() && set.len() == 2 && set.labels.is_none() && set.batch_size(None) == 1);
    let batch = set.batch(&[1], &ctx()).unwrap();
    assert_eq!((batch.dtype, batch.shape(), batch.to_i64().unwrap()), (DType::I64, &[1, 2][..], vec![1, 8]));
    assert_eq!(set.batch(&[0, 0], &ctx()).unwrap().shape(), [2, 4]);
    assert!(set.batch(&[0, 1], &ctx()).is_err());
    assert_eq!(set.subset(vec![1]).batch(&[0], &ctx()).unwrap().shape(), [1, 2]);
    refusal(open(&path, &Preprocess::default(), &input(&[4], DType::I64), &ctx()), "sequence 1 has 2 tokens");
    refusal(open(&path, &Preprocess::default(), &input(&[4], DType::F32), &ctx()), "sequences of token ids");
    refusal(open(&path, &Preprocess { scale: Some(2.0), ..Preprocess::default() }, &free, &ctx()), "fed as they are");
    npz(&path, zip::CompressionMethod::Stored, &[("a.npy", long), ("b.npy", npy("<f4", "False", "(2,)", &floats(&[0.0; 2])))]);
    refusal(open(&path, &Preprocess::default(), &free, &ctx()), "no array x");
}

#[test]
fn broken_arrays_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let whole = npy("<f4", "False", "(1, 2)", &floats(&[0.0, 1.0]));
    for end in 0..whole.len() {
        std::fs::write(&path, &whole[..end]).unwrap();
        assert!(opened(&path, &Preprocess::default(), &[2]).is_err(), "{end}");
    }
    for (bytes, says) in [
        (npy(">f4", "False", "(1, 2)", &floats(&[0.0, 1.0])), "little-endian"),
        (npy("<f4", "False", "(0, 2)", &[]), "no samples"),
        (npy("<f4", "False", "(99999999999999999999,)", &[]), "shape"),
        (npy("<f4", "False", "(9999999999, 9999999999)", &[]), "elements"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        refusal(opened(&path, &Preprocess::default(), &[2]), says);
    }
}
