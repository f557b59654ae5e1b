//! EXIF and XMP in the chunks of a PNG. They may stand behind the pixels, and in text chunks.

/// The most bytes of a compressed text, as in Pillow.
const MAX_TEXT: usize = 1 << 20;

/// What a PNG says of itself beside its pixels.
#[derive(Default)]
pub(in crate::decode) struct Metadata {
    pub(in crate::decode) exif: Option<Vec<u8>>,
    pub(in crate::decode) xmp: Option<Vec<u8>>,
}

/// Reads all chunks. What cannot be read says nothing.
pub(in crate::decode) fn metadata(bytes: &[u8]) -> Metadata {
    let mut found = Metadata::default();
    let mut profile = None;
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((name, content, behind)) = chunk(rest) {
        match name {
            b"IEND" => break,
            b"eXIf" => found.exif = Some(content.to_vec()),
            b"tEXt" | b"zTXt" | b"iTXt" => match text(*name, content) {
                Some((b"exif", text)) if name == b"tEXt" => found.exif = Some(text),
                Some((b"Raw profile type exif", text)) => profile = Some(text),
                Some((b"XML:com.adobe.xmp", text)) => found.xmp = Some(text),
                _ => {}
            },
            _ => {}
        }
        rest = behind;
    }
    // An unreadable profile says nothing, but keeps its place.
    found.exif = found
        .exif
        .or_else(|| profile.map(|text| from_hexadecimal(&text).unwrap_or_else(|| vec![0])));
    found
}

/// Name and content of the first chunk, and everything behind it.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_first_chunk::<4>()?;
    let (content, rest) =
        rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let (_checksum, rest) = rest.split_at_checked(4)?;
    Some((name, content, rest))
}

/// Keyword and text of a text chunk.
fn text(name: [u8; 4], content: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let (keyword, rest) = split_at_zero(content)?;
    let text = match &name {
        b"tEXt" => rest.to_vec(),
        b"zTXt" => inflated(rest.strip_prefix(&[0])?)?,
        _ => {
            let (&[is_compressed, method], rest) = rest.split_first_chunk::<2>()?;
            let (_language, rest) = split_at_zero(rest)?;
            let (_translated, rest) = split_at_zero(rest)?;
            match (is_compressed, method) {
                (0, _) => rest.to_vec(),
                (_, 0) => inflated(rest)?,
                _ => return None,
            }
        }
    };
    Some((keyword, text))
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn inflated(bytes: &[u8]) -> Option<Vec<u8>> {
    fdeflate::decompress_to_vec_bounded(bytes, MAX_TEXT).ok()
}

/// The bytes of a profile that `ImageMagick` wrote as text: an empty line, its name, its length, and
/// lines of hexadecimal digits.
fn from_hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .split(|&byte| byte == b'\n')
        .skip(3)
        .flatten()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|&byte| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| digit.try_into().ok())
        })
        .collect::<Option<_>>()?;
    let (pairs, spare) = digits.as_chunks::<2>();
    spare
        .is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
