//! An index file that was opened to be searched: mapped, or read.

use ottla_sys::MappedFile;

/// A file that is looked at here and there, as it was when it was opened. Where it was cut since, it
/// may hold zeros: what is read from it is a hint.
#[derive(Debug)]
pub struct IndexFile(Content);

#[derive(Debug)]
enum Content {
    Mapped(MappedFile),
    Read(Vec<u8>),
}

impl IndexFile {
    /// A mapped file.
    pub fn mapped(file: MappedFile) -> Self {
        Self(Content::Mapped(file))
    }

    /// The content of a file.
    pub fn read(content: Vec<u8>) -> Self {
        Self(Content::Read(content))
    }

    /// Copies what lies at a place; false if there is less.
    #[allow(clippy::inline_always, reason = "a search calls it a dozen times for a few bytes each")]
    #[inline(always)]
    pub(crate) fn copy_to(&self, at: usize, out: &mut [u8]) -> bool {
        match &self.0 {
            Content::Mapped(file) => file.copy_to(at, out),
            Content::Read(content) => {
                let found = at.checked_add(out.len()).and_then(|end| content.get(at..end));
                found.is_some_and(|found| {
                    out.copy_from_slice(found);
                    true
                })
            }
        }
    }
}
