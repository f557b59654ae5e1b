use std::path::PathBuf;

use super::*;

fn file(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/images");
    fs_err::read(folder.join(name)).unwrap()
}

/// The number of samples in full size and at one half.
fn taken(bytes: &[u8]) -> [Option<usize>; 2] {
    let segments = Segments::read(bytes).unwrap();
    let colours = segments.colours().unwrap();
    let Ok(scans) = segments.scans() else {
        return [None, None];
    };
    let full = raster(&segments, &scans, colours).map(|raster| raster.samples.len());
    let half = scaled(&segments, &scans, colours, 20, 12).map(|samples| samples.len());
    [full, half]
}

#[test]
fn the_library_takes_the_kinds_that_are_common() {
    let (pixels, half) = (40 * 24, 20 * 12);
    for (name, channels) in [
        ("grey.jpg", 1),
        ("rgb-444.jpg", 3),
        ("rgb-422.jpg", 3),
        ("rgb-420.jpg", 3),
        ("restart.jpg", 3),
        ("junk-between-segments.jpg", 3),
    ] {
        let expected = [Some(channels * pixels), Some(channels * half)];
        assert_eq!(taken(&file(name)), expected, "{name}");
    }
    for name in [
        "progressive.jpg",
        "scan-by-scan.jpg",
        "cmyk.jpg",
        "ycck.jpg",
    ] {
        assert_eq!(taken(&file(name)), [None, None], "{name}");
    }
}

#[test]
fn the_library_is_content_only_with_all_of_the_data() {
    for name in ["rgb-420.jpg", "grey.jpg", "restart.jpg"] {
        let whole = file(name);
        let (data, end) = whole.split_at(whole.len() - 2);
        let scan = data.windows(2).position(|pair| pair == [0xff, 0xda]);
        for length in scan.unwrap() + 14..data.len() {
            let cut = [&data[..length], end].concat();
            assert_eq!(taken(&cut), [None, None], "{name} cut at {length}");
        }
    }
}

#[test]
fn a_picture_that_it_warns_of_is_judged_as_without_it() {
    let whole = file("rgb-420.jpg");
    let (data, end) = whole.split_at(whole.len() - 2);
    let longer = [data, &[0; 64], end].concat();
    assert_eq!(taken(&longer), [None, None]);
    assert!(super::super::raster(&longer).is_ok());
}
