//! How long a frame of the window takes: `cargo bench --features window-tests --bench window [LAYERS]`. The real
//! application without a screen: logic, layout and tessellation, while a job scores layers and a pointer moves about.

use eframe::egui::{
    Context, Event, Modifiers, MouseWheelSource, MouseWheelUnit, Pos2, RawInput, Rect, TouchPhase, ViewportId, pos2, vec2,
};
use lapidary::engine::Ctx;
use lapidary::workbench::ui::act::Act;
use lapidary::workbench::ui::dialogs::TextPicker;
use lapidary::workbench::ui::layout::Workspace;
use lapidary::workbench::ui::session::Session;
use lapidary::workbench::ui::{App, Setup};
use lapidary::workbench::work::{self, NewProject};
use std::path::Path;
use std::time::{Duration, Instant};

const FRAMES: usize = 600;
const SIZE: [f32; 2] = [1440.0, 900.0];
/// Rows and columns of each layer's weights.
const SIDE: usize = 96;

/// A file of weights with so many layers.
fn weights(path: &Path, layers: usize) -> std::io::Result<()> {
    let size = SIDE * SIDE * 4;
    let entries: Vec<String> = (0..layers)
        .map(|i| {
            let (from, to) = (i * size, (i + 1) * size);
            format!(r#""model.layers.{i}.proj.weight":{{"dtype":"F32","shape":[{SIDE},{SIDE}],"data_offsets":[{from},{to}]}}"#)
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend((0..layers * SIDE * SIDE).flat_map(|i| (((i * 7919) % 2003) as f32 / 1001.0 - 1.0).to_le_bytes()));
    std::fs::write(path, file)
}

struct Screen {
    ctx: Context,
    app: App,
    started: Instant,
}

impl Screen {
    /// One frame: the time that it took, in milliseconds.
    fn frame(&mut self, events: Vec<Event>) -> f64 {
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, vec2(SIZE[0], SIZE[1]))),
            time: Some(self.started.elapsed().as_secs_f64()),
            events,
            ..RawInput::default()
        };
        let app = &mut self.app;
        let clock = Instant::now();
        let mut output = self.ctx.run_ui(input, |ui| {
            let ctx = ui.ctx().clone();
            app.logic(&ctx);
            app.draw(ui);
        });
        output.textures_delta.clear();
        let primitives = self.ctx.tessellate(output.shapes, output.pixels_per_point);
        std::hint::black_box((primitives.len(), ViewportId::ROOT));
        1e3 * clock.elapsed().as_secs_f64()
    }

    /// Frames with a pointer that moves over everything and a wheel that turns.
    fn frames(&mut self) -> Vec<f64> {
        (0..FRAMES)
            .map(|i| {
                let turn = i as f32 * 0.05;
                let at = pos2(0.5 * SIZE[0] * (1.0 + 0.95 * turn.sin()), 0.5 * SIZE[1] * (1.0 + 0.9 * (1.3 * turn).cos()));
                let delta = vec2(0.0, 40.0 * (0.2 * turn).sin());
                let wheel = Event::MouseWheel {
                    unit: MouseWheelUnit::Point,
                    delta,
                    phase: TouchPhase::Move,
                    source: MouseWheelSource::Wheel,
                    modifiers: Modifiers::NONE,
                };
                self.frame(vec![Event::PointerMoved(at), wheel])
            })
            .collect()
    }
}

fn of(sorted: &[f64], share: f64) -> f64 {
    sorted.get((share * sorted.len() as f64) as usize).copied().unwrap_or(f64::NAN)
}

/// Memory that the process holds, in megabytes; NaN where the system does not say.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()).map_or(f64::NAN, |kb| kb / 1024.0)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints what it finds")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let layers = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(1_000);
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("model.safetensors");
    weights(&model, layers)?;
    let project = folder.path().join("project");
    work::init(&project, &NewProject { model, ..NewProject::default() }, &Ctx::new(2)?)?;
    let clock = Instant::now();
    let ctx = Context::default();
    let setup = Setup { base: Ctx::new(2)?, session: Session::default(), picker: Box::new(TextPicker), open: Some(project) };
    let app = App::new(&ctx, setup);
    let mut screen = Screen { ctx, app, started: Instant::now() };
    screen.frame(Vec::new());
    println!("first frame after {:.0} ms", 1e3 * clock.elapsed().as_secs_f64());
    while screen.app.bench().is_none() {
        screen.frame(Vec::new());
        std::thread::sleep(Duration::from_millis(2));
    }
    println!("{layers} layers open after {:.0} ms", 1e3 * clock.elapsed().as_secs_f64());
    for workspace in Workspace::ALL {
        screen.app.ask(Act::Go(workspace));
        screen.frame(Vec::new());
        let busy = screen.app.is_busy();
        let mut times = screen.frames();
        times.sort_by(f64::total_cmp);
        let job = if busy { ", a job running" } else { "" };
        println!(
            "{:10} median {:.2} ms, p99 {:.2} ms, largest {:.2} ms{job}",
            workspace.name(),
            of(&times, 0.5),
            of(&times, 0.99),
            of(&times, 0.9999)
        );
    }
    println!("memory {:.0} MB, of them {:.0} MB weights", resident(), (layers * SIDE * SIDE * 4) as f64 / 1e6);
    Ok(())
}
