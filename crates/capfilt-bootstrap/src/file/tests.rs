use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use capfilt_data::PieceWriter;
use tempfile::TempDir;

use crate::file::{BootstrapFile, FileError};

/// A folder with data of one row, and a bootstrap file about it with `more` at its end.
pub(crate) fn folder(more: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["human", "web", "test"] {
        write(&folder.path().join(format!("{name}.parquet")), "a cat");
    }
    let path = folder.path().join("loop.toml");
    fs_err::write(&path, format!("{FILE}{more}")).unwrap();
    (folder, path)
}

/// A file of one row with this text.
pub(crate) fn write(path: &Path, text: &str) {
    let text: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let fits: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let columns = [("image", &text), ("text", &text), ("fits", &fits)];
    let columns = columns.map(|(name, column)| (name, Arc::clone(column)));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut file = PieceWriter::create(path, batch.schema()).unwrap();
    file.write(&batch).unwrap();
    file.publish([]).unwrap();
}

pub(crate) const FILE: &str = r#"
output = "out"
[model]
vision = { image-size = 32, patch = 8, width = 16, layers = 1, heads = 2 }
text = { width = 16, layers = 1, heads = 2, positions = 24 }
tokens = 24
queue = 8
[human]
shards = "human.parquet"
[web]
shards = "web.parquet"
truth = "fits"
[held-out.test]
shards = "test.parquet"
[pretrain]
training = { batch = 4, steps = 8 }
learning-rate = { peak = 1e-3 }
[finetune-captioner]
training = { batch = 4, steps = 4 }
learning-rate = { peak = 1e-4 }
[finetune-filter]
training = { batch = 4, steps = 4 }
learning-rate = { peak = 1e-4 }
"#;

fn refused(more: &str) -> FileError {
    let (_folder, path) = folder(more);
    BootstrapFile::load(&path, None).unwrap_err()
}

fn reason(more: &str) -> String {
    match refused(more) {
        FileError::Value { reason, .. } => reason,
        other => other.to_string(),
    }
}

#[test]
fn paths_are_relative_to_the_file_and_output_to_the_current_folder() {
    let (folder, path) = folder("[[arm]]\nname = \"both\"");
    let file = BootstrapFile::load(&path, None).unwrap();
    assert_eq!(file.output, Some(folder.path().join("out")));
    assert_eq!(
        Path::new(&file.web.shards),
        folder.path().join("web.parquet")
    );
    let file = BootstrapFile::load(&path, Some(Path::new("elsewhere"))).unwrap();
    assert_eq!(file.output, Some("elsewhere".into()));
}

#[test]
fn files_of_steps_elsewhere_can_name_the_data_of_a_file_with_a_relative_path() {
    let (folder, path) = folder("[[arm]]\nname = \"both\"");
    let here = std::env::current_dir().unwrap();
    let to_root: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let path = to_root.join(path.strip_prefix("/").unwrap());
    assert!(path.is_relative());
    let file = BootstrapFile::load(&path, None).unwrap();
    let data = [&file.human.shards, &file.web.shards];
    for shards in data
        .into_iter()
        .chain(file.held_out.values().map(|set| &set.shards))
    {
        assert!(Path::new(shards).is_absolute(), "{shards}");
    }
    let (steps, _) = crate::steps(&file);
    let layout = crate::Layout::new(file.output.as_deref().unwrap());
    let told = steps[0].file(&file, &layout).unwrap().unwrap();
    let step = folder.path().join("step.toml");
    fs_err::write(&step, told).unwrap();
    let step = capfilt_train::TrainFile::load(&step, None).unwrap();
    for data in step.data {
        assert!(Path::new(&data.shards).is_file(), "{}", data.shards);
    }
}

#[test]
fn a_file_that_makes_no_sense_is_refused() {
    let arms = |arms: &str| reason(arms);
    assert!(arms("").contains("`[[arm]]`"), "{}", arms(""));
    let same = "[[arm]]\nname = \"a\"\n[[arm]]\nname = \"a\"";
    assert_eq!(arms(same), "two arms are called `a`");
    assert!(arms("[[arm]]\nname = \"a/b\"").contains("names folders"));
    assert!(arms("[[arm]]\nname = \"m0\"").contains("first model"));
    let replicated = "[[arm]]\nname = \"a\"\ncaptioner = false\nfilter = false\nreplicate = \"b\"\n[[arm]]\nname = \"b\"";
    assert!(arms(replicated).contains("an arm above it"));
    let table = "[[arm]]\nname = \"a\"\n[[table]]\ntitle = \"t\"\narms = [\"b\"]";
    assert!(arms(table).contains("names the arm `b`"));
    let long = "[[arm]]\nname = \"a\"\ndecoding = { beam = { max-length = 25 } }";
    assert!(arms(long).contains("`max-length` of 25"));
    let beams = refused("[[arm]]\nname = \"a\"\ndecoding = { beam = { beams = 0 } }");
    assert!(matches!(beams, FileError::Decoding { .. }), "{beams}");
    let unknown = refused("[[arm]]\nname = \"a\"\ncaptioneer = true");
    assert!(unknown.to_string().contains("captioneer"), "{unknown}");
}

#[test]
fn sizes_that_do_not_fit_are_told_before_the_first_step() {
    let (_folder, path) = folder("[[arm]]\nname = \"both\"");
    let text = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, text.replace("queue = 8", "queue = 6")).unwrap();
    let error = BootstrapFile::load(&path, None).unwrap_err().to_string();
    assert!(
        error.contains("`model`, for `pretrain`: `queue` is 6"),
        "{error}"
    );
}

#[test]
fn data_is_looked_at_before_anything_is_trained() {
    let (folder, path) = folder("[[arm]]\nname = \"both\"");
    let text = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, text.replace("truth = \"fits\"", "truth = \"fit\"")).unwrap();
    let error = BootstrapFile::load(&path, None).unwrap_err().to_string();
    assert!(
        error.contains("no column `fit`; it has image, text, fits"),
        "{error}"
    );
    fs_err::remove_file(folder.path().join("test.parquet")).unwrap();
    fs_err::write(&path, text).unwrap();
    let error = BootstrapFile::load(&path, None).unwrap_err();
    assert!(
        error.to_string().ends_with("`held-out.test.shards`"),
        "{error}"
    );
}
