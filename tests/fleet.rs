//! `packaging/fleet/install` on a host that is made up: its bucket is a folder, and what would change the system is written down.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const SOUND: &str = "[[flow]]\nname = 'a'\nfiles = '/var/log/nothing-is-called-so'\n[flow.kinesis]\nstream = 's'\n";

/// Copies out of the bucket.
const AWS: &str = r#"#!/bin/sh
[ "$1 $2 $3" = "s3 cp --only-show-errors" ] && exec cp "@bucket@/${4#s3://amzn-s3-demo-bucket/kinetail/}" "$5"
"#;
/// A package manager: of a package that is there it installs the agent, with a configuration where there is none. Its name is the first
/// word that is written down.
const INSTALLER: &str = r#"#!/bin/sh
for word in "$@"; do package=$word; done
[ "$package" = update ] && exit 0
[ -e "$package" ] || exit 1
ln -sf @agent@ @bin@/kinetail
mkdir -p @etc@/conf.d
[ -e @etc@/agent.toml ] || echo '# ships nothing' > @etc@/agent.toml
echo "${0##*/} ${package##*/}" >> @calls@
"#;
/// The service reloads unless that is made to fail.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "systemctl $*" >> @calls@
if [ "$1" = reload ]; then [ ! -e @etc@.broken ]; exit; fi
"#;

struct Host(TempDir);

impl Host {
    /// A host with one kind of packages, without kinetail, and a bucket that has the package of this version.
    fn new(installer: &str, package: &str) -> Self {
        let host = Self(TempDir::new().unwrap());
        for folder in ["bin", "bucket", "bucket/conf.d"] {
            fs::create_dir(host.path(folder)).unwrap();
        }
        for name in ["chgrp", "cmp", "cp", "cut", "dirname", "install", "ln", "mkdir", "mktemp", "mv", "rm"] {
            let program = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name)).into_iter().find(|path| path.exists());
            symlink(program.unwrap(), host.path("bin").join(name)).unwrap();
        }
        let mut programs =
            vec![("aws", AWS), (installer, INSTALLER), ("systemctl", SYSTEMCTL), ("uname", "#!/bin/sh\necho x86_64\n")];
        if installer == "apt-get" {
            programs.push(("dpkg", "#!/bin/sh\necho amd64\n"));
        }
        for (name, text) in programs {
            host.program(name, text);
        }
        let script = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/fleet/install")).unwrap();
        // SSM takes it for the name of a parameter.
        assert!(!script.contains("{{"));
        let of_the_system = "folder=/etc/kinetail\n";
        assert!(script.contains(of_the_system));
        host.program("script", &script.replace(of_the_system, "folder=@etc@\n"));
        host.puts(package, "a package");
        host.puts("agent.toml", SOUND);
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let mut text = text.replace("@agent@", env!("CARGO_BIN_EXE_kinetail"));
        for name in ["bin", "bucket", "calls", "etc"] {
            text = text.replace(&format!("@{name}@"), self.path(name).to_str().unwrap());
        }
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts a file into the bucket.
    fn puts(&self, name: &str, content: &str) {
        fs::write(self.path("bucket").join(name), content).unwrap();
    }

    fn configuration(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path("etc").join(name)).ok()
    }

    /// Runs the script; gives what it printed, with its exit code, and what it changed of the system.
    fn run(&self, settings: &[(&str, &str)]) -> (Output, Vec<String>) {
        let mut script = Command::new("/bin/sh");
        script.arg(self.path("bin/script")).env("PATH", self.path("bin"));
        for name in ["KINETAIL_BUCKET", "KINETAIL_VERSION", "KINETAIL_FILES"] {
            script.env_remove(name);
        }
        let output = script.envs(settings.iter().copied()).output().unwrap();
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        fs::write(self.path("calls"), "").unwrap();
        (output, calls.lines().map(str::to_owned).collect())
    }

    #[track_caller]
    fn succeeds(&self, settings: &[(&str, &str)], changes: &[&str]) {
        let (output, calls) = self.run(settings);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("no mistakes"), "{output:?}");
        assert_eq!(calls, changes);
    }
}

fn with_debs() -> Host {
    Host::new("apt-get", &format!("kinetail_{VERSION}_amd64.deb"))
}

const ENABLED: &str = "systemctl enable --quiet kinetail";
const STARTED: &str = "systemctl start kinetail";
const RELOADED: &str = "systemctl reload kinetail";

#[test]
fn a_host_without_kinetail_has_it_afterwards_and_a_second_run_changes_nothing() {
    let deb = format!("kinetail_{VERSION}_amd64.deb");
    let rpm = format!("kinetail-{VERSION}-1.x86_64.rpm");
    for (installer, package) in [("apt-get", deb), ("rpm", rpm)] {
        let host = Host::new(installer, &package);
        host.succeeds(&[("KINETAIL_VERSION", VERSION)], &[&format!("{installer} {package}"), ENABLED, STARTED, RELOADED]);
        assert_eq!(host.configuration("agent.toml").as_deref(), Some(SOUND));
        host.succeeds(&[("KINETAIL_VERSION", VERSION)], &[ENABLED, STARTED]);
    }
}

/// The version that stands in the script is that of the repository.
#[test]
fn without_settings_it_is_the_version_of_the_script() {
    let host = with_debs();
    host.succeeds(&[], &[&format!("apt-get kinetail_{VERSION}_amd64.deb"), ENABLED, STARTED, RELOADED]);
}

#[test]
fn another_configuration_is_put_in_place_and_reloaded() {
    let host = with_debs();
    assert!(host.run(&[]).0.status.success());
    let other = SOUND.replace("stream = 's'", "stream = 't'");
    host.puts("agent.toml", &other);
    host.puts("conf.d/audit.toml", &SOUND.replace("name = 'a'", "name = 'audit'"));
    let both = ("KINETAIL_FILES", "agent.toml conf.d/audit.toml");
    host.succeeds(&[both], &[ENABLED, STARTED, RELOADED]);
    assert_eq!(host.configuration("agent.toml"), Some(other));
    assert!(host.configuration("conf.d/audit.toml").unwrap().contains("'audit'"));
    let left: Vec<_> = fs::read_dir(host.path("etc")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn an_agent_that_could_not_be_told_is_told_the_next_time() {
    let host = with_debs();
    assert!(host.run(&[]).0.status.success());
    host.puts("agent.toml", &SOUND.replace("stream = 's'", "stream = 't'"));
    fs::write(host.path("etc.broken"), "").unwrap();
    assert!(!host.run(&[]).0.status.success());
    fs::remove_file(host.path("etc.broken")).unwrap();
    host.succeeds(&[], &[ENABLED, STARTED, RELOADED]);
    host.succeeds(&[], &[ENABLED, STARTED]);
}

#[test]
fn what_symbolic_links_lead_to_is_not_written_to_before_it_was_checked() {
    let host = with_debs();
    assert!(host.run(&[]).0.status.success());
    let elsewhere = host.path("elsewhere.toml");
    fs::rename(host.path("etc/agent.toml"), &elsewhere).unwrap();
    symlink(&elsewhere, host.path("etc/agent.toml")).unwrap();
    host.puts("agent.toml", &SOUND.replace("stream", "steam"));
    assert_eq!(host.run(&[]).0.status.code(), Some(78));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), SOUND);
}

#[test]
fn a_configuration_with_a_mistake_is_told_and_not_put_in_place() {
    let host = with_debs();
    assert!(host.run(&[]).0.status.success());
    host.puts("agent.toml", &SOUND.replace("stream", "steam"));
    // A second time is as the first.
    for _ in 0..2 {
        let (output, calls) = host.run(&[]);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("`steam`"), "{output:?}");
        assert_eq!((host.configuration("agent.toml").as_deref(), calls.len()), (Some(SOUND), 0), "{calls:?}");
    }
}

#[test]
fn another_version_is_installed_and_the_configuration_stays() {
    let host = with_debs();
    assert!(host.run(&[]).0.status.success());
    host.puts("kinetail_99.0.0_amd64.deb", "a package");
    host.succeeds(&[("KINETAIL_VERSION", "99.0.0")], &["apt-get kinetail_99.0.0_amd64.deb", ENABLED, STARTED]);
    assert_eq!(host.configuration("agent.toml").as_deref(), Some(SOUND));
}

#[test]
fn where_the_bucket_has_no_such_file_nothing_changes() {
    let host = with_debs();
    assert!(host.run(&[]).0.status.success());
    for settings in [("KINETAIL_FILES", "agent.toml conf.d/none.toml"), ("KINETAIL_VERSION", "98.0.0")] {
        let (output, calls) = host.run(&[settings]);
        assert!(!output.status.success());
        assert_eq!((host.configuration("agent.toml").as_deref(), calls.len()), (Some(SOUND), 0), "{calls:?}");
    }
}
