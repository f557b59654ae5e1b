//! The row: what is read, what is written, and under which names.
//!
//! Everything that other tools see of an output folder is decided here: the columns of `scored`,
//! `dataset` and `rejected` ([`columns`]), the closed set of reasons ([`Reject`]), how shards are
//! named and cut into pieces ([`Shard`], [`Piece`]), and how a Parquet file comes to stand under
//! its final name ([`PieceWriter`]: whole or not at all).
//!
//! Files lie on this machine or in an object store: a [`Location`] is either, and whoever reads or
//! writes one need not know which.
//!
//! [`read`] takes text, binary and image columns in any of the forms in which Parquet brings
//! them, so that no stage ever downcasts.

pub mod candidate;
pub mod columns;
mod encryption;
pub mod footer;
mod lease;
mod leaves;
mod location;
mod object;
mod object_error;
mod open;
mod pages;
pub mod piece;
mod raw;
pub mod read;
mod reject;
mod sample;
mod shards;
mod step;
mod write;

pub use candidate::{Candidate, Caption, Kind, Score, Source};
pub use encryption::Encryption;
pub use footer::{Batches, Footer, FooterError, Leaf, Stretch};
pub use lease::{Lease, LeaseError};
pub use location::{Location, LocationError, absolute};
pub use object::Object;
pub use piece::{Piece, Shard, ShardNameError, clashing};
pub use raw::{Raw, Typed, typed};
pub use read::ColumnError;
pub use reject::Reject;
pub use shards::{Found, ShardsError, find_shards, shard_files, shards_below};
pub use step::Step;
pub use write::{
    CONTENT, PieceWriter, RECIPE, Scratch, WriteError, WriteErrorKind, Written, make_folder,
    remove_leftovers, unnamed_in,
};
