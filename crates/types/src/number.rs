//! Numbers that Kafka names; each is non-negative, and a negative wire value is "none".

macro_rules! wire_number {
    ($(#[$doc:meta])* $name:ident, $repr:ty, $wire:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);

            /// Reads a wire value; Kafka's negative sentinels are `None`.
            pub fn from_wire(raw: $wire) -> Option<Self> {
                <$repr>::try_from(raw).ok().map(Self)
            }

            /// The wire value.
            ///
            /// # Panics
            /// If the value does not fit, which no value that came from the wire does.
            pub fn to_wire(self) -> $wire {
                <$wire>::try_from(self.0).expect("fits the wire type")
            }

            /// The wire value of an optional number: -1 for `None`.
            pub fn option_to_wire(value: Option<Self>) -> $wire {
                value.map_or(-1, Self::to_wire)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

wire_number! {
    /// Position of a record in its partition, from 0.
    Offset, u64, i64
}
wire_number! {
    /// Counts the leaders that a partition (or the metadata quorum) has had (KIP-101).
    LeaderEpoch, u32, i32
}
wire_number! {
    /// Number of a node: `node.id`.
    NodeId, u32, i32
}
wire_number! {
    /// Identity of an idempotent producer (KIP-98).
    ProducerId, u64, i64
}
wire_number! {
    /// Incarnation of a producer id; a higher one fences the lower.
    ProducerEpoch, u16, i16
}
wire_number! {
    /// Position of a record in what one producer sends to one partition; wraps to 0 after
    /// `i32::MAX`.
    Sequence, u32, i32
}
wire_number! {
    /// Number of a partition in its topic, from 0.
    PartitionIndex, u32, i32
}
wire_number! {
    /// Counts the changes of a partition's registration (KIP-497).
    PartitionEpoch, u32, i32
}
wire_number! {
    /// Offset in the metadata log at which a broker registered.
    BrokerEpoch, u64, i64
}
wire_number! {
    /// Counts the rebalances of a classic group.
    Generation, u32, i32
}

impl Offset {
    /// The offset after this one.
    #[must_use]
    pub fn next(self) -> Self {
        self.plus(1)
    }

    /// The offset `records` further on.
    ///
    /// # Panics
    /// If the sum does not fit into 64 bits.
    #[must_use]
    pub fn plus(self, records: u64) -> Self {
        Self(self.0.checked_add(records).expect("offset overflow"))
    }

    /// Records from `earlier` (inclusive) up to this offset (exclusive); 0 if that is negative.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl LeaderEpoch {
    /// The epoch of the next leader.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl PartitionEpoch {
    /// The epoch after the next change.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Generation {
    /// The generation after the next rebalance; wraps to 1 after `i32::MAX`, as Kafka's does not
    /// use 0 for a joined group.
    #[must_use]
    pub fn next(self) -> Self {
        if self.0 >= i32::MAX.unsigned_abs() { Self(1) } else { Self(self.0 + 1) }
    }
}

impl Sequence {
    /// The sequence `records` further on, wrapping after `i32::MAX` to 0.
    #[must_use]
    pub fn plus(self, records: u32) -> Self {
        Self(self.0.wrapping_add(records) & i32::MAX.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_none_and_come_back() {
        assert_eq!(Offset::from_wire(-1), None);
        assert_eq!(Offset::from_wire(7), Some(Offset(7)));
        assert_eq!(Offset::option_to_wire(None), -1);
        assert_eq!(ProducerEpoch::from_wire(i16::MAX).map(ProducerEpoch::to_wire), Some(i16::MAX));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let last = Sequence(i32::MAX.unsigned_abs());
        assert_eq!(last.plus(1), Sequence(0));
        assert_eq!(last.plus(3), Sequence(2));
        assert_eq!(Sequence(4).plus(2), Sequence(6));
    }
}
