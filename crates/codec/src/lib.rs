//! Bounded big-endian reader and writer for Kafka's wire and disk formats.
