//! A comparison as a page to hand on.

use super::work::{Opened, Split, WorkError};
use crate::engine::Ctx;
use crate::pipeline::compare::{changed_samples, html};
use crate::pipeline::evaluate::Report;
use crate::pipeline::load::{Dataset, Picture};
use image::ImageEncoder as _;
use image::codecs::png::PngEncoder;
use std::collections::BTreeMap;

impl Opened {
    /// One HTML page about `reports`, which were measured on `split` with `limit` samples; with the pictures of samples
    /// whose prediction changed, where the samples are pictures.
    ///
    /// # Errors
    /// When the data cannot be read.
    pub fn page(&self, reports: &[&Report], split: Split, limit: Option<usize>, ctx: &Ctx) -> Result<String, WorkError> {
        let data = self.dataset(split, limit, ctx)?;
        let mut samples: Vec<usize> = changed_samples(reports).iter().take(html::MOST_SAMPLES).map(|c| c.sample).collect();
        samples.dedup();
        // Reports of other samples speak of other pictures.
        let is_same = reports.iter().all(|r| r.data_key == data.key());
        let pictures = if is_same && !data.is_text() { pictures(&data, &samples) } else { BTreeMap::new() };
        let title = format!("{}: recipes compared", self.document.name);
        Ok(html::page(reports, &html::Beside { title, classes: data.classes.clone(), pictures }))
    }
}

/// Pictures as addresses that hold them; those that cannot be read are left out.
fn pictures(data: &Dataset, samples: &[usize]) -> BTreeMap<usize, String> {
    samples.iter().filter_map(|s| Some((*s, address(&data.picture(*s).ok()?)?))).collect()
}

fn address(picture: &Picture) -> Option<String> {
    let mut png = Vec::new();
    let (width, height) = (u32::try_from(picture.width).ok()?, u32::try_from(picture.height).ok()?);
    PngEncoder::new(&mut png).write_image(&picture.rgb, width, height, image::ExtendedColorType::Rgb8).ok()?;
    Some(format!("data:image/png;base64,{}", base64(&png)))
}

/// Base 64 (RFC 4648, section 4), padded.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let byte = |i: usize| u32::from(part.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let sign = SIGNS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= part.len() { char::from(sign) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_specification() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[251, 255, 191]), "+/+/");
    }
}
