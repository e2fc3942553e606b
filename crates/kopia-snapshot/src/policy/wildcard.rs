//! One ignore rule: a pattern much like those of `.gitignore`, and whether a path matches it.
//!
//! Kopia's own matcher decides what is in a backup, so it is followed to the letter, odd corners
//! included: a class like `[[:digit:]]` is only known near the start of a pattern, a single star
//! may swallow one slash, `!**` is no double star. Facts: `docs/format/07-upload-restore.md` §3,
//! vectors `wildcards.json`.

mod parse;
mod unicode;

/// Why a pattern cannot be used, in Kopia's words: they are stored with the failed folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// This character.
    Char(char),
    /// `/`.
    Slash,
    /// `?`: any character but a slash.
    AnyChar,
    /// `*`.
    Star,
    /// `**`.
    DoubleStar,
    /// `[…]`: any of these, or none of them.
    Set { items: Vec<SetItem>, negated: bool },
}

/// A piece of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SetItem {
    Char(char),
    Range(char, char),
    Class(NamedClass),
}

/// `[:name:]` in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamedClass {
    Alnum,
    Alpha,
    Ascii,
    Blank,
    Cntrl,
    Digit,
    Graph,
    Lower,
    Print,
    Punct,
    Space,
    Upper,
    /// Upper or lower: `upper` where case is ignored.
    Cased,
    Xdigit,
}

impl SetItem {
    fn matches(&self, c: char) -> bool {
        match *self {
            Self::Char(item) => c == item,
            Self::Range(first, last) => (first..=last).contains(&c),
            Self::Class(class) => class.matches(c),
        }
    }
}

impl NamedClass {
    fn matches(self, c: char) -> bool {
        use unicode::{
            is_digit, is_graphic, is_letter, is_lower, is_print, is_punct_or_symbol,
            is_space_separator, is_upper,
        };
        match self {
            Self::Alnum => is_letter(c) || is_digit(c),
            Self::Alpha => is_letter(c),
            Self::Ascii => c.is_ascii(),
            Self::Blank => is_space_separator(c) || c == '\t',
            Self::Cntrl => c.is_control(),
            Self::Digit => is_digit(c),
            Self::Graph => is_graphic(c),
            Self::Lower => is_lower(c),
            Self::Print => is_print(c),
            Self::Punct => is_punct_or_symbol(c),
            Self::Space => c.is_whitespace(),
            Self::Upper => is_upper(c),
            Self::Cased => is_upper(c) || is_lower(c),
            Self::Xdigit => matches!(c, 'A'..='F' | 'a'..='f') || is_digit(c),
        }
    }
}

/// A path as patterns see it: characters, with one U+FFFD for each byte that is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathChars(Vec<char>);

impl PathChars {
    /// Decodes a path, which starts with a slash at the root of the snapshot.
    #[must_use]
    pub fn new(path: &[u8]) -> Self {
        Self(decode(path))
    }
}

/// Characters of bytes as Go decodes them.
fn decode(bytes: &[u8]) -> Vec<char> {
    let mut chars = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chars.extend(chunk.valid().chars());
        chars.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    chars
}

/// Case folding of the matcher: letters of upper case only.
fn folded(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (unicode::is_upper(c), lower.next(), lower.next()) {
        (true, Some(lower), None) => lower,
        _ => c,
    }
}

/// A rule, ready to be tried on paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    tokens: Vec<Token>,
    dirs_only: bool,
    negated: bool,
    ignore_case: bool,
}

impl Pattern {
    /// Reads a rule that was found in the folder `base` (empty for the root, else `/sub/folder`).
    ///
    /// # Errors
    ///
    /// [`PatternError`] for a set without end, a backslash at the end, an unknown class.
    pub fn new(rule: &[u8], base: &str) -> Result<Self, PatternError> {
        parse::pattern(rule, base, false)
    }

    /// [`new`](Self::new) for a matcher that ignores case. Backups never do.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn ignoring_case(rule: &[u8], base: &str) -> Result<Self, PatternError> {
        parse::pattern(rule, base, true)
    }

    /// The rule without blanks around it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The rule starts with `!`: it takes entries in again.
    #[must_use]
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// Whether the entry is to be ignored after this rule. Only to be asked of a plain rule while
    /// the entry is included, and of a negated one while it is ignored.
    #[must_use]
    pub fn ignores(&self, path: &PathChars, is_dir: bool) -> bool {
        if self.dirs_only && !is_dir {
            return self.negated;
        }
        let hit = if self.ignore_case {
            let path: Vec<char> = path.0.iter().map(|&c| folded(c)).collect();
            try_match(&self.tokens, &path)
        } else {
            try_match(&self.tokens, &path.0)
        };
        (hit == Outcome::Match) != self.negated
    }
}

/// How trying a pattern ended. The two kinds of giving up keep stars from trying in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Match,
    NoMatch,
    /// The text ended first: no shorter rest of it will match either.
    TextTooShort,
    /// A single star met a slash: only a double star further out may go on.
    StarAtSlash,
}

/// Matches all of `text`. Recursion goes as deep as there are stars in the pattern.
fn try_match(tokens: &[Token], text: &[char]) -> Outcome {
    let mut at = 0;
    for (index, token) in tokens.iter().enumerate() {
        let star = matches!(token, Token::Star | Token::DoubleStar);
        let Some(&c) = text.get(at) else {
            if star {
                return match_star(&tokens[index..], text, at);
            }
            return Outcome::TextTooShort;
        };
        let fits = match token {
            Token::Char(wanted) => c == *wanted,
            Token::Slash => c == '/',
            Token::AnyChar => c != '/',
            Token::Set { items, negated } => items.iter().any(|item| item.matches(c)) != *negated,
            Token::Star if tokens.get(index + 1) == Some(&Token::Slash) => {
                // The star takes all up to the next slash. At the start of the text, where there
                // is nothing before the slash to stand on, Kopia takes this for a miss.
                match text[at..].iter().position(|&c| c == '/') {
                    None => return Outcome::NoMatch,
                    Some(0) if at == 0 => return Outcome::NoMatch,
                    Some(distance) => {
                        at += distance;
                        continue;
                    }
                }
            }
            Token::Star | Token::DoubleStar => return match_star(&tokens[index..], text, at),
        };
        if !fits {
            return Outcome::NoMatch;
        }
        at += 1;
    }
    if at >= text.len() { Outcome::Match } else { Outcome::NoMatch }
}

/// Matches from a star (the first of `tokens`) at position `at` on.
fn match_star(tokens: &[Token], text: &[char], at: usize) -> Outcome {
    let double = tokens[0] == Token::DoubleStar;
    let text = &text[at..];
    match (&tokens[1..], double) {
        ([], true) => return Outcome::Match,
        ([], false) if text.contains(&'/') => return Outcome::NoMatch,
        ([], false) => return Outcome::Match,
        // `**/` also stands for no folder at all.
        ([Token::Slash, rest @ ..], true)
            if !rest.is_empty() && try_match(rest, text) == Outcome::Match =>
        {
            return Outcome::Match;
        }
        // No slash is left for the one that follows.
        ([Token::Slash, ..], false) => return Outcome::NoMatch,
        _ => {}
    }
    for taken in 0..text.len() {
        match try_match(&tokens[1..], &text[taken..]) {
            Outcome::NoMatch => {
                // The slash is noticed one character late, after the place behind it was tried.
                if !double && text[taken.saturating_sub(1)] == '/' {
                    return Outcome::StarAtSlash;
                }
            }
            Outcome::StarAtSlash if double => {}
            end => return end,
        }
    }
    Outcome::TextTooShort
}

#[cfg(test)]
mod tests;
