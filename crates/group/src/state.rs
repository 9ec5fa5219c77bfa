//! States of a classic group, and which may follow which.

/// State of a classic group.
///
/// | from | to | when |
/// |---|---|---|
/// | Empty | PreparingRebalance (first) | a member joins |
/// | PreparingRebalance | CompletingRebalance | all have joined, or the time to join is up |
/// | PreparingRebalance | Empty | the time is up or the last member left, and nobody is in |
/// | CompletingRebalance | Stable | the leader's assignment is committed |
/// | CompletingRebalance | PreparingRebalance | a member joins, leaves or is silent; the assignment cannot be stored |
/// | Stable | PreparingRebalance | a member joins with new metadata, leaves or is silent; the leader joins |
/// | any but Dead | Dead | the shard is given up |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No members; perhaps offsets.
    Empty,
    /// Members are to join.
    PreparingRebalance(Gathering),
    /// Members are in, and wait for the leader's assignment.
    CompletingRebalance,
    /// Every member can have its assignment.
    Stable,
    /// Given up.
    Dead,
}

/// How a group waits for its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gathering {
    /// The group was empty: wait a fixed time, longer while new members arrive.
    First {
        /// Whether one arrived since the wait was last extended.
        new_member: bool,
    },
    /// Wait for the members it had.
    Again,
}

impl State {
    /// Kafka's name.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance(_) => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }

    /// The table above.
    pub(crate) const fn may_become(&self, next: &Self) -> bool {
        use State::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
        match next {
            Empty | CompletingRebalance => matches!(self, PreparingRebalance(_)),
            PreparingRebalance(Gathering::First { .. }) => matches!(self, Empty),
            PreparingRebalance(Gathering::Again) => matches!(self, Stable | CompletingRebalance),
            Stable => matches!(self, CompletingRebalance),
            Dead => !matches!(self, Dead),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_doc_is_true() {
        let first = State::PreparingRebalance(Gathering::First { new_member: false });
        let again = State::PreparingRebalance(Gathering::Again);
        let all =
            [State::Empty, first, again, State::CompletingRebalance, State::Stable, State::Dead];
        let mut got = String::new();
        for from in all {
            let next = all.iter().filter(|to| from.may_become(to));
            let next: Vec<String> = next.map(|to| format!("{to:?}")).collect();
            got += &format!("{from:?} -> {}\n", next.join(", "));
        }
        assert_eq!(
            got,
            "\
Empty -> PreparingRebalance(First { new_member: false }), Dead
PreparingRebalance(First { new_member: false }) -> Empty, CompletingRebalance, Dead
PreparingRebalance(Again) -> Empty, CompletingRebalance, Dead
CompletingRebalance -> PreparingRebalance(Again), Stable, Dead
Stable -> PreparingRebalance(Again), Dead
Dead -> 
"
        );
    }
}
