//! What we want to reach, and whether it is.
//!
//! A target that is missed is said to be missed, and that is all: a machine under load must not
//! fail anything.

use std::fmt::Write;

use super::{
    course::Step,
    measure::Cost,
    report::{Combination, Metric, Results, ratio},
    tools::Tool,
};

#[derive(Debug, Clone, Copy)]
enum Limit {
    /// At most this part of what Kopia takes.
    OfKopia(f64),
    /// At most so many MiB.
    Mib(f64),
    /// At most so many requests, for the data set `small` at full scale.
    Requests(f64),
}

#[derive(Debug)]
struct Target {
    step: Step,
    metric: Metric,
    limit: Limit,
}

/// The memory that the data plane may take, and what the rest of the program may.
const MEMORY_MIB: f64 = 128.0 + 32.0;
/// The data set whose requests are counted.
const COUNTED: &str = "small";

/// Of Kopia: wall, CPU, memory; and requests.
const STEPS: [(Step, [f64; 3], f64); 4] = [
    (Step::First, [0.7, 0.5, 0.6], 40.0),
    (Step::Unchanged, [0.33, 0.33, 0.4], 7.0),
    (Step::Changed, [0.5, 0.5, 0.5], 16.0),
    (Step::Restore, [0.2, 0.2, 0.5], 35.0),
];

fn all() -> Vec<Target> {
    let mut all = Vec::new();
    for (step, [wall, cpu, memory], requests) in STEPS {
        for (metric, limit) in [
            (Metric::Wall, Limit::OfKopia(wall)),
            (Metric::Cpu, Limit::OfKopia(cpu)),
            (Metric::Memory, Limit::OfKopia(memory)),
            (Metric::Memory, Limit::Mib(MEMORY_MIB)),
            (Metric::Requests, Limit::Requests(requests)),
        ] {
            all.push(Target { step, metric, limit });
        }
        if matches!(step, Step::First | Step::Changed) {
            all.push(Target { step, metric: Metric::Repository, limit: Limit::OfKopia(1.0) });
        }
    }
    all
}

/// How it stands with the targets.
#[derive(Debug, Default)]
pub struct Judgement {
    text: String,
    met: usize,
    missed: usize,
}

impl Judgement {
    /// Judges one combination, whose data set had a part of its full size.
    pub fn of(&mut self, combination: &Combination, scale: f64) {
        let Some(ours) = combination.clients.first() else { return };
        let kopia = combination.clients.iter().find(|it| it.tool == Tool::Kopia);
        let _ = writeln!(self.text, "\ntargets: {}", combination.title());
        for target in all() {
            let is_full = combination.data == COUNTED && scale == 1.0;
            if matches!(target.limit, Limit::Requests(_)) && !is_full {
                continue;
            }
            self.target(&target, ours, kopia);
        }
    }

    fn target(&mut self, target: &Target, ours: &Results, kopia: Option<&Results>) {
        let value = |of: &Results| of.median(target.step, target.metric);
        let (found, limit, unit) = match target.limit {
            Limit::OfKopia(limit) => {
                (ratio(value(ours), kopia.and_then(value)), limit, "of Kopia's")
            }
            Limit::Mib(limit) => (value(ours), limit, "MiB"),
            Limit::Requests(limit) => (value(ours), limit, "requests"),
        };
        // Not measured: not judged.
        let Some(found) = found else { return };
        let is_met = found <= limit;
        self.met += usize::from(is_met);
        self.missed += usize::from(!is_met);
        let verdict = if is_met { "met" } else { "MISSED" };
        let metric = target.metric.title().split(',').next().unwrap_or("");
        let _ = writeln!(
            self.text,
            "{:20} {metric:12} {found:>8.2} {unit:11} at most {limit:>6.2}  {verdict}",
            target.step.title()
        );
    }

    /// A line for each target that could be judged, and the sums.
    pub fn text(&self) -> String {
        format!("{}\n{} targets met, {} missed\n", self.text, self.met, self.missed)
    }
}

/// Full maintenance, of what Kopia takes: wall, CPU, memory.
const MAINTENANCE: [(&str, f64); 3] = [("wall", 0.5), ("CPU", 0.5), ("peak RSS", 0.5)];

/// What our maintenance took of what Kopia's did.
pub fn maintenance(ours: &Cost, kopias: &Cost) -> String {
    let numbers = |of: &Cost| [of.wall.as_secs_f64(), of.cpu.as_secs_f64(), of.memory as f64];
    let pairs = numbers(ours).into_iter().zip(numbers(kopias));
    let mut out = String::new();
    for ((name, limit), (ours, kopias)) in MAINTENANCE.into_iter().zip(pairs) {
        let found = ours / kopias;
        let verdict = if found <= limit { "met" } else { "MISSED" };
        let _ = writeln!(
            out,
            "{:20} {name:12} {found:>8.2} of Kopia's  at most {limit:>6.2}  {verdict}",
            "full maintenance"
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::{results, sample};

    fn combination(data: &'static str, with_kopia: bool) -> Combination {
        let ours =
            vec![sample(Step::First, 700, 100 << 20, 41), sample(Step::Restore, 50, 161 << 20, 35)];
        let theirs =
            vec![sample(Step::First, 1000, 160 << 20, 99), sample(Step::Restore, 200, 1 << 30, 99)];
        let mut clients = vec![results(Tool::KopiaLite, "kopia-lite", vec![ours])];
        if with_kopia {
            clients.push(results(Tool::Kopia, "Kopia", vec![theirs]));
        }
        Combination { data, storage: "s3", policy: "none", clients }
    }

    fn judged(combination: &Combination, scale: f64) -> Judgement {
        let mut judgement = Judgement::default();
        judgement.of(combination, scale);
        judgement
    }

    #[test]
    fn each_target_is_met_or_missed_by_what_was_measured() {
        let judgement = judged(&combination("small", true), 1.0);
        let verdict = |step: &str, metric: &str, unit: &str| {
            let mut lines = judgement.text.lines();
            let line = lines.find(|it| [step, metric, unit].iter().all(|part| it.contains(part)));
            line.expect(step).rsplit(' ').next().expect("a verdict").to_owned()
        };
        assert_eq!(verdict("first", "wall", "Kopia"), "met", "0.7 is at most 0.7");
        assert_eq!(verdict("first", "CPU", "Kopia"), "MISSED");
        assert_eq!(verdict("first", "RSS", "Kopia"), "MISSED");
        assert_eq!(verdict("first", "RSS", " MiB"), "met");
        assert_eq!(verdict("first", "requests", "requests"), "MISSED");
        assert_eq!(verdict("first", "repository", "Kopia"), "met", "as large is met");
        assert_eq!(verdict("restore", "wall", "Kopia"), "MISSED");
        assert_eq!(verdict("restore", "RSS", "Kopia"), "met");
        assert_eq!(verdict("restore", "RSS", " MiB"), "MISSED");
        assert_eq!(verdict("restore", "requests", "requests"), "met");
        assert_eq!((judgement.met, judgement.missed), (5, 6), "{}", judgement.text());
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert!(!judged(&combination("tiny", true), 1.0).text.contains("requests"));
        assert!(!judged(&combination("small", true), 0.5).text.contains("requests"));
        let alone = judged(&combination("small", false), 1.0);
        assert!(!alone.text.contains("Kopia"), "{}", alone.text());
        assert_eq!(alone.met + alone.missed, 4);
    }
}
