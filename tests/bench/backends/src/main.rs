//! burn's processor backends at one plain training step, which `backends.py` does with PyTorch: a transformer of six layers of
//! width 384 with six heads, 32 sequences of 64 vectors, the mean square of what comes out, AdamW.
//!
//! ```sh
//! apt-get install libopenblas-dev
//! cargo run --release --manifest-path tests/bench/backends/Cargo.toml -- flex
//! cargo run --release --manifest-path tests/bench/backends/Cargo.toml -- ndarray
//! python tests/bench/backends/backends.py
//! ```
//!
//! Prints the seconds of each of ten steps after a first one, and their median.

use std::time::Instant;

use burn::nn::transformer::{TransformerEncoderConfig, TransformerEncoderInput};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Tensor};

#[expect(deprecated, reason = "burn means to drop NdArray for Flex")]
fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let device = match name.as_str() {
        "flex" => Device::flex(),
        "ndarray" => Device::ndarray(),
        other => {
            eprintln!("`{other}` is neither `flex` nor `ndarray`");
            std::process::exit(2);
        }
    }
    .autodiff();
    let mut model = TransformerEncoderConfig::new(384, 1536, 6, 6)
        .with_dropout(0.0)
        .with_norm_first(true)
        .init(&device);
    let mut optimizer = AdamWConfig::new().init();
    let x = Tensor::<3>::random([32, 64, 384], Distribution::Normal(0.0, 1.0), &device);
    let mut seconds = Vec::new();
    for step in 0..=10 {
        let begun = Instant::now();
        let y = model.forward(TransformerEncoderInput::new(x.clone()));
        let loss = (y.clone() * y).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-4, model, gradients);
        let loss: f32 = loss.into_scalar();
        if step > 0 {
            seconds.push(begun.elapsed().as_secs_f64());
            println!(
                "{step}: loss {loss:.4}, {:.3} s",
                seconds[seconds.len() - 1]
            );
        }
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "{name}: median {:.3} s",
        f64::midpoint(seconds[4], seconds[5])
    );
}
