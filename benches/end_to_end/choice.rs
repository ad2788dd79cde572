//! What is measured, by the command line.

/// Parts and cases that were named, or all.
pub(crate) struct Choice {
    parts: Vec<String>,
    words: Vec<String>,
    /// Shows only that it runs.
    pub(crate) is_quick: bool,
}

impl Choice {
    pub(crate) fn from_arguments(part_names: &[&str]) -> Self {
        let (options, words): (Vec<String>, Vec<String>) =
            std::env::args().skip(1).filter(|argument| argument != "--bench").partition(|argument| argument.starts_with("--"));
        let (parts, words) = words.into_iter().partition(|word| part_names.contains(&word.as_str()));
        assert!(options.iter().all(|option| option == "--quick"), "{options:?}: only --quick is known");
        Self { parts, words, is_quick: !options.is_empty() }
    }

    pub(crate) fn has_part(&self, name: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|part| part == name)
    }

    /// Whether the case of this name is wanted: all are unless words say which.
    pub(crate) fn has_case(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }

    /// The one or the other.
    pub(crate) fn full_or_quick<T>(&self, full: T, quick: T) -> T {
        if self.is_quick { quick } else { full }
    }
}
