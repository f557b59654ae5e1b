//! The shards of the demo: URLs and texts, as a crawler would have found them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use capfilt_data::{Location, PieceWriter};
use serde::{Deserialize, Serialize};

use super::DemoError;
use super::pictures::Pictures;
use super::server::TROUBLES;

const SHARDS: usize = 2;

/// A URL that is none; the last trouble.
const NO_URL: (&str, &str) = ("http//clip art/apple.png", "A URL with a mistake in it");

/// What the shards on disk were made for.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Served {
    port: u16,
    pictures: String,
}

/// The folder of the shards.
#[derive(Debug)]
pub(crate) struct Input {
    folder: PathBuf,
    /// What is there from before.
    before: Option<Served>,
}

/// A row before it is a row.
struct Found {
    url: String,
    text: Option<String>,
    license: Option<String>,
}

impl Input {
    /// Looks at what an earlier demo left in `output`.
    pub(crate) fn new(output: &Path, pictures: &Pictures) -> Self {
        let folder = output.join("input");
        let before = fs_err::read(folder.join("served.json")).ok();
        let before = before
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .filter(|before: &Served| before.pictures == pictures.digest())
            .filter(|_| (0..SHARDS).all(|shard| shard_path(&folder, shard).is_file()));
        Self { folder, before }
    }

    /// The port that the URLs on disk name.
    pub(crate) fn port(&self) -> Option<u16> {
        self.before.as_ref().map(|before| before.port)
    }

    /// Writes the shards, unless those on disk name this server, and gives their glob.
    pub(crate) fn write(
        &self,
        pictures: &Pictures,
        address: SocketAddr,
    ) -> Result<String, DemoError> {
        let now = Served {
            port: address.port(),
            pictures: pictures.digest().to_owned(),
        };
        if self.before.as_ref() != Some(&now) {
            let found = found(pictures, address);
            for (shard, rows) in found.chunks(found.len().div_ceil(SHARDS)).enumerate() {
                write_shard(&shard_path(&self.folder, shard), rows)?;
            }
            let marker = serde_json::json!(now).to_string();
            Location::from(self.folder.join("served.json")).replace(marker.as_bytes())?;
        }
        Ok(self.folder.join("*.parquet").to_string_lossy().into_owned())
    }
}

fn shard_path(folder: &Path, shard: usize) -> PathBuf {
    folder.join(format!("clipart-{shard}.parquet"))
}

/// Every picture, and the troubles strewn among them.
fn found(pictures: &Pictures, address: SocketAddr) -> Vec<Found> {
    let trouble = |url: String, text: &str| Found {
        url,
        text: Some(text.to_owned()),
        license: None,
    };
    // Behind a harmless one is a good picture, which has its own title.
    let title = pictures
        .example()
        .and_then(|example| example.title.as_deref());
    let mut troubles = TROUBLES
        .into_iter()
        .map(|(path, text, what)| {
            let title = title.filter(|_| what.is_harmless());
            trouble(format!("http://{address}{path}"), title.unwrap_or(text))
        })
        .chain([trouble(NO_URL.0.to_owned(), NO_URL.1)]);
    let every = pictures.len() / (TROUBLES.len() + 1);
    let mut found = Vec::new();
    for (index, picture) in pictures.iter().enumerate() {
        if index % every.max(1) == every / 2 {
            found.extend(troubles.next());
        }
        found.push(Found {
            url: format!("http://{address}{}", picture.path),
            text: picture.title.clone(),
            license: Some(picture.license.clone()),
        });
    }
    found.extend(troubles);
    found
}

fn write_shard(path: &Path, rows: &[Found]) -> Result<(), DemoError> {
    let column = |name| Field::new(name, DataType::Utf8, true);
    let schema = Arc::new(Schema::new(vec![
        column("url"),
        column("text"),
        column("license"),
    ]));
    let texts = |of: fn(&Found) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    let columns = vec![
        texts(|row| Some(&row.url)),
        texts(|row| row.text.as_deref()),
        texts(|row| row.license.as_deref()),
    ];
    let mut writer = PieceWriter::create(path, Arc::clone(&schema))?;
    writer.write(&RecordBatch::try_new(schema, columns)?)?;
    writer.publish([])?;
    Ok(())
}
