//! Files of snapshots, read and written piece by piece: however large one is, memory holds the
//! image and one piece.
//!
//! What a snapshot means is said by `ottla_quorum` (header, footer) and `ottla_metadata` (records).

use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use ottla_log::storage::DirEntry;
use ottla_log::{FsStorage, Storage, StorageFile};
use ottla_metadata::{ClusterImage, Record, SnapshotLoader};
use ottla_quorum::{ControlState, SnapshotBuilder, SnapshotError, SnapshotId, SnapshotReader};
use ottla_record::{Batch, Batches, batch_len};
use ottla_types::Timestamp;

use super::{MetadataDiskError, batch_records, io_error};

/// Bytes that are read or written at a time; a batch that is larger is read as a whole.
const PIECE: usize = 4 << 20;
/// Records in one batch of a snapshot, and about the bytes of their values.
const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;

/// What a snapshot says.
pub(super) struct Loaded {
    /// The metadata.
    pub(super) image: ClusterImage,
    /// `kraft.version` and voters.
    pub(super) control: ControlState,
    /// Append time of the newest record that it covers.
    pub(super) last_timestamp: Timestamp,
}

/// The complete snapshots and their sizes in bytes, oldest first.
pub(super) fn list(
    storage: &FsStorage,
    directory: &Path,
) -> Result<Vec<(SnapshotId, u64)>, MetadataDiskError> {
    let entries = match storage.list(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io_error(directory, source)),
    };
    let named = |entry: &DirEntry| Some((SnapshotId::from_file_name(&entry.name)?, entry.len));
    let mut entries: Vec<_> = entries.iter().filter_map(named).collect();
    entries.sort_unstable();
    Ok(entries)
}

/// Reads a snapshot.
pub(super) fn load(
    storage: &FsStorage,
    directory: &Path,
    id: SnapshotId,
) -> Result<Loaded, MetadataDiskError> {
    load_in_pieces(storage, directory, id, PIECE)
}

fn load_in_pieces(
    storage: &FsStorage,
    directory: &Path,
    id: SnapshotId,
    piece: usize,
) -> Result<Loaded, MetadataDiskError> {
    let damaged = |source| MetadataDiskError::Snapshot { id, source };
    let mut reader = SnapshotReader::new(id);
    let mut loader = SnapshotLoader::new(id.end, id.epoch);
    let rest = each_batch(storage, directory, id, piece, |batch| {
        let batch = batch.map_err(|error| damaged(reader.damaged(error.into())))?;
        if let Some(batch) = reader.batch(batch).map_err(damaged)? {
            for record in batch_records(&batch)? {
                loader.add(&record)?;
            }
        }
        Ok(true)
    })?;
    if rest {
        return Err(damaged(SnapshotError::NoFooter));
    }
    let (last_timestamp, control) = reader.finish().map_err(damaged)?;
    Ok(Loaded { image: loader.finish(), control, last_timestamp })
}

/// Append time of the newest record that a snapshot covers, from its header alone.
pub(super) fn last_timestamp(
    storage: &FsStorage,
    directory: &Path,
    id: SnapshotId,
) -> Result<Timestamp, MetadataDiskError> {
    let damaged = |source| MetadataDiskError::Snapshot { id, source };
    let mut reader = SnapshotReader::new(id);
    each_batch(storage, directory, id, HEADER_PIECE, |batch| {
        let batch = batch.map_err(|error| damaged(reader.damaged(error.into())))?;
        reader.batch(batch).map_err(damaged)?;
        Ok(false)
    })?;
    reader.last_timestamp().ok_or_else(|| damaged(SnapshotError::NoHeader))
}

/// The header is among these.
const HEADER_PIECE: usize = 4 << 10;

/// Hands out one batch after the other until `each` wants no more; returns whether bytes are
/// left that are no batch.
fn each_batch(
    storage: &FsStorage,
    directory: &Path,
    id: SnapshotId,
    piece: usize,
    mut each: impl FnMut(Result<Batch, ottla_record::BatchError>) -> Result<bool, MetadataDiskError>,
) -> Result<bool, MetadataDiskError> {
    let path = directory.join(id.file_name());
    let failed = |source| io_error(&path, source);
    let file = storage.open(&path).map_err(failed)?;
    let len = StorageFile::len(&file).map_err(failed)?;
    let (mut position, mut rest) = (0, Bytes::new());
    while position < len {
        // A batch that has begun is wanted as a whole.
        let begun = batch_len(&rest).unwrap_or_default().saturating_sub(rest.len());
        let left = usize::try_from(len - position).unwrap_or(usize::MAX);
        let wanted = piece.max(begun).min(left);
        let mut buffer = BytesMut::with_capacity(rest.len() + wanted);
        buffer.extend_from_slice(&rest);
        buffer.extend_from_slice(&read_exact(&file, position, wanted).map_err(failed)?);
        position += u64::try_from(wanted).unwrap_or_default();
        let mut walk = Batches::new(buffer.freeze());
        for batch in walk.by_ref() {
            if !each(batch)? {
                return Ok(false);
            }
        }
        rest = walk.rest().clone();
    }
    Ok(!rest.is_empty())
}

/// Reads so many bytes, all of which the file has.
pub(super) fn read_exact<F: StorageFile>(
    file: &F,
    position: u64,
    len: usize,
) -> io::Result<Vec<u8>> {
    let mut content = vec![0; len];
    let mut filled = 0;
    while let Some(space) = content.get_mut(filled..).filter(|space| !space.is_empty()) {
        let at = position + u64::try_from(filled).unwrap_or_default();
        match file.read_at(space, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(content)
}

/// Writes a snapshot under an unfinished name, and gives it its own once it is on disk.
pub(super) fn write(
    storage: &FsStorage,
    directory: &Path,
    id: SnapshotId,
    builder: SnapshotBuilder,
    image: &ClusterImage,
) -> Result<(), MetadataDiskError> {
    let name = id.file_name();
    let part = directory.join(format!("{name}{UNFINISHED}"));
    let failed = |source| io_error(&part, source);
    let file = storage.create(&part).map_err(failed)?;
    let mut writer =
        Writer { file, position: 0, part: &part, builder, values: Vec::new(), bytes: 0 };
    let mut result = Ok(());
    image.write_snapshot(|record| {
        if result.is_ok() {
            result = writer.record(&record);
        }
    });
    result?;
    writer.finish()?;
    storage.rename(&part, &directory.join(name)).map_err(failed)?;
    storage.sync_dir(directory).map_err(failed)
}

/// Kafka's name for what is not complete.
const UNFINISHED: &str = ".part";

/// Deletes what a crash left of snapshots that were being written.
pub(super) fn delete_unfinished(
    storage: &FsStorage,
    directory: &Path,
) -> Result<(), MetadataDiskError> {
    let entries = match storage.list(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io_error(directory, source)),
    };
    let unfinished = |entry: &&DirEntry| {
        let name = entry.name.strip_suffix(UNFINISHED);
        name.is_some_and(|name| SnapshotId::from_file_name(name).is_some())
    };
    for entry in entries.iter().filter(unfinished) {
        storage.remove_file(&entry.path).map_err(|source| io_error(&entry.path, source))?;
    }
    Ok(())
}

struct Writer<'a> {
    file: <FsStorage as Storage>::File,
    position: u64,
    part: &'a Path,
    builder: SnapshotBuilder,
    values: Vec<Bytes>,
    bytes: usize,
}

impl Writer<'_> {
    fn record(&mut self, record: &Record) -> Result<(), MetadataDiskError> {
        let value = record.encode()?;
        self.bytes += value.len();
        self.values.push(value);
        if self.values.len() >= BATCH_RECORDS || self.bytes >= BATCH_BYTES {
            self.batch()?;
        }
        if self.builder.len() >= PIECE {
            let piece = self.builder.take();
            self.write(&piece)?;
        }
        Ok(())
    }

    fn batch(&mut self) -> Result<(), MetadataDiskError> {
        if !self.values.is_empty() {
            self.builder.push(self.values.iter().map(AsRef::as_ref))?;
            self.values.clear();
            self.bytes = 0;
        }
        Ok(())
    }

    fn write(&mut self, piece: &Bytes) -> Result<(), MetadataDiskError> {
        let written = self.file.write_at(&[piece], self.position);
        written.map_err(|source| io_error(self.part, source))?;
        self.position += u64::try_from(piece.len()).unwrap_or_default();
        Ok(())
    }

    fn finish(mut self) -> Result<(), MetadataDiskError> {
        self.batch()?;
        let mut rest = BytesMut::from(self.builder.take());
        let Self { file, position, part, builder, .. } = self;
        rest.extend_from_slice(&builder.finish());
        let written = file.write_at(&[&rest], position).and_then(|()| file.sync());
        written.map_err(|source| io_error(part, source))
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::generated::{ConfigRecord, FeatureLevelRecord};
    use ottla_testkit::Folder;
    use ottla_types::{LeaderEpoch, Offset, WallTime};

    use super::*;

    const ID: SnapshotId = SnapshotId { end: Offset(70_000), epoch: LeaderEpoch(3) };

    /// An image whose snapshot has several batches; each config takes so many bytes.
    fn image(configs: usize, bytes: usize) -> ClusterImage {
        let mut image = ClusterImage::new();
        let version = FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30 };
        image.apply(&version.into(), Offset(1)).unwrap();
        for number in 0..configs {
            let record = ConfigRecord {
                resource_type: 2,
                resource_name: format!("topic-{number}").into(),
                name: "follower.replication.throttled.replicas".into(),
                value: Some("x".repeat(bytes).into()),
            };
            image.apply(&record.into(), Offset(2)).unwrap();
        }
        image.advance(ID.end, ID.epoch);
        image
    }

    fn written(image: &ClusterImage) -> Folder {
        let folder = Folder::new("metadata-snapshot").unwrap();
        let control = ControlState::default();
        let wall = WallTime::from_millis(1_000);
        let builder = SnapshotBuilder::new(ID, wall, Timestamp(77), &control);
        write(&FsStorage::default(), folder.path(), ID, builder, image).unwrap();
        folder
    }

    #[test]
    fn what_was_written_comes_back_in_pieces_of_any_size() {
        let image = image(3_500, 10);
        let folder = written(&image);
        for piece in [1_000, 4_096, 100_000, PIECE] {
            let loaded = load_in_pieces(&FsStorage::default(), folder.path(), ID, piece).unwrap();
            assert!(loaded.image == image, "in pieces of {piece}");
            assert_eq!((loaded.image.end(), loaded.image.epoch()), (ID.end, ID.epoch));
            assert_eq!(loaded.last_timestamp, Timestamp(77));
        }
        assert_eq!(
            last_timestamp(&FsStorage::default(), folder.path(), ID).unwrap(),
            Timestamp(77)
        );
    }

    #[test]
    fn a_large_one_is_written_in_pieces_too() {
        let image = image(400, 30_000);
        let folder = written(&image);
        let [(id, bytes)] = list(&FsStorage::default(), folder.path()).unwrap()[..] else {
            panic!("one")
        };
        assert!(id == ID && bytes > 2 * PIECE as u64);
        assert!(load(&FsStorage::default(), folder.path(), ID).unwrap().image == image);
    }

    #[test]
    fn an_unfinished_or_damaged_one_is_refused() {
        let folder = written(&image(2_500, 10));
        let path = folder.path().join(ID.file_name());
        let whole = std::fs::read(&path).unwrap();
        for len in [0, 1, 60, 61, 200, whole.len() - 100, whole.len() - 1] {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(
                load_in_pieces(&FsStorage::default(), folder.path(), ID, 512).is_err(),
                "{len}"
            );
        }
        let more = [whole.as_slice(), b"more"].concat();
        std::fs::write(&path, more).unwrap();
        assert!(load(&FsStorage::default(), folder.path(), ID).is_err());
    }

    #[test]
    fn what_a_crash_left_is_deleted() {
        let folder = written(&image(1, 1));
        let part = folder.path().join(format!("{}{UNFINISHED}", ID.file_name()));
        std::fs::write(&part, b"half").unwrap();
        std::fs::write(folder.path().join("other.part"), b"").unwrap();
        delete_unfinished(&FsStorage::default(), folder.path()).unwrap();
        assert!(!part.exists() && folder.path().join("other.part").exists());
        assert_eq!(list(&FsStorage::default(), folder.path()).unwrap().len(), 1);
    }
}
