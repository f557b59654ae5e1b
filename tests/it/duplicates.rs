//! Copies of real pictures are found, and nothing else is taken for one.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, UInt64Array};
use capfilt_data::columns::{PERCEPTUAL_HASH, SHA256};
use capfilt_data::footer::hex_digest;
use capfilt_data::{Footer, PieceWriter};
use capfilt_image::{
    DecodeOptions, Picture, Quality, decode, encode_jpeg, perceptual_hash, resize,
};
use capfilt_pipeline::duplicates::{Distance, HashFile, LARGEST_BUCKET, Search, Set, Sets, find};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::program::{root, skipped};

/// The pictures of a Parquet file with an `image` struct.
fn pictures(path: &Path) -> Vec<Picture> {
    let file = fs_err::File::open(path).unwrap().into_parts().0;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let batches = reader.build().unwrap().map(|batch| {
        let batch = batch.unwrap();
        let images = batch.column_by_name("image").unwrap().as_struct();
        let bytes = images.column(0).as_binary::<i32>().iter().flatten();
        let pictures = bytes.map(|bytes| decode(bytes, &DecodeOptions::default()).unwrap());
        pictures.collect::<Vec<_>>()
    });
    batches.flatten().collect()
}

/// The picture as a JPEG of this quality shows it.
fn again(picture: &Picture, quality: u8) -> Picture {
    let bytes = encode_jpeg(picture, Quality::try_from(quality).unwrap()).unwrap();
    decode(&bytes, &DecodeOptions::default()).unwrap()
}

/// The picture with sides of so many percent.
fn scaled(picture: &Picture, percent: u32) -> Picture {
    let side = |pixels: u32| (pixels * percent + 50) / 100;
    resize(picture, side(picture.width()), side(picture.height()))
}

/// What the web makes of a picture.
fn copies(picture: &Picture) -> Vec<Picture> {
    let again_at = [30, 60, 90].map(|quality| again(picture, quality));
    let scaled_to = [25, 50, 75, 150, 200].map(|percent| scaled(picture, percent));
    let both = again(&scaled_to[1], 75);
    again_at
        .into_iter()
        .chain(scaled_to)
        .chain([both])
        .collect()
}

/// Writes the hashes of pictures, whose digests shall be those of their pixels.
fn hash_file(path: &Path, pictures: &[Picture]) -> HashFile {
    let digests = pictures.iter().map(|picture| hex_digest(picture.pixels()));
    let digests: ArrayRef = Arc::new(BinaryArray::from_iter_values(digests));
    let hashes: UInt64Array = pictures.iter().map(perceptual_hash).collect();
    let columns = [
        (SHA256, digests),
        (PERCEPTUAL_HASH, Arc::new(hashes) as ArrayRef),
    ];
    let columns = columns.map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = PieceWriter::create(path, batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.publish(Vec::new()).unwrap();
    HashFile::new(&Footer::read(path).unwrap()).unwrap()
}

/// Of all copies of `pictures`, the share that is found for its own picture; and the share of those
/// among all that is found.
fn recall_and_precision(pictures: &[Picture]) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let originals = hash_file(&folder.path().join("originals.parquet"), pictures);
    let of_each = pictures.iter().enumerate().map(|(number, picture)| {
        hash_file(
            &folder.path().join(format!("{number}.parquet")),
            &copies(picture),
        )
    });
    let sets = Sets {
        evaluation: vec![originals],
        run: of_each.collect(),
        ..Sets::default()
    };
    let search = Search {
        distance: Distance::LARGEST,
        largest_bucket: LARGEST_BUCKET,
        memory: 64 << 20,
        spill: folder.path().to_owned(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found = runtime.block_on(find(&sets, &search)).unwrap();
    let found = found.duplicates();
    let right = found
        .iter()
        .filter(|one| one.of.set == Set::Evaluation && one.of.row == one.file as u64)
        .count();
    let copies = 9 * pictures.len();
    (share(right, copies), share(right, found.len()))
}

fn share(part: usize, of: usize) -> f64 {
    f64::from(u32::try_from(part).unwrap()) / f64::from(u32::try_from(of).unwrap())
}

#[test]
fn copies_of_clip_art_are_found() {
    let mut pictures = pictures(&root().join("pipelines/demo/pictures.parquet"));
    pictures.retain(|picture| perceptual_hash(picture).is_some());
    assert!(pictures.len() > 290, "{}", pictures.len());
    let (recall, precision) = recall_and_precision(&pictures);
    assert!(recall >= 0.98 && precision >= 0.99, "{recall}, {precision}");
}

#[test]
fn copies_of_photographs_are_found() {
    let path = root().join("../shared/data/openstax-photos.parquet");
    if !path.is_file() {
        skipped(format_args!("no photographs at `{}`", path.display()));
        return;
    }
    let (recall, precision) = recall_and_precision(&pictures(&path));
    assert!(recall >= 0.98 && precision >= 0.99, "{recall}, {precision}");
}
