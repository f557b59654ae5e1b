//! AV1 data to planes, by rav1d.
//!
//! Its interface is that of dav1d, in C. It is told to use one thread, to allocate for no more pixels
//! than are declared, and to print nothing.

use std::ffi::c_uint;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use re_rav1d::include::dav1d::data::Dav1dData;
use re_rav1d::include::dav1d::dav1d::{Dav1dContext, Dav1dSettings};
use re_rav1d::include::dav1d::headers::{
    DAV1D_PIXEL_LAYOUT_I400, DAV1D_PIXEL_LAYOUT_I420, DAV1D_PIXEL_LAYOUT_I422,
    DAV1D_PIXEL_LAYOUT_I444,
};
use re_rav1d::include::dav1d::picture::Dav1dPicture;
use re_rav1d::src::lib::{
    dav1d_close, dav1d_data_create, dav1d_data_unref, dav1d_default_settings, dav1d_get_picture,
    dav1d_open, dav1d_picture_unref, dav1d_send_data,
};

use super::{Coding, corrupt, unsupported};
use crate::error::DecodeError;

/// Frames, shown or not, in the data of a picture. One is usual; each takes the time of a picture.
const MOST_FRAMES: usize = 8;

/// A decoded frame.
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    /// How many times wider and higher luma is than chroma: 1 or 2. `None` for grey.
    pub(super) chroma: Option<(usize, usize)>,
    /// Luma, and what chroma there is, without padding. Of 10 or 12 bits the highest 8, as libavif
    /// takes them.
    pub(super) planes: [Vec<u8>; 3],
    /// Said by the AV1 data.
    pub(super) coding: Coding,
}

/// Decodes the first frame that is shown, of at most `width` x `height` pixels.
pub(super) fn decode(data: &[u8], width: u32, height: u32) -> Result<Frame, DecodeError> {
    match frames(data) {
        None => return Err(DecodeError::Truncated),
        Some(0) => return Err(corrupt("AV1 data without a frame")),
        Some(count) if count > MOST_FRAMES => {
            return Err(unsupported(format!("{count} frames in one picture")));
        }
        Some(_) => {}
    }
    let limit = width.saturating_mul(height);
    let mut decoder = Decoder::new(limit).ok_or_else(|| corrupt("no decoder could be made"))?;
    let picture = decoder
        .picture(data)
        .ok_or_else(|| corrupt("the AV1 data cannot be decoded"))?;
    picture
        .frame()
        .ok_or_else(|| corrupt("the AV1 data give no planes"))
}

/// Counts the frames in open bitstream units. `None` when the last unit is cut off.
fn frames(mut data: &[u8]) -> Option<usize> {
    let mut frames = 0;
    while let Some((&header, rest)) = data.split_first() {
        data = if header & 4 == 0 {
            rest
        } else {
            rest.get(1..)?
        };
        let mut size = data.len() as u64;
        if header & 2 != 0 {
            size = 0;
            for place in 0..8 {
                let (&byte, rest) = data.split_first()?;
                data = rest;
                size |= u64::from(byte & 0x7f) << (7 * place);
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        data = data.get(usize::try_from(size).ok()?..)?;
        // A frame header by itself, or a frame.
        frames += usize::from(matches!(header >> 3 & 15, 3 | 6));
    }
    Some(frames)
}

struct Decoder(Option<Dav1dContext>);

struct Picture(Dav1dPicture);

#[expect(unsafe_code, reason = "rav1d has the interface of a C library alone")]
impl Decoder {
    /// A decoder that refuses frames of more than `limit` pixels.
    fn new(limit: c_uint) -> Option<Self> {
        let mut settings = MaybeUninit::<Dav1dSettings>::uninit();
        let mut context = None;
        // SAFETY: the pointer is good to write to, and the settings are written as a whole. Two null
        // pointers are what no logger consists of. Both pointers are good for as long as `dav1d_open`
        // uses them, which is until it returns.
        let result = unsafe {
            dav1d_default_settings(NonNull::new(settings.as_mut_ptr())?);
            let mut settings = settings.assume_init();
            settings.n_threads = 1;
            settings.max_frame_delay = 1;
            settings.all_layers = 0;
            settings.frame_size_limit = limit;
            (&raw mut settings.logger).write_bytes(0, 1);
            dav1d_open(
                Some(NonNull::from(&mut context)),
                Some(NonNull::from(&mut settings)),
            )
        };
        (result.0 == 0).then_some(Self(context))
    }

    /// The first picture that is shown.
    fn picture(&mut self, data: &[u8]) -> Option<Picture> {
        let mut input = Dav1dData::default();
        let mut picture = Picture(Dav1dPicture::default());
        // SAFETY: `dav1d_data_create` gives room for as many bytes as it is asked for, which nobody
        // else knows of yet. The pointers are to values that outlive the calls, and the context is
        // open: it is closed on drop alone. What was not taken of the input is given back.
        let is_there = unsafe {
            let room = NonNull::new(dav1d_data_create(
                Some(NonNull::from(&mut input)),
                data.len(),
            ))?;
            room.copy_from_nonoverlapping(NonNull::from(data).cast(), data.len());
            dav1d_send_data(self.0, Some(NonNull::from(&mut input)));
            let result = dav1d_get_picture(self.0, Some(NonNull::from(&mut picture.0)));
            dav1d_data_unref(Some(NonNull::from(&mut input)));
            result.0 == 0
        };
        is_there.then_some(picture)
    }
}

#[expect(unsafe_code, reason = "rav1d has the interface of a C library alone")]
impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context was opened, or is none, and is not used any more.
        unsafe { dav1d_close(Some(NonNull::from(&mut self.0))) }
    }
}

#[expect(unsafe_code, reason = "rav1d has the interface of a C library alone")]
impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: the picture is one that rav1d wrote, or the empty one, and is not used any more.
        unsafe { dav1d_picture_unref(Some(NonNull::from(&mut self.0))) }
    }
}

impl Picture {
    /// A copy of what is in it.
    fn frame(&self) -> Option<Frame> {
        let width = usize::try_from(self.0.p.w).ok()?;
        let height = usize::try_from(self.0.p.h).ok()?;
        let chroma = match self.0.p.layout {
            DAV1D_PIXEL_LAYOUT_I400 => None,
            DAV1D_PIXEL_LAYOUT_I420 => Some((2, 2)),
            DAV1D_PIXEL_LAYOUT_I422 => Some((2, 1)),
            DAV1D_PIXEL_LAYOUT_I444 => Some((1, 1)),
            _ => return None,
        };
        let mut planes = [self.plane(0, width, height)?, Vec::new(), Vec::new()];
        if let Some((across, down)) = chroma {
            let (width, height) = (width.div_ceil(across), height.div_ceil(down));
            planes[1] = self.plane(1, width, height)?;
            planes[2] = self.plane(2, width, height)?;
        }
        Some(Frame {
            width,
            height,
            chroma,
            planes,
            coding: self.coding()?,
        })
    }

    /// The highest 8 bits of every sample of a plane.
    #[expect(unsafe_code, reason = "rav1d gives planes as pointers")]
    fn plane(&self, index: usize, width: usize, height: usize) -> Option<Vec<u8>> {
        let start = self.0.data[index]?.cast::<u8>();
        let stride = self.0.stride[index.min(1)];
        let bits = u32::try_from(self.0.p.bpc).ok()?;
        let row_bytes = if bits > 8 { 2 * width } else { width };
        let mut samples = Vec::with_capacity(width * height);
        for row in 0..height {
            let offset = stride.checked_mul(isize::try_from(row).ok()?)?;
            // SAFETY: the plane has at least this many rows of this many samples, which is what its
            // layout and size mean, and lives as long as the picture that is borrowed here.
            let bytes =
                unsafe { std::slice::from_raw_parts(start.as_ptr().offset(offset), row_bytes) };
            if bits > 8 {
                let (values, _) = bytes.as_chunks::<2>();
                let high = |&value: &[u8; 2]| u16::from_ne_bytes(value) >> (bits - 8);
                samples.extend(
                    values
                        .iter()
                        .map(|value| u8::try_from(high(value)).unwrap_or(u8::MAX)),
                );
            } else {
                samples.extend_from_slice(bytes);
            }
        }
        Some(samples)
    }

    #[expect(unsafe_code, reason = "rav1d gives headers as pointers")]
    fn coding(&self) -> Option<Coding> {
        // SAFETY: the header of a picture lives as long as the picture, which is borrowed here.
        let header = unsafe { self.0.seq_hdr?.as_ref() };
        Some(Coding {
            primaries: header.pri.into(),
            matrix: header.mtrx.into(),
            is_full: header.color_range == 1,
        })
    }
}
