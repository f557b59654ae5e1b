use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    change: String,
    numbers: Vec<f64>,
    scale: usize,
    size: [usize; 2],
    samples: String,
}

#[derive(Deserialize)]
struct Golden {
    size: [usize; 2],
    cases: Vec<Case>,
}

/// The picture of `tests/golden/augment.py`, each of its pixels `scale` x `scale` times.
fn picture([width, height]: [usize; 2], scale: usize) -> Picture {
    let samples: Vec<u8> = (0..3 * width * height)
        .map(|i| u8::try_from((17 * i + (i % 7) * (i % 11)) % 200 + 20).unwrap())
        .collect();
    let mut pixels = Vec::new();
    for y in 0..height * scale {
        for x in 0..width * scale {
            let at = 3 * (y / scale * width + x / scale);
            pixels.extend_from_slice(&samples[at..at + 3]);
        }
    }
    let side = |side: usize| u32::try_from(side * scale).unwrap();
    Picture::try_new(side(width), side(height), pixels).unwrap()
}

fn bytes_of(digits: &str) -> Vec<u8> {
    let digits = digits.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole numbers and factors"
)]
fn changed(case: &Case, source: Picture) -> Picture {
    let mut canvas = Canvas::from(source);
    let number = |index: usize| case.numbers[index];
    let whole = |index: usize| number(index) as usize;
    match case.change.as_str() {
        "crop" => {
            let part = canvas.crop(whole(0), whole(1), whole(2), whole(3));
            let size = number(4) as u32;
            return resize(&part.into_picture().unwrap(), size, size);
        }
        "flip" => canvas.flip(),
        "auto-contrast" => Operation::AutoContrast.apply(&mut canvas),
        "equalize" => Operation::Equalize.apply(&mut canvas),
        "invert" => Operation::Invert.apply(&mut canvas),
        "posterize" => Operation::Posterize(number(0) as u32).apply(&mut canvas),
        "solarize" => Operation::Solarize(number(0)).apply(&mut canvas),
        "color" => Operation::Color(number(0) as f32).apply(&mut canvas),
        "contrast" => Operation::Contrast(number(0) as f32).apply(&mut canvas),
        "sharpness" => Operation::Sharpness(number(0) as f32).apply(&mut canvas),
        "rotate" => Operation::Rotate(number(0)).apply(&mut canvas),
        "shear-x" => Operation::ShearX(number(0)).apply(&mut canvas),
        "shear-y" => Operation::ShearY(number(0)).apply(&mut canvas),
        "translate-x" => Operation::TranslateX(number(0)).apply(&mut canvas),
        "translate-y" => Operation::TranslateY(number(0)).apply(&mut canvas),
        other => panic!("change `{other}` is unknown"),
    }
    canvas.into_picture().unwrap()
}

#[test]
fn changes_are_those_of_pillow() {
    let golden: Golden =
        serde_json::from_str(include_str!("../../../../../tests/golden/augment.json")).unwrap();
    let mut different = 0;
    for case in &golden.cases {
        let name = format!("{} {:?}", case.change, case.numbers);
        let got = changed(case, picture(golden.size, case.scale));
        assert_eq!(
            [got.width() as usize, got.height() as usize],
            case.size,
            "{name}"
        );
        let expected = bytes_of(&case.samples);
        assert_eq!(got.pixels().len(), expected.len(), "{name}");
        for (at, (&got, &expected)) in got.pixels().iter().zip(&expected).enumerate() {
            assert!(
                got.abs_diff(expected) <= 1,
                "{name} at {at}: {got}, expected {expected}"
            );
            different += usize::from(got != expected);
        }
    }
    assert_eq!(golden.cases.len(), 37);
    assert_eq!(different, 0, "samples differ by one level");
}

#[test]
fn crops_have_areas_and_aspects_in_their_ranges_and_lie_inside() {
    let mut draws = Draws::new(7, "test", &[], "");
    for _ in 0..2_000 {
        let (width, height) = (40 + draws.place(400), 40 + draws.place(400));
        let part = part(width, height, [0.2, 1.0], &mut draws);
        assert!(part.left + part.width <= width && part.top + part.height <= height);
        let number = |number: usize| f64::from(u32::try_from(number).unwrap());
        let area = number(part.width * part.height) / number(width * height);
        let is_middle = width.max(height) > width.min(height) * 4 / 3;
        assert!((0.18..=1.0).contains(&area) || is_middle, "{area}");
        let aspect = number(part.width) / number(part.height);
        assert!(
            (0.7..1.4).contains(&aspect),
            "{part:?} of {width} x {height}"
        );
    }
}

#[test]
fn very_wide_pictures_give_their_middle() {
    let mut draws = Draws::new(7, "test", &[], "");
    let part = part(1_000, 3, [0.9, 1.0], &mut draws);
    let expected = Part {
        left: 498,
        top: 0,
        width: 4,
        height: 3,
    };
    assert_eq!(part, expected);
}

#[test]
fn every_operation_of_blip_is_drawn_and_half_are_done() {
    let mut draws = Draws::new(1, "test", &[], "");
    let drawn: Vec<Operation> = (0..5_000).flat_map(|_| rand_augment(&mut draws)).collect();
    let count = |operation: Operation| drawn.iter().filter(|&&one| one == operation).count();
    // Three of ten change nothing, and half of the others are not done.
    let identities = count(Operation::Identity);
    assert!((6_300..6_700).contains(&identities), "{identities}");
    for operation in [
        Operation::AutoContrast,
        Operation::Equalize,
        Operation::Rotate(15.0),
        Operation::Rotate(-15.0),
        Operation::ShearX(0.15),
        Operation::ShearY(-0.15),
        Operation::TranslateX(5.0),
        Operation::TranslateY(-5.0),
    ] {
        let count = count(operation);
        assert!((180..600).contains(&count), "{operation:?}: {count}");
    }
}

#[test]
fn levels_of_auto_augment_are_those_of_torchvision() {
    let bits = (0..10).map(|level| Verb::Posterize.at(level, true));
    let expected = [8, 8, 7, 7, 6, 6, 5, 5, 4, 4].map(Operation::Posterize);
    assert_eq!(bits.collect::<Vec<_>>(), expected);
    assert_eq!(Verb::Rotate.at(9, false), Operation::Rotate(-30.0));
    assert_eq!(Verb::Color.at(0, false), Operation::Color(1.0));
    assert_eq!(Verb::Contrast.at(8, true), Operation::Contrast(1.8));
    assert_eq!(Verb::Solarize.at(0, true), Operation::Solarize(255.0));
}
