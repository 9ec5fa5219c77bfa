//! The embeddable stores that people would otherwise pick: fjall (a log-structured merge tree) and redb (a
//! copy-on-write B-tree). A batch is a value under its number.

use std::hint::black_box;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use redb::{Durability, ReadableDatabase, TableDefinition};

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("batches");

/// fjall with values beside the tree, as its documentation advises for large ones.
pub(crate) struct Fjall {
    database: Database,
    keyspace: Keyspace,
}

impl Fjall {
    pub(crate) fn open(folder: &Path) -> Self {
        let database = Database::builder(folder.join("fjall")).open().unwrap();
        let options = || {
            KeyspaceCreateOptions::default()
                .with_kv_separation(Some(KvSeparationOptions::default()))
        };
        let keyspace = database.keyspace("batches", options).unwrap();
        Self { database, keyspace }
    }

    /// Written, not synced.
    pub(crate) fn append(&self, number: u64, value: &[u8]) {
        self.keyspace.insert(number.to_be_bytes(), value).unwrap();
    }

    pub(crate) fn sync(&self) {
        self.database.persist(PersistMode::SyncData).unwrap();
    }

    pub(crate) fn get(&self, number: u64) -> usize {
        self.keyspace.get(number.to_be_bytes()).unwrap().map_or(0, |value| own(&value))
    }

    /// Bytes of all values, in their order.
    pub(crate) fn scan(&self) -> usize {
        self.keyspace.iter().map(|entry| own(&entry.value().unwrap())).sum()
    }
}

/// redb with one transaction for each batch.
pub(crate) struct Redb(redb::Database);

impl Redb {
    pub(crate) fn open(folder: &Path) -> Self {
        Self(redb::Database::create(folder.join("redb")).unwrap())
    }

    pub(crate) fn append(&self, number: u64, value: &[u8], sync: bool) {
        let mut transaction = self.0.begin_write().unwrap();
        let durability = if sync { Durability::Immediate } else { Durability::None };
        transaction.set_durability(durability).unwrap();
        transaction.open_table(TABLE).unwrap().insert(number, value).unwrap();
        transaction.commit().unwrap();
    }

    /// Many batches in one transaction, to fill it.
    pub(crate) fn fill(&self, count: u64, value: &[u8]) {
        let transaction = self.0.begin_write().unwrap();
        {
            let mut table = transaction.open_table(TABLE).unwrap();
            for number in 0..count {
                table.insert(number, value).unwrap();
            }
        }
        transaction.commit().unwrap();
    }

    /// Calls `each` with a function that gets a value's length.
    pub(crate) fn reading(&self, each: impl FnOnce(&dyn Fn(u64) -> usize)) {
        let table = self.0.begin_read().unwrap().open_table(TABLE).unwrap();
        each(&|number| table.get(number).unwrap().map_or(0, |value| own(value.value())));
    }

    /// Bytes of all values, in their order.
    pub(crate) fn scan(&self) -> usize {
        let table = self.0.begin_read().unwrap().open_table(TABLE).unwrap();
        table.range::<u64>(..).unwrap().map(|entry| own(entry.unwrap().1.value())).sum()
    }
}

// A value is a view of the store's own memory; a reader of a file ends with bytes of its own.
fn own(value: &[u8]) -> usize {
    black_box(value.to_vec()).len()
}
