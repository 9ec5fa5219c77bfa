//! One quorum node on files in memory, driven by a script; every output is a line of text.

use std::fmt::Write as _;

use bytes::Bytes;
use ottla_quorum::{
    Committed, Control, ControlState, Disk, FileWrite, Input, KRaftVersion, LogEnds, Now, Output,
    Persist, Quorum, QuorumConfig, QuorumState, ReplicaKey, Snapshot, SnapshotBuilder, SnapshotId,
    StateFile, Voter, VoterChange, VoterSet, WalContents, read_control, read_wal, read_wal_append,
};
use ottla_record::{Batch, BatchBuilder, Compression};
use ottla_types::{DirectoryId, LeaderEpoch, MonoTime, NodeId, Offset, Timestamp, Uuid, WallTime};

/// The files of a metadata directory.
#[derive(Clone, Default)]
pub(crate) struct Files {
    pub(crate) state: Option<Bytes>,
    pub(crate) wal: Option<Bytes>,
    pub(crate) quorum_state: Option<Bytes>,
    pub(crate) log: Vec<Bytes>,
    pub(crate) log_start: Offset,
    pub(crate) snapshot: Option<(SnapshotId, Bytes)>,
}

impl Files {
    pub(crate) fn disk(&self) -> Disk {
        let mut control = ControlState::default();
        if let Some((id, bytes)) = &self.snapshot {
            control = Snapshot::read(*id, bytes.clone()).unwrap().control;
        }
        let mut log = LogEnds { end: self.log_start, last_epoch: None };
        for bytes in &self.log {
            let batch = Batch::parse_checked(bytes.clone()).unwrap();
            control.observe(&batch).unwrap();
            let header = batch.header();
            log = LogEnds { end: header.next_offset(), last_epoch: header.leader_epoch };
        }
        let snapshot = self.snapshot.as_ref().map(|(id, _)| *id);
        let (state, wal) = (self.state.clone(), self.wal.clone());
        Disk {
            state,
            wal,
            quorum_state: self.quorum_state.clone(),
            log,
            snapshot,
            control,
            ahead: Vec::new(),
        }
    }

    fn write(&mut self, write: &FileWrite) {
        match write {
            FileWrite::State(bytes) => self.state = Some(bytes.clone()),
            FileWrite::QuorumState(bytes) => self.quorum_state = Some(bytes.clone()),
            FileWrite::NewWal(bytes) => self.wal = Some(bytes.clone()),
            FileWrite::Wal(bytes) => {
                let old =
                    self.wal.clone().expect("a write-ahead log is made before it is appended to");
                self.wal = Some([old, bytes.clone()].concat().into());
            }
        }
    }
}

pub(crate) fn directory(node: u32) -> DirectoryId {
    DirectoryId(Uuid::from_parts(0x1000, u64::from(node)))
}

pub(crate) fn key(node: u32) -> ReplicaKey {
    ReplicaKey::new(NodeId(node), directory(node))
}

pub(crate) fn static_voters(nodes: &[u32]) -> VoterSet {
    VoterSet::new(
        nodes.iter().map(|node| Voter::new(ReplicaKey::of_node(NodeId(*node)), Vec::new())),
    )
}

pub(crate) fn dynamic_voters(nodes: &[u32]) -> VoterSet {
    VoterSet::new(nodes.iter().map(|node| Voter::new(key(*node), Vec::new())))
}

/// A batch of `count` records for the metadata log.
pub(crate) fn batch(base: Offset, count: u64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None).base_offset(base);
    for _ in 0..count {
        builder.push_pair(Timestamp(1), None, Some(b"record"));
    }
    builder.build().unwrap()
}

/// A checkpoint that only names voters, as formatting writes it.
pub(crate) fn bootstrap_checkpoint(nodes: &[u32]) -> (SnapshotId, Bytes) {
    let voters = Some(dynamic_voters(nodes));
    let control = ControlState { kraft_version: KRaftVersion::Dynamic, voters, in_log: false };
    let id = SnapshotId::BOOTSTRAP;
    (id, SnapshotBuilder::new(id, WallTime::default(), Timestamp(0), &control).finish())
}

pub(crate) struct Node {
    pub(crate) files: Files,
    pub(crate) config: QuorumConfig,
    pub(crate) quorum: Option<Quorum>,
    pub(crate) now: Now,
    pub(crate) text: String,
    held: Vec<Persist>,
    hold: bool,
}

impl Node {
    pub(crate) fn new(voters: VoterSet) -> Self {
        let config = QuorumConfig::new("cluster", key(1), voters, 7);
        let wall = WallTime::from_millis(1000);
        let now = Now { mono: MonoTime::ZERO, wall };
        let (files, text, held) = (Files::default(), String::new(), Vec::new());
        Self { files, config, quorum: None, now, text, held, hold: false }
    }

    /// Runs a script of one command a line.
    pub(crate) fn run(&mut self, script: &str) -> String {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            writeln!(self.text, "{line}").unwrap();
            let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
            self.command(command, argument);
            self.drain();
        }
        std::mem::take(&mut self.text)
    }

    fn command(&mut self, command: &str, argument: &str) {
        let number = || argument.parse::<u64>().unwrap();
        match command {
            "start" => match Quorum::open(self.config.clone(), &self.files.disk(), self.now) {
                Ok(quorum) => self.quorum = Some(quorum),
                Err(error) => self.say(&format!("refused: {error}")),
            },
            "crash" => {
                self.quorum = None;
                self.held.clear();
                self.hold = false;
            }
            "hold" => self.hold = true,
            "release" => {
                self.hold = false;
                for persist in std::mem::take(&mut self.held) {
                    self.carry_out(&persist);
                }
            }
            "propose" => self.propose(number()),
            "wait" => {
                let step = std::time::Duration::from_millis(number());
                self.now = Now { mono: self.now.mono.after(step), wall: self.now.wall.plus(step) };
                self.quorum.as_mut().unwrap().handle_timeout(self.now);
            }
            "tear" => {
                let wal = self.files.wal.take().unwrap();
                let len = wal.len() - usize::try_from(number()).unwrap();
                self.files.wal = Some(wal.slice(..len));
            }
            "lose-log" => {
                self.files.log.truncate(usize::try_from(number()).unwrap());
            }
            "snapshot" => self.snapshot(),
            "upgrade" => {
                let change = VoterChange::Upgrade(dynamic_voters(&[1]));
                let asked = self.quorum.as_mut().unwrap().change_voters(self.now, change);
                self.say(&format!("{asked:?}"));
            }
            "timer" => {
                let at = self.quorum.as_ref().unwrap().poll_timeout();
                self.say(&at.map_or_else(|| "none".to_owned(), |at| at.to_string()));
            }
            _ => panic!("unknown command {command}"),
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.text, "  {line}").unwrap();
    }

    fn snapshot(&mut self) {
        let quorum = self.quorum.as_ref().unwrap();
        let (end, epoch) = (quorum.high_watermark(), quorum.epoch());
        let id = SnapshotId { end, epoch };
        let control = quorum.control();
        let bytes = SnapshotBuilder::new(id, self.now.wall, Timestamp(0), control).finish();
        self.files.snapshot = Some((id, bytes));
        self.input(Input::SnapshotWritten(id));
    }

    fn propose(&mut self, count: u64) {
        let quorum = self.quorum.as_mut().unwrap();
        let next = quorum.next_offset().unwrap_or_default();
        let epoch = quorum.epoch();
        let proposed = quorum.propose(self.now, epoch, &batch(next, count));
        if let Err(error) = proposed {
            self.say(&format!("refused: {error}"));
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.quorum.as_mut().and_then(Quorum::poll_output) {
            let line = show(&output);
            self.say(&line);
            match output {
                Output::Persist(persist) if self.hold => self.held.push(persist),
                Output::Persist(persist) => self.carry_out(&persist),
                Output::Append(committed) => self.append(committed),
                Output::SyncLog(end) => self.input(Input::LogSynced(end)),
                Output::InstallSnapshot(id) => {
                    self.files.log.clear();
                    self.files.log_start = id.end;
                }
                _ => {}
            }
        }
    }

    fn append(&mut self, committed: Committed) {
        let end = self.files.disk().log.end;
        assert_eq!(committed.base, end, "the log has a gap");
        self.files.log.push(committed.batch);
    }

    fn carry_out(&mut self, persist: &Persist) {
        for write in &persist.writes {
            self.files.write(write);
        }
        self.input(Input::Persisted(persist.number));
    }

    pub(crate) fn input(&mut self, input: Input) {
        if let Err(error) = self.quorum.as_mut().unwrap().handle(self.now, input) {
            self.say(&format!("refused: {error}"));
        }
    }
}

/// An output as one line.
pub(crate) fn show(output: &Output) -> String {
    match output {
        Output::Persist(persist) => {
            let writes: Vec<_> = persist.writes.iter().map(show_write).collect();
            format!("persist {}: {}", persist.number, writes.join("; "))
        }
        Output::Append(committed) => show_append(committed),
        Output::LeaderChanged { epoch, leader } => {
            let leader = leader.map_or_else(|| "nobody".to_owned(), |leader| leader.to_string());
            format!("epoch {epoch} is led by {leader}")
        }
        Output::BecameLeader { epoch } => format!("became leader of {epoch}"),
        Output::LostLeadership { epoch } => format!("lost leadership of {epoch}"),
        Output::SyncLog(end) => format!("sync the log up to {end}"),
        Output::Send { to, .. } => format!("send to {}", to.node),
        Output::VotersChanged { voters, kraft_version } => {
            let voters: Vec<_> = voters.keys().map(|key| key.to_string()).collect();
            format!("voters {} at {kraft_version:?}", voters.join(" "))
        }
        other => format!("{other:?}"),
    }
}

fn show_write(write: &FileWrite) -> String {
    match write {
        FileWrite::State(bytes) => {
            let state = StateFile::decode(bytes).unwrap();
            let vote = state.vote.map_or_else(|| "nobody".to_owned(), |vote| vote.to_string());
            let trimmed = state.trimmed;
            let StateFile { generation, term, .. } = state;
            let (index, end) = (trimmed.index, trimmed.end);
            format!("state {generation}: term {term} vote {vote} behind {index} at {end}")
        }
        FileWrite::QuorumState(bytes) => {
            let state = QuorumState::parse(bytes).unwrap();
            format!("quorum-state epoch {} leader {:?}", state.epoch, state.leader.map(|id| id.0))
        }
        FileWrite::NewWal(bytes) => format!("new wal{}", show_entries(&read_wal(bytes).unwrap())),
        FileWrite::Wal(bytes) => {
            format!("wal{}", show_entries(&read_wal_append(bytes).unwrap()))
        }
    }
}

fn show_entries(contents: &WalContents) -> String {
    let entries = contents.entries.iter();
    entries.map(|e| format!(" {}@{} {}..{}", e.index, e.term, e.base, e.end)).collect()
}

fn show_append(committed: &Committed) -> String {
    let Committed { base, end, epoch, .. } = committed;
    let batch = Batch::parse_checked(committed.batch.clone()).unwrap();
    assert_eq!(batch.header().leader_epoch, Some(LeaderEpoch(epoch.0)));
    let mut line = format!("append {base}..{end} epoch {epoch}");
    for (_, control) in read_control(&batch).unwrap() {
        match control {
            Control::LeaderChange { leader } => write!(line, " LeaderChange({leader})"),
            Control::KRaftVersion(version) => write!(line, " KRaftVersion({})", version.level()),
            Control::Voters(voters) => write!(line, " KRaftVoters({})", voters.len()),
            other => write!(line, " {other:?}"),
        }
        .unwrap();
    }
    line
}
