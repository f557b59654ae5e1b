//! `capfilt eval`, held against the numbers that the other commands give for the same pictures, and
//! the metrics on whole data sets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, BooleanArray, StringArray};
use capfilt_data::footer::hex_digest;
use capfilt_eval::{
    Candidates, Captions, Curve, Matrix, Pairs, Ranks, Similarities, bleu, cider_d, class_ranks,
    mean, recall_at, rouge_l, tokenize,
};
use capfilt_image::DecodeOptions;
use capfilt_models::{Device, MatchOptions, Matcher, Package, SessionOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::parity::reference::wait;
use crate::program::{capfilt, models_can_run, package, root, skipped};
use crate::shards::{png, read, texts, write_columns};

/// A row: the seed of its picture (0: no picture, 9: bytes that are none), its text, whether it is
/// right, and its group.
type Row<'a> = (u8, Option<&'a str>, Option<bool>, &'a str);

const ROWS: [Row<'static>; 9] = [
    (1, Some("a red square"), Some(true), ""),
    (2, Some("two white cats."), Some(true), ""),
    (1, Some("Squares, red on white"), Some(true), ""),
    (3, Some("a blue bus"), Some(true), ""),
    (0, Some("no picture"), Some(true), ""),
    (4, None, Some(true), ""),
    (9, Some("a broken picture"), Some(true), ""),
    (2, Some("buy now"), Some(false), "advertisement"),
    (3, Some("IMG_2031.jpg"), Some(false), "file name"),
];

/// The pictures of the rows that belong to them, with their texts.
const PICTURES: [(u8, &[&str]); 3] = [
    (1, &["a red square", "Squares, red on white"]),
    (2, &["two white cats."]),
    (3, &["a blue bus"]),
];

fn picture(seed: u8) -> Vec<u8> {
    png(90 + 10 * u32::from(seed), 80, seed)
}

/// A folder with [`ROWS`] as a shard and the pictures as files.
fn data() -> (TempDir, PathBuf, Vec<String>) {
    data_of(&ROWS)
}

fn data_of(rows: &[Row<'_>]) -> (TempDir, PathBuf, Vec<String>) {
    let folder = TempDir::new().unwrap();
    let images = rows.iter().map(|(seed, ..)| match seed {
        0 => None,
        9 => Some(b"no picture".to_vec()),
        seed => Some(picture(*seed)),
    });
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("image", Arc::new(images.collect::<BinaryArray>())),
        (
            "text",
            Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
        ),
        (
            "fits",
            Arc::new(rows.iter().map(|row| row.2).collect::<BooleanArray>()),
        ),
        (
            "noise",
            Arc::new(rows.iter().map(|row| Some(row.3)).collect::<StringArray>()),
        ),
    ];
    let shard = folder.path().join("shard.parquet");
    write_columns(&shard, columns);
    let files = PICTURES.map(|(seed, _)| {
        let file = folder.path().join(format!("{seed}.png"));
        fs_err::write(&file, picture(seed)).unwrap();
        file.to_str().unwrap().to_owned()
    });
    (folder, shard, files.into())
}

fn eval(model: &str, shard: &Path, more: &[&str]) -> (Value, String) {
    let package = package(model);
    let arguments = [
        "eval",
        "--model",
        package.to_str().unwrap(),
        "--data",
        shard.to_str().unwrap(),
    ];
    let ran = capfilt(arguments.iter().chain(more)).expect_code(0);
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    (serde_json::from_str(&ran.stdout).unwrap(), ran.stderr)
}

/// The values of `key` that `capfilt score` gives: for each file those of all texts.
fn scores(files: &[String], texts: &[&str], key: &str) -> Vec<f32> {
    let package = package("filter");
    let mut arguments = vec!["score", "--model", package.to_str().unwrap()];
    arguments.extend(texts.iter().flat_map(|text| ["--text", text]));
    arguments.extend(files.iter().map(String::as_str));
    values(&capfilt(arguments).expect_code(0).stdout, key)
}

/// The values of `key` in lines of JSON.
#[expect(clippy::cast_possible_truncation, reason = "they are printed as f32")]
fn values(printed: &str, key: &str) -> Vec<f32> {
    let value = |line| serde_json::from_str::<Value>(line).unwrap()[key].as_f64();
    printed
        .lines()
        .map(|line| value(line).unwrap() as f32)
        .collect()
}

/// What the program runs, without it.
fn matcher(package: &Path) -> Matcher {
    let sessions = SessionOptions {
        device: Device::Cpu,
        ..SessionOptions::default()
    };
    let package = Package::open(package).unwrap();
    Matcher::open(&package, &MatchOptions::default(), &sessions).unwrap()
}

fn pixels(matcher: &Matcher, file: &str) -> Vec<f32> {
    let bytes = fs_err::read(file).unwrap();
    let picture = capfilt_image::decode(&bytes, &DecodeOptions::default()).unwrap();
    matcher.preprocess().tensor(&picture)
}

/// Recall at `at`, both ways, as it is printed.
fn recall(ranks: &Ranks, at: &[usize]) -> Value {
    let of = |ranks: &[Option<usize>]| -> Value {
        at.iter()
            .map(|&k| (k.to_string(), json!(recall_at(k, ranks))))
            .collect()
    };
    json!({ "image_to_text": of(&ranks.of_pictures), "text_to_image": of(&ranks.of_texts) })
}

/// The matching head's logits for each file and text.
fn logits(files: &[String], texts: &[&str]) -> Vec<Vec<f32>> {
    let matcher = matcher(&package("filter"));
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let of_file = |file: &String| {
        let scores = wait(matcher.score(pixels(&matcher, file), texts.clone())).unwrap();
        scores
            .iter()
            .map(|score| score.match_logit.unwrap())
            .collect()
    };
    files.iter().map(of_file).collect()
}

#[test]
fn captions_are_compared_with_the_texts_of_their_pictures() {
    if !models_can_run() {
        return;
    }
    let (_folder, shard, files) = data();
    let (report, told) = eval(
        "captioner",
        &shard,
        &["--truth", "fits", "--decoding", "greedy"],
    );
    for (key, count) in [
        ("rows", 9),
        ("incomplete", 2),
        ("pictures", 3),
        ("texts", 4),
        ("unusable", 1),
        ("shards", 1),
    ] {
        assert_eq!(report[key], count, "{key}");
    }
    assert!(told.contains("picture of row 6"), "{told}");
    assert!(told.contains("CIDEr-D"), "{told}");

    let model = package("captioner");
    let arguments = [
        "caption",
        "--model",
        model.to_str().unwrap(),
        "--decoding",
        "greedy",
    ];
    let files = files.iter().map(String::as_str);
    let ran = capfilt(arguments.into_iter().chain(files)).expect_code(0);
    let written: Vec<String> = ran
        .stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["caption"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    // Texts that have much in common with the captions, whatever these are: two of a picture, and one that
    // is not its own.
    let texts: Vec<String> = written
        .iter()
        .map(|text| format!("{text} on white"))
        .collect();
    let mut rows: Vec<Row<'_>> = PICTURES
        .iter()
        .zip(&texts)
        .map(|((seed, _), text)| (*seed, Some(text.as_str()), Some(true), ""))
        .collect();
    rows.push((1, Some(PICTURES[0].1[0]), Some(true), ""));
    rows.push((2, Some(written[1].as_str()), Some(false), ""));
    let (_folder, shard, _) = data_of(&rows);
    let more = ["--truth", "fits", "--decoding", "greedy"];
    let (report, _) = eval("captioner", &shard, &more);
    let mut captions = Captions::default();
    for (picture, (said, text)) in tokenize(&written).iter().zip(&texts).enumerate() {
        let own = [text.as_str(), PICTURES[0].1[0]];
        let own = &own[..if picture == 0 { 2 } else { 1 }];
        captions.push(said, &tokenize(own)).unwrap();
    }
    let metrics = &report["metrics"];
    let (bleu_1, longest) = (&metrics["bleu"][0], &metrics["rouge_l"]);
    assert!(
        [bleu_1, longest]
            .iter()
            .all(|value| value.as_f64() > Some(0.1)),
        "{metrics}"
    );
    for (order, expected) in bleu(&captions).into_iter().enumerate() {
        close(&metrics["bleu"][order], expected);
    }
    let rouge = mean(&rouge_l(&captions)).unwrap();
    close(&metrics["rouge_l"], rouge);
    close(&metrics["cider_d"], mean(&cider_d(&captions)).unwrap());
    let more = [&more[..], &["--metrics", "rouge-l"]].concat();
    let (only, _) = eval("captioner", &shard, &more);
    assert_eq!(only["metrics"].as_object().unwrap().len(), 1);
    close(&only["metrics"]["rouge_l"], rouge);
}

/// Asserts that a printed number is `expected` but for the last digit.
fn close(printed: &Value, expected: f64) {
    let printed = printed.as_f64().unwrap();
    let is_close = (printed - expected).abs() <= 1e-12 * expected.abs();
    assert!(is_close, "{printed} is not {expected}");
}

#[test]
fn recall_is_that_of_the_scores() {
    if !models_can_run() {
        return;
    }
    let (_folder, shard, files) = data();
    let (report, _) = eval(
        "filter",
        &shard,
        &["--truth", "fits", "--metrics", "recall"],
    );
    let of_pictures: Vec<&str> = PICTURES
        .iter()
        .flat_map(|(_, texts)| *texts)
        .copied()
        .collect();
    let similarities = Matrix::new(scores(&files, &of_pictures, "similarity"), 4).unwrap();
    let pairs = Pairs::new(3, vec![0, 0, 1, 2]).unwrap();
    let ranks = Ranks::new(&pairs, &similarities);
    assert_eq!(
        report["metrics"],
        json!({ "recall": recall(&ranks, &[1, 5, 10]) })
    );
    assert_eq!(
        (&report["pictures"], &report["texts"]),
        (&json!(3), &json!(4))
    );

    // All are candidates; the model itself says what the matching head makes of them.
    let (report, _) = eval(
        "filter",
        &shard,
        &[
            "--truth",
            "fits",
            "--metrics",
            "recall-reranked",
            "--candidates",
            "10",
        ],
    );
    let logits = logits(&files, &of_pictures);
    let score =
        |picture: usize, text: usize| logits[picture][text] + similarities.pair(picture, text);
    let all = Candidates::nearest(&pairs, &similarities, 10);
    let mut expected = recall(&Ranks::again(&pairs, &all, score), &[1, 5, 10]);
    expected["candidates"] = json!(10);
    assert_eq!(report["metrics"], json!({ "recall_reranked": expected }));

    // Of one candidate each, what is found is what the similarity puts first.
    let (report, _) = eval(
        "filter",
        &shard,
        &[
            "--truth",
            "fits",
            "--metrics",
            "recall-reranked",
            "--candidates",
            "1",
        ],
    );
    let nearest = Candidates::nearest(&pairs, &similarities, 1);
    let again = Ranks::again(&pairs, &nearest, |picture, text| {
        similarities.pair(picture, text)
    });
    let mut expected = recall(&again, &[1]);
    expected["candidates"] = json!(1);
    assert_eq!(report["metrics"], json!({ "recall_reranked": expected }));
}

#[test]
fn a_picture_finds_the_class_of_the_nearest_prompt() {
    if !models_can_run() {
        return;
    }
    let (_folder, shard, files) = data();
    // With one template a class is its prompt.
    let (report, told) = eval(
        "filter",
        &shard,
        &[
            "--truth",
            "fits",
            "--metrics",
            "zero-shot",
            "--template",
            "a drawing of {}",
        ],
    );
    let classes = [
        "a blue bus",
        "a broken picture",
        "a red square",
        "two white cats.",
    ];
    let prompts = classes.map(|class| format!("a drawing of {class}"));
    let prompts = prompts.each_ref().map(String::as_str);
    let similarities = Matrix::new(scores(&files, &prompts, "similarity"), 4).unwrap();
    let ranks = class_ranks(&similarities, 4, &[2, 3, 0]);
    let expected = json!({
        "classes": 4, "templates": 1,
        "top_1": recall_at(1, &ranks), "top_5": recall_at(5, &ranks),
    });
    assert_eq!(report["metrics"], json!({ "zero_shot": expected }));
    assert!(told.contains("zero-shot top-1"), "{told}");
}

/// A picture and a text of FILIP have many features each.
#[test]
#[expect(clippy::cast_possible_truncation, reason = "cosines")]
fn filip_finds_texts_and_classes_by_its_tokens() {
    if !models_can_run() {
        return;
    }
    let (folder, shard, files) = data();
    let package = folder.path().join("filip");
    let package = package.to_str().unwrap();
    let checkpoint = root().join("tests/golden/open_clip/filip");
    let import = ["model", "import", checkpoint.to_str().unwrap(), "--output"];
    capfilt(import.iter().chain(&[package])).expect_code(0);
    let texts: Vec<&str> = PICTURES
        .iter()
        .flat_map(|(_, texts)| *texts)
        .copied()
        .collect();
    let mut score = vec!["score", "--model", package];
    score.extend(texts.iter().flat_map(|text| ["--text", text]));
    score.extend(files.iter().map(String::as_str));
    let scores: Vec<f32> = values(&capfilt(score).expect_code(0).stdout, "similarity");
    let similarities = Matrix::new(scores, texts.len()).unwrap();
    let pairs = Pairs::new(3, vec![0, 0, 1, 2]).unwrap();

    let evaluate = |more: &[&str]| -> Value {
        let arguments = [
            "eval",
            "--model",
            package,
            "--data",
            shard.to_str().unwrap(),
            "--truth",
            "fits",
        ];
        let ran = capfilt(arguments.iter().chain(more)).expect_code(0);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let report = evaluate(&["--metrics", "recall"]);
    let expected = recall(&Ranks::new(&pairs, &similarities), &[1, 5, 10]);
    assert_eq!(report["metrics"], json!({ "recall": expected }));

    let templates = ["a {}", "the {} over there"];
    let options = templates.map(|template| ["--template", template]);
    let mut arguments = vec!["--metrics", "zero-shot"];
    arguments.extend(options.as_flattened());
    let report = evaluate(&arguments);
    let matcher = matcher(Path::new(package));
    let prompts = [
        "a blue bus",
        "a broken picture",
        "a red square",
        "two white cats.",
    ]
    .map(|class| templates.map(|template| template.replace("{}", class)))
    .map(|prompts| wait(matcher.text_features(&prompts)).unwrap());
    let mut scores = Vec::new();
    for file in &files {
        let image = wait(matcher.image_features(pixels(&matcher, file))).unwrap();
        scores.extend(prompts.each_ref().map(|prompts| {
            let found =
                [0, 1].map(|prompt| matcher.similarity().both_ways(&image, &prompts[prompt])[0]);
            f64::midpoint(found[0], found[1]) as f32
        }));
    }
    let ranks = class_ranks(&Matrix::new(scores, 4).unwrap(), 4, &[2, 3, 0]);
    let expected = json!({
        "classes": 4, "templates": 2,
        "top_1": recall_at(1, &ranks), "top_5": recall_at(5, &ranks),
    });
    assert_eq!(report["metrics"], json!({ "zero_shot": expected }));
}

#[test]
fn a_filter_is_held_against_the_truth() {
    if !models_can_run() {
        return;
    }
    let (_folder, shard, files) = data();
    for (by, option) in [("match", None), ("similarity", Some("--by=similarity"))] {
        let arguments = [
            "--truth",
            "fits",
            "--group",
            "noise",
            "--metrics",
            "filter",
            "--threshold",
            "0.3",
        ];
        let arguments: Vec<&str> = arguments.into_iter().chain(option).collect();
        let (report, told) = eval("filter", &shard, &arguments);
        let scores = |texts: &[&str]| scores(&files, texts, by);
        let mut judged = Vec::new();
        for (at, (_, texts)) in PICTURES.iter().enumerate() {
            let of_all = scores(texts);
            let of_picture = &of_all[at * texts.len()..][..texts.len()];
            judged.extend(of_picture.iter().map(|score| (f64::from(*score), true)));
        }
        let wrong = [
            (f64::from(scores(&["buy now"])[1]), false),
            (f64::from(scores(&["IMG_2031.jpg"])[2]), false),
        ];
        let numbers = |wrong: &[(f64, bool)]| {
            let curve = Curve::new(&[judged.as_slice(), wrong].concat()).unwrap();
            let decisions = curve.decisions(0.3);
            json!({
                "by": by, "threshold": 0.3, "right": 4, "wrong": wrong.len(),
                "right_kept": decisions.true_positives, "wrong_kept": decisions.false_positives,
                "auc": curve.auc(), "average_precision": curve.average_precision(),
                "precision": decisions.precision(), "recall": decisions.recall(), "f1": decisions.f1(),
            })
        };
        let mut expected = numbers(&wrong);
        let all = Curve::new(&[judged.as_slice(), &wrong].concat()).unwrap();
        expected["roc"] = json!(all.roc());
        expected["groups"] = json!({
            "advertisement": numbers(&wrong[..1]),
            "file name": numbers(&wrong[1..]),
        });
        assert_eq!(report["metrics"], json!({ "filter": expected }));
        assert!(told.contains("file name: AUC"), "{told}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_told() {
    let (folder, shard, _) = data();
    let filter = package("filter");
    let refused = |data: &Path, more: &[&str], code| {
        let arguments = [
            "eval",
            "--model",
            filter.to_str().unwrap(),
            "--data",
            data.to_str().unwrap(),
        ];
        capfilt(arguments.iter().chain(more))
            .expect_code(code)
            .stderr
    };
    let none = folder.path().join("none/*.parquet");
    assert!(refused(&none, &[], 3).contains("finds no file"));
    let missing = refused(&shard, &["--text", "caption"], 3);
    assert!(missing.contains("image, text, fits, noise"), "{missing}");
    let no_truth = refused(&shard, &["--truth", "text"], 3);
    assert!(no_truth.contains("expected boolean"), "{no_truth}");
    assert!(refused(&shard, &["--metrics", "bleu"], 2).contains("captioner"));
    assert!(refused(&shard, &["--metrics", "filter"], 2).contains("--truth"));
    refused(&shard, &["--metrics", "meteor"], 2);
    refused(&shard, &["--template", "a photo"], 2);
    let empty = folder.path().join("empty.parquet");
    let image: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![None]));
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a")]));
    write_columns(&empty, vec![("image", image), ("text", text)]);
    if models_can_run() {
        assert!(refused(&empty, &[], 3).contains("no picture can be used"));
    }
}

/// The folder with data that only some machines have.
fn shared(name: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    skipped(format_args!("no data at `../shared/data/{name}`"));
    None
}

fn golden() -> Value {
    let path = root().join("tests/golden/captions.json");
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// SHA-256 of the tokens, a line for each text.
fn digest(texts: &[String]) -> String {
    let lines: String = tokenize(texts)
        .iter()
        .map(|tokens| tokens.join(" ") + "\n")
        .collect();
    hex_digest(lines.as_bytes())
}

#[test]
fn all_captions_of_coco_have_the_tokens_and_scores_of_pycocoevalcap() {
    let Some(path) = shared("coco-captions-val2017.json") else {
        return;
    };
    let coco: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    let annotations = coco["annotations"].as_array().unwrap();
    let caption = |annotation: &Value| annotation["caption"].as_str().unwrap().to_owned();
    let captions: Vec<String> = annotations.iter().map(caption).collect();
    let golden = golden();
    assert_eq!(captions.len(), golden["whole"]["coco"]["count"]);
    assert_eq!(digest(&captions), golden["whole"]["coco"]["tokens"]);

    let mut of_picture = std::collections::BTreeMap::<u64, Vec<String>>::new();
    for annotation in annotations {
        let id = annotation["image_id"].as_u64().unwrap();
        of_picture.entry(id).or_default().push(caption(annotation));
    }
    let pictures: Vec<Vec<String>> = of_picture.into_values().take(1000).collect();
    let mut tokens = tokenize(&pictures.concat()).into_iter();
    let mut captions = Captions::default();
    for texts in &pictures {
        let tokens: Vec<_> = tokens.by_ref().take(texts.len()).collect();
        captions.push(&tokens[0], &tokens[1..]).unwrap();
    }
    let expected = &golden["thousand"]["ptb"];
    let equal = |got: f64, expected: &Value| {
        let expected = expected.as_f64().unwrap();
        assert!((got / expected - 1.0).abs() < 1e-12, "{got}, {expected}");
    };
    for (n, bleu) in bleu(&captions).into_iter().enumerate() {
        equal(bleu, &expected["bleu"][n]);
    }
    equal(mean(&rouge_l(&captions)).unwrap(), &expected["rouge_l"]);
    equal(mean(&cider_d(&captions)).unwrap(), &expected["cider_d"]);
}

#[test]
fn all_alt_texts_have_the_tokens_of_pycocoevalcap() {
    let Some(path) = shared("alt-text-10000.parquet") else {
        return;
    };
    let alt_texts: Vec<String> = texts(&read(&path), "TEXT").into_iter().flatten().collect();
    let golden = golden();
    assert_eq!(alt_texts.len(), golden["whole"]["alt_texts"]["count"]);
    assert_eq!(digest(&alt_texts), golden["whole"]["alt_texts"]["tokens"]);
}
