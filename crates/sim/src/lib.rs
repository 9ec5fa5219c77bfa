//! Deterministic simulation of the quorum and the controller.
