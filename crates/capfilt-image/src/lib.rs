//! Bytes to pixels to a tensor: sniffing, guarded decoding, the Pillow resize.
