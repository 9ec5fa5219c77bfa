//! The coordinator at its boundary. Scripts with expected text are in `testdata/`: a line at the
//! margin is a command, an indented one what came of it. `UPDATE_EXPECT=1` writes them anew.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic, and the lints see only functions marked as tests"
)]

mod churn;
mod consumer;
mod golden;
mod migration;
mod model;
mod parse;
mod script;
mod show;

macro_rules! scripts {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                script::check(stringify!($name));
            }
        )*
    };
}

scripts! {
    first_rebalance
    member_id_required
    joining_again
    leaving_and_silence
    static_members
    sync_and_heartbeat
    group_size_limit
    offsets_commit_and_fetch
    offsets_delete
    offsets_expire
    describe_list_delete
    appends_fail_or_are_late
    committed_view
    loading
    other_protocols
    closing
    consumer_groups
    consumer_static_members
    consumer_regex
    consumer_commits
    consumer_migration
}
