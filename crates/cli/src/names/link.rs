//! `ottla link-tools`: links with the names of Kafka's tools to this binary.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::TOOLS;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text};
use crate::terminal::Terminal;

/// Arguments of `ottla link-tools`.
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// The directory for the links; it is made if it is missing
    directory: PathBuf,
    /// Only says what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Linked {
    target: PathBuf,
    links: Vec<Link>,
}

#[derive(Debug, Serialize)]
struct Link {
    path: PathBuf,
    outcome: &'static str,
}

impl Render for Linked {
    fn text(&self, text: &mut Text) {
        for link in &self.links {
            text.line(format!("{} {}", link.outcome, link.path.display()));
        }
    }
}

pub(crate) fn run(args: &LinkArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let target = std::env::current_exe()?;
    let mut links = Vec::new();
    for (name, _) in TOOLS {
        let path = args.directory.join(format!("{name}.sh"));
        // All are looked at before the first is made: a refusal leaves nothing half done.
        let outcome = match seen(&path, &target)? {
            Seen::Ours => "is there",
            Seen::Nothing if args.dry_run => "would make",
            Seen::Nothing => "made",
            Seen::Foreign => {
                let what =
                    format!("{} is there and no link to {}", path.display(), target.display());
                return Err(Failure::new(Exit::Conflict, what)
                    .with_hint("Take it away, or choose another directory."));
            }
        };
        links.push(Link { path, outcome });
    }
    if !args.dry_run {
        fs::create_dir_all(&args.directory)?;
        for link in links.iter().filter(|link| link.outcome == "made") {
            symlink(&target, &link.path)?;
        }
    }
    terminal.print(&Linked { target, links })?;
    Ok(Exit::Ok)
}

enum Seen {
    Nothing,
    Ours,
    Foreign,
}

fn seen(path: &Path, target: &Path) -> Result<Seen, Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Seen::Nothing),
        Err(error) => Err(error.into()),
        Ok(found) if found.is_symlink() && fs::canonicalize(path).is_ok_and(|to| to == target) => {
            Ok(Seen::Ours)
        }
        Ok(_) => Ok(Seen::Foreign),
    }
}
