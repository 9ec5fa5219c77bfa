//! Newtypes for the numbers Kafka names, error codes, and the two clocks.
