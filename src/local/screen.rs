//! Standard error, shared by the live view and the log so that neither tears the other.

use std::io::{self, IsTerminal as _, Write};

use console::{Term, truncate_str};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

/// Standard error. A clone is the same screen. As a `MakeWriter` it takes log lines, which appear above the live view.
#[derive(Clone, Default)]
pub struct Screen(MultiProgress);

impl Screen {
    /// Whether there is a terminal to draw on.
    pub(super) fn is_terminal(&self) -> bool {
        io::stderr().is_terminal() && !self.0.is_hidden()
    }

    /// A canvas below the log.
    pub(super) fn canvas(&self) -> Canvas {
        // A pattern of one placeholder is always well-formed; if not, the bar's own style shows that something is wrong.
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        Canvas(self.0.add(ProgressBar::no_length().with_style(style)))
    }

    /// Writes whole lines above the live view.
    pub(super) fn write(&self, text: &[u8]) -> io::Result<()> {
        self.0.suspend(|| io::stderr().lock().write_all(text))
    }
}

/// Some lines that are drawn again and again in the same place.
pub(super) struct Canvas(ProgressBar);

impl Canvas {
    /// Replaces what is drawn, each line cut to the width of the terminal.
    pub(super) fn draw(&self, lines: &[String]) {
        let (_, width) = Term::stderr().size();
        // In the last column some terminals already begin the next line.
        let width = usize::from(width).saturating_sub(1);
        let lines: Vec<_> = lines.iter().map(|line| truncate_str(line, width, "…")).collect();
        self.0.set_message(lines.join("\n"));
    }

    /// Takes it off the screen.
    pub(super) fn erase(self) {
        self.0.finish_and_clear();
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = LogWriter<'a>;

    fn make_writer(&'a self) -> LogWriter<'a> {
        LogWriter(self)
    }
}

/// Writes the lines of one event, which come in one piece.
pub struct LogWriter<'a>(&'a Screen);

impl Write for LogWriter<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write(text)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
