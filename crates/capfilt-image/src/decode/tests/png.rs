//! PNG files that the decoder alone would not refuse.

use super::*;

#[test]
fn a_png_whose_palette_ends_within_a_colour_is_corrupt() {
    let png = file("palette-trns.png");
    let at = position(&png, b"PLTE") - 4;
    let length = u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    let end = at + 8 + length as usize;
    let mut chunk = (length - 1).to_be_bytes().to_vec();
    chunk.extend_from_slice(&png[at + 4..end - 1]);
    chunk.extend(crc32(&chunk[4..]).to_be_bytes());
    let cut = [&png[..at], &chunk, &png[end + 4..]].concat();
    let error = decode_default(&cut).unwrap_err();
    assert!(error.to_string().contains("palette"), "{error}");
}

#[test]
fn pixels_of_a_png_with_a_wrong_checksum_are_corrupt() {
    let mut png = file("rgb.png");
    let at = position(&png, b"IDAT") - 4;
    let length = u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    let end = at + 8 + length as usize;
    // The last byte of the checksum of the pixels; that of the chunk is right.
    png[end - 1] ^= 1;
    let crc = crc32(&png[at + 4..end]).to_be_bytes();
    png[end..end + 4].copy_from_slice(&crc);
    let result = decode_default(&png);
    assert!(
        matches!(result, Err(DecodeError::Corrupt { .. })),
        "{result:?}"
    );
}
