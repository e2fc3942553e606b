//! Patterns for names and paths, as shells and Go's `path.Match` have them.
//!
//! `*` is any run of characters but a slash, `?` one character, `[a-c]` one of a set, `[^a-c]` one
//! that is not in it, and `\` takes the meaning of what follows. In a pattern for paths `**` runs
//! across slashes.

use crate::error::{Result, SnapshotError};

/// A pattern that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
    ignore_case: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    Any,
    Star,
    DoubleStar,
    Set { ranges: Vec<(char, char)>, negated: bool },
}

impl Glob {
    /// Reads a pattern as Go's `path.Match` does: two stars are no more than one.
    ///
    /// # Errors
    /// [`SnapshotError::Invalid`]: a set is not closed or empty, or nothing follows a backslash.
    pub fn new(pattern: &str) -> Result<Self> {
        let tokens = parse(pattern)?.into_iter();
        let single = |token| if token == Token::DoubleStar { Token::Star } else { token };
        Ok(Self { tokens: tokens.map(single).collect(), ignore_case: false })
    }

    /// Reads a pattern for paths, in which `**` runs across slashes.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn for_paths(pattern: &str, ignore_case: bool) -> Result<Self> {
        let tokens = parse(&if ignore_case { pattern.to_lowercase() } else { pattern.into() })?;
        Ok(Self { tokens, ignore_case })
    }

    /// Does the pattern match the whole of `text`?
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = match self.ignore_case {
            true => text.to_lowercase().chars().collect(),
            false => text.chars().collect(),
        };
        // For each place in the text: can the tokens so far end there? No pattern takes longer than
        // its length times that of the text.
        let mut ends = vec![false; text.len() + 1];
        ends[0] = true;
        for token in &self.tokens {
            ends = step(token, &text, &ends);
        }
        ends[text.len()]
    }
}

fn step(token: &Token, text: &[char], ends: &[bool]) -> Vec<bool> {
    let mut next = vec![false; ends.len()];
    let one = |at: usize| match token {
        Token::Char(wanted) => text[at] == *wanted,
        Token::Any => text[at] != '/',
        Token::Set { ranges, negated } => {
            let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&text[at]));
            text[at] != '/' && within != *negated
        }
        Token::Star | Token::DoubleStar => false,
    };
    for at in 0..ends.len() {
        match token {
            Token::Star | Token::DoubleStar => {
                let crosses = *token == Token::DoubleStar;
                let goes_on = at > 0 && next[at - 1] && (crosses || text[at - 1] != '/');
                next[at] = ends[at] || goes_on;
            }
            _ => next[at] = at > 0 && ends[at - 1] && one(at - 1),
        }
    }
    next
}

fn parse(pattern: &str) -> Result<Vec<Token>> {
    let bad = || SnapshotError::Invalid(format!("the pattern {pattern:?}: syntax error"));
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(next) = rest.next() {
        tokens.push(match next {
            '*' => {
                let mut stars = 1;
                while rest.next_if_eq(&'*').is_some() {
                    stars += 1;
                }
                if stars > 1 { Token::DoubleStar } else { Token::Star }
            }
            '?' => Token::Any,
            '\\' => Token::Char(rest.next().ok_or_else(bad)?),
            '[' => set(&mut rest).ok_or_else(bad)?,
            other => Token::Char(other),
        });
    }
    Ok(tokens)
}

/// What follows a `[`, up to its end.
fn set(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let mut next = rest.next()?;
        if next == ']' && !ranges.is_empty() {
            return Some(Token::Set { ranges, negated });
        }
        let member = |next: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>| match next {
            '-' | ']' => None,
            '\\' => rest.next(),
            other => Some(other),
        };
        let low = member(next, rest)?;
        let mut high = low;
        if rest.next_if_eq(&'-').is_some() {
            next = rest.next()?;
            high = member(next, rest)?;
        }
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_go() {
        for (pattern, text, wanted) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a**", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^b-d]", "abc", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "aäb", true),
            ("a[^a]b", "aäb", true),
            ("a?b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[x-]", "x", false),
            ("", "", true),
            ("", "x", false),
        ] {
            let matched = Glob::new(pattern).is_ok_and(|glob| glob.matches(text));
            assert_eq!(matched, wanted, "{pattern} {text}");
        }
        for bad in ["[", "[a", "[]", "[-]", "[a-]", "a\\", "[^]"] {
            assert!(Glob::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_stars_cross_slashes_in_paths() {
        let matches =
            |pattern: &str, text: &str| Glob::for_paths(pattern, false).unwrap().matches(text);
        assert!(matches("/a/**/d.txt", "/a/b/c/d.txt"));
        assert!(!matches("/a/*/d.txt", "/a/b/c/d.txt"));
        assert!(matches("**/c/*", "/a/b/c/d.txt"));
        assert!(Glob::for_paths("ÄB*", true).unwrap().matches("äbC"));
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        let glob = Glob::new(&"*a".repeat(200)).unwrap();
        assert!(!glob.matches(&"b".repeat(4000)));
    }
}
