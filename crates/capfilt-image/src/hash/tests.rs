use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;
use crate::resize::tests::bytes_of;

/// A result of `ImageHash`: `tests/golden/hash.py` says how it is made.
#[derive(Deserialize)]
struct Case {
    size: [u32; 2],
    /// Where the pixels of a file begin in `image.rgb`.
    #[serde(default)]
    at: usize,
    #[serde(default)]
    seed: u32,
    grey: String,
    hash: String,
    zeros: usize,
}

#[derive(Deserialize)]
struct Golden {
    imagehash: String,
    noise: Vec<Case>,
    files: Vec<Case>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../../tests/golden/hash.json")).unwrap()
}

fn noise(seed: u32, [width, height]: [u32; 2]) -> Picture {
    let mut state = seed;
    let samples = (0..3 * width * height).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    Picture::try_new(width, height, samples.collect()).unwrap()
}

fn of_file(case: &Case) -> Picture {
    let values = include_bytes!("../../../../tests/golden/image.rgb");
    let [width, height] = case.size;
    let end = case.at + 3 * (width * height) as usize;
    Picture::try_new(width, height, values[case.at..end].to_vec()).unwrap()
}

#[test]
fn every_hash_equals_that_of_imagehash() {
    let golden = golden();
    assert_eq!(golden.imagehash, "4.3.2");
    let noise = golden
        .noise
        .iter()
        .map(|case| (case, noise(case.seed, case.size)));
    let files = golden.files.iter().map(|case| (case, of_file(case)));
    let mut compared = 0;
    for (case, picture) in noise.chain(files) {
        let name = format!("{picture:?} with seed {} at {}", case.seed, case.at);
        assert_eq!(
            Sha256::digest(small_grey(&picture))[..],
            bytes_of(&case.grey),
            "{name}"
        );
        let hash = perceptual_hash(&picture).map(|hash| format!("{hash:016x}"));
        let expected = (case.zeros < 32).then(|| case.hash.clone());
        assert_eq!(hash, expected, "{name}");
        compared += usize::from(hash.is_some());
    }
    assert!(compared >= 70, "only {compared} hashes were compared");
}

#[test]
fn a_picture_with_nothing_in_it_has_no_hash() {
    let of = |pixel: fn(u32, u32) -> u8| {
        let places = (0..64).flat_map(|y| (0..64).map(move |x| (x, y)));
        let pixels = places.flat_map(|(x, y)| [pixel(x, y); 3]).collect();
        perceptual_hash(&Picture::try_new(64, 64, pixels).unwrap())
    };
    assert_eq!(of(|_, _| 0), None, "black");
    assert_eq!(of(|_, _| 255), None, "white");
    assert_eq!(
        of(|x, _| if x % 16 < 5 { 200 } else { 20 }),
        None,
        "stripes"
    );
    let square = |x: u32, y: u32| {
        if x.min(y) >= 16 && x.max(y) < 48 {
            9
        } else {
            240
        }
    };
    assert_eq!(of(square), None, "a square");
    assert!(
        of(|x, y| if 2 * x + y < 60 { 9 } else { 240 }).is_some(),
        "a corner"
    );
}

#[test]
fn a_tie_at_the_median_is_decided_alike_on_both_sides() {
    // Its own mirror image along the diagonal: coefficients come in equal pairs.
    let pixels = (0..48_u32)
        .flat_map(|y| (0..48_u32).map(move |x| u8::try_from(x * y % 89 + (x + y)).unwrap()))
        .flat_map(|grey| [grey; 3]);
    let picture = Picture::try_new(48, 48, pixels.collect()).unwrap();
    let hash = perceptual_hash(&picture).unwrap();
    for (row, column) in (0..8).flat_map(|row| (0..8).map(move |column| (row, column))) {
        let bit = |row: u32, column: u32| (hash >> (63 - (8 * row + column))) & 1;
        assert_eq!(bit(row, column), bit(column, row), "({row}, {column})");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn half_of_the_bits_are_set(seed: u32, width in 2_u32..200, height in 2_u32..200) {
        let hash = perceptual_hash(&noise(seed, [width, height]));
        prop_assume!(hash.is_some());
        let set = hash.map(u64::count_ones);
        // With fewer pixels than frequencies, coefficients are zero, and the median may be one of them.
        if width.min(height) < 8 {
            prop_assert!(set <= Some(32), "{:?}", set);
        } else {
            prop_assert_eq!(set, Some(32));
        }
    }
}

#[test]
fn fewer_bits_are_set_where_the_median_is_zero() {
    let hash = perceptual_hash(&noise(0, [40, 2]));
    assert_eq!(hash.map(u64::count_ones), Some(17));
}
