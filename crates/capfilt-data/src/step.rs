//! The steps by which files come to stand in an output, any of which may be a program's last.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// One change of what is on disk or in a store. Every change on the way to a finished file is made through
/// [`Step::take`], so that a test can end the program before and after each of them:
/// `CAPFILT_END=before-rename:3` aborts it just before its third rename. That is all the variable
/// can do, and without it a step costs a look at a static.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A folder is made.
    MakeFolder,
    /// A hidden file is made, or the one that a lock is on.
    Create,
    /// Bytes are appended.
    Write,
    /// The bytes of a file are put on disk.
    Sync,
    /// A file gets its final name.
    Rename,
    /// The names in a folder are put on disk.
    SyncFolder,
    /// A file or an object goes.
    Delete,
    /// A part of an object goes up.
    Part,
    /// An object gets its content.
    Put,
}

/// The variable that ends the program at a step.
const VARIABLE: &str = "CAPFILT_END";

impl Step {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::MakeFolder,
        Self::Create,
        Self::Write,
        Self::Sync,
        Self::Rename,
        Self::SyncFolder,
        Self::Delete,
        Self::Part,
        Self::Put,
    ];

    /// Its name in the variable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MakeFolder => "make-folder",
            Self::Create => "create",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::SyncFolder => "sync-folder",
            Self::Delete => "delete",
            Self::Part => "part",
            Self::Put => "put",
        }
    }

    /// Takes the step, which is `work`.
    pub fn take<T>(self, work: impl FnOnce() -> T) -> T {
        self.reach("before");
        let done = work();
        self.reach("after");
        done
    }

    /// Ends the program where the variable says so.
    fn reach(self, side: &str) {
        static END: OnceLock<Option<End>> = OnceLock::new();
        let end = END.get_or_init(|| End::parse(&std::env::var(VARIABLE).ok()?));
        if let Some(end) = end
            && end.point.split_once('-') == Some((side, self.as_str()))
            && end.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            std::process::abort();
        }
    }
}

/// Where the program shall end.
#[derive(Debug)]
struct End {
    /// A side and a step, like `after-create`.
    point: String,
    /// How often that is still to be reached.
    left: AtomicU64,
}

impl End {
    fn parse(text: &str) -> Option<Self> {
        let (point, count) = text.rsplit_once(':')?;
        Some(Self {
            point: point.to_owned(),
            left: AtomicU64::new(count.parse().ok()?),
        })
    }
}
