//! Medians, ratios, and the tables that show them.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    course::{STEPS, Sample, Step},
    tools::Tool,
};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    Wall,
    Cpu,
    Memory,
    Requests,
    /// Bytes from the client to the server.
    Up,
    /// Bytes from the server to the client.
    Down,
    Repository,
}

impl Metric {
    const ALL: [Self; 7] = [
        Self::Wall,
        Self::Cpu,
        Self::Memory,
        Self::Requests,
        Self::Up,
        Self::Down,
        Self::Repository,
    ];

    /// For people, with its unit.
    pub fn title(self) -> &'static str {
        match self {
            Self::Wall => "wall, s",
            Self::Cpu => "CPU, s",
            Self::Memory => "peak RSS, MiB",
            Self::Requests => "requests",
            Self::Up => "sent, MiB",
            Self::Down => "received, MiB",
            Self::Repository => "repository, MiB",
        }
    }

    /// Its value in one sample, in its unit; none where there is no server to ask.
    fn of(self, sample: &Sample) -> Option<f64> {
        let sum = |of: &std::collections::BTreeMap<String, u64>| of.values().sum::<u64>() as f64;
        let traffic = sample.traffic.as_ref();
        Some(match self {
            Self::Wall => sample.cost.wall.as_secs_f64(),
            Self::Cpu => sample.cost.cpu.as_secs_f64(),
            Self::Memory => mib(sample.cost.memory as f64),
            Self::Requests => sum(&traffic?.requests),
            Self::Up => mib(sum(&traffic?.received)),
            Self::Down => mib(sum(&traffic?.sent)),
            Self::Repository => mib(sample.repository as f64),
        })
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::Requests => format!("{value:.0}"),
            Self::Memory => format!("{value:.1}"),
            _ => format!("{value:.2}"),
        }
    }
}

fn mib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

/// What one client did in all rounds.
#[derive(Debug)]
pub struct Results {
    pub tool: Tool,
    pub name: &'static str,
    pub version: String,
    /// A list for each round, an error where one failed.
    pub rounds: Vec<Result<Vec<Sample>, String>>,
}

impl Results {
    /// The median over all rounds that have it.
    pub fn median(&self, step: Step, metric: Metric) -> Option<f64> {
        let samples = self.rounds.iter().flatten().flatten().filter(|it| it.step == step);
        median(samples.filter_map(|sample| metric.of(sample)).collect())
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// Ours by theirs; none where theirs is nothing.
pub fn ratio(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    theirs.filter(|it| *it > 0.0).and_then(|theirs| Some(ours? / theirs))
}

/// A data set on a storage with a policy: ours first, then those it is set against.
#[derive(Debug)]
pub struct Combination {
    pub data: &'static str,
    pub storage: &'static str,
    pub policy: &'static str,
    pub clients: Vec<Results>,
}

impl Combination {
    /// The three names.
    pub fn title(&self) -> String {
        format!("{}, {}, {}", self.data, self.storage, self.policy)
    }

    /// Steps by clients: the medians, and what ours are of theirs.
    pub fn table(&self) -> String {
        let mut out = format!("\n{}\n{:20} {:15}", self.title(), "step", "");
        for client in &self.clients {
            let _ = write!(out, " {:>11}", client.name);
        }
        for client in self.clients.iter().skip(1) {
            let _ = write!(out, " {:>11}", format!("to {}", client.name));
        }
        out.push('\n');
        for (_, step) in STEPS {
            let mut title = step.title();
            for metric in Metric::ALL {
                let medians: Vec<_> =
                    self.clients.iter().map(|it| it.median(*step, metric)).collect();
                if medians.iter().all(Option::is_none) {
                    continue;
                }
                let _ = write!(out, "{title:20} {:15}", metric.title());
                title = "";
                for value in &medians {
                    let text = value.map_or("-".to_owned(), |value| metric.text(value));
                    let _ = write!(out, " {text:>11}");
                }
                for theirs in medians.iter().skip(1) {
                    let text = ratio(medians[0], *theirs)
                        .map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
                    let _ = write!(out, " {text:>11}");
                }
                out.push('\n');
            }
        }
        out
    }

    /// What went wrong.
    pub fn errors(&self) -> Vec<String> {
        let of = |client: &Results| {
            let failed = client.rounds.iter().filter_map(|round| round.as_ref().err());
            failed.map(|it| format!("{}: {it}", self.title())).collect::<Vec<_>>()
        };
        self.clients.iter().flat_map(of).collect()
    }

    /// Every sample, for other programs.
    pub fn json(&self) -> Vec<Value> {
        let mut out = Vec::new();
        for client in &self.clients {
            for (round, samples) in client.rounds.iter().enumerate() {
                let about = |step: &str| {
                    json!({
                        "data": self.data, "storage": self.storage, "policy": self.policy,
                        "client": client.name, "version": client.version,
                        "round": round + 1, "step": step,
                    })
                };
                match samples {
                    Ok(samples) => out.extend(samples.iter().map(|it| told(it, &about))),
                    Err(error) => {
                        let mut value = about("");
                        value["error"] = json!(error);
                        out.push(value);
                    }
                }
            }
        }
        out
    }
}

fn told(sample: &Sample, about: &dyn Fn(&str) -> Value) -> Value {
    let name = STEPS.iter().find(|(_, step)| *step == sample.step).map_or("", |(name, _)| name);
    let mut value = about(name);
    value["wallSeconds"] = json!(sample.cost.wall.as_secs_f64());
    value["cpuSeconds"] = json!(sample.cost.cpu.as_secs_f64());
    value["peakRssBytes"] = json!(sample.cost.memory);
    value["repositoryBytes"] = json!(sample.repository);
    if let Some(traffic) = &sample.traffic {
        value["requests"] = json!(traffic.requests);
        value["bytesSent"] = json!(traffic.received);
        value["bytesReceived"] = json!(traffic.sent);
    }
    value
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{bench::measure::Cost, server::Traffic};

    /// A step that cost so much, with so many requests.
    pub fn sample(step: Step, wall_ms: u64, memory: u64, requests: u64) -> Sample {
        let of = |n| [("put".to_owned(), n), ("list".to_owned(), 1)].into();
        let wall = Duration::from_millis(wall_ms);
        Sample {
            step,
            cost: Cost { wall, cpu: wall / 2, memory },
            traffic: Some(Traffic {
                requests: of(requests - 1),
                received: of(1 << 20),
                sent: of(0),
                gets_by_letter: Default::default(),
            }),
            repository: 3 << 20,
        }
    }

    /// A client whose rounds had these samples.
    pub fn results(tool: Tool, name: &'static str, rounds: Vec<Vec<Sample>>) -> Results {
        let rounds = rounds.into_iter().map(Ok).collect();
        Results { tool, name, version: "1".to_owned(), rounds }
    }

    #[test]
    fn a_median_is_the_middle_and_a_ratio_needs_both() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 9.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0, 9.0, 2.0]), Some(3.0));
        assert_eq!(ratio(Some(1.0), Some(4.0)), Some(0.25));
        assert_eq!(ratio(Some(0.0), Some(4.0)), Some(0.0));
        for (ours, theirs) in [(None, Some(1.0)), (Some(1.0), None), (Some(1.0), Some(0.0))] {
            assert_eq!(ratio(ours, theirs), None);
        }
    }

    #[test]
    fn a_table_has_medians_and_ratios_and_json_has_everything() {
        let first = |ms, requests| vec![sample(Step::First, ms, 64 << 20, requests)];
        let mut ours = results(
            Tool::KopiaLite,
            "kopia-lite",
            vec![first(900, 3), first(500, 3), first(100, 3)],
        );
        ours.rounds.push(Err("no".to_owned()));
        let theirs = results(Tool::Kopia, "Kopia", vec![first(2000, 12)]);
        let all = Combination {
            data: "small",
            storage: "s3",
            policy: "none",
            clients: vec![ours, theirs],
        };
        let table = all.table();
        let line = |part: &str| -> Vec<String> {
            let line = table.lines().find(|line| line.contains(part)).expect(part);
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(line("wall")[2..], ["wall,", "s", "0.50", "2.00", "0.25"]);
        assert_eq!(line("requests"), ["requests", "3", "12", "0.25"]);
        assert_eq!(line("sent"), ["sent,", "MiB", "1.00", "1.00", "1.00"]);
        assert!(!table.contains("restore"), "what was not measured is not shown:\n{table}");
        assert_eq!(all.errors(), ["small, s3, none: no"]);
        let json = all.json();
        assert_eq!(json.len(), 5);
        assert_eq!((&json[1]["step"], &json[1]["round"]), (&json!("first"), &json!(2)));
        assert_eq!(json[1]["requests"]["put"], 2);
        assert_eq!(json[3]["error"], "no");
    }
}
