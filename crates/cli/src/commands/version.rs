//! `ottla version`.

use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::{Render, Text};
use crate::terminal::Terminal;

#[derive(Serialize)]
struct Version {
    version: &'static str,
    kafka: &'static str,
    metadata_version: &'static str,
    target: String,
}

impl Render for Version {
    fn text(&self, text: &mut Text) {
        text.line(format!(
            "ottla {} (Kafka {}, metadata.version {}, {})",
            self.version, self.kafka, self.metadata_version, self.target
        ));
    }
}

pub(crate) fn run(terminal: Terminal) -> Result<Exit, Failure> {
    let latest = ottla_metadata::features::MetadataVersion::LATEST;
    terminal.print(&Version {
        version: env!("CARGO_PKG_VERSION"),
        kafka: latest.release(),
        metadata_version: latest.name(),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
    })?;
    Ok(Exit::Ok)
}
