use super::*;
use std::io::Read as _;

fn content(name: &str) -> &'static [u8] {
    files().into_iter().find(|(n, _)| *n == name).map(|(_, bytes)| bytes).unwrap()
}

fn unpacked(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(content(name)).read_to_end(&mut out).unwrap();
    out
}

#[test]
fn the_data_that_comes_with_the_program_is_drawn_by_it() {
    let ctx = Ctx::new(2).unwrap();
    for (split, name, count) in [(Split::Evaluate, EVALUATE, EVALUATE_COUNT), (Split::Calibrate, CALIBRATE, CALIBRATE_COUNT)] {
        let pair = data::pair(split, SEED, count, &ctx);
        assert!(pair.images == unpacked(&format!("{name}/images-idx3-ubyte.gz")), "{name}: other pixels than drawn");
        assert_eq!(pair.labels, unpacked(&format!("{name}/labels-idx1-ubyte.gz")));
        assert_eq!(pair.images.len(), 16 + count * draw::PIXELS);
        assert_eq!(pair.labels[8..18], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}

#[test]
fn the_sample_is_small() {
    assert!(content(MODEL).len() < 300_000, "the network has {} bytes", content(MODEL).len());
    let data: usize = files().iter().filter(|(name, _)| *name != MODEL).map(|(_, bytes)| bytes.len()).sum();
    assert!(data < 1_000_000, "the data has {data} bytes");
}

#[test]
fn the_network_has_depthwise_layers_and_batch_norm_not_yet_folded() {
    let folder = tempfile::tempdir().unwrap();
    write_to(folder.path()).unwrap();
    let ctx = Ctx::new(1).unwrap();
    let loaded = crate::pipeline::load::model(&folder.path().join(MODEL), &ctx).unwrap();
    let count = |op: &str| loaded.model.nodes.iter().filter(|n| n.op == op).count();
    assert_eq!((count("Conv"), count("BatchNormalization"), count("Add"), count("Gemm")), (11, 11, 2, 1));
    assert_eq!(loaded.model.nodes.iter().filter(|n| n.int("group").is_some_and(|g| g > 1)).count(), 4);
    assert!((40_000..70_000).contains(&loaded.model.parameters()));
    assert!(ctx.take_warnings().is_empty());
}

#[test]
fn what_was_changed_is_written_again_and_the_rest_is_left() {
    let folder = tempfile::tempdir().unwrap();
    write_to(folder.path()).unwrap();
    let path = folder.path().join(MODEL);
    let untouched = folder.path().join(EVALUATE).join("images-idx3-ubyte.gz");
    let before = std::fs::metadata(&untouched).unwrap().modified().unwrap();
    std::fs::write(&path, b"broken").unwrap();
    write_to(folder.path()).unwrap();
    assert!(std::fs::read(&path).unwrap() == content(MODEL));
    assert_eq!(std::fs::metadata(&untouched).unwrap().modified().unwrap(), before);
}

#[test]
fn the_written_graph_holds_what_was_trained() {
    let ctx = Ctx::new(2).unwrap();
    let network = network::Network::new(&mut crate::engine::random::Random::new(5)).unwrap();
    let model = file::model(&network).unwrap();
    let bytes = to_bytes(&encode(&model, &OnnxSource::empty(&model.name)).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fresh.onnx");
    std::fs::write(&path, bytes).unwrap();
    let loaded = crate::pipeline::load::model(&path, &ctx).unwrap();
    assert_eq!(loaded.model.constants.len(), model.constants.len());
    let stem = &loaded.model.constants["stem.conv.weight"];
    let ours = network.convs[0].weight.to_vec2::<f32>().unwrap();
    assert_eq!(stem.shape(), [16, 1, 3, 3]);
    assert_eq!(stem.to_f32().unwrap()[9 + 4].to_bits(), ours[4][1].to_bits());
}

#[test]
fn training_does_not_depend_on_the_number_of_threads() {
    let trained = |threads| {
        let ctx = Ctx::new(threads).unwrap();
        let model = file::model(&train::network(3, 3, &ctx).unwrap()).unwrap();
        to_bytes(&encode(&model, &OnnxSource::empty(&model.name)).unwrap())
    };
    let one = trained(1);
    assert!([2, 3].into_iter().all(|threads| trained(threads) == one));
}

#[test]
fn training_can_be_stopped() {
    let ctx = Ctx::new(1).unwrap();
    ctx.cancel();
    assert!(matches!(train::network(1, 40, &ctx), Err(SampleError::Cancelled(_))));
}

#[test]
fn installing_makes_a_project_and_leaves_what_the_person_changed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("sample");
    assert_eq!(install(Some(&root)).unwrap(), root);
    let (mut project, mut document) = crate::workbench::project::Project::open(&root).unwrap();
    assert_eq!(project.resolve(&document.model), root.join(MODEL));
    let ctx = Ctx::new(2).unwrap();
    let loaded = crate::pipeline::load::model(&project.resolve(&document.model), &ctx).unwrap();
    assert_eq!(loaded.hash(), document.model.hash);
    for (file, count) in [(&document.evaluate, EVALUATE_COUNT), (&document.calibrate, CALIBRATE_COUNT)] {
        let path = project.resolve(file.as_ref().unwrap());
        let port = loaded.model.data_input().unwrap();
        let data = crate::pipeline::load::dataset(&path, &document.preprocess, port, &ctx).unwrap();
        assert_eq!(data.len(), count);
    }
    document.notes = "mine".to_owned();
    project.save(&document).unwrap();
    install(Some(&root)).unwrap();
    assert_eq!(crate::workbench::project::Project::open(&root).unwrap().1.notes, "mine");
}
