//! Who may know what: a module that reaches for something it should leave to another fails here.
#![allow(clippy::unwrap_used, reason = "a source file that cannot be read fails the test")]

use std::fs;
use std::path::Path;

use regex::Regex;

/// What only some modules may know, and which.
const KNOWN_BY: &[(&str, &[&str])] = &[
    ("annotate_snippets", &["config"]),
    ("aws_config", &["aws", "metadata::imds"]),
    ("aws_sdk_firehose", &["sender::firehose"]),
    ("aws_sdk_kinesis", &["sender::exchange", "sender::kinesis", "sender::sdk", "local"]),
    ("aws_sdk_kms", &["encryption::kms"]),
    ("aws_smithy_runtime_api", &["aws"]),
    ("aws_smithy_types", &["aws"]),
    ("axum", &["local"]),
    ("base64", &["command::preview"]),
    ("base64_simd", &["wire::json"]),
    ("clap", &["command::arguments", "main"]),
    ("csv_core", &["processor::format::csv"]),
    ("encoding_rs", &["tailer::encoding"]),
    ("ferrokinesis", &["local"]),
    ("flate2", &["compressor", "tailer::gzip"]),
    ("glob", &["discovery"]),
    ("http", &["aws"]),
    ("http_body", &["aws::delivery"]),
    ("http_body_util", &["admin", "aws::http", "command::offsets::ask"]),
    ("hyper", &["admin", "aws::trouble", "command::offsets::ask", "config::aws"]),
    ("indicatif", &["local"]),
    ("jiff", &["command::offsets", "command::preview", "config::types", "offsets::opening", "packer::processing", "processor"]),
    ("md5", &["deaggregator", "hash_key", "offsets", "tailer::source"]),
    ("notify", &["discovery::watch"]),
    ("prometheus_client", &["metrics"]),
    ("ring", &["encryption::message"]),
    ("rustls", &["aws::connect", "aws::http", "aws::tls"]),
    ("rustls_native_certs", &["aws::tls"]),
    ("rustls_pki_types", &["aws::connect", "aws::tls"]),
    ("sled", &["offsets::database"]),
    ("smallvec", &["collector", "span"]),
    ("std::fs", &["aws::tls", "command", "config", "discovery", "offsets", "progress::kernel", "tailer"]),
    ("std::net", &["admin", "aws", "command", "config", "local"]),
    ("std::os::unix::net", &["command::run::service"]),
    ("std::process", &["main", "offsets::reading"]),
    ("tokio_rustls", &["aws::connect"]),
    ("toml", &["config"]),
    ("tower_service", &["aws::connect"]),
    ("tracing_subscriber", &["command", "local"]),
    ("twox_hash", &["span"]),
    ("zeroize", &["encryption"]),
    ("zstd", &["compressor"]),
];

/// Modules that take bytes, the time and random numbers as arguments, and wait for nothing.
const PURE: &[&str] = &[
    "aggregator",
    "backoff",
    "collector",
    "command::estimate::keys",
    "command::estimate::needs",
    "command::estimate::report",
    "command::estimate::sums",
    "command::estimate::tally",
    "command::estimate::text",
    "command::estimate::ways",
    "command::offsets::document",
    "command::offsets::effect",
    "command::offsets::mistakes",
    "compressor",
    "deaggregator",
    "delivery_token",
    "digest",
    "encryption::message",
    "hash_key",
    "joiner",
    "limits",
    "packer::layout",
    "packer::rules",
    "processor",
    "offsets::decision",
    "outcome",
    "progress::verdict",
    "readback::passes",
    "readback::recognition",
    "sender::pace",
    "settlement",
    "span",
    "tailer::charset",
    "tailer::encoding",
    "tailer::identity",
    "tailer::lines",
    "tailer::multiline",
    "wire",
];

/// What a pure module would need for anything else.
const IMPURE: &[&str] = &[
    "fastrand",
    "getrandom",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::sync",
    "std::thread",
    "tokio",
    "tracing",
    r"(?:std::time::)?Instant::now",
    r"(?:std::time::)?SystemTime::now",
    r"(?:jiff::)?Timestamp::now",
    r"(?:jiff::)?(?:tz::)?TimeZone::system",
];

/// The code of one module, without comments and tests.
struct Module {
    name: String,
    code: String,
}

impl Module {
    fn is_in(&self, module: &str) -> bool {
        self.name == module || self.name.strip_prefix(module).is_some_and(|rest| rest.starts_with("::"))
    }

    fn mentions(&self, path: &Mention) -> bool {
        path.alone.is_match(&self.code) || path.in_braces.as_ref().is_some_and(|pattern| pattern.is_match(&self.code))
    }
}

/// The ways in which a path, a pattern of names and `::`, can occur at the beginning of one.
struct Mention {
    alone: Regex,
    /// `use std::{fmt, fs}` names `std::fs` too.
    in_braces: Option<Regex>,
}

fn mention(path: &str) -> Mention {
    let alone = format!(r"(?:^|[^\w:])(?:::)?{path}\b(?:::|;|\(|\s+as\b)");
    let in_braces =
        path.rsplit_once("::").map(|(parent, name)| format!(r"(?:^|[^\w:]){parent}::\{{(?:[^;]*[\s,{{])?{name}\b[^;]*;"));
    Mention { alone: Regex::new(&alone).unwrap(), in_braces: in_braces.map(|pattern| Regex::new(&pattern).unwrap()) }
}

fn modules() -> Vec<Module> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap() == "tests" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() != "tests.rs" {
                let name = path.strip_prefix(&source).unwrap().with_extension("");
                let name = name.to_str().unwrap().replace('/', "::");
                modules.push(Module { name, code: code_of(&fs::read_to_string(&path).unwrap()) });
            }
        }
    }
    modules
}

/// A source file without comments, and without what stands below `#[cfg(test)]`, which is always last.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.fold(String::new(), |code, line| code + line + "\n")
}

#[test]
fn each_module_knows_only_what_it_is_there_for() {
    let modules = modules();
    let mut wrong = Vec::new();
    for (what, knowing) in KNOWN_BY {
        let mention = mention(what);
        for module in modules.iter().filter(|module| module.mentions(&mention)) {
            if !knowing.iter().any(|name| module.is_in(name)) {
                wrong.push(format!("`{}` knows {what}; only {knowing:?} may", module.name));
            }
        }
        for name in *knowing {
            if !modules.iter().any(|module| module.is_in(name) && module.mentions(&mention)) {
                wrong.push(format!("`{name}` may know {what}, and does not: take it out of the table"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_modules_need_nothing_but_their_arguments() {
    let modules = modules();
    let impure: Vec<(&str, Mention)> = IMPURE.iter().map(|what| (*what, mention(what))).collect();
    let mut wrong = Vec::new();
    for name in PURE {
        let pure: Vec<&Module> = modules.iter().filter(|module| module.is_in(name)).collect();
        assert!(!pure.is_empty(), "there is no module `{name}`: take it out of the list");
        for module in pure {
            for (what, _) in impure.iter().filter(|(_, mention)| module.mentions(mention)) {
                wrong.push(format!("`{}` is to be pure, and uses {what}", module.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The compiler refuses it elsewhere, unless somebody allows it there.
#[test]
fn only_one_module_may_have_code_that_is_unsafe() {
    let modules = modules();
    let (allowed, unsafe_code) = (Regex::new(r"unsafe_code").unwrap(), Regex::new(r"\bunsafe\b").unwrap());
    let found = |pattern: &Regex| -> Vec<String> {
        modules.iter().filter(|module| pattern.is_match(&module.code)).map(|module| module.name.clone()).collect()
    };
    assert_eq!((found(&allowed), found(&unsafe_code)), (vec!["lib".to_owned()], vec!["digest".to_owned()]));
    let root = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    assert_eq!(allowed.find_iter(&root).count(), 1);
}

/// main -> command -> agent -> stages -> pure modules.
#[test]
fn dependencies_point_one_way() {
    let modules = modules();
    let (commands, root) = (mention("crate::command"), mention("crate::agent"));
    assert!(modules.iter().any(|module| module.is_in("command") && module.mentions(&root)));
    for module in modules.iter().filter(|module| !module.is_in("command") && !module.is_in("main")) {
        assert!(!module.mentions(&commands), "`{}` uses the commands", module.name);
        assert!(!module.mentions(&root), "`{}` uses the composition root", module.name);
    }
}

#[test]
fn mentions_are_found_in_every_way_of_writing_them() {
    let mentions = |code: &str, what: &str| Module { name: String::new(), code: code_of(code) }.mentions(&mention(what));
    for code in [
        "use std::fs;",
        "use std::fs::{self, File};",
        "use std::{fmt, fs, io};",
        "    std::fs::read(path)",
        "use std::{\n    fs::File,\n};",
    ] {
        assert!(mentions(code, "std::fs"), "{code}");
    }
    for code in ["use std::io;", "// std::fs::read", "use std::{fmt, io}; fn fs() {}", "#[cfg(test)]\nuse std::fs;"] {
        assert!(!mentions(code, "std::fs"), "{code}");
    }
    assert!(mentions("use notify as n;", "notify") && mentions("let x = notify::recommended_watcher();", "notify"));
    assert!(mentions("let now = Instant::now();", r"(?:std::time::)?Instant::now"));
    assert!(!mentions("self.notify.notified()", "notify") && !mentions("crate::notify::x()", "notify"));
}
