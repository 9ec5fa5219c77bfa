//! Why a node does not start or a directory cannot be formatted: exit code, text, and what to do.

use std::error::Error;
use std::io::{self, ErrorKind};

use ottla_broker::storage::StorageError;
use ottla_broker::{BindError, StartError};
use ottla_cli::{Exit, Failure};
use ottla_log::DirectoryError;

/// What chooses the ports of a node, as advice names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ports {
    /// `listeners`.
    Configured,
    /// `ottla dev --port`.
    Argument,
}

/// A node that did not start.
pub(crate) fn not_started(error: &StartError, ports: Ports) -> Failure {
    let text = whole(error);
    let elsewhere = match ports {
        Ports::Configured => "set another port in `listeners`",
        Ports::Argument => "choose another with --port; without it any free one is taken",
    };
    match error {
        StartError::Bind(BindError::Refused { address, source, .. }) => {
            let hint = port_advice(source, address.port(), elsewhere);
            Failure::new(Exit::Conflict, text).with_hint(hint)
        }
        StartError::Bind(_) => {
            Failure::new(Exit::Conflict, text).with_hint("Correct the host in `listeners`.")
        }
        StartError::Http { address, source } => {
            let elsewhere = "set another port in `ottla.http.listener`, or `none`";
            let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
            let hint = port_advice(source, port.unwrap_or_default(), elsewhere);
            Failure::new(Exit::Conflict, text).with_hint(hint)
        }
        StartError::Storage(error) => of_storage(error),
        _ => Failure::new(Exit::Failed, text),
    }
}

fn port_advice(error: &io::Error, port: u16, elsewhere: &str) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            format!("{} Stop it, or {elsewhere}.", ottla_cli::who_listens(port))
        }
        ErrorKind::AddrNotAvailable => {
            "No interface of this machine has that address: listen on 0.0.0.0 or on one of its \
             own, and put the address that clients use into `advertised.listeners`."
                .to_owned()
        }
        ErrorKind::PermissionDenied => {
            format!("Ports below 1024 need a privilege: {elsewhere}.")
        }
        _ => format!("If nothing else helps, {elsewhere}."),
    }
}

/// A directory that cannot be used or formatted.
pub(crate) fn of_storage(error: &StorageError) -> Failure {
    let text = whole(error);
    let (exit, hint) = match error {
        StorageError::Directory(DirectoryError::Locked(_)) => (
            Exit::Conflict,
            "Another node runs on this directory: stop it, or give this one other log.dirs.",
        ),
        StorageError::Directory(DirectoryError::Malformed { .. }) => (
            Exit::Failed,
            "If there is a good copy of the file, put it back. A directory whose data are not \
             needed can be emptied and formatted.",
        ),
        StorageError::Formatted(_) => (
            Exit::Conflict,
            "It can be used as it is, and --ignore-formatted leaves it alone. Formatting anew \
             needs an empty directory: what is in it would be lost.",
        ),
        StorageError::NotFormatted(_) => (
            Exit::Failed,
            "A new cluster of one node: `ottla storage format --cluster-id $(ottla storage \
             random-uuid) --standalone --config FILE`, without --standalone if \
             controller.quorum.voters is set. If it should have data, check log.dirs and that \
             its disk is mounted.",
        ),
        StorageError::Foreign { what: "cluster", .. } => (
            Exit::Conflict,
            "Give the cluster id that the directory has (`ottla storage info` shows it), or \
             correct log.dirs; if the directory's data are not needed, empty and format it.",
        ),
        StorageError::Foreign { .. } => (
            Exit::Conflict,
            "Correct node.id or log.dirs; if the directory's data are not needed, empty and \
             format it.",
        ),
        StorageError::Directory(DirectoryError::Disk { source, .. })
        | StorageError::Disk { source, .. } => (Exit::Failed, disk_advice(source)),
        _ => return Failure::new(Exit::Failed, text),
    };
    Failure::new(exit, text).with_hint(hint)
}

fn disk_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            "This user may not write there: give it the directory (chown), or set log.dirs to one \
             that it may write."
        }
        ErrorKind::ReadOnlyFilesystem => {
            "The file system is mounted read-only: mount it for writing, or set log.dirs to \
             another."
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "The disk is full: free space, or set log.dirs to a larger one."
        }
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            "A file has that name where a directory is needed: correct log.dirs."
        }
        _ => {
            "Check log.dirs, and that the directory is on a mounted disk, is writable for this \
             user and has room."
        }
    }
}

/// An error with its causes.
pub(crate) fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_what_the_system_said() {
        let of_disk = |kind: ErrorKind| disk_advice(&kind.into()).to_owned();
        let of_port = |kind: ErrorKind| port_advice(&kind.into(), 80, "set another port");
        for (advice, says) in [
            (of_disk(ErrorKind::PermissionDenied), "chown"),
            (of_disk(ErrorKind::ReadOnlyFilesystem), "mounted read-only"),
            (of_disk(ErrorKind::StorageFull), "free space"),
            (of_disk(ErrorKind::NotADirectory), "correct log.dirs"),
            (of_disk(ErrorKind::Other), "Check log.dirs"),
            (of_port(ErrorKind::PermissionDenied), "below 1024"),
            (of_port(ErrorKind::AddrNotAvailable), "advertised.listeners"),
            (of_port(ErrorKind::Other), "set another port"),
        ] {
            assert!(advice.contains(says), "{advice}");
        }
    }
}
