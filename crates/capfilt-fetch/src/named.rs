//! A folder that a file names.

use std::ops::Deref;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A folder as a file names it, and where that is. It is written and read as the place.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub struct NamedFolder {
    written: PathBuf,
    place: PathBuf,
}

impl NamedFolder {
    /// Says where it lies: `anchored` of how it was written.
    pub(crate) fn anchor(&mut self, anchored: impl Fn(&Path) -> PathBuf) {
        self.place = anchored(&self.written);
    }

    /// How it was written, without what leads nowhere: `./a/../b` is `b`. The file that names it
    /// may move along with it.
    pub(crate) fn what_counts(&self) -> Self {
        normal(&self.written).into()
    }

    /// Whether `joined` may be this folder: the path of the file that names it, as somebody wrote that
    /// from a place that is not known any more, with this folder's path behind it.
    pub fn may_be(&self, joined: &Path) -> bool {
        let written = normal(&self.written);
        let joined = normal(joined);
        if written.is_absolute() {
            return joined == written;
        }
        // `p/../photos` has lost the `..` that it was written with.
        let parts = written.components();
        let below: PathBuf = parts
            .skip_while(|part| matches!(part, Component::ParentDir | Component::CurDir))
            .collect();
        joined.ends_with(below)
    }
}

impl From<PathBuf> for NamedFolder {
    fn from(path: PathBuf) -> Self {
        Self {
            written: path.clone(),
            place: path,
        }
    }
}

impl From<NamedFolder> for PathBuf {
    fn from(folder: NamedFolder) -> Self {
        folder.place
    }
}

/// Where it is.
impl Deref for NamedFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.place
    }
}

/// `path` without `.`, and without names that `..` leaves again; `.` where nothing is left.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match (part, normal.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                normal.pop();
            }
            (part, _) => normal.push(part),
        }
    }
    if normal.as_os_str().is_empty() {
        normal.push(".");
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(written: &str) -> NamedFolder {
        PathBuf::from(written).into()
    }

    #[test]
    fn it_counts_as_it_was_written_and_lies_where_it_is() {
        for (written, counts) in [
            ("photos", "photos"),
            ("./photos/", "photos"),
            ("./a/../b", "b"),
            ("a/b/../../c/.", "c"),
            ("../photos", "../photos"),
            ("a/../../b", "../b"),
            ("../../a/..", "../.."),
            (".", "."),
            ("a/..", "."),
            ("/photos/./2024", "/photos/2024"),
            ("/../photos", "/photos"),
        ] {
            let mut folder = named(written);
            folder.anchor(|path| Path::new("/srv/us").join(path));
            assert_eq!(&*folder, Path::new("/srv/us").join(written));
            assert_eq!(
                PathBuf::from(folder.what_counts()),
                PathBuf::from(counts),
                "{written}"
            );
        }
    }

    #[test]
    fn it_is_known_again_wherever_its_file_was_named_from() {
        for (written, joined, may_be) in [
            ("photos", "photos", true),
            ("photos", "p/photos", true),
            ("photos", "./p/photos/", true),
            ("photos", "/srv/us/p/./photos", true),
            ("./a/../photos", "p/./a/../photos", true),
            ("../photos", "p/../photos", true),
            ("../photos", "/srv/us/p/../photos", true),
            ("../photos", "../photos", true),
            (".", "p/.", true),
            ("photos", "p/other", false),
            ("photos", "p/old-photos", false),
            ("b/photos", "p/photos", false),
            ("/photos", "/photos", true),
            ("/photos", "/p/photos", false),
            ("/photos", "photos", false),
        ] {
            let found = named(written).may_be(Path::new(joined));
            assert_eq!(found, may_be, "{written} {joined}");
        }
    }
}
