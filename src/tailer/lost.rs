//! Lives that have no file: what becomes of those that are missing at a start, and of those that have lost theirs.
//!
//! A life is *missing* when it was in a file when the agent ended, and no glob has led to that since. It is *lost* when its
//! file is known to be deleted, or to have other content; then what is not read of it is looked for in copies next to where
//! the file was, once, and what is not there is *given up* and counted. Any of them is *remembered*: its content may come
//! back. A file is *gone* when no glob matches it any more, and *let go* when nothing is expected of it.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;

use super::file::Inode;
use super::identity::{is_evidence, is_same_file};
use super::known::KnownLife;
use super::source::{Source, place_of_found};
use super::verdict::is_compressed_name;
use super::{Tailer, send};
use crate::checkpointer::{Event, Remains};
use crate::discovery::{Found, siblings};
use crate::limits::FINGERPRINT_BYTES;
use crate::span::FileKey;

impl Tailer {
    /// Lives that were in a file when the agent ended, and which no glob has led to: the file may have been renamed.
    pub(super) async fn find_missing(&mut self) {
        let mut folders: Vec<(PathBuf, Vec<Found>)> = Vec::new();
        for life in self.known.missing() {
            let Some(folder) = life.path.parent().map(Path::to_owned) else { continue };
            if !folders.iter().any(|(listed, _)| *listed == folder) {
                folders.push((folder.clone(), siblings(&life.path)));
            }
            let here = folders.iter().find(|(listed, _)| *listed == folder).map_or(&[][..], |(_, found)| found);
            let Some(place) = life.identity.place else { continue };
            let is_it = |found: &&Found| {
                is_same_file((place, &life.path), (place_of_found(found), &found.path), life.identity.fingerprint)
            };
            if let Some(found) = here.iter().find(is_it) {
                if found.path == life.path {
                    // No glob matches it any more: the configuration has changed.
                    continue;
                }
                let inode = Inode { device: found.device, inode: found.inode };
                if self.files.contains_key(&inode) || self.insert(inode, found).is_err() {
                    continue;
                }
                if let Some(tailed) = self.files.get_mut(&inode) {
                    (tailed.is_gone, tailed.quiet_since) = (true, Some(Instant::now()));
                    tailed.matched_path = Arc::from(life.path.as_path());
                }
                self.establish(inode).await;
            }
            // That it was deleted is only known where others are: a disk that is not mounted has an empty folder.
            let is_lost = !here.is_empty();
            if self.known.remove(life.key).is_some() {
                self.lose(KnownLife { is_lost, gone_at: Some(self.now()), ..life }).await;
            }
        }
    }

    /// Keeps a life of which the file was deleted, or has other content now.
    pub(super) async fn lose(&mut self, life: KnownLife) {
        let remains = if life.identity.place.is_some() { Remains::Place } else { Remains::Content };
        self.announce(&life).await;
        let read_until = life.settlement.watermark();
        send(&self.parts.events, Event::Closed { file: life.key, read_until, remains }).await;
        self.remember(life).await;
    }

    /// What was lost before this rescan, and in none of the files that match, may be in a copy next to where it was. What
    /// is not there either is out of reach.
    pub(super) async fn find_lost(&mut self, lost_before: &HashSet<FileKey>) {
        for mut life in self.known.lost() {
            if !lost_before.contains(&life.key) {
                // What has come meanwhile is found by the next rescan.
                self.parts.hints.rescan();
                continue;
            }
            if self.adopt_copy_of(&life).await {
                continue;
            }
            if life.identity.place.is_some() && siblings(&life.path).is_empty() {
                // As above: it may come back with its disk.
                continue;
            }
            self.give_up(&mut life).await;
        }
    }

    /// Looks for a copy of a life that was lost next to where its file was, whether or not a glob matches it.
    pub(super) async fn adopt_copy_of(&mut self, life: &KnownLife) -> bool {
        let unread_byte_count = life.unread_byte_count();
        // Without something that is not read yet there is nothing to do for it.
        let may_have_more = |byte_count| unread_byte_count > 0 || byte_count > life.settlement.end();
        for found in siblings(&life.path) {
            let inode = Inode { device: found.device, inode: found.inode };
            // How much a compressed file holds is not told by its size.
            let may_be_copy = may_have_more(found.byte_count) || is_compressed_name(&found.path);
            if self.files.contains_key(&inode) || !may_be_copy || !is_evidence(&life.path, &found.path, life.identity.fingerprint)
            {
                continue;
            }
            let is_copy = Source::open(&found.path).and_then(|mut source| {
                let is_it = Inode::of(&source.metadata()?) == inode && may_have_more(source.byte_count_told()?);
                Ok(is_it && self.life_read_furthest(&mut source, &found.path)? == Some(life.key))
            });
            if !is_copy.unwrap_or(false) || self.insert(inode, &found).is_err() {
                continue;
            }
            if let Some(tailed) = self.files.get_mut(&inode) {
                (tailed.is_gone, tailed.quiet_since) = (true, Some(Instant::now()));
            }
            if self.resume(inode, life.clone()).await.is_ok() {
                return true;
            }
            self.files.remove(&inode);
        }
        false
    }

    /// Of the lives of which this file has the content, that of which most was read.
    fn life_read_furthest(&self, source: &mut Source, path: &Path) -> io::Result<Option<FileKey>> {
        for life in self.known.beginning_with(&source.beginning(FINGERPRINT_BYTES)?) {
            if is_evidence(&life.path, path, life.identity.fingerprint) && life.is_content_of(source)? {
                return Ok(Some(life.key));
            }
        }
        Ok(None)
    }

    /// What was not read of this life cannot be read any more.
    pub(super) async fn give_up(&mut self, life: &mut KnownLife) {
        let unreachable = life.unread_byte_count();
        self.known.remove(life.key);
        if unreachable == 0 {
            return self.remember(KnownLife { is_lost: false, ..life.clone() }).await;
        }
        self.parts.metrics.unreachable_bytes.inc_by(unreachable);
        let (flow, path) = (&self.parts.metrics.name, life.path.display());
        tracing::warn!(flow, %path, unreachable, "bytes of this file were deleted or overwritten before they were read");
        life.identity.byte_count -= unreachable;
        self.lose(KnownLife { is_lost: false, ..life.clone() }).await;
    }

    /// What is lost now is not waited for.
    pub(super) async fn give_up_all(&mut self) {
        for mut life in self.known.lost() {
            self.give_up(&mut life).await;
        }
    }

    /// Keeps a life for the case that it goes on.
    pub(super) async fn remember(&mut self, life: KnownLife) {
        if let Some(forgotten) = self.known.add(life) {
            send(&self.parts.events, Event::Forgotten(forgotten)).await;
        }
    }
}
