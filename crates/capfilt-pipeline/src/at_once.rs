//! The same for many things at once, on threads of their own: what waits for a store waits side by side.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Things that are under way at the same time: a store answers each request after a while only.
const AT_ONCE: usize = 16;

/// What `work` gives for each of `items`, in their order. Blocks.
pub(crate) fn at_once<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(items.len()) {
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
