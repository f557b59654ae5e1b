//! Objects in a store: S3, Google Cloud Storage, Azure.
//!
//! Callers block; requests run on two threads of their own. A store's client tries a request again
//! by itself; what still failed in passing, and what takes several requests, is tried again here.

use std::cmp::Ordering;
use std::fmt;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutPayload, PutResult, UpdateVersion, coalesce_ranges,
};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;

use crate::location::LocationError;
#[cfg(feature = "cloud")]
use crate::object_error::variables;
use crate::object_error::{is_passing, lease_lost, refused};
use crate::step::Step;

/// Bytes of one part of an upload; a file of no more goes up in one request. S3 takes 10,000 parts.
const PART_BYTES: usize = 8 << 20;
/// Parts of one store that are in memory at once.
const PARTS: usize = 4;
/// How often something is tried on top of what the client does.
const ATTEMPTS: u32 = 3;
/// How long is waited before the second attempt; twice as long before the next.
const PAUSE: Duration = Duration::from_secs(1);
/// Ranges of an object with less between them are read as one.
const GAP_BYTES: u64 = 1 << 20;

type Result<T> = object_store::Result<T>;

/// An object or a prefix: a store and a key.
#[derive(Clone)]
pub struct Object {
    store: Arc<Store>,
    key: Path,
}

/// A bucket or container.
pub(crate) struct Store {
    /// `scheme://bucket`.
    url: String,
    client: Arc<dyn ObjectStore>,
    requests: Handle,
    parts: Arc<Semaphore>,
    /// Until when what is under a lease may be written.
    lease: Mutex<Option<Instant>>,
}

/// An object as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Stat {
    /// Its bytes.
    pub(crate) size: u64,
    /// Its entity tag, or when it was changed: tells one content from another.
    pub(crate) version: String,
    /// Its entity tag.
    pub(crate) e_tag: Option<String>,
}

impl Stat {
    fn of(about: ObjectMeta) -> Self {
        let changed = || about.last_modified.to_rfc3339();
        Self {
            size: about.size,
            version: about.e_tag.clone().unwrap_or_else(changed),
            e_tag: about.e_tag,
        }
    }
}

/// The threads that talk to stores.
fn requests() -> io::Result<Handle> {
    static THREADS: Mutex<Option<Runtime>> = Mutex::new(None);
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(threads) = &*threads {
        return Ok(threads.handle().clone());
    }
    let started = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("object-store")
        .enable_all()
        .build()?;
    Ok(threads.insert(started).handle().clone())
}

impl Object {
    /// The object or prefix at a URL.
    pub(crate) fn open(url: &str) -> std::result::Result<Self, LocationError> {
        let refuse = |reason: String| LocationError {
            url: url.to_owned(),
            reason,
        };
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        if !["s3", "gs", "az"].contains(&scheme) {
            return Err(refuse(
                "expected a path, `s3://`, `gs://` or `az://`".to_owned(),
            ));
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(refuse(format!(
                "no bucket; expected `{scheme}://BUCKET/..`"
            )));
        }
        let key = Path::parse(key).map_err(|error| refuse(error.to_string()))?;
        let requests = requests().map_err(|error| refuse(error.to_string()))?;
        let client = client(scheme, bucket, &requests).map_err(refuse)?;
        Ok(Self::of(
            format!("{scheme}://{bucket}"),
            key,
            client,
            requests,
        ))
    }

    fn of(url: String, key: Path, client: Arc<dyn ObjectStore>, requests: Handle) -> Self {
        let store = Store {
            url,
            client,
            requests,
            parts: Arc::new(Semaphore::new(PARTS)),
            lease: Mutex::new(None),
        };
        Self {
            store: Arc::new(store),
            key,
        }
    }

    /// The root of an empty store.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        let client = Arc::new(object_store::memory::InMemory::new());
        Self::of(
            "memory://tests".to_owned(),
            Path::ROOT,
            client,
            requests().unwrap(),
        )
    }

    /// The object at `below` under this prefix.
    pub(crate) fn join(&self, below: &std::path::Path) -> Self {
        let parts = below.iter().map(|part| part.to_string_lossy().into_owned());
        let mut key = self.key.to_string();
        for part in parts {
            if !key.is_empty() {
                key.push('/');
            }
            key.push_str(&part);
        }
        // A part that no key may have (`..`) is encoded rather than followed.
        let key = Path::parse(&key).unwrap_or_else(|_refused| Path::from(key));
        Self {
            store: Arc::clone(&self.store),
            key,
        }
    }

    /// Whether this lies below the prefix `folder`.
    pub(crate) fn is_below(&self, folder: &Self) -> bool {
        self.store.url == folder.store.url && self.key.prefix_matches(&folder.key)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        let about = self.attempt("read", |client, key| async move { client.head(&key).await })?;
        Ok(Stat::of(about))
    }

    /// The object as it is now, with its last bytes: up to `bytes`, and none where the store does not
    /// give them without being asked for the size before.
    pub(crate) fn end(&self, bytes: u64) -> io::Result<(Stat, Bytes)> {
        let options = GetOptions {
            range: Some(GetRange::Suffix(bytes)),
            ..GetOptions::default()
        };
        let (client, key) = (Arc::clone(&self.store.client), self.key.clone());
        let read = self.store.wait(async move {
            let got = client.get_opts(&key, options).await?;
            Ok((Stat::of(got.meta.clone()), got.bytes().await?))
        })?;
        match read {
            Err(error @ object_store::Error::NotFound { .. }) => Err(self.refused("read", &error)),
            // Azure knows no such ranges, and an empty object has no last bytes.
            Err(_other) => Ok((self.stat()?, Bytes::new())),
            Ok(read) => Ok(read),
        }
    }

    pub(crate) fn exists(&self) -> io::Result<bool> {
        match self.stat() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether there are objects below.
    pub(crate) fn is_prefix(&self) -> io::Result<bool> {
        let first = self.attempt("list", |client, key| async move {
            client.list(Some(&key)).try_next().await
        })?;
        Ok(first.is_some())
    }

    /// The objects below, as paths below this.
    pub(crate) fn list(&self) -> io::Result<Vec<PathBuf>> {
        let found: Vec<Path> = self.attempt("list", |client, key| async move {
            let found = client.list(Some(&key)).map_ok(|found| found.location);
            found.try_collect().await
        })?;
        let below = |found: &Path| {
            let parts = found.prefix_match(&self.key)?;
            Some(parts.map(|part| part.as_ref().to_owned()).collect())
        };
        Ok(found.iter().filter_map(below).collect())
    }

    pub(crate) fn read(&self) -> io::Result<Bytes> {
        self.attempt("read", |client, key| async move {
            client.get(&key).await?.bytes().await
        })
    }

    /// The whole object and what an update of it is conditional on.
    pub(crate) async fn read_versioned(&self) -> Result<(Bytes, UpdateVersion)> {
        let got = self.store.client.get(&self.key).await?;
        let version = UpdateVersion {
            e_tag: got.meta.e_tag.clone(),
            version: got.meta.version.clone(),
        };
        Ok((got.bytes().await?, version))
    }

    /// Puts a small object where a condition holds.
    pub(crate) async fn put_if(&self, mode: PutMode, bytes: Vec<u8>) -> Result<PutResult> {
        let options = PutOptions::from(mode);
        let put = self.store.client.put_opts(&self.key, bytes.into(), options);
        put.await
    }

    /// Bytes of the object with the entity tag `e_tag`.
    pub(crate) fn read_range(&self, range: Range<u64>, e_tag: Option<&str>) -> io::Result<Bytes> {
        self.attempt("read", |client, key| {
            let (range, e_tag) = (range.clone(), e_tag.map(str::to_owned));
            async move { get_range(&*client, &key, range, e_tag).await }
        })
    }

    /// Ranges of bytes of the object with the entity tag `e_tag`; those that lie near each other are
    /// read as one.
    pub async fn read_ranges(
        &self,
        ranges: Vec<Range<u64>>,
        e_tag: Option<&str>,
    ) -> io::Result<Vec<Bytes>> {
        let fetch = |range: Range<u64>| {
            let (client, key) = (Arc::clone(&self.store.client), self.key.clone());
            let e_tag = e_tag.map(str::to_owned);
            async move {
                let mut attempt = 1;
                loop {
                    match get_range(&*client, &key, range.clone(), e_tag.clone()).await {
                        Err(error) if attempt < ATTEMPTS && is_passing(&error) => {
                            tokio::time::sleep(PAUSE * attempt).await;
                            attempt += 1;
                        }
                        got => return got,
                    }
                }
            }
        };
        let read = coalesce_ranges(&ranges, fetch, GAP_BYTES).await;
        read.map_err(|error| self.refused("read", &error))
    }

    /// Removes the object, unless it is gone.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.store.may_write()?;
        let removed = Step::Delete.take(|| {
            self.attempt(
                "remove",
                |client, key| async move { client.delete(&key).await },
            )
        });
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Puts `bytes` here, in place of what is here.
    pub(crate) fn put(&self, bytes: Vec<u8>) -> io::Result<()> {
        self.store.may_write()?;
        let payload = PutPayload::from(bytes);
        Step::Put.take(|| {
            self.attempt("write", |client, key| {
                let payload = payload.clone();
                async move { client.put(&key, payload).await }
            })
        })?;
        Ok(())
    }

    /// Puts the content of `file` here: whole or not at all. Holds a few parts of it in memory.
    pub(crate) fn upload(&self, file: &mut File) -> io::Result<()> {
        let bytes = file.metadata()?.len();
        if bytes <= PART_BYTES as u64 {
            let _permit = self.permit()?;
            let mut content = Vec::new();
            file.rewind()?;
            file.read_to_end(&mut content)?;
            return self.put(content);
        }
        let mut attempt = 1;
        loop {
            let error = match self.upload_parts(file) {
                Ok(()) => return Ok(()),
                Err(UploadError::Io(error)) => return Err(error),
                Err(UploadError::Store(error)) => error,
            };
            if attempt == ATTEMPTS || !is_passing(&error) {
                return Err(self.refused("write", &error));
            }
            let refused = self.refused("write", &error);
            tracing::warn!(error = %refused, "an upload is tried again");
            thread::sleep(PAUSE * attempt);
            attempt += 1;
        }
    }

    fn upload_parts(&self, file: &mut File) -> std::result::Result<(), UploadError> {
        let (client, key) = (Arc::clone(&self.store.client), self.key.clone());
        let mut upload = self
            .store
            .wait(async move { client.put_multipart(&key).await })??;
        if let Err(error) = self.put_parts(&mut *upload, file) {
            // Where this fails, too, the store's rule for unfinished uploads clears up.
            let _aborted = self.store.wait(async move { upload.abort().await });
            return Err(error);
        }
        self.store.may_write()?;
        Step::Put.take(|| self.store.wait(async move { upload.complete().await }))??;
        Ok(())
    }

    fn put_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        file: &mut File,
    ) -> std::result::Result<(), UploadError> {
        file.rewind()?;
        let mut under_way = Vec::new();
        loop {
            let permit = self.permit()?;
            let mut part = Vec::with_capacity(PART_BYTES);
            file.take(PART_BYTES as u64).read_to_end(&mut part)?;
            if part.is_empty() {
                break;
            }
            let put = upload.put_part(part.into());
            under_way.push(self.store.start(async move {
                let put = put.await;
                drop(permit);
                put
            }));
        }
        for put in under_way {
            Step::Part.take(|| answer(&put))??;
        }
        Ok(())
    }

    /// Room for one part in memory.
    fn permit(&self) -> io::Result<tokio::sync::OwnedSemaphorePermit> {
        let parts = Arc::clone(&self.store.parts);
        let permit = self.store.wait(parts.acquire_owned())?;
        permit.map_err(io::Error::other)
    }

    /// Does `work`, and does it again where it failed in passing.
    fn attempt<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
        &self,
        verb: &'static str,
        work: impl Fn(Arc<dyn ObjectStore>, Path) -> F,
    ) -> io::Result<T> {
        let mut attempt = 1;
        loop {
            let work = work(Arc::clone(&self.store.client), self.key.clone());
            match self.store.wait(work)? {
                Ok(done) => return Ok(done),
                Err(error) if attempt < ATTEMPTS && is_passing(&error) => {
                    let refused = self.refused(verb, &error);
                    tracing::warn!(error = %refused, "a request is tried again");
                    thread::sleep(PAUSE * attempt);
                    attempt += 1;
                }
                Err(error) => return Err(self.refused(verb, &error)),
            }
        }
    }

    /// What an error of the store means to people.
    pub(crate) fn refused(&self, verb: &'static str, error: &object_store::Error) -> io::Error {
        refused(&self.to_string(), verb, error)
    }
}

async fn get_range(
    client: &dyn ObjectStore,
    key: &Path,
    range: Range<u64>,
    e_tag: Option<String>,
) -> Result<Bytes> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(range)),
        if_match: e_tag,
        ..GetOptions::default()
    };
    client.get_opts(key, options).await?.bytes().await
}

enum UploadError {
    Io(io::Error),
    Store(object_store::Error),
}

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<object_store::Error> for UploadError {
    fn from(error: object_store::Error) -> Self {
        Self::Store(error)
    }
}

impl Store {
    /// Starts `work` on the threads for requests.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> mpsc::Receiver<T> {
        let (done, answer) = mpsc::sync_channel(1);
        self.requests.spawn(async move {
            // Nobody waits any more where another part failed.
            let _left = done.send(work.await);
        });
        answer
    }

    /// Waits for `work`, also from where a runtime must not be entered.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        answer(&self.start(work))
    }

    /// From now on nothing is written after `until`; anything is, where that is none.
    pub(crate) fn write_until(&self, until: Option<Instant>) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Refuses where a lease ran out.
    fn may_write(&self) -> io::Result<()> {
        let lease = *self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if lease.is_some_and(|until| until <= Instant::now()) {
            return Err(lease_lost(&self.url));
        }
        Ok(())
    }
}

fn answer<T>(started: &mpsc::Receiver<T>) -> io::Result<T> {
    started
        .recv()
        .map_err(|_dropped| io::Error::other("a request to an object store was given up"))
}

/// A client with the credentials and the endpoint of the environment.
#[cfg(feature = "cloud")]
fn client(
    scheme: &str,
    bucket: &str,
    requests: &Handle,
) -> std::result::Result<Arc<dyn ObjectStore>, String> {
    use object_store::aws::AmazonS3Builder;
    use object_store::azure::MicrosoftAzureBuilder;
    use object_store::client::SpawnedReqwestConnector;
    use object_store::gcp::GoogleCloudStorageBuilder;

    let connector = SpawnedReqwestConnector::new(requests.clone());
    let client: Result<Arc<dyn ObjectStore>> = match scheme {
        "gs" => GoogleCloudStorageBuilder::from_env()
            .with_bucket_name(bucket)
            .with_http_connector(connector)
            .build()
            .map(|client| Arc::new(client) as _),
        "az" => MicrosoftAzureBuilder::from_env()
            .with_container_name(bucket)
            .with_http_connector(connector)
            .build()
            .map(|client| Arc::new(client) as _),
        _ => AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_http_connector(connector)
            .build()
            .map(|client| Arc::new(client) as _),
    };
    client.map_err(|error| format!("{error}; set {}", variables(scheme)))
}

#[cfg(not(feature = "cloud"))]
fn client(
    _scheme: &str,
    _bucket: &str,
    _requests: &Handle,
) -> std::result::Result<Arc<dyn ObjectStore>, String> {
    Err("this capfilt was built without the feature `cloud`, which object stores need".to_owned())
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.store.url, self.key)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Object {}

impl PartialOrd for Object {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Object {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.store.url, &self.key).cmp(&(&other.store.url, &other.key))
    }
}

impl Hash for Object {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.store.url, &self.key).hash(state);
    }
}
