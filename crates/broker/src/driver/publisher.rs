//! Makes committed metadata effective in this node: partitions, configs, coordinators, and last
//! the image that requests are answered from.
//!
//! One thread, because opening logs takes time. Images that arrive while it works are skipped: it
//! always takes the newest, and the difference to the last one it made effective.

use std::sync::{Arc, OnceLock, Weak};

use ottla_metadata::{ClusterImage, ImageDelta};
use ottla_types::Offset;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::quorum::SharedImage;
use crate::dynamic_config;
use crate::shared::Shared;

#[derive(Default)]
struct Slot {
    newest: Option<SharedImage>,
    closed: bool,
}

struct Inner {
    slot: Mutex<Slot>,
    work: Condvar,
    /// Set once the node is assembled.
    shared: OnceLock<Weak<Shared>>,
    published: watch::Sender<Offset>,
}

/// Takes images from the quorum's thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Publisher(Arc<Inner>);

impl Publisher {
    /// A publisher whose thread is not started yet.
    pub(crate) fn new() -> Self {
        let (published, _) = watch::channel(Offset::ZERO);
        Self(Arc::new(Inner {
            slot: Mutex::default(),
            work: Condvar::new(),
            shared: OnceLock::new(),
            published,
        }))
    }

    /// Takes an image; an older one that nobody took yet is forgotten.
    pub(crate) fn publish(&self, image: SharedImage) {
        self.0.slot.lock().newest = Some(image);
        self.0.work.notify_one();
    }

    /// Follows the offset up to which metadata is effective here.
    pub(crate) fn published(&self) -> watch::Receiver<Offset> {
        self.0.published.subscribe()
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start(&self, shared: &Arc<Shared>) -> std::io::Result<PublisherThread> {
        let set = self.0.shared.set(Arc::downgrade(shared));
        assert!(set.is_ok(), "a publisher is started once");
        let inner = self.0.clone();
        let thread =
            std::thread::Builder::new().name("publisher".to_owned()).spawn(move || run(&inner))?;
        Ok(PublisherThread { inner: self.0.clone(), thread })
    }
}

/// The running thread.
pub(crate) struct PublisherThread {
    inner: Arc<Inner>,
    thread: std::thread::JoinHandle<()>,
}

impl PublisherThread {
    /// Ends the thread.
    pub(crate) fn stop(self) {
        self.inner.slot.lock().closed = true;
        self.inner.work.notify_one();
        if self.thread.join().is_err() {
            tracing::error!("the publisher's thread panicked");
        }
    }
}

fn run(inner: &Inner) {
    let mut last = Arc::new(ClusterImage::new());
    loop {
        let mut slot = inner.slot.lock();
        while slot.newest.is_none() && !slot.closed {
            inner.work.wait(&mut slot);
        }
        if slot.closed {
            return;
        }
        let Some(image) = slot.newest.take() else { continue };
        drop(slot);
        let Some(shared) = inner.shared.get().and_then(Weak::upgrade) else { return };
        apply(&shared, &last, &image);
        inner.published.send_replace(image.end());
        last = image;
    }
}

fn apply(shared: &Arc<Shared>, last: &ClusterImage, image: &SharedImage) {
    let delta = ImageDelta::between(last, image);
    // Before the bootstrap records there is nothing to follow, and what is on disk is not stray.
    if !delta.is_empty() && image.metadata_version().is_some() {
        dynamic_config::apply(shared, &delta, image);
        if shared.config.load().roles.broker {
            shared.replicas.apply(shared, &delta, image);
            shared.recovering.note(shared, &delta);
        }
        if let Some(groups) = shared.groups.get() {
            groups.apply(shared, &delta, image);
        }
    }
    shared.image.store(image.clone());
}
