//! Parts of tensors, and transposed tensors, by names of their own.
//!
//! `torch.nn.MultiheadAttention` keeps the three matrices of queries, keys and values in one tensor,
//! and `open_clip` keeps projections as `x @ W`. `name[1/3]` is the second of three equal parts of
//! the rows of `name`, and `name^T` its transpose.

use super::Checkpoint;
use crate::error::ImportError;

/// Name of part `index` of `count` equal parts of the rows of a tensor.
pub(crate) fn part(name: &str, index: usize, count: usize) -> String {
    format!("{name}[{index}/{count}]")
}

/// Name of a matrix, transposed.
pub(crate) fn transposed(name: &str) -> String {
    format!("{name}^T")
}

/// What a name asks for.
enum View<'a> {
    Part {
        of: &'a str,
        index: usize,
        count: usize,
    },
    Transposed {
        of: &'a str,
    },
}

impl<'a> View<'a> {
    /// The view that `name` stands for, unless it is a tensor's own.
    fn of(name: &'a str) -> Option<Self> {
        if let Some(of) = name.strip_suffix("^T") {
            return Some(Self::Transposed { of });
        }
        let (of, part) = name.strip_suffix(']')?.rsplit_once('[')?;
        let (index, count) = part.split_once('/')?;
        Some(Self::Part {
            of,
            index: index.parse().ok()?,
            count: count.parse().ok()?,
        })
    }
}

impl Checkpoint {
    /// Values of a tensor, a part of one or a transposed one, of shape `expected`; converted to f32,
    /// row-major.
    pub fn read(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, ImportError> {
        match (View::of(name), expected) {
            (None, _) => self.whole(name, expected),
            (Some(View::Part { of, index, count }), [rows, rest @ ..]) => {
                let whole = self.whole(of, &[&[rows * count], rest].concat())?;
                let size = whole.len() / count.max(1);
                Ok(whole
                    .chunks(size.max(1))
                    .nth(index)
                    .unwrap_or_default()
                    .to_vec())
            }
            (Some(View::Transposed { of }), &[rows, columns]) => {
                let whole = self.whole(of, &[columns, rows])?;
                let column = |column: usize| whole.iter().copied().skip(column).step_by(rows);
                Ok((0..rows).flat_map(column).collect())
            }
            // Vectors are their own transposes, and nothing else is asked for.
            (Some(View::Transposed { of } | View::Part { of, .. }), _) => self.whole(of, expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn parts_and_transposes_are_cut_from_the_whole() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tiny");
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let name = "itm_head.weight";
        let shape = checkpoint.shape(name).unwrap().to_vec();
        let [rows, columns] = shape[..] else {
            panic!("{shape:?}")
        };
        let whole = checkpoint.read(name, &shape).unwrap();
        let second = checkpoint
            .read(&part(name, 1, 2), &[rows / 2, columns])
            .unwrap();
        assert_eq!(second, whole[whole.len() / 2..]);
        let turned = checkpoint
            .read(&transposed(name), &[columns, rows])
            .unwrap();
        for row in 0..rows {
            for column in 0..columns {
                let (got, expected) = (turned[column * rows + row], whole[row * columns + column]);
                assert_eq!(got.to_bits(), expected.to_bits());
            }
        }
        let error = checkpoint
            .read(&part(name, 0, 3), &[rows, columns])
            .unwrap_err();
        let got = error.to_string();
        assert!(
            got.contains("`itm_head.weight` has shape") && got.contains("expected [6,"),
            "{got}"
        );
    }
}
