use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;
use crate::{Footer, FooterError, PieceWriter};

/// A file of ours, and where its footer begins.
fn file() -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Utf8, true),
        Field::new("b", DataType::Int64, true),
    ]));
    let mut writer = PieceWriter::create(&path, Arc::clone(&schema)).unwrap();
    let rows = RecordBatch::try_new(
        schema,
        vec![
            Arc::new(StringArray::from(vec!["x", "y"])),
            Arc::new(Int64Array::from(vec![1, 2])),
        ],
    );
    writer.write(&rows.unwrap()).unwrap();
    writer.publish([]).unwrap();
    let bytes = fs_err::read(&path).unwrap();
    let end = bytes.len() - 8;
    let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap());
    let start = end - length as usize;
    (folder, path, bytes, start)
}

#[test]
fn a_file_without_encryption_says_nothing_of_it() {
    let (_folder, path, bytes, start) = file();
    assert_eq!(Encryption::of(&bytes[start..bytes.len() - 8]), None);
    Footer::read(&path).unwrap();
}

#[test]
fn no_footer_makes_it_panic_or_go_on_for_ever() {
    let (_folder, _, bytes, start) = file();
    let footer = &bytes[start..bytes.len() - 8];
    for cut in 0..footer.len() {
        let _any = Encryption::of(&footer[..cut]);
        let mut damaged = footer.to_vec();
        damaged[cut] ^= 0xff;
        let _any = Encryption::of(&damaged);
    }
    // A list of four billion values that take no bytes each.
    assert_eq!(
        Encryption::of(&[0x19, 0xf0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        None
    );
}

#[test]
fn encrypted_columns_are_named_although_the_footer_can_be_read() {
    let (_folder, path, bytes, start) = file();
    let end = bytes.len() - 8;
    let mut changed = bytes[..end - 1].to_vec();
    // Field 8, behind `column_orders`: a union whose first member, AES_GCM_V1, is an empty struct.
    changed.extend([0x1c, 0x1c, 0x00, 0x00, 0x00]);
    let length = u32::try_from(changed.len() - start).unwrap();
    changed.extend(length.to_le_bytes());
    changed.extend(b"PAR1");
    fs_err::write(&path, changed).unwrap();
    let error = Footer::read(&path).unwrap_err();
    assert!(matches!(
        error,
        FooterError::Encrypted {
            encryption: Encryption::Columns,
            ..
        }
    ));
    assert!(error.to_string().contains("decrypt it"), "{error}");
}

#[test]
fn an_encrypted_footer_is_named() {
    let (_folder, path, mut bytes, _) = file();
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(b"PARE");
    fs_err::write(&path, bytes).unwrap();
    let error = Footer::read(&path).unwrap_err();
    assert!(matches!(
        error,
        FooterError::Encrypted {
            encryption: Encryption::Footer,
            ..
        }
    ));
}
