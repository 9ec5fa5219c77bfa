//! Foreign clients against the real binary.
