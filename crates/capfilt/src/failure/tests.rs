use super::*;

#[derive(Debug, thiserror::Error)]
enum Layer {
    #[error("cannot use `a.toml`")]
    Outer(#[source] Box<Self>),
    #[error("cannot read: {0}")]
    Repeats(#[source] Box<Self>),
    #[error("no such file")]
    Inner,
}

#[test]
fn causes_and_hint_follow_the_message() {
    let error = Layer::Outer(Box::new(Layer::Inner));
    assert_eq!(
        text(&error, Some("give another file")),
        "error: cannot use `a.toml`\n  caused by: no such file\n\nhint: give another file"
    );
    assert_eq!(text(&Layer::Inner, None), "error: no such file");
}

#[test]
fn a_cause_that_was_said_is_not_said_again() {
    let error = Layer::Outer(Box::new(Layer::Repeats(Box::new(Layer::Inner))));
    assert_eq!(causes(&error), ["cannot read: no such file"]);
}
