//! Similarities of pictures and texts, as a matrix or made from features row by row.

/// Similarities of some pictures with some texts; all of them are numbers.
pub trait Similarities {
    /// That of one picture and one text.
    fn pair(&self, picture: usize, text: usize) -> f32;

    /// Those of one picture with all texts, in order, into `row`.
    fn row(&self, picture: usize, row: &mut [f32]);
}

/// Why values are no similarities.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SimilarityError {
    /// The values are no rows of one width.
    #[error("{got} values are no rows of {width}")]
    Width {
        /// How many values there are.
        got: usize,
        /// Values in a row.
        width: usize,
    },
    /// A value is infinite or no number.
    #[error("value {index} of row {row} is not a finite number")]
    NotFinite {
        /// The row.
        row: usize,
        /// The value's place in it.
        index: usize,
    },
}

/// Splits `values` into rows of `width` finite numbers.
fn check(values: &[f32], width: usize) -> Result<(), SimilarityError> {
    if width == 0 || !values.len().is_multiple_of(width) {
        let got = values.len();
        return Err(SimilarityError::Width { got, width });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(SimilarityError::NotFinite {
            row: at / width,
            index: at % width,
        }),
        None => Ok(()),
    }
}

/// A matrix of similarities, `[pictures, texts]`.
#[derive(Clone, Debug)]
pub struct Matrix {
    values: Vec<f32>,
    texts: usize,
}

impl Matrix {
    /// Takes the values of all pictures with `texts` texts, picture by picture.
    pub fn new(values: Vec<f32>, texts: usize) -> Result<Self, SimilarityError> {
        check(&values, texts)?;
        Ok(Self { values, texts })
    }
}

impl Similarities for Matrix {
    fn pair(&self, picture: usize, text: usize) -> f32 {
        self.values[picture * self.texts + text]
    }

    fn row(&self, picture: usize, row: &mut [f32]) {
        row.copy_from_slice(&self.values[picture * self.texts..][..self.texts]);
    }
}

/// Features of pictures and texts, whose dot products are the similarities. The matrix of these is
/// never whole in memory.
///
/// A product is summed in f64 from the first value to the last and rounded once, as the matcher
/// does it, so that equal features give the matcher's similarity, bit for bit.
#[derive(Clone, Debug)]
pub struct Features {
    width: usize,
    pictures: Vec<f32>,
    texts: usize,
    /// Texts in blocks of [`LANES`], in which value after value is that of all texts of the block.
    blocks: Vec<f32>,
}

/// Texts that are multiplied side by side.
const LANES: usize = 16;

impl Features {
    /// Takes features of `width` values, one after the other.
    pub fn new(width: usize, pictures: Vec<f32>, texts: &[f32]) -> Result<Self, SimilarityError> {
        check(&pictures, width)?;
        check(texts, width)?;
        let count = texts.len() / width;
        let mut blocks = vec![0.0; count.div_ceil(LANES) * LANES * width];
        for (text, values) in texts.chunks(width).enumerate() {
            let block = &mut blocks[text / LANES * LANES * width..];
            for (value, lanes) in values.iter().zip(block.chunks_mut(LANES)) {
                lanes[text % LANES] = *value;
            }
        }
        Ok(Self {
            width,
            pictures,
            texts: count,
            blocks,
        })
    }

    fn picture(&self, picture: usize) -> &[f32] {
        &self.pictures[picture * self.width..][..self.width]
    }
}

impl Similarities for Features {
    fn pair(&self, picture: usize, text: usize) -> f32 {
        let block = &self.blocks[text / LANES * LANES * self.width..];
        let lane = block.iter().skip(text % LANES).step_by(LANES);
        let products = self.picture(picture).iter().zip(lane);
        round(products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
    }

    fn row(&self, picture: usize, row: &mut [f32]) {
        let picture = self.picture(picture);
        let blocks = self.blocks.chunks(LANES * self.width);
        for (row, block) in row[..self.texts].chunks_mut(LANES).zip(blocks) {
            let mut sums = [0.0_f64; LANES];
            let (values, _) = block.as_chunks::<LANES>();
            for (a, lanes) in picture.iter().zip(values) {
                for (sum, b) in sums.iter_mut().zip(lanes) {
                    *sum += f64::from(*a) * f64::from(*b);
                }
            }
            for (similarity, sum) in row.iter_mut().zip(sums) {
                *similarity = round(sum);
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "features are f32")]
fn round(sum: f64) -> f32 {
    sum as f32
}

#[cfg(test)]
mod tests;
