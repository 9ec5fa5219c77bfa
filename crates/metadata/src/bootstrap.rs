//! Bootstrap: which records a new cluster begins with, as `kafka-storage format` decides it.
//!
//! Builds values only; framing them as a checkpoint file belongs to the quorum.

use std::collections::BTreeMap;

use crate::features::{Feature, FeatureError, METADATA_VERSION, MetadataVersion};
use crate::generated::FeatureLevelRecord;
use crate::record::Record;

/// Levels that a new cluster finalizes, and the records that say so.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    levels: BTreeMap<String, i16>,
    extra: Vec<Record>,
}

/// Why a directory cannot be formatted like this. The texts are those of Kafka's tool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// The release and the level of metadata.version were both given.
    #[error("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.")]
    VersionTwice,
    /// There is no such level of metadata.version.
    // Kafka 4.3 counts one that is not finished.
    #[error("No MetadataVersion with feature level {0}. Valid feature levels are from 7 to 31.")]
    NoSuchVersion(i16),
    /// The level exists, but this server does not offer it yet.
    #[error("metadata.version {0} is not yet stable.")]
    NotStable(MetadataVersion),
    /// There is no such feature.
    #[error("Unsupported feature: {0}. Supported features are: {1}")]
    NoSuchFeature(String, String),
    /// The feature cannot have that level.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// A dynamic quorum needs kraft.version 1.
    #[error(
        "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags --standalone, --initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try removing the --feature flag for kraft.version."
    )]
    KraftTooLow,
    /// A static quorum cannot have kraft.version 1.
    #[error(
        "Cannot set kraft.version to {0} unless controller.quorum.voters is empty and one of the flags --standalone, --initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try using one of --standalone, --initial-controllers, or --no-initial-controllers and removing controller.quorum.voters."
    )]
    KraftTooHigh(i16),
    /// The records name no metadata.version.
    #[error("No FeatureLevelRecord for metadata.version was found in the bootstrap metadata")]
    NoVersion,
}

impl Bootstrap {
    /// Works out the levels: `chosen` are those that the operator named, `release` the release if
    /// it was given, `dynamic_quorum` whether voters are written to the log.
    pub fn new(
        release: Option<MetadataVersion>,
        chosen: &BTreeMap<String, i16>,
        dynamic_quorum: bool,
    ) -> Result<Self, BootstrapError> {
        let version = match (release, chosen.get(METADATA_VERSION).copied()) {
            (Some(_), Some(_)) => return Err(BootstrapError::VersionTwice),
            (None, Some(level)) => {
                MetadataVersion::from_level(level).ok_or(BootstrapError::NoSuchVersion(level))?
            }
            (Some(version), None) => version,
            (None, None) => MetadataVersion::LATEST,
        };
        if version > MetadataVersion::LATEST {
            return Err(BootstrapError::NotStable(version));
        }
        let mut levels = BTreeMap::from([(METADATA_VERSION.to_owned(), version.level())]);
        for name in chosen.keys().filter(|name| *name != METADATA_VERSION) {
            if Feature::from_name(name).is_none() {
                let mut names: Vec<&str> = Feature::ALL.iter().map(|f| f.name()).collect();
                names.sort_unstable();
                return Err(BootstrapError::NoSuchFeature(name.clone(), names.join(", ")));
            }
        }
        for feature in Feature::ALL.iter().copied() {
            let asked = chosen.get(feature.name()).copied();
            let level = match feature {
                Feature::Kraft => kraft_level(asked, dynamic_quorum)?,
                _ => asked.unwrap_or_else(|| feature.default_level(version)),
            };
            levels.insert(feature.name().to_owned(), level);
        }
        for feature in Feature::ALL.iter().copied() {
            feature.check(levels[feature.name()], &levels)?;
        }
        Ok(Self { levels, extra: Vec::new() })
    }

    /// Reads the records of a bootstrap checkpoint.
    pub fn from_records(records: Vec<Record>) -> Result<Self, BootstrapError> {
        let mut levels = BTreeMap::new();
        let mut extra = Vec::new();
        for record in records {
            match record.message() {
                crate::MetadataRecord::FeatureLevel(feature) => {
                    levels.insert(feature.name.to_string(), feature.feature_level);
                }
                _ => extra.push(record),
            }
        }
        let level = *levels.get(METADATA_VERSION).ok_or(BootstrapError::NoVersion)?;
        MetadataVersion::from_level(level).ok_or(BootstrapError::NoSuchVersion(level))?;
        Ok(Self { levels, extra })
    }

    /// Adds a record that is neither a feature nor a control record (a SCRAM credential).
    pub fn push(&mut self, record: Record) {
        self.extra.push(record);
    }

    /// The metadata version that the cluster begins with.
    pub fn metadata_version(&self) -> MetadataVersion {
        MetadataVersion::from_level(self.level(METADATA_VERSION))
            .expect("checked when the bootstrap was built")
    }

    /// Level of a feature; 0 when it is off.
    pub fn level(&self, feature: &str) -> i16 {
        self.levels.get(feature).copied().unwrap_or(0)
    }

    /// Every level, `kraft.version` included, which is no metadata record.
    pub fn levels(&self) -> &BTreeMap<String, i16> {
        &self.levels
    }

    /// The records in Kafka's order: metadata.version, then the other features above 0 by name
    /// without `kraft.version` (a control record), then what was added.
    pub fn records(&self) -> Vec<Record> {
        let feature = |name: &str, level: i16| {
            Record::new(FeatureLevelRecord { name: name.into(), feature_level: level })
        };
        let first = feature(METADATA_VERSION, self.level(METADATA_VERSION));
        let others = self.levels.iter().filter(|(name, level)| {
            **level > 0 && *name != METADATA_VERSION && *name != Feature::Kraft.name()
        });
        std::iter::once(first)
            .chain(others.map(|(name, level)| feature(name, *level)))
            .chain(self.extra.iter().cloned())
            .collect()
    }
}

fn kraft_level(asked: Option<i16>, dynamic_quorum: bool) -> Result<i16, BootstrapError> {
    match (asked, dynamic_quorum) {
        (Some(0), true) => Err(BootstrapError::KraftTooLow),
        (Some(level), false) if level > 0 => Err(BootstrapError::KraftTooHigh(level)),
        (Some(level), _) => Ok(level),
        (None, dynamic) => Ok(i16::from(dynamic)),
    }
}
