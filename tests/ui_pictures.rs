//! Pictures of every workspace, held against those that somebody has looked at (`tests/pictures`). They are drawn by the
//! program's own renderer: it needs neither a display nor a graphics card, and draws the same everywhere.
//!
//! Where the look is to change: `LAPIDARY_PICTURES=new cargo test --features window-tests --test ui_pictures`, look at
//! them, and commit them.
#![cfg(feature = "window-tests")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use eframe::egui::{Context, RawInput, Theme};
use image::RgbImage;
use lapidary::workbench::sample;
use lapidary::workbench::ui::text::Language;
use lapidary::workbench::ui::{Look, Pictures, screenshots};
use std::path::{Path, PathBuf};

/// Pixels of a screen that one pixel of a picture stands for, across and down: what one sees from some way off, and a
/// quarter of the bytes.
const SHRUNK: u32 = 2;
/// Of 255: less is how machines round.
const SEEN: u8 = 24;
/// Pixels that may differ: paths that are shown are others on every machine.
const SHARE: f64 = 0.004;
/// The same where signs are drawn with a font of the system, which another machine has another of.
const SHARE_OF_OTHER_FONTS: f64 = 0.06;

fn shrunk(path: &Path) -> RgbImage {
    let image = image::open(path).unwrap().into_rgb8();
    image::imageops::resize(&image, image.width() / SHRUNK, image.height() / SHRUNK, image::imageops::FilterType::Triangle)
}

/// The share of pixels that one sees to differ; 1 where the sizes do.
fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
    if a.dimensions() != b.dimensions() {
        return 1.0;
    }
    let differs = |(p, q): &(&image::Rgb<u8>, &image::Rgb<u8>)| p.0.iter().zip(q.0).any(|(x, y)| x.abs_diff(y) > SEEN);
    let count = a.pixels().zip(b.pixels()).filter(differs).count();
    count as f64 / f64::from(a.width() * a.height())
}

/// Whether a font of this machine has Chinese signs.
fn has_chinese() -> bool {
    let ctx = Context::default();
    Language::use_system_fonts(&ctx);
    let mut written = false;
    // Twice: what a provider has is known from the next frame on.
    for _ in 0..2 {
        let mut output = ctx.run_ui(RawInput::default(), |ui| written = Language::Chinese.can_be_written(ui.ctx()));
        output.textures_delta.clear();
    }
    written
}

fn hold(name: &str, look: Look) {
    let most = if look.language == Language::English { SHARE } else { SHARE_OF_OTHER_FONTS };
    let folder = tempfile::tempdir().unwrap();
    let project = sample::install(Some(&folder.path().join("sample"))).unwrap();
    let drawn = folder.path().join("drawn");
    let files = screenshots(&project, &drawn, look, 2).unwrap();
    assert_eq!(files.len(), 5);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures");
    let is_new = std::env::var_os("LAPIDARY_PICTURES").is_some_and(|v| v == "new");
    let mut wrong = Vec::new();
    for file in files {
        let picture = shrunk(&file);
        let stem = file.file_stem().unwrap().to_string_lossy().replace("-light", "");
        let known: PathBuf = kept.join(format!("{name}-{stem}.png"));
        if is_new {
            std::fs::create_dir_all(&kept).unwrap();
            picture.save(&known).unwrap();
            continue;
        }
        let share = difference(&image::open(&known).unwrap().into_rgb8(), &picture);
        if share > most {
            wrong.push(format!("{} differs from {} in {:.2} % of its pixels", file.display(), known.display(), 100.0 * share));
        }
    }
    if !wrong.is_empty() {
        // To be looked at.
        drop(folder.keep());
        panic!("{}", wrong.join("\n"));
    }
}

const SMALL: Look =
    Look { size: [1280.0, 720.0], scale: 1.0, language: Language::English, pictures: Pictures::Workspaces(Theme::Dark) };

#[test]
fn dark() {
    hold("dark", SMALL);
}

#[test]
fn light() {
    hold("light", Look { pictures: Pictures::Workspaces(Theme::Light), ..SMALL });
}

#[test]
fn twice_as_large() {
    hold("twice", Look { size: [960.0, 600.0], scale: 2.0, ..SMALL });
}

#[test]
fn chinese() {
    if !has_chinese() {
        eprintln!("skipped: no font with Chinese signs; install one, for example fonts-wqy-microhei");
        return;
    }
    hold("chinese", Look { language: Language::Chinese, ..SMALL });
}

#[test]
fn what_one_sees_is_told_from_what_one_does_not() {
    let plain = RgbImage::from_pixel(100, 100, image::Rgb([40; 3]));
    let mut other = plain.clone();
    (0..50).for_each(|x| other.put_pixel(x, 7, image::Rgb([90; 3])));
    (0..90).for_each(|x| other.put_pixel(x, 9, image::Rgb([44; 3])));
    assert!((difference(&plain, &other) - 0.005).abs() < 1e-9);
    assert!(difference(&plain, &RgbImage::new(100, 101)) > SHARE);
}
