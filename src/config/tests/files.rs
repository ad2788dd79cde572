//! Several files: which there are, and what they say together.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::limits::{CONFIG_BYTES_MAX, CONFIG_FILES_MAX, MISTAKES_SHOWN_MAX};

/// A folder with `agent.toml` and `conf.d`.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    /// With these files, each with its path in the folder and its text.
    pub(super) fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        let folder = Self(folder);
        files.iter().for_each(|(path, text)| folder.write(path, text));
        folder
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    pub(super) fn main(&self) -> PathBuf {
        self.path("agent.toml")
    }

    /// What is wrong when it is read anew, as [`told`].
    fn mistakes(&self) -> Vec<String> {
        Loaded::load(&self.main()).err().map(|error| self.told(&error.troubles())).unwrap_or_default()
    }

    /// `path:line:column message (help)`, paths as they are in the folder.
    pub(super) fn told(&self, troubles: &[Trouble]) -> Vec<String> {
        let told = |Trouble { file, position, message, help }: &Trouble| {
            let position = position.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
            let help = help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{file}{position} {message}{help}").replace(&format!("{}/", self.0.path().display()), "")
        };
        troubles.iter().map(told).collect()
    }
}

/// A flow of this name.
pub(super) fn flow(name: &str) -> String {
    format!("[[flow]]\nname = '{name}'\nfiles = '/{name}'\n[flow.kinesis]\nstream = 's'\n")
}

/// Names of the flows of a configuration, in order.
pub(super) fn names(config: &Config) -> Vec<&str> {
    config.flows.iter().map(|flow| flow.name.as_str()).collect()
}

#[test]
fn flows_of_all_files_are_taken_in_the_order_of_their_names() {
    let folder = Folder::with(&[
        ("agent.toml", &format!("[aws]\nregion = 'eu-west-1'\n{}", flow("main"))),
        ("conf.d/b.toml", &flow("b")),
        ("conf.d/a.toml", &format!("{}{}", flow("z"), flow("a"))),
        ("conf.d/none.toml", "# all is commented out\n"),
    ]);
    fs::rename(folder.path("conf.d/b.toml"), folder.path("b")).unwrap();
    symlink("../b", folder.path("conf.d/b.toml")).unwrap();
    let loaded = Loaded::load(&folder.main()).unwrap();
    assert_eq!(names(&loaded.config), ["main", "z", "a", "b"]);
    assert_eq!(loaded.config.aws.region.as_deref(), Some("eu-west-1"));
    let files: Vec<_> = loaded.files().map(|(path, count)| (path.to_owned(), count)).collect();
    let expected = [("agent.toml", 1), ("conf.d/a.toml", 2), ("conf.d/b.toml", 1), ("conf.d/none.toml", 0)];
    assert_eq!(files, expected.map(|(path, count)| (folder.path(path), count)));
}

#[test]
fn a_folder_that_is_not_there_is_fine_and_so_is_a_main_file_without_flows() {
    let folder = Folder::with(&[("agent.toml", ""), ("conf.d/a.toml", &flow("a"))]);
    assert_eq!(names(&Loaded::load(&folder.main()).unwrap().config), ["a"]);
    fs::remove_dir_all(folder.path("conf.d")).unwrap();
    folder.write("agent.toml", &flow("main"));
    assert_eq!(names(&Loaded::load(&folder.main()).unwrap().config), ["main"]);
}

#[test]
fn what_editors_and_package_managers_leave_behind_is_not_read() {
    let folder = Folder::with(&[("agent.toml", &flow("main"))]);
    for name in ["a.toml~", ".a.toml.swp", ".a.toml", ".toml", "a.toml.dpkg-old", "a.toml.rpmsave", "#a.toml#", "a.TOML", "a"] {
        folder.write(&format!("conf.d/{name}"), "[");
    }
    symlink("root@host.1234:1", folder.path("conf.d/.#a.toml")).unwrap();
    assert_eq!(Loaded::load(&folder.main()).unwrap().files().len(), 1);
}

#[test]
fn every_mistake_of_every_file_is_told_at_once_with_its_path() {
    let folder = Folder::with(&[
        ("agent.toml", &format!("[agent]\nmemory_max = '4 MiB'\nmax_open_files = 16\nadmn = 'off'\n{}", flow("a"))),
        ("conf.d/1.toml", &format!("[agent]\nadmin = 'off'\n{}[prices]\n[aws]\n", flow("b"))),
        ("conf.d/2.toml", &format!("\n{}", flow("b").replace("stream = 's'", "stream = '?'"))),
        ("conf.d/3.toml", &format!("{}{}", flow("a"), flow("a"))),
        ("conf.d/4.toml", "name = \"\n"),
        ("conf.d/5.toml", "[agnet]\n"),
    ]);
    fs::write(folder.path("conf.d/6.toml"), "# \u{e9}\n# \u{e9}").unwrap();
    fs::write(folder.path("conf.d/7.toml"), b"# fine\n# \xe9\n").unwrap();
    let needless = "it belongs in agent.toml; here are [[flow]] tables only";
    let kept_by = "offsets and metrics are kept by it";
    assert_eq!(
        folder.mistakes(),
        [
            "agent.toml:2:14 `memory_max` of 4 MiB does not suffice for 5 flows in 4 files (write memory_max = \"10 MiB\", or more)"
                .to_owned(),
            "agent.toml:3:18 `max_open_files` of 16 does not suffice for 5 flows in 4 files (write max_open_files = 80, or more)"
                .to_owned(),
            "agent.toml:4:1 unknown key `admn` in [agent] (did you mean `admin`?)".to_owned(),
            format!("conf.d/1.toml:1:1 [agent] cannot be written here ({needless})"),
            format!("conf.d/1.toml:8:1 [prices] cannot be written here ({needless})"),
            format!("conf.d/1.toml:9:1 [aws] cannot be written here ({needless})"),
            format!("conf.d/2.toml:3:8 `name` is taken: \"b\" (conf.d/1.toml, line 4 has it already; {kept_by})"),
            "conf.d/2.toml:6:10 `stream` is not the name of a stream (write 1 to 128 letters, digits, `_`, `.` and `-`)".to_owned(),
            format!("conf.d/3.toml:2:8 `name` is taken: \"a\" (agent.toml, line 6 has it already; {kept_by})"),
            format!("conf.d/3.toml:7:8 `name` is taken: \"a\" (agent.toml, line 6 has it already; {kept_by})"),
            "conf.d/4.toml:1:9 invalid basic string, expected `\"`".to_owned(),
            "conf.d/5.toml:1:2 unknown key `agnet` at the top level (did you mean `agent`?)".to_owned(),
            "conf.d/7.toml:2:3 the file is not UTF-8 text".to_owned(),
        ]
    );
}

#[test]
fn what_is_no_file_is_told_and_nothing_waits_for_it() {
    let folder = Folder::with(&[("agent.toml", &flow("main")), ("conf.d/closed.toml", &flow("a"))]);
    fs::create_dir(folder.path("conf.d/folder.toml")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path("conf.d/pipe.toml"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    symlink("nowhere", folder.path("conf.d/link.toml")).unwrap();
    symlink("/dev/zero", folder.path("conf.d/zero.toml")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path("conf.d/socket.toml")).unwrap();
    fs::set_permissions(folder.path("conf.d/closed.toml"), fs::Permissions::from_mode(0o000)).unwrap();
    let mut expected = vec![
        "conf.d/folder.toml cannot be read: it is a folder, not a file",
        "conf.d/link.toml cannot be read: No such file or directory (os error 2)",
        "conf.d/pipe.toml cannot be read: it is a pipe, not a file",
        "conf.d/socket.toml cannot be read: it is a socket, not a file",
        "conf.d/zero.toml cannot be read: it is a device, not a file",
    ];
    // Nothing is closed to root.
    if fs::File::open(folder.path("conf.d/closed.toml")).is_err() {
        expected.insert(0, "conf.d/closed.toml cannot be read: Permission denied (os error 13)");
    }
    assert_eq!(folder.mistakes(), expected);
}

#[test]
fn a_folder_that_cannot_be_listed_is_told() {
    let folder = Folder::with(&[("agent.toml", "")]);
    fs::remove_dir(folder.path("conf.d")).unwrap();
    // That there are no flows is not told: they may be in there.
    folder.write("conf.d", "");
    assert_eq!(folder.mistakes(), ["conf.d cannot be read: Not a directory (os error 20)"]);
    fs::remove_file(folder.path("conf.d")).unwrap();
    symlink("nowhere", folder.path("conf.d")).unwrap();
    assert_eq!(folder.mistakes(), ["conf.d cannot be read: No such file or directory (os error 2)"]);
}

#[test]
fn where_there_are_no_flows_it_is_told_where_to_write_them() {
    let folder = Folder::with(&[("agent.toml", "[agent]\n"), ("conf.d/a.toml", "# nothing\n")]);
    let help = "write [[flow]], and below it name, files and [flow.kinesis]; here, or in a file conf.d/NAME.toml";
    assert_eq!(folder.mistakes(), [format!("agent.toml:1:1 `flow` is missing at the top level ({help})")]);
}

#[test]
fn files_that_are_too_many_or_too_large_are_not_read() {
    let folder = Folder::with(&[("agent.toml", &flow("main")), ("conf.d/z.toml", &flow("z"))]);
    let large = fs::File::create(folder.path("conf.d/a.toml")).unwrap();
    large.set_len(1 << 40).unwrap();
    let too_large = "cannot be read: all files of the configuration together may have 4 MiB, with this one they have more";
    assert_eq!(folder.mistakes(), [format!("conf.d/a.toml {too_large}")]);
    large.set_len(CONFIG_BYTES_MAX as u64 - 1000).unwrap();
    folder.write("conf.d/b.toml", &"#".repeat(1000));
    assert_eq!(folder.mistakes().last(), Some(&format!("conf.d/b.toml {too_large}")));
    for index in 0..CONFIG_FILES_MAX {
        folder.write(&format!("conf.d/{index}.toml"), "");
    }
    assert_eq!(folder.mistakes(), [format!("conf.d cannot be read: there are more than {CONFIG_FILES_MAX} files *.toml in it")]);
}

#[test]
fn of_very_many_mistakes_the_first_are_told() {
    let log = "2026-11-21 12:00:00 INFO what is no configuration\n".repeat(CONFIG_BYTES_MAX / 60);
    let folder = Folder::with(&[("agent.toml", &flow("main")), ("conf.d/log.toml", &log)]);
    let error = Loaded::load(&folder.main()).unwrap_err();
    let troubles = folder.told(&error.troubles());
    assert_eq!(troubles.len(), MISTAKES_SHOWN_MAX + 1);
    assert!(troubles.last().unwrap().ends_with("more mistakes"), "{troubles:?}");
    assert!(error.to_string().trim_end().ends_with(", the first 100 are shown"), "{error}");
}

#[test]
fn names_of_files_cannot_write_to_the_terminal() {
    let folder = Folder::with(&[("agent.toml", &flow("main")), ("conf.d/\x1b[2J\n.toml", "[")]);
    let error = Loaded::load(&folder.main()).unwrap_err();
    assert!(folder.told(&error.troubles())[0].starts_with("conf.d/\u{fffd}[2J\u{fffd}.toml:1:"), "{error}");
    assert!(!error.to_string().contains('\x1b'));
}

#[test]
fn no_password_is_told() {
    let folder = Folder::with(&[("agent.toml", &flow("main"))]);
    for wrong in [
        "[aws]\nproxy = 'http://name:SECRET@proxy:3128/path'\n",
        "[aws]\nno_proxy = 'http://name:SECRET@proxy:3128'\n",
        "[aws]\nregion = 'http://name:SECRET@proxy:3128'\n",
        "[aws\nproxy = 'http://name:SECRET@proxy:3128'\n",
    ] {
        folder.write("conf.d/a.toml", &format!("{wrong}{}", flow("a")));
        folder.write("agent.toml", &format!("{wrong}{}", flow("main")));
        let error = Loaded::load(&folder.main()).unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", error.troubles()).contains("SECRET"), "{error} {error:?}");
    }
    fs::write(folder.main(), b"[aws]\nproxy = 'http://name:SECRET@\xff'\n").unwrap();
    let error = Loaded::load(&folder.main()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("SECRET"), "{error} {error:?}");
    folder.write("agent.toml", &format!("[aws]\nproxy = 'http://name:SECRET@proxy:3128'\n{}", flow("main")));
    folder.write("conf.d/a.toml", &flow("a"));
    assert!(!format!("{:?}", Loaded::load(&folder.main()).unwrap()).contains("SECRET"));
}
