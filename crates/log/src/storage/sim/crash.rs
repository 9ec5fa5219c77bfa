//! What is found on the disk after a power cut.

use std::collections::HashMap;

use super::Random;
use super::disk::{Change, DirNode, Disk, FileNode, Names, Node, NodeId, ROOT};

/// What survives of names and bytes that were not synced.
///
/// A number is a seed: the same gives the same disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashMode {
    /// Nothing.
    Nothing,
    /// Everything, as after a killed process on a machine that went on.
    Everything,
    /// For each file a random number of its oldest writes, the next one perhaps torn in the
    /// middle; for each directory a random number of its oldest changes.
    Prefix(u64),
    /// For each file any subset of its writes, which leaves holes of zeros; for each directory a
    /// random number of its oldest changes.
    Subset(u64),
    /// Writes are torn into blocks of this many bytes, and each block is found as it was at any
    /// time since the last sync; so is the length of the file. Of the changes to a directory any
    /// subset survives.
    Blocks {
        /// Seed.
        seed: u64,
        /// Bytes of a block; disks have 512 or 4,096.
        size: usize,
    },
    /// All names, and no bytes: a file is created or renamed, and has lost its content.
    Names,
    /// All bytes of the files that have a name, and no change of names.
    Content,
}

impl CrashMode {
    fn seed(self) -> u64 {
        match self {
            Self::Prefix(seed) | Self::Subset(seed) | Self::Blocks { seed, .. } => seed,
            Self::Nothing | Self::Everything | Self::Names | Self::Content => 0,
        }
    }
}

/// The disk as it is found.
pub(super) fn crash(disk: &Disk, mode: CrashMode) -> Disk {
    let mut found = Disk { nodes: Vec::new(), ..Disk::default() };
    let mut crash = Crash { disk, mode, random: Random::new(mode.seed()), moved: HashMap::new() };
    crash.node(ROOT, &mut found.nodes);
    found
}

struct Crash<'a> {
    disk: &'a Disk,
    mode: CrashMode,
    random: Random,
    // A file may be found under two names, if a rename survived and what came before it did not.
    moved: HashMap<NodeId, NodeId>,
}

impl Crash<'_> {
    /// Brings a node over, with all that is in it, and returns its new number.
    fn node(&mut self, node: NodeId, found: &mut Vec<Node>) -> NodeId {
        if let Some(known) = self.moved.get(&node) {
            return *known;
        }
        let new = found.len();
        self.moved.insert(node, new);
        match &self.disk.nodes[node] {
            Node::File(file) => {
                let content = self.content(file);
                let durable = content.clone();
                let file =
                    FileNode { content, durable, old: file.old.clone(), ..FileNode::default() };
                found.push(Node::File(file));
            }
            Node::Dir(dir) => {
                found.push(Node::Dir(DirNode::default()));
                let mut names = Names::new();
                for (name, inside) in self.names(dir) {
                    names.insert(name, self.node(inside, found));
                }
                let durable = names.clone();
                found[new] = Node::Dir(DirNode { names, durable, ..DirNode::default() });
            }
        }
        new
    }

    fn names(&mut self, dir: &DirNode) -> Names {
        let changes = &dir.unsynced;
        let kept = match self.mode {
            CrashMode::Nothing | CrashMode::Content => 0,
            CrashMode::Everything | CrashMode::Names | CrashMode::Blocks { .. } => changes.len(),
            CrashMode::Prefix(_) | CrashMode::Subset(_) => self.random.below(changes.len() + 1),
        };
        let mut names = dir.durable.clone();
        for change in changes.iter().take(kept) {
            if !matches!(self.mode, CrashMode::Blocks { .. }) || self.random.below(2) == 0 {
                change.apply(&mut names);
            }
        }
        names
    }

    fn content(&mut self, file: &FileNode) -> Vec<u8> {
        match self.mode {
            _ if file.unsynced.is_empty() => file.durable.clone(),
            CrashMode::Nothing | CrashMode::Names => file.durable.clone(),
            CrashMode::Everything | CrashMode::Content => file.content.clone(),
            CrashMode::Prefix(_) => self.oldest(file),
            CrashMode::Subset(_) => self.subset(file),
            CrashMode::Blocks { size, .. } => self.blocks(file, size.max(1)),
        }
    }

    fn oldest(&mut self, file: &FileNode) -> Vec<u8> {
        let mut content = file.durable.clone();
        let kept = self.random.below(file.unsynced.len() + 1);
        for change in file.unsynced.iter().take(kept) {
            change.apply(&mut content);
        }
        // The write in progress may have come to the disk in part.
        if let Some(Change::Write(at, bytes)) = file.unsynced.get(kept) {
            let torn = self.random.below(bytes.len() + 1);
            if torn > 0 {
                Change::Write(*at, bytes[..torn].to_vec()).apply(&mut content);
            }
        }
        content
    }

    fn subset(&mut self, file: &FileNode) -> Vec<u8> {
        let mut content = file.durable.clone();
        for change in &file.unsynced {
            if self.random.below(2) == 0 {
                change.apply(&mut content);
            }
        }
        content
    }

    /// Plays the changes once, and takes each block, and the length, as it is at its moment.
    fn blocks(&mut self, file: &FileNode, size: usize) -> Vec<u8> {
        let moments = file.unsynced.len() + 1;
        let mut longest = file.durable.len();
        let mut lengths = vec![longest];
        let mut content = file.durable.clone();
        for change in &file.unsynced {
            change.apply(&mut content);
            lengths.push(content.len());
            longest = longest.max(content.len());
        }
        let len = lengths[self.random.below(moments)];
        let chosen: Vec<usize> =
            (0..longest.div_ceil(size)).map(|_| self.random.below(moments)).collect();
        let mut found = vec![0; len];
        content.clone_from(&file.durable);
        for moment in 0..moments {
            if let Some(change) = moment.checked_sub(1).and_then(|at| file.unsynced.get(at)) {
                change.apply(&mut content);
            }
            for (block, _) in chosen.iter().enumerate().filter(|(_, at)| **at == moment) {
                let from = block * size;
                let until = (from + size).min(len).min(content.len());
                if from < until {
                    found[from..until].copy_from_slice(&content[from..until]);
                }
            }
        }
        found
    }
}
