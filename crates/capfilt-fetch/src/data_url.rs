//! Bytes that stand in the URL itself.

use bytes::Bytes;
use data_url::DataUrl;
use data_url::forgiving_base64::DecodeError;

use crate::http::too_large;
use crate::outcome::Outcome;
use crate::policy::Refusal;

/// The bytes of a `data:` URL, at most `max_size`.
pub(crate) fn read(url: &str, max_size: u64) -> Result<Bytes, Refusal> {
    let parsed = DataUrl::process(url)
        .map_err(|error| Refusal::new(Outcome::BadUrl, format!("not a `data:` URL: {error:?}")))?;
    let mut body = Vec::new();
    let decoded = parsed.decode(|bytes| {
        if body.len() as u64 + bytes.len() as u64 > max_size {
            return Err(());
        }
        body.extend_from_slice(bytes);
        Ok(())
    });
    match decoded {
        Ok(_fragment) => Ok(body.into()),
        Err(DecodeError::WriteError(())) => Err(too_large(
            max_size,
            &format!("a `data:` URL of {} characters", url.len()),
        )),
        Err(DecodeError::InvalidBase64(error)) => Err(Refusal::new(
            Outcome::BadUrl,
            format!("bad base64: {error:?}"),
        )),
    }
}
