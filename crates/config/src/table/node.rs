//! Identity and roles of a node, the metadata quorum, and the metadata log.
//!
//! Data only: names, types, defaults and bounds are those of Apache Kafka 4.3; descriptions and
//! status are ours. A row ends with its description.

use crate::key::{Check, Key, boolean, int, list, long, string};

/// Identity and roles of a node, the metadata quorum, and the metadata log.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    list("process.roles").required().list(&["broker", "controller"], false).high()
        .doc("Roles of this process: broker, controller, or both (a combined node)."),
    int("node.id").required().at_least(0).high()
        .doc("Number of this node; unique in the cluster and never changed after the first start."),
    int("broker.id").or("-1").high()
        .doc("Older name of node.id; when both are set they must be equal."),
    string("broker.rack").null()
        .doc("Rack or zone of this broker, told to clients and used when replicas are placed."),
    boolean("controlled.shutdown.enable").or("true")
        .doc("Hand leadership to other brokers before stopping."),
    int("broker.heartbeat.interval.ms").or("2000")
        .doc("How often a broker tells the active controller that it is alive."),
    int("broker.session.timeout.ms").or("9000")
        .doc("Silence after which the active controller fences a broker."),
    int("initial.broker.registration.timeout.ms").or("60000")
        .doc("How long a starting broker tries to register before it gives up and exits."),
    list("controller.listener.names").required().list(&[], false).high()
        .doc("Listeners that controllers use; the first one is what brokers connect to."),
    list("controller.quorum.bootstrap.servers").or("").check(Check::HostPorts).high()
        .doc("host:port of some controllers, used to find the metadata quorum when its voters are kept in the log."),
    list("controller.quorum.voters").or("").check(Check::Voters).high()
        .doc("Fixed set of quorum voters as id@host:port; leave it empty when the voters are kept in the log."),
    boolean("controller.quorum.auto.join.enable").or("false").low()
        .not_yet("a quorum of several controllers")
        .doc("Let a controller that starts as an observer ask to become a voter by itself."),
    int("controller.quorum.append.linger.ms").or("25").at_least(0)
        .meaningless("the controller proposes one batch for all requests that wait, without a timer")
        .doc("How long the leader may hold back metadata records to write them together."),
    int("controller.quorum.election.backoff.max.ms").or("1000").at_least(0).high()
        .meaningless("elections follow crate raft, whose retries are jittered ticks of the election timeout")
        .doc("Longest pause before a candidate tries again after a lost election."),
    int("controller.quorum.election.timeout.ms").or("1000").at_least(0).high()
        .doc("How long a voter waits for a leader's votes before it starts a new election."),
    int("controller.quorum.fetch.timeout.ms").or("2000").at_least(0).high()
        .doc("Silence of the leader after which a voter stands for election, and of a majority after which a leader steps down."),
    int("controller.quorum.fetch.max.bytes").or("1048576").at_least(1).low()
        .doc("Most bytes of metadata log in one answer to a Fetch of the metadata partition."),
    int("controller.quorum.fetch.snapshot.max.bytes").or("1048576").at_least(1).low()
        .doc("Most bytes of a metadata snapshot in one FetchSnapshot answer."),
    int("controller.quorum.request.timeout.ms").or("2000").at_least(0)
        .not_yet("a quorum of several controllers")
        .doc("How long a request inside the quorum may stay unanswered before it is sent again."),
    int("controller.quorum.retry.backoff.ms").or("20").at_least(0).low()
        .not_yet("a quorum of several controllers")
        .doc("Pause before a failed request inside the quorum is repeated."),
    int("controller.socket.timeout.ms").or("30000")
        .doc("Timeout of connections from a broker to the active controller."),
    long("controller.performance.sample.period.ms").or("60000").at_least(100).internal()
        .meaningless("event times are histograms on /metrics, so there is no periodic report")
        .doc("Period of the controller's report on slow events."),
    long("controller.performance.always.log.threshold.ms").or("2000").at_least(0).internal()
        .meaningless("event times are histograms on /metrics, so there is no periodic report")
        .doc("Controller events slower than this are always logged."),
    string("metadata.log.dir").null().high()
        .doc("Directory of the metadata log; the first of log.dirs when unset."),
    int("metadata.log.segment.bytes").or("1073741824").at_least(8_388_608).high()
        .doc("Largest size of one segment file of the metadata log."),
    long("metadata.log.segment.ms").or("604800000").high()
        .doc("Age after which a new segment of the metadata log is begun."),
    long("metadata.log.max.record.bytes.between.snapshots").or("20971520").at_least(1).high()
        .doc("Bytes of new metadata records after which a snapshot is written."),
    long("metadata.log.max.snapshot.interval.ms").or("3600000").at_least(0).high()
        .doc("Longest time between two metadata snapshots while there are new records; 0 turns the time rule off."),
    int("metadata.max.idle.interval.ms").or("500").at_least(0).low()
        .doc("How often an idle active controller writes a no-op record so that the log is seen to advance; 0 turns it off."),
    long("metadata.max.retention.bytes").or("104857600").high()
        .doc("Total size of metadata log and snapshots above which old ones are deleted."),
    long("metadata.max.retention.ms").or("604800000").high()
        .doc("Age above which metadata segments and snapshots are deleted."),
    long("internal.metadata.delete.delay.millis").or("60000").low().internal()
        .meaningless("obsolete metadata segments and snapshots are unlinked at once, open files stay readable")
        .doc("Delay before an obsolete file of the metadata log is removed."),
    int("internal.metadata.log.segment.bytes").null().low().internal()
        .doc("Segment size of the metadata log for tests, without the lower bound of the public key."),
    int("internal.metadata.max.batch.size.in.bytes").or("8388608").low().internal()
        .meaningless("one proposal is one batch, bounded by the limits on requests")
        .doc("Largest batch of the metadata log."),
    long("server.max.startup.time.ms").or("9223372036854775807").at_least(0).internal()
        .meaningless("a start takes as long as recovery needs")
        .doc("Longest time a start may take before the process gives up."),
    long("leader.imbalance.check.interval.seconds").or("300").at_least(1).high()
        .doc("How often the active controller looks for partitions led by another than their preferred replica."),
    boolean("auto.leader.rebalance.enable").or("true").high()
        .doc("Give leadership back to preferred replicas from time to time."),
    long("unclean.leader.election.interval.ms").or("300000").at_least(1).internal()
        .doc("How often the active controller looks for leaderless partitions that allow an unclean election."),
    boolean("unstable.api.versions.enable").or("false").high().internal()
        .meaningless("only finished API versions are ever offered")
        .doc("Offer request versions that are still in development."),
    boolean("unstable.feature.versions.enable").or("false").high().internal()
        .meaningless("only finished feature levels are ever offered")
        .doc("Offer feature levels that are still in development."),
    int("request.timeout.ms").or("30000").high()
        .doc("How long this node waits for an answer to a request it sent itself."),
    int("background.threads").or("10").at_least(1).high().cluster_wide()
        .meaningless("background work runs on the async runtime, one task for each kind of work")
        .doc("Threads for background work."),
    int("num.io.threads").or("8").at_least(1).high().cluster_wide()
        .meaningless("requests are processed on the worker threads of the async runtime, one for each core")
        .doc("Threads that process requests."),
    list("config.providers").or("").list(&[], true).low().cluster_wide()
        .doc("Names of the sources that dollar-brace references in values may use; env and file exist here."),
];
