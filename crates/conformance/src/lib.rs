//! Foreign clients against the real binary.
//!
//! The tests start a node as a user would, drive it with clients that we did not write, and compare. Every
//! test can also run against Apache Kafka (`OTTLA_CONFORMANCE_TARGET=kafka`), which shows that it is right.
//! Nothing here knows the inside of the broker.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

mod dialogue;
mod driver;
pub mod dynamic;
mod honest;
mod members;
mod raw;
pub mod script;
mod setup;
pub mod stuck;

pub use dialogue::Dialogue;
pub use driver::{Driver, Refused};
pub use honest::Honest;
pub use raw::{RawClient, frame};
pub use setup::{Setup, repeat, run_tool, tool_class};

/// Skips the test, loudly, if Java and Kafka's jars are missing; in continuous integration that is a failure.
#[macro_export]
macro_rules! ensure_java {
    () => {
        if let Err(why) = ::ottla_testkit::Java::find() {
            let test = ::std::thread::current().name().unwrap_or("?").to_string();
            ::ottla_testkit::note_skip(&test, "java", &why.to_string());
            return Ok(());
        }
    };
}
