//! Writing a Parquet file that is either whole under its final name or not there.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};

use crate::columns::{HUGGING_FACE, IMAGE};
use crate::footer::hex;
use crate::leaves::with_logical_types;
use crate::location::Location;
use crate::step::Step;

/// Rows of a row group at most.
const GROUP_ROWS: usize = 1_000;
/// Encoded bytes after which a row group is closed. Far below the 64 MiB that are promised: the
/// open row group is held in memory, once for each file that is being written.
const GROUP_BYTES: usize = 8 << 20;
/// Bytes that are handed to the encoder at once; pages come out at most that large.
const SLICE_BYTES: usize = 2 << 20;
/// What unfinished files are called; they are hidden, and lie in the folder of the final name.
const PREFIX: &str = ".capfilt-";
const SUFFIX: &str = ".unfinished";

/// Key of the digest of everything in the file before its footer.
pub const CONTENT: &str = "capfilt.content";

/// Key of what a piece was made with, stage by stage, as JSON.
pub const RECIPE: &str = "capfilt.recipe";

/// A Parquet file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`")]
pub struct WriteError {
    /// The final name.
    pub path: Location,
    /// What went wrong.
    #[source]
    pub kind: WriteErrorKind,
}

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum WriteErrorKind {
    /// The disk is full: nothing that is finished is lost, and the same command goes on later.
    #[error("the disk is full; make room and run the same command again, finished pieces stay")]
    DiskFull(#[source] io::Error),
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The rows could not be encoded.
    #[error("cannot encode rows as Parquet")]
    Parquet(#[from] ParquetError),
}

impl WriteErrorKind {
    /// What an error of the file system means.
    pub fn of_io(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::StorageFull {
            Self::DiskFull(error)
        } else {
            Self::Io(error)
        }
    }

    /// Finds the IO error below a Parquet error: that is what people can act on.
    fn of_parquet(error: ParquetError, sink: &Sink) -> Self {
        match sink.take_error() {
            Some(io) => Self::of_io(io),
            None => Self::Parquet(error),
        }
    }
}

#[derive(Default)]
struct SinkState {
    digest: Sha256,
    error: Option<io::Error>,
}

/// A file that does not have its final name yet.
enum Unfinished {
    /// Beside it, hidden.
    Named(NamedTempFile),
    /// On this machine, without any name: the final one is that of an object.
    Unnamed(File),
}

impl Unfinished {
    /// The beginning of the file that will be called `path`.
    fn of(path: &Location) -> io::Result<Self> {
        let folder = path.scratch();
        match path {
            Location::File(_) => hidden_in(&folder).map(Self::Named),
            Location::Object(_) => unnamed_in(&folder).map(Self::Unnamed),
        }
    }

    fn as_file(&self) -> &File {
        match self {
            Self::Named(file) => file.as_file(),
            Self::Unnamed(file) => file,
        }
    }

    /// Gives it the name `path`.
    fn publish(self, path: &Location) -> io::Result<()> {
        match (self, path) {
            (Self::Named(file), Location::File(path)) => name(file, path),
            (Self::Unnamed(mut file), Location::Object(object)) => object.upload(&mut file),
            _ => Err(io::Error::other("a file cannot move between stores")),
        }
    }
}

/// Writes to a file, and keeps the digest of what was written and the first error. (The Parquet
/// writer turns IO errors into text.)
#[derive(Clone)]
struct Sink {
    file: Arc<Unfinished>,
    state: Arc<Mutex<SinkState>>,
}

impl Sink {
    fn take_error(&self) -> Option<io::Error> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .error
            .take()
    }

    fn digest(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        hex(&state.digest.clone().finalize())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match Step::Write.take(|| self.file.as_file().write(bytes)) {
            Ok(written) => {
                state.digest.update(&bytes[..written]);
                Ok(written)
            }
            Err(error) => {
                let again = error.raw_os_error().map_or_else(
                    || io::Error::from(error.kind()),
                    io::Error::from_raw_os_error,
                );
                state.error = Some(again);
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that stands under its final name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Written {
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Digest of everything before the footer, as in its [`CONTENT`] pair.
    pub content: String,
}

/// Writes one Parquet file: into a hidden file beside the final name, which takes the final name
/// once everything is on disk; for an object into a file without a name, which is then put there as
/// a whole. Dropping the writer before that leaves nothing behind.
pub struct PieceWriter {
    path: Location,
    sink: Sink,
    writer: ArrowWriter<Sink>,
    rows: u64,
}

impl PieceWriter {
    /// Starts the file that will be called `path`, in a folder that is made if need be.
    pub fn create(path: impl Into<Location>, schema: SchemaRef) -> Result<Self, WriteError> {
        let path = path.into();
        Self::try_create(&path, schema).map_err(|kind| WriteError { path, kind })
    }

    fn try_create(path: &Location, schema: SchemaRef) -> Result<Self, WriteErrorKind> {
        let file = Unfinished::of(path).map_err(WriteErrorKind::of_io)?;
        let sink = Sink {
            file: Arc::new(file),
            state: Arc::default(),
        };
        let image_bytes = ColumnPath::new(vec![IMAGE.to_owned(), "bytes".to_owned()]);
        let pairs = schema
            .metadata()
            .get(HUGGING_FACE)
            .map(|value| vec![KeyValue::new(HUGGING_FACE.to_owned(), value.clone())]);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_write_batch_size(64)
            // Pictures do not repeat, and are compressed: looking again, a dictionary or bounds of them
            // would only cost time and memory.
            .set_column_compression(image_bytes.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(image_bytes.clone(), false)
            .set_column_statistics_enabled(image_bytes, EnabledStatistics::None)
            .set_created_by(concat!("capfilt version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(pairs)
            .build();
        let mut options = ArrowWriterOptions::new().with_properties(properties);
        let plain = ArrowSchemaConverter::new().convert(&schema)?;
        if let Some(columns) = with_logical_types(schema.fields(), &plain)? {
            options = options.with_parquet_schema(columns);
        }
        let writer = ArrowWriter::try_new_with_options(sink.clone(), schema, options)?;
        Ok(Self {
            path: path.clone(),
            sink,
            writer,
            rows: 0,
        })
    }

    /// Adds rows, in the order in which they shall be read.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), WriteError> {
        self.rows += batch.num_rows() as u64;
        self.write_slices(batch)
            .map_err(|error| self.failed(WriteErrorKind::of_parquet(error, &self.sink)))
    }

    fn write_slices(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let rows = batch.num_rows();
        if rows > 1 && slice_bytes(batch) > SLICE_BYTES {
            self.write_slices(&batch.slice(0, rows / 2))?;
            return self.write_slices(&batch.slice(rows / 2, rows - rows / 2));
        }
        let pending = self.writer.in_progress_size();
        if pending > 0 && pending + slice_bytes(batch) > GROUP_BYTES {
            self.writer.flush()?;
        }
        self.writer.write(batch)
    }

    fn failed(&self, kind: WriteErrorKind) -> WriteError {
        WriteError {
            path: self.path.clone(),
            kind,
        }
    }

    /// Digest of the rows written so far. Closes the row group that is open.
    pub fn content(&mut self) -> Result<String, WriteError> {
        let flushed = self.writer.flush().and_then(|()| Ok(self.writer.sync()?));
        match flushed {
            Ok(()) => Ok(self.sink.digest()),
            Err(error) => Err(self.failed(WriteErrorKind::of_parquet(error, &self.sink))),
        }
    }

    /// Ends the file with the key-value pairs `pairs` and the digest of its content, waits until
    /// it is on disk, and gives it its final name, in place of a file that had it.
    pub fn publish(
        mut self,
        pairs: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Written, WriteError> {
        let content = self.content()?;
        for (key, value) in pairs {
            self.writer
                .append_key_value_metadata(KeyValue::new(key, value));
        }
        self.writer
            .append_key_value_metadata(KeyValue::new(CONTENT.to_owned(), content.clone()));
        let Self {
            path,
            sink,
            writer,
            rows,
        } = self;
        let failed = |kind| WriteError {
            path: path.clone(),
            kind,
        };
        // Dropping the inner handle leaves `sink` as the only owner of the file.
        let inner = writer
            .into_inner()
            .map_err(|error| failed(WriteErrorKind::of_parquet(error, &sink)))?;
        drop(inner);
        let io = |error| failed(WriteErrorKind::of_io(error));
        let file = Arc::into_inner(sink.file)
            .ok_or_else(|| io(io::Error::other("the file is still being written")))?;
        let bytes = file.as_file().metadata().map_err(io)?.len();
        file.publish(&path).map_err(io)?;
        Ok(Written {
            rows,
            bytes,
            content,
        })
    }
}

fn slice_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| {
            let data = column.to_data();
            data.get_slice_memory_size()
                .unwrap_or_else(|_| column.get_array_memory_size())
        })
        .sum()
}

/// Temporary files are private; finished ones are as readable as any other new file.
#[cfg(unix)]
fn readable_by_all(file: &NamedTempFile) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all(_: &NamedTempFile) -> io::Result<()> {
    Ok(())
}

/// The folder in which `path` lies.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}

/// Makes `folder` and those above it that are missing; their names are on disk before anything is
/// put into them.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    make_folder(above)?;
    match Step::MakeFolder.take(|| fs_err::create_dir(folder)) {
        // Another piece needed it too.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    sync_folder(above)
}

/// What is in a folder is on disk once the folder is, too.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    Step::SyncFolder.take(|| fs_err::File::open(folder)?.sync_all())
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A new hidden file in `folder`, which is made if need be.
fn hidden_in(folder: &Path) -> io::Result<NamedTempFile> {
    make_folder(folder)?;
    let mut hidden = tempfile::Builder::new();
    hidden.prefix(PREFIX).suffix(SUFFIX);
    Step::Create.take(|| hidden.tempfile_in(folder))
}

/// Waits until `file` is on disk, and gives it the name `path`, in place of a file that had it.
fn name(file: NamedTempFile, path: &Path) -> io::Result<()> {
    readable_by_all(&file)?;
    Step::Sync.take(|| file.as_file().sync_all())?;
    Step::Rename
        .take(|| file.persist(path))
        .map_err(|error| error.error)?;
    sync_folder(folder_of(path))
}

/// Replaces the file at `path` by `bytes`, whole or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = hidden_in(folder_of(path))?;
    Step::Write.take(|| file.write_all(bytes))?;
    name(file, path)
}

/// A file in `folder` that nobody else sees, and that is gone once it is closed.
pub fn unnamed_in(folder: &Path) -> io::Result<File> {
    let file = hidden_in(folder)?;
    // A system without files that never had a name would leave one behind that nobody knows.
    Ok(Step::Delete.take(|| file.into_file()))
}

/// A place for what is only needed until a file is finished; gone when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: Location,
    /// For an object, a folder of its own on this machine.
    folder: Option<TempDir>,
}

impl Scratch {
    /// A place beside the file `path`, and for an object one on this machine. Whatever is left there
    /// counts as unfinished.
    pub fn of(path: &Location) -> Result<Self, WriteError> {
        match path {
            Location::File(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let path = path.with_file_name(format!("{PREFIX}{name}{SUFFIX}"));
                Ok(Self {
                    path: path.into(),
                    folder: None,
                })
            }
            Location::Object(_) => {
                let mut folder = tempfile::Builder::new();
                let folder = folder.prefix(PREFIX).tempdir_in(path.scratch());
                let folder = folder.map_err(|error| WriteError {
                    path: path.clone(),
                    kind: WriteErrorKind::of_io(error),
                })?;
                Ok(Self {
                    path: folder.path().join("rows.parquet").into(),
                    folder: Some(folder),
                })
            }
        }
    }

    /// Where it is.
    pub const fn path(&self) -> &Location {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is before the next run; a folder goes with its owner.
        if let (Location::File(path), None) = (&self.path, &self.folder) {
            drop(remove(path));
        }
    }
}

/// Removes unfinished files that a killed process left in `output` or below, and says how many.
/// Only for whoever holds the lock on it. In a store there are none.
pub fn remove_leftovers(output: &Location) -> io::Result<usize> {
    output.as_file().map_or(Ok(0), remove_leftovers_in)
}

fn remove_leftovers_in(folder: &Path) -> io::Result<usize> {
    let mut removed = 0;
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            remove(&entry.path())?;
            removed += 1;
        } else if entry.file_type()?.is_dir() {
            removed += remove_leftovers_in(&entry.path())?;
        }
    }
    Ok(removed)
}

/// Removes a file, unless it is gone: a thread that outlives its piece removes its own.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match Step::Delete.take(|| fs_err::remove_file(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests;
