//! Pictures in object stores: S3, Google Cloud Storage, Azure.
//!
//! Only in buckets that a pipeline names: the stores are asked with this machine's credentials,
//! which a URL of a data set must not be able to use for anything else.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, Error, ObjectStore, ObjectStoreExt, RetryConfig};
use url::Url;

use crate::FetchError;
use crate::clock::Clock;
use crate::http::too_large;
use crate::memory::Reserved;
use crate::options::FetchOptions;
use crate::outcome::Outcome;
use crate::policy::Refusal;
use crate::units::Timeout;

/// The stores of one fetcher, by scheme and bucket.
#[derive(Debug)]
pub(crate) struct Stores {
    by_bucket: HashMap<String, Arc<dyn ObjectStore>>,
    max_size: u64,
    first_byte: Timeout,
    idle: Timeout,
}

impl Stores {
    /// A store for each of `buckets`.
    pub(crate) fn new(buckets: &[Url], options: &FetchOptions) -> Result<Self, FetchError> {
        let mut by_bucket = HashMap::new();
        for bucket in buckets {
            let store = open(bucket, options).map_err(|error| FetchError::Store {
                bucket: bucket.to_string(),
                reason: error.to_string(),
            })?;
            by_bucket.insert(key(bucket), store);
        }
        Ok(Self {
            by_bucket,
            max_size: options.max_size.0,
            first_byte: options.first_byte_timeout,
            idle: options.idle_timeout,
        })
    }

    /// The object that `url` names; `received` counts its bytes as they come.
    pub(crate) async fn read(
        &self,
        url: &Url,
        reserved: &mut Reserved,
        clock: &mut Clock,
        received: &mut u64,
    ) -> Result<Bytes, Refusal> {
        let unknown = || Refusal::new(Outcome::OutsideFolder, "not one of the `buckets`");
        let store = self.by_bucket.get(&key(url)).ok_or_else(unknown)?;
        let path = Path::from_url_path(url.path())
            .map_err(|error| Refusal::new(Outcome::BadUrl, error.to_string()))?;
        let asked = clock.within(self.first_byte, "answer", store.get(&path));
        let object = asked.await?.map_err(|error| refusal(&error))?;
        if object.meta.size > self.max_size {
            let got = format!("an object of {} bytes", object.meta.size);
            return Err(too_large(self.max_size, &got));
        }
        reserved.grow(object.meta.size).await;
        let capacity = usize::try_from(object.meta.size).unwrap_or(0);
        let mut body = BytesMut::with_capacity(capacity);
        let mut chunks = object.into_stream();
        while let Some(chunk) = clock
            .within(self.idle, "further bytes", chunks.next())
            .await?
        {
            let chunk = chunk.map_err(|error| refusal(&error))?;
            *received += chunk.len() as u64;
            if *received > self.max_size {
                let got = format!("at least {received} bytes sent");
                return Err(too_large(self.max_size, &got));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

fn key(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
}

fn open(url: &Url, options: &FetchOptions) -> object_store::Result<Arc<dyn ObjectStore>> {
    let bucket = url.host_str().unwrap_or_default();
    // Key by key, so that what the environment says of the client otherwise stays.
    let timeouts = [
        (ClientConfigKey::Timeout, options.timeout),
        (ClientConfigKey::ConnectTimeout, options.connect_timeout),
    ];
    let retry = RetryConfig {
        max_retries: usize::try_from(options.retries).unwrap_or(usize::MAX),
        retry_timeout: options.timeout.0,
        ..RetryConfig::default()
    };
    Ok(match url.scheme() {
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            for (key, timeout) in timeouts {
                builder = builder.with_config(GoogleConfigKey::Client(key), timeout.to_string());
            }
            Arc::new(builder.with_retry(retry).build()?)
        }
        "az" => {
            let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            for (key, timeout) in timeouts {
                builder = builder.with_config(AzureConfigKey::Client(key), timeout.to_string());
            }
            Arc::new(builder.with_retry(retry).build()?)
        }
        _ => {
            let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
            for (key, timeout) in timeouts {
                builder = builder.with_config(AmazonS3ConfigKey::Client(key), timeout.to_string());
            }
            Arc::new(builder.with_retry(retry).build()?)
        }
    })
}

fn refusal(error: &Error) -> Refusal {
    let outcome = match error {
        Error::NotFound { .. } => Outcome::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Outcome::Forbidden,
        Error::InvalidPath { .. } => Outcome::BadUrl,
        _ => Outcome::Broken,
    };
    Refusal::new(outcome, error.to_string())
}
