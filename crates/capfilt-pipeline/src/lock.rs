//! One writer at a time in an output.

use std::fs::{File, TryLockError};

use capfilt_data::{Lease, LeaseError, Location, Step, make_folder};

use crate::error::RunError;

/// What the lock is on.
const LOCK: &str = ".lock";

/// Holds an output: dropping it gives it back.
#[derive(Debug)]
pub(crate) enum OutputLock {
    /// The lock is the system's: a process that is gone holds nothing.
    File {
        /// Closing the file gives the lock back.
        _file: File,
    },
    /// A process that is gone holds it until its lease runs out.
    Lease {
        /// What is given back.
        _lease: Lease,
    },
}

impl OutputLock {
    /// Takes `output` if there is one already.
    pub(crate) fn take_existing(output: &Location) -> Result<Option<Self>, RunError> {
        let is_there = output.is_folder()?;
        is_there.then(|| Self::take(output)).transpose()
    }

    /// Takes `output`; a folder is made if need be.
    pub(crate) fn take(output: &Location) -> Result<Self, RunError> {
        let busy = || RunError::Busy {
            output: output.clone(),
        };
        let path = match output.join(LOCK) {
            Location::File(path) => path,
            Location::Object(lock) => {
                return match Lease::take(&lock) {
                    Ok(lease) => Ok(Self::Lease { _lease: lease }),
                    Err(LeaseError::Held { .. }) => Err(busy()),
                    Err(error) => Err(error.into()),
                };
            }
        };
        make_folder(path.parent().unwrap_or(&path))?;
        let mut options = fs_err::OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = Step::Create.take(|| options.open(&path))?;
        let file = file.into_parts().0;
        match file.try_lock() {
            Ok(()) => Ok(Self::File { _file: file }),
            Err(TryLockError::WouldBlock) => Err(busy()),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }
}
