//! The commands of ottla, on top of its client.
