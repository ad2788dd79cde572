//! What programs and people do to files.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Body, BodyId, Host, Name, Origin, Place, Program, Purpose, Unfinished};
use crate::features::{Feature, is_on};
use crate::lines::LineId;

/// Bytes by which the agent tells one file from another, as README says.
const HEAD_BYTES: u64 = 1024;

/// How much of a file is left when it is truncated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    Nothing,
    /// Some lines, but not all.
    Lines,
    /// As little as a file has to begin with to be told from another.
    Head,
}

/// Of the lines that fill a file to a size.
const LINE_BYTES: usize = 300_000;

/// What happens to files in one moment.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Append {
        program: usize,
        line_count: usize,
    },
    AppendLong {
        program: usize,
    },
    AppendPart {
        program: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Reopen {
        program: usize,
    },
    /// A program begins a new file, and leaves the one it had where it is.
    Start {
        program: usize,
        path: PathBuf,
    },
    Copy {
        from: PathBuf,
        to: PathBuf,
        purpose: Purpose,
    },
    Truncate {
        path: PathBuf,
        keep: Keep,
    },
    /// Truncates a program's file and writes more than there was.
    Rewrite {
        program: usize,
        keep: Keep,
    },
    /// Truncates a program's file and writes as much as there was.
    RewriteToSize {
        program: usize,
    },
    Unlink {
        path: PathBuf,
    },
    BeginCompressing {
        from: PathBuf,
        to: PathBuf,
    },
    /// Through a temporary file, where one is given.
    Compress {
        from: PathBuf,
        to: PathBuf,
        through: Option<PathBuf>,
    },
    /// Puts a new file with some lines in place of a program's.
    Replace {
        program: usize,
    },
    HardLink {
        from: PathBuf,
        to: PathBuf,
    },
    Symlink {
        from: PathBuf,
        to: PathBuf,
    },
}

/// What a deed changed, as far as somebody could be owed something for it.
pub(crate) enum Change {
    /// From `before` bytes on; until now it was as it is since `unchanged_since`.
    Grown { body: BodyId, before: u64, unchanged_since: Duration },
    /// `kept` bytes are left of it.
    Truncated { body: BodyId, kept: u64, lost: Vec<Place>, lost_bytes: u64, unchanged_since: Duration },
    /// `to` has the lines of `from`.
    Derived { from: BodyId, to: BodyId },
}

impl Host {
    /// Does it, if it can be done just now.
    pub(crate) fn do_it(&mut self, deed: &Deed, rng: &mut fastrand::Rng) -> Vec<Change> {
        match deed {
            Deed::Append { program, line_count } => {
                for _ in 0..*line_count {
                    self.append_line(*program, rng);
                }
                self.avoid_former_size(*program, rng);
            }
            Deed::AppendLong { program } => {
                self.finish_line(*program);
                for _ in 0..rng.usize(4..16) {
                    let line = self.lines.begin_long(*program, rng);
                    self.write_line(*program, line);
                }
                self.avoid_former_size(*program, rng);
            }
            Deed::AppendPart { program } => {
                self.append_part(*program, rng);
                self.avoid_former_size(*program, rng);
            }
            Deed::Rename { from, to } => self.rename(from, to),
            Deed::Reopen { program } => self.reopen(*program),
            Deed::Start { program, path } => {
                self.programs[*program].path.clone_from(path);
                self.reopen(*program);
            }
            Deed::Copy { from, to, purpose } => self.copy(from, to, *purpose),
            Deed::Truncate { path, keep } => self.truncate(path, *keep, rng),
            Deed::Rewrite { program, keep } => self.rewrite(*program, *keep, rng),
            Deed::RewriteToSize { program } => self.rewrite_to_size(*program, rng),
            Deed::Unlink { path } => self.unlink(path),
            Deed::BeginCompressing { from, to } => self.begin_compressing(from, to),
            Deed::Compress { from, to, through } => self.compress(from, to, through.as_deref()),
            Deed::Replace { program } => self.replace(*program, rng),
            Deed::HardLink { from, to } => self.link(from, to),
            Deed::Symlink { from, to } => {
                if self.is_free(to) && !self.is_free(from) {
                    std::os::unix::fs::symlink(from, to).unwrap();
                    self.names.insert(to.clone(), Name::Link(from.clone()));
                }
            }
        }
        self.note_names();
        std::mem::take(&mut self.changes)
    }

    fn append_line(&mut self, program: usize, rng: &mut fastrand::Rng) {
        self.finish_line(program);
        let line = self.lines.begin(program, rng);
        self.write_line(program, line);
    }

    fn write_line(&mut self, program: usize, line: LineId) {
        let text = self.lines.text(line);
        self.write(program, &[&text, b"\n".as_slice()].concat());
        self.complete(program, line);
    }

    /// A file that was truncated and is as long again as what was read of it.
    fn avoid_former_size(&mut self, program: usize, rng: &mut fastrand::Rng) {
        let has_former_size = |body: &Body| body.former_ends.contains(&body.byte_count);
        while !is_on(Feature::SameSize) && has_former_size(&self.bodies[self.programs[program].body.0]) {
            self.append_line(program, rng);
        }
    }

    /// What a program does before it begins another line.
    fn finish_line(&mut self, program: usize) {
        if !self.bodies[self.programs[program].body.0].is_writable() {
            self.reopen(program);
        }
        let body = self.programs[program].body;
        let Some(Unfinished { line, byte_count }) = self.bodies[body.0].unfinished.take() else { return };
        let rest = [&self.lines.text(line)[byte_count..], b"\n"].concat();
        self.write(program, &rest);
        self.complete(program, line);
    }

    /// Begins a line, or goes on with the one that was begun.
    fn append_part(&mut self, program: usize, rng: &mut fastrand::Rng) {
        let body = self.programs[program].body;
        let begun = self.bodies[body.0].unfinished.filter(|_| self.bodies[body.0].is_writable());
        let (line, from) = match begun {
            Some(unfinished) => (unfinished.line, unfinished.byte_count),
            None => {
                self.finish_line(program);
                (self.lines.begin(program, rng), 0)
            }
        };
        let text = self.lines.text(line);
        let to = self.lines.cut(line, rng).max(from);
        self.write(program, &text[from..to]);
        self.bodies[self.programs[program].body.0].unfinished = Some(Unfinished { line, byte_count: to });
    }

    fn write(&mut self, program: usize, bytes: &[u8]) {
        let Program { writer, body, .. } = &mut self.programs[program];
        writer.as_mut().unwrap().write_all(bytes).unwrap();
        let id = *body;
        let body = &mut self.bodies[id.0];
        self.changes.push(Change::Grown { body: id, before: body.byte_count, unchanged_since: body.last_growth });
        body.byte_count += bytes.len() as u64;
        body.last_growth = self.now;
    }

    fn complete(&mut self, program: usize, line: LineId) {
        let body = &mut self.bodies[self.programs[program].body.0];
        body.places.push(Place { line, end: body.byte_count, at: self.now });
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let Some(Name::File(body)) = self.names.get(from) else { return };
        let body = *body;
        let replaced = self.body_at(to);
        if replaced == Some(body) {
            // Two names of one file: the system does nothing.
            return;
        }
        if let Some(replaced) = replaced {
            self.note(replaced, &format!("replaced at {}", to.display()));
        }
        fs::rename(from, to).unwrap();
        self.names.remove(from);
        self.names.insert(to.to_owned(), Name::File(body));
        self.bodies[body.0].renamed_at = Some(self.now);
        self.bodies[body.0].has_moved |= from.parent() != to.parent();
        self.note(body, &format!("renamed from {} to {}", from.display(), to.display()));
    }

    /// As programs do when they are told that their file was turned over.
    fn reopen(&mut self, program: usize) {
        let path = self.programs[program].path.clone();
        let is_usable = |body: BodyId| self.bodies[body.0].is_writable();
        if self.body_at(&path).is_some_and(is_usable) {
            let writer = File::options().append(true).open(&path).unwrap();
            let body = self.body_at(&path).unwrap();
            (self.programs[program].body, self.programs[program].writer) = (body, Some(writer));
            return;
        }
        // The inode of a file that nobody has open is free for the next.
        self.programs[program].writer = None;
        self.unlink(&path);
        let (body, writer) = self.create(&path);
        (self.programs[program].body, self.programs[program].writer) = (body, Some(writer));
    }

    fn copy(&mut self, from: &Path, to: &Path, purpose: Purpose) {
        let Some(original) = self.body_at(from).filter(|_| self.is_free(to)) else { return };
        fs::copy(from, to).unwrap();
        let origin = Origin::Copied { from: original, purpose, truncated_at: None };
        let copy = self.add_body(to, origin, &format!("copied from {} to {}", from.display(), to.display()));
        self.take_lines(original, copy);
        self.changes.push(Change::Derived { from: original, to: copy });
    }

    fn take_lines(&mut self, from: BodyId, to: BodyId) {
        let Body { places, unfinished, byte_count, overwritten_until, .. } = &self.bodies[from.0];
        let places = places.iter().map(|place| Place { at: self.now, ..*place }).collect();
        let (unfinished, byte_count, overwritten_until) = (*unfinished, *byte_count, *overwritten_until);
        let body = &mut self.bodies[to.0];
        (body.places, body.unfinished, body.byte_count) = (places, unfinished, byte_count);
        body.overwritten_until = overwritten_until;
    }

    fn truncate(&mut self, path: &Path, keep: Keep, rng: &mut fastrand::Rng) {
        let Some(id) = self.body_at(path) else { return };
        let body = &mut self.bodies[id.0];
        let kept = match keep {
            Keep::Nothing => 0,
            Keep::Lines => body.places.get(rng.usize(..body.places.len().max(1))).map_or(0, |place| place.end),
            Keep::Head => body.places.iter().map(|place| place.end).find(|end| *end >= HEAD_BYTES).unwrap_or(0),
        };
        File::options().write(true).open(path).unwrap().set_len(kept).unwrap();
        let lost: Vec<Place> = body.places.iter().copied().filter(|place| place.end > kept).collect();
        body.places.retain(|place| place.end <= kept);
        body.unfinished = None;
        let lost_bytes = body.byte_count - kept;
        body.overwritten_until = if kept > 0 { body.overwritten_until.max(body.byte_count) } else { 0 };
        body.byte_count = kept;
        body.is_held_back = kept >= HEAD_BYTES && !is_on(Feature::KeptHead);
        body.former_ends.extend(lost.iter().map(|place| place.end));
        let unchanged_since = std::mem::replace(&mut body.last_growth, self.now);
        body.begun_at = self.now;
        for copy in &mut self.bodies {
            if let Origin::Copied { from, truncated_at, purpose: Purpose::Truncation } = &mut copy.origin
                && *from == id
                && kept == 0
            {
                truncated_at.get_or_insert(self.now);
            }
        }
        self.note(id, &format!("truncated to {kept} bytes by {lost_bytes}"));
        self.changes.push(Change::Truncated { body: id, kept, lost, lost_bytes, unchanged_since });
    }

    fn rewrite(&mut self, program: usize, keep: Keep, rng: &mut fastrand::Rng) {
        let Program { path, body, .. } = &self.programs[program];
        let (path, body) = (path.clone(), *body);
        if self.body_at(&path) != Some(body) || !self.bodies[body.0].is_writable() {
            return;
        }
        let before = self.bodies[body.0].byte_count;
        self.truncate(&path, keep, rng);
        while self.bodies[body.0].byte_count <= before {
            self.append_line(program, rng);
        }
        self.avoid_former_size(program, rng);
    }

    fn rewrite_to_size(&mut self, program: usize, rng: &mut fastrand::Rng) {
        let Program { path, body, .. } = &self.programs[program];
        let (path, body) = (path.clone(), *body);
        if self.body_at(&path) != Some(body) || !self.bodies[body.0].is_writable() {
            return;
        }
        let before = usize::try_from(self.bodies[body.0].byte_count).unwrap();
        self.truncate(&path, Keep::Nothing, rng);
        let mut left = before;
        while left > 0 {
            // No longer than a line may be; the last is never the shortest.
            let byte_count = if left > 2 * LINE_BYTES { LINE_BYTES } else { left };
            let line = self.lines.begin_of(program, byte_count, rng);
            self.write_line(program, line);
            left -= byte_count;
        }
    }

    fn unlink(&mut self, path: &Path) {
        let body = self.body_at(path);
        if self.names.remove(path).is_some() {
            fs::remove_file(path).unwrap();
            if let Some(body) = body {
                self.note(body, &format!("unlinked {}", path.display()));
            }
        }
    }

    fn begin_compressing(&mut self, from: &Path, to: &Path) {
        let Some(original) = self.body_at(from).filter(|_| self.is_free(to) && self.has_one_name(from)) else { return };
        let compressed = gzipped(from);
        fs::write(to, &compressed[..compressed.len() / 2]).unwrap();
        let what =
            format!("{} of {} bytes half compressed to {}", from.display(), self.bodies[original.0].byte_count, to.display());
        self.add_body(to, Origin::Compressed { from: original, is_complete: false }, &what);
    }

    fn compress(&mut self, from: &Path, to: &Path, through: Option<&Path>) {
        let half =
            self.body_at(to).filter(|body| matches!(self.bodies[body.0].origin, Origin::Compressed { is_complete: false, .. }));
        let is_possible = half.is_some() || self.is_free(to) && self.has_one_name(from);
        let Some(original) = self.body_at(from).filter(|_| is_possible) else { return };
        let compressed = gzipped(from);
        let body = match half {
            Some(body) => {
                let begun = fs::metadata(to).unwrap().len();
                let mut writer = File::options().append(true).open(to).unwrap();
                writer.write_all(&compressed[usize::try_from(begun).unwrap()..]).unwrap();
                body
            }
            None => {
                fs::write(through.unwrap_or(to), compressed).unwrap();
                if let Some(through) = through {
                    fs::rename(through, to).unwrap();
                }
                self.add_body(to, Origin::Compressed { from: original, is_complete: false }, &format!("made as {}", to.display()))
            }
        };
        self.bodies[body.0].origin = Origin::Compressed { from: original, is_complete: true };
        self.bodies[body.0].begun_at = self.now;
        self.note(body, &format!("is all of {}", from.display()));
        self.take_lines(original, body);
        self.changes.push(Change::Derived { from: original, to: body });
        self.unlink(from);
    }

    fn replace(&mut self, program: usize, rng: &mut fastrand::Rng) {
        let path = self.programs[program].path.clone();
        let temporary = self.logs().join(".replacement");
        let (body, writer) = self.create(&temporary);
        (self.programs[program].body, self.programs[program].writer) = (body, Some(writer));
        for _ in 0..rng.usize(..5) {
            self.append_line(program, rng);
        }
        self.rename(&temporary, &path);
        self.bodies[body.0].renamed_at = None;
    }

    fn link(&mut self, from: &Path, to: &Path) {
        let Some(Name::File(body)) = self.names.get(from) else { return };
        let body = *body;
        if self.is_free(to) {
            fs::hard_link(from, to).unwrap();
            self.names.insert(to.to_owned(), Name::File(body));
            self.note(body, &format!("linked as {}", to.display()));
        }
    }
}

fn gzipped(path: &Path) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&fs::read(path).unwrap()).unwrap();
    encoder.finish().unwrap()
}
