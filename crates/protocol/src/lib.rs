//! Kafka's requests and responses at every version, generated from schema tables.
