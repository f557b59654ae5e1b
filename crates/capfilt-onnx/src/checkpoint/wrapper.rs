//! What programs put in front of a model's names: keys of the dictionary that it was saved in, and
//! modules that wrap it.

use std::collections::{BTreeMap, BTreeSet};

/// Wrappers of modules, which `torch.compile`, FSDP and activation checkpoints put anywhere.
const ANYWHERE: [&str; 3] = [
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];
/// Keys and attributes in front of a name, best first: where two hold the same model, the first is it.
const LEADING: [&str; 9] = [
    "model",
    "state_dict",
    "model_state_dict",
    "module",
    "ema",
    "model_ema",
    "ema_model",
    "ema_state_dict",
    "state_dict_ema",
];

/// What happened to names with one wrapper.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrapper {
    /// It, with its last dot.
    pub(super) name: String,
    /// Number of names.
    pub(super) count: usize,
    /// Whether it was taken off; else names would be there twice without it.
    pub(super) taken_off: bool,
}

impl std::fmt::Display for Wrapper {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            count,
            taken_off,
        } = self;
        if *taken_off {
            write!(formatter, "took `{name}` off the names of {count} tensors")
        } else {
            write!(
                formatter,
                "left {count} tensors below `{name}` aside: without it their names are there already"
            )
        }
    }
}

/// A name as it stands and without its wrapper, and what it names.
type Wrapped<T> = (String, String, T);

/// Names without their wrappers. Those with the same one change together or, where a name would be
/// there twice, not at all.
pub(super) fn take_off<T>(tensors: BTreeMap<String, T>) -> (BTreeMap<String, T>, Vec<Wrapper>) {
    let mut groups: BTreeMap<(usize, String), Vec<Wrapped<T>>> = BTreeMap::new();
    for (name, tensor) in tensors {
        let (rank, wrapper, inner) = split(&name);
        let group = groups.entry((rank, wrapper)).or_default();
        group.push((name, inner, tensor));
    }
    let mut result = BTreeMap::new();
    let mut wrappers = Vec::new();
    for ((_, wrapper), group) in groups {
        let names: BTreeSet<_> = group.iter().map(|(_, inner, _)| inner.as_str()).collect();
        let once = names.len() == group.len();
        let taken_off = once && !names.iter().any(|name| result.contains_key(*name));
        if !wrapper.is_empty() {
            wrappers.push(Wrapper {
                name: wrapper,
                count: group.len(),
                taken_off,
            });
        }
        let renamed = group
            .into_iter()
            .map(|(name, inner, tensor)| (if taken_off { inner } else { name }, tensor));
        result.extend(renamed);
    }
    (result, wrappers)
}

/// How late a wrapper counts, the wrapper, and the name without it.
fn split(name: &str) -> (usize, String, String) {
    let (mut rank, mut wrapper, mut inner) = (0, String::new(), Vec::new());
    let mut components = name.split('.').peekable();
    while let Some(component) = components.next() {
        let is_last = components.peek().is_none();
        let leading = LEADING.iter().position(|other| *other == component);
        if !is_last && ANYWHERE.contains(&component) {
            rank = rank.max(1);
        } else if let Some(place) = leading.filter(|_| !is_last && inner.is_empty()) {
            rank = rank.max(2 + place);
        } else {
            inner.push(component);
            continue;
        }
        wrapper.push_str(component);
        wrapper.push('.');
    }
    (rank, wrapper, inner.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_off(names: &[&str]) -> (Vec<String>, Vec<String>) {
        let tensors = names.iter().map(|name| ((*name).to_owned(), ())).collect();
        let (tensors, wrappers) = take_off(tensors);
        let said = wrappers.iter().map(ToString::to_string).collect();
        (tensors.into_keys().collect(), said)
    }

    #[test]
    fn wrappers_go_in_any_combination() {
        for name in [
            "_orig_mod.text_encoder.a",
            "module.text_encoder.a",
            "model.text_encoder.a",
            "_orig_mod.module.text_encoder.a",
            "state_dict.model._orig_mod.text_encoder.a",
            "model.module.model.text_encoder.a",
            "text_encoder._orig_mod.a",
            "_fsdp_wrapped_module.text_encoder._checkpoint_wrapped_module.a",
            "ema.module.text_encoder.a",
        ] {
            let (names, said) = taken_off(&[name]);
            assert_eq!(names, ["text_encoder.a"], "{name}");
            assert!(said[0].ends_with("off the names of 1 tensors"), "{said:?}");
        }
        assert_eq!(
            taken_off(&["module.a", "module.b", "c"]).1,
            ["took `module.` off the names of 2 tensors"]
        );
    }

    #[test]
    fn plain_names_stay() {
        // `model` is a name of its own where nothing follows.
        let names = ["logit_scale", "model", "text.module.a", "text_model.a"];
        assert_eq!(taken_off(&names), (names.map(str::to_owned).into(), vec![]));
    }

    #[test]
    fn a_wrapper_stays_where_a_name_would_be_there_twice() {
        let (names, said) = taken_off(&["a", "module.a", "module.b"]);
        assert_eq!(names, ["a", "module.a", "module.b"]);
        assert_eq!(
            said,
            ["left 2 tensors below `module.` aside: without it their names are there already"]
        );
        let (names, said) = taken_off(&["ema.a", "ema.b", "model.a", "model.b"]);
        assert_eq!(names, ["a", "b", "ema.a", "ema.b"]);
        assert_eq!(said.len(), 2, "{said:?}");
        let (names, _) = taken_off(&["a._orig_mod.b", "_orig_mod.a.b"]);
        assert_eq!(names, ["_orig_mod.a.b", "a._orig_mod.b"]);
    }
}
