//! Topics in the metadata of a consumer, as far as they can be read.
//!
//! Metadata is the clients' business, and newer versions only append to version 0, so only the
//! beginning is read: a version and a list of names. What does not parse is "not known", never an
//! error.

use bytes::Bytes;
use ottla_codec::{DecodeError, Reader};

use crate::names::Topic;

/// Protocol type of consumers.
pub(crate) const CONSUMER: &str = "consumer";

/// The topics, or `None` for what does not look like a subscription.
pub(crate) fn topics(metadata: &Bytes) -> Option<Vec<Topic>> {
    read(metadata).ok().flatten()
}

fn read(metadata: &Bytes) -> Result<Option<Vec<Topic>>, DecodeError> {
    let mut reader = Reader::new(metadata.clone());
    if reader.i16("version")? < 0 {
        return Ok(None);
    }
    // A name takes at least its two bytes of length.
    let count = reader.array_len("topics", 2)?;
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        topics.push(Topic::from(&*reader.string("topic")?));
    }
    Ok(Some(topics))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_beginning_and_gives_up_quietly() {
        let got = |bytes: &'static [u8]| topics(&Bytes::from_static(bytes));
        assert_eq!(got(b"\0\0\0\0\0\x01\0\x01a"), Some(vec!["a".into()]));
        assert_eq!(got(b"\0\x09\0\0\0\x01\0\x01a-and-what-version-9-adds"), Some(vec!["a".into()]));
        assert_eq!(got(b"\0\0\0\0\0\0"), Some(vec![]));
        assert_eq!(got(b"\xff\xff\0\0\0\0"), None);
        assert_eq!(got(b"\0\0\x7f\xff\xff\xff"), None);
        assert_eq!(got(b"\0\0\0\0\0\x02\0\x01a"), None);
        assert_eq!(got(b""), None);
    }
}
