//! Metric registry with Kafka's MBean names and a Prometheus rendering.
