use std::path::Path;
use std::process::Command;

use capfilt_onnx::{ImportOptions, Package, import};
use tempfile::TempDir;

use super::*;
use crate::captioner::{CaptionEngine, CaptionOptions};
use crate::decoding::{Beam, Decoding, Nucleus};
use crate::graph::SessionOptions;
use crate::{Device, runtime};

/// A random captioner; `None`, said aloud, where there is no runtime.
fn engine(decoding: Decoding) -> Option<(TempDir, CaptionEngine)> {
    if let Err(error) = runtime::find(None) {
        crate::test_skips::skipped(format_args!("{error}"));
        return None;
    }
    let folder = TempDir::new().unwrap();
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden/blip/wide-patches/captioner");
    let package: Package = import(
        &checkpoint,
        &folder.path().join("captioner"),
        &ImportOptions::default(),
    )
    .unwrap();
    let options = CaptionOptions {
        decoding: Some(decoding),
        ..CaptionOptions::default()
    };
    let sessions = SessionOptions {
        device: Device::Cpu,
        ..SessionOptions::default()
    };
    Some((
        folder,
        CaptionEngine::open(&package, &options, &sessions).unwrap(),
    ))
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn pictures(count: usize, size: usize) -> Vec<Vec<f32>> {
    (0..count)
        .map(|picture| {
            (0..size)
                .map(|i| ((i * (picture + 3)) % 97) as f32 / 48.5 - 1.0)
                .collect()
        })
        .collect()
}

fn caption(engine: &mut CaptionEngine, count: usize, round: u8) -> Vec<Hypothesis> {
    let pictures = pictures(count, engine.encoder.pixels());
    let pictures: Vec<&[f32]> = pictures.iter().map(Vec::as_slice).collect();
    let seeds: Vec<[u8; 32]> = (0..count)
        .map(|picture| [u8::try_from(picture).unwrap() ^ round; 32])
        .collect();
    engine.hypotheses(&pictures, &seeds).unwrap()
}

fn nucleus() -> Decoding {
    Decoding::Nucleus(Nucleus {
        min_length: 3,
        ..Nucleus::default()
    })
}

#[test]
fn caches_go_from_step_to_step_without_a_copy() {
    for decoding in [nucleus(), Decoding::Beam(Beam::default())] {
        let Some((_folder, mut engine)) = engine(decoding) else {
            return;
        };
        caption(&mut engine, 6, 0);
        let runs = &engine.decoder.graph.runs;
        assert!(runs.len() > 4, "{} steps", runs.len());
        let mut caches = 0;
        for pair in runs.windows(2) {
            for (name, present) in pair[0]
                .outputs
                .iter()
                .filter(|(name, _)| name.starts_with("present_"))
            {
                let past = &pair[1].inputs[&name.replacen("present_", "past_", 1)];
                assert_eq!(past, present, "{name}");
                caches += 1;
            }
        }
        assert_eq!(caches, (runs.len() - 1) * 6);
    }
}

#[test]
fn a_bound_cache_is_read_where_it_lies() {
    // Changing the memory of a value after it was bound must change what the next step sees; a copy
    // made when it was bound would not.
    let Some((_folder, mut engine)) = engine(nucleus()) else {
        return;
    };
    let size = engine.encoder.pixels();
    let picture = &pictures(1, size)[0];
    let mut logits = Vec::new();
    for change in [false, true] {
        let encoded = engine.encoder.encode(&[picture]).unwrap();
        let decoder = &mut engine.decoder;
        decoder.bind_all(&encoded.cross).unwrap();
        decoder.bind_empty_past(1).unwrap();
        let ids = |values: Vec<i64>| {
            Tensor::from_array(([1, values.len()], values))
                .unwrap()
                .into_dyn()
        };
        let rows = Tensor::from_array(([1], vec![0_i64])).unwrap().into_dyn();
        decoder
            .graph
            .bind("input_ids", &ids(vec![5, 6, 7]))
            .unwrap();
        decoder.graph.bind("rows", &rows).unwrap();
        let names = decoder.graph.outputs().to_vec();
        let mut outputs = decoder.graph.run().unwrap();
        for (name, value) in names.iter().zip(&mut outputs) {
            if let Some(layer) = name.strip_prefix("present_") {
                decoder.graph.bind(&format!("past_{layer}"), value).unwrap();
                if change {
                    let (_, values) = value.try_extract_tensor_mut::<f32>().unwrap();
                    values.fill(0.25);
                }
            }
        }
        decoder.graph.bind("input_ids", &ids(vec![8])).unwrap();
        let outputs = decoder.graph.run().unwrap();
        let place = names.iter().position(|name| name == "logits").unwrap();
        logits.push(
            outputs[place]
                .try_extract_tensor::<f32>()
                .unwrap()
                .1
                .to_vec(),
        );
    }
    assert_ne!(logits[0], logits[1]);
}

#[test]
fn ended_captions_leave_the_batch_and_change_nothing_for_the_others() {
    let Some((_folder, mut engine)) = engine(nucleus()) else {
        return;
    };
    let together = caption(&mut engine, 12, 0);
    let rows: Vec<i64> = engine
        .decoder
        .graph
        .runs
        .iter()
        .map(|run| run.outputs["logits"].shape[0])
        .collect();
    assert_eq!(rows[0], 12);
    assert!(
        rows.is_sorted_by(|a, b| a >= b) && rows[rows.len() - 1] < 12,
        "{rows:?}"
    );
    assert!(!engine.decoder.select.runs.is_empty());
    let lengths: Vec<usize> = together.iter().map(|found| found.tokens.len()).collect();
    assert!(lengths.iter().min() < lengths.iter().max(), "{lengths:?}");
    let size = engine.encoder.pixels();
    for (index, picture) in pictures(12, size).iter().enumerate() {
        let alone = engine
            .hypotheses(&[picture], &[[u8::try_from(index).unwrap(); 32]])
            .unwrap();
        assert_eq!(alone[0], together[index], "picture {index}");
        assert_eq!(
            alone[0].log_prob.to_bits(),
            together[index].log_prob.to_bits()
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat_over_2000_steps() {
    // In a process of its own: other tests allocate too.
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "decoder::tests::two_thousand_steps",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    eprintln!("{}", said.trim());
    assert!(
        output.status.success(),
        "{}{said}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by `memory_stays_flat_over_2000_steps`"]
fn two_thousand_steps() {
    fn resident() -> u64 {
        let statm = fs_err::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }
    let Some((_folder, mut engine)) = engine(nucleus()) else {
        return;
    };
    let mut go = |steps: usize| {
        let mut taken = 0;
        let mut round = 0;
        while taken < steps {
            // Batches of every size, as a run makes them.
            caption(&mut engine, 1 + usize::from(round) % 16, round);
            taken += std::mem::take(&mut engine.decoder.graph.runs).len();
            engine.decoder.select.runs.clear();
            round = round.wrapping_add(1);
        }
    };
    go(1000);
    let before = resident();
    go(2000);
    let after = resident();
    eprintln!("resident: {before} bytes before 2000 steps, {after} after");
    assert!(
        after <= before + (2 << 20),
        "{before} bytes before, {after} after"
    );
}
