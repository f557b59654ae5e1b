//! Which kinds of picture are read: against Pillow, and in `docs/formats.md`.

use std::fmt::Write as _;

use super::*;

/// A kind of picture: `tests/golden/formats.py` says how they are made.
#[derive(Deserialize)]
struct Kind {
    format: String,
    #[serde(rename = "kind")]
    name: String,
    file: String,
    read: bool,
    tolerance: Option<u8>,
    blip: Option<View>,
    upright: Option<View>,
}

#[derive(Deserialize)]
struct Kinds {
    pillow: String,
    cases: Vec<Kind>,
}

/// What the pictures of `tests/golden/images` show, by format.
const IMAGES: &[(&str, &[(&str, &str)])] = &[
    (
        "JPEG",
        &[
            ("rgb-444.jpg", "baseline"),
            ("rgb-420.jpg", "baseline, chroma halved both ways"),
            ("rgb-422.jpg", "baseline, chroma halved one way"),
            ("scan-by-scan.jpg", "baseline, a scan for each component"),
            ("restart.jpg", "restart markers"),
            ("progressive.jpg", "progressive"),
            ("grey.jpg", "grey"),
            ("adobe-rgb.jpg", "RGB"),
            ("cmyk.jpg", "CMYK"),
            ("ycck.jpg", "YCCK"),
            ("orientation-6.jpg", "turned by EXIF"),
        ],
    ),
    (
        "PNG",
        &[
            ("rgb.png", "RGB"),
            ("rgba.png", "RGB and opacity"),
            ("grey-alpha.png", "grey and opacity"),
            ("grey-1-bit.png", "grey of 1 bit"),
            ("grey-2-bits.png", "grey of 2 bit"),
            ("palette.png", "palette"),
            ("palette-trns.png", "palette with opacity"),
            ("rgb-trns.png", "one transparent colour"),
            ("rgb-16.png", "RGB of 16 bit"),
            ("rgba-16.png", "RGB and opacity of 16 bit"),
            ("orientation-6.png", "turned by EXIF"),
        ],
    ),
    (
        "WebP",
        &[
            ("lossy.webp", "lossy"),
            ("lossy-alpha.webp", "lossy with opacity"),
            ("lossless.webp", "lossless"),
            ("lossless-alpha.webp", "lossless with opacity"),
            ("animated.webp", "animation"),
            ("orientation-8.webp", "turned by EXIF"),
        ],
    ),
    (
        "GIF",
        &[
            ("plain.gif", "still"),
            ("transparent.gif", "one transparent colour"),
            ("interlaced.gif", "interlaced"),
            ("animated.gif", "animation"),
            ("offset-frame.gif", "a first frame smaller than the picture"),
        ],
    ),
    (
        "BMP",
        &[
            ("rgb.bmp", "RGB"),
            ("palette.bmp", "palette"),
            ("grey-1-bit.bmp", "1 bit"),
            ("alpha.bmp", "RGB and opacity"),
        ],
    ),
];

fn kinds() -> Vec<Kind> {
    let json = fs_err::read(golden_folder().join("formats.json")).unwrap();
    let kinds: Kinds = serde_json::from_slice(&json).unwrap();
    assert_eq!(kinds.pillow, "12.3.0");
    assert!(kinds.cases.len() >= 100, "only {}", kinds.cases.len());
    kinds.cases
}

fn bytes(kind: &Kind) -> Vec<u8> {
    fs_err::read(golden_folder().join("formats").join(&kind.file)).unwrap()
}

/// Whether pictures of this kind can be read by what was built.
fn is_built(kind: &Kind) -> bool {
    cfg!(feature = "avif") || kind.format != "AVIF"
}

#[test]
fn every_kind_is_what_pillow_sees_or_refused_by_name() {
    let values = fs_err::read(golden_folder().join("formats.rgb")).unwrap();
    let mut wrong = Vec::new();
    for kind in kinds().into_iter().filter(is_built) {
        let bytes = bytes(&kind);
        let name = format!("{} {}, {}", kind.format, kind.file, kind.name);
        for (view, options) in [
            (kind.blip, AS_BLIP),
            (kind.upright, DecodeOptions::default()),
        ] {
            match decode(&bytes, &options) {
                Ok(picture) if kind.read => {
                    let probed = probe(&bytes, &options).unwrap();
                    assert_eq!(
                        [probed.width, probed.height],
                        [picture.width(), picture.height()],
                        "{name}"
                    );
                    assert_eq!(check(&bytes, &options), Ok(probed), "{name}");
                    let Some(view) = view else { continue };
                    let difference = largest_difference(&picture, &view, &values, &name);
                    if Some(difference) > kind.tolerance {
                        wrong.push(format!("{name}: {difference}"));
                    }
                }
                Err(DecodeError::Unsupported { .. }) if !kind.read => {}
                result => wrong.push(format!("{name}: {result:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn kinds_that_pillow_reads_otherwise_are_equal_to_others() {
    let kinds = kinds();
    let named = |format: &str, name: &str| {
        let found = kinds
            .iter()
            .find(|kind| kind.format == format && kind.name == name);
        bytes(found.unwrap_or_else(|| panic!("no {format} {name}")))
    };
    // Pillow does not read the first.
    let [plain, packed] = ["YCbCr", "YCbCr, LZW"].map(|name| decode_default(&named("TIFF", name)));
    assert_eq!(plain.unwrap(), packed.unwrap());
    // The high byte, as everywhere, where Pillow cuts off at 255.
    let wide = named("TIFF", "grey of 16 bit");
    let picture = decode_default(&wide).unwrap();
    let samples = wide[8..].as_chunks::<2>().0;
    for (pixel, sample) in picture.pixels().as_chunks::<3>().0.iter().zip(samples) {
        assert_eq!(*pixel, [sample[1]; 3]);
    }
    if cfg!(feature = "avif") {
        // The same picture, once with its opacity multiplied into the colours.
        let [plain, multiplied] = ["opacity, YUV 444 of 10 bit", "opacity, multiplied"]
            .map(|name| decode_default(&named("AVIF", name)).unwrap());
        let pairs = plain.pixels().iter().zip(multiplied.pixels());
        let differences = pairs.map(|(a, b)| a.abs_diff(*b));
        assert!(differences.max() < Some(12));
    }
}

#[cfg(not(feature = "avif"))]
#[test]
fn without_its_feature_avif_is_refused_with_what_to_do() {
    for kind in kinds().iter().filter(|kind| kind.format == "AVIF") {
        let bytes = bytes(kind);
        let options = DecodeOptions::default();
        for result in [
            probe(&bytes, &options).map(drop),
            check(&bytes, &options).map(drop),
            decode_default(&bytes).map(drop),
        ] {
            assert_eq!(
                result.unwrap_err().to_string(),
                "AVIF, which takes a program built with `--features avif`, is not supported; \
                 convert the picture to JPEG or PNG"
            );
        }
    }
}

#[test]
fn every_prefix_of_a_kind_is_truncated_or_the_whole_picture() {
    let mut wrong = Vec::new();
    for kind in kinds().iter().filter(|kind| is_built(kind)) {
        let bytes = bytes(kind);
        let whole = decode_default(&bytes);
        for end in (0..bytes.len()).step_by(7) {
            match decode_default(&bytes[..end]) {
                Err(DecodeError::Truncated | DecodeError::Empty) => {}
                Err(DecodeError::NotAnImage) if end < 18 => {}
                result if result == whole => {}
                result => wrong.push(format!(
                    "{} {}, {} cut at {end} of {}: {result:?}",
                    kind.format,
                    kind.file,
                    kind.name,
                    bytes.len()
                )),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("CAPFILT_MUTATIONS").map_or(2_000, |cases| cases.parse().unwrap())
    ))]

    #[test]
    fn a_mutated_kind_is_a_picture_or_an_error(
        kind in prop::sample::select(kinds()
            .into_iter()
            .filter(is_built)
            .map(|kind| kind.file)
            .collect::<Vec<_>>()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = fs_err::read(golden_folder().join("formats").join(kind)).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let options = DecodeOptions { max_pixels: 1_000_000, ..DecodeOptions::default() };
        if let Ok(picture) = decode(&bytes, &options) {
            let probed = probe(&bytes, &options).unwrap();
            prop_assert_eq!([probed.width, probed.height], [picture.width(), picture.height()]);
        }
    }
}

/// What becomes of a picture, in the words of the table.
fn outcome(bytes: &[u8]) -> String {
    match decode_default(bytes) {
        Ok(_) => "read".to_owned(),
        Err(DecodeError::Unsupported { what }) => format!("refused: {what}"),
        Err(error) => panic!("{error}"),
    }
}

/// The tables of `docs/formats.md`, as far as what was built tells.
fn tables() -> String {
    let mut tables = String::new();
    let mut table = |format: &str, rows: Vec<(String, String)>| {
        write!(tables, "\n## {format}\n\n| kind | |\n| --- | --- |\n").unwrap();
        for (kind, outcome) in rows {
            writeln!(tables, "| {kind} | {outcome} |").unwrap();
        }
    };
    for (format, images) in IMAGES {
        let mut rows: Vec<_> = images
            .iter()
            .map(|(name, kind)| ((*kind).to_owned(), outcome(&file(name))))
            .collect();
        if *format == "JPEG" {
            let at = position(&file("rgb-444.jpg"), b"\xff\xc0") + 1;
            for (at, value, kind) in [
                (at, 0xc3, "lossless"),
                (at, 0xc9, "arithmetic coding"),
                (at + 3, 12, "12 bit"),
            ] {
                let bytes = patched("rgb-444.jpg", at, &[value]);
                rows.push((kind.to_owned(), outcome(&bytes)));
            }
        }
        table(format, rows);
    }
    for format in ["TIFF", "AVIF"] {
        let kinds = kinds();
        let ours = kinds
            .iter()
            .filter(|kind| kind.format == format && is_built(kind));
        let rows: Vec<_> = ours
            .map(|kind| (kind.name.clone(), outcome(&bytes(kind))))
            .collect();
        if !rows.is_empty() {
            table(format, rows);
        }
    }
    tables
}

#[test]
fn the_table_of_formats_says_what_is_read() {
    let path = golden_folder().join("../../docs/formats.md");
    let page = fs_err::read_to_string(&path).unwrap();
    let start = page.find("\n## JPEG\n").expect("a table of JPEG");
    let tables = tables();
    let is_to_be_written = std::env::var_os("CAPFILT_WRITE_FORMATS").is_some();
    if is_to_be_written && cfg!(feature = "avif") {
        fs_err::write(&path, format!("{}{tables}", &page[..start])).unwrap();
        return;
    }
    let told = &page[start..];
    let told = match told.find("\n## AVIF\n") {
        Some(end) if !cfg!(feature = "avif") => &told[..end],
        _ => told,
    };
    assert!(
        told == tables,
        "docs/formats.md is stale; write it again: CAPFILT_WRITE_FORMATS=1 cargo test --release -p \
         capfilt-image --features avif the_table_of_formats\n\nexpected:\n{tables}"
    );
}
