//! Segmented crash-safe log of Kafka record batches.
