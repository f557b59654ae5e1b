//! Cores that commands side by side keep to, so that they do not get in each other's way.

use std::io;

/// Cores that a command may run on. Its threads are as many, since the standard library, rayon and
/// tokio count what a process is allowed.
#[derive(Clone, Debug)]
pub(crate) struct Cores(Option<Vec<usize>>);

impl Cores {
    /// `count` equal parts of the cores that this thread may run on; where there are fewer cores, some have the same.
    /// Systems without such a thing give parts that are everything.
    pub(crate) fn parts(count: usize) -> io::Result<Vec<Self>> {
        if count == 1 {
            return Ok(vec![Self(None)]);
        }
        let all = affinity::get()?;
        let part = |index: usize| -> Option<Vec<usize>> {
            let all = all.as_ref().filter(|all| !all.is_empty())?;
            let bounds = index * all.len() / count..(index + 1) * all.len() / count;
            Some(if bounds.is_empty() {
                vec![all[index % all.len()]]
            } else {
                all[bounds].to_vec()
            })
        };
        Ok((0..count).map(|index| Self(part(index))).collect())
    }

    /// Does `work` on these cores. A process that it starts stays on them.
    pub(crate) fn during<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(cores) = &self.0 else {
            return work();
        };
        let before = affinity::get()?.unwrap_or_default();
        affinity::set(cores)?;
        let done = work();
        affinity::set(&before)?;
        done
    }
}

#[cfg(target_os = "linux")]
mod affinity {
    use std::io;

    /// Cores that this thread may run on.
    pub(super) fn get() -> io::Result<Option<Vec<usize>>> {
        #[expect(
            unsafe_code,
            reason = "the standard library tells how many cores, not which"
        )]
        // SAFETY: all zeros is an empty set; the kernel writes at most the size that is passed; indices are below
        // `CPU_SETSIZE`.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            if libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) != 0 {
                return Err(io::Error::last_os_error());
            }
            let most = usize::try_from(libc::CPU_SETSIZE).unwrap_or_default();
            Ok(Some(
                (0..most)
                    .filter(|&core| libc::CPU_ISSET(core, &set))
                    .collect(),
            ))
        }
    }

    /// Keeps this thread, and processes that it starts, to `cores`.
    pub(super) fn set(cores: &[usize]) -> io::Result<()> {
        #[expect(unsafe_code, reason = "the standard library has no such thing")]
        // SAFETY: all zeros is an empty set, `cores` are below `CPU_SETSIZE` as `get` found them, and the kernel
        // reads the size that is passed.
        let status = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            for &core in cores {
                libc::CPU_SET(core, &mut set);
            }
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
        };
        if status == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod affinity {
    use std::io;

    pub(super) fn get() -> io::Result<Option<Vec<usize>>> {
        Ok(None)
    }

    pub(super) fn set(_cores: &[usize]) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn parts_are_disjoint_and_a_process_stays_on_its_own() {
        let all = affinity::get().unwrap().unwrap();
        let parts = Cores::parts(all.len()).unwrap();
        let mut together: Vec<usize> = parts
            .iter()
            .flat_map(|part| part.0.clone().unwrap())
            .collect();
        together.sort_unstable();
        assert_eq!(together, all);
        let last = parts.last().unwrap();
        let counted = last
            .during(|| std::process::Command::new("nproc").output())
            .unwrap();
        let expected = if all.len() == 1 { all.len() } else { 1 };
        assert_eq!(
            String::from_utf8(counted.stdout).unwrap().trim(),
            expected.to_string()
        );
        // This thread is where it was.
        assert_eq!(affinity::get().unwrap().unwrap(), all);
    }

    #[test]
    fn more_parts_than_cores_share_them() {
        let all = affinity::get().unwrap().unwrap();
        for part in Cores::parts(3 * all.len() + 1).unwrap() {
            assert!(!part.0.unwrap().is_empty());
        }
    }
}
