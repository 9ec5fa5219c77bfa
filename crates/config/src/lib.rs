//! The table of every Kafka configuration key: parse, validate, explain.
