//! A Debian in a folder, on which packages are installed as on a host: by the programs of the distribution, with the
//! scripts of the package, as root. For rpm the same, with the rpm program of the machine that runs the tests.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::built::Format;
use crate::common::installed;

/// Whatever runs the tests: its packages are to be had everywhere.
const SUITE: &str = "bookworm";

/// What a host has anyway. `adduser` is there too, so that either way of making users can be gone.
const INCLUDED: &str = "adduser,ca-certificates,procps,systemd-standalone-sysusers";

/// The root of a system.
pub(crate) struct Host {
    folder: TempDir,
    format: Format,
}

impl Host {
    /// A fresh one, or why there is none.
    pub(crate) fn new(format: Format) -> Result<Self, String> {
        let archive = archive()?;
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        installed::run(Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(folder.path()))?;
        let host = Self { folder, format };
        if format == Format::Rpm {
            // What the packages `filesystem` and `systemd` have there.
            for folder in ["/etc/sysconfig", "/usr/share/licenses", "/usr/lib/systemd/system", "/usr/lib/sysusers.d"] {
                fs::create_dir_all(host.path(folder)).unwrap();
            }
        }
        Ok(host)
    }

    /// The path on this machine of one on the host.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    /// A program of the host.
    pub(crate) fn command(&self, user: &str, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={user}:{user}")).arg(self.folder.path()).arg(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    fn rpm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("rpm");
        // Debian's rpm has a database for each user, and does not like to install.
        command.arg("--root").arg(self.folder.path()).args(["--dbpath", "/var/lib/rpm", "--force-debian"]).args(arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Installs `package`, over whatever version is there, as who is not asked and keeps files that were edited.
    #[track_caller]
    pub(crate) fn install(&self, package: &Path) {
        let mut command = match self.format {
            Format::Deb => {
                let name = format!("/tmp/{}", package.file_name().unwrap().to_str().unwrap());
                fs::copy(package, self.path(&name)).unwrap();
                let mut dpkg = self.command("root", "dpkg");
                dpkg.args(["--force-confdef", "--force-confold", "--install", &name]);
                dpkg
            }
            Format::Rpm => {
                // The packages that it asks for are Debian's here, of which rpm does not know.
                let mut rpm = self.rpm(&["--upgrade", "--oldpackage", "--replacepkgs", "--nodeps"]);
                rpm.arg(package);
                rpm
            }
        };
        let output = installed::run(&mut command).unwrap_or_else(|why| panic!("{why}"));
        assert_quiet(&command, &output);
        if self.format == Format::Deb {
            let copies = fs::read_dir(self.path("/tmp")).unwrap().map(|entry| entry.unwrap().path());
            copies.for_each(|path| fs::remove_file(path).unwrap());
        }
    }

    /// Removes the package; files of configuration that were edited stay.
    #[track_caller]
    pub(crate) fn remove(&self) {
        self.run_quietly(match self.format {
            Format::Deb => {
                let mut dpkg = self.command("root", "dpkg");
                dpkg.args(["--remove", "kinetail"]);
                dpkg
            }
            Format::Rpm => self.rpm(&["--erase", "kinetail"]),
        });
    }

    /// Removes all that removing leaves, as the README says it is done.
    #[track_caller]
    pub(crate) fn purge(&self) {
        self.run_quietly(match self.format {
            Format::Deb => {
                let mut dpkg = self.command("root", "dpkg");
                dpkg.args(["--purge", "kinetail"]);
                dpkg
            }
            Format::Rpm => {
                let mut rm = self.command("root", "rm");
                rm.args(["-rf", "/etc/kinetail", "/var/lib/kinetail", "/etc/sysconfig/kinetail.rpmsave"]);
                rm
            }
        });
    }

    /// What differs from the installed package, a line a file.
    pub(crate) fn changed(&self) -> Vec<String> {
        let mut command = match self.format {
            Format::Deb => {
                let mut dpkg = self.command("root", "dpkg");
                dpkg.args(["--verify", "kinetail"]);
                dpkg
            }
            Format::Rpm => self.rpm(&["--verify", "--nodeps", "kinetail"]),
        };
        // It fails when it finds something.
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn run_quietly(&self, mut command: Command) {
        let output = installed::run(&mut command).unwrap_or_else(|why| panic!("{why}"));
        assert_quiet(&command, &output);
    }

    /// Owner, group and mode of a path, as `root:kinetail 0640`.
    pub(crate) fn owner_and_mode(&self, path: &str) -> String {
        let metadata = fs::symlink_metadata(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let user = self.name_of("/etc/passwd", metadata.uid());
        let group = self.name_of("/etc/group", metadata.gid());
        format!("{user}:{group} {:04o}", metadata.mode() & 0o7777)
    }

    /// The name of a number in a file of users or groups.
    fn name_of(&self, file: &str, number: u32) -> String {
        let text = fs::read_to_string(self.path(file)).unwrap();
        let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        fields
            .into_iter()
            .find(|fields| fields[2] == number.to_string())
            .map_or(number.to_string(), |fields| fields[0].to_owned())
    }

    /// Takes a program away.
    pub(crate) fn hide(&self, program: &str) {
        fs::rename(self.path(program), self.path(&format!("{program}.hidden"))).unwrap();
    }

    /// Brings it back.
    pub(crate) fn bring_back(&self, program: &str) {
        fs::rename(self.path(&format!("{program}.hidden")), self.path(program)).unwrap();
    }

    /// As if the package had never been here.
    pub(crate) fn forget_user(&self) {
        let mut userdel = self.command("root", "/usr/sbin/userdel");
        installed::run(userdel.arg("kinetail")).unwrap();
        let groups = fs::read_to_string(self.path("/etc/group")).unwrap();
        assert!(!groups.contains("kinetail"), "{groups}");
    }

    /// The calls of systemctl from now on, as on a host whose systemd runs; see [`Host::systemctl_calls`].
    pub(crate) fn run_systemd(&self) {
        fs::create_dir_all(self.path("/run/systemd/system")).unwrap();
        let systemctl = self.path("/usr/bin/systemctl");
        fs::write(&systemctl, "#!/bin/sh\necho \"$@\" >>/run/calls\n").unwrap();
        fs::set_permissions(systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What systemctl was asked for since it was asked for last, without its options.
    pub(crate) fn systemctl_calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("/run/calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("/run/calls"));
        let without_options = calls.lines().map(|call| {
            let words = call.split(' ').filter(|word| !word.starts_with("--") && !word.is_empty());
            words.collect::<Vec<_>>().join(" ")
        });
        without_options.collect()
    }

    /// Every path on the host, but for what installing any package leaves.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
                paths.insert(format!("/{}", entry.path().strip_prefix(self.folder.path()).unwrap().display()));
            }
        }
        // Of the package managers, and of the user, who stays.
        let users = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/run/adduser"];
        let others = [&["/var/lib/dpkg/", "/var/lib/rpm", "/var/log/"], users.as_slice()].concat();
        paths.retain(|path| !others.iter().any(|other| path.starts_with(other)));
        paths
    }
}

/// What package managers and systemd-sysusers say when all is well: of downgrades, of files of configuration that are kept, of
/// folders in which others have put something, and of users that are made.
const EXPECTED: &[&str] = &[
    "downgrading kinetail from",
    "Configuration file '",
    " ==> ",
    " saved as ",
    " created as ",
    "not empty so not removed",
    "Creating group 'kinetail'",
    "Creating user 'kinetail'",
];

/// Scripts that find nothing wrong say nothing.
#[track_caller]
fn assert_quiet(command: &Command, output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    let is_expected = |line: &str| line.is_empty() || EXPECTED.iter().any(|expected| line.contains(expected));
    let complaints: Vec<&str> = said.lines().filter(|line| !is_expected(line)).collect();
    assert!(complaints.is_empty(), "{command:?} complains: {complaints:#?}\n{}", String::from_utf8_lossy(&output.stdout));
}

/// The system before anything is installed; made once.
fn archive() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (archive, lock) = (folder.join(format!("{SUITE}.tar")), folder.join(format!("{SUITE}.lock")));
    // Stories run side by side; the first one makes it.
    let lock = File::create(lock).map_err(|error| error.to_string())?;
    lock.lock().unwrap();
    if !archive.exists() {
        let unfinished = folder.join(format!("{SUITE}.new.tar"));
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--mode=root", "--variant=essential", "--dpkgopt=force-unsafe-io"]);
        mmdebstrap.arg(format!("--include={INCLUDED}")).arg(SUITE).arg(&unfinished);
        // A host of this suite may have mirrors of its own.
        let own = Path::new("/etc/apt/sources.list.d/debian.sources");
        if fs::read_to_string(own).is_ok_and(|text| text.contains(SUITE)) {
            mmdebstrap.arg(own);
        }
        installed::run(&mut mmdebstrap)?;
        fs::rename(unfinished, &archive).unwrap();
    }
    Ok(archive)
}
