//! Kafka's metadata records, the cluster image, and the controller's decisions.
