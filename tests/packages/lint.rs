//! What others have to say: the checkers of the distributions and of shell scripts.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::built::{self, repository};
use crate::common::installed;

/// Whether a program is there; without it `story` is skipped, but not in CI.
fn has(story: &str, program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().map_err(|error| format!("{program}: {error}"));
    installed::or_skip(story, found).is_some()
}

/// What checkers find they say on standard output.
#[track_caller]
fn assert_content(checker: &mut Command) {
    let output = checker.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{checker:?}: {}", String::from_utf8_lossy(&said));
}

/// Errors and warnings; what is overridden has its reason in packaging/deb/lintian-overrides.
#[test]
fn lintian_finds_nothing_wrong_with_the_deb() {
    let story = "lintian_finds_nothing_wrong_with_the_deb";
    let Some(built) = built::or_skip(story) else { return };
    if has(story, "lintian") {
        let mut lintian = Command::new("lintian");
        lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]);
        // Of --profile dev, and of packages whose maintainer nobody has named.
        lintian
            .args(["--suppress-tags", "unstripped-binary-or-object,bogus-mail-host,bogus-mail-host-in-debian-changelog"])
            .arg(&built.deb);
        assert_content(&mut lintian);
    }
}

/// Errors; what is filtered has its reason in packaging/rpm/rpmlint.toml.
#[test]
fn rpmlint_finds_nothing_wrong_with_the_rpm() {
    let story = "rpmlint_finds_nothing_wrong_with_the_rpm";
    let Some(built) = built::or_skip(story) else { return };
    if has(story, "rpmlint") {
        let mut rpmlint = Command::new("rpmlint");
        rpmlint.arg("--config").arg(repository().join("packaging/rpm/rpmlint.toml")).arg(&built.rpm);
        assert_content(&mut rpmlint);
    }
}

#[test]
fn shellcheck_finds_nothing_wrong_with_the_scripts() {
    let story = "shellcheck_finds_nothing_wrong_with_the_scripts";
    if !has(story, "shellcheck") {
        return;
    }
    let packaging = repository().join("packaging");
    let scripts = |folder: &str, names: &[&str]| names.iter().map(|name| packaging.join(folder).join(name)).collect::<Vec<_>>();
    let bash = [scripts("", &["build", "pack", "test"]), vec![repository().join(".ci/run")]].concat();
    let sh = [scripts("deb", &["postinst", "postrm", "prerm"]), scripts("rpm", &["pre", "post", "preun", "postun"])].concat();
    for (shell, scripts) in [("bash", bash), ("sh", sh)] {
        assert_content(Command::new("shellcheck").arg("--shell").arg(shell).args(scripts));
    }
}

/// Everything that is installed to be read, as files of the deb.
fn documents() -> Option<(built::Built, Vec<PathBuf>)> {
    let built = built::or_skip("every_dependency_has_its_licence")?;
    let folder = built.stage.join("deb/usr/share/doc/kinetail");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let names = names.collect();
    Some((built, names))
}

/// The licences are of every crate that is linked; which these are, `packaging/licences` knows, and fails where a text is missing.
#[test]
fn every_dependency_has_its_licence() {
    let Some((built, documents)) = documents() else { return };
    for name in ["README.md", "agent.toml.example", "CHANGELOG.md.gz", "LICENSES-THIRD-PARTY.gz", "copyright"] {
        assert!(documents.iter().any(|path| path.ends_with(name)), "there is no {name}");
    }
    let licences = fs::read_to_string(built.stage.join("rpm/usr/share/licenses/kinetail/LICENSES-THIRD-PARTY")).unwrap();
    for name in ["the Rust standard library", "ring", "sled", "zstd-sys", "aws-sdk-kinesis", "vsimd"] {
        assert!(licences.contains(&format!("    {name} ")), "{name}");
    }
}
