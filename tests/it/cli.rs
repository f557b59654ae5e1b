//! The command line: help, usage errors, exit codes, stdout and stderr.

use std::io::Read;
use std::process::Stdio;

use insta::assert_snapshot;

use crate::program::{capfilt, command, root};

const COMMANDS: &[&[&str]] = &[
    &[],
    &["demo"],
    &["run"],
    &["check"],
    &["decide"],
    &["remove"],
    &["report"],
    &["caption"],
    &["score"],
    &["eval"],
    &["train"],
    &["bootstrap"],
    &["model"],
    &["model", "import"],
    &["model", "show"],
    &["runtime"],
    &["runtime", "install"],
    &["runtime", "show"],
    &["schedule"],
    &["schema"],
];

#[test]
fn the_help_of_every_command_shows_an_example() {
    for words in COMMANDS {
        for help in ["--help", "-h"] {
            let ran = capfilt(words.iter().chain([&help])).expect_code(0);
            let (_, example) = ran.stdout.split_once("Example").unwrap_or_else(|| {
                panic!(
                    "`capfilt {} {help}` shows no example:\n{}",
                    words.join(" "),
                    ran.stdout
                )
            });
            let shown = format!("capfilt {}", words.join(" "));
            assert!(
                example.contains(shown.trim_end()),
                "no `{shown}` in:{example}"
            );
            assert_eq!(ran.stderr, "");
        }
    }
}

#[test]
fn files_that_help_and_readme_name_are_there() {
    let help = COMMANDS.iter().map(|words| {
        let ran = capfilt(words.iter().chain([&"--help"])).expect_code(0);
        (format!("`capfilt {} --help`", words.join(" ")), ran.stdout)
    });
    let readme = fs_err::read_to_string(root().join("README.md")).unwrap();
    let mut seen = 0;
    for (place, text) in help.chain([("README.md".to_owned(), readme)]) {
        for (at, _) in text.match_indices("pipelines/") {
            let is_path = |letter: char| letter.is_alphanumeric() || "/._-".contains(letter);
            let end = text[at..].find(|letter| !is_path(letter));
            let path = &text[at..end.map_or(text.len(), |end| at + end)];
            let path = path.trim_end_matches('.');
            assert!(root().join(path).exists(), "{place} names `{path}`");
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} paths were found");
}

#[test]
fn the_help_documents_every_exit_code() {
    for words in [&["--help"][..], &["run", "--help"]] {
        let ran = capfilt(words);
        let (_, codes) = ran
            .stdout
            .split_once("Exit codes:\n")
            .expect("exit codes are documented");
        for code in ["0  done", "1  failed", "2  wrong", "3  bad", "4  finished"] {
            assert!(codes.contains(code), "no `{code}` in:\n{codes}");
        }
    }
}

#[test]
fn the_commands_are_those_of_the_help() {
    let help = capfilt(["--help"]).stdout;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let listed: Vec<&str> = list
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|word| !word.is_empty())
        .collect();
    let mut known: Vec<&str> = COMMANDS
        .iter()
        .filter_map(|words| words.first().copied())
        .collect();
    known.dedup();
    assert_eq!(listed, known);
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for words in [
        &["rum"][..],
        &["run"],
        &["run", "a.toml", "--no-such"],
        &["caption", "a.png"],
        &["caption", "--model", "m"],
        &["caption", "--model", "m", "--decoding", "sample", "a.png"],
        &[
            "caption",
            "--model",
            "m",
            "--decoding",
            "greedy",
            "--length-normalisation",
            "blip",
            "a.png",
        ],
        &["score", "--model", "m", "a.png"],
        &[
            "score",
            "--model",
            "m",
            "--text",
            "t",
            "--first-token",
            "sep",
            "a.png",
        ],
        &["model", "import", "c"],
        &["schema", "pipelin"],
        &["-v", "-q", "runtime", "show"],
    ] {
        let ran = capfilt(words).expect_code(2);
        assert!(
            ran.stderr.starts_with("error: "),
            "{words:?}: {}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "", "{words:?}");
    }
}

#[test]
fn a_wrong_decoding_says_what_is_expected() {
    let ran = capfilt(["caption", "--model", "m", "--decoding", "beam:0", "a.png"]);
    assert_snapshot!(ran.told(), @r"
    exit code 2
    error: invalid value 'beam:0' for '--decoding <greedy|beam:K|nucleus:P>': `0` is not a number of beams; expected a whole number from 1 to 64

    For more information, try '--help'.
    ");
}

#[test]
fn a_misspelt_command_gets_a_suggestion() {
    assert_snapshot!(capfilt(["rum"]).told(), @r"
    exit code 2
    error: unrecognized subcommand 'rum'

      tip: a similar subcommand exists: 'run'

    Usage: capfilt [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn the_version_goes_to_stdout() {
    let ran = capfilt(["--version"]).expect_code(0);
    assert_eq!(
        ran.stdout,
        format!("capfilt {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_closed_stdout_ends_the_program_quietly() {
    let mut child = command()
        .args(["schema", "pipeline"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(stderr, "");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn errors_are_json_lines_when_logs_are() {
    let ran = capfilt(["--log-format", "json", "model", "show", "no/such/package"]).expect_code(3);
    assert_ne!(ran.stderr, "");
    for line in ran.stderr.lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"));
        assert!(value.get("level").is_some(), "{line}");
    }
    assert!(ran.stderr.contains("no/such/package"));
}
