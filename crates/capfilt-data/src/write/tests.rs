use arrow::array::{ArrayRef, BinaryArray, StringArray, StructArray, new_null_array};
use arrow::datatypes::Schema;

use super::*;
use crate::columns::{image_fields, scored};
use crate::footer::Footer;
use crate::object::Object;

fn batch(first: u64, rows: u64, bytes: usize) -> RecordBatch {
    let schema = Arc::new(scored(&[]).project(&[0, 3]).unwrap());
    let ids: StringArray = (first..first + rows)
        .map(|row| Some(row.to_string()))
        .collect();
    // Bytes that do not compress, so that sizes on disk are sizes in memory.
    let mut state = first + 1;
    let pictures: Vec<Vec<u8>> = (0..rows)
        .map(|_| {
            (0..bytes)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    state.to_be_bytes()[0]
                })
                .collect()
        })
        .collect();
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values(&pictures));
    let paths: ArrayRef = Arc::new(StringArray::new_null(pictures.len()));
    let image = StructArray::new(image_fields(), vec![bytes, paths], None);
    RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(image)]).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_published_file_has_its_rows_in_order_and_its_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b.parquet");
    let mut writer = PieceWriter::create(&path, batch(0, 0, 0).schema()).unwrap();
    for first in (0..2_500).step_by(100) {
        writer.write(&batch(first, 100, 10)).unwrap();
    }
    let written = writer
        .publish([("capfilt.key".to_owned(), "k".to_owned())])
        .unwrap();
    assert_eq!(written.rows, 2_500);
    assert_eq!(names(&folder.path().join("a")), ["b.parquet"]);

    let footer = Footer::read(&path).unwrap();
    assert_eq!(footer.rows(), 2_500);
    assert_eq!(footer.size, written.bytes);
    assert_eq!(footer.value("capfilt.key"), Some("k"));
    assert_eq!(footer.value(CONTENT), Some(written.content.as_str()));
    assert!(
        footer
            .metadata
            .row_groups()
            .iter()
            .all(|group| group.num_rows() <= 1_000)
    );
    let ids: Vec<String> = footer
        .batches(Some(&["id"]), 64)
        .unwrap()
        .flat_map(|batch| {
            crate::read::text_column(batch.unwrap().column(0))
                .unwrap()
                .iter()
                .flatten()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        ids,
        (0..2_500).map(|row| row.to_string()).collect::<Vec<_>>()
    );
}

#[test]
fn a_row_group_stays_below_its_bytes_even_where_one_batch_has_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.parquet");
    let big = batch(0, 40, 1 << 20);
    let mut writer = PieceWriter::create(&path, big.schema()).unwrap();
    writer.write(&big).unwrap();
    writer.publish([]).unwrap();
    let footer = Footer::read(&path).unwrap();
    assert!(footer.metadata.num_row_groups() >= 3);
    for group in footer.metadata.row_groups() {
        assert!(
            group.compressed_size() <= 20 << 20,
            "{}",
            group.compressed_size()
        );
    }
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.parquet");
    let mut writer = PieceWriter::create(&path, batch(0, 0, 0).schema()).unwrap();
    writer.write(&batch(0, 10, 10)).unwrap();
    assert_eq!(names(folder.path()).len(), 1);
    drop(writer);
    assert_eq!(names(folder.path()), [] as [&str; 0]);
}

#[test]
fn equal_rows_have_equal_content_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let digest = |rows: u64, name: &str| {
        let path = folder.path().join(name);
        let mut writer = PieceWriter::create(&path, batch(0, 0, 0).schema()).unwrap();
        writer.write(&batch(0, rows, 10)).unwrap();
        writer
            .publish([("when".to_owned(), name.to_owned())])
            .unwrap()
            .content
    };
    assert_eq!(digest(5, "a"), digest(5, "b"));
    assert_ne!(digest(5, "c"), digest(6, "d"));
}

#[test]
fn leftovers_of_a_killed_process_are_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("scored/a");
    fs_err::create_dir_all(&below).unwrap();
    fs_err::write(below.join(".capfilt-x.unfinished"), "").unwrap();
    fs_err::write(below.join("0.parquet"), "").unwrap();
    assert_eq!(remove_leftovers(&folder.path().into()).unwrap(), 1);
    assert_eq!(names(&below), ["0.parquet"]);
    assert_eq!(
        remove_leftovers(&folder.path().join("absent").into()).unwrap(),
        0
    );
}

#[test]
fn rows_that_a_disk_changed_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    for rows in [0, 1, 2_500] {
        let mut writer = PieceWriter::create(&path, batch(0, 0, 0).schema()).unwrap();
        writer.write(&batch(0, rows, 10)).unwrap();
        writer.publish([]).unwrap();
        Footer::read(&path).unwrap().verify().unwrap();
    }
    let whole = fs_err::read(&path).unwrap();
    for place in [0, 4, 10_000, whole.len() / 2] {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs_err::write(&path, bytes).unwrap();
        let damaged = Footer::read(&path).unwrap().verify();
        assert!(damaged.is_err(), "byte {place}");
    }
}

#[test]
fn whatever_a_disk_did_to_a_footer_it_is_refused_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let fields = scored(&[]);
    let fields = fields.fields().iter();
    let fields: Vec<_> = fields
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let columns = fields
        .iter()
        .map(|field| new_null_array(field.data_type(), 3))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let mut writer = PieceWriter::create(&path, schema).unwrap();
    writer.write(&rows).unwrap();
    writer.publish([]).unwrap();
    let whole = fs_err::read(&path).unwrap();
    let mut refused = 0;
    for place in (4..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        fs_err::write(&path, bytes).unwrap();
        refused += match Footer::read(&path) {
            Ok(footer) => {
                // So it is for a reader that takes values as they are stored.
                let is_refused = footer.raw().is_err() || footer.verify().is_err();
                usize::from(is_refused)
            }
            Err(_) => 1,
        };
    }
    assert!(refused > 500, "{refused} of {}", whole.len());
}

#[test]
fn a_place_for_a_while_is_gone_afterwards_and_counts_as_unfinished() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::of(&folder.path().join("a.parquet").into()).unwrap();
    let path = scratch.path().as_file().unwrap().to_owned();
    fs_err::write(&path, "half").unwrap();
    assert_eq!(remove_leftovers(&folder.path().into()).unwrap(), 1);
    fs_err::write(&path, "half").unwrap();
    drop(scratch);
    let mut unnamed = unnamed_in(folder.path()).unwrap();
    unnamed.write_all(b"kept nowhere").unwrap();
    assert_eq!(names(folder.path()), [] as [&str; 0]);
}

#[test]
fn an_object_has_the_bytes_that_a_file_would_have() {
    let folder = tempfile::tempdir().unwrap();
    let store = Location::Object(Object::in_memory());
    // One that goes up at once, and one in parts.
    for rows in [3, 1_200] {
        let [file, object] = [folder.path().into(), store.clone()].map(|output| {
            let path = output.join("scored/a.parquet");
            let mut writer = PieceWriter::create(&path, batch(0, 0, 0).schema()).unwrap();
            writer.write(&batch(0, rows, 10_000)).unwrap();
            let stands = output.parquet_files().unwrap();
            assert_eq!(
                stands.len(),
                usize::from(rows > 3),
                "only what is published"
            );
            writer.publish([]).unwrap();
            path
        });
        assert_eq!(object.read().unwrap(), file.read().unwrap());
        let [read, expected] = [&object, &file].map(|path| {
            let footer = Footer::read(path).unwrap();
            footer.verify().unwrap();
            let batches = footer.batches(None, 7).unwrap();
            batches.map(Result::unwrap).collect::<Vec<_>>()
        });
        assert!(read == expected);
    }
    assert_eq!(
        store.parquet_files().unwrap(),
        [Path::new("scored/a.parquet")]
    );
    let scratch = Scratch::of(&store.join("scored/a.parquet")).unwrap();
    let folder = scratch
        .path()
        .as_file()
        .unwrap()
        .parent()
        .unwrap()
        .to_owned();
    assert!(folder.is_dir());
    drop(scratch);
    assert!(!folder.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named() {
    let error = WriteErrorKind::of_io(io::Error::from_raw_os_error(28));
    assert!(
        error.to_string().starts_with("the disk is full; make room"),
        "{error}"
    );
}
