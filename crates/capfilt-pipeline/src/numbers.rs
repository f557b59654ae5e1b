//! Which rows of a shard go through the stages together.

use std::fmt;
use std::iter::Flatten;
use std::ops::Range;
use std::sync::Arc;

use capfilt_data::Piece;

/// Row numbers of a shard, ascending, as ranges: a whole piece is one range, and the rows of it that
/// are tried again are many short ones.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Numbers(Arc<[Range<u64>]>);

/// Row numbers one by one.
pub(crate) type Each = Flatten<std::vec::IntoIter<Range<u64>>>;

impl Numbers {
    /// All rows of `piece`.
    pub(crate) fn of_piece(piece: &Piece) -> Self {
        std::iter::once(piece.first..piece.first + piece.rows).collect()
    }

    /// The first one.
    pub(crate) fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.start)
    }

    /// Whether `number` is one of them.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.within(&(number..number + 1)).next().is_some()
    }

    /// Those in `rows`, in ranges.
    pub(crate) fn within(&self, rows: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let after = self.0.partition_point(|range| range.end <= rows.start);
        let (start, end) = (rows.start, rows.end);
        self.0[after..]
            .iter()
            .take_while(move |range| range.start < end)
            .map(move |range| range.start.max(start)..range.end.min(end))
            .filter(|range| !range.is_empty())
    }

    /// The same rows, counted from `first` on.
    pub(crate) fn counted_from(&self, first: u64) -> Self {
        let ranges = self.0.iter();
        ranges
            .map(|range| range.start.saturating_sub(first)..range.end.saturating_sub(first))
            .collect()
    }

    /// Each of them.
    pub(crate) fn each(&self) -> Each {
        Vec::from(&*self.0).into_iter().flatten()
    }
}

/// One range in full, many in short.
impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            [] => f.write_str("none"),
            [range] => write!(f, "{range:?}"),
            [first, .., last] => {
                write!(f, "{}..{} in {} parts", first.start, last.end, self.0.len())
            }
        }
    }
}

/// From single numbers or ranges that ascend; neighbours become one range.
impl FromIterator<Range<u64>> for Numbers {
    fn from_iter<T: IntoIterator<Item = Range<u64>>>(ranges: T) -> Self {
        let mut all: Vec<Range<u64>> = Vec::new();
        for range in ranges.into_iter().filter(|range| !range.is_empty()) {
            match all.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => all.push(range),
            }
        }
        Self(all.into())
    }
}

#[cfg(test)]
mod tests;
