use std::cell::Cell;

thread_local! {
    static TEXT_PASSES: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn count_text_pass() {
    TEXT_PASSES.set(TEXT_PASSES.get() + 1);
}
