//! Kafka's group coordinator as a pure state machine.
