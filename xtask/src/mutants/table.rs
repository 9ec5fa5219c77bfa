//! The bugs that `cargo xtask mutants` puts into the segment log, each with the test program that must notice.

/// One bug: a place in the sources and what stands there instead.
pub(crate) struct Mutant {
    /// What the bug is.
    pub(crate) name: &'static str,
    /// Below crates/log/src.
    pub(crate) file: &'static str,
    /// Stands in the file exactly once.
    pub(crate) find: &'static str,
    pub(crate) replace: &'static str,
    /// Test program of crate log.
    pub(crate) test: &'static str,
}

pub(crate) const MUTANTS: [Mutant; 18] = [
    Mutant {
        name: "a flush syncs no segment",
        file: "partition/flush.rs",
        find: "        for (_, file) in &self.segments {\n            file.sync()?;\n        }\n",
        replace: "",
        test: "crash",
    },
    Mutant {
        name: "a flush forgets the directory's own name",
        file: "partition/flush.rs",
        find: "Some(parent) if self.new => self.storage.sync_dir(parent),",
        replace: "Some(_) if self.new => Ok(()),",
        test: "crash",
    },
    Mutant {
        name: "a flush forgets the names of new files",
        file: "partition/flush.rs",
        find: "None if self.names => self.storage.sync_dir(&self.dir)?,",
        replace: "None if self.names => {}",
        test: "crash",
    },
    Mutant {
        name: "the durable offset is taken from after the sync",
        file: "partition/flush.rs",
        find: "self.flushed = self.flushed.max(job.end);",
        replace: "self.flushed = self.end;",
        test: "crash",
    },
    Mutant {
        name: "a failed sync does not end the log",
        file: "partition/flush.rs",
        find: "        if let Err(source) = outcome {\n            self.failed = true;\n",
        replace: "        if let Err(source) = outcome {\n",
        test: "log",
    },
    Mutant {
        name: "a flush that began before a truncation counts after it",
        file: "partition/flush.rs",
        find: "if job.truncations == self.truncations {",
        replace: "if job.truncations <= self.truncations {",
        test: "log",
    },
    Mutant {
        name: "a small file is renamed before it is synced",
        file: "storage/mod.rs",
        find: "        file.sync()?;\n        drop(file);\n        self.rename",
        replace: "        drop(file);\n        self.rename",
        test: "crash",
    },
    Mutant {
        name: "half a batch stays when the disk is full",
        file: "partition/append.rs",
        find: "            && active.keep_open(home).and_then(|file| file.set_len(size)).is_ok();",
        replace: "            && active.keep_open(home).is_ok() && size < u64::MAX;",
        test: "log",
    },
    Mutant {
        name: "recovery cuts damage off although batches follow",
        file: "recovery.rs",
        find: "        if !self.info.accept_damage\n            && let Some(detail)",
        replace: "        if self.info.accept_damage\n            && let Some(detail)",
        test: "log",
    },
    Mutant {
        name: "what is cut off is not kept",
        file: "recovery.rs",
        find: "        if position >= end {\n            return Ok(());\n        }\n        let source",
        replace: "        if position <= end {\n            return Ok(());\n        }\n        let source",
        test: "log",
    },
    Mutant {
        name: "a truncation leaves the index as it was",
        file: "segment.rs",
        find: "        self.index.truncate_where(|entry| entry.offset < offset);\n",
        replace: "",
        test: "verify",
    },
    Mutant {
        name: "a truncation leaves the epochs as they were",
        file: "partition/truncate.rs",
        find: "        self.log_start = self.log_start.min(end);\n        self.epochs.truncate_from_end(end);\n",
        replace: "        self.log_start = self.log_start.min(end);\n",
        test: "log",
    },
    Mutant {
        name: "retention passes the high watermark",
        file: "partition/retention.rs",
        find: "if upper > high_watermark || (next_base",
        replace: "if (next_base",
        test: "log",
    },
    Mutant {
        name: "compaction keeps the older of two records",
        file: "compact/filter.rs",
        find: "newest <= record.offset",
        replace: "newest >= record.offset",
        test: "compact",
    },
    Mutant {
        name: "compaction drops tombstones at once",
        file: "compact/filter.rs",
        find: "newest && (record.has_value || waits)",
        replace: "newest && (record.has_value || (waits && delete_horizon(header).is_some()))",
        test: "compact",
    },
    Mutant {
        name: "compaction takes what is not on disk",
        file: "partition/compact.rs",
        find: "stable.min(high_watermark).min(self.flushed).min(active)",
        replace: "stable.min(high_watermark).min(active)",
        test: "compact",
    },
    Mutant {
        name: "the last stable offset does not wait for the high watermark",
        file: "producer/mod.rs",
        find: "self.first_open().into_iter().chain(ended).min()",
        replace: "{ let _: Option<Offset> = ended; self.first_open() }",
        test: "transactions",
    },
    Mutant {
        name: "an aborted transaction is not listed for its marker's range",
        file: "txn_index.rs",
        find: "from <= self.last_offset && self.first_offset < end",
        replace: "from <= self.first_offset && self.first_offset < end",
        test: "transactions",
    },
];
