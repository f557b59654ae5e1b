use super::*;
use crate::golden::json;

fn assert_rates(name: &str, rate: LearningRate, per_epoch: u64) {
    let schedules = json("schedules.json");
    let rates = schedules[name]["rates"].as_array().unwrap();
    for (step, expected) in (0..).zip(rates) {
        let expected = expected.as_f64().unwrap();
        let got = rate.at(step, rates.len() as u64, per_epoch);
        assert!(
            (got - expected).abs() < 1e-12,
            "{name}, step {step}: {got}, expected {expected}"
        );
    }
}

#[test]
fn rates_equal_those_of_open_clip_and_blip() {
    let rate = LearningRate {
        peak: Peak::known(1e-3),
        warm_up: 4,
        warm_up_from: Rate::known(0.0),
        decay: Decay::Cosine,
        least: Rate::known(0.0),
        per_epoch: false,
    };
    assert_rates("warmup-cosine", rate, 24);
    let blip = LearningRate {
        peak: Peak::known(3e-4),
        warm_up_from: Rate::known(1e-6),
        decay: Decay::EveryEpoch(Part::known(0.9)),
        least: Rate::known(1.5e-4),
        ..rate
    };
    assert_rates("step-decay", blip, 6);
    let finetuning = LearningRate {
        peak: Peak::known(1e-5),
        warm_up: 0,
        least: Rate::known(1e-7),
        per_epoch: true,
        ..rate
    };
    assert_rates("epoch-cosine", finetuning, 6);
}
