//! `ottla storage`: the commands that need no directory.

use ottla_metadata::features::{Feature, METADATA_VERSION, MetadataVersion};
use ottla_types::Uuid;
use serde::Serialize;
use std::io::Read;

use crate::args::{StorageCommand, feature_level};
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text};
use crate::terminal::Terminal;

pub(crate) fn run(command: &StorageCommand, terminal: Terminal) -> Result<Exit, Failure> {
    match command {
        StorageCommand::RandomUuid => {
            terminal.print(&Fresh { uuid: random_uuid()?.to_string() })?
        }
        StorageCommand::VersionMapping { release_version } => {
            terminal.print(&mapping(release_version.as_deref())?)?;
        }
        StorageCommand::FeatureDependencies { features } => {
            let levels = features.iter().map(|text| feature_level(text));
            let levels = levels.collect::<Result<Vec<_>, _>>()?;
            terminal.print(&dependencies(&levels)?)?;
        }
        StorageCommand::Format(_) | StorageCommand::Info(_) => {
            return Err(Failure::usage("this command is carried out by the binary"));
        }
    }
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Fresh {
    uuid: String,
}

impl Render for Fresh {
    fn text(&self, text: &mut Text) {
        text.line(&self.uuid);
    }
}

/// Random bits of the system; not one of the reserved ids, nor one that begins with a dash.
pub(crate) fn random_uuid() -> std::io::Result<Uuid> {
    let mut source = std::fs::File::open("/dev/urandom")?;
    loop {
        let mut bytes = [0; 16];
        source.read_exact(&mut bytes)?;
        let fresh = Uuid::from_random(bytes);
        if let Some(fresh) = fresh.filter(|fresh| !fresh.to_string().starts_with('-')) {
            return Ok(fresh);
        }
    }
}

#[derive(Serialize)]
struct Level {
    feature: &'static str,
    level: i16,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Mapping(Vec<Level>);

impl Render for Mapping {
    /// As kafka-storage prints it.
    fn text(&self, text: &mut Text) {
        for row in &self.0 {
            let release = row.release.map(|name| format!(" ({name})")).unwrap_or_default();
            text.line(format!("{}={}{release}", row.feature, row.level));
        }
    }
}

fn mapping(release: Option<&str>) -> Result<Mapping, Failure> {
    let version = match release {
        None => MetadataVersion::LATEST,
        Some(text) => MetadataVersion::parse(text).ok_or_else(|| unknown_release(text))?,
    };
    let own =
        Level { feature: METADATA_VERSION, level: version.level(), release: Some(version.name()) };
    let others = Feature::ALL.iter().map(|feature| Level {
        feature: feature.name(),
        level: feature.default_level(version),
        release: None,
    });
    Ok(Mapping(std::iter::once(own).chain(others).collect()))
}

fn unknown_release(text: &str) -> Failure {
    let known: Vec<&str> = MetadataVersion::supported().map(MetadataVersion::release).collect();
    let mut known: Vec<&str> = known;
    known.dedup();
    Failure::new(Exit::NotFound, format!("{text:?} is no release that this version knows"))
        .with_hint(format!("Releases: {}.", known.join(", ")))
}

#[derive(Serialize)]
struct Needs {
    feature: String,
    level: i16,
    needs: Vec<(&'static str, i16)>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Dependencies(Vec<Needs>);

impl Render for Dependencies {
    fn text(&self, text: &mut Text) {
        for row in &self.0 {
            if row.needs.is_empty() {
                text.line(format!("{}={} has no dependencies.", row.feature, row.level));
                continue;
            }
            text.line(format!("{}={} requires:", row.feature, row.level));
            for (name, level) in &row.needs {
                text.line(format!("    {name}={level}"));
            }
        }
    }
}

fn dependencies(levels: &[(String, i16)]) -> Result<Dependencies, Failure> {
    let of = |(name, level): &(String, i16)| {
        let needs = if name == METADATA_VERSION {
            MetadataVersion::from_level(*level).map(|_| Vec::new())
        } else {
            let feature = Feature::from_name(name);
            let feature = feature.ok_or_else(|| unknown_feature(name))?;
            let found = feature.levels().iter().find(|known| known.level == *level);
            found.map(|found| found.needs.to_vec())
        };
        let missing = || Failure::new(Exit::NotFound, format!("{name} has no level {level}"));
        Ok(Needs { feature: name.clone(), level: *level, needs: needs.ok_or_else(missing)? })
    };
    levels.iter().map(of).collect::<Result<Vec<_>, Failure>>().map(Dependencies)
}

fn unknown_feature(name: &str) -> Failure {
    let names: Vec<&str> = Feature::ALL.iter().map(|feature| feature.name()).collect();
    let failure = Failure::new(Exit::NotFound, format!("{name:?} is no feature"))
        .with_hint(format!("Features: {METADATA_VERSION}, {}.", names.join(", ")));
    crate::suggest::with_name(name, names.into_iter(), failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &impl Render) -> String {
        let mut text = Text::default();
        value.text(&mut text);
        text.into_string()
    }

    #[test]
    fn mapping_is_that_of_kafkas_tool() {
        assert_eq!(
            shown(&mapping(Some("4.3-IV0")).unwrap()),
            "\
metadata.version=30 (4.3-IV0)
kraft.version=1
transaction.version=2
group.version=1
eligible.leader.replicas.version=1
share.version=1
streams.version=1
"
        );
        let failure = mapping(Some("1.0")).err().unwrap();
        assert!(failure.hint.unwrap().contains("4.3"), "{}", failure.message);
    }

    #[test]
    fn dependencies_are_those_of_kafkas_tool() {
        let of = |name: &str, level| dependencies(&[(name.to_owned(), level)]);
        assert_eq!(
            shown(&of("eligible.leader.replicas.version", 1).unwrap()),
            "eligible.leader.replicas.version=1 requires:\n    metadata.version=23\n"
        );
        assert_eq!(
            shown(&of("group.version", 1).unwrap()),
            "group.version=1 has no dependencies.\n"
        );
        assert!(of("group.version", 9).is_err());
        let near = of("group.versoin", 1).err().unwrap();
        assert!(near.hint.unwrap().starts_with("Did you mean group.version?"));
    }

    #[test]
    fn fresh_ids_differ() {
        let (one, two) = (random_uuid().unwrap(), random_uuid().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.to_string().len(), 22);
    }
}
