//! Listeners, frames, back-pressure and outbound connections for Kafka's protocol.
