//! Kafka's record batch v2: header, CRC, iteration, compression, control records.
