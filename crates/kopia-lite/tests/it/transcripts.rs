//! Every command as a person meets it: what is typed, stdout, stderr, exit code.
//!
//! A file of `tests/transcripts` is one session in a home of its own:
//!
//! ```text
//! world: folder
//! $ kopia-lite show nothing
//! standard output
//! ! standard error
//! ? 1
//! ```
//!
//! `? 0` is left out. Times and IDs are words, and `[..]` stands for what differs from run to run.
//! With `KOPIA_LITE_TRANSCRIPTS=write` the files are written anew, each from three sessions, and what
//! those do not agree upon becomes `[..]`. What a change of a transcript means for scripts is for
//! its reader to say.

use std::path::PathBuf;

use crate::{
    cold_walk::commands,
    docs::calls,
    env::{S3Env, TestEnv, masked},
    shell,
};

/// Where a session takes place.
enum World {
    Folder(TestEnv),
    S3(S3Env),
}

impl World {
    fn named(name: &str) -> Self {
        match name {
            "folder" => Self::Folder(TestEnv::new()),
            "s3" => Self::S3(S3Env::new()),
            other => panic!("there is no world {other:?}"),
        }
    }

    fn env(&self) -> &TestEnv {
        match self {
            Self::Folder(env) => env,
            Self::S3(s3) => s3,
        }
    }

    /// The text with the names that steps may use, and without what is of this machine.
    fn put(&self, step: &str) -> String {
        let mut step = step.replace("$T/", &self.env().text(""));
        if let Self::S3(s3) = self {
            step = step.replace("$S3", &s3.flags());
        }
        step
    }

    fn take(&self, text: &str) -> String {
        let mut text = text.replace(&self.env().text(""), "$T/");
        if let Self::S3(s3) = self {
            text = text.replace(&s3.server.addr().to_string(), "ENDPOINT");
        }
        without_durations(&masked(&text))
    }

    /// Carries out a step of the session.
    fn step(&self, step: &str) -> Vec<String> {
        if let (Self::S3(s3), Some(class)) = (self, step.strip_prefix("all packs go to ")) {
            let objects = s3.server.objects();
            objects.keys("r/p").iter().for_each(|key| _ = objects.set_class(key, class));
            return Vec::new();
        }
        let run = shell::run(self.env(), &self.put(step));
        let (out, err) = (self.take(&run.stdout), self.take(&run.stderr));
        let mut lines: Vec<_> = out.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.extend(err.lines().map(|line| format!("! {line}").trim_end().to_owned()));
        if run.code != 0 {
            lines.push(format!("? {}", run.code));
        }
        lines
    }
}

/// The text with a word for how long something took, and for names of thaws.
fn without_durations(text: &str) -> String {
    let mut out = String::new();
    for piece in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && !".µ-".contains(c)) {
        let end = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != 'µ');
        let number = ["ms", "µs", "s"].iter().find_map(|unit| end.strip_suffix(unit));
        let is_time = number.is_some_and(|it| it.parse::<f64>().is_ok());
        let is_thaw = end.starts_with("t-20");
        let word = if is_time {
            "DURATION"
        } else if is_thaw {
            "THAW"
        } else {
            end
        };
        out += word;
        out += &piece[end.len()..];
    }
    out
}

/// A transcript: where it takes place, and each step with what followed.
struct Transcript {
    world: String,
    steps: Vec<(String, Vec<String>)>,
}

impl Transcript {
    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let world = first.strip_prefix("world: ").expect("the first line names the world");
        let mut steps: Vec<(String, Vec<String>)> = Vec::new();
        for line in lines {
            if let Some(step) = line.strip_prefix("$ ") {
                steps.push((step.to_owned(), Vec::new()));
            } else if let Some((_, said)) = steps.last_mut() {
                said.push(line.to_owned());
            }
        }
        Self { world: world.to_owned(), steps }
    }

    fn text(&self) -> String {
        let mut text = format!("world: {}\n", self.world);
        for (step, said) in &self.steps {
            text += &format!("$ {step}\n");
            said.iter().for_each(|line| text += &format!("{line}\n"));
        }
        text
    }

    /// The same steps once more.
    fn again(&self) -> Self {
        let world = World::named(&self.world);
        let steps = self.steps.iter().map(|(step, _)| (step.clone(), world.step(step))).collect();
        Self { world: self.world.clone(), steps }
    }
}

/// Does a line say what was expected? `[..]` stands for anything.
fn fits(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A line that two others fit.
fn common(one: &str, other: &str) -> String {
    if fits(one, other) {
        return one.to_owned();
    }
    // Word by word where there are as many, so that most of the line stays.
    let (a, b): (Vec<_>, Vec<_>) = (one.split(' ').collect(), other.split(' ').collect());
    if a.len() == b.len() {
        let pairs = a.iter().zip(&b);
        let words = pairs.map(|(a, b)| if fits(a, b) { (*a).to_owned() } else { unlike(a, b) });
        return words.collect::<Vec<_>>().join(" ");
    }
    unlike(one, other)
}

/// What two texts have in common at both ends.
fn unlike(one: &str, other: &str) -> String {
    let start: usize = one
        .chars()
        .zip(other.chars())
        .take_while(|(a, b)| a == b && !a.is_ascii_digit() && *a != ' ')
        .map(|(a, _)| a.len_utf8())
        .sum();
    let (a, b) = (&one[start..], &other[start..]);
    let end: usize = a
        .chars()
        .rev()
        .zip(b.chars().rev())
        .take_while(|(a, b)| a == b && !a.is_ascii_digit() && *a != ' ')
        .map(|(a, _)| a.len_utf8())
        .sum();
    format!("{}[..]{}", &one[..start], &a[a.len() - end..])
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "transcripts"].iter().collect()
}

fn all() -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder()).unwrap();
    let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

fn check(name: &str) {
    let path = folder().join(name);
    let transcript = Transcript::parse(&fs_err::read_to_string(&path).unwrap());
    if std::env::var("KOPIA_LITE_TRANSCRIPTS").as_deref() == Ok("write") {
        let all = [transcript.again(), transcript.again(), transcript.again()];
        let [mut written, others @ ..] = all;
        for other in &others {
            for ((step, said), (_, also)) in written.steps.iter_mut().zip(&other.steps) {
                assert_eq!(said.len(), also.len(), "{step}:\n{said:#?}\n{also:#?}");
                said.iter_mut().zip(also).for_each(|(one, other)| *one = common(one, other));
            }
        }
        // What was put there by hand stays where it still fits.
        for ((_, said), (_, before)) in written.steps.iter_mut().zip(&transcript.steps) {
            if said.len() == before.len() {
                said.iter_mut()
                    .zip(before)
                    .filter(|(line, before)| fits(before, line))
                    .for_each(|(line, before)| line.clone_from(before));
            }
        }
        fs_err::write(&path, written.text()).unwrap();
        return;
    }
    let world = World::named(&transcript.world);
    for (step, wanted) in &transcript.steps {
        let said = world.step(step);
        let is_same = wanted.len() == said.len()
            && wanted.iter().zip(&said).all(|(wanted, line)| fits(wanted, line));
        let (wanted, said) = (wanted.join("\n"), said.join("\n"));
        assert!(is_same, "{name}: $ {step}\nwas to say\n{wanted}\nand said\n{said}");
    }
}

/// The commands that a step calls, each by its words in the definition.
fn called(step: &str) -> Vec<String> {
    let definition = kopia_lite::cli::definition();
    let one = |words: Vec<String>| {
        let (mut at, mut name) = (&definition, Vec::new());
        for word in words.iter().skip(1) {
            if let Some(below) = at.find_subcommand(word) {
                name.push(below.get_name().to_owned());
                at = below;
            }
        }
        name.join(" ")
    };
    calls(step).into_iter().map(one).collect()
}

#[test]
fn every_command_has_a_transcript() {
    let mut seen = Vec::new();
    for path in all() {
        let text = fs_err::read_to_string(&path).unwrap();
        let steps = Transcript::parse(&text).steps;
        seen.extend(steps.iter().flat_map(|(step, _)| called(step)));
    }
    let missing: Vec<_> = commands().into_iter().filter(|name| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "no transcript in {} has {missing:#?}", folder().display());
}

#[test]
fn wildcards_stand_for_anything_and_the_rest_for_itself() {
    for (wanted, line, does) in [
        ("a b", "a b", true),
        ("a b", "a bc", false),
        ("a [..] c", "a x y c", true),
        ("a [..] c", "a x y d", false),
        ("[..]b[..]", "abc", true),
        ("[..]", "", true),
        ("a[..]a", "a", false),
    ] {
        assert_eq!(fits(wanted, line), does, "{wanted:?} {line:?}");
    }
    assert_eq!(common("p [..] 12 KB", "p 9 17 KB"), "p [..] [..] KB");
    assert!(fits(&common("12 of 3", "1.5 of 3"), "7 of 3"));
}

/// A test for each file, so that they run side by side.
macro_rules! transcripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(concat!(stringify!($name), ".txt"));
        })*

        #[test]
        fn every_transcript_is_checked() {
            let known = [$(concat!(stringify!($name), ".txt")),*];
            for path in all() {
                let name = path.file_name().unwrap().to_str().unwrap();
                assert!(known.contains(&name), "{name} is in no test");
            }
        }
    };
}

transcripts! {
    repository repository_s3 snapshot files policy blobs contents_and_indexes maintenance
    storage_classes thaw local
}
