use arrow::array::{ArrayRef, BinaryArray, Int64Array, ListBuilder, RecordBatch, StringBuilder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};

use super::*;

const ROWS: usize = 1_000;

/// A file of one large row group: numbers, pictures of 20 kB, lists of 0 to 3 tags.
fn shard(version: WriterVersion, page_index: bool) -> Open {
    let mut tags = ListBuilder::new(StringBuilder::new());
    for row in 0..ROWS {
        for tag in 0..row % 4 {
            tags.values().append_value(format!("tag {tag}"));
        }
        tags.append(row % 7 != 0);
    }
    let mut state = 1_u64;
    let pictures: Vec<Vec<u8>> = (0..ROWS)
        .map(|_| {
            (0..20_000)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    state.to_be_bytes()[0]
                })
                .collect()
        })
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "number",
            Arc::new((0..i64::try_from(ROWS).unwrap()).collect::<Int64Array>()),
        ),
        (
            "picture",
            Arc::new(BinaryArray::from_iter_values(&pictures)),
        ),
        ("tags", Arc::new(tags.finish())),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_writer_version(version)
        .set_write_batch_size(16)
        .set_data_page_size_limit(100_000)
        .set_data_page_row_count_limit(64)
        .set_statistics_enabled(if page_index {
            EnabledStatistics::Page
        } else {
            EnabledStatistics::None
        })
        .set_offset_index_disabled(!page_index)
        .build();
    let file = tempfile::tempfile().unwrap();
    let mut writer =
        ArrowWriter::try_new(file.try_clone().unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    Open::file(file).unwrap()
}

fn metadata(file: &Open) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .with_offset_index_policy(PageIndexPolicy::Optional)
        .parse_and_finish(file)
        .unwrap()
}

#[test]
fn the_index_is_the_one_that_a_writer_would_have_written() {
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let with = metadata(&shard(version, true));
        let file = shard(version, false);
        let without = metadata(&file);
        assert!(
            without
                .offset_index()
                .is_none_or(|index| index[0].is_empty())
        );
        let made = with_pages(&file, without).unwrap();
        let locations = |metadata: &ParquetMetaData| -> Vec<Vec<(i64, i32, i64)>> {
            let columns = &metadata.offset_index().unwrap()[0];
            columns
                .iter()
                .map(|column| {
                    let pages = column.page_locations.iter();
                    pages
                        .map(|page| (page.offset, page.compressed_page_size, page.first_row_index))
                        .collect()
                })
                .collect()
        };
        assert!(locations(&made)[1].len() > 100);
        assert_eq!(locations(&made), locations(&with));
    }
}

#[test]
fn a_small_row_group_is_left_alone() {
    let batch =
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)])
            .unwrap();
    let file = tempfile::tempfile().unwrap();
    let mut writer = ArrowWriter::try_new(file.try_clone().unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert!(ParquetRecordBatchReaderBuilder::try_new(file.try_clone().unwrap()).is_ok());
    let file = Open::file(file).unwrap();
    let before = metadata(&file);
    let pages = before.offset_index().cloned();
    assert_eq!(
        with_pages(&file, before).unwrap().offset_index().cloned(),
        pages
    );
}

#[test]
fn rows_are_counted_in_runs_and_in_packed_bits() {
    // Eight packed levels 0 1 0 1 1 0 1 1, then a run of three 0 and a run of two 1.
    let levels = [0b0000_0011, 0b1101_1010, 3 << 1, 0, 2 << 1, 1];
    assert_eq!(zeros(&levels, 1, 13).unwrap(), Some(6));
    // The last packed levels may be padding.
    assert_eq!(zeros(&levels, 1, 6).unwrap(), Some(3));
    // Two bits each: 0 1 2 0, and four of padding.
    assert_eq!(zeros(&[3, 0b0010_0100, 0], 2, 4).unwrap(), Some(2));
}

#[test]
fn a_page_that_begins_inside_a_row_is_told() {
    assert_eq!(zeros(&[3 << 1, 1, 1 << 1, 0], 1, 4).unwrap(), None);
    assert_eq!(zeros(&[0b11, 0b0000_0001], 1, 8).unwrap(), None);
    assert!(zeros(&[3 << 1], 1, 3).is_err());
    assert!(zeros(&[], 1, 3).is_err());
}
