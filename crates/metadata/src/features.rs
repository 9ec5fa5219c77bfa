//! Feature levels: the table of `metadata.version` and of the other features (KIP-584, KIP-1022).
//!
//! Data and the rules between features; which levels a cluster has finalized is in the image,
//! and whether an update is allowed is the controller's decision.

use std::collections::BTreeMap;
use std::fmt;

/// Name of the feature that picks record formats and inter-broker protocol versions.
pub const METADATA_VERSION: &str = "metadata.version";

/// One row of the table of metadata versions.
struct Row {
    level: i16,
    release: &'static str,
    name: &'static str,
    /// Whether record formats changed with it, so that going below it could lose data.
    changed: bool,
}

const fn row(level: i16, release: &'static str, name: &'static str, changed: bool) -> Row {
    Row { level, release, name, changed }
}

/// Kafka's `MetadataVersion`, level 7 and up.
#[rustfmt::skip] // one level a line
const TABLE: &[Row] = &[
    row(7, "3.3", "3.3-IV3", true),
    row(8, "3.4", "3.4-IV0", true),
    row(9, "3.5", "3.5-IV0", false),
    row(10, "3.5", "3.5-IV1", false),
    row(11, "3.5", "3.5-IV2", true),
    row(12, "3.6", "3.6-IV0", false),
    row(13, "3.6", "3.6-IV1", true),
    row(14, "3.6", "3.6-IV2", true),
    row(15, "3.7", "3.7-IV0", true),
    row(16, "3.7", "3.7-IV1", false),
    row(17, "3.7", "3.7-IV2", true),
    row(18, "3.7", "3.7-IV3", false),
    row(19, "3.7", "3.7-IV4", false),
    row(20, "3.8", "3.8-IV0", false),
    row(21, "3.9", "3.9-IV0", false),
    row(22, "4.0", "4.0-IV0", false),
    row(23, "4.0", "4.0-IV1", true),
    row(24, "4.0", "4.0-IV2", false),
    row(25, "4.0", "4.0-IV3", false),
    row(26, "4.1", "4.1-IV0", false),
    row(27, "4.1", "4.1-IV1", false),
    row(28, "4.2", "4.2-IV0", false),
    row(29, "4.2", "4.2-IV1", false),
    row(30, "4.3", "4.3-IV0", true),
    row(31, "4.4", "4.4-IV0", false),
    row(32, "4.4", "4.4-IV1", true),
    row(33, "4.4", "4.4-IV2", true),
];

/// A level of `metadata.version`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(i16);

impl MetadataVersion {
    /// Lowest level that can be finalized: 3.3-IV3.
    pub const MINIMUM: Self = Self(7);
    /// Highest level that this server offers: 4.3-IV0.
    pub const LATEST: Self = Self(30);

    /// The version with this level, or `None` when there is no such level.
    pub fn from_level(level: i16) -> Option<Self> {
        TABLE.iter().any(|row| row.level == level).then_some(Self(level))
    }

    /// Reads `4.3-IV0`, or a release such as `4.3` or `4.3.1`, which means its last level.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(row) = TABLE.iter().find(|row| row.name == text) {
            return Some(Self(row.level));
        }
        let mut parts = text.split('.');
        let release = format!("{}.{}", parts.next()?, parts.next()?);
        let patch_is_a_number = parts.all(|part| part.bytes().all(|b| b.is_ascii_digit()));
        let row = TABLE.iter().rev().find(|row| row.release == release)?;
        patch_is_a_number.then_some(Self(row.level))
    }

    /// Every level that this server offers, ascending.
    pub fn supported() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| Self(row.level)).filter(|version| *version <= Self::LATEST)
    }

    /// The number that is written to the log.
    pub fn level(self) -> i16 {
        self.0
    }

    fn row(self) -> &'static Row {
        let found = TABLE.iter().find(|row| row.level == self.0);
        found.expect("a metadata version is only built from the table")
    }

    /// Name such as `4.3-IV0`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Release such as `4.3`.
    pub fn release(self) -> &'static str {
        self.row().release
    }

    /// Whether record formats differ between the two, whichever is higher.
    pub fn formats_differ(self, other: Self) -> bool {
        let (low, high) = if self < other { (self, other) } else { (other, self) };
        TABLE.iter().any(|row| row.changed && low.0 < row.level && row.level <= high.0)
    }

    /// SCRAM credentials may be stored.
    pub fn scram(self) -> bool {
        self >= Self(11)
    }

    /// A shrunk ISR no longer needs a new leader epoch.
    pub fn keeps_epoch_on_isr_shrink(self) -> bool {
        self >= Self(12)
    }

    /// Metadata transactions may be written (KIP-868).
    pub fn transactions(self) -> bool {
        self >= Self(13)
    }

    /// Delegation tokens may be stored.
    pub fn delegation_tokens(self) -> bool {
        self >= Self(14)
    }

    /// Controllers register (KIP-919).
    pub fn controller_registration(self) -> bool {
        self >= Self(15)
    }

    /// Replicas are assigned to log directories (KIP-858).
    pub fn directories(self) -> bool {
        self >= Self(17)
    }

    /// Partition records carry eligible leader replicas (KIP-966).
    pub fn eligible_leader_replicas(self) -> bool {
        self >= Self(23)
    }

    /// Log directories can be cordoned (KIP-1066).
    pub fn cordoned_directories(self) -> bool {
        self >= Self(30)
    }

    /// Version in which a broker registration is written.
    pub fn register_broker_record(self) -> i16 {
        match self.0 {
            30.. => 4,
            17.. => 3,
            8.. => 2,
            _ => 1,
        }
    }

    /// Version in which partitions and their changes are written.
    pub fn partition_record(self) -> i16 {
        match self.0 {
            23.. => 2,
            17.. => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

/// An inclusive range of feature levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// Lowest level.
    pub min: i16,
    /// Highest level.
    pub max: i16,
}

impl VersionRange {
    /// What a node supports of a feature that it does not know.
    pub const DISABLED: Self = Self { min: 0, max: 0 };

    /// Whether the level lies in the range.
    pub fn contains(self, level: i16) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, max) if min == max => write!(f, "{min}"),
            (min, i16::MAX) => write!(f, "{min}+"),
            (min, max) => write!(f, "{min}-{max}"),
        }
    }
}

/// One level of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureLevel {
    /// The number.
    pub level: i16,
    /// New clusters that start at this metadata version or above get this level.
    pub since: MetadataVersion,
    /// Other features and the levels that they must have first.
    pub needs: &'static [(&'static str, i16)],
}

const fn level(level: i16, since: i16) -> FeatureLevel {
    FeatureLevel { level, since: MetadataVersion(since), needs: &[] }
}

/// A feature beside `metadata.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Format of the quorum: 0 static voters, 1 dynamic voters (KIP-853).
    Kraft,
    /// Transactions protocol (KIP-890).
    Transaction,
    /// Consumer group protocol (KIP-848).
    Group,
    /// Eligible leader replicas (KIP-966).
    EligibleLeaderReplicas,
    /// Share groups (KIP-932).
    Share,
    /// Streams groups (KIP-1071).
    Streams,
}

impl Feature {
    /// Every feature, in Kafka's order.
    pub const ALL: &[Self] = &[
        Self::Kraft,
        Self::Transaction,
        Self::Group,
        Self::EligibleLeaderReplicas,
        Self::Share,
        Self::Streams,
    ];

    /// The feature with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|feature| feature.name() == name)
    }

    /// Name such as `group.version`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kraft => "kraft.version",
            Self::Transaction => "transaction.version",
            Self::Group => "group.version",
            Self::EligibleLeaderReplicas => "eligible.leader.replicas.version",
            Self::Share => "share.version",
            Self::Streams => "streams.version",
        }
    }

    /// Every level that Kafka 4.3 knows, ascending.
    pub fn levels(self) -> &'static [FeatureLevel] {
        const ELR_1: FeatureLevel =
            FeatureLevel { level: 1, since: MetadataVersion(26), needs: &[(METADATA_VERSION, 23)] };
        match self {
            Self::Kraft => const { &[level(0, 7), level(1, 21)] },
            Self::Transaction => const { &[level(0, 7), level(1, 24), level(2, 24)] },
            Self::Group => const { &[level(0, 7), level(1, 22)] },
            Self::EligibleLeaderReplicas => const { &[level(0, 7), ELR_1] },
            Self::Share => const { &[level(0, 7), level(1, 28)] },
            Self::Streams => const { &[level(0, 7), level(1, 29)] },
        }
    }

    /// Levels that this server offers.
    pub fn supported(self) -> VersionRange {
        let max = self.levels().iter().map(|level| level.level).max().unwrap_or(0);
        VersionRange { min: 0, max }
    }

    /// The level that a new cluster gets at this metadata version.
    pub fn default_level(self, version: MetadataVersion) -> i16 {
        let reached = self.levels().iter().take_while(|level| level.since <= version);
        reached.last().map_or(0, |level| level.level)
    }

    /// Whether the level exists and the levels it needs are among `proposed` (name to level).
    pub fn check(self, wanted: i16, proposed: &BTreeMap<String, i16>) -> Result<(), FeatureError> {
        let found = self.levels().iter().find(|level| level.level == wanted);
        let Some(found) = found else {
            return Err(FeatureError::NoSuchLevel { feature: self.name(), level: wanted });
        };
        let metadata = proposed.get(METADATA_VERSION).copied().unwrap_or(0);
        if wanted >= 1 && metadata < MetadataVersion::MINIMUM.0 {
            return Err(FeatureError::NeedsMetadataVersion { feature: self.name(), level: wanted });
        }
        for (needs, at) in found.needs.iter().copied() {
            if proposed.get(needs).copied().unwrap_or(0) < at {
                return Err(FeatureError::Needs { feature: self.name(), level: wanted, needs, at });
            }
        }
        Ok(())
    }
}

/// Why a feature cannot have a level. The texts are those of Kafka's tools.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The feature has no such level.
    #[error("No feature:{feature} with feature level {level}")]
    NoSuchLevel {
        /// The feature.
        feature: &'static str,
        /// The level that was asked for.
        level: i16,
    },
    /// Levels above zero need a metadata version.
    #[error(
        "{feature} could not be set to {level} because it depends on metadata.version=7 (3.3-IV3)"
    )]
    NeedsMetadataVersion {
        /// The feature.
        feature: &'static str,
        /// The level that was asked for.
        level: i16,
    },
    /// Another feature must have a higher level first.
    #[error("{feature} could not be set to {level} because it depends on {needs} level {at}")]
    Needs {
        /// The feature.
        feature: &'static str,
        /// The level that was asked for.
        level: i16,
        /// The feature that it depends on.
        needs: &'static str,
        /// The level which that one must have.
        at: i16,
    },
}

/// What this server supports of every feature, `metadata.version` first.
pub fn supported() -> impl Iterator<Item = (&'static str, VersionRange)> {
    let metadata = VersionRange { min: MetadataVersion::MINIMUM.0, max: MetadataVersion::LATEST.0 };
    let others = Feature::ALL.iter().map(|feature| (feature.name(), feature.supported()));
    std::iter::once((METADATA_VERSION, metadata)).chain(others)
}

/// The same by name; what a node says when it registers.
pub fn supported_features() -> BTreeMap<String, VersionRange> {
    supported().map(|(name, range)| (name.to_owned(), range)).collect()
}
