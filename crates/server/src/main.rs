//! The binary `ottla`: arguments, start, signals, exit code.
fn main() {}
