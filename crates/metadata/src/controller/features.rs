//! Finalizing feature levels (KIP-584, KIP-1022).
//!
//! Source: Kafka's `FeatureControlManager`. `kraft.version` is written by the quorum, not here.

use std::collections::BTreeMap;

use ottla_types::ErrorCode;

use super::op::Op;
use super::request::{ApiError, Outcome, Response, UpdateFeatures};
use crate::features::{Feature, METADATA_VERSION, MetadataVersion, VersionRange};
use crate::generated::FeatureLevelRecord;

/// Upgrade types on the wire.
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

impl Op<'_> {
    /// UpdateFeatures: all or none.
    pub(super) fn update_features(
        &mut self,
        request: &UpdateFeatures,
    ) -> Result<Response, ApiError> {
        // The last update of a feature counts, as in Kafka, where they form a map.
        let updates: BTreeMap<&str, (i16, i8)> = request
            .updates
            .iter()
            .map(|(name, level, kind)| (name.as_str(), (*level, *kind)))
            .collect();
        let mut proposed: BTreeMap<String, i16> =
            self.image.features().iter().map(|(name, level)| (name.clone(), *level)).collect();
        proposed.extend(updates.iter().map(|(name, (level, _))| ((*name).to_owned(), *level)));
        for (name, (level, kind)) in &updates {
            if let Err(mut error) = self.check_update(name, *level, *kind, &proposed) {
                let why = error.message.unwrap_or_default();
                error.message = Some(format!(
                    "The update failed for all features since the following feature had an \
                     error: {why}"
                ));
                return Ok(Response::FeaturesUpdated(Err(error)));
            }
        }
        if !request.validate_only {
            let elr = Feature::EligibleLeaderReplicas.name();
            if updates.get(elr).is_some_and(|(level, _)| *level > 0) {
                self.prepare_elr();
            }
            for (name, (level, _)) in updates {
                if name != Feature::Kraft.name() {
                    self.add(FeatureLevelRecord { name: name.into(), feature_level: level });
                }
            }
        }
        Ok(Response::FeaturesUpdated(Ok(())))
    }

    fn check_update(
        &self,
        name: &str,
        level: i16,
        kind: i8,
        proposed: &BTreeMap<String, i16>,
    ) -> Outcome {
        let invalid = |why: &str| {
            let text = format!("Invalid update version {level} for feature {name}. {why}");
            Err(ApiError::new(ErrorCode::InvalidUpdateVersion, text))
        };
        if ![UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE].contains(&kind) {
            return invalid("The controller does not support the given upgrade type.");
        }
        let is_kraft = name == Feature::Kraft.name();
        let current = if is_kraft { self.kraft_version } else { self.image.feature(name) };
        if level < 0 {
            return invalid("A feature version cannot be less than 0.");
        }
        if let Some(why) = self.not_supported(name, level) {
            return invalid(&why);
        }
        if level < current && kind == UPGRADE {
            return invalid(
                "Can't downgrade the version of this feature without setting the upgrade type to \
                 either safe or unsafe downgrade.",
            );
        }
        if level > current && kind != UPGRADE {
            return invalid("Can't downgrade to a newer version.");
        }
        if name == METADATA_VERSION {
            return self.check_metadata_version(level, kind);
        }
        if is_kraft {
            return match level {
                same if same == current => Ok(()),
                lower if lower < current => invalid("Can't downgrade the version of this feature."),
                _ => invalid("Changing the version of the quorum is not supported yet."),
            };
        }
        match Feature::from_name(name).map(|feature| feature.check(level, proposed)) {
            None => invalid(&format!("Feature {name} not found.")),
            Some(Err(why)) => invalid(&why.to_string()),
            Some(Ok(())) => Ok(()),
        }
    }

    fn check_metadata_version(&self, level: i16, kind: i8) -> Outcome {
        let refuse = |text| Err(ApiError::new(ErrorCode::InvalidUpdateVersion, text));
        let Some(wanted) = MetadataVersion::from_level(level) else {
            return refuse(format!(
                "Invalid metadata.version {level}. Valid versions are from {} to {}.",
                MetadataVersion::MINIMUM.level(),
                MetadataVersion::LATEST.level()
            ));
        };
        if wanted < self.version && self.version.formats_differ(wanted) {
            let why = if kind == UNSAFE_DOWNGRADE {
                "Unsafe metadata downgrade is not supported in this version."
            } else {
                "Refusing to perform the requested downgrade because it might delete metadata \
                 information."
            };
            return refuse(format!(
                "Unsupported metadata.version downgrade from {} to {level}. {why}",
                self.version.level()
            ));
        }
        Ok(())
    }

    /// Why some node cannot run with this level.
    fn not_supported(&self, name: &str, level: i16) -> Option<String> {
        let check = |who: String, features: &BTreeMap<String, VersionRange>| {
            let range = features.get(name).copied().unwrap_or(VersionRange::DISABLED);
            match (range.contains(level), range.max) {
                (true, _) => None,
                (false, 0) => Some(format!("{who} does not support this feature.")),
                (false, _) => Some(format!("{who} only supports versions {range}")),
            }
        };
        let own = self.config.node_id;
        let local = check(format!("Local controller {own}"), &self.config.features);
        let brokers = self.image.brokers().values();
        let controllers = self.image.controllers().values().filter(|c| c.id != own);
        local
            .or_else(|| {
                brokers.map(|b| check(format!("Broker {}", b.id), &b.features)).find_map(|why| why)
            })
            .or_else(|| {
                controllers
                    .map(|c| check(format!("Controller {}", c.id), &c.features))
                    .find_map(|why| why)
            })
    }
}
