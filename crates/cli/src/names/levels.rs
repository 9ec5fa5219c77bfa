//! Releases and feature levels as `kafka-features` and `kafka-storage` look them up: what a release
//! means, and what a level needs.

use ottla_metadata::features::{Feature, METADATA_VERSION, MetadataVersion};

/// The metadata version of a release such as `4.0`, or of a name such as `4.0-IV1`; the error is
/// Kafka's text. One that is not finished yet must be named, and only counts if `unstable`.
pub(super) fn release(text: &str, unstable: bool) -> Result<MetadataVersion, String> {
    let newest = if unstable { NEWEST } else { MetadataVersion::LATEST.level() };
    let found = MetadataVersion::parse(text).filter(|version| {
        version.level() <= newest
            && (*version <= MetadataVersion::LATEST || text.starts_with(version.name()))
    });
    found.ok_or_else(|| {
        let known = (MetadataVersion::MINIMUM.level()..=newest)
            .filter_map(MetadataVersion::from_level)
            .map(MetadataVersion::name);
        let known: Vec<_> = known.collect();
        format!(
            "Unknown metadata.version '{text}'. Supported metadata.version are: {}",
            known.join(", ")
        )
    })
}

/// The version with this level, if the release of these tools knows it.
pub(super) fn of_level(level: i16) -> Option<MetadataVersion> {
    MetadataVersion::from_level(level).filter(|version| version.level() <= NEWEST)
}

/// What `version-mapping` prints.
pub(super) fn mapping(asked: Option<&str>) -> Result<String, String> {
    let text = asked.unwrap_or_else(|| MetadataVersion::LATEST.name());
    let version = release(text, true)?;
    let mut lines = vec![format!("{METADATA_VERSION}={} ({text})", version.level())];
    for feature in Feature::ALL {
        lines.push(format!("{}={}", feature.name(), feature.default_level(version)));
    }
    Ok(lines.join("\n"))
}

/// What is wrong with a level whose needs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// There is no such feature.
    Feature,
    /// There is no such metadata version.
    Version,
    /// The feature has no such level.
    Level,
}

/// What `feature-dependencies` prints about one level.
pub(super) fn needs(name: &str, level: i16) -> Result<String, Unknown> {
    if name == METADATA_VERSION {
        let version = of_level(level).ok_or(Unknown::Version)?;
        return Ok(format!("{name}={level} ({}) has no dependencies.", version.name()));
    }
    let feature = Feature::from_name(name).ok_or(Unknown::Feature)?;
    let found = feature.levels().iter().find(|known| known.level == level);
    let found = found.ok_or(Unknown::Level)?;
    if found.needs.is_empty() {
        return Ok(format!("{name}={level} has no dependencies."));
    }
    let mut lines = vec![format!("{name}={level} requires:")];
    for (needed, at) in found.needs {
        let version = of_level(*at).filter(|_| *needed == METADATA_VERSION);
        let version = version.map_or(String::new(), |version| format!(" ({})", version.name()));
        lines.push(format!("    {needed}={at}{version}"));
    }
    Ok(lines.join("\n"))
}

/// The highest level in Kafka 4.3: 4.4-IV0, not finished.
const NEWEST: i16 = 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        let check = |text: &str, unstable: bool, expected: Option<i16>| {
            let found = release(text, unstable).map(MetadataVersion::level);
            assert_eq!(found.ok(), expected, "{text} {unstable}");
        };
        check("4.0", false, Some(25));
        check("4.0.1.2", false, Some(25));
        check("4.0-IV1", false, Some(23));
        check("4.4", true, None);
        check("4.4-IV0", true, Some(31));
        check("4.4-IV0", false, None);
        check("4.4-IV1", true, None);
        check("3.0", true, None);
        check("", true, None);
        assert!(release("x", false).unwrap_err().ends_with(", 4.2-IV1, 4.3-IV0"));
        assert!(release("x", true).unwrap_err().ends_with(", 4.3-IV0, 4.4-IV0"));
    }

    #[test]
    fn what_levels_need() {
        let needed = needs("eligible.leader.replicas.version", 1).unwrap();
        assert!(needed.ends_with("requires:\n    metadata.version=23 (4.0-IV1)"), "{needed}");
        assert_eq!(needs("group.version", 9), Err(Unknown::Level));
        assert_eq!(needs("metadata.version", 32), Err(Unknown::Version));
        assert_eq!(needs("none", 1), Err(Unknown::Feature));
    }
}
