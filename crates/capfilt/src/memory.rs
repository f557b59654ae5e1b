//! How freed memory goes back to the system.

/// Buffers of this many bytes or more are given back as soon as they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: std::ffi::c_int = 4 << 20;

/// The most that may be kept in a heap: the GNU allocator takes no larger limit.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGEST: std::ffi::c_int = 32 << 20;

/// Freed bytes at the end of a heap that are kept for what comes next. Without it every picture's
/// buffers were given back and asked for again, which was a fifth of the time of decoding.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: std::ffi::c_int = 16 << 20;

/// Makes the allocator give large buffers back when they are freed.
///
/// By default the GNU allocator takes the first large buffer that is freed as a sign that more of
/// its size will come, and from then on keeps such buffers in the heap of the thread that asked for
/// them: a run over pages of 25 MB then held 300 MB that nobody used. A fixed limit turns that off.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back_large_buffers() {
    set(LARGE, KEPT);
}

/// Makes the allocator keep freed buffers: every step of a training asks for the same again, and
/// pages that come anew from the system are cleared and mapped one by one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn keep_large_buffers() {
    set(LARGEST, std::ffi::c_int::MAX);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set(large: std::ffi::c_int, kept: std::ffi::c_int) {
    #[expect(
        unsafe_code,
        reason = "a setting of the C allocator; there is no safe call for it"
    )]
    // SAFETY: `mallopt` takes two numbers and may be called at any time; main calls it before other
    // threads start.
    let set = unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, large) & libc::mallopt(libc::M_TRIM_THRESHOLD, kept)
    };
    if set == 0 {
        tracing::debug!("the allocator keeps its own limits");
    }
}

/// Other allocators give large buffers back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back_large_buffers() {}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_large_buffers() {}
