//! Lines of access logs, without their terminators: different from each other, the same in every run.

use fastrand::Rng;

/// A line of the format `apache_combined`, of 247 bytes on average.
#[allow(dead_code, reason = "not every benchmark goes by it")]
pub(crate) fn long_access(random: &mut Rng, line: &mut String) {
    access(random, 63, line);
}

pub(crate) fn access(random: &mut Rng, path_bytes: usize, line: &mut String) {
    let (client, user, time) = (address(random), one_of(random, &["-", "-", "-", "alice"]), apache_time(random));
    let (path, status, bytes) = (path(random, path_bytes), status(random), random.u32(100..90_000));
    let (referer, agent) = (referer(random), agent(random));
    *line += &format!("{client} - {user} [{time}] \"GET {path} HTTP/1.1\" {status} {bytes} \"{referer}\" \"{agent}\"");
}

pub(crate) fn one_of<'a>(random: &mut Rng, all: &[&'a str]) -> &'a str {
    random.choice(all).copied().unwrap_or_default()
}

pub(crate) fn address(random: &mut Rng) -> String {
    format!("203.0.{}.{}", random.u8(..), random.u8(..))
}

pub(crate) fn clock(random: &mut Rng) -> String {
    format!("{:02}:{:02}:{:02}", random.u8(0..24), random.u8(0..60), random.u8(0..60))
}

pub(crate) fn apache_time(random: &mut Rng) -> String {
    format!("21/Nov/2026:{} +0000", clock(random))
}

pub(crate) fn status(random: &mut Rng) -> &'static str {
    one_of(random, &["200", "200", "200", "304", "404", "500"])
}

/// Of about this many bytes.
pub(crate) fn path(random: &mut Rng, byte_count: usize) -> String {
    let mut path = String::new();
    while path.len() < byte_count {
        path.push('/');
        path += one_of(random, &["api", "v2", "orders", "articles", "cart", "items", "checkout", "images"]);
        path += &format!("/{}", random.u32(1..99_999));
    }
    path
}

pub(crate) fn referer(random: &mut Rng) -> String {
    format!("https://shop.example/search?q={}", one_of(random, &["lamp", "green+chair", "table"]))
}

pub(crate) fn agent(random: &mut Rng) -> &'static str {
    one_of(
        random,
        &[
            "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36",
            "curl/8.10.1",
        ],
    )
}
