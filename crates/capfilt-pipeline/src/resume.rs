//! What an output folder already has.

use capfilt_data::{Footer, FooterError, Piece};

use crate::at_once::at_once;
use crate::counts::{DecidedCounts, ScoredCounts};
use crate::derive::{PieceFiles, finished};
use crate::file::Images;
use crate::plan::{Plan, ShardPlan};
use crate::recipe::{Change, Recipe};
use crate::record::{IMAGES, INPUT, INPUT_SAMPLE, PIPELINE, counts_of};
use crate::retry::Retry;

/// How a piece stands.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It was never made.
    Missing,
    /// It was made in another way, and why nothing of it is used again.
    Again(String),
    /// Some of its stages stand.
    Reuse(Change),
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
        /// The digest of what it was made with, by the rule of the version that made it.
        made_with: String,
    },
}

/// How all pieces of the plan stand in its output, in order.
pub(crate) fn standings(plan: &Plan) -> Vec<Result<Standing, FooterError>> {
    let pieces: Vec<_> = plan.each_piece().collect();
    at_once(&pieces, |(shard, piece)| standing(plan, shard, piece))
}

fn standing(plan: &Plan, shard: &ShardPlan, piece: &Piece) -> Result<Standing, FooterError> {
    let files = PieceFiles::new(&plan.pipeline.output, &piece.file());
    let Some(footer) = finished(&files.scored)? else {
        return Ok(Standing::Missing);
    };
    let input_changed =
        footer.value(INPUT) != Some(shard.identity.as_str()) && !is_copied(shard, &footer);
    if footer.rows() != piece.rows {
        return Ok(Standing::Again(if input_changed {
            "the shard has another number of rows".to_owned()
        } else {
            "`source.rows-per-piece` changed".to_owned()
        }));
    }
    let (Some(recipe), Some(scored)) = (Recipe::of(&footer), counts_of(&footer)) else {
        return Ok(Standing::Again(
            "it was written by another version".to_owned(),
        ));
    };
    if let Some(change) = plan.recipe.change_from(&recipe) {
        // Rows of a shard that changed may be others.
        return Ok(if change.stand == 0 || input_changed {
            Standing::Again(change.why)
        } else {
            Standing::Reuse(change)
        });
    }
    let decision = plan.pipeline.keep.digest();
    let decided = files.derived(&footer, &decision, plan.pipeline.file.store.dataset);
    let stored = footer.value(IMAGES).unwrap_or_default();
    let has_pictures = match plan.pipeline.file.store.images {
        Images::All => stored == "all",
        // A decision that only tightens needs no other pictures.
        Images::Kept => {
            let lacks = |decided: &DecidedCounts| decided.images_not_stored > 0;
            stored == "all"
                || stored == decision
                || decided.as_ref().is_some_and(|decided| !lacks(decided))
        }
    };
    // Rows of a shard that changed may be others: its pictures are not those that lack.
    if !has_pictures && !input_changed {
        let why = "pictures were stored for another decision only".to_owned();
        let stand = plan.recipe.stages.len();
        return Ok(Standing::Reuse(Change { stand, why }));
    }
    Ok(Standing::Scored {
        decided,
        input_changed,
        due: !input_changed && Retry::due(&footer, &scored).is_some(),
        made_with: footer.value(PIPELINE).unwrap_or_default().to_owned(),
        scored,
    })
}

/// Whether `shard` is just what the piece `scored` was made of, written at another time. A piece of version
/// 1 cannot tell.
fn is_copied(shard: &ShardPlan, scored: &Footer) -> bool {
    let sample = || shard.footer.sample().ok().flatten();
    scored
        .value(INPUT_SAMPLE)
        .is_some_and(|known| sample().as_deref() == Some(known))
}
