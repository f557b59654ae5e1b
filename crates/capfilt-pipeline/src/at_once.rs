//! The same for many things at once, on threads of their own.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Things that wait at the same time: a store answers each request after a while only.
const WAITING: usize = 16;

/// Processors that the program may use.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// What `work`, which mostly waits, gives for each of `items`, in their order. Blocks.
pub(crate) fn at_once<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    on_threads(WAITING, items, work)
}

/// What `work`, which mostly computes, gives for each of `items`, in their order. After the first error
/// nothing is begun any more. Blocks.
pub(crate) fn try_on_processors<I: Sync, T: Send, E: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let has_failed = AtomicBool::new(false);
    let done = on_threads(processors(), items, |item| {
        if has_failed.load(Ordering::Relaxed) {
            return None;
        }
        let one = work(item);
        has_failed.fetch_or(one.is_err(), Ordering::Relaxed);
        Some(one)
    });
    done.into_iter().flatten().collect()
}

fn on_threads<I: Sync, T: Send>(
    threads: usize,
    items: &[I],
    work: impl Fn(&I) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    let one = (index, work(item));
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(one);
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_begun_after_an_error() {
        let items: Vec<usize> = (0..1_000).collect();
        let begun = AtomicUsize::new(0);
        let done = try_on_processors(&items, |item| {
            begun.fetch_add(1, Ordering::Relaxed);
            thread::sleep(std::time::Duration::from_millis(u64::from(*item > 3)));
            if *item == 3 { Err("three") } else { Ok(*item) }
        });
        assert_eq!(done, Err("three"));
        assert!(begun.into_inner() < items.len());
        assert_eq!(
            try_on_processors(&items, |item| Ok::<_, ()>(*item)),
            Ok(items)
        );
    }

    #[test]
    fn what_comes_out_is_in_order() {
        let items: Vec<usize> = (0..1_000).collect();
        let doubled = at_once(&items, |item| {
            if item % 97 == 0 {
                thread::sleep(std::time::Duration::from_millis(5));
            }
            2 * item
        });
        assert!(
            doubled
                .iter()
                .enumerate()
                .all(|(index, two)| *two == 2 * index)
        );
        assert_eq!(doubled.len(), items.len());
        assert!(at_once(&[(); 0], |()| ()).is_empty());
    }
}
