//! Listeners, sockets and limits on connections.
//!
//! Data only: names, types, defaults and bounds are those of Apache Kafka 4.3; descriptions and
//! status are ours. A row ends with its description.

use crate::key::{Key, int, list, long, string};

/// Listeners, sockets and limits on connections.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    list("listeners").or("PLAINTEXT://:9092").list(&[], false).high().per_broker()
        .doc("Addresses to listen on, as NAME://host:port; an empty host is every interface."),
    list("advertised.listeners").null().list(&[], false).high()
        .doc("Addresses that clients and other nodes are told to use; the listeners themselves when unset."),
    string("listener.security.protocol.map").or("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT").low().per_broker()
        .doc("Which security protocol each listener name uses."),
    string("inter.broker.listener.name").null()
        .doc("Listener that brokers use among themselves."),
    string("security.inter.broker.protocol").or("PLAINTEXT").one_of(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
        .refused("TLS and SASL")
        .doc("Security protocol among brokers; set this or inter.broker.listener.name, not both."),
    list("early.start.listeners").null().list(&[], true).high()
        .meaningless("every listener opens as soon as its requests can be answered")
        .doc("Listeners that open before the authorizer has started."),
    int("num.network.threads").or("3").at_least(1).high().cluster_wide()
        .meaningless("each connection is a task of the async runtime")
        .doc("Threads that read requests and write responses for each listener."),
    int("queued.max.requests").or("500").at_least(1).high()
        .meaningless("requests are bounded by their bytes over all connections, not by their number")
        .doc("Requests that may wait before sockets are no longer read."),
    long("queued.max.request.bytes").or("-1")
        .doc("Bytes of requests that all connections may hold; -1 is 512 MiB, or a quarter of the process's memory if that is less."),
    int("socket.send.buffer.bytes").or("102400").high()
        .doc("SO_SNDBUF of server sockets; -1 keeps the system's choice."),
    int("socket.receive.buffer.bytes").or("102400").high()
        .doc("SO_RCVBUF of server sockets; -1 keeps the system's choice."),
    int("socket.request.max.bytes").or("104857600").at_least(1).high()
        .doc("Largest request that is accepted; a larger one closes the connection."),
    int("socket.listen.backlog.size").or("50").at_least(1)
        .doc("Connections that may wait to be accepted; where it is not set there is room for 1,024."),
    long("socket.connection.setup.timeout.ms").or("10000")
        .doc("First timeout for opening a connection to another node."),
    long("socket.connection.setup.timeout.max.ms").or("30000")
        .meaningless("every attempt gets socket.connection.setup.timeout.ms")
        .doc("Longest timeout for opening a connection to another node after it has grown with each failure."),
    int("max.connections").or("2147483647").at_least(0).cluster_wide()
        .doc("Most connections of the broker, or of one listener with the listener.name prefix."),
    int("max.connections.per.ip").or("2147483647").at_least(0).cluster_wide()
        .doc("Most connections from one address."),
    string("max.connections.per.ip.overrides").or("").cluster_wide()
        .doc("Exceptions from max.connections.per.ip as host:count pairs."),
    int("max.connection.creation.rate").or("2147483647").at_least(0).cluster_wide()
        .doc("Most new connections a second of the broker, or of one listener with the listener.name prefix."),
    long("connections.max.idle.ms").or("600000")
        .doc("A connection without traffic for this long is closed."),
    int("connection.failed.authentication.delay.ms").or("100").at_least(0).low()
        .not_yet("authentication")
        .doc("How long the answer to a failed authentication is held back."),
    long("connections.max.reauth.ms").or("0").refused("SASL")
        .doc("Longest life of an authenticated session before the client must authenticate again."),
    int("fetch.max.bytes").or("57671680").at_least(1024)
        .doc("Most bytes of records in one Fetch answer."),
    int("max.incremental.fetch.session.cache.slots").or("1000").at_least(0)
        .doc("Incremental fetch sessions kept at the same time."),
    int("max.request.partition.size.limit").or("2000").at_least(1)
        .doc("Most partitions in one DescribeTopicPartitions answer."),
    int("fetch.purgatory.purge.interval.requests").or("1000")
        .meaningless("finished waits leave the purgatory at once")
        .doc("Finished Fetch waits after which the waiting list is swept."),
    int("producer.purgatory.purge.interval.requests").or("1000")
        .meaningless("finished waits leave the purgatory at once")
        .doc("Finished Produce waits after which the waiting list is swept."),
    int("delete.records.purgatory.purge.interval.requests").or("1")
        .meaningless("finished waits leave the purgatory at once")
        .doc("Finished DeleteRecords waits after which the waiting list is swept."),
    int("share.fetch.purgatory.purge.interval.requests").or("1000")
        .meaningless("finished waits leave the purgatory at once")
        .doc("Finished ShareFetch waits after which the waiting list is swept."),
];
