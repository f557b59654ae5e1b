//! Knowing a file again that was copied: then its time is another.

use std::io::{self, Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};

use crate::footer::{Footer, hex};

/// Stretches of a file that are looked at, and bytes of each.
const STRETCHES: u64 = 64;
const STRETCH: u64 = 4 << 10;

impl Footer {
    /// Identifies what is in the file, whenever it was written: the digest of its size, its footer and 64
    /// stretches of its bytes, evenly spread; of all bytes up to 256 KiB. Nothing for an object, which its
    /// entity tag identifies.
    ///
    /// A footer has the size of every column's pages, and mostly their least and greatest values. What the
    /// stretches add are files of the same sizes throughout, like uncompressed pictures.
    pub fn sample(&self) -> io::Result<Option<String>> {
        let Some(path) = self.path.as_file() else {
            return Ok(None);
        };
        let mut file = fs_err::File::open(path)?;
        let mut digest = Sha256::new();
        digest.update(format!("{} {} ", self.size, self.digest));
        let mut stretch = Vec::new();
        let step = (self.size / STRETCHES).max(STRETCH);
        let mut start = 0;
        while start < self.size {
            file.seek(SeekFrom::Start(start))?;
            stretch.clear();
            (&mut file).take(STRETCH).read_to_end(&mut stretch)?;
            digest.update(&stretch);
            start += step;
        }
        Ok(Some(hex(&digest.finalize())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Encoding;
    use parquet::file::properties::{EnabledStatistics, WriterProperties};

    use super::*;

    #[test]
    fn a_copy_is_known_by_its_content_and_not_by_its_time() {
        let folder = tempfile::tempdir().unwrap();
        // Pictures of one size, without statistics: the footers of all such files are the same.
        let file = |name: &str, picture: u8| {
            let pictures: Vec<Vec<u8>> = (0..100).map(|row| vec![row ^ picture; 9_000]).collect();
            let column: ArrayRef = Arc::new(BinaryArray::from_iter_values(pictures));
            let batch = RecordBatch::try_from_iter([("image", column)]).unwrap();
            let path = folder.path().join(name);
            let plain = WriterProperties::builder()
                .set_dictionary_enabled(false)
                .set_encoding(Encoding::PLAIN)
                .set_statistics_enabled(EnabledStatistics::None)
                .build();
            let file = fs_err::File::create(&path).unwrap();
            let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(plain)).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            Footer::read(path).unwrap()
        };
        let first = file("first", 0);
        let copy = folder.path().join("copy");
        fs_err::copy(folder.path().join("first"), &copy).unwrap();
        let opened = fs_err::OpenOptions::new().write(true).open(&copy).unwrap();
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        opened.file().set_modified(then).unwrap();
        let copy = Footer::read(copy).unwrap();
        assert_ne!(copy.version, first.version);
        assert_eq!(copy.sample().unwrap(), first.sample().unwrap());
        let other = file("other", 1);
        assert_eq!((&other.digest, other.size), (&first.digest, first.size));
        assert_ne!(other.sample().unwrap(), first.sample().unwrap());
    }
}
