//! Captions and scores against the numbers that the real transformers and Pillow gave
//! (`tests/golden/blip.py`).

mod captions;
mod full_size;
mod neighbours;
mod original;
mod precision;
pub(crate) mod reference;
mod scores;
