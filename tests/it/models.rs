//! The commands that use a model package directly.

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, capfilt, models_can_run, package, root};
use crate::shards::png;

/// A folder with three pictures and a file that is none.
fn pictures() -> (TempDir, Vec<String>) {
    let folder = TempDir::new().unwrap();
    let mut names = Vec::new();
    for seed in 0..3 {
        let path = folder.path().join(format!("{seed}.png"));
        fs_err::write(&path, png(100 + u32::from(seed) * 30, 80, seed)).unwrap();
        names.push(path.to_str().unwrap().to_owned());
    }
    let broken = folder.path().join("broken.png");
    fs_err::write(&broken, b"no picture").unwrap();
    names.push(broken.to_str().unwrap().to_owned());
    (folder, names)
}

/// `capfilt caption` with the committed package.
fn caption(more: &[&str], images: &[String]) -> Ran {
    let model = package("captioner");
    let images = images.iter().map(String::as_str);
    capfilt(
        ["caption", "--model", model.to_str().unwrap()]
            .into_iter()
            .chain(more.iter().copied())
            .chain(images),
    )
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

#[test]
fn captions_come_as_json_lines_in_the_order_of_the_pictures() {
    if !models_can_run() {
        return;
    }
    let (_folder, names) = pictures();
    for decoding in ["greedy", "beam:3", "nucleus:0.9"] {
        let ran = caption(&["--decoding", decoding, "--seed", "7"], &names[..3]).expect_code(0);
        let lines = lines(&ran);
        let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            ["caption", "image", "log_prob", "token_ids"],
            "{decoding}"
        );
        assert_eq!(
            lines
                .iter()
                .map(|line| line["image"].as_str().unwrap())
                .collect::<Vec<_>>(),
            names[..3]
        );
        assert!(
            lines
                .iter()
                .all(|line| line["log_prob"].as_f64().unwrap() <= 0.0)
        );
        assert_eq!(
            ran.stdout.find("\"image\""),
            Some(1),
            "the keys stand in the documented order"
        );
        // Neither neighbours nor batches matter.
        let one_by_one = caption(
            &["--decoding", decoding, "--seed", "7", "--batch", "1"],
            &names[..3],
        );
        assert_eq!(one_by_one.stdout, ran.stdout, "{decoding}");
        let alone = caption(&["--decoding", decoding, "--seed", "7"], &names[1..2]);
        assert_eq!(
            alone.stdout.lines().next(),
            ran.stdout.lines().nth(1),
            "{decoding}"
        );
    }
}

#[test]
fn a_jpeg_in_one_scan_for_each_component_has_the_same_caption_and_scores() {
    if !models_can_run() {
        return;
    }
    let jpeg = |name| root().join("tests/golden/jpeg").join(name);
    let names = ["demo.jpg", "ni_demo.jpg"].map(|name| jpeg(name).display().to_string());
    let captions = lines(&caption(&["--decoding", "greedy"], &names).expect_code(0));
    assert_eq!(captions[0]["token_ids"], captions[1]["token_ids"]);
    let model = package("filter");
    let question = [
        "score",
        "--model",
        model.to_str().unwrap(),
        "--text",
        "a man",
    ];
    let images = names.iter().map(String::as_str);
    let scores = lines(&capfilt(question.into_iter().chain(images)).expect_code(0));
    // Two decoders: they round some samples differently, by one.
    for kind in ["match", "similarity"] {
        let [one, other] = [0, 1].map(|at| scores[at][kind].as_f64().unwrap());
        assert!((one - other).abs() < 1e-3, "{kind}: {one} and {other}");
    }
}

#[test]
fn an_unreadable_picture_is_told_and_the_others_go_on() {
    if !models_can_run() {
        return;
    }
    let (_folder, mut names) = pictures();
    names.insert(0, "no/such.png".to_owned());
    names.swap(1, 4);
    let ran = caption(&["--decoding", "greedy"], &names).expect_code(1);
    assert_eq!(lines(&ran).len(), 3);
    assert!(ran.stderr.contains("no/such.png"), "{}", ran.stderr);
    assert!(ran.stderr.contains("broken.png"), "{}", ran.stderr);
}

#[test]
fn lengths_and_prompt_are_obeyed() {
    if !models_can_run() {
        return;
    }
    let (_folder, names) = pictures();
    let tokens = |more: &[&str]| {
        let ran = caption(more, &names[..1]).expect_code(0);
        lines(&ran)[0]["token_ids"].as_array().unwrap().len()
    };
    assert!(
        tokens(&[
            "--decoding",
            "greedy",
            "--prompt",
            "",
            "--min-length",
            "3",
            "--max-length",
            "4"
        ]) <= 4
    );
    assert!(
        tokens(&[
            "--decoding",
            "greedy",
            "--min-length",
            "12",
            "--max-length",
            "12"
        ]) >= 12
    );
    let ran = caption(
        &["--decoding", "greedy", "--prompt", "a drawing of "],
        &names[..1],
    )
    .expect_code(0);
    assert!(
        !lines(&ran)[0]["caption"]
            .as_str()
            .unwrap()
            .starts_with("a drawing of")
    );
    let ran = caption(
        &[
            "--decoding",
            "greedy",
            "--min-length",
            "9",
            "--max-length",
            "4",
        ],
        &names[..1],
    );
    assert!(matches!(ran.code, Some(2 | 3)), "{}", ran.told());
    assert!(
        ran.stderr.contains('9') && ran.stderr.contains('4'),
        "{}",
        ran.stderr
    );
}

#[test]
fn scores_come_as_one_json_line_per_picture_and_text() {
    if !models_can_run() {
        return;
    }
    let (_folder, names) = pictures();
    let model = package("filter");
    let score = |first_token: &str| {
        capfilt([
            "score",
            "--model",
            model.to_str().unwrap(),
            "--first-token",
            first_token,
            "--text",
            "a red square",
            "--text",
            "two cats",
            &names[0],
            &names[1],
        ])
        .expect_code(0)
    };
    let ran = score("enc");
    let first = lines(&ran);
    assert_eq!(first.len(), 4);
    assert_eq!(first[1]["text"], "two cats");
    assert_eq!(first[2]["image"], names[1].as_str());
    for line in &first {
        assert!(
            (0.0..=1.0).contains(&line["match"].as_f64().unwrap()),
            "{line}"
        );
        assert!(
            (-1.0..=1.0).contains(&line["similarity"].as_f64().unwrap()),
            "{line}"
        );
    }
    assert_ne!(
        score("cls").stdout,
        ran.stdout,
        "the first token has no effect"
    );
}

#[test]
fn a_package_is_shown_with_its_digests_verified() {
    let ran = capfilt(["model", "show", package("captioner").to_str().unwrap()]).expect_code(0);
    for word in ["captioner", "fp16", "blip", "weights.bin", "tokenizer.json"] {
        assert!(ran.stdout.contains(word), "no `{word}` in:\n{}", ran.stdout);
    }
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_checkpoint_becomes_a_package() {
    let checkpoint = root().join("../shared/models/mini-blip/filter");
    if !checkpoint.exists() {
        crate::program::skipped(format_args!(
            "no checkpoint at `../shared/models/mini-blip/filter`"
        ));
        return;
    }
    let folder = TempDir::new().unwrap();
    let package = folder.path().join("package");
    let import = || {
        capfilt([
            "model",
            "import",
            checkpoint.to_str().unwrap(),
            "--precision",
            "fp16",
            "--output",
            package.to_str().unwrap(),
        ])
    };
    import().expect_code(0);
    let shown = capfilt(["model", "show", package.to_str().unwrap()]).expect_code(0);
    assert!(shown.stdout.contains("fp16"), "{}", shown.stdout);
    let refused = capfilt([
        "model",
        "import",
        folder.path().to_str().unwrap(),
        "--output",
        "unused",
    ])
    .expect_code(3);
    assert!(
        refused.stderr.contains("hint: ") || refused.stderr.contains("expected"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_device_that_cannot_be_used_is_an_error() {
    if !models_can_run() {
        return;
    }
    let (_folder, names) = pictures();
    let ran = caption(&["--device", "cuda:99"], &names[..1]);
    assert!(matches!(ran.code, Some(1 | 3)), "{}", ran.told());
    assert!(ran.stderr.contains("cuda:99"), "{}", ran.stderr);
    let ran = caption(&["--device", "gpu"], &names[..1]).expect_code(2);
    assert!(ran.stderr.contains("cuda:N"), "{}", ran.stderr);
}
