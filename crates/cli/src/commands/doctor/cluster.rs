//! A cluster, as its clients see it from here.

use std::time::SystemTime;

use ottla_client::{
    Admin, ClientError, ClusterMetadata, ConfigResource, Node, QuorumDescription, ResourceType,
};
use ottla_protocol::MetadataRequest;
use ottla_types::Timestamp;

use super::super::counted;
use super::node::LocalNode;
use super::{Report, Verdict, endpoint, who_listens};

/// Adds findings about the cluster; each check is made only if those before it found what it needs.
/// Answers whether there is a broker at all.
pub(super) async fn examine(admin: &Admin, local: Option<&LocalNode>, report: &mut Report) -> bool {
    let connection = match admin.client().bootstrap().await {
        Ok(connection) => connection,
        // Its advice would be to run the doctor, who goes on to look at what answers there.
        Err(error @ ClientError::Call(_)) => {
            report.add("bootstrap", Verdict::Failed, error.to_string());
            return false;
        }
        Err(error) => {
            report.fail("bootstrap", &error);
            return false;
        }
    };
    let apis = connection.offered().api_keys.len();
    report.add("bootstrap", Verdict::Ok, format!("{} offers {apis} APIs", connection.address()));
    let metadata = match admin.client().metadata(None, false).await {
        Ok(metadata) => metadata,
        Err(error) => {
            report.fail("metadata", &error);
            return true;
        }
    };
    if metadata.brokers.is_empty() {
        report.advise(
            "metadata",
            Verdict::Failed,
            "no broker is registered and unfenced",
            "The broker's log says why it cannot register; `ottla quorum describe` shows whether \
             there is a leader.",
        );
        return true;
    }
    cluster(connection.address().port, &metadata, local, report);
    for node in &metadata.brokers {
        advertised(admin, node, &metadata, report).await;
    }
    partitions(&metadata, report);
    internal_topics(admin, &metadata, report).await;
    quorum(admin, report).await;
    for node in &metadata.brokers {
        log_dirs(admin, node, report).await;
    }
    for node in &metadata.brokers {
        open_files(node, report).await;
    }
    true
}

fn cluster(port: u16, metadata: &ClusterMetadata, local: Option<&LocalNode>, report: &mut Report) {
    let id = metadata.cluster_id.as_deref().unwrap_or("unknown");
    let (brokers, topics) = (metadata.brokers.len(), metadata.topics.len());
    let detail =
        format!("cluster {id}, {}, {}", counted(brokers, "broker"), counted(topics, "topic"));
    report.add("metadata", Verdict::Ok, detail);
    let own = local.and_then(|local| local.cluster_id.as_deref());
    if let Some(own) = own.filter(|own| *own != id) {
        report.advise(
            "metadata",
            Verdict::Failed,
            format!("the broker that answers is of cluster {id}, the directories are of {own}"),
            format!("{} Stop it, or set another port in `listeners`.", who_listens(port)),
        );
    }
}

/// The commonest trap of all: the bootstrap address works, the advertised ones do not.
async fn advertised(admin: &Admin, node: &Node, metadata: &ClusterMetadata, report: &mut Report) {
    const CHECK: &str = "advertised listener";
    if ["0.0.0.0", "::"].contains(&node.address.host.as_str()) {
        report.advise(
            CHECK,
            Verdict::Failed,
            format!("broker {} advertises {}", node.id, node.address),
            "That means every interface and is no address to connect to; set advertised.listeners.",
        );
        return;
    }
    let connection = match admin.client().node(node.id).await {
        Ok(connection) => connection,
        Err(error) => return report.fail(CHECK, &error),
    };
    let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    let there = match connection.send(&request).await {
        Ok(answer) => answer.cluster_id.as_deref().map(str::to_owned),
        Err(error) => return report.fail(CHECK, &error),
    };
    if there != metadata.cluster_id {
        report.advise(
            CHECK,
            Verdict::Failed,
            format!(
                "broker {} tells its clients to connect to {}, where from here a broker of \
                 cluster {} answers",
                node.id,
                node.address,
                there.as_deref().unwrap_or("unknown")
            ),
            "Set advertised.listeners to an address that means this broker wherever its clients \
             are; localhost means each client's own machine.",
        );
        return;
    }
    let detail = format!("broker {} at {} can be reached", node.id, node.address);
    report.add(CHECK, Verdict::Ok, detail);
}

fn partitions(metadata: &ClusterMetadata, report: &mut Report) {
    let (mut all, mut leaderless, mut under, mut offline) = (0_usize, 0_usize, 0_usize, 0_usize);
    for partition in metadata.topics.iter().flat_map(|topic| &topic.partitions) {
        all += 1;
        leaderless += usize::from(partition.leader.is_none());
        under += usize::from(partition.isr.len() < partition.replicas.len());
        offline += usize::from(!partition.offline.is_empty());
    }
    let verdict = match (leaderless, under + offline) {
        (0, 0) => Verdict::Ok,
        (0, _) => Verdict::Warning,
        _ => Verdict::Failed,
    };
    let detail = format!(
        "{all} in all, {leaderless} without a leader, {under} not fully in sync, {offline} with \
         offline replicas"
    );
    if verdict == Verdict::Ok {
        return report.add("partitions", verdict, detail);
    }
    let advice = "`ottla topic describe` shows which brokers they need; start those, or look into \
                  their logs.";
    report.advise("partitions", verdict, detail, advice);
}

/// A node of one's own configuration asks for three replicas of it, and then no group works.
async fn internal_topics(admin: &Admin, metadata: &ClusterMetadata, report: &mut Report) {
    const CHECK: &str = "internal topics";
    const TOPIC: &str = "__consumer_offsets";
    const KEY: &str = "offsets.topic.replication.factor";
    if metadata.topics.iter().any(|topic| topic.name == TOPIC) {
        return report.add(CHECK, Verdict::Ok, format!("{TOPIC} is there"));
    }
    let Some(node) = metadata.brokers.first() else { return };
    let broker = ConfigResource::new(ResourceType::Broker, node.id.to_string());
    let configs = match admin.describe_configs(&broker, Some(&[KEY]), false).await {
        Ok(configs) => configs,
        Err(ClientError::Advertised { .. }) => return,
        Err(error) => return report.fail(CHECK, &error),
    };
    let value = configs
        .iter()
        .find(|config| config.name == KEY)
        .and_then(|config| config.value.as_deref()?.parse::<usize>().ok());
    let Some(replicas) = value else { return };
    let brokers = metadata.brokers.len();
    let detail = format!(
        "{TOPIC} is made for the first group, with {} on {}",
        counted(replicas, "replica"),
        counted(brokers, "broker")
    );
    if replicas <= brokers {
        return report.add(CHECK, Verdict::Ok, detail);
    }
    report.advise(
        CHECK,
        Verdict::Failed,
        detail,
        format!(
            "It cannot be made, and groups wait in vain: set {KEY} to {brokers} and restart, or \
             start more brokers."
        ),
    );
}

async fn quorum(admin: &Admin, report: &mut Report) {
    let asked = SystemTime::now();
    let quorum = match admin.describe_quorum().await {
        Ok(quorum) => quorum,
        Err(error) => return report.fail("metadata quorum", &error),
    };
    let answered = SystemTime::now();
    let Some(leader) = quorum.leader else {
        return report.advise(
            "metadata quorum",
            Verdict::Failed,
            "no leader",
            "A majority of the voters must run and reach each other; `ottla quorum describe` \
             shows who they are.",
        );
    };
    let (voters, observers) = (quorum.voters.len(), quorum.observers.len());
    let detail = format!(
        "node {leader} leads {}, {}",
        counted(voters, "voter"),
        counted(observers, "observer")
    );
    report.add("metadata quorum", Verdict::Ok, detail);
    clock(&quorum, asked, answered, report);
}

/// A leader of the quorum says of itself that it has everything now, by its own clock.
fn clock(quorum: &QuorumDescription, asked: SystemTime, answered: SystemTime, report: &mut Report) {
    let leader = quorum.voters.iter().find(|voter| Some(voter.id) == quorum.leader);
    let Some((id, theirs)) = leader.and_then(|voter| Some((voter.id, voter.last_caught_up?)))
    else {
        return report.add("clock", Verdict::Skipped, "the leader does not tell its time");
    };
    let Timestamp(theirs) = theirs;
    let (verdict, ahead_ms) = judge_clock(millis(asked), theirs, millis(answered));
    if verdict == Verdict::Ok {
        let detail = format!("this machine's and that of node {id} agree");
        return report.add("clock", Verdict::Ok, detail);
    }
    let direction = if 0 < ahead_ms { "ahead of" } else { "behind" };
    let by = ahead_ms.unsigned_abs() / 1000;
    let detail = format!("that of node {id} is {by} s {direction} this machine's");
    report.advise(
        "clock",
        verdict,
        detail,
        "Keep both with NTP (chrony, systemd-timesyncd): retention and offsets by time go by \
         clocks, and records of a client that is an hour ahead are refused.",
    );
}

/// How far a clock is ahead that showed `theirs` at some time between `asked` and `answered`, all in
/// milliseconds, and what to think of it.
fn judge_clock(asked: i64, theirs: i64, answered: i64) -> (Verdict, i64) {
    let ahead = theirs.saturating_sub(theirs.clamp(asked, answered.max(asked)));
    let verdict = match ahead.unsigned_abs() {
        by if CLOCK_FAILED_MS < by => Verdict::Failed,
        by if CLOCK_WARNED_MS < by => Verdict::Warning,
        _ => Verdict::Ok,
    };
    (verdict, ahead)
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Clocks that NTP keeps differ by milliseconds.
const CLOCK_WARNED_MS: u64 = 2_000;
const CLOCK_FAILED_MS: u64 = 60_000;

async fn log_dirs(admin: &Admin, node: &Node, report: &mut Report) {
    const CHECK: &str = "log directories";
    let dirs = match admin.describe_log_dirs(node.id).await {
        Ok(dirs) => dirs,
        // Already reported as an address that cannot be reached.
        Err(ClientError::Advertised { .. }) => return,
        Err(error) => return report.fail(CHECK, &error),
    };
    for dir in dirs {
        let what = format!("broker {} {}", node.id, dir.path);
        match (dir.error, dir.usable_bytes.zip(dir.total_bytes)) {
            (Some(error), _) => report.advise(
                CHECK,
                Verdict::Failed,
                format!("{what}: {error}"),
                "Its disk failed and its partitions are offline: repair it and restart the \
                 broker; the broker's log says what happened.",
            ),
            (None, Some((usable, total))) => report.space(what, usable, total),
            (None, None) => report.add(CHECK, Verdict::Ok, format!("{what}: unknown free")),
        }
    }
}

/// The files of a broker on this machine; how many it may open is set where it is started.
async fn open_files(node: &Node, report: &mut Report) {
    const CHECK: &str = "open files";
    if !endpoint::leads_here(&node.address).await {
        let detail = format!("broker {} is on another machine", node.id);
        return report.add(CHECK, Verdict::Skipped, detail);
    }
    let holder = ottla_sys::port_holder(node.address.port).ok().flatten();
    let Some((pid, name)) = holder.and_then(|holder| holder.process) else {
        let detail = format!("this user may not look at the process of broker {}", node.id);
        return report.add(CHECK, Verdict::Skipped, detail);
    };
    let files = match ottla_sys::open_files(pid) {
        Ok(files) => files,
        Err(error) => {
            let detail = format!("process {pid} ({name}): {error}");
            return report.add(CHECK, Verdict::Skipped, detail);
        }
    };
    let open = files.open.map_or_else(|| "unknown".to_owned(), |open| open.to_string());
    let max = files.max.map_or_else(|| "unlimited".to_owned(), |max| max.to_string());
    let detail = format!("broker {}, process {pid} ({name}): {open} of {max}", node.id);
    match judge_files(files.open.unwrap_or(0), files.max) {
        Verdict::Ok => report.add(CHECK, Verdict::Ok, detail),
        verdict => report.advise(
            CHECK,
            verdict,
            detail,
            "Every connection and every partition in use needs some. Raise the limit where the \
             broker is started: ulimit -n 100000, LimitNOFILE=100000 in a systemd unit, --ulimit nofile=100000 for docker.",
        ),
    }
}

fn judge_files(open: u64, max: Option<u64>) -> Verdict {
    match max {
        Some(max) if max < FILES_FAILED || max - max / 10 < open => Verdict::Failed,
        Some(max) if max < FILES_WARNED || max / 2 < open => Verdict::Warning,
        _ => Verdict::Ok,
    }
}

/// A few hundred clients and partitions in use need more than this.
const FILES_FAILED: u64 = 1024;
const FILES_WARNED: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_judged() {
        for (asked, theirs, answered, expected) in [
            (1000, 1001, 1002, (Verdict::Ok, 0)),
            (1000, 1001, 1000, (Verdict::Ok, 1)),
            (1000, 2900, 1002, (Verdict::Ok, 1898)),
            (10_000, 7_000, 10_002, (Verdict::Warning, -3_000)),
            (10_000, 75_002, 10_002, (Verdict::Failed, 65_000)),
            // Set back while it was asked.
            (10_000, 9_000, 5_000, (Verdict::Ok, -1_000)),
        ] {
            assert_eq!(judge_clock(asked, theirs, answered), expected, "{asked} {theirs}");
        }
    }

    #[test]
    fn limits_on_files_are_judged() {
        for (open, max, verdict) in [
            (18, Some(20_000), Verdict::Ok),
            (18, None, Verdict::Ok),
            (18, Some(1024), Verdict::Warning),
            (18, Some(256), Verdict::Failed),
            (11_000, Some(20_000), Verdict::Warning),
            (18_001, Some(20_000), Verdict::Failed),
        ] {
            assert_eq!(judge_files(open, max), verdict, "{open} of {max:?}");
        }
    }
}
