//! What `packaging/build` has left in `target/packages`, and other versions of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::installed;

/// The format of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Deb,
    Rpm,
}

/// Packages of one version.
pub(crate) struct Built {
    pub(crate) deb: PathBuf,
    pub(crate) rpm: PathBuf,
    /// Its folders `deb` and `rpm` have what is in them.
    pub(crate) stage: PathBuf,
    _folder: Option<TempDir>,
}

impl Built {
    /// The package in this format.
    pub(crate) fn package(&self, format: Format) -> &Path {
        match format {
            Format::Deb => &self.deb,
            Format::Rpm => &self.rpm,
        }
    }
}

impl Built {
    /// Whether the binary is one that was built quickly, for this machine: it promises nothing of others.
    pub(crate) fn is_of_profile_dev(&self) -> bool {
        fs::read_to_string(self.stage.join("profile")).unwrap().trim() == "dev"
    }
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The packages of this version for this machine; without them `story` is skipped, but not in CI.
pub(crate) fn or_skip(story: &str) -> Option<Built> {
    let folder = repository().join("target/packages");
    let (architecture, version) = (std::env::consts::ARCH, env!("CARGO_PKG_VERSION"));
    let debian_architecture = if architecture == "x86_64" { "amd64" } else { "arm64" };
    let built = Built {
        deb: folder.join(format!("kinetail_{version}_{debian_architecture}.deb")),
        rpm: folder.join(format!("kinetail-{version}-1.{architecture}.rpm")),
        stage: folder.join(format!("staged-{architecture}")),
        _folder: None,
    };
    let missing = [&built.deb, &built.rpm, &built.stage].into_iter().find(|path| !path.exists());
    let found = missing.map_or(Ok(()), |path| Err(format!("there is no {}: bash packaging/build --profile dev", path.display())));
    installed::or_skip(story, found).map(|()| built)
}

/// The same binary as an older version, whose files of configuration have other contents.
pub(crate) fn older(built: &Built) -> Built {
    let folder = TempDir::new().unwrap();
    let stage = folder.path().join("stage");
    installed::run(Command::new("cp").arg("-a").arg(&built.stage).arg(&stage)).unwrap();
    for path in
        ["deb/etc/kinetail/agent.toml", "deb/etc/default/kinetail", "rpm/etc/kinetail/agent.toml", "rpm/etc/sysconfig/kinetail"]
    {
        let path = stage.join(path);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("# {OLDER}\n{text}")).unwrap();
    }
    let mut pack = Command::new(repository().join("packaging/pack"));
    pack.args(["--version", "0.0.1", "--arch", std::env::consts::ARCH, "--compression", "1", "--out"])
        .arg(folder.path())
        .arg(&stage);
    installed::run(&mut pack).unwrap();
    let find = |extension: &str| {
        let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.into_iter().find(|path| path.extension().is_some_and(|found| found == extension)).unwrap()
    };
    Built { deb: find("deb"), rpm: find("rpm"), stage, _folder: Some(folder) }
}

/// What files of configuration of the older version say.
pub(crate) const OLDER: &str = "of an older version";
