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

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        }
    }

    /// The file with the variables of the service's environment.
    pub(crate) fn variables(self) -> &'static str {
        match self {
            Self::Deb => "/etc/default/kinetail",
            Self::Rpm => "/etc/sysconfig/kinetail",
        }
    }
}

/// The packages of this version.
pub(crate) struct Built {
    pub(crate) deb: PathBuf,
    pub(crate) rpm: PathBuf,
    /// Its folders `deb` and `rpm` have what is in them.
    pub(crate) stage: PathBuf,
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
    };
    let missing = [&built.deb, &built.rpm, &built.stage].into_iter().find(|path| !path.exists());
    let found = missing.map_or(Ok(()), |path| Err(format!("there is no {}: bash packaging/build --profile dev", path.display())));
    installed::or_skip(story, found).map(|()| built)
}

/// A package of an older version.
pub(crate) struct Older {
    pub(crate) package: PathBuf,
    _folder: TempDir,
}

/// The same binary as an older version, whose files of configuration have other contents.
pub(crate) fn older(built: &Built, format: Format) -> Older {
    let folder = TempDir::new().unwrap();
    let (stage, name) = (folder.path().join("stage"), format.name());
    installed::run(Command::new("cp").arg("-a").arg(&built.stage).arg(&stage)).unwrap();
    for path in ["etc/kinetail/agent.toml", format.variables()] {
        let path = stage.join(name).join(path.trim_start_matches('/'));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("# {OLDER}\n{text}")).unwrap();
    }
    let mut pack = Command::new(repository().join("packaging/pack"));
    pack.args(["--version", "0.0.1", "--arch", std::env::consts::ARCH, "--compression", "0", "--only", name, "--out"]);
    installed::run(pack.arg(folder.path()).arg(&stage)).unwrap();
    let mut files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let package = files.find(|path| path.extension().is_some_and(|extension| extension == name)).unwrap();
    Older { package, _folder: folder }
}

/// What files of configuration of the older version say.
pub(crate) const OLDER: &str = "of an older version";
