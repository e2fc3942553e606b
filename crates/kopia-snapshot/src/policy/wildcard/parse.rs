//! From the text of a rule to its pieces.

use super::unicode::{is_lower, is_print, is_upper};
use super::{NamedClass, Pattern, PatternError, SetItem, Token, decode, folded};

/// A position in a pattern. Reading a NUL, or past the end, gives NUL and goes nowhere.
struct Scanner {
    text: Vec<char>,
    at: usize,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> char {
        self.text.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn read(&mut self) -> char {
        let c = self.peek(0);
        if c != '\0' {
            self.at += 1;
        }
        c
    }

    fn at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    fn distance_to(&self, wanted: char) -> Option<usize> {
        self.text[self.at..].iter().position(|&c| c == wanted)
    }
}

/// Reads a whole rule.
pub(super) fn pattern(rule: &[u8], base: &str, ignore_case: bool) -> Result<Pattern, PatternError> {
    let mut chars = decode(rule);
    // Blanks around the rule don't count, unless the last is escaped.
    if rule.len() > 2 && rule[rule.len() - 2] != b'\\' {
        let blank = |c: &char| c.is_whitespace();
        let end = chars.iter().rposition(|c| !blank(c)).map_or(0, |last| last + 1);
        let start = chars.iter().position(|c| !blank(c)).unwrap_or(end).min(end);
        chars = chars[start..end].to_vec();
    }
    let text: String = chars.iter().collect();
    if ignore_case {
        chars.iter_mut().for_each(|c| *c = folded(*c));
    }
    let mut scanner = Scanner { text: chars, at: 0 };
    while scanner.peek(0).is_whitespace() {
        scanner.read();
    }
    let negated = scanner.peek(0) == '!';
    if negated {
        scanner.read();
    }
    let mut tokens = anchor(&scanner, &text, base);
    let dirs_only = scanner.text.last() == Some(&'/');
    if dirs_only {
        scanner.text.pop();
        scanner.at = scanner.at.min(scanner.text.len());
    }
    loop {
        let token = match scanner.read() {
            '\0' => break,
            '\\' if scanner.at_end() => return Err(ends_in_backslash(&text)),
            '\\' => Token::Char(scanner.read()),
            '?' => Token::AnyChar,
            '/' => Token::Slash,
            '*' => star(&mut scanner),
            '[' => set(&mut scanner, &text, ignore_case)?,
            c => Token::Char(c),
        };
        tokens.push(token);
    }
    Ok(Pattern { text, tokens, dirs_only, negated, ignore_case })
}

/// What stands before the rule itself: the folder it is from, and `**/` if it is for any depth.
fn anchor(scanner: &Scanner, text: &str, base: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let base = base.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(base);
    let rooted = scanner.peek(0) == '/';
    if text.is_empty() {
        return tokens;
    }
    if !base.is_empty() {
        let token = |c| if c == '/' { Token::Slash } else { Token::Char(c) };
        tokens.extend(base.chars().map(token));
        if !rooted {
            tokens.push(Token::Slash);
        }
    }
    if rooted || text == "**" {
        return tokens;
    }
    let slash = scanner.distance_to('/');
    if slash.is_none_or(|distance| scanner.at + distance + 1 == scanner.text.len()) {
        tokens.extend([Token::DoubleStar, Token::Slash]);
    } else if base.is_empty() {
        tokens.push(Token::Slash);
    }
    tokens
}

/// One star or several, the first of which was read. They are a double star only as the first
/// thing in the pattern, or between a slash and a slash or the end.
fn star(scanner: &mut Scanner) -> Token {
    if scanner.peek(0) != '*' {
        return Token::Star;
    }
    let before = scanner.at.checked_sub(2).map(|index| scanner.text[index]);
    while scanner.peek(0) == '*' {
        scanner.read();
    }
    let bounded = scanner.peek(0) == '/' || scanner.at_end();
    match before {
        None | Some('\0') => Token::DoubleStar,
        Some('/') if bounded => Token::DoubleStar,
        _ => Token::Star,
    }
}

/// A set, the opening bracket of which was read.
fn set(scanner: &mut Scanner, text: &str, ignore_case: bool) -> Result<Token, PatternError> {
    let mut c = scanner.read();
    let negated = c == '!';
    if negated {
        c = scanner.read();
    }
    let mut items = Vec::new();
    while c != ']' {
        if c == '\\' {
            c = scanner.read();
            if c == '\0' {
                return Err(ends_in_backslash(text));
            }
        }
        if c == '\0' {
            return Err(unterminated(&go_quoted(text)));
        }
        items.push(item(scanner, c, text, ignore_case)?);
        c = scanner.read();
    }
    Ok(Token::Set { items, negated })
}

/// One item of a set, the first character of which was read.
fn item(
    scanner: &mut Scanner,
    first: char,
    text: &str,
    ignore_case: bool,
) -> Result<SetItem, PatternError> {
    if scanner.peek(0) == '-' && !matches!(scanner.peek(1), ']' | '\0') {
        scanner.read();
        let mut last = scanner.read();
        if last == '\\' {
            last = scanner.read();
            if last == '\0' {
                return Err(ends_in_backslash(text));
            }
        }
        return Ok(SetItem::Range(first, last));
    }
    if first == '[' && scanner.peek(0) == ':' {
        let Some(close) = scanner.distance_to(']') else {
            return Err(unterminated(&format!("\"{text}\"")));
        };
        // Kopia compares a distance with a position here, so that far from the start of a pattern
        // this is no class but a set of the letters of its name.
        if close <= scanner.at + 1 || scanner.peek(close - 1) != ':' {
            return Ok(SetItem::Char(first));
        }
        let name: String = scanner.text[scanner.at + 1..scanner.at + close - 1].iter().collect();
        let name = name.to_lowercase();
        scanner.at += close + 1;
        let class = named_class(&name, ignore_case).ok_or_else(|| {
            let quoted = go_quoted(text);
            PatternError(format!(
                "invalid pattern {quoted}: unrecognized character class [:{name}:]"
            ))
        })?;
        return Ok(SetItem::Class(class));
    }
    Ok(SetItem::Char(first))
}

fn named_class(name: &str, ignore_case: bool) -> Option<NamedClass> {
    Some(match name {
        "alnum" => NamedClass::Alnum,
        "alpha" => NamedClass::Alpha,
        "ascii" => NamedClass::Ascii,
        "blank" => NamedClass::Blank,
        "cntrl" => NamedClass::Cntrl,
        "digit" => NamedClass::Digit,
        "graph" => NamedClass::Graph,
        "lower" => NamedClass::Lower,
        "print" => NamedClass::Print,
        "punct" => NamedClass::Punct,
        "space" => NamedClass::Space,
        "upper" if ignore_case => NamedClass::Cased,
        "upper" => NamedClass::Upper,
        "xdigit" => NamedClass::Xdigit,
        _ => return None,
    })
}

fn ends_in_backslash(text: &str) -> PatternError {
    PatternError(format!(
        "invalid pattern \"{text}\": end of line found after '\\' character. \
         Use '\\\\' to indicate a literal backslash in a pattern"
    ))
}

fn unterminated(quoted: &str) -> PatternError {
    PatternError(format!("invalid pattern {quoted}: unterminated sequence, expected ']'"))
}

/// A text as a Go literal.
fn go_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            _ if is_print(c) || is_upper(c) || is_lower(c) => quoted.push(c),
            _ => match u32::from(c) {
                code @ (0..0x20 | 0x7f) => quoted.push_str(&format!("\\x{code:02x}")),
                code @ 0..0x1_0000 => quoted.push_str(&format!("\\u{code:04x}")),
                code => quoted.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    quoted.push('"');
    quoted
}
