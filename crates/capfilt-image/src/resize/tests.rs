use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;

/// A result of Pillow: `tests/golden/resize.py` says how it is made.
#[derive(Deserialize)]
struct Case {
    content: String,
    seed: u32,
    from: [u32; 2],
    to: [u32; 2],
    sha256: String,
    samples: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Golden {
    pillow: String,
    cases: Vec<Case>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../../tests/golden/resize.json")).unwrap()
}

fn picture(content: &str, seed: u32, [width, height]: [u32; 2]) -> Picture {
    let mut state = seed;
    let samples = (0..3 * width * height).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let sample = state.to_be_bytes()[0];
        match content {
            "noise" => sample,
            "extremes" if sample < 128 => 0,
            "extremes" => 255,
            other => panic!("content `{other}` is unknown"),
        }
    });
    Picture::try_new(width, height, samples.collect()).unwrap()
}

fn every_kernel() -> Vec<Kernels> {
    let mut kernels = vec![Kernels::Baseline];
    #[cfg(target_arch = "x86_64")]
    if let Kernels::Avx2 = Kernels::best() {
        kernels.push(Kernels::Avx2);
    } else {
        // `eprintln!` would be hidden in a test that passes.
        std::io::Write::write_all(
            &mut std::io::stderr(),
            b"skipped: this machine has no AVX2\n",
        )
        .unwrap();
    }
    kernels
}

/// Bytes from hexadecimal digits.
pub(crate) fn bytes_of(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn every_value_equals_that_of_pillow_on_every_instruction_set() {
    let golden = golden();
    assert_eq!(golden.pillow, "12.3.0");
    assert!(
        golden.cases.len() >= 90,
        "only {} cases",
        golden.cases.len()
    );
    for Case {
        content,
        seed,
        from,
        to,
        sha256,
        samples,
    } in golden.cases
    {
        for kernels in every_kernel() {
            let result = resize_with(&picture(&content, seed, from), to[0], to[1], kernels);
            let name = format!("{content} {from:?} to {to:?} with {kernels:?}");
            if let Some(samples) = &samples {
                assert_eq!(result.pixels(), samples, "{name}");
            }
            let digest = Sha256::digest(result.pixels());
            assert_eq!(digest[..], bytes_of(&sha256), "{name}");
        }
    }
}

#[test]
fn the_same_size_is_the_same_picture() {
    let picture = picture("noise", 1, [13, 7]);
    assert_eq!(resize(&picture, 13, 7), picture);
}

#[test]
fn no_target_size_is_empty() {
    let picture = picture("noise", 1, [5, 4]);
    assert_eq!(resize(&picture, 0, 0), resize(&picture, 1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_plain_picture_keeps_its_colour(
        colour: [u8; 3],
        from in (1_u32..40, 1_u32..40),
        to in (1_u32..40, 1_u32..40),
    ) {
        let pixels = colour.repeat((from.0 * from.1) as usize);
        let picture = Picture::try_new(from.0, from.1, pixels).unwrap();
        let resized = resize(&picture, to.0, to.1);
        prop_assert_eq!(resized.pixels(), colour.repeat((to.0 * to.1) as usize));
    }

    #[test]
    fn results_overshoot_by_less_than_a_third_of_the_range(
        seed: u32,
        from in (1_u32..30, 1_u32..30),
        to in (1_u32..60, 1_u32..60),
    ) {
        // Samples within 100..=139. Each pass can leave the range of its input
        // by the sum of the negative weights, at most 0.145 of it.
        let noise = picture("noise", seed, [from.0, from.1]);
        let pixels = noise.pixels().iter().map(|sample| 100 + sample % 40).collect();
        let resized = resize(&Picture::try_new(from.0, from.1, pixels).unwrap(), to.0, to.1);
        prop_assert!(resized.pixels().iter().all(|sample| (86..=153).contains(sample)));
    }

    #[test]
    fn a_step_for_each_side_gives_the_same(
        seed: u32,
        from in (1_u32..50, 1_u32..50),
        to in (1_u32..50, 1_u32..50),
    ) {
        let picture = picture("noise", seed, [from.0, from.1]);
        let stepwise = resize(&resize(&picture, to.0, from.1), to.0, to.1);
        prop_assert_eq!(resize(&picture, to.0, to.1), stepwise);
    }
}
