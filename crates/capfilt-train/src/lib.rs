//! A trainer for BLIP, CoCa, CLIP and FILIP on the datasets that the pipeline writes.

pub mod data;
