//! Curves as they are drawn and told: with few points.

/// Of more than about `most` points, those at equal steps; the last is always among them.
pub(crate) fn thinned<T>(points: &[T], most: usize) -> impl Iterator<Item = &T> {
    let stride = points.len().div_ceil(most).max(1);
    let last = points.len().saturating_sub(1);
    let told = points.iter().enumerate();
    told.filter(move |(place, _)| place.is_multiple_of(stride) || *place == last)
        .map(|(_, point)| point)
}
