//! A sample that is ours: a small network and the images it was trained on.
pub mod draw;
mod network;
mod ops;
mod shapes;
mod train;

use crate::engine::context::Cancelled;

#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("training the sample: {0}")]
    Candle(#[from] candle_core::Error),
}

pub fn try_it(ctx: &crate::engine::context::Ctx) {
    let t = std::time::Instant::now();
    let net = train::network(1, ctx).unwrap();
    eprintln!("trained {:?}", t.elapsed());
    eprintln!("eval {}", train::accuracy(&net, draw::Split::Evaluate, 1, 1000, ctx).unwrap());
    eprintln!("calib-like 4000 {}", train::accuracy(&net, draw::Split::Calibrate, 1, 4000, ctx).unwrap());
    for c in &net.convs {
        let mut s = c.scale.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        s.sort_by(f32::total_cmp);
        eprintln!("{} {} scale {:?} ", c.spec.block, c.spec.part, [s[0], s[s.len()/4], s[s.len()/2], s[s.len()-1]]);
    }
}
