//! Who listens on a TCP port of this machine, from Linux's `/proc`.
//!
//! What this is not: it connects to nothing, and it sees no more than this user may.

use std::fs;
use std::io;

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortHolder {
    /// Number of the user it belongs to.
    pub user: u32,
    /// Its process and that one's name; `None` if this user may not look at it.
    pub process: Option<(u32, String)>,
}

/// Finds who listens on a TCP port of this machine, on any of its addresses.
///
/// # Errors
/// There is no `/proc`, as outside Linux.
pub fn port_holder(port: u16) -> io::Result<Option<PortHolder>> {
    let ipv4 = fs::read_to_string("/proc/net/tcp")?;
    // A machine without IPv6 does not have this one.
    let ipv6 = fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let found = ipv4.lines().chain(ipv6.lines()).find_map(|line| listening(line, port));
    let holder = |(user, inode)| PortHolder { user, process: owner(inode) };
    Ok(found.map(holder))
}

/// User and inode of a line of `/proc/net/tcp`, if it is a socket that listens on this port.
fn listening(line: &str, port: u16) -> Option<(u32, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let is_it = *fields.get(3)? == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
    is_it.then_some((fields.get(7)?.parse().ok()?, fields.get(9)?.parse().ok()?))
}

/// State of a socket that listens, as the kernel writes it.
const LISTEN: &str = "0A";

fn owner(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let holds = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files
            .map(|file| fs::read_link(file.path()))
            .any(|link| link.is_ok_and(|link| link.as_os_str() == wanted.as_str()))
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(holds)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has one case less.
            let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            let holder = port_holder(port).unwrap().unwrap();
            assert_eq!(holder.process.unwrap().0, std::process::id(), "{address}");
            drop(listener);
            assert_eq!(port_holder(port).unwrap(), None, "{address}");
        }
    }

    #[test]
    fn only_sockets_that_listen_count() {
        let line = |state| {
            format!(
                "  0: 0100007F:2384 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0"
            )
        };
        assert_eq!(listening(&line("0A"), 0x2384), Some((1000, 4711)));
        assert_eq!(listening(&line("01"), 0x2384), None);
        assert_eq!(listening(&line("0A"), 0x2385), None);
        assert_eq!(listening("  sl  local_address rem_address   st tx_queue", 0x2384), None);
    }
}
