//! Which files are tailed, and where the life of each begins and ends.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use super::file::{self, Inode, TailedFile};
use super::known::KnownLife;
use super::problems::problem_of;
use super::{Tailed, Tailer, send};
use crate::checkpointer::{Event, Opened};
use crate::config::StartAt;
use crate::discovery::Found;
use crate::limits::FINGERPRINT_BYTES;
use crate::settlement::Settlement;
use crate::span::FileKey;

impl Tailer {
    /// Looks which files there are: opens new ones, and notes which are gone.
    pub(super) async fn rescan(&mut self) {
        let scan = self.parts.globs.scan();
        if let Some(watch) = &mut self.parts.watch
            && watch.set(scan.folders)
        {
            // What has come into a folder between the scan and its watch is found by the next scan.
            self.parts.hints.rescan();
        }
        let mut problems = scan.problems;
        let mut seen = BTreeSet::new();
        self.by_path.clear();
        for found in scan.files {
            let inode = Inode { device: found.device, inode: found.inode };
            if !self.files.contains_key(&inode)
                && let Err(error) = self.open(inode, &found).await
            {
                problems.push(problem_of(&found.path, &error));
                continue;
            }
            self.by_path.insert(found.path.clone(), inode);
            seen.insert(inode);
            self.found_again(inode, found).await;
        }
        for (inode, tailed) in &mut self.files {
            // In a folder that cannot be listed just now it may still be there.
            let is_there = seen.contains(inode) || is_at(*inode, &tailed.file.path);
            tailed.gone_since = if is_there { None } else { tailed.gone_since.or_else(|| Some(Instant::now())) };
        }
        self.unread.extend(self.files.iter().filter(|(_, tailed)| tailed.is_worth_a_look()).map(|(inode, _)| *inode));
        self.problems.update(problems);
        self.new_files_start_at = StartAt::Beginning;
        if std::mem::take(&mut self.parts.is_first_start) {
            send(&self.parts.events, Event::Started { flow_index: self.parts.flow_index }).await;
        }
        self.parts.metrics.open_files.set(i64::try_from(self.files.len()).unwrap_or(i64::MAX));
        self.show_lag();
    }

    async fn found_again(&mut self, inode: Inode, found: Found) {
        let Some(tailed) = self.files.get_mut(&inode) else { return };
        tailed.file.saw(found.byte_count);
        if *tailed.file.path != *found.path {
            tracing::info!(flow = self.parts.metrics.name, from = %tailed.file.path.display(), to = %found.path.display(), "file was renamed");
            tailed.file.path = Arc::from(found.path);
            let event = Event::Renamed(tailed.file.key, Arc::clone(&tailed.file.path));
            send(&self.parts.events, event).await;
        }
    }

    async fn open(&mut self, inode: Inode, found: &Found) -> io::Result<()> {
        let handle = open_without_waiting(&found.path)?;
        if Inode::of(&handle.metadata()?) != inode {
            // Replaced since the scan: the next one finds what is there now.
            self.parts.hints.rescan();
            return Ok(());
        }
        let path: Arc<Path> = Arc::from(found.path.as_path());
        let fingerprint = file::fingerprint(&handle, FINGERPRINT_BYTES)?;
        let claim = self.known.claim(inode, &path, &handle)?;
        let (key, settlement) = match claim.life.clone() {
            Some(life) => life,
            None => (self.new_key(), self.start_of_unknown(&handle)?),
        };
        let position = settlement.watermark();
        let file = TailedFile::resume(key, Arc::clone(&path), handle, fingerprint, self.parts.flow.line, settlement.clone())?;
        // From here on nothing fails: what was known is used up.
        self.known.remove(inode, &claim);
        for key in claim.forgotten {
            send(&self.parts.events, Event::Forgotten(key)).await;
        }
        tracing::debug!(flow = self.parts.metrics.name, path = %path.display(), position, "tailing file");
        let Inode { device, inode: number } = inode;
        let flow_index = self.parts.flow_index;
        let opened = Opened { file: key, flow_index, path, device, inode: number, fingerprint, settlement };
        send(&self.parts.events, Event::Opened(opened)).await;
        self.files.insert(inode, Tailed::new(file));
        Ok(())
    }

    fn start_of_unknown(&self, handle: &File) -> io::Result<Settlement> {
        let start = match self.new_files_start_at {
            StartAt::Beginning => 0,
            StartAt::End => file::start_of_last_line(handle, self.parts.flow.line)?,
        };
        Ok(Settlement::new(start, []))
    }

    /// The file was truncated: what was not read of it is gone, and it begins anew.
    pub(super) async fn begin_new_life(&mut self, inode: Inode) -> io::Result<()> {
        let key = self.new_key();
        let Some(tailed) = self.files.get_mut(&inode) else { return Ok(()) };
        let ended = tailed.file.begin_again(key)?;
        let path = Arc::clone(&tailed.file.path);
        let unreachable = ended.unreachable_byte_count;
        self.parts.metrics.unreachable_bytes.inc_by(unreachable);
        tracing::info!(
            flow = self.parts.metrics.name,
            path = %path.display(),
            read_until = ended.read_until,
            unreachable,
            "file was truncated, reading from its beginning"
        );
        let Inode { device, inode: number } = inode;
        let fingerprint = tailed.file.fingerprint;
        let flow_index = self.parts.flow_index;
        let settlement = Settlement::default();
        // First the new life, then the end of the old: were there neither row after an ending in between, the
        // file would be one never seen.
        let opened = Opened { file: key, flow_index, path, device, inode: number, fingerprint, settlement };
        send(&self.parts.events, Event::Opened(opened)).await;
        send(&self.parts.events, Event::Closed { file: ended.key, read_until: ended.read_until, keep: false }).await;
        Ok(())
    }

    /// Ends the life of a file that is gone; should it come back, it goes on where it was.
    pub(super) async fn let_go(&mut self, inode: Inode) {
        let Some(tailed) = self.files.remove(&inode) else { return };
        let read_until = tailed.file.position();
        tracing::debug!(flow = self.parts.metrics.name, path = %tailed.file.path.display(), read_until, "file is gone, letting it go");
        send(&self.parts.events, Event::Closed { file: tailed.file.key, read_until, keep: true }).await;
        let TailedFile { key, path, fingerprint, .. } = tailed.file;
        let settlement = Settlement::new(read_until, []);
        let path = path.to_string_lossy().into_owned();
        self.known.add(inode, KnownLife { key, device: inode.device, path, fingerprint, settlement });
    }

    fn new_key(&mut self) -> FileKey {
        FileKey(self.parts.random.u64(..))
    }
}

/// Opens a file. A pipe that has taken its place since the scan would keep an ordinary `open` waiting.
fn open_without_waiting(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    File::options().read(true).custom_flags(flags.cast_signed()).open(path)
}

fn is_at(inode: Inode, path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| Inode::of(&metadata) == inode)
}
