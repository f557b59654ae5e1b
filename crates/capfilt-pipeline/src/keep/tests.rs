use std::path::PathBuf;

use capfilt_data::Score;

use super::*;
use crate::stages;
use crate::test_shards::web;

fn scorer(name: &str) -> Stage {
    let score = stages::Score {
        model: PathBuf::from("m"),
        first_token: capfilt_models::FirstToken::Enc,
        batch: stages::caption::batch(),
    };
    Stage {
        name: name.to_owned(),
        verb: Verb::Score(score),
    }
}

fn candidate(source: Source, scores: &[(&str, Kind, f32)]) -> Candidate {
    let scores = scores
        .iter()
        .map(|(by, kind, value)| Score {
            by: (*by).to_owned(),
            kind: *kind,
            value: *value,
        })
        .collect();
    Candidate {
        source,
        scores,
        ..web("a cat")
    }
}

fn kept(rule: &Rule, candidates: &[Candidate]) -> Vec<bool> {
    let all: Vec<&Candidate> = candidates.iter().collect();
    rule.decide(&all)
        .unwrap()
        .into_iter()
        .map(|verdict| verdict == Verdict::Kept)
        .collect()
}

fn rule(table: &KeepTable, scorers: &[&str]) -> std::result::Result<Rule, PipelineErrorKind> {
    let stages: Vec<Stage> = scorers.iter().map(|name| scorer(name)).collect();
    Rule::check(Some(table), &stages)
}

fn threshold(above: f64) -> KeepTable {
    KeepTable {
        threshold: Some(above),
        where_: None,
    }
}

fn condition(sql: &str) -> KeepTable {
    KeepTable {
        threshold: None,
        where_: Some(sql.to_owned()),
    }
}

#[test]
fn a_score_must_be_above_the_threshold_and_not_at_it() {
    let rule = rule(&threshold(0.5), &["score"]).unwrap();
    let candidates = [
        candidate(Source::Web, &[("score", Kind::Match, 0.5)]),
        candidate(Source::Web, &[("score", Kind::Match, 0.500_001)]),
        candidate(Source::Web, &[("score", Kind::Match, f32::NAN)]),
        candidate(Source::Web, &[]),
        candidate(Source::Synthetic, &[("score", Kind::Similarity, 0.9)]),
    ];
    assert_eq!(kept(&rule, &candidates), [false, true, false, false, true]);
}

#[test]
fn texts_of_people_are_never_removed() {
    let rule = rule(&threshold(0.5), &["score"]).unwrap();
    assert_eq!(
        kept(
            &rule,
            &[candidate(Source::Human, &[("score", Kind::Match, 0.0)])]
        ),
        [true]
    );
}

#[test]
fn a_synthetic_caption_without_words_is_removed_by_every_rule() {
    let scores = [("score", Kind::Match, 0.9)];
    let mut wordless = candidate(Source::Synthetic, &scores);
    wordless.text = " ".to_owned();
    let candidates = [wordless, candidate(Source::Synthetic, &scores)];
    for rule in [Rule::All, rule(&threshold(0.5), &["score"]).unwrap()] {
        assert_eq!(kept(&rule, &candidates), [false, true]);
    }
}

#[test]
fn a_condition_names_scorers_and_the_kinds_of_the_only_one() {
    let one = rule(
        &condition("match > 0.5 and similarity > 0.25 and score > 0.5"),
        &["score"],
    );
    let candidates = [
        candidate(
            Source::Web,
            &[
                ("score", Kind::Match, 0.6),
                ("score", Kind::Similarity, 0.3),
            ],
        ),
        candidate(
            Source::Web,
            &[
                ("score", Kind::Match, 0.6),
                ("score", Kind::Similarity, 0.2),
            ],
        ),
        candidate(Source::Web, &[]),
    ];
    assert_eq!(kept(&one.unwrap(), &candidates), [true, false, false]);

    let two = rule(
        &condition("match > 0.5 and clip > 0.25"),
        &["match", "clip"],
    )
    .unwrap();
    let candidates = [
        candidate(
            Source::Web,
            &[("match", Kind::Match, 0.6), ("clip", Kind::Similarity, 0.3)],
        ),
        candidate(
            Source::Web,
            &[("match", Kind::Match, 0.6), ("clip", Kind::Similarity, 0.2)],
        ),
    ];
    assert_eq!(kept(&two, &candidates), [true, false]);
}

#[test]
fn a_condition_may_tell_sources_apart() {
    let rule = rule(
        &condition("source = 'synthetic' or score > 0.5"),
        &["score"],
    )
    .unwrap();
    let candidates = [
        candidate(Source::Web, &[("score", Kind::Match, 0.1)]),
        candidate(Source::Synthetic, &[("score", Kind::Match, 0.1)]),
    ];
    assert_eq!(kept(&rule, &candidates), [false, true]);
}

#[test]
fn a_threshold_needs_exactly_one_scorer() {
    let message = |scorers: &[&str]| rule(&threshold(0.5), scorers).unwrap_err().to_string();
    assert_eq!(message(&[]), "`keep.threshold`: there is no `score` stage");
    assert_eq!(
        message(&["a", "b"]),
        "`keep.threshold`: there are several scorers; name them, like `where = \"a > 0.5 and b > 0.5\"`"
    );
    assert!(rule(&KeepTable::default(), &["a"]).is_err());
}

#[test]
fn another_rule_has_another_digest() {
    let digest = |table: &KeepTable| rule(table, &["score"]).unwrap().digest();
    assert_eq!(digest(&threshold(0.5)), digest(&threshold(0.5)));
    assert_ne!(digest(&threshold(0.5)), digest(&threshold(0.6)));
    assert_ne!(digest(&threshold(0.5)), digest(&condition("score > 0.5")));
}

#[test]
fn rules_that_nothing_or_everything_meets_are_doubted() {
    let doubt = |threshold: Option<f64>, where_: Option<&str>| {
        let table = KeepTable {
            threshold,
            where_: where_.map(str::to_owned),
        };
        let rule = Rule::check(Some(&table), &[scorer("itm")]).unwrap();
        rule.doubt().unwrap_or_default()
    };
    for threshold in [-1.0, 0.0, 0.999] {
        assert_eq!(doubt(Some(threshold), None), "");
    }
    for threshold in [1.0, 50.0] {
        assert!(doubt(Some(threshold), None).contains("nothing will be kept"));
    }
    assert!(doubt(Some(-1.5), None).contains("everything that was scored will be kept"));
    for sql in [
        "itm > 0.5",
        "match > 0.5 or text = 'x'",
        "similarity > -0.2 and log_prob > -20",
    ] {
        assert_eq!(doubt(None, Some(sql)), "", "{sql}");
    }
    for sql in [
        "itm > 50",
        "match < 0",
        "similarity > 1",
        "log_prob > 1",
        "match > 0.9 and match < 0.1",
    ] {
        assert!(
            doubt(None, Some(sql)).contains("nothing will be kept"),
            "{sql}"
        );
    }
}
