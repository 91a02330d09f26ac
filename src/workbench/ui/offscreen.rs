//! The window without a screen: egui's meshes drawn on the processor, for pictures of the window
//! on machines that have neither display nor graphics card.

use eframe::egui::epaint::{ClippedPrimitive, Mesh, Primitive, Vertex};
use eframe::egui::{Color32, ColorImage, ImageData, Pos2, Rect, TextureFilter, TextureId, TextureOptions, TexturesDelta};
use std::collections::HashMap;

/// Textures as egui announces them.
#[derive(Default)]
pub struct Textures(HashMap<TextureId, Texture>);

struct Texture {
    image: ColorImage,
    options: TextureOptions,
}

impl Textures {
    /// Takes new and changed textures over. To be called with every frame's delta.
    pub fn apply(&mut self, mut delta: TexturesDelta) {
        for (id, changes) in std::mem::take(&mut delta.set) {
            for change in changes {
                let ImageData::Color(image) = &change.image;
                match (change.pos, self.0.get_mut(&id)) {
                    (Some(at), Some(texture)) => patch(&mut texture.image, image, at),
                    (Some(_), None) => {}
                    (None, _) => drop(self.0.insert(id, Texture { image: (**image).clone(), options: change.options })),
                }
            }
        }
        for id in std::mem::take(&mut delta.free) {
            self.0.remove(&id);
        }
    }
}

fn patch(whole: &mut ColorImage, part: &ColorImage, [x, y]: [usize; 2]) {
    let ([width, height], [part_width, part_height]) = (whole.size, part.size);
    let columns = part_width.min(width.saturating_sub(x));
    for row in 0..part_height.min(height.saturating_sub(y)) {
        let (from, to) = (row * part_width, (y + row) * width + x);
        whole.pixels[to..to + columns].copy_from_slice(&part.pixels[from..from + columns]);
    }
}

impl Texture {
    /// The color at `uv`, premultiplied, 0 to 1.
    fn sample(&self, uv: Pos2) -> [f32; 4] {
        let [width, height] = self.image.size;
        let (x, y) = (uv.x * width as f32, uv.y * height as f32);
        if self.options.magnification == TextureFilter::Nearest {
            return self.texel(x.floor() as i64, y.floor() as i64);
        }
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (dx, dy) = (x - left, y - top);
        let (left, top) = (left as i64, top as i64);
        let [a, b, c, d] = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(i, j)| self.texel(left + i, top + j));
        std::array::from_fn(|i| (a[i] * (1.0 - dx) + b[i] * dx) * (1.0 - dy) + (c[i] * (1.0 - dx) + d[i] * dx) * dy)
    }

    fn texel(&self, x: i64, y: i64) -> [f32; 4] {
        let [width, height] = self.image.size;
        let x = x.clamp(0, width as i64 - 1) as usize;
        let y = y.clamp(0, height as i64 - 1) as usize;
        self.image.pixels.get(y * width + x).map_or([0.0; 4], |c| c.to_array().map(|v| f32::from(v) / 255.0))
    }
}

/// Draws a frame's meshes on a ground. `size` is in pixels.
#[must_use]
pub fn draw(
    primitives: &[ClippedPrimitive],
    textures: &Textures,
    size: [usize; 2],
    pixels_per_point: f32,
    ground: Color32,
) -> ColorImage {
    let mut image = ColorImage::filled(size, ground);
    for ClippedPrimitive { clip_rect, primitive } in primitives {
        if let Primitive::Mesh(mesh) = primitive {
            draw_mesh(&mut image, mesh, textures, *clip_rect * pixels_per_point, pixels_per_point);
        }
    }
    image
}

/// Pixels from `start` up to `end` of one axis.
type Span = std::ops::Range<i64>;

fn draw_mesh(image: &mut ColorImage, mesh: &Mesh, textures: &Textures, clip: Rect, scale: f32) {
    let Some(texture) = textures.0.get(&mesh.texture_id) else { return };
    let [width, height] = image.size;
    let span = |low: f32, high: f32, limit: usize| low.round().max(0.0) as i64..high.round().clamp(0.0, limit as f32) as i64;
    let (columns, rows) = (span(clip.min.x, clip.max.x, width), span(clip.min.y, clip.max.y, height));
    for indices in mesh.indices.as_chunks::<3>().0 {
        let corners = indices.map(|i| mesh.vertices.get(i as usize).copied());
        if let [Some(a), Some(b), Some(c)] = corners {
            draw_triangle(image, [a, b, c].map(|v| Vertex { pos: v.pos * scale, ..v }), texture, &columns, &rows);
        }
    }
}

/// Twice the signed area of the triangle `a`, `b`, `p`.
fn edge(a: Pos2, b: Pos2, p: Pos2) -> f32 {
    (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x)
}

fn draw_triangle(image: &mut ColorImage, corners: [Vertex; 3], texture: &Texture, columns: &Span, rows: &Span) {
    let [a, mut b, mut c] = corners;
    let mut area = edge(a.pos, b.pos, c.pos);
    if area < 0.0 {
        std::mem::swap(&mut b, &mut c);
        area = -area;
    }
    if !(area > 0.0 && area.is_finite()) {
        return;
    }
    let corners = [a, b, c];
    let (xs, ys) = (corners.map(|v| v.pos.x), corners.map(|v| v.pos.y));
    let low = |v: [f32; 3]| v[0].min(v[1]).min(v[2]).floor() as i64;
    let high = |v: [f32; 3]| v[0].max(v[1]).max(v[2]).ceil() as i64;
    let flat = [a, b, c].iter().all(|v| v.color == a.color && v.uv == a.uv);
    let solid = flat.then(|| shade(texture.sample(a.uv), a.color.to_array().map(f32::from)));
    for y in low(ys).max(rows.start)..high(ys).min(rows.end) {
        for x in low(xs).max(columns.start)..high(xs).min(columns.end) {
            let center = Pos2::new(x as f32 + 0.5, y as f32 + 0.5);
            let Some(weights) = inside(&corners, center) else { continue };
            let color = solid.unwrap_or_else(|| {
                let weights = weights.map(|w| w / area);
                let uv = (0..3).fold(Pos2::ZERO, |sum, i| sum + corners[i].uv.to_vec2() * weights[i]);
                let tint =
                    std::array::from_fn(|k| (0..3).map(|i| f32::from(corners[i].color.to_array()[k]) * weights[i]).sum::<f32>());
                shade(texture.sample(uv), tint)
            });
            blend(&mut image.pixels[y as usize * image.size[0] + x as usize], color);
        }
    }
}

/// The unnormalized barycentric weights of `p`, if it lies inside. A point on an edge that two
/// triangles share belongs to one of them only, else the edge would be blended twice.
fn inside(corners: &[Vertex; 3], p: Pos2) -> Option<[f32; 3]> {
    let mut weights = [0.0; 3];
    for (i, weight) in weights.iter_mut().enumerate() {
        let (from, to) = (corners[(i + 1) % 3].pos, corners[(i + 2) % 3].pos);
        *weight = edge(from, to, p);
        let owned = to.y < from.y || (to.y == from.y && to.x > from.x);
        if *weight < 0.0 || (*weight == 0.0 && !owned) {
            return None;
        }
    }
    Some(weights)
}

/// Texture times vertex color, as egui has it: premultiplied, in gamma space. 0 to 255.
fn shade(texel: [f32; 4], tint: [f32; 4]) -> [f32; 4] {
    std::array::from_fn(|i| texel[i] * tint[i])
}

fn blend(pixel: &mut Color32, source: [f32; 4]) {
    let keep = 1.0 - source[3] / 255.0;
    let old = pixel.to_array();
    let new: [u8; 4] = std::array::from_fn(|i| (source[i] + f32::from(old[i]) * keep).round().clamp(0.0, 255.0) as u8);
    *pixel = Color32::from_rgba_premultiplied(new[0], new[1], new[2], new[3]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use eframe::egui::{Context, RawInput, Shape, vec2};

    fn frame(shapes: &[Shape]) -> ColorImage {
        let ctx = Context::default();
        let screen = Rect::from_min_size(Pos2::ZERO, vec2(32.0, 32.0));
        let mut textures = Textures::default();
        let mut output = ctx.run_ui(RawInput { screen_rect: Some(screen), ..RawInput::default() }, |ui| {
            ui.painter().extend(shapes.to_vec());
        });
        textures.apply(std::mem::take(&mut output.textures_delta));
        let primitives = ctx.tessellate(std::mem::take(&mut output.shapes), 1.0);
        draw(&primitives, &textures, [32, 32], 1.0, Color32::BLACK)
    }

    #[test]
    fn fills_exactly_once() {
        let rect = Rect::from_min_max(Pos2::new(4.0, 4.0), Pos2::new(20.0, 12.0));
        let mut mesh = Mesh::default();
        mesh.add_colored_rect(rect, Color32::from_rgba_premultiplied(100, 0, 0, 128));
        let image = frame(&[Shape::mesh(mesh)]);
        let lit: Vec<&Color32> = image.pixels.iter().filter(|c| c.r() > 0).collect();
        assert_eq!(lit.len(), 16 * 8);
        assert!(lit.iter().all(|c| c.r() == 100), "a diagonal blended twice would be brighter");
    }

    #[test]
    fn draws_text() {
        let ctx = Context::default();
        let screen = Rect::from_min_size(Pos2::ZERO, vec2(64.0, 32.0));
        let mut textures = Textures::default();
        let mut output = ctx.run_ui(RawInput { screen_rect: Some(screen), ..RawInput::default() }, |ui| {
            ui.label("Hello");
        });
        textures.apply(std::mem::take(&mut output.textures_delta));
        let primitives = ctx.tessellate(std::mem::take(&mut output.shapes), 1.0);
        let image = draw(&primitives, &textures, [64, 32], 1.0, Color32::BLACK);
        let bright = image.pixels.iter().filter(|c| c.g() > 60).count();
        assert!((30..600).contains(&bright), "{bright} bright pixels");
    }
}
