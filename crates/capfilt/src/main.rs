//! CapFilt for your own pictures.

fn main() {}
