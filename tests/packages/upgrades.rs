//! The life of a package on a host.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::built::{self, Built, Format, OLDER, Older};
use crate::common::{Kinesis, installed, lines, verify};
use crate::host::Host;

const CONFIG: &str = "/etc/kinetail/agent.toml";

/// A file of the administrator's, of which no package manager knows.
const OWN: &str = "/etc/kinetail/conf.d/notes";

/// Runs `story` as root, in a process of its own where this one is somebody else's: packages are installed by root.
fn as_root(name: &str, story: impl FnOnce(&Built)) {
    let Some(built) = built::or_skip(name) else { return };
    if !rustix::process::geteuid().is_root() {
        let mut again = Command::new("sudo");
        again.args(["--non-interactive", "--preserve-env"]).arg(std::env::current_exe().unwrap());
        again.args(["--exact", &format!("upgrades::{name}"), "--nocapture"]);
        if installed::or_skip(name, installed::run(Command::new("sudo").args(["--non-interactive", "true"]))).is_some() {
            assert!(again.status().unwrap().success());
        }
        return;
    }
    story(&built);
}

/// A host, and an older package for it.
fn stage(story: &str, built: &Built, format: Format) -> Option<(Host, Older)> {
    let host = installed::or_skip(story, Host::new(format))?;
    Some((host, built::older(built, format)))
}

/// The agent as its service starts it, but that it ends when all is delivered.
fn ship(host: &Host) -> Output {
    let mut command = host.command("kinetail", "/usr/bin/kinetail");
    command.args(["run", "--once", "--config", CONFIG]).env("NO_COLOR", "1").env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command.output().unwrap()
}

#[track_caller]
fn ship_well(host: &Host) {
    let output = ship(host);
    assert!(output.status.success(), "{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

fn write(host: &Host, lines: &[String]) {
    fs::create_dir_all(host.path("/var/log/app")).unwrap();
    let mut file = File::options().create(true).append(true).open(host.path("/var/log/app/app.log")).unwrap();
    file.write_all(lines.iter().fold(String::new(), |text, line| text + line + "\n").as_bytes()).unwrap();
}

/// Owners and modes of everything that is not root's alone.
#[track_caller]
fn assert_owners(host: &Host, variables: &str) {
    for (path, expected) in [
        ("/usr/bin/kinetail", "root:root 0755"),
        ("/etc/kinetail", "root:kinetail 0750"),
        ("/etc/kinetail/conf.d", "root:kinetail 0750"),
        (CONFIG, "root:kinetail 0640"),
        (variables, "root:root 0640"),
        ("/var/lib/kinetail", "kinetail:kinetail 0750"),
        ("/usr/lib/systemd/system/kinetail.service", "root:root 0644"),
        ("/usr/lib/sysusers.d/kinetail.conf", "root:root 0644"),
    ] {
        assert_eq!(host.owner_and_mode(path), expected, "{path}");
    }
}

/// Says in the installed configuration what is shipped, by removing `#` as its reader would, and where the emulator is.
fn edit(host: &Host, kinesis: &Kinesis) {
    let path = host.path(CONFIG);
    let text: String = (fs::read_to_string(&path).unwrap().lines())
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let text = text.replace("[aws]\n", &format!("[aws]\nendpoints.kinesis = {:?}\n", kinesis.url()));
    let admin = "[agent]\nadmin = \"off\"\n\n[aws]";
    fs::write(path, text.replacen("[aws]", admin, 1)).unwrap();
}

/// From the installation of an older version to a purge; lines go on being written in between.
fn live(built: &Built, older: &Path, host: &Host, format: Format) {
    let variables = format.variables();
    let kinesis = Kinesis::with_stream("logs", 2);
    let before = host.paths();
    let written = lines("app", 400);

    host.install(older);
    assert_owners(host, variables);
    let output = ship(host);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains(CONFIG) && said.contains("[[flow]]"), "{said}");
    assert_eq!(host.changed(), [""; 0]);

    edit(host, &kinesis);
    fs::write(host.path(OWN), "by hand").unwrap();
    write(host, &written[..100]);
    ship_well(host);
    verify(&written[..100], &kinesis.received("logs"));

    let edited = fs::read_to_string(host.path(CONFIG)).unwrap();
    host.install(built.package(format));
    assert_owners(host, variables);
    assert_eq!(fs::read_to_string(host.path(CONFIG)).unwrap(), edited);
    assert!(!fs::read_to_string(host.path(variables)).unwrap().contains(OLDER), "what nobody has edited is replaced");
    let changed = host.changed();
    assert!(changed.len() == 1 && changed[0].contains(CONFIG), "{changed:?}");
    write(host, &written[100..200]);
    ship_well(host);
    verify(&written[..200], &kinesis.received("logs"));

    host.install(older);
    assert_owners(host, variables);
    assert!(fs::read_to_string(host.path(variables)).unwrap().contains(OLDER));
    write(host, &written[200..300]);
    ship_well(host);
    verify(&written[..300], &kinesis.received("logs"));

    host.remove();
    let left = host.paths();
    let left: Vec<&String> = left.difference(&before).filter(|path| !path.starts_with("/var/log")).collect();
    for path in &left {
        let is_kept = ["/etc/kinetail", "/var/lib/kinetail", variables].iter().any(|kept| path.starts_with(kept));
        assert!(is_kept, "{path} is left behind");
    }
    assert!(left.iter().any(|path| path.starts_with("/var/lib/kinetail/")), "offsets stay: {left:?}");
    let kept = match format {
        Format::Deb => CONFIG.to_owned(),
        Format::Rpm => format!("{CONFIG}.rpmsave"),
    };
    assert_eq!(fs::read_to_string(host.path(&kept)).unwrap(), edited);
    assert_eq!(fs::read_to_string(host.path(OWN)).unwrap(), "by hand");

    host.install(built.package(format));
    if format == Format::Rpm {
        fs::rename(host.path(&kept), host.path(CONFIG)).unwrap();
    }
    assert_owners(host, variables);
    write(host, &written[300..]);
    ship_well(host);
    verify(&written, &kinesis.received("logs"));

    host.remove();
    host.purge();
    let left = host.paths();
    let left: Vec<&String> = left.difference(&before).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(fs::read_to_string(host.path("/etc/passwd")).unwrap().contains("kinetail:"), "the user stays");
}

/// What is asked of a running systemd: nothing is ever enabled or started, and what runs is restarted after an upgrade.
fn direct_systemd(built: &Built, older: &Path, host: &Host, format: Format) {
    host.run_systemd();
    host.install(built.package(format));
    assert_eq!(host.systemctl_calls(), ["daemon-reload"]);
    host.install(older);
    let calls = host.systemctl_calls();
    assert_eq!(calls.last().unwrap(), "try-restart kinetail.service", "{calls:?}");
    assert!(calls[..calls.len() - 1].iter().all(|call| call == "daemon-reload") && calls.len() > 1, "{calls:?}");
    host.remove();
    let calls = host.systemctl_calls();
    assert_eq!(calls, ["stop kinetail.service", "disable kinetail.service", "daemon-reload"]);
}

/// The user is made in the other way: by the programs of the distribution where systemd-sysusers is missing, by that where they are.
fn make_user_otherwise(built: &Built, host: &Host, format: Format, hidden: &[&str], back: &[&str]) {
    host.forget_user();
    back.iter().for_each(|program| host.bring_back(program));
    hidden.iter().for_each(|program| host.hide(program));
    host.install(built.package(format));
    assert_owners(host, format.variables());
}

#[test]
fn the_deb_keeps_configuration_and_offsets_until_it_is_purged() {
    as_root("the_deb_keeps_configuration_and_offsets_until_it_is_purged", |built| {
        let Some((host, older)) = stage("the deb", built, Format::Deb) else { return };
        host.hide("/usr/bin/systemd-sysusers");
        live(built, &older.package, &host, Format::Deb);
        direct_systemd(built, &older.package, &host, Format::Deb);
        host.purge();
        make_user_otherwise(built, &host, Format::Deb, &["/usr/sbin/adduser"], &["/usr/bin/systemd-sysusers"]);
    });
}

#[test]
fn the_rpm_keeps_configuration_and_offsets_when_it_is_removed() {
    as_root("the_rpm_keeps_configuration_and_offsets_when_it_is_removed", |built| {
        let Some((host, older)) = stage("the rpm", built, Format::Rpm) else { return };
        let programs = ["/usr/sbin/useradd", "/usr/sbin/groupadd"];
        programs.iter().for_each(|program| host.hide(program));
        live(built, &older.package, &host, Format::Rpm);
        direct_systemd(built, &older.package, &host, Format::Rpm);
        make_user_otherwise(built, &host, Format::Rpm, &["/usr/bin/systemd-sysusers"], &programs);
    });
}
