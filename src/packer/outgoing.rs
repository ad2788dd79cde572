//! Records that are complete, into requests: digested, compressed and encrypted where that is asked for, and collected, in the
//! order in which they were made. When, is the packer's decision.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::made::Made;
use crate::collector::{Collector, Entry};
use crate::compressor::Compressor;
use crate::config::Flow;
use crate::encryption::keys::DataKeys;

/// What is on its way from the packer of a flow to its sender.
pub(super) struct Outgoing {
    /// Records that are complete, in the order in which they are to go.
    pub(super) made: Made,
    /// None: data are not compressed.
    compressor: Option<Compressor>,
    /// None: they are not encrypted.
    keys: Option<DataKeys>,
    collector: Collector,
    requests: mpsc::Sender<Vec<Entry>>,
    packed_byte_count: u64,
    flow: String,
}

impl Outgoing {
    /// Nothing so far, for requests of at most `request_bytes`.
    pub(super) fn new(flow: &Flow, request_bytes: usize, keys: Option<DataKeys>, requests: mpsc::Sender<Vec<Entry>>) -> Self {
        Self {
            made: Made::new(),
            compressor: Compressor::new(flow.delivery.compress),
            keys,
            collector: Collector::new(request_bytes),
            requests,
            packed_byte_count: 0,
            flow: flow.name.clone(),
        }
    }

    /// Records are sent as they are made.
    pub(super) fn is_as_made(&self) -> bool {
        self.compressor.is_none() && self.keys.is_none()
    }

    /// So many bytes of a file more are packed.
    pub(super) fn packed(&mut self, byte_count: u64) {
        self.packed_byte_count += byte_count;
    }

    /// Bytes of files that are packed and not sent, those in records that are still filling too.
    pub(super) fn packed_byte_count(&self) -> u64 {
        self.packed_byte_count
    }

    /// Bytes of the records here.
    pub(super) fn byte_count(&self) -> usize {
        self.collector.byte_count() + self.made.byte_count()
    }

    /// Bytes of those that would be sent now.
    pub(super) fn collected_byte_count(&self) -> usize {
        self.collector.byte_count()
    }

    /// Enough records are made to go on with.
    pub(super) fn is_collection_due(&self) -> bool {
        let count = self.made.count();
        count > 0 && (self.made.is_due() || !self.collector.has_room_for(count, self.made.byte_count()))
    }

    /// Collects what is made; requests that are full are sent.
    pub(super) async fn collect(&mut self) {
        let mut made = std::mem::replace(&mut self.made, Made::new());
        let entries = made.complete();
        if !self.is_as_made() {
            for entry in &mut *entries {
                self.seal(entry).await;
            }
        }
        while !self.collector.try_append(entries) {
            self.send_request().await;
        }
        self.made = made;
    }

    /// What is sent instead of the data of a record that is complete. From here on they stay as they are.
    async fn seal(&mut self, entry: &mut Entry) {
        if let Some(compressor) = &mut self.compressor {
            entry.data = Bytes::copy_from_slice(compressor.compress(&entry.data));
        }
        if let Some(keys) = &mut self.keys {
            let mut sealed = Vec::new();
            keys.seal(&entry.data, &mut sealed).await;
            entry.data = sealed.into();
        }
    }

    /// Sends what is collected, if anything is.
    pub(super) async fn send_request(&mut self) {
        let entries = self.collector.take();
        if entries.is_empty() {
            return;
        }
        self.packed_byte_count -= entries.iter().map(|entry| entry.spans.byte_count()).sum::<u64>();
        if self.requests.send(entries).await.is_err() {
            // The sender is only gone when an ending has run out of time; what was read stays unsettled.
            tracing::debug!(flow = self.flow, "nobody takes requests any more");
        }
    }
}
