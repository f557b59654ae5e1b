use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray, UInt64Array};
use capfilt_data::{Footer, columns};
use proptest::prelude::*;

use capfilt_data::columns::{PERCEPTUAL_HASH, SHA256};

use super::*;
use crate::test_shards::write_parquet;

/// A row of a file with hashes.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Stands for the digest; none for a row without a picture.
    picture: Option<u64>,
    hash: Option<u64>,
    is_rejected: bool,
}

/// A row with a picture of its own.
fn row(picture: u64, hash: u64) -> Row {
    Row {
        picture: Some(picture),
        hash: Some(hash),
        is_rejected: false,
    }
}

fn digest(picture: u64) -> [u8; 32] {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&picture.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    digest
}

/// Writes a file of small row groups. Files with an even name also have a `reject` column, if they
/// do not need it.
fn write(folder: &Path, name: usize, rows: &[Row]) -> HashFile {
    let digests = rows.iter().map(|row| row.picture.map(digest));
    let digests: BinaryArray = digests.collect();
    let hashes: UInt64Array = rows.iter().map(|row| row.hash).collect();
    let rejects: StringArray = rows
        .iter()
        .map(|row| row.is_rejected.then_some("too-small"))
        .collect();
    let mut arrays: Vec<(&str, ArrayRef)> = vec![
        (PERCEPTUAL_HASH, Arc::new(hashes)),
        (SHA256, Arc::new(digests)),
    ];
    if name.is_multiple_of(2) || rows.iter().any(|row| row.is_rejected) {
        arrays.insert(0, (columns::REJECT, Arc::new(rejects)));
    }
    let batch = RecordBatch::try_from_iter_with_nullable(
        arrays.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let path = folder.join(format!("{name}.parquet"));
    write_parquet(&path, &batch, 3);
    HashFile::new(&Footer::read(&path).unwrap()).unwrap()
}

/// Rows of files, in order, of each set.
type Rows = [Vec<Vec<Row>>; 3];

fn search_of(distance: u8, largest_bucket: usize, spill: &Path) -> Search {
    Search {
        distance: distance.try_into().unwrap(),
        largest_bucket: largest_bucket.try_into().unwrap(),
        memory: 64 << 20,
        spill: spill.to_owned(),
    }
}

/// What [`find`] finds.
fn found(rows: &Rows, distance: u8, largest_bucket: usize) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let mut names = 0..;
    let [evaluation, earlier, run] = rows.each_ref().map(|files| {
        let files = files.iter();
        files
            .map(|rows| write(folder.path(), names.next().unwrap(), rows))
            .collect()
    });
    let sets = Sets {
        evaluation,
        earlier,
        run,
    };
    let search = search_of(distance, largest_bucket, folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(find(&sets, &search)).unwrap()
}

fn bands_of(hash: u64) -> [(u8, u16); 4] {
    [0, 1, 2, 3].map(|band| (band, u16::try_from(hash >> (16 * band) & 0xffff).unwrap()))
}

/// What the documentation of the module says, word for word.
fn expected(rows: &Rows, distance: u8, largest_bucket: usize) -> (Vec<Duplicate>, Vec<Bucket>) {
    let mut pictures = Vec::new();
    for (set, files) in [Set::Evaluation, Set::Earlier, Set::Run]
        .into_iter()
        .zip(rows)
    {
        for (file, rows) in files.iter().enumerate() {
            for (number, one) in (0_u64..).zip(rows) {
                if let Row {
                    picture: Some(picture),
                    hash,
                    is_rejected: false,
                } = *one
                {
                    let place = Place {
                        set,
                        file,
                        row: number,
                    };
                    pictures.push((place, picture, hash));
                }
            }
        }
    }
    let mut buckets: BTreeMap<(u8, u16), BTreeSet<u64>> = BTreeMap::new();
    for hash in pictures.iter().filter_map(|(_, _, hash)| *hash) {
        for band in bands_of(hash) {
            buckets.entry(band).or_default().insert(hash);
        }
    }
    let is_oversized = |band: &(u8, u16)| buckets[band].len() > largest_bucket;
    let likeness = |(_, picture, hash): (Place, u64, Option<u64>),
                    (_, other, other_hash): (Place, u64, Option<u64>)| {
        if picture == other {
            return Some(Likeness::Exact);
        }
        let (hash, other) = (hash?, other_hash?);
        let bits = u8::try_from((hash ^ other).count_ones()).unwrap();
        let shared = bands_of(hash)
            .into_iter()
            .filter(|band| bands_of(other).contains(band));
        let is_compared = bits == 0 || shared.into_iter().any(|band| !is_oversized(&band));
        (bits <= distance && is_compared).then_some(Likeness::Perceptual(bits))
    };
    let mut stay: Vec<(Place, u64, Option<u64>)> = Vec::new();
    let mut duplicates = Vec::new();
    for one in pictures {
        let Place { set, file, row } = one.0;
        let matched = stay
            .iter()
            .find_map(|other| likeness(one, *other).map(|likeness| (other.0, likeness)));
        match matched {
            Some((of, likeness)) if set == Set::Run => duplicates.push(Duplicate {
                file,
                row,
                of,
                likeness,
            }),
            _ => stay.push(one),
        }
    }
    let oversized = buckets
        .iter()
        .filter(|(band, _)| distance > 0 && is_oversized(band));
    let oversized = oversized.map(|((band, value), hashes)| Bucket {
        band: *band,
        value: *value,
        hashes: hashes.len() as u64,
    });
    (duplicates, oversized.collect())
}

/// Pictures along a walk on which each step turns another bit, in band after band: those a few steps
/// apart are near, so that all kinds of chains come up. Two pictures share each hash, which follows
/// from the picture, and some have none.
fn any_row() -> impl Strategy<Value = Row> {
    let picture = prop_oneof![9 => (0_u64..100).prop_map(Some), 1 => Just(None)];
    (picture, prop::bool::weighted(0.1)).prop_map(|(picture, is_rejected)| Row {
        picture,
        hash: picture.filter(|picture| picture % 9 > 0).map(|picture| {
            let steps = 0..picture / 2;
            steps.fold(0x0123_4567_89ab_cdef, |hash, step| {
                hash ^ 1 << (17 * step % 64)
            })
        }),
        is_rejected,
    })
}

fn any_files() -> impl Strategy<Value = Vec<Vec<Row>>> {
    prop::collection::vec(prop::collection::vec(any_row(), 0..16), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_found_is_what_a_look_at_every_pair_finds(
        evaluation in any_files(),
        earlier in any_files(),
        run in any_files(),
        distance in 0_u8..=3,
        largest_bucket in prop_oneof![Just(1_000), 1_usize..12],
    ) {
        let rows = [evaluation, earlier, run];
        let found = found(&rows, distance, largest_bucket);
        let (duplicates, oversized) = expected(&rows, distance, largest_bucket);
        prop_assert_eq!(found.duplicates(), &duplicates[..]);
        prop_assert_eq!(&found.oversized, &oversized);
    }
}

/// Duplicates among rows of this run alone: row, the row it goes for, and how they match.
fn within(rows: &[Row], largest_bucket: usize) -> Vec<(u64, u64, Likeness)> {
    let found = found(&[vec![], vec![], vec![rows.to_vec()]], 3, largest_bucket);
    let duplicates = found.duplicates().iter();
    duplicates
        .map(|one| (one.row, one.of.row, one.likeness))
        .collect()
}

#[test]
fn a_chain_takes_no_picture_that_nothing_near_stays_for() {
    let rows = [
        row(0, 0),
        row(1, 0b111),
        row(2, 0b11_1111),
        row(3, 0b1_1111_1111),
    ];
    let perceptual = Likeness::Perceptual;
    assert_eq!(
        within(&rows, 100),
        [(1, 0, perceptual(3)), (3, 2, perceptual(3))]
    );
}

#[test]
fn a_copy_of_a_picture_that_goes_goes_for_the_same() {
    let rows = [row(0, 0), row(1, 0b110), row(1, 0b110), row(2, 0b110)];
    let perceptual = Likeness::Perceptual(2);
    assert_eq!(
        within(&rows, 100),
        [(1, 0, perceptual), (2, 0, perceptual), (3, 0, perceptual)]
    );
}

#[test]
fn pictures_without_a_hash_are_compared_by_their_bytes() {
    let plain = |picture| Row {
        hash: None,
        ..row(picture, 0)
    };
    assert_eq!(
        within(&[plain(0), plain(1), plain(0)], 100),
        [(2, 0, Likeness::Exact)]
    );
}

#[test]
fn an_oversized_bucket_leaves_equal_pictures_and_other_bands() {
    // Nine hashes share three bands, and two of them the fourth.
    let mut rows: Vec<Row> = (0..8).map(|one| row(one, one << 20)).collect();
    rows.extend([row(8, 1), row(9, 3 << 20), row(3, 3 << 20)]);
    let rows = [vec![], vec![], vec![rows]];
    let eight = found(&rows, 3, 8);
    let sizes: Vec<_> = eight
        .oversized
        .iter()
        .map(|one| (one.band, one.hashes))
        .collect();
    assert_eq!(sizes, [(2, 9), (3, 9)]);
    assert_eq!(
        eight.duplicates().len(),
        10,
        "near in band 0 or 1: {eight:?}"
    );

    let one = found(&rows, 3, 1);
    assert_eq!(one.oversized.len(), 4);
    let found: Vec<_> = one
        .duplicates()
        .iter()
        .map(|one| (one.row, one.likeness))
        .collect();
    assert_eq!(found, [(9, Likeness::Perceptual(0)), (10, Likeness::Exact)]);
}

#[test]
fn evaluation_sets_win_over_earlier_runs_and_those_over_this_one() {
    let one = vec![row(0, 0)];
    let near = vec![row(1, 1)];
    let of = |rows: &Rows| found(rows, 3, 100).duplicates()[0];
    let both = of(&[vec![one.clone()], vec![near.clone()], vec![near.clone()]]);
    assert_eq!(both.of.set, Set::Evaluation);
    assert_eq!(both.likeness, Likeness::Perceptual(1));
    let earlier = of(&[vec![], vec![one], vec![vec![], near]]);
    assert_eq!(earlier.of.set, Set::Earlier);
    assert_eq!((earlier.file, earlier.row), (1, 0));
}

#[test]
fn pictures_themselves_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.parquet");
    let pictures: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"abc"; 2]));
    let digests: ArrayRef = Arc::new(BinaryArray::from_vec(vec![&[7; 32]; 2]));
    let hashes: ArrayRef = Arc::new(UInt64Array::from(vec![1, 1]));
    let columns = [
        ("image", pictures),
        (SHA256, digests),
        (PERCEPTUAL_HASH, hashes),
    ];
    write_parquet(&path, &RecordBatch::try_from_iter(columns).unwrap(), 2);
    let footer = Footer::read(&path).unwrap();
    let (start, length) = footer.metadata.row_group(0).column(0).byte_range();
    let mut bytes = fs_err::read(&path).unwrap();
    let start = usize::try_from(start).unwrap();
    bytes[start..][..usize::try_from(length).unwrap()].fill(0xff);
    fs_err::write(&path, bytes).unwrap();
    assert!(footer.batches(None, 2).unwrap().any(|batch| batch.is_err()));

    let sets = Sets {
        run: vec![HashFile::new(&footer).unwrap()],
        ..Sets::default()
    };
    let search = search_of(3, 100, folder.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found = runtime.block_on(find(&sets, &search)).unwrap();
    assert_eq!(found.of_file(0), found.duplicates());
    assert_eq!(found.of_file(1), []);
    assert_eq!(found.duplicates()[0].likeness, Likeness::Exact);
}

#[test]
fn a_file_without_hashes_is_refused_with_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.parquet");
    let column: ArrayRef = Arc::new(StringArray::from(vec!["00"]));
    let batch = RecordBatch::try_from_iter([(SHA256, column)]).unwrap();
    write_parquet(&path, &batch, 1);
    let error = HashFile::new(&Footer::read(&path).unwrap()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("expected the column `sha256` of type Binary, got Utf8"),
        "{message}"
    );
}

#[test]
fn a_distance_beyond_three_bits_is_refused() {
    let error = Distance::try_from(4).unwrap_err().to_string();
    assert!(
        error.contains("4 bits is too large; expected 0 to 3"),
        "{error}"
    );
}
