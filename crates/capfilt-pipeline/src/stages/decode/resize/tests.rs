use super::*;

fn resize(text: &str) -> Result<Resize, String> {
    toml::from_str(text).map_err(|error| error.message().to_owned())
}

fn size(text: &str, width: u32, height: u32) -> Option<(u32, u32)> {
    resize(text).unwrap().size((width, height))
}

#[test]
fn one_side_is_given() {
    let shorter = resize("shorter-side = 256").unwrap();
    assert_eq!(shorter.side, Side::Shorter(NonZeroU32::new(256).unwrap()));
    assert_eq!(u8::from(shorter.quality), 95);
    let longer = resize("longer-side = 1024\nquality = 80").unwrap();
    assert_eq!(longer.side, Side::Longer(NonZeroU32::new(1024).unwrap()));
    assert_eq!(u8::from(longer.quality), 80);
    assert_eq!(longer.decoding, JpegDecoding::Full);

    let one = "`resize` needs one of `shorter-side` and `longer-side`, and not both";
    for text in ["shorter-side = 256\nlonger-side = 1024", "quality = 90", ""] {
        assert_eq!(resize(text).unwrap_err(), one, "{text}");
    }
    assert!(resize("longer-side = 0").is_err());
    let error = resize("longer-side = 9\nquality = 101").unwrap_err();
    assert_eq!(error, "101 is no JPEG quality; expected 1 to 100");
    let error = resize("longer-side = 9\nside = 8").unwrap_err();
    assert!(error.starts_with("unknown field `side`"), "{error}");
}

#[test]
fn it_is_written_as_it_is_read() {
    for text in [
        "shorter-side = 256\nquality = 95\ndecoding = \"full\"\n",
        "longer-side = 1024\nquality = 1\ndecoding = \"scaled\"\n",
    ] {
        let written = toml::to_string(&resize(text).unwrap()).unwrap();
        assert_eq!(written, text);
    }
}

#[test]
fn the_shape_is_kept_and_nothing_is_enlarged() {
    assert_eq!(size("shorter-side = 256", 1024, 768), Some((341, 256)));
    assert_eq!(size("shorter-side = 256", 768, 1024), Some((256, 341)));
    assert_eq!(size("longer-side = 256", 1024, 768), Some((256, 192)));
    assert_eq!(size("shorter-side = 256", 1024, 257), Some((1020, 256)));
    // 2.5 and 3.5 pixels go to the even number, as Python rounds.
    assert_eq!(size("longer-side = 10", 20, 5), Some((10, 2)));
    assert_eq!(size("longer-side = 10", 20, 7), Some((10, 4)));
    // No side vanishes.
    assert_eq!(size("longer-side = 10", 1000, 3), Some((10, 1)));
    for (width, height) in [(256, 256), (256, 9000), (300, 10)] {
        assert_eq!(size("shorter-side = 256", width, height), None);
    }
    assert_eq!(size("longer-side = 300", 300, 10), None);
}
