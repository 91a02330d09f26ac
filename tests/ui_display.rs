//! Opens the real window on a display that nobody sees, and works in it with a mouse and a keyboard that nobody holds.
#![cfg(all(feature = "window-tests", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lapidary::workbench::project::Project;
use lapidary::workbench::sample;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    AtomEnum, BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConnectionExt as _, InputFocus, KEY_PRESS_EVENT, KEY_RELEASE_EVENT,
    MOTION_NOTIFY_EVENT, MapState, Window,
};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

/// An unoptimized window that is drawn by the processor, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_mins(2);
/// What is asked of the window is asked again after this long: it may not have been ready.
const AGAIN: Duration = Duration::from_secs(4);

/// Points of the window at its first size: in the third row of the layers their name, and the cell of 3 bits.
const NAME: (i16, i16) = (62, 231);
const THREE_BITS: (i16, i16) = (850, 231);

const CONTROL: u32 = 0xffe3;

/// A display; gone with the test.
struct Display {
    server: Child,
    name: String,
    connection: RustConnection,
    root: Window,
}

impl Drop for Display {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

impl Display {
    /// `None` where there is no Xvfb, or it does not start.
    fn start() -> Option<Self> {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1440x900x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut number = String::new();
        BufReader::new(server.stdout.take()?).read_line(&mut number).ok()?;
        let name = format!(":{}", number.trim());
        let Ok((connection, screen)) = RustConnection::connect(Some(&name)) else {
            drop(server.kill());
            return None;
        };
        let root = connection.setup().roots.get(screen)?.root;
        Some(Self { server, name, connection, root })
    }

    /// The program's window, once it is shown.
    fn window(&self) -> Option<Window> {
        let children = self.connection.query_tree(self.root).unwrap().reply().unwrap().children;
        children.into_iter().find(|&window| {
            let shown = self.connection.get_window_attributes(window).ok().and_then(|a| a.reply().ok());
            let name = self
                .connection
                .get_property(false, window, AtomEnum::WM_NAME, AtomEnum::ANY, 0, 64)
                .ok()
                .and_then(|p| p.reply().ok());
            shown.is_some_and(|a| a.map_state == MapState::VIEWABLE)
                && name.is_some_and(|n| String::from_utf8_lossy(&n.value).contains("Lapidary"))
        })
    }

    fn send(&self, kind: u8, detail: u8, (x, y): (i16, i16)) {
        self.connection.xtest_fake_input(kind, detail, 0, self.root, x, y, 0).unwrap().check().unwrap();
        // What follows at once is one event for the window; a hand is slower.
        std::thread::sleep(Duration::from_millis(60));
    }

    fn click(&self, at: (i16, i16)) {
        self.send(MOTION_NOTIFY_EVENT, 0, at);
        self.send(BUTTON_PRESS_EVENT, 1, at);
        self.send(BUTTON_RELEASE_EVENT, 1, at);
    }

    /// The code of the key that gives a sign without Shift.
    fn key(&self, sign: u32) -> u8 {
        let setup = self.connection.setup();
        let (low, high) = (setup.min_keycode, setup.max_keycode);
        let map = self.connection.get_keyboard_mapping(low, high - low + 1).unwrap().reply().unwrap();
        let row = map.keysyms.chunks(usize::from(map.keysyms_per_keycode)).position(|signs| signs[0] == sign).unwrap();
        low + u8::try_from(row).unwrap()
    }

    fn press(&self, signs: &[u32]) {
        let keys: Vec<u8> = signs.iter().map(|s| self.key(*s)).collect();
        for &key in &keys {
            self.send(KEY_PRESS_EVENT, key, (0, 0));
        }
        for &key in keys.iter().rev() {
            self.send(KEY_RELEASE_EVENT, key, (0, 0));
        }
    }

    fn open(&self, home: &Path, project: Option<&Path>) -> Opened<'_> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapidary"));
        command.arg("ui").args(project).env_remove("WAYLAND_DISPLAY").env("DISPLAY", &self.name).env("LC_ALL", "C");
        command.env_remove("LANGUAGE").env("WINIT_X11_SCALE_FACTOR", "1");
        command.env("LIBGL_ALWAYS_SOFTWARE", "1").env("XDG_DATA_HOME", home).env("XDG_CONFIG_HOME", home);
        let program = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut opened = Opened { display: self, program };
        opened.until("its window is there", |_| self.window().is_some());
        // Without a window manager nobody gives it the keyboard.
        let window = self.window().unwrap();
        self.connection.set_input_focus(InputFocus::PARENT, window, 0_u32).unwrap().check().unwrap();
        opened
    }
}

/// The running program.
struct Opened<'a> {
    display: &'a Display,
    program: Child,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        drop(self.program.kill());
        drop(self.program.wait());
    }
}

impl Opened<'_> {
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Display) -> bool) {
        let start = Instant::now();
        while !is_so(self.display) {
            assert!(self.program.try_wait().unwrap().is_none(), "the program has ended before {what}");
            assert!(start.elapsed() < PATIENCE, "never: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Does something until it has had its effect.
    fn works(&mut self, what: &str, act: impl Fn(&Display), is_so: impl Fn() -> bool) {
        let mut last: Option<Instant> = None;
        self.until(what, |display| {
            if last.is_none_or(|l| l.elapsed() > AGAIN) {
                act(display);
                last = Some(Instant::now());
            }
            is_so()
        });
    }

    fn close(mut self) {
        let start = Instant::now();
        let mut asked: Option<Instant> = None;
        let status = loop {
            if asked.is_none_or(|a| a.elapsed() > AGAIN) {
                self.display.press(&[CONTROL, u32::from('q')]);
                asked = Some(Instant::now());
            }
            if let Some(status) = self.program.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not close");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(status.success(), "{status}");
    }
}

/// The width that the project on disk gives the third layer, where its active recipe names it.
fn saved_bits(project: &Path) -> Option<u8> {
    let (_, document) = Project::open(project).ok()?;
    let recipe = document.active_recipe().ok()?;
    recipe.overrides.iter().rfind(|o| o.layers == "block1.pointwise")?.weights.map(lapidary::pipeline::configure::Scheme::bits)
}

#[test]
fn the_real_window_is_worked_in_and_opened_again() {
    let Some(display) = Display::start() else {
        eprintln!("skipped: no Xvfb; install the package xvfb");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let project = sample::install(Some(&folder.path().join("sample"))).unwrap();
    assert_eq!(saved_bits(&project), None);

    let mut window = display.open(&home, Some(&project));
    let save = |display: &Display| display.press(&[CONTROL, u32::from('s')]);
    let mouse = |display: &Display| {
        display.click(THREE_BITS);
        save(display);
    };
    window.works("a cell that was clicked is saved", mouse, || saved_bits(&project) == Some(3));
    let keys = |display: &Display| {
        display.click(NAME);
        display.press(&[u32::from('6')]);
        save(display);
    };
    window.works("a digit that was pressed is saved", keys, || saved_bits(&project) == Some(6));
    window.close();
    assert_eq!(saved_bits(&project), Some(6));

    // It remembers what was open, and what was made of it.
    let mut again = display.open(&home, None);
    let narrower = |display: &Display| {
        display.click(NAME);
        display.press(&[u32::from('4')]);
        save(display);
    };
    again.works("the project is open again", narrower, || saved_bits(&project) == Some(4));
    again.close();
}
