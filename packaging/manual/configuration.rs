//! kinetail.toml(5), made of `agent.toml.example`: its comments are the text, its settings stand as they are.

use kinetail::command::exit;
use roff::{Inline, Roff, bold, italic, roman};

use crate::SOURCE;

/// A line of the example.
enum Line<'t> {
    /// `[agent]` or `#[flow.line]`.
    Heading(&'t str),
    /// `# text`, or `#` alone, which divides paragraphs.
    Comment(&'t str),
    /// Anything else of the configuration, in use or with a `#` in front.
    Setting(&'t str),
    Blank,
}

fn line(text: &str) -> Line<'_> {
    let uncommented = text.strip_prefix('#').unwrap_or(text);
    match text {
        "" => Line::Blank,
        "#" => Line::Comment(""),
        _ if is_heading(uncommented) => Line::Heading(uncommented),
        _ => text.strip_prefix("# ").map_or(Line::Setting(text), Line::Comment),
    }
}

/// A table's name in brackets and nothing else; elements of lists have quotes, or stand further right.
fn is_heading(text: &str) -> bool {
    let name = text.trim_start_matches('[').trim_end_matches(']');
    text.starts_with('[') && text.ends_with(']') && name.chars().all(|char| char.is_ascii_lowercase() || "._".contains(char))
}

/// The page, of the text of the example.
pub(crate) fn page(example: &str, date: &str) -> String {
    let mut roff = Roff::new();
    roff.control("TH", ["KINETAIL.TOML", "5", date, SOURCE, "kinetail"]);
    // Names and paths are not divided at the ends of lines.
    roff.control("nh", []).control("ad", ["l"]);
    roff.control("SH", ["NAME"]).text([roman("kinetail.toml - configuration of the log-shipping agent kinetail")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([
        roman("A file in TOML, named by "),
        bold("--config"),
        roman("; packages install "),
        italic("/etc/kinetail/agent.toml"),
    ]);
    roff.text([roman("as one. What follows is "), italic("agent.toml.example"), roman(", which has every setting.")]);
    settings(&mut roff, example);
    roff.control("SH", ["FILES"]);
    for (path, meaning) in [
        ("/etc/kinetail/agent.toml", "The configuration of the service."),
        ("/etc/kinetail/conf.d", "A folder for further files of it."),
        ("/usr/share/doc/kinetail/agent.toml.example", "The text above as a file."),
    ] {
        roff.control("TP", []).text([italic(path)]).text([roman(meaning)]);
    }
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman("With a mistake in the configuration "), bold("kinetail run"), roman(" and "), bold("kinetail check")]);
    roff.text([roman(format!("say every one of them with its line, and end with {}.", exit::CONFIG))]);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("kinetail"), roman("(1),")]).text([bold("kinetail-check"), roman("(1),")]);
    roff.text([bold("kinetail-preview"), roman("(1)")]);
    roff.to_roff()
}

/// What is written of the example so far.
struct Text<'r> {
    roff: &'r mut Roff,
    /// Whether the lines written last stand as they are.
    is_verbatim: bool,
    /// Whether there is something in the section that the next paragraph has to be divided from.
    is_begun: bool,
}

/// Headings, paragraphs and settings in the order of the example. A comment right above a heading is the section's.
fn settings(roff: &mut Roff, example: &str) {
    let mut text = Text { roff, is_verbatim: false, is_begun: true };
    let mut comments: Vec<&str> = Vec::new();
    for written in example.lines() {
        match line(written) {
            Line::Comment(comment) => comments.push(comment),
            Line::Heading(name) => {
                text.heading(name);
                text.paragraphs(&mut comments);
            }
            Line::Setting(setting) => {
                text.paragraphs(&mut comments);
                text.setting(setting);
            }
            Line::Blank => {
                text.paragraphs(&mut comments);
                text.end_verbatim();
            }
        }
    }
    text.paragraphs(&mut comments);
    text.end_verbatim();
}

impl Text<'_> {
    fn heading(&mut self, name: &str) {
        self.end_verbatim();
        self.roff.control("SH", [name]);
        self.is_begun = false;
    }

    fn setting(&mut self, setting: &str) {
        if !self.is_verbatim {
            self.roff.control("RS", ["4"]).control("nf", []);
            (self.is_verbatim, self.is_begun) = (true, true);
        }
        self.roff.text([bold(setting)]);
    }

    fn end_verbatim(&mut self) {
        if self.is_verbatim {
            self.roff.control("fi", []).control("RE", []);
            self.is_verbatim = false;
        }
    }

    /// What is in backticks stands out; a comment without text divides.
    fn paragraphs(&mut self, comments: &mut Vec<&str>) {
        if comments.is_empty() {
            return;
        }
        self.end_verbatim();
        for paragraph in comments.split(|comment| comment.is_empty()) {
            if self.is_begun {
                self.roff.control("PP", []);
            }
            self.is_begun = true;
            let text = paragraph.join(" ");
            let inlines = text.split('`').enumerate().map(|(index, part)| match index % 2 {
                0 => roman(part),
                _ => bold(part),
            });
            self.roff.text(inlines.filter(|inline| *inline != roman("")).collect::<Vec<Inline>>());
        }
        comments.clear();
    }
}
