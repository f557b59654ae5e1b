//! One writer at a time in an output folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use capfilt_data::{Step, make_folder};

use crate::error::RunError;

/// Holds an output folder. The lock is the system's: a process that is gone holds nothing.
#[derive(Debug)]
pub(crate) struct OutputLock {
    /// Closing the file gives the lock back.
    _file: File,
}

impl OutputLock {
    /// Takes `output`, which is made if need be.
    pub(crate) fn take(output: &Path) -> Result<Self, RunError> {
        make_folder(output)?;
        let mut options = fs_err::OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = Step::Create.take(|| options.open(output.join(".lock")))?;
        let file = file.into_parts().0;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(RunError::Busy {
                output: output.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }
}
