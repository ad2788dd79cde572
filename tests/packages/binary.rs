//! The binary by itself: what it needs of a system, and how it is hardened.

use std::path::Path;
use std::process::Command;

use crate::built::{self, Built};
use crate::common::{installed, skipped};

/// What runs on RHEL 7 and everything since; `packaging/build` has the same number.
const GLIBC_MAX: (u32, u32) = (2, 17);

/// It has 12.8 MiB with --profile dist.
const BYTES_MAX: u64 = 14 << 20;

fn binary(built: &Built) -> std::path::PathBuf {
    built.stage.join("deb/usr/bin/kinetail")
}

/// Packages as they are published; CI has others, which are built in a tenth of the time.
fn published(story: &str) -> Option<Built> {
    let built = built::or_skip(story)?;
    if built.is_of_profile_dev() {
        skipped(story, "these packages are of --profile dev");
        return None;
    }
    Some(built)
}

fn readelf(option: &str, binary: &Path) -> String {
    let output = installed::run(Command::new("readelf").args([option, "--wide"]).arg(binary)).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Versions such as `GLIBC_2.2.5` in the text of readelf.
fn glibc_versions(text: &str) -> Vec<(u32, u32)> {
    let versions = text.split("GLIBC_").skip(1).map(|rest| {
        let mut numbers = rest.split(|char: char| !char.is_ascii_digit()).map(|number| number.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    });
    versions.collect()
}

/// It runs on glibc 2.17 and needs nothing but the C library.
#[test]
fn the_binary_runs_on_systems_of_2014() {
    let Some(built) = published("the_binary_runs_on_systems_of_2014") else { return };
    let versions = glibc_versions(&readelf("--version-info", &binary(&built)));
    assert!(!versions.is_empty(), "readelf names no version of glibc");
    let newest = versions.into_iter().max().unwrap();
    assert!(newest <= GLIBC_MAX, "it needs glibc {newest:?}");

    let dynamic = readelf("--dynamic", &binary(&built));
    let needed: Vec<&str> = dynamic.lines().filter(|line| line.contains("(NEEDED)")).collect();
    assert!(!needed.is_empty());
    for library in needed {
        let of_glibc = ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "ld-linux"];
        assert!(of_glibc.iter().any(|name| library.contains(name)), "{library}");
    }
}

/// Addresses are random, relocations read-only once they are done, no stack can be executed, and libraries come from
/// where the system has them.
#[test]
fn the_binary_is_hardened() {
    let Some(built) = built::or_skip("the_binary_is_hardened") else { return };
    let (header, dynamic) = (readelf("--file-header", &binary(&built)), readelf("--dynamic", &binary(&built)));
    assert!(header.contains("DYN (Position-Independent Executable file)"), "{header}");
    assert!(dynamic.contains("FLAGS_1") && dynamic.contains("NOW") && dynamic.contains("PIE"), "{dynamic}");
    assert!(!dynamic.contains("RPATH") && !dynamic.contains("RUNPATH"), "{dynamic}");
    let segments = readelf("--program-headers", &binary(&built));
    assert!(segments.contains("GNU_RELRO"), "{segments}");
    let stack = segments.lines().find(|line| line.contains("GNU_STACK")).unwrap();
    assert!(stack.contains("RW ") && !stack.contains("RWE"), "{stack}");
}

/// Nothing in it tells of the machine that it was built on.
#[test]
fn the_published_binary_is_small_and_stripped() {
    let Some(built) = published("the_published_binary_is_small_and_stripped") else { return };
    let sections = readelf("--section-headers", &binary(&built));
    assert!(!sections.contains(".symtab"), "{sections}");
    let content = std::fs::read(binary(&built)).unwrap();
    assert!(u64::try_from(content.len()).unwrap() <= BYTES_MAX, "{} bytes", content.len());
    for path in [built::repository().to_str().unwrap(), "/.cargo/registry"] {
        let found = memchr::memmem::find(&content, path.as_bytes());
        assert_eq!(found, None, "the binary has the path {path} of the machine that it was built on");
    }
}
