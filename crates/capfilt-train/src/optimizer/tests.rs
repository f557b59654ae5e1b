use super::*;
use crate::golden::{close, device, tensors};
use crate::parameters::{Init, floats};

/// Ten steps on three tensors; `decays` says which of them have weight decay.
fn steps(name: &str, config: &OptimizerConfig, learning_rate: f64, decays: impl Fn(&str) -> bool) {
    let numbers = tensors("optimizers.safetensors");
    let device = device().inner();
    for tensor in ["matrix", "vector", "number"] {
        let start = &numbers[&format!("start.{tensor}")];
        let columns = *start.shape.last().unwrap();
        let shape = [start.values.len() / columns, columns];
        let declaration = Declaration {
            name: tensor.to_owned(),
            shape: start.shape.clone(),
            transposed: false,
            init: Init::Constant(0.0),
            decay: decays(tensor),
        };
        let gradients = &numbers[&format!("gradient.{tensor}")].values;
        let expected = &numbers[&format!("{name}.{tensor}")].values;
        let size = start.values.len();
        let tensor_of = |values: &[f32]| -> Tensor<2> {
            Tensor::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        let mut optimizer = Optimizer::new(config);
        let mut value = tensor_of(&start.values);
        for step in 0..10 {
            // What a checkpoint keeps is all that there is to keep.
            if step == 5 {
                let state = optimizer.state();
                optimizer = Optimizer::new(config);
                optimizer
                    .restore(state, [&declaration].into_iter(), &device)
                    .unwrap();
            }
            let gradient = tensor_of(&gradients[step * size..(step + 1) * size]);
            let given = Given {
                declaration: &declaration,
                value,
                gradient,
            };
            let mut stepped = optimizer.step(learning_rate, vec![given]);
            value = stepped.remove(&declaration.name).unwrap();
            let expected = &expected[step * size..(step + 1) * size];
            close(
                &format!("{name}.{tensor} after step {step}"),
                &floats(value.clone()),
                expected,
                1e-4,
            );
        }
    }
}

#[test]
fn ten_steps_equal_the_references() {
    let moments = |betas: [f32; 2], epsilon, decay| Moments {
        betas: betas.map(Share::known),
        epsilon: Positive::known(epsilon),
        weight_decay: Weight::known(decay),
    };
    let adamw = OptimizerConfig::AdamW(moments([0.9, 0.999], 1e-8, 0.05));
    steps("adamw", &adamw, 0.01, |_| true);
    let adamw = OptimizerConfig::AdamW(moments([0.9, 0.98], 1e-6, 0.2));
    steps("adamw-clip", &adamw, 0.01, |tensor| tensor == "matrix");
    let lamb = OptimizerConfig::Lamb(moments([0.9, 0.999], 1e-4, 0.05));
    steps("lamb", &lamb, 0.01, |_| true);
    let adafactor = |relative| {
        OptimizerConfig::Adafactor(Factors {
            relative,
            ..Factors::default()
        })
    };
    steps("adafactor", &adafactor(false), 0.01, |_| true);
    steps("adafactor-relative", &adafactor(true), 0.4, |_| true);
}
