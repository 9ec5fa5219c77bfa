//! The one place where errors of the log and of coordinators become Kafka's error codes.
//!
//! Each match names every variant that there is. The enums of other crates may grow, so the compiler
//! asks for one more arm: `new` is what an error gets that was added there and not yet placed here,
//! which is a mistake of ours and never of the client. What a client may see and what belongs into
//! the log only is decided here too.

use ottla_group::GroupError;
use ottla_log::{AppendError, LogError, ReadError};
use ottla_record::{BatchError, Fault, RecordsRefused, RefusedReason};
use ottla_types::ErrorCode;

use crate::refusal::Refusal;

/// Why an append was refused, as a Produce answer says it.
pub(crate) fn append_refusal(error: &AppendError) -> Refusal {
    match error {
        AppendError::Batch(batch) => Refusal::with_string(batch_error(batch), batch.to_string()),
        AppendError::Records(records) => records_refusal(records),
        AppendError::BatchCount(_) => Refusal::with_text(
            ErrorCode::InvalidRecord,
            "Produce requests must contain exactly one record batch per partition",
        ),
        AppendError::TooLarge { .. } => told(ErrorCode::MessageTooLarge, error),
        AppendError::LargerThanSegment { .. } => told(ErrorCode::RecordListTooLarge, error),
        AppendError::Recompress(_) => told(ErrorCode::UnknownServerError, error),
        AppendError::NoTransaction(_) | AppendError::OutsideTransaction(_) => {
            told(ErrorCode::InvalidTxnState, error)
        }
        AppendError::ProducerFenced { .. } => told(ErrorCode::InvalidProducerEpoch, error),
        AppendError::OutOfOrderSequence { .. } => told(ErrorCode::OutOfOrderSequenceNumber, error),
        AppendError::UnexpectedOffset { .. } => told(ErrorCode::UnknownServerError, error),
        AppendError::NoSpace { .. }
        | AppendError::WrongEnd { .. }
        | AppendError::Failed
        | AppendError::Disk { .. } => {
            tracing::error!(%error, source = std::error::Error::source(error), "append failed");
            Refusal::new(ErrorCode::KafkaStorageError)
        }
        new => told(ErrorCode::UnknownServerError, new),
    }
}

/// Whether the answer carries the log's first offset beside the error: Kafka tells it for what its log
/// found wrong, but not for damaged or oversized batches, nor for what it refuses before.
pub(crate) fn tells_log_start(error: &AppendError) -> bool {
    match error {
        AppendError::Batch(batch) => !matches!(batch.fault(), Fault::Corrupt | Fault::Format),
        AppendError::BatchCount(_)
        | AppendError::TooLarge { .. }
        | AppendError::LargerThanSegment { .. }
        | AppendError::NoSpace { .. }
        | AppendError::WrongEnd { .. }
        | AppendError::Failed
        | AppendError::Disk { .. } => false,
        // What only the log knows.
        AppendError::Records(_)
        | AppendError::Recompress(_)
        | AppendError::NoTransaction(_)
        | AppendError::OutsideTransaction(_)
        | AppendError::ProducerFenced { .. }
        | AppendError::OutOfOrderSequence { .. }
        | AppendError::UnexpectedOffset { .. } => true,
        _new => false,
    }
}

fn told(code: ErrorCode, error: &AppendError) -> Refusal {
    Refusal::with_string(code, error.to_string())
}

fn records_refusal(refused: &RecordsRefused) -> Refusal {
    match refused {
        RecordsRefused::Batch(batch) => Refusal::with_string(batch_error(batch), batch.to_string()),
        RecordsRefused::Offsets { .. } => {
            Refusal::with_string(ErrorCode::InvalidRecord, refused.to_string())
        }
        RecordsRefused::Records(records) => {
            let timestamps =
                records.iter().any(|record| matches!(record.reason, RefusedReason::Timestamp(_)));
            let code = match timestamps {
                true => ErrorCode::InvalidTimestamp,
                false => ErrorCode::InvalidRecord,
            };
            let text = "One or more records have been rejected".to_owned();
            let mut refusal = Refusal::with_string(code, text);
            refusal.record_errors = records
                .iter()
                .map(|record| {
                    let text = match record.reason {
                        RefusedReason::MissingKey => {
                            "a record of a compacted topic needs a key".to_owned()
                        }
                        RefusedReason::Timestamp(time) => {
                            format!("timestamp {time} is outside of what the topic accepts")
                        }
                    };
                    (i32::try_from(record.index).unwrap_or(i32::MAX), text)
                })
                .collect();
            refusal
        }
        new => Refusal::with_string(ErrorCode::UnknownServerError, new.to_string()),
    }
}

fn batch_error(error: &BatchError) -> ErrorCode {
    // Kafka has no error for these two, so its producers see an unknown one.
    if matches!(error, BatchError::UnknownCodec(_) | BatchError::Decompress { .. }) {
        return ErrorCode::UnknownServerError;
    }
    match error.fault() {
        Fault::Corrupt => ErrorCode::CorruptMessage,
        Fault::Invalid => ErrorCode::InvalidRecord,
        // Kafka 4 has no other answer to formats before version 2.
        Fault::Timestamp => ErrorCode::InvalidTimestamp,
        Fault::Format => ErrorCode::InvalidRecord,
        Fault::Codec => ErrorCode::UnsupportedCompressionType,
        Fault::TooLarge => ErrorCode::MessageTooLarge,
    }
}

/// Why a read failed.
pub(crate) fn read_error(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt { .. } => {
            tracing::error!(%error, "damaged data is not served");
            ErrorCode::CorruptMessage
        }
        ReadError::Disk(source) => {
            tracing::error!(%source, "read failed");
            ErrorCode::KafkaStorageError
        }
        new => {
            tracing::error!(error = %new, "read failed");
            ErrorCode::UnknownServerError
        }
    }
}

/// Why a change of a log failed.
pub(crate) fn log_error(error: &LogError) -> ErrorCode {
    match error {
        LogError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        LogError::Read(read) => read_error(read),
        LogError::Failed | LogError::Disk(_) => {
            tracing::error!(%error, source = std::error::Error::source(error), "log failed");
            ErrorCode::KafkaStorageError
        }
        new => {
            tracing::error!(error = %new, "log failed");
            ErrorCode::UnknownServerError
        }
    }
}

/// What a group coordinator's refusal is called in answers.
pub(crate) const fn group_error(error: GroupError) -> ErrorCode {
    match error {
        GroupError::UnknownServerError => ErrorCode::UnknownServerError,
        GroupError::CoordinatorLoadInProgress => ErrorCode::CoordinatorLoadInProgress,
        GroupError::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
        GroupError::NotCoordinator => ErrorCode::NotCoordinator,
        GroupError::OffsetMetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
        GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
        GroupError::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
        GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
        GroupError::UnknownMemberId => ErrorCode::UnknownMemberId,
        GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupError::NonEmptyGroup => ErrorCode::NonEmptyGroup,
        GroupError::GroupIdNotFound => ErrorCode::GroupIdNotFound,
        GroupError::MemberIdRequired => ErrorCode::MemberIdRequired,
        GroupError::GroupMaxSizeReached => ErrorCode::GroupMaxSizeReached,
        GroupError::FencedInstanceId => ErrorCode::FencedInstanceId,
        GroupError::GroupSubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        GroupError::UnstableOffsetCommit => ErrorCode::UnstableOffsetCommit,
        GroupError::FencedMemberEpoch => ErrorCode::FencedMemberEpoch,
        GroupError::StaleMemberEpoch => ErrorCode::StaleMemberEpoch,
        GroupError::UnreleasedInstanceId => ErrorCode::UnreleasedInstanceId,
        GroupError::InvalidRegularExpression => ErrorCode::InvalidRegularExpression,
        GroupError::UnsupportedVersion => ErrorCode::UnsupportedVersion,
    }
}

/// The wire code of what a coordinator said about a part of a request; 0 if it was fine.
pub(crate) fn group_code(error: Option<GroupError>) -> i16 {
    error.map_or(ErrorCode::None, group_error).code()
}
