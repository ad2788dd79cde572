//! What happens on a host, step by step.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::classes::{CLASSES, Class, DESTRUCTIVE};
use crate::features::{Feature, is_on};
use crate::host::{Deed, Globs, Host, Keep, Purpose};

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Do(Deed),
    Pass(Duration),
    /// Nothing is delivered for so long.
    BlackOut(Duration),
    NewProgram,
    Stop,
    Abort,
    Kill,
}

const PROGRAMS_MAX: usize = 4;
/// Numbers that logrotate keeps.
const KEPT_MAX: u32 = 3;

/// The steps of a class, on this host as it is now.
pub(crate) fn steps(class: Class, host: &Host, rng: &mut fastrand::Rng) -> Vec<Step> {
    if class != Class::Burst {
        return Drawing { host, program: rng.usize(..host.programs.len()), rng, steps: Vec::new() }.of(class);
    }
    let is_possible = |class: &&Class| CLASSES.iter().any(|(of, _, needs)| of == *class && needs.is_none_or(is_on));
    let possible: Vec<Class> = DESTRUCTIVE.iter().filter(is_possible).copied().collect();
    let mut burst = Vec::new();
    for _ in 0..rng.usize(2..6) {
        let class = if rng.u8(..3) == 0 { Class::Append } else { possible[rng.usize(..possible.len())] };
        burst.extend(steps(class, host, rng));
    }
    burst.retain(|step| matches!(step, Step::Do(_)));
    burst
}

/// Steps being drawn, most of them for one program.
struct Drawing<'a> {
    host: &'a Host,
    program: usize,
    rng: &'a mut fastrand::Rng,
    steps: Vec<Step>,
}

impl Drawing<'_> {
    fn of(mut self, class: Class) -> Vec<Step> {
        let program = self.program;
        let path = self.host.programs[program].path.clone();
        match class {
            Class::Append => self.append(),
            Class::AppendPart => self.push(Deed::AppendPart { program }),
            Class::AppendLong => self.push(Deed::AppendLong { program }),
            Class::Moment => self.pass_ms(900),
            Class::Pass => self.pass_ms(25_000),
            Class::LongPass => {
                let seconds = self.rng.u64(60..300);
                self.steps.push(Step::Pass(Duration::from_secs(seconds)));
            }
            Class::BlackOut => {
                let seconds = self.rng.u64(5..200);
                self.steps.push(Step::BlackOut(Duration::from_secs(seconds)));
            }
            Class::NewProgram if self.host.programs.len() < PROGRAMS_MAX => self.steps.push(Step::NewProgram),
            Class::RotateWithin => self.rotate(Self::name_within),
            Class::RotateOut => self.rotate(Self::name_out),
            Class::RotateAway => self.rotate(Self::name_away),
            Class::StartDated => {
                let path = self.dated();
                self.push(Deed::Start { program, path });
            }
            Class::StartAway => {
                let path = self.name_away();
                self.push(Deed::Start { program, path });
            }
            Class::Shift => {
                self.shift();
                self.push(Deed::Rename { from: path.clone(), to: numbered(&path, 1) });
                self.reopen();
            }
            Class::ShiftCopying => {
                self.shift();
                self.copy_truncate(|of| numbered(&of.path(), 1));
            }
            Class::ShiftCompressing => {
                self.shift();
                self.push(Deed::Rename { from: path.clone(), to: numbered(&path, 1) });
                self.reopen();
                // As with `delaycompress`, or at once.
                let number = self.rng.u32(1..=2);
                self.compress(numbered(&path, number));
            }
            Class::CopyTruncate => self.copy_truncate(Self::name_of_copy),
            Class::CopyTruncateAway => self.copy_truncate(Self::name_away),
            Class::CopyTwice => {
                self.copy_truncate(Self::name_of_copy);
                if self.rng.bool() {
                    self.append();
                }
                self.copy_truncate(Self::name_of_copy);
            }
            Class::Copy => {
                let to = self.name_of_copy();
                self.push(Deed::Copy { from: path, to, purpose: Purpose::Keeping });
            }
            Class::CopyAway => {
                let to = self.name_away();
                self.push(Deed::Copy { from: path, to, purpose: Purpose::Keeping });
            }
            Class::Truncate => {
                self.push(Deed::Truncate { path, keep: Keep::Nothing });
                self.perhaps_append();
            }
            Class::TruncateToLines => {
                self.push(Deed::Truncate { path, keep: Keep::Lines });
                self.perhaps_pass();
                self.perhaps_append();
            }
            Class::Rewrite => self.push(Deed::Rewrite { program, keep: Keep::Nothing }),
            Class::RewriteBehindHead => self.push(Deed::Rewrite { program, keep: Keep::Head }),
            Class::RewriteToSize => self.push(Deed::RewriteToSize { program }),
            Class::Compress => {
                if let Some(other) = self.other() {
                    self.compress(other);
                }
            }
            Class::Delete => {
                self.push(Deed::Unlink { path });
                self.perhaps_append();
                self.perhaps_pass();
                self.reopen();
            }
            Class::DeleteOther => {
                if let Some(path) = self.other() {
                    self.push(Deed::Unlink { path });
                }
            }
            Class::Recreate => {
                self.push(Deed::Unlink { path });
                self.push(Deed::Reopen { program });
                self.append();
            }
            Class::Replace => self.push(Deed::Replace { program }),
            Class::HardLink => {
                let to = if self.rng.bool() { self.name_within() } else { self.name_away() };
                self.push(Deed::HardLink { from: path, to });
            }
            Class::Symlink => {
                let to = if self.rng.bool() { self.name_within() } else { self.name_away() };
                let from = self.other().filter(|_| self.rng.bool()).unwrap_or(path);
                self.push(Deed::Symlink { from, to });
            }
            Class::MoveOther => {
                let to = match self.rng.u8(..3) {
                    0 => self.name_within(),
                    1 => self.name_out(),
                    _ => self.name_away(),
                };
                if let Some(from) = self.other().filter(|from| !is_compressed(from)) {
                    self.push(Deed::Rename { from, to });
                }
            }
            Class::Stop => self.steps.push(Step::Stop),
            Class::Abort => self.steps.push(Step::Abort),
            Class::Kill => self.steps.push(Step::Kill),
            Class::NewProgram | Class::Burst => {}
        }
        self.steps
    }

    fn path(&self) -> PathBuf {
        self.host.programs[self.program].path.clone()
    }

    fn push(&mut self, deed: Deed) {
        self.steps.push(Step::Do(deed));
    }

    fn pass_ms(&mut self, ms_max: u64) {
        let ms = self.rng.u64(1..=ms_max);
        self.steps.push(Step::Pass(Duration::from_millis(ms)));
    }

    fn perhaps_pass(&mut self) {
        if self.rng.u8(..3) == 0 {
            self.pass_ms(30_000);
        }
    }

    fn append(&mut self) {
        let line_count = self.rng.usize(1..8);
        self.push(Deed::Append { program: self.program, line_count });
    }

    fn perhaps_append(&mut self) {
        if self.rng.bool() {
            self.append();
        }
    }

    /// The program notices at once, or goes on for a while with the file that was renamed or deleted.
    fn reopen(&mut self) {
        match self.rng.u8(..9) {
            0 | 1 => {
                self.perhaps_append();
                self.perhaps_pass();
                self.perhaps_append();
            }
            2 => {
                for _ in 0..self.rng.u8(3..8) {
                    self.append();
                    self.pass_ms(19_000);
                }
            }
            _ => {}
        }
        self.push(Deed::Reopen { program: self.program });
    }

    fn rotate(&mut self, name: impl FnOnce(&mut Self) -> PathBuf) {
        let (from, to) = (self.path(), name(self));
        self.push(Deed::Rename { from, to });
        self.reopen();
    }

    fn shift(&mut self) {
        let path = self.path();
        for ending in ["", ".gz"] {
            let name = |number| with_ending(&numbered(&path, number), ending);
            self.push(Deed::Unlink { path: name(KEPT_MAX) });
            for number in (1..KEPT_MAX).rev() {
                self.push(Deed::Rename { from: name(number), to: name(number + 1) });
            }
        }
    }

    fn copy_truncate(&mut self, name: impl FnOnce(&mut Self) -> PathBuf) {
        let (path, to) = (self.path(), name(self));
        if self.rng.u8(..6) == 0 {
            // An empty file is copied, or one that is as good as that.
            self.push(Deed::Truncate { path: path.clone(), keep: Keep::Nothing });
            self.perhaps_append();
        }
        self.push(Deed::Copy { from: path.clone(), to, purpose: Purpose::Truncation });
        self.perhaps_pass();
        if self.rng.u8(..4) == 0 {
            // These lines are in no copy.
            self.append();
        }
        if self.rng.u8(..4) == 0 {
            self.push(Deed::Rewrite { program: self.program, keep: Keep::Nothing });
        } else {
            self.push(Deed::Truncate { path, keep: Keep::Nothing });
            self.perhaps_append();
        }
    }

    fn compress(&mut self, from: PathBuf) {
        if is_compressed(&from) {
            return;
        }
        let to = with_ending(&from, ".gz");
        let through = (self.rng.u8(..3) == 0).then(|| self.host.logs().join(".compressing"));
        if through.is_none() && self.rng.bool() {
            self.push(Deed::BeginCompressing { from: from.clone(), to: to.clone() });
            self.pass_ms(15_000);
        }
        self.push(Deed::Compress { from, to, through });
    }

    /// A file that no program writes to by this name.
    fn other(&mut self) -> Option<PathBuf> {
        let mut others = self.host.others();
        // One that comes into the globs would be sent.
        others.retain(|path| is_on(Feature::Copies) || !self.host.is_copy(path));
        (!others.is_empty()).then(|| others[self.rng.usize(..others.len())].clone())
    }

    fn name_within(&mut self) -> PathBuf {
        match self.host.globs {
            Globs::Narrow => self.dated(),
            Globs::Wide => self.counted(&self.host.logs(), ".log."),
            Globs::Deep if self.rng.bool() => self.counted(&self.host.logs(), ".log."),
            Globs::Deep => self.counted(&self.host.old(), ".log."),
        }
    }

    fn name_out(&mut self) -> PathBuf {
        match self.host.globs {
            Globs::Narrow => self.counted(&self.host.logs(), ".log."),
            Globs::Wide | Globs::Deep => self.counted(&self.host.logs(), ".old."),
        }
    }

    fn name_away(&mut self) -> PathBuf {
        self.counted(&self.host.away(), ".log.")
    }

    fn name_of_copy(&mut self) -> PathBuf {
        let path = self.path();
        let number = self.number();
        let folder = if self.rng.u8(..5) == 0 { self.host.old() } else { self.host.logs() };
        numbered(&folder.join(path.file_name().unwrap()), number)
    }

    fn dated(&mut self) -> PathBuf {
        let number = self.number();
        self.host.logs().join(format!("{}-{number}.log", self.letter()))
    }

    fn counted(&mut self, folder: &Path, between: &str) -> PathBuf {
        let number = self.number();
        folder.join(format!("{}{between}{number}", self.letter()))
    }

    fn letter(&self) -> char {
        char::from(b'a' + u8::try_from(self.program).unwrap())
    }

    /// Unlike any before, and any of logrotate's.
    fn number(&mut self) -> u32 {
        self.rng.u32(100_000..1_000_000)
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    with_ending(path, &format!(".{number}"))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}
