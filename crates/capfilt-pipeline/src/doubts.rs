//! What a pipeline may say and hardly means. It is told, and refused by nobody.

use std::collections::{BTreeSet, HashMap};

use arrow::datatypes::Fields;
use capfilt_data::columns::{HEIGHT, WIDTH};
use capfilt_fetch::FetchOptions;

use crate::expression::{ASPECT, Bounds};
use crate::plan::{Plan, ShardPlan};
use crate::stages::{Decode, Verb};

/// The doubts about `plan`, in words, each once.
pub(crate) fn doubts(plan: &Plan) -> BTreeSet<String> {
    // Of thousands of shards with the same columns, one says it all.
    let columns = plan
        .shards
        .iter()
        .map(|shard| (shard.footer.schema.fields(), shard));
    let shards: HashMap<&Fields, &ShardPlan> = columns.collect();
    let mut doubts: BTreeSet<String> = shards
        .values()
        .flat_map(|shard| of_columns(shard))
        .collect();
    let mut decoded = None;
    for stage in &plan.pipeline.stages {
        let key = format!("stage.{}", stage.name);
        let doubt = match &stage.verb {
            Verb::Where(sql) | Verb::WhereText(sql) => {
                let is_unmet = |shard: &ShardPlan| {
                    let condition = shard.conditions.get(&stage.name);
                    let bounds = bounds(decoded, shard);
                    condition.is_some_and(|condition| !condition.can_be_met(&bounds))
                };
                shards.values().any(|shard| is_unmet(shard)).then(|| {
                    format!("no row can meet `{sql}`, as wide and high as pictures are here")
                })
            }
            Verb::Fetch(fetch) => of_fetch(fetch),
            Verb::Decode(decode) => {
                decoded = Some(decode);
                of_decode(decode)
            }
            Verb::Dedup(_) | Verb::Caption(_) | Verb::Score(_) => None,
        };
        doubts.extend(doubt.map(|doubt| format!("`{key}`: {doubt}")));
    }
    doubts.extend(plan.pipeline.keep.doubt());
    doubts
}

fn of_columns(shard: &ShardPlan) -> Vec<String> {
    shard.mapping.doubts(&shard.footer.schema)
}

/// How large pictures are after `decode`.
fn bounds(decode: Option<&Decode>, shard: &ShardPlan) -> Vec<Bounds<'static>> {
    let Some(decode) = decode else {
        return Vec::new();
    };
    let side = |column| Bounds {
        column,
        least: match decode.resize {
            // A picture that is stored smaller may have any shape.
            Some(_) => 1.0,
            None => f64::from(decode.min_side.max(1)),
        },
        most: f64::from(i32::MAX),
    };
    let aspect = Bounds {
        column: ASPECT,
        least: 1.0,
        most: f64::from(i32::MAX),
    };
    // A column of the shard's may have this name, and mean something else.
    let fields = shard.mapping.passed_fields();
    let is_ours = !fields.iter().any(|field| field.name() == ASPECT);
    [side(WIDTH), side(HEIGHT)]
        .into_iter()
        .chain(is_ours.then_some(aspect))
        .collect()
}

fn of_decode(decode: &Decode) -> Option<String> {
    let least = u64::from(decode.min_side).pow(2);
    (least > decode.max_pixels.0).then(|| {
        format!(
            "no picture has a shorter side of {} and no more than {} pixels: all will be removed",
            decode.min_side, decode.max_pixels.0
        )
    })
}

fn of_fetch(fetch: &FetchOptions) -> Option<String> {
    let is_closed = fetch.schemes.is_empty() && fetch.folder.is_none() && fetch.buckets.is_empty();
    if is_closed {
        return Some(
            "`schemes` is empty, and no `folder` or `buckets` are named: nothing will be fetched"
                .to_owned(),
        );
    }
    (fetch.max_size.0 == 0).then(|| {
        "`max-size` is 0 bytes, and no picture has none: nothing will be fetched".to_owned()
    })
}
