//! Transactions and producer ids.
//!
//! Data only: names, types, defaults and bounds are those of Apache Kafka 4.3; descriptions and
//! status are ours. A row ends with its description.

use crate::key::{Key, boolean, int, short};

/// Transactions and producer ids.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    int("transaction.max.timeout.ms").or("900000").at_least(1).high().not_yet("transactions")
        .doc("Longest transaction timeout a producer may ask for."),
    int("transactional.id.expiration.ms").or("604800000").at_least(1).high().not_yet("transactions")
        .doc("Idle time after which a transactional id is forgotten."),
    boolean("transaction.partition.verification.enable").or("true").low().cluster_wide()
        .not_yet("transactions")
        .doc("Ask the coordinator, before a transactional append, whether the transaction is open."),
    boolean("transaction.two.phase.commit.enable").or("false").low().not_yet("transactions")
        .doc("Allow transactions that an outside coordinator commits (KIP-939)."),
    int("transaction.abort.timed.out.transaction.cleanup.interval.ms").or("10000").at_least(1).low()
        .not_yet("transactions")
        .doc("How often timed out transactions are looked for."),
    int("transaction.remove.expired.transaction.cleanup.interval.ms").or("3600000").at_least(1).low()
        .not_yet("transactions")
        .doc("How often expired transactional ids are looked for."),
    int("transaction.state.log.num.partitions").or("50").at_least(1).high().not_yet("transactions")
        .doc("Partitions of the transaction state topic."),
    short("transaction.state.log.replication.factor").or("3").at_least(1).high()
        .not_yet("transactions")
        .doc("Replicas of the transaction state topic."),
    int("transaction.state.log.min.isr").or("2").at_least(1).high().not_yet("transactions")
        .doc("In-sync replicas that a write to the transaction state topic needs."),
    int("transaction.state.log.segment.bytes").or("104857600").at_least(1).high()
        .not_yet("transactions")
        .doc("Segment size of the transaction state topic."),
    int("transaction.state.log.load.buffer.size").or("5242880").at_least(1).high()
        .not_yet("transactions")
        .doc("Bytes read at a time when transaction state is loaded."),
    int("add.partitions.to.txn.retry.backoff.ms").or("20").at_least(1).high()
        .not_yet("transactions")
        .doc("First pause before partitions are added to a transaction again."),
    int("add.partitions.to.txn.retry.backoff.max.ms").or("100").at_least(0).high()
        .not_yet("transactions")
        .doc("Longest time for which adding partitions to a transaction is repeated on the server."),
];
