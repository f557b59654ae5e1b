//! Imports a checkpoint without the command line: `import CHECKPOINT OUTPUT [PRECISION] [TASK]`.

use std::path::Path;

use capfilt_onnx::{ImportOptions, import};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, output, rest @ ..] = arguments.as_slice() else {
        return Err("expected CHECKPOINT OUTPUT [PRECISION] [TASK]".into());
    };
    let mut options = ImportOptions::default();
    if let Some(precision) = rest.first() {
        options.precision = precision.parse()?;
    }
    if let Some(task) = rest.get(1) {
        options.task = Some(task.parse()?);
    }
    import(Path::new(checkpoint), Path::new(output), &options)?;
    Ok(())
}
