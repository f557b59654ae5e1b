use std::path::Path;
use std::time::{Duration, Instant};

use capfilt_onnx::{ImportOptions, import};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::{Device, Stop, runtime};

fn package(task: &str) -> Option<(TempDir, Package)> {
    if let Err(error) = runtime::find(None) {
        crate::test_skips::skipped(format_args!("{error}"));
        return None;
    }
    let folder = TempDir::new().unwrap();
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden/blip/prompted")
        .join(task);
    let package = import(
        &checkpoint,
        &folder.path().join(task),
        &ImportOptions::default(),
    )
    .unwrap();
    Some((folder, package))
}

fn cpu() -> SessionOptions {
    SessionOptions {
        device: Device::Cpu,
        ..SessionOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_all_callers_within_a_second() {
    let Some((_folder, package)) = package("captioner") else {
        return;
    };
    let stop = Stop::new();
    let sessions = SessionOptions {
        stop: stop.clone(),
        ..cpu()
    };
    let captioner = Captioner::open(&package, &CaptionOptions::default(), &sessions).unwrap();
    let size = captioner.about.pixels;
    let mut asks = JoinSet::new();
    for _ in 0..3000 {
        let captioner = captioner.clone();
        asks.spawn(async move { captioner.caption(vec![0.5; size], [1; 32]).await });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.stop();
    let begun = Instant::now();
    let mut cancelled = 0;
    while let Some(answer) = asks.join_next().await {
        match answer.unwrap() {
            Ok(_) => {}
            Err(ModelError::Cancelled) => cancelled += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert!(cancelled > 0);
    let late = captioner.caption(vec![0.5; size], [1; 32]).await;
    assert!(matches!(late, Err(ModelError::Cancelled)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_of_the_wrong_size_is_refused() {
    let Some((_folder, package)) = package("captioner") else {
        return;
    };
    let captioner = Captioner::open(&package, &CaptionOptions::default(), &cpu()).unwrap();
    let error = captioner.caption(vec![0.0; 5], [0; 32]).await.unwrap_err();
    assert!(error.to_string().contains("5 values"), "{error}");
    let broken = captioner
        .caption(vec![f32::NAN; captioner.about.pixels], [0; 32])
        .await;
    assert!(
        matches!(broken, Err(ModelError::NotFinite { .. })),
        "{broken:?}"
    );
}

#[test]
fn a_package_for_another_task_is_refused() {
    let Some((_folder, package)) = package("filter") else {
        return;
    };
    let Err(error) = Captioner::open(&package, &CaptionOptions::default(), &cpu()) else {
        panic!("a filter is no captioner");
    };
    assert!(error.to_string().contains("--task captioner"), "{error}");
}

#[test]
fn a_device_that_the_library_lacks_is_an_error_and_auto_says_cpu() {
    let Some((_folder, package)) = package("captioner") else {
        return;
    };
    let loaded = runtime::load(&runtime::find(None).unwrap(), None).unwrap();
    if loaded.providers.iter().any(|provider| provider == "CUDA") {
        crate::test_skips::skipped(format_args!("this library has CUDA"));
        return;
    }
    let with = |device| SessionOptions {
        device,
        ..SessionOptions::default()
    };
    let options = CaptionOptions::default();
    let Err(error) = Captioner::open(&package, &options, &with(Device::Cuda(1))) else {
        panic!("there is no CUDA");
    };
    let message = error.to_string();
    assert!(
        message.contains("`cuda:1`") && message.contains("without CUDA"),
        "{message}"
    );
    assert!(
        message.contains("capfilt runtime install --cuda"),
        "{message}"
    );
    let auto = Captioner::open(&package, &options, &with(Device::Auto)).unwrap();
    assert_eq!(auto.device(), "cpu");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prompt_starts_the_tokens_and_is_not_in_the_text() {
    let Some((_folder, package)) = package("captioner") else {
        return;
    };
    let options = CaptionOptions {
        prompt: Some("a picture of ".to_owned()),
        ..CaptionOptions::default()
    };
    let captioner = Captioner::open(&package, &options, &cpu()).unwrap();
    let texts = Texts::open(&package.tokenizer(), &package.manifest.tokens).unwrap();
    let prompt = texts.prompt(captioner.prompt()).unwrap();
    let size = captioner.about.pixels;
    let caption = captioner.caption(vec![0.25; size], [1; 32]).await.unwrap();
    assert_eq!(caption.token_ids[..prompt.len()], prompt);
    assert!(caption.token_ids.len() > prompt.len() && caption.token_ids.len() <= 20);
    let all = texts.caption(&caption.token_ids, 1).unwrap();
    assert_eq!(
        all.strip_prefix(captioner.prompt().trim()).unwrap().trim(),
        caption.text
    );
    assert!(caption.log_prob < 0.0);
}
