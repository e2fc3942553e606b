//! How long an index takes to open, what it holds in memory, and how fast it answers.
//!
//! `cargo bench -p kopia-repo --bench index -- --folder FOLDER --contents 1M,10M,75M` makes a
//! repository of so many contents for each number (their packs need not be there), opens it in
//! processes of its own, so that memory is measured and not guessed, and prints a table. A folder
//! `contents-N` that is already there is used again, and what was made stays if `--keep` is given.
//! Without `--folder` nothing is done: a test run of all targets ends at once.

mod generate;
mod measure;

use std::{error::Error, path::PathBuf, process::Command, time::Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PASSWORD: &str = "a password";
const USAGE: &str = "usage: --folder FOLDER [--contents 1M,10M,75M] [--lookups N] [--keep]";

/// What the command line asks for.
#[derive(Debug, Default)]
struct Arguments {
    folder: Option<PathBuf>,
    contents: Vec<u64>,
    lookups: u64,
    keep: bool,
    /// In a child: measure the repository in the folder, with what stays open for other children.
    child: bool,
    no_cache: bool,
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let Some(folder) = &arguments.folder else {
        println!("{USAGE}");
        return Ok(());
    };
    if arguments.child {
        let count = arguments.contents[0];
        return measure::child(folder, count, arguments.lookups, arguments.no_cache);
    }
    for &count in &arguments.contents {
        let place = folder.join(format!("contents-{count}"));
        if !place.join("whole").exists() {
            let begun = Instant::now();
            generate::repository(&place, count, generate::BLOBS_PER_EPOCH)?;
            std::fs::write(place.join("whole"), "")?;
            println!("# {count} contents made in {:.1?}", begun.elapsed());
        }
        let _ = std::fs::remove_dir_all(place.join("cache"));
        println!("{}", measure::HEADING);
        for name in ["cold", "warm 1", "warm 2", "warm 3"] {
            println!("{:>9} {name:<9}{}", count, measured(&place, count, &arguments)?);
        }
        if !arguments.keep {
            std::fs::remove_dir_all(&place)?;
        }
    }
    Ok(())
}

/// One line, from a process of its own.
fn measured(place: &std::path::Path, count: u64, arguments: &Arguments) -> Outcome<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--folder").arg(place).args(["--contents", &count.to_string()]);
    command.args(["--lookups", &arguments.lookups.to_string(), "--child"]);
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the child ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut parsed = Self { lookups: 1_000_000, ..Self::default() };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} what? {USAGE}"));
            match word.as_str() {
                "--folder" => parsed.folder = Some(value()?.into()),
                "--contents" => {
                    let all = value()?;
                    parsed.contents = all.split(',').map(number).collect::<Outcome<_>>()?;
                }
                "--lookups" => parsed.lookups = number(&value()?)?,
                "--keep" => parsed.keep = true,
                "--child" => parsed.child = true,
                "--no-cache" => parsed.no_cache = true,
                // What `cargo bench` and `cargo test` add.
                _ => {}
            }
        }
        if parsed.contents.is_empty() {
            parsed.contents = vec![1_000_000, 10_000_000, 75_000_000];
        }
        Ok(parsed)
    }
}

/// `75M`, `10k` or digits.
fn number(text: &str) -> Outcome<u64> {
    let (digits, unit) = match text.strip_suffix('M') {
        Some(digits) => (digits, 1_000_000),
        None => text.strip_suffix('k').map_or((text, 1), |digits| (digits, 1_000)),
    };
    Ok(digits.parse::<u64>()? * unit)
}
