use tempfile::TempDir;

use super::*;
use crate::failure;

/// A folder with pipeline files.
struct Place {
    temporary: TempDir,
    folder: Folder,
}

impl Place {
    fn new() -> Self {
        let temporary = TempDir::new().unwrap();
        fs_err::create_dir(temporary.path().join("pipelines")).unwrap();
        let folder = Folder::open(&temporary.path().join("pipelines")).unwrap();
        Self { temporary, folder }
    }

    fn put(&self, file: &str, keys: &str) {
        let text = format!(
            "name = \"test\"\n{keys}\n[source]\nshards = \"in/*.parquet\"\n[sink]\noutput = \"out/{file}\"\n"
        );
        self.write(file, &text);
    }

    fn write(&self, file: &str, text: &str) {
        fs_err::write(self.path(file), text).unwrap();
    }

    fn path(&self, file: &str) -> PathBuf {
        self.temporary.path().join("pipelines").join(file)
    }

    /// Each file, and what starts it or what is wrong with it.
    fn look(&mut self) -> Vec<String> {
        let files = self.folder.look().unwrap();
        let told = files.into_iter().map(|(file, entry)| match entry {
            Ok(entry) => format!("{file}: {entry}"),
            Err(error) => failure::text(&error, None),
        });
        // Folders as they are written and as they are found.
        let folder = fs_err::canonicalize(self.temporary.path()).unwrap();
        told.map(|told| {
            told.replace(&folder.display().to_string(), "[DIR]")
                .replace(&self.temporary.path().display().to_string(), "[DIR]")
        })
        .collect()
    }

    fn newest(&mut self, file: &str) -> Option<String> {
        let mut files = self.folder.look().unwrap();
        files.remove(file).unwrap().unwrap().after.unwrap().newest
    }
}

#[test]
fn the_files_of_a_folder_and_what_starts_them() {
    let mut place = Place::new();
    place.put("a.toml", "schedule = \"0 3 * * *\"");
    place.put("b.toml", "after = \"a.toml\"");
    place.put(
        "c.toml",
        "after = \"./b.toml\"\nschedule = { cron = \"5 * * * *\", time-zone = \"Asia/Tokyo\" }",
    );
    place.put("d.toml", "");
    place.put("e.toml", "after = \"../elsewhere.toml\"");
    place.put("../elsewhere.toml", "");
    place.write(".#a.toml", "kept by an editor");
    place.write("README.md", "# read me");
    fs_err::create_dir(place.path("folder.toml")).unwrap();
    assert_eq!(
        place.look(),
        [
            "a.toml: 0 3 * * * UTC",
            "b.toml: after a.toml",
            "c.toml: 5 * * * * Asia/Tokyo, after b.toml",
            "d.toml: by hand",
            "e.toml: after [DIR]/elsewhere.toml",
        ]
    );
}

#[test]
fn an_after_that_names_no_pipeline_is_refused() {
    let mut place = Place::new();
    place.put("a.toml", "after = \"b.toml\"");
    let missing = "`a.toml`: `after`: there is no file `[DIR]/pipelines/b.toml`; expected another file, \
                   relative to this one";
    assert_eq!(place.look(), [format!("error: {missing}")]);
    place.put("a.toml", "after = \"no/b.toml\"");
    let told = Place {
        folder: Folder::open(&place.path("")).unwrap(),
        ..place
    }
    .look();
    assert!(told[0].contains("there is no file"), "{told:?}");
}

#[test]
fn an_after_that_names_something_else_is_refused() {
    let mut place = Place::new();
    place.put("a.toml", "after = \"../b.toml\"");
    place.write("../b.toml", "[package]\nname = \"b\"\n");
    let told = place.look();
    let start = "error: `a.toml`: `after`: `[DIR]/pipelines/../b.toml` is no file that can be used";
    assert!(told[0].starts_with(start), "{told:?}");
    assert!(told[0].contains("unknown field `package`"), "{told:?}");
}

#[test]
fn trainings_and_bootstraps_are_told_from_pipelines() {
    let mut place = Place::new();
    place.put("run.toml", "");
    let sizes = "vision = { image-size = 32, patch = 8, width = 16, layers = 1, heads = 2 }\n\
                 text = { width = 16, layers = 1, heads = 2, positions = 30 }\n";
    let how = "training = { batch = 4, steps = 8 }\nlearning-rate = { peak = 1e-3 }\n";
    place.write(
        "train.toml",
        &format!("after = \"run.toml\"\noutput = \"out/train\"\n{how}data = [{{ shards = \"in\" }}]\n[model]\nfamily = \"clip\"\nembed = 8\n{sizes}"),
    );
    // Its data may be made by the file that it comes after.
    let phases = ["pretrain", "finetune-captioner", "finetune-filter"];
    let phases: String = phases.map(|name| format!("[{name}]\n{how}")).concat();
    let data =
        "[human]\nshards = \"no\"\n[web]\nshards = \"no\"\n[held-out.test]\nshards = \"no\"\n";
    place.write(
        "loop.toml",
        &format!("after = \"train.toml\"\noutput = \"out/loop\"\n[model]\nqueue = 8\n{sizes}{data}{phases}[[arm]]\nname = \"both\"\n"),
    );
    assert_eq!(
        place.look(),
        [
            "loop.toml: after train.toml",
            "run.toml: by hand",
            "train.toml: after run.toml"
        ]
    );
    let commands = ["loop.toml", "run.toml", "train.toml"].map(|file| {
        let [command, path] = place.folder.arguments(file);
        assert_eq!(path, place.path(file));
        command
    });
    assert_eq!(commands, ["bootstrap", "run", "train"]);
    let runs = place.path("out/train/runs");
    fs_err::create_dir_all(&runs).unwrap();
    fs_err::write(
        runs.join("2026-11-24T22-31-05Z.json"),
        "{\"state\": \"finished\"}",
    )
    .unwrap();
    assert_eq!(place.newest("loop.toml").unwrap(), "2026-11-24T22-31-05Z");
}

#[test]
fn circles_are_refused_of_whatever_length() {
    let mut place = Place::new();
    place.put("a.toml", "after = \"a.toml\"");
    place.put("b.toml", "after = \"c.toml\"");
    place.put("c.toml", "after = \"../d.toml\"\nschedule = \"0 3 * * *\"");
    place.put("../d.toml", "after = \"pipelines/b.toml\"");
    place.put("e.toml", "after = \"b.toml\"");
    let told = place.look();
    assert!(
        told[0].contains("a.toml after a.toml is a circle"),
        "{told:?}"
    );
    let (b, c) = (&told[1], &told[2]);
    assert!(
        b.contains("b.toml after c.toml after [DIR]/d.toml after b.toml is a circle"),
        "{b}"
    );
    assert!(
        c.contains("c.toml after [DIR]/d.toml after b.toml after c.toml is a circle"),
        "{c}"
    );
    assert_eq!(told[3], "e.toml: after b.toml", "it is in no circle itself");
}

#[test]
fn edits_count_once_they_stand_still() {
    let mut place = Place::new();
    place.put("a.toml", "schedule = \"0 3 * * *\"");
    assert_eq!(place.look(), ["a.toml: 0 3 * * * UTC"]);
    place.write("a.toml", "name = \"te");
    assert_eq!(place.look(), ["a.toml: 0 3 * * * UTC"], "half written");
    place.put("a.toml", "schedule = \"0 4 * * *\"");
    assert_eq!(place.look(), ["a.toml: 0 3 * * * UTC"], "not yet twice");
    assert_eq!(place.look(), ["a.toml: 0 4 * * * UTC"]);
    place.put("b.toml", "after = \"a.toml\"");
    assert_eq!(
        place.look(),
        ["a.toml: 0 4 * * * UTC", "b.toml: after a.toml"]
    );
    // A file that is broken for good is refused, and takes no other along but those after it.
    place.write("a.toml", "name = 1");
    place.put("c.toml", "");
    place.look();
    let told = place.look();
    assert!(
        told[0].starts_with("error: cannot use the pipeline"),
        "{told:?}"
    );
    assert!(told[1].contains("`after`"), "{told:?}");
    assert_eq!(told[2], "c.toml: by hand");
    fs_err::remove_file(place.path("a.toml")).unwrap();
    assert!(place.look()[0].contains("there is no file"));
}

#[test]
fn new_output_is_found_by_whomever_it_was_made() {
    let mut place = Place::new();
    place.put("a.toml", "");
    place.put("b.toml", "after = \"a.toml\"");
    assert_eq!(place.newest("b.toml"), None);
    let runs = place.path("out/a.toml/runs");
    fs_err::create_dir_all(&runs).unwrap();
    let put = |name: &str| {
        fs_err::write(
            runs.join(format!("{name}.json")),
            "{\"state\": \"finished\"}",
        )
        .unwrap();
    };
    put("2026-11-24T22-31-05Z");
    assert_eq!(place.newest("b.toml").unwrap(), "2026-11-24T22-31-05Z");
    put("2026-11-24T22-31-05Z-02");
    assert_eq!(place.newest("b.toml").unwrap(), "2026-11-24T22-31-05Z-02");
}
