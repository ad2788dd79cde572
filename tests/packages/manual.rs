//! The manual and the completions, as they are installed.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::Command;

use flate2::read::GzDecoder;

use crate::built::{self, repository};
use crate::common::installed;

fn pages(folder: &str, story: &str) -> Option<Vec<PathBuf>> {
    let built = built::or_skip(story)?;
    let folder = built.stage.join("deb/usr/share/man").join(folder);
    Some(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect())
}

/// The same words, each a space from the next.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every page is shown without a warning, and has a name by which `apropos` finds it.
#[test]
fn man_shows_every_page() {
    let story = "man_shows_every_page";
    let (Some(mut pages), Some(other)) = (pages("man1", story), pages("man5", story)) else { return };
    if installed::or_skip(story, installed::run(Command::new("man").arg("--version"))).is_none() {
        return;
    }
    pages.extend(other);
    for page in &pages {
        let mut man = Command::new("man");
        let output =
            installed::run(man.args(["--warnings", "--local-file"]).arg(page).env("MANWIDTH", "100").env("LC_ALL", "C.UTF-8"));
        let output = output.unwrap_or_else(|why| panic!("{why}"));
        assert!(output.stderr.is_empty(), "{page:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = words(&String::from_utf8(output.stdout).unwrap());
        let name = page.file_name().unwrap().to_str().unwrap();
        let name = name.trim_end_matches(".gz").trim_end_matches(".1").trim_end_matches(".5");
        assert!(text.contains(&format!("{name} - ")) && text.contains("SEE ALSO"), "{text}");
    }
    let names: Vec<&str> = pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap()).collect();
    for name in ["kinetail.1.gz", "kinetail-run.1.gz", "kinetail-offsets-set.1.gz", "kinetail.toml.5.gz"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

/// As mandoc, the other program that shows pages, sees it.
#[test]
fn mandoc_finds_nothing_wrong_with_the_pages() {
    let story = "mandoc_finds_nothing_wrong_with_the_pages";
    let (Some(mut pages), Some(other)) = (pages("man1", story), pages("man5", story)) else { return };
    pages.extend(other);
    let mut mandoc = Command::new("mandoc");
    mandoc.args(["-T", "lint", "-W", "warning"]);
    let folder = tempfile::TempDir::new().unwrap();
    for page in pages {
        let unpacked = folder.path().join(page.file_stem().unwrap());
        io::copy(&mut GzDecoder::new(File::open(page).unwrap()), &mut File::create(&unpacked).unwrap()).unwrap();
        mandoc.arg(unpacked);
    }
    let found = mandoc.output().map_err(|error| format!("mandoc: {error}"));
    if let Some(output) = installed::or_skip(story, found) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// kinetail.toml(5) has every line of the example that sets something, and every word that explains it.
#[test]
fn the_page_of_the_configuration_has_every_setting() {
    let story = "the_page_of_the_configuration_has_every_setting";
    let Some(pages) = pages("man5", story) else { return };
    if installed::or_skip(story, installed::run(Command::new("man").arg("--version"))).is_none() {
        return;
    }
    let mut man = Command::new("man");
    let output = installed::run(man.arg("--local-file").arg(&pages[0]).env("MANWIDTH", "300").env("LC_ALL", "C.UTF-8")).unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    let page = words(&page);
    let example = fs::read_to_string(repository().join("agent.toml.example")).unwrap();
    for line in example.lines().filter(|line| line.contains(" = ") && !line.starts_with("# ")) {
        assert!(page.contains(&words(line)), "{line}");
    }
}

/// `kinetail r<TAB>`.
#[test]
fn bash_completes_commands() {
    let Some(built) = built::or_skip("bash_completes_commands") else { return };
    let file = built.stage.join("deb/usr/share/bash-completion/completions/kinetail");
    let completed = |words: &str, count: usize| {
        let script = format!(
            "source '{}'; complete -p kinetail >&2; COMP_WORDS=({words}); COMP_CWORD={count}; \
             _kinetail kinetail \"${{COMP_WORDS[{count}]}}\" \"${{COMP_WORDS[{count}-1]}}\"; echo \"${{COMPREPLY[*]}}\"",
            file.display()
        );
        let output = installed::run(Command::new("bash").args(["--norc", "-c", &script])).unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains("_kinetail"), "nothing is completed for kinetail");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(completed("kinetail r", 1), "run");
    assert_eq!(completed("kinetail offsets f", 2), "forget");
    assert_eq!(completed("kinetail run --con", 2), "--config");
}
