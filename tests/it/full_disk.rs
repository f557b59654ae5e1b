//! A full disk: it is told, what is finished stays, and with more room the run goes on to the same
//! rows. The disks are small ones of memory, which only the test's own process tree sees.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use image::{ImageFormat, Rgb, RgbImage};

use crate::crash::{Scene, readable, same};
use crate::program::{Ran, skipped};
use crate::shards::{Row, files, png_of, read, texts};
use crate::support::Response;
use crate::work::{WITHOUT_MODELS, Work, assert_whole};

/// Runs a shell script that may mount things; `$1` is the program and `$2` the output folder.
fn with_mounts(script: &str, output: &Path, more: &[&str]) -> Option<Ran> {
    fs_err::create_dir_all(output).unwrap();
    let ran = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .args([Path::new(env!("CARGO_BIN_EXE_capfilt")), output])
        .args(more)
        .env("NO_COLOR", "1")
        .output();
    let ran: Ran = match ran {
        Ok(ran) => ran.into(),
        Err(error) => {
            skipped(format_args!("no `unshare` here: {error}"));
            return None;
        }
    };
    if ran.code == Some(77) || ran.stderr.contains("unshare:") {
        skipped(format_args!(
            "no disk of its own can be had here: {}",
            ran.stderr
        ));
        return None;
    }
    Some(ran)
}

/// A run on a disk that was too small, and after it had got more room.
struct Squeezed {
    /// What the first run told.
    first: Ran,
    /// The output as it left it.
    full: PathBuf,
    /// What the second run told.
    second: Ran,
    /// The output as that left it.
    done: PathBuf,
}

/// Runs the pipeline on a disk of `size`, and again on the same one with room enough.
fn squeezed(work: &Work, size: &str) -> Option<Squeezed> {
    let script = "mount -t tmpfs -o size=$4 capfilt-test $2 || exit 77
                  $1 run $3 --output $2 2>$5.told; echo $? >$5.code
                  cp -r $2 $5
                  mount -o remount,size=512m $2 || exit 77
                  $1 run $3 --output $2; code=$?
                  cp -r $2 $6
                  exit $code";
    let [full, done] = ["full", "done"].map(|name| work.path(&format!("{name}-{size}")));
    let pipeline = work.pipeline();
    let more = [&pipeline, Path::new(size), &full, &done].map(|path| path.to_str().unwrap());
    let second = with_mounts(script, &work.path("disk"), &more)?;
    let told = |ending: &str| fs_err::read_to_string(full.with_extension(ending)).unwrap();
    let first = Ran {
        code: told("code").trim().parse().ok(),
        stdout: String::new(),
        stderr: told("told"),
    };
    Some(Squeezed {
        first,
        full,
        second,
        done,
    })
}

impl Squeezed {
    /// Asserts that the first run told why it failed and left only whole files, and that the second
    /// made what `reference` has.
    fn expect(self, reference: &Path) -> Self {
        let first = self.first.expect_code(1);
        assert!(
            first.stderr.contains("the disk is full; make room"),
            "{}",
            first.stderr
        );
        assert_whole(&self.full);
        readable(&self.full);
        let second = self.second.expect_code(0);
        assert_eq!(same(reference, &self.done), Ok(()));
        Self {
            first,
            second,
            ..self
        }
    }
}

/// A picture of noise, which takes three bytes a pixel.
fn noise(side: u32, seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(1);
    RgbImage::from_fn(side, side, |_, _| {
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        Rgb([byte(), byte(), byte()])
    })
}

fn bmp_of_noise(side: u32, seed: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    noise(side, seed)
        .write_to(&mut bytes, ImageFormat::Bmp)
        .unwrap();
    bytes.into_inner()
}

#[test]
fn a_full_disk_is_told_and_with_more_room_nothing_is_missing() {
    let work = Work::with_source(
        "columns = { image = \"image\", text = \"text\" }\nrows-per-piece = 2",
        WITHOUT_MODELS,
    );
    // 40 pictures are about 1.4 MB, and come to lie in `scored` and in `dataset`.
    let rows: Vec<Row> = (0..40)
        .map(|seed| Row::with_picture(png_of(&noise(108, seed)), "noise"))
        .collect();
    work.shard("a", &rows);
    work.run().expect_code(0);
    let mut kept = Vec::new();
    for size in ["4k", "16k", "60k", "150k", "300k", "700k", "1500k", "2500k"] {
        let Some(squeezed) = squeezed(&work, size) else {
            return;
        };
        let squeezed = squeezed.expect(&work.output());
        kept.push(files(&squeezed.full.join("scored")).len());
    }
    assert!(
        kept.is_sorted() && kept[0] == 0,
        "{kept:?} pieces were finished"
    );
    assert!((10..20).contains(&kept[7]), "{kept:?} pieces were finished");
}

#[test]
fn a_disk_that_is_full_when_rows_come_in_again_leaves_what_was_scored() {
    let picture = |seed| bmp_of_noise(108, seed);
    let scene = Scene::with_pictures(&[("a", 24)], 100, picture);
    // Pictures of 35 kB: 8 come at once, 4 late; room for both files, but not for one of all 12.
    drop(scene.program("unused"));
    let late = || scene.server.requests("/a/1/late");
    let before = late();
    let Some(squeezed) = squeezed(&scene.work, "700k") else {
        return;
    };
    let squeezed = squeezed.expect(&scene.output("reference"));
    assert_eq!(
        late() - before,
        3,
        "the second pass was not what the disk was full in"
    );
    let left = read(&squeezed.full.join("scored/a.parquet"));
    let reasons = texts(&left, "reject");
    let of = |row: usize| reasons[row].as_deref().unwrap_or("in");
    assert_eq!([0, 1, 2].map(of), ["in", "server-error", "not-found"]);
    let told = &squeezed.second.stderr;
    assert!(
        told.contains("rows of 1 finished pieces are tried again"),
        "{told}"
    );
}

#[test]
fn a_disk_that_is_full_of_waiting_pictures_is_told() {
    let picture = |seed| bmp_of_noise(1_000, seed);
    let scene = Scene::with_pictures(&[("a", 60)], 100, picture);
    // All wait for the first row. 19 pictures of 3 MB are more than wait in memory.
    drop(scene.program("unused"));
    let slow = Response::ok("image/bmp", bmp_of_noise(1_000, 0)).after(Duration::from_secs(3));
    scene.server.put("/a/0/good", slow);
    let Some(squeezed) = squeezed(&scene.work, "3m") else {
        return;
    };
    let squeezed = squeezed.expect(&scene.output("reference"));
    let folder = scene.work.path("disk/scored");
    let place = format!("cannot write `{}`", folder.display());
    let told = &squeezed.first.stderr;
    assert!(told.contains(&place), "{told}");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told() {
    let work = Work::new(WITHOUT_MODELS);
    work.shard("a", &[Row::good(1, "one")]);
    let script = "mount -t tmpfs capfilt-test $2 || exit 77
                  $1 run $3 --output $2 2>/dev/null || exit 78
                  mount -o remount,ro $2 || exit 77
                  $1 run $3 --output $2; echo $?
                  $1 decide $2; echo $?
                  $1 report $2; echo $?";
    let pipeline = work.pipeline();
    let Some(ran) = with_mounts(script, &work.path("disk"), &[pipeline.to_str().unwrap()]) else {
        return;
    };
    let ran = ran.expect_code(0);
    assert_eq!(ran.stdout, "1\n1\n1\n");
    assert_eq!(
        ran.stderr.matches("Read-only file system").count(),
        3,
        "{}",
        ran.stderr
    );
}
