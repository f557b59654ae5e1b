//! What an output folder already has.

use capfilt_data::{Footer, Piece};

use crate::counts::{DecidedCounts, ScoredCounts};
use crate::derive::{PieceFiles, finished};
use crate::file::Images;
use crate::plan::{Plan, ShardPlan};
use crate::record::{COUNTS, IMAGES, INPUT, PIPELINE};

/// How a piece stands.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It was never made.
    Missing,
    /// It was made in another way, and why that does not do.
    Again(&'static str),
    /// It was scored; what follows from that is missing or was decided otherwise.
    Derive {
        /// The `scored` file.
        footer: Box<Footer>,
        /// What was counted in it.
        scored: ScoredCounts,
        /// Whether the shard changed since.
        input_changed: bool,
    },
    /// It is finished.
    Done {
        /// What was counted in `scored`.
        scored: ScoredCounts,
        /// What was counted in the derived files.
        decided: DecidedCounts,
        /// Whether the shard changed since.
        input_changed: bool,
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
    let Some(scored) = footer
        .value(COUNTS)
        .and_then(|json| serde_json::from_str::<ScoredCounts>(json).ok())
    else {
        return Standing::Again("it was written by another version");
    };
    match files.derived(&footer, &decision) {
        Some(decided) => Standing::Done {
            scored,
            decided,
            input_changed,
        },
        None => Standing::Derive {
            footer: Box::new(footer),
            scored,
            input_changed,
        },
    }
}
