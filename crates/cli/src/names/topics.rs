//! `kafka-topics`.

use std::collections::HashSet;

use ottla_client::{Admin, ConfigEntry, ConfigResource, ConfigSource, NewTopic, ResourceType};
use ottla_codec::Str;
use ottla_protocol::{
    CreatePartitionsRequest, DescribeTopicPartitionsRequest, create_partitions_request,
    describe_topic_partitions_request, describe_topic_partitions_response as response,
};
use ottla_types::{ErrorCode, NodeId, Uuid};

use super::java::{IncludeList, hash_order, is_internal};
use super::options::{Known, Options, flag, with};
use super::session::{Properties, admin};
use super::stop::{Run, Stop, refuse};
use super::{help_or_version, say};

/// Its options.
pub(super) const KNOWN: &[Known] = &[
    with("bootstrap-server", "server to connect to", "REQUIRED: where the cluster is."),
    with("command-config", "command config property file", "A file with settings of the client."),
    flag("list", "List the topics."),
    flag("create", "Create a topic."),
    flag("delete", "Delete topics."),
    flag("alter", "Give topics more partitions. For configs there is kafka-configs."),
    flag("describe", "Show topics in detail."),
    with("topic", "topic", "The topic; except with --create a regular expression."),
    with("topic-id", "topic-id", "The id of the topic to describe."),
    with("config", "name=value", "A config of the topic to create; may be given several times."),
    with("delete-config", "name", "Does nothing any more."),
    with("partitions", "# of partitions", "How many partitions; by default as the cluster says."),
    with("replication-factor", "replication factor", "How many replicas each partition has."),
    with(
        "replica-assignment",
        "broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , ...",
        "Which brokers have the replicas of each partition.",
    ),
    flag("under-replicated-partitions", "Describe only partitions that lack replicas."),
    flag("unavailable-partitions", "Describe only partitions without a leader."),
    flag("under-min-isr-partitions", "Describe only partitions below min.insync.replicas."),
    flag("at-min-isr-partitions", "Describe only partitions that just have min.insync.replicas."),
    flag("topics-with-overrides", "Describe only topics that have configs of their own."),
    flag("if-exists", "No error if there is no such topic."),
    flag("if-not-exists", "No error if the topic to create is there already."),
    flag("exclude-internal", "Leave out internal topics."),
    with(
        "partition-size-limit-per-response",
        "maximum number of partitions per response",
        "How many partitions to ask for at once.",
    ),
];

const ACTIONS: [&str; 5] = ["alter", "create", "describe", "list", "delete"];
const REPORTS: [&str; 4] = [
    "under-replicated-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
    "unavailable-partitions",
];

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    let options = Options::parse(KNOWN, arguments)?;
    check(&options)?;
    let properties = Properties::of_file(options.one("command-config")?)?;
    let bootstrap = options.one("bootstrap-server")?.unwrap_or_default();
    let admin = admin(bootstrap, &properties, "adminclient-1")?;
    let done = match options.any_of(&["create", "alter", "list", "describe"]) {
        Some("create") => create(&admin, &options).await,
        Some("alter") => alter(&admin, &options).await,
        Some("list") => list(&admin, &options).await,
        Some(_) => describe(&admin, &options).await,
        None => delete(&admin, &options).await,
    };
    done.map_err(|stop| {
        stop.caught(|message, _| {
            Stop::out(format!("Error while executing topic command : {message}"))
        })
    })
}

fn check(options: &Options) -> Run<()> {
    if options.is_empty() {
        return Err(Stop::Usage("Create, delete, describe, or change a topic.".to_owned()));
    }
    help_or_version(options, "This tool helps to create, delete, describe, or change a topic.")?;
    if options.count(&ACTIONS) != 1 {
        return Err(Stop::Usage(
            "Command must include exactly one action: --list, --describe, --create, --alter or \
             --delete"
                .to_owned(),
        ));
    }
    if options.has("delete-config") {
        super::complain(
            "delete-config option is no longer supported and deprecated since version 4.0. The \
             config will be fully removed in future releases.",
        );
    }
    if !options.has("bootstrap-server") {
        return Err(Stop::illegal("--bootstrap-server must be specified"));
    }
    if options.has("describe") && options.has("if-exists") {
        match (options.has("topic"), options.has("topic-id")) {
            (false, false) => {
                return Err(Stop::Usage(
                    "--topic or --topic-id is required to describe a topic".to_owned(),
                ));
            }
            (true, true) => say(
                "Only topic id will be used when both --topic and --topic-id are specified and \
                 topicId is not Uuid.ZERO_UUID",
            ),
            _ => {}
        }
    }
    combinations(options).map_err(Stop::Usage)
}

fn combinations(options: &Options) -> Result<(), String> {
    if !options.has("list") && !options.has("describe") {
        options.require(&["topic"])?;
    }
    if options.has("alter") {
        if options.has("config") {
            return Err(
                "Option combination \"[[bootstrap-server], [config]]\" can't be used with \
                        option \"[alter]\" (To alter topic configurations, the kafka-configs tool \
                        can be used.)"
                    .to_owned(),
            );
        }
        options.require(&["partitions"])?;
    }
    let not = |allowed: &[&'static str]| -> Vec<&'static str> {
        ACTIONS.into_iter().filter(|action| !allowed.contains(action)).collect()
    };
    options.exclude("config", &not(&["alter", "create"]))?;
    options.exclude("partitions", &not(&["alter", "create"]))?;
    options.exclude("replication-factor", &not(&["create"]))?;
    options.exclude("replica-assignment", &not(&["alter", "create"]))?;
    if options.has("create") {
        options.exclude("replica-assignment", &["partitions", "replication-factor"])?;
    }
    let of_describe = not(&["describe"]);
    for report in REPORTS {
        let others = [of_describe.as_slice(), &["topics-with-overrides"]].concat();
        options.exclude(report, &others)?;
    }
    options.exclude("topics-with-overrides", &[of_describe.as_slice(), &REPORTS].concat())?;
    options.exclude("if-exists", &not(&["alter", "delete", "describe"]))?;
    options.exclude("if-not-exists", &not(&["create"]))?;
    options.exclude("exclude-internal", &not(&["list", "describe"]))
}

/// What `--create` and `--alter` say of a topic.
struct Wanted {
    partitions: Option<i32>,
    factor: Option<i32>,
    assignment: Vec<Vec<NodeId>>,
    configs: Vec<(String, String)>,
}

fn wanted(options: &Options) -> Run<Wanted> {
    let partitions = options.number("partitions")?;
    let factor = options.number("replication-factor")?;
    let assignment = match options.one("replica-assignment")?.filter(|text| !text.is_empty()) {
        Some(text) => assignment(text)?,
        None => Vec::new(),
    };
    let pair = |text: &&str| {
        let (key, value) = text.split_once('=')?;
        (!value.trim().is_empty() && !value.contains('='))
            .then(|| (key.trim().to_owned(), value.trim().to_owned()))
    };
    let configs: Option<Vec<_>> = options.all("config").iter().map(pair).collect();
    let configs = configs.ok_or_else(|| {
        Stop::illegal(
            "requirement failed: Invalid topic config: all configs to be added must be in the \
             format \"key=val\".",
        )
    })?;
    Ok(Wanted { partitions, factor, assignment, configs })
}

fn assignment(text: &str) -> Run<Vec<Vec<NodeId>>> {
    let mut all: Vec<Vec<NodeId>> = Vec::new();
    for (index, list) in text.split(',').enumerate() {
        let mut brokers = Vec::new();
        for word in list.split(':').map(str::trim) {
            let id = word.parse().map_err(|_| Stop::Thrown {
                class: "java.lang.NumberFormatException".to_owned(),
                message: format!("For input string: \"{word}\""),
            })?;
            brokers.push(NodeId(id));
        }
        let mut seen = HashSet::new();
        let twice: Vec<String> =
            brokers.iter().filter(|id| !seen.insert(**id)).map(ToString::to_string).collect();
        if !twice.is_empty() {
            return Err(Stop::illegal(format!(
                "Partition replica lists may not contain duplicate entries: {}",
                twice.join(",")
            )));
        }
        if all.first().is_some_and(|first| first.len() != brokers.len()) {
            let ids: Vec<String> = brokers.iter().map(ToString::to_string).collect();
            return Err(Stop::illegal(format!(
                "Partition {index} has different replication factor: [{}]",
                ids.join(", ")
            )));
        }
        all.push(brokers);
    }
    Ok(all)
}

async fn create(admin: &Admin, options: &Options) -> Run<()> {
    let wanted = wanted(options)?;
    let name = options.one("topic")?.unwrap_or_default();
    if name.contains(['.', '_']) {
        say(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore \
             ('_') could collide. To avoid issues it is best to use either, but not both.",
        );
    }
    if name.is_empty() {
        return Err(Stop::illegal("The given topic name '' cannot be represented in a request."));
    }
    if wanted.factor.is_some_and(|factor| !(1..=32767).contains(&factor)) {
        return Err(Stop::illegal("The replication factor must be between 1 and 32767 inclusive"));
    }
    if wanted.partitions.is_some_and(|count| count < 1) {
        return Err(Stop::illegal("The partitions must be greater than 0"));
    }
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: wanted.partitions.and_then(|count| count.try_into().ok()),
        replication_factor: wanted.factor.and_then(|factor| factor.try_into().ok()),
        assignment: wanted.assignment,
        configs: wanted.configs,
    };
    match admin.create_topics(&[topic], false).await?.pop() {
        Some(Err(refusal))
            if refusal.code == ErrorCode::TopicAlreadyExists && options.has("if-not-exists") =>
        {
            Ok(())
        }
        Some(Err(refusal)) => Err(refusal.into()),
        _ => {
            say(&format!("Created topic {name}."));
            Ok(())
        }
    }
}

async fn alter(admin: &Admin, options: &Options) -> Run<()> {
    let wanted = wanted(options)?;
    let count = wanted.partitions.unwrap_or_default();
    for name in chosen(admin, options).await? {
        let mut topic = create_partitions_request::CreatePartitionsTopic {
            name: Str::from(name.as_str()),
            count,
            assignments: None,
        };
        if !wanted.assignment.is_empty() {
            let there = admin.client().refreshed_topic(&name, false).await?.partitions.len();
            let new = wanted.assignment.iter().skip(there).map(|brokers| {
                let broker_ids = brokers.iter().map(|id| id.to_wire()).collect();
                create_partitions_request::CreatePartitionsAssignment { broker_ids }
            });
            topic.assignments = Some(new.collect());
        }
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: 30_000,
            validate_only: false,
        };
        let response = admin.client().any(&request).await?;
        for result in &response.results {
            refuse(result.error_code, result.error_message.as_deref())?;
        }
    }
    Ok(())
}

async fn list(admin: &Admin, options: &Options) -> Run<()> {
    say(&all_chosen(admin, options).await?.join("\n"));
    Ok(())
}

async fn delete(admin: &Admin, options: &Options) -> Run<()> {
    let names = chosen(admin, options).await?;
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for result in admin.delete_topics(&names).await? {
        result?;
    }
    Ok(())
}

/// The names of the topics that `--topic` means; an error if there is none and none is no error.
async fn chosen(admin: &Admin, options: &Options) -> Run<Vec<String>> {
    let names = all_chosen(admin, options).await?;
    let asked = options.one("topic")?.filter(|text| !text.is_empty());
    if let Some(asked) = asked.filter(|_| names.is_empty() && !options.has("if-exists")) {
        return Err(Stop::illegal(format!("Topic '{asked}' does not exist as expected")));
    }
    Ok(names)
}

async fn all_chosen(admin: &Admin, options: &Options) -> Run<Vec<String>> {
    let filter = options.one("topic")?.map(IncludeList::new).transpose()?;
    let metadata = admin.client().metadata(None, false).await?;
    let excluded = |name: &str| options.has("exclude-internal") && is_internal(name);
    let mut names: Vec<String> = metadata
        .topics
        .into_iter()
        .map(|topic| topic.name)
        .filter(|name| filter.as_ref().is_none_or(|filter| filter.allows(name)))
        .filter(|name| !excluded(name))
        .collect();
    names.sort();
    Ok(names)
}

async fn describe(admin: &Admin, options: &Options) -> Run<()> {
    let id = match options.one("topic-id")? {
        None => None,
        Some(text) => {
            let id: Option<Uuid> = text.parse().ok();
            let id = id.ok_or_else(|| {
                Stop::illegal(format!("Input string `{text}` decoded as 0 bytes, which is not equal to the expected 16 bytes of a base64-encoded UUID"))
            })?;
            Some(id).filter(|id| !id.is_zero())
        }
    };
    let mut names = match id {
        None => chosen(admin, options).await?,
        Some(id) => {
            let topics = admin.client().metadata(None, false).await?.topics;
            let named = topics.into_iter().find(|topic| topic.id == id).map(|topic| topic.name);
            if named.is_none() && !options.has("if-exists") {
                return Err(Stop::illegal(format!("TopicId '{id}' does not exist as expected")));
            }
            named.into_iter().collect()
        }
    };
    let count = names.len();
    hash_order(&mut names, count, |name| name);
    let live: HashSet<NodeId> =
        admin.describe_cluster().await?.brokers.iter().map(|node| node.id).collect();
    let limit = options.number("partition-size-limit-per-response")?.unwrap_or(2000);
    for name in &names {
        let topic = described(admin, name, limit).await?;
        let resource = ConfigResource::new(ResourceType::Topic, name.as_str());
        let mut configs = admin.describe_configs(&resource, None, false).await?;
        hash_order(&mut configs, 16, |entry| &entry.name);
        Shown { options, topic: &topic, configs: &configs, live: &live, by_id: id.is_some() }
            .print();
    }
    Ok(())
}

async fn described(
    admin: &Admin,
    name: &str,
    limit: i32,
) -> Run<response::DescribeTopicPartitionsResponseTopic> {
    let mut request = DescribeTopicPartitionsRequest {
        topics: vec![describe_topic_partitions_request::TopicRequest { name: Str::from(name) }],
        response_partition_limit: limit,
        cursor: None,
    };
    let mut whole: Option<response::DescribeTopicPartitionsResponseTopic> = None;
    loop {
        let answer = admin.client().any(&request).await?;
        for topic in answer.topics {
            refuse(topic.error_code, None)?;
            match &mut whole {
                Some(whole) => whole.partitions.extend(topic.partitions),
                None => whole = Some(topic),
            }
        }
        let Some(next) = answer.next_cursor else { break };
        request.cursor = Some(describe_topic_partitions_request::Cursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
        });
    }
    let mut whole = whole.unwrap_or_default();
    whole.partitions.sort_by_key(|partition| partition.partition_index);
    Ok(whole)
}

/// One topic, and how much of it is asked for.
struct Shown<'a> {
    options: &'a Options,
    topic: &'a response::DescribeTopicPartitionsResponseTopic,
    configs: &'a [ConfigEntry],
    live: &'a HashSet<NodeId>,
    by_id: bool,
}

impl Shown<'_> {
    fn print(&self) {
        let whole = self.options.count(&REPORTS) == 0;
        let overrides = self.options.has("topics-with-overrides");
        let own = |entry: &&ConfigEntry| entry.source != ConfigSource::Default;
        if whole && (!overrides || self.configs.iter().any(|entry| own(&entry))) {
            let value = |entry: &ConfigEntry| {
                format!("{}={}", entry.name, entry.value.as_deref().unwrap_or("null"))
            };
            let configs: Vec<String> = self.configs.iter().filter(own).map(value).collect();
            say(&format!(
                "Topic: {}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {}\tConfigs: {}",
                self.name(),
                self.topic.topic_id,
                self.topic.partitions.len(),
                self.topic.partitions.first().map_or(0, |first| first.replica_nodes.len()),
                configs.join(",")
            ));
        }
        if overrides {
            return;
        }
        for partition in &self.topic.partitions {
            if whole || self.is_reported(partition) {
                self.print_partition(partition);
            }
        }
    }

    fn name(&self) -> &str {
        self.topic.name.as_deref().unwrap_or_default()
    }

    fn is_reported(&self, one: &response::DescribeTopicPartitionsResponsePartition) -> bool {
        let min = self.configs.iter().find(|entry| entry.name == "min.insync.replicas");
        let min: usize =
            min.and_then(|entry| entry.value.as_deref()?.parse().ok()).unwrap_or_default();
        let leads = NodeId::from_wire(one.leader_id);
        let isr = one.isr_nodes.len();
        let has = |name: &str| self.options.has(name);
        (has("under-replicated-partitions") && isr < one.replica_nodes.len())
            || (has("unavailable-partitions") && leads.is_none_or(|id| !self.live.contains(&id)))
            || (has("under-min-isr-partitions") && (leads.is_none() || isr < min))
            || (has("at-min-isr-partitions") && isr == min)
    }

    fn print_partition(&self, one: &response::DescribeTopicPartitionsResponsePartition) {
        let list = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let eligible = |ids: &Option<Vec<i32>>| match ids {
            Some(ids) if !self.by_id => list(ids),
            _ => "N/A".to_owned(),
        };
        let leader = match NodeId::from_wire(one.leader_id) {
            Some(id) => id.to_string(),
            None => "none".to_owned(),
        };
        say(&format!(
            "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: \
             {}\tLastKnownElr: {}",
            self.name(),
            one.partition_index,
            list(&one.replica_nodes),
            list(&one.isr_nodes),
            eligible(&one.eligible_leader_replicas),
            eligible(&one.last_known_elr),
        ));
    }
}
