//! What the simulated disk holds: directories, files, and of each what is durable and what is not.
//!
//! Knows no crash and no fault; it does what it is told and remembers what was not synced.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path};

use super::fault::Faults;

/// Number of a file or directory; [`ROOT`] is the directory that everything is in.
pub(super) type NodeId = usize;

pub(super) const ROOT: NodeId = 0;

/// Names of a directory.
pub(super) type Names = BTreeMap<OsString, NodeId>;

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) nodes: Vec<Node>,
    pub(super) faults: Faults,
    pub(super) capacity: Option<usize>,
}

#[derive(Debug)]
pub(super) enum Node {
    Dir(DirNode),
    File(FileNode),
}

#[derive(Debug, Default)]
pub(super) struct DirNode {
    pub(super) names: Names,
    pub(super) durable: Names,
    pub(super) unsynced: Vec<NameChange>,
    /// A sync failed: no later one makes anything durable.
    pub(super) in_doubt: bool,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Put(OsString, NodeId),
    Remove(OsString),
    /// Seen whole or not at all; the last is what is renamed.
    Rename(OsString, OsString, NodeId),
}

#[derive(Debug, Default)]
pub(super) struct FileNode {
    pub(super) content: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
    /// What was durable before the last sync, for bit rot that brings it back.
    pub(super) old: Vec<u8>,
    pub(super) in_doubt: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Change {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => content.resize(*len, 0),
            Self::Write(at, bytes) => write(content, *at, bytes),
        }
    }
}

/// Writes at a position, behind a hole of zeros if need be.
pub(super) fn write(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Put(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl DirNode {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        if !self.in_doubt {
            self.durable.clone_from(&self.names);
            self.unsynced.clear();
        }
    }
}

impl FileNode {
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.content);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        if !self.in_doubt && !self.unsynced.is_empty() {
            self.old = std::mem::replace(&mut self.durable, self.content.clone());
            self.unsynced.clear();
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        let root = Node::Dir(DirNode::default());
        Self { nodes: vec![root], faults: Faults::default(), capacity: None }
    }
}

impl Disk {
    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for name in names_in(path) {
            let Node::Dir(dir) = &self.nodes[node] else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            node = *dir.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    pub(super) fn dir(&mut self, path: &Path) -> io::Result<&mut DirNode> {
        let node = self.find(path)?;
        match &mut self.nodes[node] {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The file with this number, which must be one.
    pub(super) fn file(&mut self, node: NodeId) -> &mut FileNode {
        match &mut self.nodes[node] {
            Node::File(file) => file,
            Node::Dir(_) => unreachable!("only files are opened"),
        }
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.find(path)?;
        match self.nodes[node] {
            Node::File(_) => Ok(node),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Creates a file, or empties the one that exists.
    pub(super) fn create(&mut self, path: &Path) -> io::Result<NodeId> {
        if let Ok(node) = self.find_file(path) {
            self.file(node).change(Change::SetLen(0));
            return Ok(node);
        }
        if self.room() == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let node = self.nodes.len();
        let (parent, name) = split(path)?;
        self.dir(parent)?.change(NameChange::Put(name.to_owned(), node));
        self.nodes.push(Node::File(FileNode::default()));
        Ok(node)
    }

    /// Creates a directory. Missing ancestors are made too, and are durable at once: the crash
    /// that matters is the one of the last name.
    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let mut at = ROOT;
        let names: Vec<&OsStr> = names_in(path).collect();
        for (depth, name) in names.iter().enumerate() {
            let new = self.nodes.len();
            let Node::Dir(dir) = &mut self.nodes[at] else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            at = match dir.names.get(*name) {
                Some(node) => *node,
                None => {
                    dir.change(NameChange::Put((*name).to_owned(), new));
                    if depth + 1 < names.len() {
                        dir.sync();
                    }
                    self.nodes.push(Node::Dir(DirNode::default()));
                    new
                }
            };
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let ((parent, old), (target, new)) = (split(from)?, split(to)?);
        if parent != target {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let (old, new) = (old.to_owned(), new.to_owned());
        self.dir(parent)?.change(NameChange::Rename(old, new, node));
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.find_file(path)?;
        let (parent, name) = split(path)?;
        self.dir(parent)?.change(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    /// Removes what is in a directory, then itself: a crash may come in between.
    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let names: Vec<OsString> = self.dir(path)?.names.keys().cloned().collect();
        for name in names {
            let inside = path.join(name);
            match self.nodes[self.find(&inside)?] {
                Node::Dir(_) => self.remove_dir_all(&inside)?,
                Node::File(_) => self.remove_file(&inside)?,
            }
        }
        let (parent, name) = split(path)?;
        self.dir(parent)?.change(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    /// Bytes that may still be written; `None` is any number.
    pub(super) fn room(&self) -> Option<usize> {
        self.capacity.map(|capacity| capacity.saturating_sub(self.used(ROOT)))
    }

    // Files that have a name: what is removed takes no room.
    fn used(&self, node: NodeId) -> usize {
        match &self.nodes[node] {
            Node::File(file) => file.content.len(),
            Node::Dir(dir) => dir.names.values().map(|node| self.used(*node)).sum(),
        }
    }
}

/// The names that a path goes through.
fn names_in(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    path.parent().zip(path.file_name()).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
