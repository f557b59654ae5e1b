//! What an output folder already has.

use capfilt_data::Piece;

use crate::counts::{DecidedCounts, ScoredCounts};
use crate::derive::{PieceFiles, finished};
use crate::file::Images;
use crate::plan::{Plan, ShardPlan};
use crate::record::{IMAGES, INPUT, PIPELINE, counts_of};
use crate::retry::Retry;

/// How a piece stands.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It was never made.
    Missing,
    /// It was made in another way, and why that does not do.
    Again(&'static str),
    /// It was scored.
    Scored {
        /// What was counted in `scored`.
        scored: ScoredCounts,
        /// What was counted in the derived files; `None` where one is missing or was decided
        /// otherwise.
        decided: Option<DecidedCounts>,
        /// Whether the shard changed since.
        input_changed: bool,
        /// Whether rows that failed in passing are still to be tried a second time.
        due: bool,
    },
}

/// How `piece` stands in the plan's output folder.
pub(crate) fn standing(plan: &Plan, shard: &ShardPlan, piece: &Piece) -> Standing {
    let files = PieceFiles::new(&plan.pipeline.output, &piece.file());
    let Some(footer) = finished(&files.scored) else {
        return Standing::Missing;
    };
    if footer.value(PIPELINE) != Some(plan.stages_digest.as_str()) {
        return Standing::Again("the stages, their options or their models changed");
    }
    let decision = plan.pipeline.keep.digest();
    let stored = footer.value(IMAGES).unwrap_or_default();
    let wanted = plan.pipeline.file.store.images;
    if stored != "all" && (wanted == Images::All || stored != decision) {
        return Standing::Again("pictures were stored for another decision only");
    }
    let input_changed = footer.value(INPUT) != Some(shard.identity.as_str());
    if input_changed && footer.rows() != piece.rows {
        return Standing::Again("the shard has another number of rows");
    }
    let Some(scored) = counts_of(&footer) else {
        return Standing::Again("it was written by another version");
    };
    Standing::Scored {
        decided: files.derived(&footer, &decision),
        input_changed,
        due: !input_changed && Retry::due(&footer, &scored).is_some(),
        scored,
    }
}
