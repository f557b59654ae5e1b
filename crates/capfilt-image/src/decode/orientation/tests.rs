use super::*;

/// An EXIF block of one directory.
fn block(entries: &[(u16, u16, u32, [u8; 4])], behind: &[u8]) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0".to_vec();
    block.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
    for (tag, kind, count, value) in entries {
        block.extend(tag.to_le_bytes());
        block.extend(kind.to_le_bytes());
        block.extend(count.to_le_bytes());
        block.extend(value);
    }
    block.extend([0; 4]);
    block.extend(behind);
    block
}

fn said(exif: &[u8]) -> Turn {
    turn(Some(exif), None)
}

#[test]
fn every_type_of_number_counts_and_of_several_the_first() {
    let six = Turn::Rotate90;
    for (kind, count, value) in [
        (3, 1, [6, 0, 0, 0]),
        (3, 2, [6, 0, 3, 0]),
        (4, 1, [6, 0, 0, 0]),
        (6, 1, [6, 0, 0, 0]),
        (8, 1, [6, 0, 0, 0]),
        (9, 1, [6, 0, 0, 0]),
        (11, 1, 6.0_f32.to_le_bytes()),
        (13, 1, [6, 0, 0, 0]),
    ] {
        assert_eq!(
            said(&block(&[(0x112, kind, count, value)], &[])),
            six,
            "{kind} {count}"
        );
    }
    let at = 8 + 2 + 12 + 4;
    let rational = [12, 0, 0, 0, 2, 0, 0, 0];
    assert_eq!(
        said(&block(&[(0x112, 5, 1, [at, 0, 0, 0])], &rational)),
        six
    );
    // Bytes and text are no numbers, and of others there are no turns.
    for (kind, value) in [
        (1, [6, 0, 0, 0]),
        (2, [b'6', 0, 0, 0]),
        (3, [9, 0, 0, 0]),
        (3, [0; 4]),
        (3, [6, 1, 0, 0]),
    ] {
        assert_eq!(
            said(&block(&[(0x112, kind, 1, value)], &[])),
            Turn::NoTransforms,
            "{kind} {value:?}"
        );
    }
}

#[test]
fn the_byte_order_and_any_number_of_prefixes_are_read() {
    let big = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0";
    for prefix in [&b""[..], b"Exif\0\0", b"Exif\0\0Exif\0\0"] {
        assert_eq!(said(&[prefix, big].concat()), Turn::Rotate270);
    }
}

#[test]
fn the_last_entry_counts_and_nothing_behind_a_broken_one() {
    let three = (0x112, 3, 1, [3, 0, 0, 0]);
    let six = (0x112, 3, 1, [6, 0, 0, 0]);
    assert_eq!(said(&block(&[three, six], &[])), Turn::Rotate90);
    let unknown = (0x110, 99, 1000, [0xff; 4]);
    assert_eq!(said(&block(&[unknown, six], &[])), Turn::Rotate90);
    let outside = (0x110, 2, 1000, [0xff; 4]);
    assert_eq!(said(&block(&[three, outside, six], &[])), Turn::Rotate180);
}

#[test]
fn xmp_counts_where_exif_says_nothing() {
    let attribute = b"<rdf tiff:Orientation=\"8\"/>";
    let element = b"tiff:Orientation>x <tiff:Orientation>8</tiff:Orientation>";
    let none = block(&[], &[]);
    for xmp in [&attribute[..], element] {
        for exif in [None, Some(&none[..]), Some(b"Exif\0\0")] {
            assert_eq!(turn(exif, Some(xmp)), Turn::Rotate270, "{exif:?}");
        }
        let three = block(&[(0x112, 3, 1, [3, 0, 0, 0])], &[]);
        assert_eq!(turn(Some(&three), Some(xmp)), Turn::Rotate180);
        assert_eq!(turn(Some(b"neither"), Some(xmp)), Turn::NoTransforms);
    }
    assert_eq!(
        turn(None, Some(b"tiff:Orientation='8'")),
        Turn::NoTransforms
    );
}
