//! Which batches belong to aborted transactions, and which markers still have data before them
//! (Kafka's `CleanedTransactionMetadata`).
//!
//! Fed with the batches of a log in order, and with the aborted transactions that its index names.

use std::collections::{BTreeMap, HashMap, HashSet};

use ottla_record::{BatchHeader, ControlType};
use ottla_types::{Offset, ProducerId};

use crate::txn_index::AbortedTransaction;

/// An aborted transaction that is being walked over.
#[derive(Debug)]
struct Aborted {
    entry: AbortedTransaction,
    data_seen: bool,
}

/// What the walk over a log knows of its transactions.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    committing: HashSet<ProducerId>,
    aborting: HashMap<ProducerId, Aborted>,
    /// Those to come, by first offset; no two begin with the same record.
    ahead: BTreeMap<Offset, AbortedTransaction>,
}

impl Transactions {
    /// Aborted transactions of the part that is walked over next.
    pub(crate) fn add(&mut self, aborted: impl Iterator<Item = AbortedTransaction>) {
        self.ahead.extend(aborted.map(|entry| (entry.first_offset, entry)));
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(first) = self.ahead.first_entry().filter(|first| *first.key() <= offset) {
            let entry = first.remove();
            // One that reaches over several segments is added with each of them.
            let aborted = || Aborted { entry, data_seen: false };
            self.aborting.entry(entry.producer_id).or_insert_with(aborted);
        }
    }

    /// A batch of data; true if it was aborted, and may go.
    pub(crate) fn on_data(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        let Some(id) = header.producer_id.filter(|_| header.attributes.is_transactional()) else {
            return false;
        };
        match self.aborting.get_mut(&id) {
            Some(aborted) => {
                aborted.data_seen = true;
                true
            }
            None => {
                self.committing.insert(id);
                false
            }
        }
    }

    /// A control batch, with what its record says if it still has one. The first answer is whether
    /// no data of its transaction is left, the second what the index must go on saying.
    pub(crate) fn on_control(
        &mut self,
        header: &BatchHeader,
        control: Option<ControlType>,
    ) -> (bool, Option<AbortedTransaction>) {
        self.begin_up_to(header.last_offset());
        let id = header.producer_id;
        match control {
            Some(ControlType::Abort) => match id.and_then(|id| self.aborting.remove(&id)) {
                Some(aborted) if aborted.data_seen => (false, Some(aborted.entry)),
                _ => (true, None),
            },
            Some(ControlType::Commit) => (!id.is_some_and(|id| self.committing.remove(&id)), None),
            Some(_) => (false, None),
            // Only a batch that was compacted before has none.
            None => (true, None),
        }
    }
}
